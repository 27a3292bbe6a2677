/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Two small data directories: the debug directory's program database and the load configuration's security cookie. */
#include <string.h>

#include "pe/file.h"

#define DEBUG_ENTRY_SIZE 28
#define RSDS_PATH_OFFSET 24 /* behind the signature, a GUID and an age */

static int read_codeview(struct pe_file *file, const uint8_t *entry, struct error *err)
{
	uint32_t size = pe_u32(entry + 16);
	const uint8_t *data = pe_bytes_at_offset(file, pe_u32(entry + 24), size);

	if (!data)
		return error_set(err, "the debug data lies outside the file");
	if (size < 4 || memcmp(data, "RSDS", 4))
		return 0;
	if (size <= RSDS_PATH_OFFSET || !memchr(data + RSDS_PATH_OFFSET, 0, size - RSDS_PATH_OFFSET))
		return error_set(err, "the path of the program database has no end");
	file->pdb_path = (const char *)data + RSDS_PATH_OFFSET;
	file->pdb_guid = data + 4;
	file->pdb_age = pe_u32(data + 20);
	return 0;
}

int pe_read_debug(struct pe_file *file, struct error *err)
{
	struct pe_range directory = file->directories[IMAGE_DIRECTORY_ENTRY_DEBUG];
	const uint8_t *p;

	if (!directory.size)
		return 0;
	p = pe_bytes_at_rva(file, directory.rva, directory.size);
	if (!p)
		return error_set(err, "the debug directory lies outside the image");
	for (uint32_t i = 0; i < directory.size / DEBUG_ENTRY_SIZE && !file->pdb_path; i++, p += DEBUG_ENTRY_SIZE)
		if (pe_u32(p + 12) == IMAGE_DEBUG_TYPE_CODEVIEW && read_codeview(file, p, err))
			return -1;
	return 0;
}

int pe_read_load_config(struct pe_file *file, struct error *err)
{
	struct pe_range directory = file->directories[IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG];
	unsigned width = pe_pointer_size(file), field = width == 8 ? 0x58 : 0x3c;
	const uint8_t *p;
	uint64_t rva;

	if (!directory.size)
		return 0;
	/* The structure states its own size, which the directory's need not equal. */
	p = pe_bytes_at_rva(file, directory.rva, 4);
	if (!p)
		return error_set(err, "the load configuration lies outside the image");
	if (pe_u32(p) < field + width)
		return 0;
	p = pe_bytes_at_rva(file, directory.rva, field + width);
	if (!p)
		return error_set(err, "the load configuration exceeds its section");
	if (!pe_pointer(file, p + field))
		return 0;
	rva = pe_pointer(file, p + field) - file->headers.image_base;
	if (rva > UINT32_MAX || !pe_section_at_rva(file, rva, width))
		return error_set(err, "the security cookie lies outside every section");
	file->cookie_rva = (uint32_t)rva;
	return 0;
}
