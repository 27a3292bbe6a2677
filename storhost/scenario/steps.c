/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Steps that are no requests: the machine's life, what happens to it, and what it has to say. */
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <scsi.h>
#include <srb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/inject.h"
#include "nt/schedule.h"
#include "scenario/internal.h"

#define DISK_DEFAULT_BYTES (64u << 20)
#define WAIT_MAX_US 3600000000u

static struct port *port_in(struct run *run)
{
	return run->host->port(run->host->opaque);
}

struct port *run_port(struct run *run)
{
	return run->state & STATE_DUMPING ? run->host->dump_port(run->host->opaque) : port_in(run);
}

uint64_t run_blocks(struct run *run)
{
	return run->disk_bytes / run->block_size;
}

unsigned run_cpu(struct run *run)
{
	return run->next_cpu++ % cpu_count();
}

static bool requests_under_way(struct run *run)
{
	bool any = false;

	pthread_mutex_lock(&run->lock);
	for (const struct flight *flight = run->flights; flight && !any; flight = flight->next)
		any = !flight->back;
	pthread_mutex_unlock(&run->lock);
	return any;
}

/* ---- waiting ---- */

/* Opens a gate when its time comes. Never freed: the machine may be about to run it. */
struct alarm {
	struct timer timer;
	struct gate *gate;
};

static void alarm_run(struct work *work)
{
	gate_open(container_of(work, struct alarm, timer.work)->gate);
}

static struct alarm *alarm_set(struct gate *gate, uint64_t microseconds)
{
	struct alarm *alarm = calloc(1, sizeof(*alarm));

	if (!alarm)
		return NULL;
	alarm->gate = gate;
	timer_set(&alarm->timer, microseconds, alarm_run);
	return alarm;
}

int run_wait(struct run *run, struct gate *gate, const bool *open, const char *what, struct error *err)
{
	struct alarm *alarm = alarm_set(gate, WAIT_MAX_US);
	bool opened;

	(void)run;
	if (!alarm)
		return error_set(err, "there is no memory");
	opened = cpu_wait(gate);
	timer_cancel(&alarm->timer);
	if (!opened)
		return error_set(err, "expected %s to end, got a machine that died: %s", what, cpu_death());
	if (!__atomic_load_n(open, __ATOMIC_ACQUIRE))
		return error_set(err, "expected %s to end, got nothing for an hour", what);
	return 0;
}

int step_advance(struct run *run, const struct step *step, struct error *err)
{
	struct gate *gate = calloc(1, sizeof(*gate));

	(void)run;
	if (!gate)
		return error_set(err, "there is no memory");
	/* What is under way goes on meanwhile where time does; elsewhere it is over before time passes. */
	if ((clock_is_real() || cpu_rest()) && !alarm_set(gate, step->number))
		return error_set(err, "there is no memory");
	if (!cpu_wait(gate))
		return error_set(err, "expected the machine to live, got its death: %s", cpu_death());
	return 0;
}

int step_wait(struct run *run, const struct step *step, struct error *err)
{
	struct gate *gate = calloc(1, sizeof(*gate));
	struct alarm *alarm;
	uint64_t before;
	bool died;

	if (!gate)
		return error_set(err, "there is no memory");
	pthread_mutex_lock(&run->lock);
	before = run->returned;
	run->wait_for = before + step->number;
	run->wait_gate = gate;
	pthread_mutex_unlock(&run->lock);
	alarm = alarm_set(gate, WAIT_MAX_US);
	died = !alarm || !cpu_wait(gate);
	if (died)
		return error_set(err, "expected %llu requests to come back, got a machine that died: %s",
				 (unsigned long long)step->number, cpu_death());
	timer_cancel(&alarm->timer);
	pthread_mutex_lock(&run->lock);
	run->wait_gate = NULL;
	before = run->returned - before;
	pthread_mutex_unlock(&run->lock);
	if (before >= step->number)
		return 0;
	if (load_check(run, err))
		return -1;
	return error_set(err, "expected %llu requests to come back, got %llu", (unsigned long long)step->number,
			 (unsigned long long)before);
}

/* ---- life ---- */

int step_volatile(struct run *run, const struct step *step, struct error *err)
{
	(void)step;
	(void)err;
	run->volatile_disk = true;
	return 0;
}

int step_nothing(struct run *run, const struct step *step, struct error *err)
{
	(void)run;
	(void)step;
	(void)err;
	return 0;
}

int step_disk(struct run *run, const struct step *step, struct error *err)
{
	(void)err;
	run->disk_bytes = step->number;
	return 0;
}

