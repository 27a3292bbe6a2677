/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* `storhost info` and `storhost imports`, and the JSON they write: output, findings and exit status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "front/cli.h"
#include "front/json.h"
#include "image_builder.h"
#include "nt/exports.h"
#include "pe/format.h"

static int anything;

const struct export_entry *const nt_exports[] = { NULL };
const struct export_entry port_exports[] = { { "StorPortInitialize", &anything }, { NULL, NULL } };

static char path[] = "/tmp/storhost-test-XXXXXX";
static char out[16384], errors[1024];

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void write_image(const struct image *image)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(image->bytes, 1, sizeof(image->bytes), file), sizeof(image->bytes));
	fclose(file);
}

static void collect(FILE *file, int stream, int saved, char *text, size_t size)
{
	size_t length;

	dup2(saved, stream);
	close(saved);
	rewind(file);
	length = fread(text, 1, size - 1, file);
	text[length] = '\0';
	fclose(file);
}

/* Runs a command with standard output and error collected in `out` and `errors`. */
static int run(int (*command)(int argc, char **argv), const char *name, const char *argument, const char *option)
{
	char *argv[] = { (char *)name, (char *)argument, (char *)option, NULL };
	int argc = 1 + (argument != NULL) + (option != NULL), status;
	FILE *files[2] = { tmpfile(), tmpfile() };
	int saved[2];

	fflush(stdout);
	saved[0] = dup(1);
	saved[1] = dup(2);
	dup2(fileno(files[0]), 1);
	dup2(fileno(files[1]), 2);
	status = command(argc, argv);
	fflush(stdout);
	collect(files[0], 1, saved[0], out, sizeof(out));
	collect(files[1], 2, saved[1], errors, sizeof(errors));
	return status;
}

static void expect_out(const char *text)
{
	if (!strstr(out, text))
		fail_msg("no \"%s\" in:\n%s", text, out);
}

static void test_info_of_a_good_driver_finds_nothing(void **state)
{
	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		struct image image;

		image_build(&image, wide);
		write_image(&image);
		assert_int_equal(run(cmd_info, "info", path, NULL), CLI_OK);
		expect_out(wide ? "x64" : "x86");
		expect_out("(native), version 6.1");
		expect_out("tiny.pdb");
		expect_out("FileVersion      6.1.7601.0");
		expect_out("INIT");
		expect_out("r-x-d");
		expect_out("rw-n-");
		assert_null(strstr(out, "would refuse"));
		assert_string_equal(errors, "");
	}
}

static const struct {
	size_t offset;
	unsigned width;
	uint64_t value;
	const char *reason;
} refusals[] = {
	{ IMAGE_OPTIONAL + 68, 2, 2, "subsystem 2 is not native" },
	{ IMAGE_OPTIONAL + 48, 2, 10, "subsystem version 10.1 is newer than 6.1" },
	{ IMAGE_OPTIONAL + 50, 2, 2, "subsystem version 6.2 is newer than 6.1" },
	{ IMAGE_PE + 22, 2, 3, "the relocations are stripped" },
	{ IMAGE_SECTION(true, 2) + 36, 4, 0xe8000040, "section 3 (.data) is writable and executable" },
};

static void test_info_names_each_reason_to_refuse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct image image;

		image_build(&image, true);
		image_put(&image, refusals[i].offset, refusals[i].width, refusals[i].value);
		image_sign_off(&image);
		write_image(&image);
		assert_int_equal(run(cmd_info, "info", path, NULL), CLI_FINDINGS);
		expect_out("Windows 7 would refuse it: ");
		expect_out(refusals[i].reason);
		assert_int_equal(run(cmd_info, "info", "--json", path), CLI_FINDINGS);
		expect_out(refusals[i].reason);
	}
}

static void test_info_compares_the_checksum(void **state)
{
	struct image image;

	(void)state;
	image_build(&image, true);
	image.bytes[IMAGE_OFFSET(IMAGE_INIT)] ^= 1;
	write_image(&image);
	assert_int_equal(run(cmd_info, "info", path, NULL), CLI_FINDINGS);
	expect_out("the checksum is 0x");
}

static void test_info_as_json_states_the_same(void **state)
{
	struct image image;

	(void)state;
	image_build(&image, true);
	write_image(&image);
	assert_int_equal(run(cmd_info, "info", path, "--json"), CLI_OK);
	expect_out("\"machine\": \"x64\"");
	expect_out("\"image_base\": 5368709120");
	expect_out("\"pdb\": \"tiny.pdb\"");
	expect_out("\"ProductName\": \"Tiny driver\"");
	expect_out("\"flags\": \"rw-n-\"");
	expect_out("\"refused\": []");
}

