/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Following a schedule, and writing down where it could have been another. */
#include "nt/schedule.h"

#include <stdlib.h>

static struct {
	const struct schedule *schedule;
	bool shut;
	uint32_t point;
	unsigned next; /* of its departures */
} follow;

static int parse_part(const char **text, char stop, uint32_t most, uint32_t *number)
{
	char *end;
	unsigned long value = strtoul(*text, &end, 10);

	/* The last part ends with the text, and nothing else does. */
	if (**text < '0' || **text > '9' || value > most || (*end ? *end != stop || !end[1] : stop != ','))
		return -1;
	*number = (uint32_t)value;
	*text = *end ? end + 1 : end;
	return 0;
}

int schedule_parse(struct schedule *schedule, const char *text, struct error *err)
{
	const char *rest = text;

	schedule->count = 0;
	if (text[0] == '-' && !text[1])
		return 0;
	do {
		struct departure *departure = &schedule->departure[schedule->count];

		if (schedule->count == SCHEDULE_DEPARTURES_MAX)
			return error_set(err, "a schedule has at most %u departures", SCHEDULE_DEPARTURES_MAX);
		if (parse_part(&rest, ':', UINT32_MAX, &departure->point) ||
		    parse_part(&rest, ',', UINT8_MAX, &departure->choice) || !departure->choice ||
		    (schedule->count && departure[-1].point >= departure->point))
			return error_set(err, "a schedule is POINT:CHOICE,... in ascending order, or -, not '%.60s'",
					 text);
		schedule->count++;
	} while (*rest);
	return 0;
}

void schedule_follow(const struct schedule *schedule)
{
	follow.schedule = schedule;
	follow.point = 0;
	follow.next = 0;
}

void schedule_window(bool open)
{
	follow.shut = !open;
}

bool schedule_decides(void)
{
	return follow.schedule != NULL;
}

static void trace_point(struct schedule_trace *trace, unsigned count, bool forced)
{
	if (!trace)
		return;
	if (follow.point < SCHEDULE_POINTS_MAX)
		trace->point[follow.point] = (struct schedule_point){ (uint8_t)count, forced };
	trace->points = follow.point + 1;
}

unsigned schedule_choose(unsigned count, bool forced)
{
	const struct schedule *schedule = follow.schedule;
	unsigned choice = 0;

	if (count < 2 || follow.shut)
		return 0;
	trace_point(schedule->trace, count, forced);
	if (follow.next < schedule->count && schedule->departure[follow.next].point == follow.point)
		choice = 1 + (schedule->departure[follow.next++].choice - 1) % (count - 1);
	follow.point++;
	return choice;
}