int step_option(struct run *run, const struct step *step, struct error *err)
{
	return run->host->option(run->host->opaque, step->name, step->value, err);
}

/* The scratch disk lives in memory and ends with the process. */
int run_medium(struct run *run, char *path, size_t size, struct error *err)
{
	if (run->disk_fd >= 0 || (run->host->own_disk && !run->host->disk))
		return 0;
	if (run->host->disk) {
		snprintf(path, size, "%s", run->host->disk);
		run->disk_fd = open(path, O_RDONLY | O_CLOEXEC);
	} else {
		run->disk_fd = memfd_create("scratch-disk", MFD_CLOEXEC);
		if (run->disk_fd >= 0 &&
		    ftruncate(run->disk_fd, (off_t)(run->disk_bytes ? run->disk_bytes : DISK_DEFAULT_BYTES)))
			return error_set(err, "cannot make a scratch disk: %s", strerror(errno));
		snprintf(path, size, "/proc/self/fd/%d", run->disk_fd);
	}
	return run->disk_fd < 0 ? error_set(err, "cannot open the disk: %s", strerror(errno)) : 0;
}

int run_adopt(struct run *run, uint64_t blocks, uint32_t block_size, struct error *err)
{
	uint64_t wanted = run->disk_bytes ? run->disk_bytes : DISK_DEFAULT_BYTES;

	if (!run->model && run->host->own_disk && blocks != wanted / block_size) {
		error_set(err, "the device has a disk of %llu bytes and not of %llu",
			  (unsigned long long)(blocks * block_size), (unsigned long long)wanted);
		return SCENARIO_CANNOT;
	}
	if (!run->model)
		run->model = model_create(block_size, run->disk_fd, !run->host->disk && !run->host->own_disk);
	if (!run->model)
		return error_set(err, "there is no model of a disk with blocks of %u bytes", block_size);
	run->block_size = block_size;
	run->disk_bytes = blocks * block_size;
	return 0;
}

/* Whether the disk takes blocks away, by VPD page B2, and whether it has WRITE SAME(16), by its own list. */
static void learn_commands(struct run *run)
{
	static const uint8_t provisioning[6] = { SCSIOP_INQUIRY, 1, 0xb2, 0, 64, 0 };
	static const uint8_t write_same[12] = { 0xa3, 0x0c, 1, 0x93, [9] = 64 };
	struct disk *disk = run->host->attached(run->host->opaque);
	struct port_request request;
	uint8_t data[64] = { 0 };

	run->unmaps = disk_command(disk, provisioning, 6, DIRECTION_IN, data, sizeof(data), &request) &&
		      request.srb_status == SRB_STATUS_SUCCESS && request.transferred > 5 && (data[5] & 0x80);
	run->zeroes = disk_command(disk, write_same, 12, DIRECTION_IN, data, sizeof(data), &request) &&
		      request.srb_status == SRB_STATUS_SUCCESS && request.transferred > 1 && (data[1] & 7) == 3;
}

static int adopt_disk(struct run *run, struct error *err)
{
	const struct disk_info *info = disk_info(run->host->attached(run->host->opaque));

	learn_commands(run);
	run->write_cache = info->write_cache;
	return run_adopt(run, info->blocks, info->block_size, err);
}

int step_start(struct run *run, const struct step *step, struct error *err)
{
	char path[4096] = "";
	struct error why;
	int failed;

	if (run_medium(run, path, sizeof(path), err))
		return -1;
	failed = run->host->start(run->host->opaque, path, &why);
	if (failed == SCENARIO_CANNOT) {
		*err = why;
		return failed;
	}
	run->state = failed ? STATE_REFUSED : STATE_RUNNING;
	if (failed)
		run_note(run, "    refused: %s", why.text);
	if (!step->name)
		return failed ? error_set(err, "expected the driver to start, got: %s", why.text)
			      : adopt_disk(run, err);
	if (!failed)
		return error_set(err, "expected the driver to refuse with '%s', got a start", step->name);
	return strstr(why.text, step->name)
		       ? 0
		       : error_set(err, "expected a refusal with '%s', got: %s", step->name, why.text);
}

int step_stop(struct run *run, const struct step *step, struct error *err)
{
	(void)step;
	if (requests_under_way(run))
		return error_set(err, "expected every request to be awaited before, got some that are under way");
	run->host->stop(run->host->opaque);
	run->state = STATE_STOPPED;
	memset(run->mark, 0, sizeof(run->mark));
	return cpu_dead() ? error_set(err, "expected the driver to stop, got its death: %s", cpu_death()) : 0;
}

