/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The table of verbs: how each is written and what does it. */
#include <srb.h>
#include <string.h>

#include "scenario/internal.h"

#define BLOCKS_MAX 65535u
#define LIMIT_MAX_S 86400u
#define ADVANCE_MAX_S 1000000u
#define LOAD_MAX 1000000u
#define CRASH_MAX_STEPS 100000000u
#define IOCTL_HEADER_BYTES 28u
#define SIGNATURE_BYTES 8u

/* ---- before the start ---- */

static int parse_disk(struct words *words, struct step *step)
{
	return words_size(words, &step->number);
}

static int parse_limit(struct words *words, struct step *step)
{
	if (words_number(words, "the limit in seconds", 1, LIMIT_MAX_S, &step->number))
		return -1;
	words->scenario->limit = (unsigned)step->number;
	return 0;
}

static int parse_driver(struct words *words, struct step *step)
{
	static const char *const builds[] = { "fre", "chk", "x64", "x86" };

	if (words_name(words, "the kind of driver", &step->name))
		return -1;
	for (size_t i = 0; i < sizeof(builds) / sizeof(builds[0]); i++) {
		if (!strcmp(builds[i], step->name))
			return 0;
	}
	return words_fail(words, "a driver is fre or chk, x64 or x86, not '%s'", step->name);
}

static int parse_option(struct words *words, struct step *step)
{
	if (words_name(words, "the option's name", &step->name))
		return -1;
	step->value = words_next(words);
	if (!step->value)
		return words_fail(words, "the value of option %s is missing", step->name);
	if (!strcmp(step->name, "driver") || !strcmp(step->name, "disk"))
		return words_fail(words, "'%s' is no option of a scenario", step->name);
	return 0;
}

static int parse_device(struct words *words, struct step *step)
{
	step->name = "device";
	step->value = words_next(words);
	return step->value ? 0 : words_fail(words, "the device's options are missing");
}

static int parse_finding(struct words *words, struct step *step)
{
	if (words_name(words, "the rule", &step->name))
		return -1;
	for (unsigned rule = 0; rule < RULE_COUNT; rule++) {
		if (!strcmp(rule_name((enum rule)rule), step->name)) {
			step->number = rule;
			return 0;
		}
	}
	return words_fail(words, "there is no rule '%s'", step->name);
}

static int parse_start(struct words *words, struct step *step)
{
	if (words_take(words, "fails"))
		return words_text(words, "the text of the refusal", &step->name);
	return 0;
}

static int parse_nothing(struct words *words, struct step *step)
{
	(void)words;
	(void)step;
	return 0;
}

/* ---- requests ---- */

static int parse_io(struct words *words, struct step *step)
{
	uint64_t blocks;

	if (words_number(words, "the block address", 0, UINT64_MAX >> 16, &step->number) ||
	    words_number(words, "the number of blocks", 1, BLOCKS_MAX, &blocks))
		return -1;
	step->blocks = (uint32_t)blocks;
	step->fua = words_take(words, "fua");
	return 0;
}

static int parse_read(struct words *words, struct step *step)
{
	step->direction = DIRECTION_IN;
	return parse_io(words, step);
}

static int parse_write(struct words *words, struct step *step)
{
	step->direction = DIRECTION_OUT;
	return parse_io(words, step);
}

/* in N, out pattern N, out HEX… */
static int parse_data(struct words *words, struct step *step)
{
	uint64_t length;

	if (step->direction != DIRECTION_NONE)
		return words_fail(words, "a request has data in one direction only");
	if (words_take(words, "in")) {
		step->direction = DIRECTION_IN;
	} else if (words_take(words, "out")) {
		step->direction = DIRECTION_OUT;
		if (!words_take(words, "pattern"))
			return words_bytes(words, WORDS_MAX, false, &step->bytes, &step->known, &step->length);
	}
	if (words_number(words, "the number of bytes", 0, DATA_MAX, &length))
		return -1;
	step->length = (uint32_t)length;
	return 0;
}

static bool data_follows(const struct words *words)
{
	const char *next = words_peek(words);

	return next && (!strcmp(next, "in") || !strcmp(next, "out"));
}