static void test_info_shows_no_terminal_commands_from_a_file(void **state)
{
	struct image image;

	(void)state;
	image_build(&image, true);
	memcpy(image.bytes + IMAGE_OFFSET(IMAGE_RSDS) + 24, "\x1b[2J", 4);
	memcpy(image.bytes + IMAGE_SECTION(true, 0), "\x1b]0;\xff", 5);
	image_sign_off(&image);
	write_image(&image);
	assert_int_equal(run(cmd_info, "info", path, NULL), CLI_OK);
	assert_null(strchr(out, '\x1b'));
	expect_out("\\x1b[2J");
	assert_int_equal(run(cmd_info, "info", path, "--json"), CLI_OK);
	expect_out("\\u001b]0;\\ufffd");
}

static void test_imports_says_what_each_one_gets(void **state)
{
	struct image image;

	(void)state;
	image_build(&image, true);
	write_image(&image);
	assert_int_equal(run(cmd_imports, "imports", path, NULL), CLI_OK);
	assert_string_equal(out, "storport.sys!StorPortInitialize: storhost implements it\n"
				 "storport.sys!StorPortNotification: storhost stops with its name if it is called\n"
				 "ntoskrnl.exe!KeBugCheckEx: storhost stops with its name if it is called\n");
}

static void test_imports_names_all_that_windows_7_lacks(void **state)
{
	struct image image;

	(void)state;
	image_build(&image, true);
	image.bytes[IMAGE_OFFSET(IMAGE_NAME_INITIALIZE) + 2] = 'X';
	image.bytes[IMAGE_OFFSET(IMAGE_NAME_NOTIFICATION) + 2] = 'Y';
	image_put(&image, IMAGE_OFFSET(IMAGE_NAMES_NTOSKRNL), 8, 1ull << 63 | 7);
	write_image(&image);
	assert_int_equal(run(cmd_imports, "imports", path, NULL), CLI_FINDINGS);
	assert_string_equal(out, "storport.sys!XtorPortInitialize: Windows 7 does not export it\n"
				 "storport.sys!YtorPortNotification: Windows 7 does not export it\n"
				 "ntoskrnl.exe!#7: imports by ordinal are refused\n");
	assert_int_equal(run(cmd_imports, "imports", path, "--json"), CLI_FINDINGS);
	expect_out(
		"\"name\": null,\n      \"ordinal\": 7,\n      \"windows7\": false,\n      \"storhost\": \"ordinal\"");
	expect_out("\"findings\": 3");
}

static void test_bad_input_and_usage_get_one_sentence(void **state)
{
	(void)state;
	assert_int_equal(run(cmd_info, "info", "/nonexistent.sys", NULL), CLI_FAILED);
	assert_string_equal(errors, "storhost: /nonexistent.sys: cannot be opened: No such file or directory\n");
	assert_int_equal(run(cmd_imports, "imports", "/nonexistent.sys", "--json"), CLI_FAILED);
	assert_string_equal(out, "");
	assert_int_equal(run(cmd_info, "info", NULL, NULL), CLI_FAILED);
	assert_string_equal(errors, "storhost: info needs a file\n");
	assert_int_equal(run(cmd_info, "info", "a", "b"), CLI_FAILED);
	assert_string_equal(errors, "storhost: info takes one file\n");
	assert_int_equal(run(cmd_imports, "imports", "a", "--jso"), CLI_FAILED);
	assert_string_equal(errors, "storhost: imports does not know the option --jso\n");
}

static void test_json_nests_and_escapes(void **state)
{
	FILE *file = tmpfile();
	struct json json;
	size_t length;

	(void)state;
	json_begin(&json, file);
	json_open_object(&json, NULL);
	json_open_array(&json, "a\"");
	json_integer(&json, NULL, INT64_MIN);
	json_unsigned(&json, NULL, UINT64_MAX);
	json_open_object(&json, NULL);
	json_close(&json);
	json_close(&json);
	json_string(&json, "s", "\\\n\xc3\xa4\xc3(\xed\xa0\x80\xf4\x90\x80\x80");
	json_bool(&json, "b", true);
	json_string(&json, "n", NULL);
	json_close(&json);
	json_end(&json);
	rewind(file);
	length = fread(out, 1, sizeof(out) - 1, file);
	out[length] = '\0';
	fclose(file);
	assert_string_equal(
		out, "{\n  \"a\\\"\": [\n    -9223372036854775808,\n    18446744073709551615,\n    {}\n  ],\n"
		     "  \"s\": \"\\\\\\u000a\xc3\xa4\\ufffd(\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\",\n"
		     "  \"b\": true,\n  \"n\": null\n}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_info_of_a_good_driver_finds_nothing),
		cmocka_unit_test(test_info_names_each_reason_to_refuse),
		cmocka_unit_test(test_info_compares_the_checksum),
		cmocka_unit_test(test_info_as_json_states_the_same),
		cmocka_unit_test(test_info_shows_no_terminal_commands_from_a_file),
		cmocka_unit_test(test_imports_says_what_each_one_gets),
		cmocka_unit_test(test_imports_names_all_that_windows_7_lacks),
		cmocka_unit_test(test_bad_input_and_usage_get_one_sentence),
		cmocka_unit_test(test_json_nests_and_escapes),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