int step_lun(struct run *run, const struct step *step, struct error *err)
{
	(void)err;
	memcpy(run->address, step->address, sizeof(run->address));
	return 0;
}

/* ---- what happens to it ---- */

int step_reset_bus(struct run *run, const struct step *step, struct error *err)
{
	struct port *port = run_port(run);
	bool done;

	if (!port)
		return error_set(err, "expected a dump image, got one that refused");
	done = run->state & STATE_DUMPING ? port_dump_reset_bus(port) : port_reset_bus(port);

	if (cpu_dead())
		return error_set(err, "expected HwResetBus to return, got a death: %s", cpu_death());
	if (done == step->flag)
		return error_set(err, "expected HwResetBus to %s, got the contrary", step->flag ? "fail" : "succeed");
	return 0;
}

int step_fault(struct run *run, const struct step *step, struct error *err)
{
	return run->host->fault(run->host->opaque, step->value, err);
}

/* A resize that a processor does when its turn comes. Never freed, as an alarm. */
struct later_resize {
	struct work work;
	struct run *run;
	uint64_t bytes;
};

static void later_run(struct work *work)
{
	struct later_resize *later = container_of(work, struct later_resize, work);
	struct error why;

	if (later->run->host->resize(later->run->host->opaque, later->bytes, &why))
		cpu_die(why.text);
}

static int resize_anytime(struct run *run, uint64_t bytes, struct error *err)
{
	struct later_resize *later = calloc(1, sizeof(*later));

	if (!later)
		return error_set(err, "there is no memory");
	if (bytes < run->disk_bytes)
		return error_set(err, "expected a disk that grows at any time, got one that shrinks");
	later->work.run = later_run;
	later->run = run;
	later->bytes = bytes;
	run->disk_bytes = bytes;
	cpu_post(cpu_count() - 1, &later->work);
	return 0;
}

int step_explore(struct run *run, const struct step *step, struct error *err)
{
	(void)run;
	(void)err;
	schedule_window(step->flag);
	return 0;
}

int step_resize(struct run *run, const struct step *step, struct error *err)
{
	uint64_t cut = step->number / run->block_size;

	int failed;

	if (step->flag)
		return resize_anytime(run, step->number, err);
	failed = run->host->resize(run->host->opaque, step->number, err);
	if (failed)
		return failed;
	pthread_mutex_lock(&run->lock);
	if (step->number < run->disk_bytes) {
		model_cut(run->model, cut);
		for (struct flight *flight = run->flights; flight; flight = flight->next) {
			if (!flight->back && flight->limit > cut)
				flight->limit = cut;
		}
	}
	run->disk_bytes = step->number;
	pthread_mutex_unlock(&run->lock);
	return 0;
}

int step_capacity(struct run *run, const struct step *step, struct error *err)
{
	struct disk *disk = run->host->attached(run->host->opaque);
	uint64_t blocks;

	(void)step;
	/* The interrupt that tells of a change has been taken once the machine rests. */
	if (!cpu_rest())
		return error_set(err, "expected the machine to live, got its death: %s", cpu_death());
	if (disk_refresh(disk, err))
		return -1;
	blocks = disk_info(disk)->blocks;
	run_note(run, "    %llu blocks of %u bytes", (unsigned long long)blocks, run->block_size);
	return blocks == run_blocks(run) ? 0
					 : error_set(err, "expected a disk of %llu blocks, got one of %llu",
						     (unsigned long long)run_blocks(run), (unsigned long long)blocks);
}

void run_lose_power(struct run *run)
{
	pthread_mutex_lock(&run->lock);
	if (run->host->forgets(run->host->opaque))
		model_power_lost(run->model);
	pthread_mutex_unlock(&run->lock);
}

int step_sleep(struct run *run, const struct step *step, struct error *err)
{
	if (port_sleep(port_in(run), step->flag, err))
		return -1;
	run->state = STATE_ASLEEP;
	return step->number ? dump_hibernate(run, step, err) : 0;
}

int step_wake(struct run *run, const struct step *step, struct error *err)
{
	if (run->state == STATE_HIBERNATING && dump_resume(run, err))
		return -1;
	if (step->flag)
		run_lose_power(run);
	if (port_wake(port_in(run), step->flag, err))
		return -1;
	run->state = STATE_RUNNING;
	return 0;
}

int step_rebalance(struct run *run, const struct step *step, struct error *err)
{
	return port_rebalance(port_in(run), !step->flag, err);
}

int step_neighbour(struct run *run, const struct step *step, struct error *err)
{
	return port_neighbour(port_in(run), step->number, err);
}

