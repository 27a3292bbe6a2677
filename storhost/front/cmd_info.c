/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* `storhost info`: a driver's headers, and what in them Windows 7 would refuse. */
#include <inttypes.h>
#include <string.h>

#include "front/cli.h"
#include "front/json.h"
#include "pe/format.h"
#include "pe/pe.h"

static const char *const version_keys[] = { "FileDescription", "FileVersion",      "ProductName",   "ProductVersion",
					    "CompanyName",     "OriginalFilename", "LegalCopyright" };

#define VERSION_KEY_COUNT (sizeof(version_keys) / sizeof(version_keys[0]))

/* One reason to refuse the image after the other; says how many there were. */
static unsigned judge(const struct pe_file *file, void (*refuse)(void *opaque, const char *reason), void *opaque)
{
	const struct pe_headers *h = pe_headers(file);
	size_t count;
	const struct pe_section *sections = pe_sections(file, &count);
	const uint32_t both = IMAGE_SCN_MEM_WRITE | IMAGE_SCN_MEM_EXECUTE;
	unsigned reasons = 0;
	struct error text;

	if (h->subsystem != IMAGE_SUBSYSTEM_NATIVE) {
		error_set(&text, "subsystem %u is not native", h->subsystem);
		refuse(opaque, text.text);
		reasons++;
	}
	if (h->subsystem_major > 6 || (h->subsystem_major == 6 && h->subsystem_minor > 1)) {
		error_set(&text, "subsystem version %u.%u is newer than 6.1", h->subsystem_major, h->subsystem_minor);
		refuse(opaque, text.text);
		reasons++;
	}
	if (h->checksum != h->computed_checksum) {
		error_set(&text, "the checksum is 0x%08x and should be 0x%08x", h->checksum, h->computed_checksum);
		refuse(opaque, text.text);
		reasons++;
	}
	if (h->characteristics & IMAGE_FILE_RELOCS_STRIPPED) {
		refuse(opaque, "the relocations are stripped");
		reasons++;
	}
	for (size_t i = 0; i < count; i++) {
		if ((sections[i].characteristics & both) != both)
			continue;
		error_set(&text, "section %zu (%s) is writable and executable", i + 1, sections[i].name);
		refuse(opaque, text.text);
		reasons++;
	}
	return reasons;
}

static void section_flags(uint32_t characteristics, char flags[6])
{
	flags[0] = characteristics & IMAGE_SCN_MEM_READ ? 'r' : '-';
	flags[1] = characteristics & IMAGE_SCN_MEM_WRITE ? 'w' : '-';
	flags[2] = characteristics & IMAGE_SCN_MEM_EXECUTE ? 'x' : '-';
	flags[3] = characteristics & IMAGE_SCN_MEM_NOT_PAGED ? 'n' : '-';
	flags[4] = characteristics & IMAGE_SCN_MEM_DISCARDABLE ? 'd' : '-';
	flags[5] = '\0';
}

static const char *yes_no(bool value)
{
	return value ? "yes" : "no";
}

static void print_headers(const struct pe_headers *h)
{
	printf("machine          %s\n", h->machine == PE_X64 ? "x64" : "x86");
	printf("file size        %zu bytes\n", h->file_size);
	printf("image            %u bytes at 0x%" PRIx64 ", entry point 0x%x\n", h->image_size, h->image_base,
	       h->entry_rva);
	printf("alignment        0x%x in memory, 0x%x in the file\n", h->section_alignment, h->file_alignment);
	printf("subsystem        %u%s, version %u.%u\n", h->subsystem,
	       h->subsystem == IMAGE_SUBSYSTEM_NATIVE ? " (native)" : "", h->subsystem_major, h->subsystem_minor);
	printf("system version   %u.%u\n", h->os_major, h->os_minor);
	printf("timestamp        0x%08x\n", h->timestamp);
	printf("checksum         0x%08x stated, 0x%08x computed\n", h->checksum, h->computed_checksum);
	printf("NX compatible    %s\n", yes_no(h->dll_characteristics & IMAGE_DLLCHARACTERISTICS_NX_COMPAT));
	printf("dynamic base     %s\n", yes_no(h->dll_characteristics & IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE));
	printf("relocations      %s\n", h->characteristics & IMAGE_FILE_RELOCS_STRIPPED ? "stripped" : "kept");
}

static void print_strings(const struct pe_file *file)
{
	char text[512];

	if (pe_pdb_path(file)) {
		printf("debug database   ");
		cli_print_text(stdout, pe_pdb_path(file));
		putchar('\n');
	}
	for (size_t i = 0; i < VERSION_KEY_COUNT; i++) {
		if (!pe_version_string(file, version_keys[i], text, sizeof(text)))
			continue;
		printf("%-16s ", version_keys[i]);
		cli_print_text(stdout, text);
		putchar('\n');
	}
}