static int parse_scsi(struct words *words, struct step *step)
{
	uint8_t *bytes, *known;
	uint32_t count;

	if (data_follows(words) && parse_data(words, step))
		return -1;
	if (words_bytes(words, sizeof(step->cdb.bytes), false, &bytes, &known, &count))
		return -1;
	memcpy(step->cdb.bytes, bytes, count);
	step->cdb.length = (uint8_t)count;
	return data_follows(words) ? parse_data(words, step) : 0;
}

static int parse_reset(struct words *words, struct step *step)
{
	static const struct {
		const char *name;
		uint8_t function;
	} resets[] = {
		{ "unit", SRB_FUNCTION_RESET_LOGICAL_UNIT },
		{ "target", SRB_FUNCTION_RESET_DEVICE },
		{ "bus-request", SRB_FUNCTION_RESET_BUS },
	};
	const char *name = words_next(words);

	if (name && !strcmp(name, "bus")) {
		step->direct = true;
		step->flag = words_take(words, "fails");
		return 0;
	}
	for (size_t i = 0; name && i < sizeof(resets) / sizeof(resets[0]); i++) {
		if (!strcmp(resets[i].name, name)) {
			step->function = resets[i].function;
			return 0;
		}
	}
	return name ? words_fail(words, "a reset is one of unit, target, bus-request and bus, not '%s'", name)
		    : words_fail(words, "what to reset is missing");
}

static int parse_abort(struct words *words, struct step *step)
{
	step->function = SRB_FUNCTION_ABORT_COMMAND;
	return words_name(words, "the name of the request to abort", &step->name);
}

static int parse_function(struct words *words, struct step *step)
{
	uint64_t number;

	if (words_number(words, "the function", 1, 0xff, &number))
		return -1;
	step->function = (uint8_t)number;
	for (;;) {
		if (words_take(words, "adapter")) {
			step->flag = true;
		} else if (words_take(words, "action")) {
			if (words_number(words, "the action", 0, UINT32_MAX, &number))
				return -1;
			step->action = (uint32_t)number;
		} else if (words_take(words, "state")) {
			if (words_number(words, "the power state", 0, UINT32_MAX, &number))
				return -1;
			step->power_state = (uint32_t)number;
		} else if (data_follows(words)) {
			if (parse_data(words, step))
				return -1;
		} else {
			return 0;
		}
	}
}

static int parse_ioctl(struct words *words, struct step *step)
{
	uint64_t code, payload, header = IOCTL_HEADER_BYTES, buffer;

	if (words_text(words, "the signature", &step->name))
		return -1;
	if (strlen(step->name) > SIGNATURE_BYTES)
		return words_fail(words, "a signature has at most %u characters", SIGNATURE_BYTES);
	if (words_number(words, "the control code", 0, UINT32_MAX, &code) ||
	    words_number(words, "the payload's length", 0, UINT32_MAX, &payload))
		return -1;
	buffer = IOCTL_HEADER_BYTES + payload;
	for (;;) {
		if (words_take(words, "header")) {
			if (words_number(words, "the header's length", 0, UINT32_MAX, &header))
				return -1;
		} else if (words_take(words, "buffer")) {
			if (words_number(words, "the buffer's length", 0, DATA_MAX, &buffer))
				return -1;
		} else {
			break;
		}
	}
	if (buffer > DATA_MAX)
		return words_fail(words, "a buffer of %llu bytes is too long; 'buffer BYTES' makes it shorter",
				  (unsigned long long)buffer);
	step->ioctl.code = (uint32_t)code;
	step->ioctl.payload = (uint32_t)payload;
	step->ioctl.header = (uint32_t)header;
	step->ioctl.buffer = (uint32_t)buffer;
	return 0;
}

/* ---- data that came ---- */

static int parse_bytes(struct words *words, struct step *step)
{
	if (words_number(words, "the offset", 0, DATA_MAX, &step->number))
		return -1;
	return words_bytes(words, WORDS_MAX, true, &step->bytes, &step->known, &step->length);
}

static int parse_text(struct words *words, struct step *step)
{
	const char *text;

	if (words_number(words, "the offset", 0, DATA_MAX, &step->number) || words_text(words, "the text", &text))
		return -1;
	step->length = (uint32_t)strlen(text);
	step->bytes = words_keep(words, step->length + 1);
	step->known = words_keep(words, step->length + 1);
	if (!step->bytes || !step->known)
		return -1;
	memcpy(step->bytes, text, step->length);
	memset(step->known, 1, step->length);
	return 0;
}

