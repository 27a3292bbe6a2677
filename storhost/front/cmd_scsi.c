/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost scsi: one SCSI command through the hosted driver, or several one after the other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/bytes.h"
#include "front/arguments.h"
#include "verify/verify.h"

#define DATA_MAX (1u << 20)
#define THEN_MAX 8

struct scsi_arguments {
	struct machine_options machine;
	uint8_t cdb[16], cdb_length;
	const char *out_path;
	int64_t in_length; /* -1: by the command's own allocation length */
	struct {
		uint8_t cdb[16], cdb_length;
	} then[THEN_MAX]; /* commands that follow on the same machine; they send no data */
	unsigned then_count;
	bool json;
};

/* Where commands that return data keep their allocation length: offset and width in the CDB. */
static const struct {
	uint8_t opcode, offset, width;
} allocation_lengths[] = {
	{ 0x03, 4, 1 }, { 0x12, 3, 2 },  { 0x1a, 4, 1 }, { 0x37, 7, 2 }, { 0x4d, 7, 2 },
	{ 0x5a, 7, 2 }, { 0x9e, 10, 4 }, { 0xa0, 6, 4 }, { 0xa3, 6, 4 },
};

static uint32_t length_from_cdb(const uint8_t *cdb, uint32_t block_size)
{
	for (size_t i = 0; i < sizeof(allocation_lengths) / sizeof(allocation_lengths[0]); i++) {
		uint32_t length = 0;

		if (allocation_lengths[i].opcode != cdb[0])
			continue;
		for (unsigned b = 0; b < allocation_lengths[i].width; b++)
			length = length << 8 | cdb[allocation_lengths[i].offset + b];
		return length;
	}
	switch (cdb[0]) {
	case 0x25: /* READ CAPACITY(10) has none: the answer is 8 bytes */
		return 8;
	case 0x08:
		return (cdb[4] ? cdb[4] : 256u) * block_size;
	case 0x28:
		return (uint32_t)(cdb[7] << 8 | cdb[8]) * block_size;
	case 0xa8:
		return get_be32(cdb + 6) * block_size;
	case 0x88:
		return get_be32(cdb + 10) * block_size;
	}
	return 0;
}

static int parse_cdb(struct scsi_arguments *arguments, int count, char **bytes)
{
	if (count < 1 || count > 16)
		return cli_usage("a command has 1 to 16 bytes, after '--'");
	for (int i = 0; i < count; i++) {
		char *end;
		unsigned long byte = strtoul(bytes[i], &end, 16);

		if (!*bytes[i] || *end || byte > 0xff)
			return cli_usage("'%s' is not a byte in hexadecimal", bytes[i]);
		arguments->cdb[i] = (uint8_t)byte;
	}
	arguments->cdb_length = (uint8_t)count;
	return 0;
}

/* The bytes of a command that follows, as one text. */
static int parse_then(struct scsi_arguments *arguments, const char *value)
{
	unsigned n = 0;

	if (arguments->then_count == THEN_MAX)
		return cli_usage("at most %u commands follow", THEN_MAX);
	while (*value) {
		char *end;
		unsigned long byte = strtoul(value, &end, 16);

		if (end == value || byte > 0xff || n == 16)
			return cli_usage("--then is 1 to 16 bytes in hexadecimal, not '%s'", value);
		arguments->then[arguments->then_count].cdb[n++] = (uint8_t)byte;
		for (value = end; *value == ' '; value++)
			;
	}
	arguments->then[arguments->then_count++].cdb_length = (uint8_t)n;
	return n ? 0 : cli_usage("--then has no bytes");
}

static int parse_option(void *command, const char *name, const char *value)
{
	struct scsi_arguments *arguments = command;
	uint64_t length;
	int failed;

	if (!strcmp(name, "out")) {
		arguments->out_path = value;
		return 0;
	}
	if (!strcmp(name, "in")) {
		failed = arguments_number(name, value, 0, DATA_MAX, &length);
		arguments->in_length = (int64_t)length;
		return failed;
	}
	return !strcmp(name, "then") ? parse_then(arguments, value) : ARGUMENT_UNKNOWN;
}

static int parse_arguments(struct scsi_arguments *arguments, int argc, char **argv)
{
	const struct argument_flag flags[] = { { "--json", &arguments->json }, { NULL, NULL } };
	struct arguments words = {
		.flags = flags,
		.option = parse_option,
		.command = arguments,
		.machine = &arguments->machine,
		.takes_rest = true,
	};
	int failed;

	memset(arguments, 0, sizeof(*arguments));
	machine_defaults(&arguments->machine);
	arguments->in_length = -1;
	failed = arguments_read(&words, argc, argv);
	if (failed)
		return failed;
	arguments->machine.port.quiet = arguments->json;
	return parse_cdb(arguments, words.rest_count, words.rest);
}

static int read_file(const char *path, uint8_t **data, uint32_t *length)
{
	FILE *file = fopen(path, "rb");
	struct error err;

	*data = malloc(DATA_MAX);
	if (!file || !*data) {
		error_set(&err, "%s", strerror(errno));
		if (file)
			fclose(file);
		return cli_fail(path, &err);
	}
	*length = (uint32_t)fread(*data, 1, DATA_MAX, file);
	fclose(file);
	return 0;
}

static void print_hex(const uint8_t *data, uint32_t length)
{
	for (uint32_t i = 0; i < length; i += 16) {
		printf("%08x ", i);
		for (uint32_t j = i; j < i + 16; j++)
			printf(j < length ? " %02x" : "   ", j < length ? data[j] : 0);
		printf("  ");
		for (uint32_t j = i; j < i + 16 && j < length; j++)
			putchar(data[j] >= 0x20 && data[j] < 0x7f ? data[j] : '.');
		putchar('\n');
	}
}

