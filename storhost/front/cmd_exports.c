/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* `storhost exports`: what a driver may import from Windows 7 on this machine, and what of it storhost has. */
#include <string.h>

#include "front/cli.h"
#include "front/json.h"
#include "nt/exports.h"

/* Drivers for the other machine are hosted by the other build. */
static const bool is_x64 = sizeof(void *) == 8;

static bool is_ours(const struct export_name *name)
{
	return name->machines & (is_x64 ? EXPORT_X64 : EXPORT_X86);
}

static void print_all(void)
{
	struct export_name name;

	for (unsigned n = 0; export_name(n, &name); n++) {
		if (is_ours(&name))
			printf("%s!%s: %s\n", name.dll, name.name,
			       name.implemented ? "storhost implements it" : "storhost stops with its name");
	}
}

static void write_json(void)
{
	struct export_name name;
	struct json json;

	json_begin(&json, stdout);
	json_open_object(&json, NULL);
	json_string(&json, "machine", is_x64 ? "x64" : "x86");
	json_open_array(&json, "exports");
	for (unsigned n = 0; export_name(n, &name); n++) {
		if (!is_ours(&name))
			continue;
		json_open_object(&json, NULL);
		json_string(&json, "dll", name.dll);
		json_string(&json, "name", name.name);
		json_bool(&json, "implemented", name.implemented);
		json_close(&json);
	}
	json_close(&json);
	json_close(&json);
	json_end(&json);
}

/* The names of one kind, as one paragraph of Markdown. */
static void markdown_names(const char *dll, bool implemented)
{
	struct export_name name;
	size_t column = 0;

	for (unsigned n = 0; export_name(n, &name); n++) {
		if (strcmp(name.dll, dll) || name.implemented != implemented || !is_ours(&name))
			continue;
		if (column + strlen(name.name) > 112) {
			printf(",\n");
			column = 0;
		}
		column += (size_t)printf("%s`%s`", column ? ", " : "", name.name);
	}
	printf("\n\n");
}

static void markdown_dll(const char *dll)
{
	unsigned count[2] = { 0, 0 };
	struct export_name name;

	for (unsigned n = 0; export_name(n, &name); n++)
		count[name.implemented] += is_ours(&name) && !strcmp(name.dll, dll);
	printf("### %s for %s: %u of %u\n\n", dll, is_x64 ? "x64" : "x86", count[1], count[0] + count[1]);
	markdown_names(dll, true);
	if (strcmp(dll, "storport.sys") || !count[0])
		return;
	printf("Not these, which are for port space:\n\n");
	markdown_names(dll, false);
}

static void write_markdown(void)
{
	if (is_x64)
		printf("<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->\n<!-- Made by `make docs`; do not edit. -->\n"
		       "# What storhost exports\n\n"
		       "A miniport that imports a name that Windows 7 SP1 does not export is not loaded. Any other name is\n"
		       "bound: to a routine, or to a stub that stops the driver with the routine's name and the caller's\n"
		       "place when it is called; an imported variable that storhost has not stops the driver when it is\n"
		       "read. `storhost imports FILE` says of a driver what it will meet; `storhost exports` lists all.\n\n"
		       "What a physical miniport has no business with works all the same and is a finding CALL-KERNEL.\n"
		       "x64 drivers read some things without a call: KUSER_SHARED_DATA (times, ticks, version, processors),\n"
		       "CR8 and the number of the processor behind gs are there, another offset is named in a finding.\n"
		       "Of StorPortExtendedFunction, codes 2 to 4 (MDLs), 6 to 10 and 23 stop with their number; they are\n"
		       "for virtual miniports, which are refused by name, or need an IRP.\n\n");
	markdown_dll("storport.sys");
	markdown_dll("ntoskrnl.exe");
	markdown_dll("hal.dll");
}

int cmd_exports(int argc, char **argv)
{
	if (argc > 2 || (argc == 2 && strcmp(argv[1], "--json") && strcmp(argv[1], "--markdown")))
		return cli_usage("exports takes --json or --markdown, not '%s'", argv[argc - 1]);
	if (argc == 1)
		print_all();
	else if (!strcmp(argv[1], "--json"))
		write_json();
	else
		write_markdown();
	return CLI_OK;
}