static int parse_comparison(struct words *words, struct step *step)
{
	static const char *const comparisons[] = { "==", "!=", "<", "<=", ">", ">=" };
	const char *word = words_next(words);

	for (size_t i = 0; word && i < sizeof(comparisons) / sizeof(comparisons[0]); i++) {
		if (!strcmp(comparisons[i], word)) {
			step->comparison = (enum comparison)i;
			return words_number(words, "the number to compare with", 0, UINT64_MAX, &step->operand);
		}
	}
	return words_fail(words, "a comparison is ==, !=, <, <=, > or >=%s%s%s", word ? ", not '" : "",
			  word ? word : "", word ? "'" : "");
}

/* OFFSET [OP] VALUE: a number in the data; the verb's name says how it is stored. */
static int parse_value(struct words *words, struct step *step)
{
	const char *next;

	if (words_number(words, "the offset", 0, DATA_MAX, &step->number))
		return -1;
	next = words_peek(words);
	if (next && *next >= '0' && *next <= '9')
		return words_number(words, "the value", 0, UINT64_MAX, &step->operand);
	return parse_comparison(words, step);
}

static int parse_return_code(struct words *words, struct step *step)
{
	return words_number(words, "the return code", 0, UINT32_MAX, &step->number);
}

/* ---- many requests ---- */

static int parse_await(struct words *words, struct step *step)
{
	const struct scenario *scenario = words->scenario;

	if (words_name(words, "the name of the request to await", &step->name))
		return -1;
	if (words_take(words, "->") && expect_parse(words, &step->expect))
		return -1;
	for (unsigned i = 0; strcmp(step->name, "all") && i < scenario->step_count; i++) {
		if (scenario->steps[i].submitted && !strcmp(scenario->steps[i].submitted, step->name))
			return 0;
	}
	return !strcmp(step->name, "all") ? 0 : words_fail(words, "no request '%s' was submitted", step->name);
}

static int parse_wait(struct words *words, struct step *step)
{
	return words_number(words, "the number of requests", 1, LOAD_MAX, &step->number);
}

static int parse_load(struct words *words, struct step *step)
{
	uint64_t depth = 32, reads = 50, bytes = DATA_MAX;

	if (words_number(words, "the number of requests", 1, LOAD_MAX, &step->number))
		return -1;
	for (;;) {
		if (words_take(words, "depth")) {
			if (words_number(words, "the depth", 1, LOAD_DEPTH_MAX, &depth))
				return -1;
		} else if (words_take(words, "mix")) {
			if (words_number(words, "the percentage of reads", 0, 100, &reads))
				return -1;
		} else if (words_take(words, "bytes")) {
			if (words_number(words, "the bytes per request", 512, DATA_MAX, &bytes))
				return -1;
		} else if (words_take(words, "within")) {
			if (words_number(words, "the number of blocks", 1, UINT64_MAX >> 16, &step->operand))
				return -1;
		} else if (words_take(words, "retry")) {
			step->load.retry = true;
		} else if (words_take(words, "fails")) {
			step->load.fails = true;
		} else if (words_take(words, "sequential")) {
			step->load.sequential = true;
		} else if (words_take(words, "background")) {
			step->load.background = true;
		} else {
			break;
		}
	}
	step->load.depth = (uint32_t)depth;
	step->load.reads = (uint32_t)reads;
	step->load.bytes = (uint32_t)bytes;
	return 0;
}

static int parse_live(struct words *words, struct step *step)
{
	const char *name;

	if (words_number(words, "the number of seconds", 1, ADVANCE_MAX_S, &step->number))
		return -1;
	step->operand = UINT64_MAX;
	if (!words_take(words, "only"))
		return 0;
	for (step->operand = 0; (name = words_next(words)) != NULL;) {
		int happening = live_named(name);

		if (happening < 0)
			return words_fail(words, "nothing that happens is called '%s'", name);
		step->operand |= (uint64_t)1 << happening;
	}
	return step->operand ? 0 : words_fail(words, "what is to happen is missing");
}

/* ---- what happens to the machine ---- */

static int parse_lun(struct words *words, struct step *step)
{
	static const char *const parts[] = { "the path", "the target", "the logical unit" };
	uint64_t number;

	for (unsigned i = 0; i < 3; i++) {
		if (words_number(words, parts[i], 0, 255, &number))
			return -1;
		step->address[i] = (uint8_t)number;
	}
	return 0;
}

