/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The import table as a flat list. [PE/COFF 6.4] */
#include <stdlib.h>

#include "pe/file.h"

#define DESCRIPTOR_SIZE 20
/* More than Windows exports in all: the bound keeps tables that overlap themselves from growing without end. */
#define IMPORTS_MAX 16384

static int append(struct pe_file *file, const struct pe_import *import, struct error *err)
{
	struct pe_import *grown;

	if (file->import_count == IMPORTS_MAX)
		return error_set(err, "the image imports more than %d names", IMPORTS_MAX);
	if (!(file->import_count & (file->import_count - 1))) {
		size_t room = file->import_count ? file->import_count * 2 : 1;

		grown = realloc(file->imports, room * sizeof(*grown));
		if (!grown)
			return error_set(err, "no memory for the import table");
		file->imports = grown;
	}
	file->imports[file->import_count++] = *import;
	return 0;
}

static int read_thunk(const struct pe_file *file, uint64_t value, struct pe_import *import, struct error *err)
{
	unsigned top = pe_pointer_size(file) * 8 - 1;

	import->name = NULL;
	import->ordinal = 0;
	if (value >> top) {
		import->ordinal = (uint16_t)value;
		return 0;
	}
	/* A hint of two bytes precedes the name. */
	if (value <= UINT32_MAX && pe_bytes_at_rva(file, value, 2))
		import->name = pe_string_at_rva(file, value + 2);
	if (!import->name)
		return error_set(err, "an import from %s has no readable name", import->dll);
	return 0;
}

static int read_descriptor(struct pe_file *file, const uint8_t *p, struct error *err)
{
	unsigned width = pe_pointer_size(file);
	uint64_t iat = pe_u32(p + 16);
	uint64_t names = pe_u32(p) ? pe_u32(p) : iat;
	struct pe_import import = { .dll = pe_string_at_rva(file, pe_u32(p + 12)) };

	if (!import.dll)
		return error_set(err, "the import table names a module by something that is no string");
	for (;; names += width, iat += width) {
		const uint8_t *thunk = pe_bytes_at_rva(file, names, width);
		uint64_t value;

		if (!thunk)
			return error_set(err, "the list of imports from %s lies outside the image", import.dll);
		value = pe_pointer(file, thunk);
		if (!value)
			return 0;
		if (!pe_section_at_rva(file, iat, width))
			return error_set(err, "the import addresses for %s lie outside every section", import.dll);
		import.iat_rva = (uint32_t)iat;
		if (read_thunk(file, value, &import, err) || append(file, &import, err))
			return -1;
	}
}

int pe_read_imports(struct pe_file *file, struct error *err)
{
	struct pe_range directory = file->directories[IMAGE_DIRECTORY_ENTRY_IMPORT];

	if (!directory.rva)
		return 0;
	for (uint64_t rva = directory.rva;; rva += DESCRIPTOR_SIZE) {
		const uint8_t *p = pe_bytes_at_rva(file, rva, DESCRIPTOR_SIZE);

		if (!p)
			return error_set(err, "the import table lies outside the image or has no end");
		if (!pe_u32(p + 12))
			return 0;
		if (read_descriptor(file, p, err))
			return -1;
	}
}
