/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A scenario in a process of its own: its steps, their transcript, and what its parent makes of its end. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/inject.h"
#include "nt/schedule.h"
#include "scenario/internal.h"

/*
 * What the process writes to its parent: lines, the first character of which says what they are.
 *   N seed        the seed that it took
 *   S line        it begins with the step of that line; 0: with the end
 *   T text        a line of the transcript
 *   F sentence    it failed
 *   K sentence    it asks for what the device does not have
 *   P             it passed
 */
#define RECORD_MAX 4096u

/* ---- the scenario's process ---- */

/* Text from a driver or a device stays on its line and prints. */
static void make_printable(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

static void record(FILE *out, char kind, const char *fmt, va_list ap)
{
	char text[RECORD_MAX - 2];

	vsnprintf(text, sizeof(text), fmt, ap);
	make_printable(text);
	fprintf(out, "%c%s\n", kind, text);
	fflush(out);
}

static void tell(struct run *run, char kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void tell(struct run *run, char kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(run->out, kind, fmt, ap);
	va_end(ap);
}

void run_note(struct run *run, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(run->out, 'T', fmt, ap);
	va_end(ap);
}

static const char *state_name(enum state state)
{
	switch (state) {
	case STATE_NEW:
		return "the driver is not started";
	case STATE_RUNNING:
		return "the driver runs";
	case STATE_ASLEEP:
		return "the machine sleeps";
	case STATE_STOPPED:
		return "the driver is stopped";
	case STATE_REMOVED:
		return "the device is gone";
	case STATE_CRASHED:
		return "the machine has crashed";
	case STATE_HIBERNATING:
		return "the machine hibernates";
	default:
		return "the driver refused to start";
	}
}

static int run_step(struct run *run, const struct step *step, struct error *err)
{
	const struct verb *verb = step->verb;
	int failed;

	if (strain_skips(run, step)) {
		run_note(run, "    skipped");
		return 0;
	}
	if (!(verb->states & run->state))
		return error_set(err, "expected a time for '%s', got it when %s", verb->name, state_name(run->state));
	failed = verb->build && !step->direct ? request_step(run, step, err) : verb->run(run, step, err);
	if (failed == SCENARIO_CANNOT)
		return failed;
	if (strain_settle(run, step, failed, err))
		return -1;
	return run_findings(run, err);
}

static void note_events(struct run *run, unsigned *told)
{
	const struct port *port = run->state == STATE_NEW ? NULL : run->host->port(run->host->opaque);
	const char *text;

	while (port && (text = port_event(port, *told)) != NULL) {
		run_note(run, "    event: %s", text);
		++*told;
	}
}

static int run_steps(struct run *run, struct error *err)
{
	const struct scenario *scenario = run->scenario;
	unsigned events = 0;
	struct error why;

	for (unsigned i = 0; i < scenario->step_count; i++) {
		const struct step *step = &scenario->steps[i];
		int failed;

		tell(run, 'S', "%u", step->line);
		run_note(run, "%u: %s", step->line, step->text);
		failed = run_step(run, step, &why);
		note_events(run, &events);
		if (run->state == STATE_STOPPED) {
			events = 0;
			run->events = 0;
		}
		if (failed) {
			error_set(err, "%s", why.text);
			return failed;
		}
	}
	tell(run, 'S', "0");
	run_note(run, "end");
	if (inject_is_armed() && strain_end(run, err))
		return -1;
	return run_end(run, err);
}

static void prepare_run(struct run *run)
{
	const struct scenario *scenario = run->scenario;
	struct error ignored; /* scenario_check told */

	for (unsigned i = 0; i < scenario->step_count; i++) {
		const struct step *step = &scenario->steps[i];

		if (step->verb->run == step_option && !strcmp(step->name, "seed"))
			step_option(run, step, &ignored);
		/* It says where a schedule decides, which is not elsewhere then. */
		if (step->verb->run == step_explore)
			schedule_window(false);
	}
}

static void run_in_child(const struct scenario *scenario, const struct scenario_host *host, int fd)
{
	struct run run = {
		.scenario = scenario,
		.host = host,
		.out = fdopen(fd, "w"),
		.state = STATE_NEW,
		.disk_fd = -1,
		.write_cache = true, /* until the disk says that it has none */
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	struct error err;
	uint64_t seed;
	int failed;

	if (!run.out)
		return;
	prepare_run(&run);
	seed = host->seed(host->opaque);
	run.rng.state = seed ^ 0x7363656e6172696f;
	tell(&run, 'N', "%llu", (unsigned long long)seed);
	failed = run_steps(&run, &err);
	if (failed)
		host->quit(host->opaque);
	tell(&run, !failed ? 'P' : failed == SCENARIO_CANNOT ? 'K' : 'F', "%s", failed ? err.text : "");
}

/* ---- its parent ---- */

struct watch {
	const struct scenario *scenario;
	FILE *transcript;
	struct scenario_outcome *outcome;
	unsigned line; /* of the step that it is at */
	bool told;     /* how it ended */
	char record[RECORD_MAX];
	size_t length;
};

static void end_at(struct watch *watch, enum scenario_verdict verdict, const char *sentence)
{
	struct scenario_outcome *outcome = watch->outcome;

	outcome->verdict = verdict;
	outcome->line = watch->line;
	if (watch->line)
		snprintf(outcome->reason, sizeof(outcome->reason), "%s:%u: %s", watch->scenario->file, watch->line,
			 sentence);
	else
		snprintf(outcome->reason, sizeof(outcome->reason), "%s: at the end: %s", watch->scenario->file,
			 sentence);
	watch->told = true;
}

static void fail_at(struct watch *watch, const char *sentence)
{
	end_at(watch, SCENARIO_FAIL, sentence);
}

static void take_record(struct watch *watch)
{
	const char *text = watch->record + 1;

	watch->record[watch->length] = '\0';
	switch (watch->record[0]) {
	case 'N':
		watch->outcome->seed = strtoull(text, NULL, 10);
		break;
	case 'S':
		watch->line = (unsigned)strtoul(text, NULL, 10);
		break;
	case 'T':
		if (watch->transcript)
			fprintf(watch->transcript, "%s\n", text);
		break;
	case 'F':
		fail_at(watch, text);
		break;
	case 'K':
		end_at(watch, SCENARIO_SKIP, text);
		break;
	case 'P':
		watch->outcome->verdict = SCENARIO_PASS;
		watch->told = true;
		break;
	}
	watch->length = 0;
}

static void take_bytes(struct watch *watch, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (bytes[i] == '\n')
			take_record(watch);
		else if (watch->length < sizeof(watch->record) - 1)
			watch->record[watch->length++] = bytes[i];
	}
}

static uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Reads what it tells until it ends; false: its time is over. */
static bool listen_to(struct watch *watch, int fd)
{
	uint64_t end = milliseconds() + 1000u * (uint64_t)watch->scenario->limit;
	char bytes[4096];

	for (;;) {
		uint64_t now = milliseconds();
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		ssize_t count;

		if (now >= end)
			return false;
		if (poll(&poller, 1, (int)(end - now)) <= 0)
			continue;
		count = read(fd, bytes, sizeof(bytes));
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return true;
		take_bytes(watch, bytes, (size_t)count);
	}
}

static void watch_child(struct watch *watch, pid_t child, int fd)
{
	bool ended = listen_to(watch, fd);
	char sentence[160];
	int status = 0;

	if (!ended)
		kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	/* What it told stands, but no pass: a sanitizer tells what it found by the status. */
	if (watch->told && (watch->outcome->verdict != SCENARIO_PASS || (ended && status == 0)))
		return;
	if (!ended)
		snprintf(sentence, sizeof(sentence), "expected an end within %u seconds, got none",
			 watch->scenario->limit);
	else if (WIFSIGNALED(status))
		snprintf(sentence, sizeof(sentence), "expected an end, got the death of storhost by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(sentence, sizeof(sentence), "expected an end, got storhost's exit with status %d",
			 WEXITSTATUS(status));
	fail_at(watch, sentence);
}

static bool skipped(const struct scenario *scenario, const struct scenario_host *host, struct scenario_outcome *outcome)
{
	for (unsigned i = 0; i < scenario->step_count; i++) {
		const struct step *step = &scenario->steps[i];

		if (strcmp(step->verb->name, "driver") || host->is(host->opaque, step->name))
			continue;
		outcome->verdict = SCENARIO_SKIP;
		outcome->line = step->line;
		snprintf(outcome->reason, sizeof(outcome->reason), "%s:%u: the driver is no %s build", scenario->file,
			 step->line, step->name);
		return true;
	}
	return false;
}

void scenario_run(const struct scenario *scenario, const struct scenario_host *host, FILE *transcript,
		  struct scenario_outcome *outcome)
{
	struct watch watch = { .scenario = scenario, .transcript = transcript, .outcome = outcome };
	int ends[2];
	pid_t child;

	memset(outcome, 0, sizeof(*outcome));
	outcome->seed = host->seed(host->opaque);
	if (skipped(scenario, host, outcome))
		return;
	fflush(NULL);
	if (pipe(ends)) {
		fail_at(&watch, "expected a process for it, got none");
		return;
	}
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		run_in_child(scenario, host, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	if (child < 0)
		fail_at(&watch, "expected a process for it, got none");
	else
		watch_child(&watch, child, ends[0]);
	close(ends[0]);
}

int scenario_check(const struct scenario *scenario, const struct scenario_host *host, struct error *err)
{
	struct error why;

	for (unsigned i = 0; i < scenario->step_count; i++) {
		const struct step *step = &scenario->steps[i];

		if (step->verb->run == step_option && host->option(host->opaque, step->name, step->value, &why) < 0)
			return error_set(err, "%s:%u: %s", scenario->file, step->line, why.text);
	}
	return 0;
}