static int parse_fault(struct words *words, struct step *step)
{
	step->value = words_next(words);
	return step->value ? 0 : words_fail(words, "the fault is missing, as in fault=stall,fault-after=3");
}

static int parse_hibernate(struct words *words, struct step *step)
{
	step->flag = true;
	step->number = words_take(words, "write");
	return step->number ? parse_start(words, step) : 0;
}

static int parse_crash(struct words *words, struct step *step)
{
	if (words_take(words, "after") && words_number(words, "the number of steps", 1, CRASH_MAX_STEPS, &step->number))
		return -1;
	return parse_start(words, step);
}

static int parse_dump(struct words *words, struct step *step)
{
	if (words_number(words, "the block address", 0, UINT64_MAX >> 16, &step->operand) ||
	    words_size(words, &step->number))
		return -1;
	step->flag = words_take(words, "full");
	return 0;
}

static int parse_rebalance(struct words *words, struct step *step)
{
	step->flag = words_take(words, "untold");
	return 0;
}

static int parse_wake(struct words *words, struct step *step)
{
	step->flag = words_take(words, "lost");
	return 0;
}

/* Seconds, with at most six decimals, as microseconds. */
static int parse_advance(struct words *words, struct step *step)
{
	const char *word = words_peek(words), *point = word ? strchr(word, '.') : NULL;
	char whole[24] = "";
	uint64_t unit = 100000;

	if (!point) {
		if (words_number(words, "the number of seconds", 1, ADVANCE_MAX_S, &step->number))
			return -1;
		step->number *= 1000000;
		return 0;
	}
	snprintf(whole, sizeof(whole), "%.*s", (int)(point - word < 20 ? point - word : 20), word);
	if (!point[1] || point == word || strspn(whole, "0123456789") != strlen(whole) || strlen(whole) > 7 ||
	    strspn(point + 1, "0123456789") != strlen(point + 1) || strlen(point + 1) > 6)
		return words_fail(words, "the number of seconds is written as in 30 or 0.25, not '%s'", word);
	for (const char *p = whole; *p; p++)
		step->number = step->number * 10 + (uint64_t)(*p - '0');
	step->number *= 1000000;
	for (const char *p = point + 1; *p; p++, unit /= 10)
		step->number += (uint64_t)(*p - '0') * unit;
	words_next(words);
	return 0;
}

static int parse_explore(struct words *words, struct step *step)
{
	uint64_t bound = 0;

	if (words_take(words, "end"))
		return 0;
	step->flag = words_take(words, "begin");
	if (!step->flag)
		return words_fail(words, "explore has a begin and an end");
	if (!words_peek(words))
		return 0;
	if (words_number(words, "the number of preemptions", 0, SCENARIO_PREEMPTIONS_MAX, &bound))
		return -1;
	words->scenario->preemptions = (unsigned)bound;
	return 0;
}

static int parse_resize(struct words *words, struct step *step)
{
	if (words_size(words, &step->number))
		return -1;
	step->flag = words_take(words, "anytime");
	return 0;
}

static int parse_event(struct words *words, struct step *step)
{
	return words_text(words, "the event's text", &step->name);
}

static int parse_neighbour(struct words *words, struct step *step)
{
	return words_number(words, "the number of interrupts", 1, LOAD_MAX, &step->number);
}

static int parse_mark(struct words *words, struct step *step)
{
	return words_name(words, "the counter", &step->name);
}

static int parse_expect(struct words *words, struct step *step)
{
	if (words_name(words, "the counter", &step->name))
		return -1;
	return parse_comparison(words, step);
}

/* ---- the table ---- */

/* Sends a request, or does something at once; both: a step that is `direct` does. */
#define DO(name, grammar, parse, run, states, help) { name, grammar, help, parse, NULL, run, states }
#define SEND(name, grammar, parse, build, states, help) { name, grammar, help, parse, build, NULL, states }

