/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* `storhost imports`: what a driver imports, whether Windows 7 has it, and whether storhost does. */
#include "front/cli.h"
#include "front/json.h"
#include "nt/exports.h"
#include "pe/pe.h"

enum supply { SUPPLY_IMPLEMENTED, SUPPLY_STUB, SUPPLY_UNKNOWN, SUPPLY_ORDINAL };

static const char *const supply_names[] = { "implemented", "stub", "missing", "ordinal" };
static const char *const supply_texts[] = {
	"storhost implements it",
	"storhost stops with its name if it is called",
	"Windows 7 does not export it",
	"imports by ordinal are refused",
};

static enum supply find_supply(enum pe_machine machine, const struct pe_import *import)
{
	if (!import->name)
		return SUPPLY_ORDINAL;
	switch (export_find(machine, import->dll, import->name, NULL)) {
	case EXPORT_IMPLEMENTED:
		return SUPPLY_IMPLEMENTED;
	case EXPORT_STUB:
		return SUPPLY_STUB;
	default:
		return SUPPLY_UNKNOWN;
	}
}

static bool is_finding(enum supply supply)
{
	return supply == SUPPLY_UNKNOWN || supply == SUPPLY_ORDINAL;
}

static void print_import(const struct pe_import *import, enum supply supply)
{
	if (import->name)
		printf("%s!%s: %s\n", import->dll, import->name, supply_texts[supply]);
	else
		printf("%s!#%u: %s\n", import->dll, import->ordinal, supply_texts[supply]);
}

static void json_import(struct json *json, const struct pe_import *import, enum supply supply)
{
	json_open_object(json, NULL);
	json_string(json, "dll", import->dll);
	json_string(json, "name", import->name);
	if (!import->name)
		json_unsigned(json, "ordinal", import->ordinal);
	json_bool(json, "windows7", !is_finding(supply));
	json_string(json, "storhost", supply_names[supply]);
	json_close(json);
}

static unsigned print_all(const struct pe_file *file)
{
	size_t count;
	const struct pe_import *imports = pe_imports(file, &count);
	unsigned findings = 0;

	for (size_t i = 0; i < count; i++) {
		enum supply supply = find_supply(pe_headers(file)->machine, &imports[i]);

		print_import(&imports[i], supply);
		findings += is_finding(supply);
	}
	return findings;
}

static unsigned write_json(const struct pe_file *file)
{
	size_t count;
	const struct pe_import *imports = pe_imports(file, &count);
	unsigned findings = 0;
	struct json json;

	json_begin(&json, stdout);
	json_open_object(&json, NULL);
	json_string(&json, "machine", pe_headers(file)->machine == PE_X64 ? "x64" : "x86");
	json_open_array(&json, "imports");
	for (size_t i = 0; i < count; i++) {
		enum supply supply = find_supply(pe_headers(file)->machine, &imports[i]);

		json_import(&json, &imports[i], supply);
		findings += is_finding(supply);
	}
	json_close(&json);
	json_unsigned(&json, "findings", findings);
	json_close(&json);
	json_end(&json);
	return findings;
}

int cmd_imports(int argc, char **argv)
{
	return cli_image_command(argc, argv, print_all, write_json);
}
