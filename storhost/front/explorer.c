/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The tree of schedules, walked by re-execution; random schedules; and taking away what a failure does not need. */
#include "front/explorer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "nt/rng.h"

#define ROOT UINT32_MAX
#define NODES_MAX (1u << 26)

/* A schedule: its last departure, and the schedule of those before it. */
struct node {
	uint32_t parent;
	uint32_t point;
	uint8_t choice, count;
};

/* Those of equal cost, in the order in which they are tried. */
struct level {
	uint32_t *node;
	size_t count, room, next;
	bool truncated; /* more than the limit lets be tried were not entered */
};

struct search {
	struct exploration *exploration;
	struct schedule_trace *trace;
	struct node *node;
	size_t count, room;
	struct level *level; /* by preemptions */
};

/* ---- running ---- */

/* Whether the scenario failed under exploration->schedule. */
static bool run_fails(struct search *search)
{
	struct exploration *exploration = search->exploration;

	search->trace->points = 0;
	scenario_run(exploration->scenario, &exploration->host, NULL, &exploration->outcome);
	return exploration->outcome.verdict == SCENARIO_FAIL;
}

/* As the run that failed just now took it: departures that it reached, with choices that there were. */
static void normalize(struct search *search)
{
	struct schedule *schedule = &search->exploration->schedule;
	const struct schedule_trace *trace = search->trace;
	unsigned kept = 0;

	for (unsigned i = 0; i < schedule->count; i++) {
		struct departure departure = schedule->departure[i];

		if (departure.point >= trace->points || departure.point >= SCHEDULE_POINTS_MAX)
			break;
		departure.choice = 1 + (departure.choice - 1) % (trace->point[departure.point].count - 1u);
		schedule->departure[kept++] = departure;
	}
	schedule->count = kept;
}

/* Takes departures away, one at a time from the end, as long as it fails without them. */
static void shrink(struct search *search)
{
	struct exploration *exploration = search->exploration;
	struct schedule *schedule = &exploration->schedule;
	struct scenario_outcome failure = exploration->outcome;

	for (unsigned i = schedule->count; i-- > 0;) {
		struct departure left = schedule->departure[i];
		struct departure *at = &schedule->departure[i];
		size_t behind = schedule->count - i - 1;

		memmove(at, at + 1, behind * sizeof(*at));
		schedule->count--;
		if (run_fails(search)) {
			failure = exploration->outcome;
			continue;
		}
		memmove(at + 1, at, behind * sizeof(*at));
		*at = left;
		schedule->count++;
	}
	exploration->outcome = failure;
}

/* ---- the tree ---- */

static bool grow(void **array, size_t *room, size_t count, size_t size)
{
	size_t more = *room ? 2 * *room : 1024;
	void *grown;

	if (count < *room)
		return true;
	grown = realloc(*array, more * size);
	if (!grown)
		return false;
	*array = grown;
	*room = more;
	return true;
}

static bool enter(struct search *search, unsigned cost, struct node node)
{
	struct level *level = &search->level[cost];

	if (level->count == search->exploration->limit) {
		level->truncated = true;
		return true;
	}
	if (search->count == NODES_MAX || !grow((void **)&search->node, &search->room, search->count, sizeof(node)) ||
	    !grow((void **)&level->node, &level->room, level->count, sizeof(*level->node)))
		return false;
	level->node[level->count++] = (uint32_t)search->count;
	search->node[search->count++] = node;
	return true;
}

static void write_schedule(const struct search *search, uint32_t id, struct schedule *schedule)
{
	unsigned count = 0;

	for (uint32_t i = id; search->node[i].parent != ROOT; i = search->node[i].parent)
		count++;
	schedule->count = count;
	for (uint32_t i = id; search->node[i].parent != ROOT; i = search->node[i].parent)
		schedule->departure[--count] = (struct departure){ search->node[i].point, search->node[i].choice };
}

/* Enters every schedule that has one departure more than node id, which was run just now at this cost. */
static bool expand(struct search *search, uint32_t id, unsigned cost)
{
	const struct schedule_trace *trace = search->trace;
	const struct node node = search->node[id];

	if (search->exploration->schedule.count == SCHEDULE_DEPARTURES_MAX) {
		search->level[cost].truncated = true;
		return true;
	}
	for (uint32_t p = node.parent == ROOT ? 0 : node.point + 1; p < trace->points; p++) {
		const struct schedule_point *point = &trace->point[p];
		unsigned price = cost + !point->forced;

		if (price > search->exploration->preemptions)
			continue;
		for (uint8_t choice = 1; choice < point->count; choice++)
			if (!enter(search, price, (struct node){ id, p, choice, point->count }))
				return false;
	}
	return true;
}

