/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The parser of scenarios: every verb, every sentence about a wrong one, and bytes that are no scenario at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scenario/internal.h"

static const char good[] = "# SPDX-License-Identifier: MIT OR Apache-2.0\n"
			   "\n"
			   "# the claim \n"
			   "# not the claim\n"
			   "limit 7\n"
			   "driver fre\n"
			   "disk 64M\n"
			   "option interrupts msix:1\n"
			   "device queue-size=8,features=-indirect\n"
			   "volatile\n"
			   "finding SRB-TWICE\n"
			   "start fails \"no, thanks\" # why not\n"
			   "start\n"
			   "stop\n"
			   "read 0 8\n"
			   "read 1 2 fua -> good 1024\n"
			   "write 0xffffffff 65535 -> sense 05/21/00 transferred 0 or srb BUS_RESET or any\n"
			   "flush -> any\n"
			   "scsi 12 00 00 00 24 00 in 36 -> good 36\n"
			   "scsi in 36 12 00 00 00 24 00\n"
			   "scsi out pattern 512 2a 00 00 00 00 00 00 00 01 00\n"
			   "scsi 15 10 00 00 04 00 out 00 00 00 00\n"
			   "submit a read 0 8\n"
			   "submit b scsi 00 00 00 00 00 00\n"
			   "abort a -> srb ABORT_FAILED\n"
			   "await a -> good\n"
			   "await all -> any\n"
			   "submit a flush\n"
			   "reset unit -> good\n"
			   "reset target\n"
			   "reset bus-request\n"
			   "reset bus\n"
			   "reset bus fails\n"
			   "function 0x25 adapter action 9 state 1 in 8 -> good\n"
			   "ioctl \"AEROVBLK\" 0x8000A001 0x40 header 24 buffer 10 -> srb INVALID_REQUEST\n"
			   "returncode 0xC00000BB\n"
			   "bytes 0 00 ?? fF\n"
			   "text 8 \"AERO\"\n"
			   "u8 0 1\n"
			   "be16 0 1\n"
			   "be32 4 >= 512\n"
			   "be64 0 != 0xffffffffffffffff\n"
			   "le16 8 128\n"
			   "le32 8 < 128\n"
			   "le64 8 <= 128\n"
			   "wait 10\n"
			   "load 100 depth 64 mix 100 bytes 512 within 8 sequential retry fails background\n"
			   "live 604800\n"
			   "live 10 only reset-unit pull\n"
			   "lun 1 2 3\n"
			   "fault fault=stall,fault-after=3\n"
			   "resize 3T\n"
			   "explore begin 2\n"
			   "resize 4T anytime\n"
			   "explore end\n"
			   "capacity\n"
			   "sleep\n"
			   "hibernate\n"
			   "hibernate write\n"
			   "hibernate write fails \"no\"\n"
			   "crash\n"
			   "crash after 9 fails \"no\"\n"
			   "dump 0 1M\n"
			   "dump 8 64K full\n"
			   "reboot\n"
			   "wake lost\n"
			   "wake\n"
			   "rebalance\n"
			   "neighbour 1000\n"
			   "surprise-remove\n"
			   "advance 30\n"
			   "advance 0.25\n"
			   "event \"129\"\n"
			   "no-event \"129\"\n"
			   "mark requests\n"
			   "expect requests == 0\n";

static struct scenario *parse(const char *text, struct error *err)
{
	return scenario_parse("x.scn", text, strlen(text), err);
}

static void test_every_verb_is_understood(void **state)
{
	struct error err;
	struct scenario *scenario = parse(good, &err);

	(void)state;
	if (!scenario)
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < verb_count; i++) {
		bool used = false;

		for (unsigned n = 0; n < scenario->step_count; n++)
			used |= scenario->steps[n].verb == &verbs[i];
		if (!used)
			fail_msg("no step uses %s", verbs[i].name);
	}
	assert_int_equal(scenario->limit, 7);
	assert_int_equal(scenario_preemptions(scenario), 2);
	scenario_free(scenario);
}

static void test_the_claim_is_the_first_comment_after_the_license(void **state)
{
	struct error err;
	struct scenario *scenario = parse(good, &err);

	(void)state;
	assert_non_null(scenario);
	assert_string_equal(scenario_claim(scenario), "the claim");
	scenario_free(scenario);
}

/* The one step of a scenario with that line. */
static struct scenario *parse_line(const char *line)
{
	char text[8192];
	struct error err;
	struct scenario *scenario;