/* What came back, as members of an object that is open. */
static void json_answer(struct json *json, const struct port_request *request, const uint8_t *data)
{
	static char hex[2 * DATA_MAX + 1];
	char text[80];

	json_unsigned(json, "srb_status", request->srb_status);
	json_unsigned(json, "scsi_status", request->scsi_status);
	json_unsigned(json, "transferred", request->transferred);
	disk_describe(request, text, sizeof(text));
	json_string(json, "result", request->srb_status == 1 ? "GOOD" : text);
	for (uint32_t i = 0; i < request->sense_length; i++)
		snprintf(hex + 2 * i, 3, "%02x", request->sense[i]);
	json_string(json, "sense", request->sense_length ? hex : NULL);
	hex[0] = '\0';
	for (uint32_t i = 0; request->direction == DIRECTION_IN && i < request->transferred; i++)
		snprintf(hex + 2 * i, 3, "%02x", data[i]);
	json_string(json, "data", request->direction == DIRECTION_IN ? hex : NULL);
}

/* A command and what came of it. */
struct answer {
	struct port_request request;
	uint8_t *data;
};

static void print_json(const struct machine *machine, const struct answer *answers, unsigned count)
{
	struct json json;

	json_begin(&json, stdout);
	json_open_object(&json, NULL);
	json_answer(&json, &answers[0].request, answers[0].data);
	if (count > 1) {
		json_open_array(&json, "then");
		for (unsigned i = 1; i < count; i++) {
			json_open_object(&json, NULL);
			json_answer(&json, &answers[i].request, answers[i].data);
			json_close(&json);
		}
		json_close(&json);
	}
	machine_report(machine, &json);
	json_close(&json);
	json_end(&json);
}

static void print_refusal(const struct machine *machine, const struct error *err)
{
	struct json json;

	json_begin(&json, stdout);
	json_open_object(&json, NULL);
	json_string(&json, "error", err->text);
	machine_report(machine, &json);
	json_close(&json);
	json_end(&json);
}

static void print_text(const struct machine *machine, const struct answer *answers, unsigned count)
{
	char text[80];

	for (unsigned i = 0; i < count; i++) {
		const struct port_request *request = &answers[i].request;

		disk_describe(request, text, sizeof(text));
		printf("%s, %u bytes transferred\n", request->srb_status == 1 ? "GOOD" : text, request->transferred);
		if (request->direction == DIRECTION_IN)
			print_hex(answers[i].data, request->transferred);
	}
	machine_summary(machine, stderr);
}

/* One command that sends nothing; false: the machine died. */
static bool receive(struct machine *machine, const uint8_t *cdb, uint8_t cdb_length, uint32_t length,
		    struct answer *answer)
{
	if (length > DATA_MAX)
		length = DATA_MAX;
	answer->data = calloc(1, length ? length : 1);
	return disk_command(machine->disk, cdb, cdb_length, length ? DIRECTION_IN : DIRECTION_NONE, answer->data,
			    length, &answer->request);
}

static bool send_first(struct machine *machine, const struct scsi_arguments *arguments, uint32_t length,
		       struct answer *answer)
{
	if (arguments->out_path)
		return disk_command(machine->disk, arguments->cdb, arguments->cdb_length,
				    length ? DIRECTION_OUT : DIRECTION_NONE, answer->data, length, &answer->request);
	length = arguments->in_length >= 0 ? (uint32_t)arguments->in_length
					   : length_from_cdb(arguments->cdb, disk_info(machine->disk)->block_size);
	return receive(machine, arguments->cdb, arguments->cdb_length, length, answer);
}

/* Sends the commands on a machine that runs; the status is the first one's. */
static int send_commands(struct machine *machine, const struct scsi_arguments *arguments)
{
	struct answer answers[1 + THEN_MAX] = { 0 };
	uint32_t block_size = disk_info(machine->disk)->block_size, length = 0;
	unsigned count = 1;
	struct error err;
	bool alive;
	int status;

	if (arguments->out_path && read_file(arguments->out_path, &answers[0].data, &length))
		return CLI_FAILED;
	alive = send_first(machine, arguments, length, &answers[0]);
	for (unsigned i = 0; alive && i < arguments->then_count; i++, count++)
		alive = receive(machine, arguments->then[i].cdb, arguments->then[i].cdb_length,
				length_from_cdb(arguments->then[i].cdb, block_size), &answers[count]);
	if (alive) {
		machine_stop(machine);
		(arguments->json ? print_json : print_text)(machine, answers, count);
		status = answers[0].request.srb_status == 1 ? CLI_OK : CLI_FINDINGS;
	} else {
		error_set(&err, "the command did not end: %s", cpu_death());
		cli_fail(arguments->machine.driver, &err);
		status = CLI_FINDINGS;
	}
	for (unsigned i = 0; i < count; i++)
		free(answers[i].data);
	return status;
}

int cmd_scsi(int argc, char **argv)
{
	struct scsi_arguments arguments;
	struct machine machine;
	struct error err;
	int status = parse_arguments(&arguments, argc, argv);

	if (status)
		return status;
	if (machine_check(&arguments.machine, &err))
		return cli_fail(NULL, &err);
	if (machine_start(&machine, &arguments.machine, &err)) {
		/* The input was good: it is the driver, or the device, that would not have it. */
		cli_fail(arguments.machine.driver, &err);
		machine_stop(&machine);
		if (arguments.json)
			print_refusal(&machine, &err);
		machine_free(&machine);
		return CLI_FINDINGS;
	}
	status = send_commands(&machine, &arguments);
	machine_free(&machine);
	return status == CLI_OK && verify_findings() ? CLI_FINDINGS : status;
}