int step_surprise_remove(struct run *run, const struct step *step, struct error *err)
{
	(void)step;
	if (port_surprise_remove(port_in(run), err))
		return -1;
	run_lose_power(run);
	run->state = STATE_REMOVED;
	return 0;
}

/* ---- checks ---- */

static int data_reaches(struct run *run, uint64_t offset, uint64_t length, struct error *err)
{
	if (!run->data)
		return error_set(err, "expected a step with data before, got none");
	if (offset > run->data_length || length > run->data_length - offset)
		return error_set(err, "expected %llu bytes at %llu, got data of %u bytes", (unsigned long long)length,
				 (unsigned long long)offset, run->data_length);
	return 0;
}

int step_bytes(struct run *run, const struct step *step, struct error *err)
{
	if (data_reaches(run, step->number, step->length, err))
		return -1;
	for (uint32_t i = 0; i < step->length; i++) {
		uint8_t got = run->data[step->number + i];

		if (step->known[i] && got != step->bytes[i])
			return error_set(err, "expected 0x%02x at %llu, got 0x%02x", step->bytes[i],
					 (unsigned long long)step->number + i, got);
	}
	return 0;
}

static const char *const comparison_names[] = { "==", "!=", "<", "<=", ">", ">=" };

static bool compare(uint64_t value, enum comparison comparison, uint64_t operand)
{
	switch (comparison) {
	case EQUAL:
		return value == operand;
	case NOT_EQUAL:
		return value != operand;
	case LESS:
		return value < operand;
	case LESS_EQUAL:
		return value <= operand;
	case GREATER:
		return value > operand;
	case GREATER_EQUAL:
		return value >= operand;
	}
	return false;
}

int step_value(struct run *run, const struct step *step, struct error *err)
{
	bool little = step->verb->name[0] == 'l';
	unsigned width = (unsigned)atoi(step->verb->name + strcspn(step->verb->name, "0123456789")) / 8;
	uint64_t value = 0;

	if (data_reaches(run, step->number, width, err))
		return -1;
	for (unsigned i = 0; i < width; i++)
		value = value << 8 | run->data[step->number + (little ? width - 1 - i : i)];
	if (compare(value, step->comparison, step->operand))
		return 0;
	return error_set(err, "expected %s at %llu %s 0x%llx, got 0x%llx", step->verb->name,
			 (unsigned long long)step->number, comparison_names[step->comparison],
			 (unsigned long long)step->operand, (unsigned long long)value);
}

int step_return_code(struct run *run, const struct step *step, struct error *err)
{
	if (!run->has_return_code)
		return error_set(err, "expected an ioctl before, got none");
	if (run->return_code == step->number)
		return 0;
	return error_set(err, "expected return code 0x%08llx, got 0x%08x", (unsigned long long)step->number,
			 run->return_code);
}

static int use_event(struct run *run, unsigned n, struct error *err)
{
	if (n >= run->events) {
		bool *used = realloc(run->event_used, n + 1);

		if (!used)
			return error_set(err, "there is no memory");
		memset(used + run->events, 0, n + 1 - run->events);
		run->event_used = used;
		run->events = n + 1;
	}
	run->event_used[n] = true;
	return 0;
}

int step_event(struct run *run, const struct step *step, struct error *err)
{
	bool wanted = !strcmp(step->verb->name, "event");
	const struct port *port = port_in(run);
	const char *text;

	for (unsigned i = 0; port && (text = port_event(port, i)) != NULL; i++) {
		if ((i < run->events && run->event_used[i]) || !strstr(text, step->name))
			continue;
		if (!wanted)
			return error_set(err, "expected no event with '%s', got: %s", step->name, text);
		return use_event(run, i, err);
	}
	return wanted ? error_set(err, "expected an event with '%s', got none", step->name) : 0;
}

static int read_counter(struct run *run, const char *name, uint64_t *value, struct error *err)
{
	return run->host->counter(run->host->opaque, name, value, err);
}

int step_mark(struct run *run, const struct step *step, struct error *err)
{
	unsigned i = 0;

	while (i < MARKS_MAX && run->mark[i].counter && strcmp(run->mark[i].counter, step->name))
		i++;
	if (i == MARKS_MAX)
		return error_set(err, "expected at most %u marked counters, got one more", MARKS_MAX);
	run->mark[i].counter = step->name;
	return read_counter(run, step->name, &run->mark[i].value, err);
}

/* What the counter has counted since its mark, or ever. */
static uint64_t since_mark(const struct run *run, const char *name, uint64_t value)
{
	for (unsigned i = 0; i < MARKS_MAX && run->mark[i].counter; i++) {
		if (!strcmp(run->mark[i].counter, name))
			return value - run->mark[i].value;
	}
	return value;
}