	snprintf(text, sizeof(text), "# c\nsubmit a flush\n%s", line);
	scenario = parse(text, &err);
	if (!scenario)
		fail_msg("%s", err.text);
	return scenario;
}

static void test_what_was_written_is_what_is_kept(void **state)
{
	struct scenario *scenario = parse_line("scsi 2a 08 out 01 fe -> good 2 or sense 0b/44/ab");
	struct step *step = &scenario->steps[1];

	(void)state;
	assert_int_equal(step->line, 3);
	assert_string_equal(step->text, "scsi 2a 08 out 01 fe -> good 2 or sense 0b/44/ab");
	assert_int_equal(step->cdb.length, 2);
	assert_memory_equal(step->cdb.bytes, ((uint8_t[]){ 0x2a, 8 }), 2);
	assert_int_equal(step->direction, DIRECTION_OUT);
	assert_int_equal(step->length, 2);
	assert_memory_equal(step->bytes, ((uint8_t[]){ 1, 0xfe }), 2);
	assert_int_equal(step->expect.count, 2);
	assert_true(step->expect.alternative[0].has_transferred);
	assert_int_equal(step->expect.alternative[0].transferred, 2);
	assert_int_equal(step->expect.alternative[1].key, 0xb);
	assert_int_equal(step->expect.alternative[1].asc, 0x44);
	assert_int_equal(step->expect.alternative[1].ascq, 0xab);
	scenario_free(scenario);

	scenario = parse_line("resize 3T");
	assert_true(scenario->steps[1].number == (uint64_t)3 << 40);
	scenario_free(scenario);
	scenario = parse_line("advance 12.034");
	assert_true(scenario->steps[1].number == 12034000);
	scenario_free(scenario);
	scenario = parse_line("bytes 1 ?? 7f");
	assert_memory_equal(scenario->steps[1].known, ((uint8_t[]){ 0, 1 }), 2);
	scenario_free(scenario);
	scenario = parse_line("  text\t0 \"a # b\"#c\r");
	assert_memory_equal(scenario->steps[1].bytes, "a # b", 6);
	scenario_free(scenario);
}