static void print_sections(const struct pe_file *file)
{
	size_t count;
	const struct pe_section *sections = pe_sections(file, &count);
	char flags[6];

	printf("\nsection  address   size      in file   flags (read, write, execute, not paged, discardable)\n");
	for (size_t i = 0; i < count; i++) {
		section_flags(sections[i].characteristics, flags);
		cli_print_text(stdout, sections[i].name);
		printf("%*s %08x  %08x  %08x  %s\n", 8 - (int)strlen(sections[i].name), "", sections[i].rva,
		       sections[i].virtual_size, sections[i].raw_size, flags);
	}
}

static void print_reason(void *opaque, const char *reason)
{
	unsigned *count = opaque;

	if (!(*count)++)
		putchar('\n');
	printf("Windows 7 would refuse it: ");
	cli_print_text(stdout, reason);
	putchar('\n');
}

static void json_headers(struct json *json, const struct pe_headers *h)
{
	json_string(json, "machine", h->machine == PE_X64 ? "x64" : "x86");
	json_unsigned(json, "file_size", h->file_size);
	json_unsigned(json, "image_base", h->image_base);
	json_unsigned(json, "image_size", h->image_size);
	json_unsigned(json, "entry", h->entry_rva);
	json_unsigned(json, "section_alignment", h->section_alignment);
	json_unsigned(json, "file_alignment", h->file_alignment);
	json_unsigned(json, "subsystem", h->subsystem);
	json_unsigned(json, "subsystem_major", h->subsystem_major);
	json_unsigned(json, "subsystem_minor", h->subsystem_minor);
	json_unsigned(json, "os_major", h->os_major);
	json_unsigned(json, "os_minor", h->os_minor);
	json_unsigned(json, "timestamp", h->timestamp);
	json_unsigned(json, "checksum", h->checksum);
	json_unsigned(json, "computed_checksum", h->computed_checksum);
	json_unsigned(json, "characteristics", h->characteristics);
	json_unsigned(json, "dll_characteristics", h->dll_characteristics);
	json_bool(json, "nx_compatible", h->dll_characteristics & IMAGE_DLLCHARACTERISTICS_NX_COMPAT);
	json_bool(json, "dynamic_base", h->dll_characteristics & IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE);
	json_bool(json, "relocations_stripped", h->characteristics & IMAGE_FILE_RELOCS_STRIPPED);
}

static void json_sections(struct json *json, const struct pe_file *file)
{
	size_t count;
	const struct pe_section *sections = pe_sections(file, &count);
	char flags[6];

	json_open_array(json, "sections");
	for (size_t i = 0; i < count; i++) {
		section_flags(sections[i].characteristics, flags);
		json_open_object(json, NULL);
		json_string(json, "name", sections[i].name);
		json_unsigned(json, "address", sections[i].rva);
		json_unsigned(json, "virtual_size", sections[i].virtual_size);
		json_unsigned(json, "raw_size", sections[i].raw_size);
		json_unsigned(json, "characteristics", sections[i].characteristics);
		json_string(json, "flags", flags);
		json_close(json);
	}
	json_close(json);
}

static void json_version(struct json *json, const struct pe_file *file)
{
	char text[512];

	json_open_object(json, "version");
	for (size_t i = 0; i < VERSION_KEY_COUNT; i++)
		if (pe_version_string(file, version_keys[i], text, sizeof(text)))
			json_string(json, version_keys[i], text);
	json_close(json);
}

static void json_reason(void *opaque, const char *reason)
{
	json_string(opaque, NULL, reason);
}

static unsigned write_json(const struct pe_file *file)
{
	struct json json;
	unsigned reasons;

	json_begin(&json, stdout);
	json_open_object(&json, NULL);
	json_headers(&json, pe_headers(file));
	json_string(&json, "pdb", pe_pdb_path(file));
	json_version(&json, file);
	json_sections(&json, file);
	json_open_array(&json, "refused");
	reasons = judge(file, json_reason, &json);
	json_close(&json);
	json_close(&json);
	json_end(&json);
	return reasons;
}

static unsigned print_all(const struct pe_file *file)
{
	unsigned printed = 0;

	print_headers(pe_headers(file));
	print_strings(file);
	print_sections(file);
	return judge(file, print_reason, &printed);
}

int cmd_info(int argc, char **argv)
{
	return cli_image_command(argc, argv, print_all, write_json);
}