int step_expect(struct run *run, const struct step *step, struct error *err)
{
	uint64_t value;
	int failed = read_counter(run, step->name, &value, err);

	if (failed)
		return failed;
	value = since_mark(run, step->name, value);
	run_note(run, "    %s is %llu", step->name, (unsigned long long)value);
	if (compare(value, step->comparison, step->operand))
		return 0;
	return error_set(err, "expected %s %s %llu, got %llu", step->name, comparison_names[step->comparison],
			 (unsigned long long)step->operand, (unsigned long long)value);
}

/* ---- the end ---- */

static bool announced(const struct scenario *scenario, enum rule rule)
{
	for (unsigned i = 0; i < scenario->step_count; i++) {
		const struct step *step = &scenario->steps[i];

		if (!strcmp(step->verb->name, "finding") && step->number == rule)
			return true;
	}
	return false;
}

int run_findings(struct run *run, struct error *err)
{
	const struct finding *finding;

	for (unsigned i = 0; (finding = verify_finding(i)) != NULL; i++) {
		if (!announced(run->scenario, finding->rule) && !strain_excuses(finding->rule))
			return error_set(err, "expected no finding, got %s: %s%s%s", rule_name(finding->rule),
					 finding->text, finding->where[0] ? " in " : "", finding->where);
	}
	return 0;
}

static int announced_findings(struct run *run, struct error *err)
{
	const struct scenario *scenario = run->scenario;

	for (unsigned i = 0; !inject_is_armed() && i < scenario->step_count; i++) {
		const struct step *step = &scenario->steps[i];
		const struct finding *finding;
		bool found = strcmp(step->verb->name, "finding") != 0;

		for (unsigned n = 0; !found && (finding = verify_finding(n)) != NULL; n++)
			found = finding->rule == step->number;
		if (!found)
			return error_set(err, "expected the finding %s, got none", step->name);
	}
	return 0;
}

/* What the scenario knows of a medium that is out of sight, read through the driver, which is started for it if need be. */
static int read_back(struct run *run, struct error *err)
{
	struct step start = { .name = NULL };
	uint64_t lba = 0;
	uint32_t blocks;
	uint8_t *data;
	int failed = 0;

	if (run->state != STATE_RUNNING && step_start(run, &start, err))
		return -1;
	/* It may have been resized since it was attached. */
	if (disk_refresh(run->host->attached(run->host->opaque), err))
		return -1;
	data = malloc((size_t)TOUCHED_MAX * run->block_size);
	if (!data)
		return error_set(err, "there is no memory");
	for (; !failed && model_touched(run->model, lba, &lba, &blocks); lba += blocks) {
		uint64_t left = lba < run_blocks(run) ? run_blocks(run) - lba : 0;
		uint32_t count = blocks < left ? blocks : (uint32_t)left;

		if (!count)
			break;
		failed = disk_transfer(run->host->attached(run->host->opaque), DISK_READ, data, count * run->block_size,
				       lba * run->block_size, false, err) ||
			 model_read(run->model, lba, count, data, err);
	}
	free(data);
	return failed ? -1 : 0;
}

/* A driver that refuses its device cannot read it back: what such a scenario wrote is not looked at. */
static int look_at_medium(struct run *run, struct error *err)
{
	struct error why;

	if (!run->host->own_disk || run->host->disk || !run->model || run->state == STATE_REFUSED)
		return 0;
	if (run->state == STATE_REMOVED)
		run->host->stop(run->host->opaque);
	if (run->state == STATE_CRASHED && run->host->dump_end(run->host->opaque, err))
		return -1;
	return read_back(run, &why) ? error_set(err, "read back at the end: %s", why.text) : 0;
}

int run_end(struct run *run, struct error *err)
{
	if (run->state & (STATE_ASLEEP | STATE_HIBERNATING))
		return error_set(err, "expected a machine that is awake at the end, got one that sleeps");
	if ((run->state & STATE_STARTED) && run_await_all(run, err))
		return -1;
	if (look_at_medium(run, err))
		return -1;
	if (run->state & STATE_STARTED)
		run->host->stop(run->host->opaque);
	if (cpu_dead())
		return error_set(err, "expected the driver to stop, got its death: %s", cpu_death());
	if (run->state != STATE_NEW)
		run->host->end(run->host->opaque);
	if (run_findings(run, err) || announced_findings(run, err))
		return -1;
	return run->model && !run->volatile_disk ? model_compare(run->model, err) : 0;
}