const struct verb verbs[] = {
	DO("limit", "limit SECONDS", parse_limit, step_nothing, STATE_ANY, "of real time, after which it failed (60)"),
	DO("driver", "driver fre|chk|x64|x86", parse_driver, step_nothing, STATE_ANY,
	   "the scenario is for such a driver, and skipped for others"),
	DO("disk", "disk SIZE", parse_disk, step_disk, STATE_NEW, "the scratch disk, unless an image is named (64M)"),
	DO("option", "option NAME VALUE", parse_option, step_option, STATE_NEW,
	   "a machine option, as on the command line"),
	DO("device", "device SPEC", parse_device, step_option, STATE_NEW, "the same as option device SPEC"),
	DO("volatile", "volatile", parse_nothing, step_volatile, STATE_NEW,
	   "the driver keeps its disk in memory of its own: nothing is expected of the image"),
	DO("finding", "finding RULE", parse_finding, step_nothing, STATE_ANY,
	   "this rule is broken somewhere in the scenario, and that is right"),
	DO("start", "start [fails \"TEXT\"]", parse_start, step_start, STATE_NEW | STATE_STOPPED | STATE_REFUSED,
	   "starts the driver, or it refuses with a sentence that has TEXT in it"),
	DO("stop", "stop", parse_nothing, step_stop, STATE_RUNNING | STATE_REMOVED,
	   "disables the device: the driver is stopped and unloaded; start enables it"),

	SEND("read", "read LBA BLOCKS [fua] [-> EXPECT]", parse_read, request_build_io, STATE_REQUESTS,
	     "reads, and compares with what was written there"),
	SEND("write", "write LBA BLOCKS [fua] [-> EXPECT]", parse_write, request_build_io, STATE_REQUESTS,
	     "writes data that no block has had before"),
	SEND("flush", "flush [-> EXPECT]", parse_nothing, request_build_flush, STATE_REQUESTS, "SYNCHRONIZE CACHE(10)"),
	SEND("scsi", "scsi [in N | out pattern N] BYTE... [in N | out pattern N | out BYTE...] [-> EXPECT]", parse_scsi,
	     request_build_scsi, STATE_REQUESTS, "any CDB, in hexadecimal, with a buffer of N bytes"),
	{ "reset", "reset unit|target|bus-request [-> EXPECT], or reset bus [fails]",
	  "the reset that an SRB asks for; bus: HwResetBus", parse_reset, request_build_function, step_reset_bus,
	  STATE_REQUESTS },
	SEND("abort", "abort NAME [-> EXPECT]", parse_abort, request_build_abort, STATE_STARTED,
	     "SRB_FUNCTION_ABORT_COMMAND for a request that was submitted"),
	SEND("function",
	     "function 0xNN [adapter] [action N] [state N] [in N | out pattern N | out BYTE...] [-> EXPECT]",
	     parse_function, request_build_function, STATE_REQUESTS,
	     "an SRB with that function, PNP and POWER included"),
	SEND("ioctl", "ioctl \"SIGNATURE\" CODE LENGTH [header N] [buffer N] [-> EXPECT]", parse_ioctl,
	     request_build_ioctl, STATE_REQUESTS, "IOCTL_SCSI_MINIPORT with a payload of LENGTH bytes"),

	DO("bytes", "bytes OFFSET BYTE...", parse_bytes, step_bytes, STATE_ANY,
	   "the data that came last has these bytes; ?? is any"),
	DO("text", "text OFFSET \"TEXT\"", parse_text, step_bytes, STATE_ANY, "the data that came last has this text"),
	DO("u8", "u8 OFFSET [OP] VALUE", parse_value, step_value, STATE_ANY, "the data that came last has this number"),
	DO("be16", "be16 OFFSET [OP] VALUE", parse_value, step_value, STATE_ANY, "the same, big-endian"),
	DO("be32", "be32 OFFSET [OP] VALUE", parse_value, step_value, STATE_ANY, "the same, big-endian"),
	DO("be64", "be64 OFFSET [OP] VALUE", parse_value, step_value, STATE_ANY, "the same, big-endian"),
	DO("le16", "le16 OFFSET [OP] VALUE", parse_value, step_value, STATE_ANY, "the same, little-endian"),
	DO("le32", "le32 OFFSET [OP] VALUE", parse_value, step_value, STATE_ANY, "the same, little-endian"),
	DO("le64", "le64 OFFSET [OP] VALUE", parse_value, step_value, STATE_ANY, "the same, little-endian"),
	DO("returncode", "returncode VALUE", parse_return_code, step_return_code, STATE_ANY,
	   "ReturnCode of the last ioctl"),

	DO("await", "await NAME|all [-> EXPECT]", parse_await, step_await, STATE_STARTED,
	   "waits for requests that were submitted, and for loads"),
	DO("wait", "wait COUNT", parse_wait, step_wait, STATE_STARTED, "until so many more requests have come back"),
	DO("load",
	   "load COUNT [depth D] [mix PERCENT] [bytes N] [within BLOCKS] [sequential] [retry|fails] [background]",
	   parse_load, load_step, STATE_STARTED,
	   "verified reads (so many percent), writes, flushes, and now and then what else the disk can do, of up to N\n"
	   "        bytes, D (32) at a time; within: of the first BLOCKS only; retry: what a class driver tries again is\n"
	   "        tried again; fails: requests may fail; background: the next step does not wait"),
	DO("live", "live SECONDS [only NAME...]", parse_live, step_live, STATE_RUNNING,
	   "so much of the machine's time with idle times, bursts of load, and, by chance, what the names say: resets,\n"
	   "        aborts, removals, sleeps, resizes, faults; without names all of them"),

	DO("lun", "lun PATH TARGET LUN", parse_lun, step_lun, STATE_ANY, "where the following requests go"),
	DO("fault", "fault KEY=VALUE,...", parse_fault, step_fault, STATE_REQUESTS | STATE_STOPPED | STATE_REFUSED,
	   "what the device does wrong from here on; fault-after counts from here"),
	DO("resize", "resize SIZE [anytime]", parse_resize, step_resize, STATE_REQUESTS,
	   "the disk grows or shrinks; anytime: not at once, but while the next steps run"),
	DO("capacity", "capacity", parse_nothing, step_capacity, STATE_RUNNING,
	   "once nothing moves, the driver says how large the disk is, if need be after a unit attention"),
	DO("explore", "explore begin [PREEMPTIONS], or explore end", parse_explore, step_explore, STATE_ANY,
	   "between the two, storhost explore has everything happen in every order, with so many preemptions (1);\n"
	   "        without them, everywhere"),
	DO("sleep", "sleep", parse_nothing, step_sleep, STATE_RUNNING, "S3: the adapter is stopped"),
	DO("hibernate", "hibernate [write [fails \"TEXT\"]]", parse_hibernate, step_sleep, STATE_RUNNING,
	   "S4: likewise; write: the image that writes the hibernation file takes requests until wake"),
	DO("wake", "wake [lost]", parse_wake, step_wake, STATE_ASLEEP | STATE_HIBERNATING,
	   "the adapter is restarted; lost: power was off"),
	DO("crash", "crash [after STEPS] [fails \"TEXT\"]", parse_crash, step_crash,
	   STATE_NEW | STATE_RUNNING | STATE_STOPPED | STATE_REFUSED,
	   "the machine stops where it is, or is after so many steps; what is under way never comes back. The image that\n"
	   "        writes the dump takes requests until reboot, or refuses with a sentence that has TEXT in it"),
	DO("dump", "dump LBA SIZE [full]", parse_dump, step_dump, STATE_DUMPING,
	   "SIZE bytes from there on are written in pieces of 1 to as many pages as one request takes; full: of so many"),
	DO("reboot", "reboot", parse_nothing, step_reboot, STATE_CRASHED, "power off and on; start may follow"),
	DO("rebalance", "rebalance [untold]", parse_rebalance, step_rebalance, STATE_RUNNING,
	   "other resources for the adapter; untold: no StorStopDevice comes before it is stopped"),
	DO("neighbour", "neighbour COUNT", parse_neighbour, step_neighbour, STATE_RUNNING,
	   "another device that shares the interrupt line interrupts so often"),
	DO("surprise-remove", "surprise-remove", parse_nothing, step_surprise_remove, STATE_RUNNING,
	   "the device is pulled out"),
	DO("advance", "advance SECONDS", parse_advance, step_advance, STATE_STARTED,
	   "lets the machine run until nothing moves, and then so much of its time pass"),

	DO("event", "event \"TEXT\"", parse_event, step_event, STATE_ANY,
	   "the event log has an entry with TEXT that answered no such check yet"),
	DO("no-event", "no-event \"TEXT\"", parse_event, step_event, STATE_ANY, "it has none"),
	DO("mark", "mark COUNTER", parse_mark, step_mark, STATE_STARTED, "expect counts this from here on"),
	DO("expect", "expect COUNTER OP NUMBER", parse_expect, step_expect, STATE_ANY,
	   "a number of the machine's report; OP is ==, !=, <, <=, > or >="),
};

const unsigned verb_count = sizeof(verbs) / sizeof(verbs[0]);