static const struct {
	const char *line, *sentence;
} bad[] = {
	{ "jump 1", "there is no verb 'jump'" },
	{ "disk", "the size is missing" },
	{ "disk 0", "a size is a multiple of 512" },
	{ "disk 513", "a size is a multiple of 512" },
	{ "disk 65T", "a size is a multiple of 512" },
	{ "disk 99999999999999999999999T", "a size is a multiple of 512" },
	{ "disk 16777217T", "a size is a multiple of 512" },
	{ "disk 4Q", "is no size" },
	{ "disk 4KB", "is no size" },
	{ "disk 4K 5", "'5' is more than 'disk' takes: disk SIZE" },
	{ "limit 0", "the limit in seconds is a number from 1 to 86400, not '0'" },
	{ "limit -1", "not '-1'" },
	{ "driver ia64", "a driver is fre or chk" },
	{ "option", "the option's name is missing" },
	{ "option seed", "the value of option seed is missing" },
	{ "option disk x", "'disk' is no option of a scenario" },
	{ "device", "the device's options are missing" },
	{ "finding SRB-THRICE", "there is no rule 'SRB-THRICE'" },
	{ "start fails", "the text of the refusal is missing" },
	{ "start fails because", "stands in quotes, unlike 'because'" },
	{ "read", "the block address is missing" },
	{ "read 1", "the number of blocks is missing" },
	{ "read 1 0", "the number of blocks is a number from 1" },
	{ "read 1x 1", "not '1x'" },
	{ "read 1 1 now", "'now' is more than 'read' takes" },
	{ "read 0 1 ->", "'good', 'sense', 'srb' or 'any' is expected" },
	{ "read 0 1 -> bad", "is expected, not 'bad'" },
	{ "read 0 1 -> good or", "is expected" },
	{ "read 0 1 -> any or any or any or any or any", "at most 4 outcomes" },
	{ "read 0 1 -> sense 5/24/00", "sense is written as" },
	{ "read 0 1 -> sense 15/24/00", "sense is written as" },
	{ "read 0 1 -> sense", "sense is written as" },
	{ "read 0 1 -> srb", "the name of the SRB status is missing" },
	{ "read 0 1 -> srb RESET", "there is no SRB status 'RESET'" },
	{ "read 0 1 -> good transferred", "the number of bytes transferred is missing" },
	{ "scsi", "bytes of two hexadecimal digits are missing" },
	{ "scsi 1", "are missing before 1" },
	{ "scsi ??", "are missing before ??" },
	{ "scsi 0 1 2", "are missing before 0" },
	{ "scsi 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", "17 bytes are too many: there is room for 16" },
	{ "scsi 00 in", "the number of bytes is missing" },
	{ "scsi 00 in 2000000", "the number of bytes is a number from 0 to 1048576" },
	{ "scsi in 4 00 out 01", "one direction only" },
	{ "scsi 00 out", "bytes of two hexadecimal digits are missing" },
	{ "live", "the number of seconds is missing" },
	{ "live 5 only", "what is to happen is missing" },
	{ "live 5 only rain", "nothing that happens is called 'rain'" },
	{ "live 5 rain", "'rain' is more than 'live' takes" },
	{ "reset", "what to reset is missing" },
	{ "reset world", "not 'world'" },
	{ "reset bus -> good", "'->' is more than 'reset' takes" },
	{ "function 0", "the function is a number from 1 to 255" },
	{ "function 0x100", "the function is a number from 1 to 255" },
	{ "function 1 action", "the action is missing" },
	{ "ioctl AEROVBLK 1 2", "the signature stands in quotes" },
	{ "ioctl \"AEROVBLK1\" 1 2", "at most 8 characters" },
	{ "ioctl \"A\" 1 0xffffffff", "is too long" },
	{ "ioctl \"A\" 1", "the payload's length is missing" },
	{ "bytes 0", "bytes of two hexadecimal digits are missing" },
	{ "text 0 x", "the text stands in quotes" },
	{ "text 0 \"x", "a quotation mark is missing" },
	{ "text 0 \"x\"y", "a blank is missing behind the quotation mark" },
	{ "be32 0", "a comparison is" },
	{ "be32 0 = 5", "a comparison is ==, !=, <, <=, > or >=, not '='" },
	{ "returncode 0x100000000", "the return code is a number" },
	{ "await b", "no request 'b' was submitted" },
	{ "submit", "the request's name is missing" },
	{ "submit b", "the request to submit is missing" },
	{ "submit b start", "'start' is nothing that can be submitted" },
	{ "submit b reset bus", "'reset' is nothing that can be submitted" },
	{ "submit a flush", "'a' is the name of a request that was not awaited yet" },
	{ "submit all flush", "no request can be called 'all'" },
	{ "submit b flush -> good", "is said where it is awaited" },
	{ "submit b/c flush", "letters, digits" },
	{ "submit abcdefghijklmnopqrstuvwxyzabcdef flush", "letters, digits" },
	{ "load 0", "the number of requests is a number from 1" },
	{ "load 1 depth 65", "the depth is a number from 1 to 64" },
	{ "load 1 mix 101", "the percentage of reads" },
	{ "load 1 within 0", "the number of blocks is a number from 1" },
	{ "crash after", "the number of steps" },
	{ "crash fails", "the text of the refusal is missing" },
	{ "hibernate now", "'now' is more than 'hibernate' takes" },
	{ "dump", "the block address is missing" },
	{ "dump 0", "the size is missing" },
	{ "dump 0 1M half", "'half' is more than 'dump' takes" },
	{ "load 1 forever", "'forever' is more than 'load' takes" },
	{ "lun 0 0", "the logical unit is missing" },
	{ "lun 0 0 256", "the logical unit is a number from 0 to 255" },
	{ "fault", "the fault is missing" },
	{ "advance 0", "the number of seconds is a number" },
	{ "advance .5", "the number of seconds is written as" },
	{ "advance 1.", "the number of seconds is written as" },
	{ "advance 1.2.3", "the number of seconds is written as" },
	{ "advance 1.1234567", "the number of seconds is written as" },
	{ "event 129", "the event's text stands in quotes" },
	{ "expect requests 5", "a comparison is" },
	{ "expect requests == -1", "the number to compare with" },
};

static void test_what_is_wrong_is_said_with_its_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[512];
		struct error err = { "" };

		snprintf(text, sizeof(text), "# c\r\n\nsubmit a flush\n%s\nstart\n", bad[i].line);
		if (parse(text, &err))
			fail_msg("'%s' was taken", bad[i].line);
		if (strncmp(err.text, "x.scn:4: ", 9) || !strstr(err.text, bad[i].sentence))
			fail_msg("'%s': %s", bad[i].line, err.text);
	}
}

static void refused(const char *text, size_t size, const char *sentence)
{
	struct error err = { "" };

	assert_null(scenario_parse("x.scn", text, size, &err));
	assert_string_equal(err.text, sentence);
}