/* What a run is to be repeated by has to lead to the same places again. */
static bool repeats(const struct search *search, uint32_t id)
{
	const struct node *node = &search->node[id];
	const struct schedule_trace *trace = search->trace;

	return node->parent == ROOT || (node->point < trace->points && trace->point[node->point].count == node->count);
}

/* One level of the tree. False: it cannot be done; otherwise exploration->outcome says whether one failed. */
static bool walk_level(struct search *search, unsigned cost, struct error *err)
{
	struct exploration *exploration = search->exploration;
	struct level *level = &search->level[cost];

	while (level->next < level->count && exploration->tried < exploration->limit) {
		uint32_t id = level->node[level->next++];

		write_schedule(search, id, &exploration->schedule);
		exploration->tried++;
		if (run_fails(search)) {
			shrink(search);
			return true;
		}
		if (exploration->outcome.verdict == SCENARIO_SKIP)
			return true;
		if (search->node[id].parent == ROOT)
			exploration->points = search->trace->points;
		if (search->trace->points > SCHEDULE_POINTS_MAX)
			return !error_set(err, "the scenario passes more than %u points", SCHEDULE_POINTS_MAX);
		if (!repeats(search, id))
			return !error_set(err, "the same schedule did not lead to the same point %u again",
					  search->node[id].point);
		if (!expand(search, id, cost))
			return !error_set(err, "there is no memory for more schedules");
	}
	return true;
}

static bool walk(struct search *search, struct error *err)
{
	struct exploration *exploration = search->exploration;

	for (unsigned cost = 0; cost <= exploration->preemptions; cost++) {
		if (!walk_level(search, cost, err))
			return false;
		if (exploration->outcome.verdict != SCENARIO_PASS)
			return true;
		if (search->level[cost].next < search->level[cost].count || search->level[cost].truncated)
			return true;
		exploration->bounds_done = cost + 1;
	}
	return true;
}

/* ---- beyond the bound ---- */

static int by_point(const void *a, const void *b)
{
	const struct departure *left = a, *right = b;

	return (left->point > right->point) - (left->point < right->point);
}

/* Few departures or many, anywhere. */
static void choose_departures(struct rng *rng, uint32_t points, struct schedule *schedule)
{
	unsigned most = points / 4 < SCHEDULE_DEPARTURES_MAX ? points / 4 : SCHEDULE_DEPARTURES_MAX, bits = 1, kept = 0;

	while (1u << bits < most)
		bits++;
	schedule->count = 1 + (unsigned)rng_below(rng, (uint64_t)1 << rng_below(rng, bits + 1));
	if (schedule->count > SCHEDULE_DEPARTURES_MAX)
		schedule->count = SCHEDULE_DEPARTURES_MAX;
	for (unsigned i = 0; i < schedule->count; i++) {
		schedule->departure[i].point = (uint32_t)rng_below(rng, points + points / 4 + 1);
		schedule->departure[i].choice = 1 + (uint32_t)rng_below(rng, 60); /* divides by every small number */
	}
	qsort(schedule->departure, schedule->count, sizeof(schedule->departure[0]), by_point);
	for (unsigned i = 0; i < schedule->count; i++)
		if (!kept || schedule->departure[kept - 1].point != schedule->departure[i].point)
			schedule->departure[kept++] = schedule->departure[i];
	schedule->count = kept;
}

static void walk_randomly(struct search *search, uint64_t seed)
{
	struct exploration *exploration = search->exploration;
	struct rng rng = { seed ^ 0x7363686564756c65 };

	while (exploration->tried_random < exploration->random) {
		choose_departures(&rng, exploration->points, &exploration->schedule);
		exploration->tried_random++;
		if (!run_fails(search))
			continue;
		normalize(search);
		shrink(search);
		return;
	}
}

/* ---- both ---- */

static bool explore_with(struct search *search, uint64_t seed, struct error *err)
{
	struct exploration *exploration = search->exploration;

	if (!enter(search, 0, (struct node){ .parent = ROOT }))
		return !error_set(err, "there is no memory for schedules");
	if (!walk(search, err))
		return false;
	if (exploration->outcome.verdict == SCENARIO_PASS)
		walk_randomly(search, seed);
	return true;
}

bool explore(struct exploration *exploration, uint64_t seed, struct error *err)
{
	struct search search = { .exploration = exploration };
	bool done;

	search.trace = mmap(NULL, sizeof(*search.trace), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	search.level = calloc(exploration->preemptions + 1, sizeof(*search.level));
	if (search.trace == MAP_FAILED || !search.level) {
		free(search.level);
		return !error_set(err, "there is no memory for schedules");
	}
	exploration->schedule.trace = search.trace;
	done = explore_with(&search, seed, err);
	exploration->schedule.trace = NULL;
	for (unsigned cost = 0; cost <= exploration->preemptions; cost++)
		free(search.level[cost].node);
	free(search.level);
	free(search.node);
	munmap(search.trace, sizeof(*search.trace));
	return done;
}