static void test_a_scenario_needs_a_claim_and_a_step(void **state)
{
	(void)state;
	refused("", 0, "x.scn:1: there is no claim: the first comment says what the scenario proves");
	refused("start\n\n", 7, "x.scn:3: there is no claim: the first comment says what the scenario proves");
	refused("# SPDX-License-Identifier: MIT\nstart", 36,
		"x.scn:2: there is no claim: the first comment says what the scenario proves");
	refused("# c\n", 4, "x.scn:2: there is no step");
}

static void test_everything_is_bounded(void **state)
{
	size_t size = (1u << 20) + 1;
	char *text = calloc(1, size + 1);
	struct scenario *scenario;
	struct error err;

	(void)state;
	memset(text, '\n', size);
	refused(text, size, "x.scn:1: a scenario has at most 1048576 bytes");
	memcpy(text, "# c\n", 4);
	memset(text + 4, 'a', 4096);
	refused(text, 8192, "x.scn:2: a line has at most 4095 characters");
	for (size_t i = 4; i < 1300; i += 2)
		memcpy(text + i, "a ", 2);
	text[1300] = '\n';
	refused(text, 1301, "x.scn:2: a line has at most 600 words");
	memcpy(text + 4, "st\0rt", 5);
	refused(text, 10, "x.scn:2: there is a NUL in the line");
	memset(text + 1, 'c', 300);
	text[301] = '\n';
	refused(text, 302, "x.scn:1: a claim has at most 200 characters");
	memcpy(text, "# c\n", 4);
	for (unsigned i = 0; i < 4097; i++)
		memcpy(text + 4 + 6 * i, "flush\n", 6);
	scenario = scenario_parse("x.scn", text, 4 + 6 * 4096, &err);
	assert_non_null(scenario);
	scenario_free(scenario);
	refused(text, 4 + 6 * 4097, "x.scn:4098: a scenario has at most 4096 steps");
	free(text);
}

static void parse_anything(const char *bytes, size_t size)
{
	/* A copy of its own length: one byte too far is seen. */
	char *copy = malloc(size ? size : 1);
	struct error err = { "" };
	struct scenario *scenario;

	memcpy(copy, bytes, size);
	scenario = scenario_parse("x.scn", copy, size, &err);
	if (!scenario)
		assert_int_equal(strncmp(err.text, "x.scn:", 6), 0);
	scenario_free(scenario);
	free(copy);
}

static void test_no_bytes_are_too_strange(void **state)
{
	struct rng rng = { 1 };
	char text[sizeof(good)];

	(void)state;
	for (size_t size = 0; size < sizeof(good); size++)
		parse_anything(good, size);
	for (unsigned round = 0; round < 5000; round++) {
		memcpy(text, good, sizeof(good));
		for (uint64_t n = 1 + rng_below(&rng, 8); n; n--)
			text[rng_below(&rng, sizeof(good))] = (char)rng_next(&rng);
		parse_anything(text, sizeof(good) - 1);
	}
}

/* Pieces of one good scenario in any order: deeper than noise gets. */
static void test_no_words_are_too_strange(void **state)
{
	struct rng rng = { 2 };

	(void)state;
	for (unsigned round = 0; round < 5000; round++) {
		char text[512] = "# c\n";
		size_t used = 4;

		while (used < 400) {
			size_t at = rng_below(&rng, sizeof(good) - 20), length = strcspn(good + at, " \n");

			if (length > 40)
				length = 40;
			memcpy(text + used, good + at, length);
			used += length;
			text[used++] = rng_below(&rng, 6) ? ' ' : '\n';
		}
		parse_anything(text, used);
	}
}

static void test_the_help_has_every_verb(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	scenario_help(out);
	fclose(out);
	for (unsigned i = 0; i < verb_count; i++) {
		assert_non_null(strstr(text, verbs[i].grammar));
		assert_int_equal(strncmp(verbs[i].grammar, verbs[i].name, strlen(verbs[i].name)), 0);
	}
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_verb_is_understood),
		cmocka_unit_test(test_the_claim_is_the_first_comment_after_the_license),
		cmocka_unit_test(test_what_was_written_is_what_is_kept),
		cmocka_unit_test(test_what_is_wrong_is_said_with_its_line),
		cmocka_unit_test(test_a_scenario_needs_a_claim_and_a_step),
		cmocka_unit_test(test_everything_is_bounded),
		cmocka_unit_test(test_no_bytes_are_too_strange),
		cmocka_unit_test(test_no_words_are_too_strange),
		cmocka_unit_test(test_the_help_has_every_verb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
