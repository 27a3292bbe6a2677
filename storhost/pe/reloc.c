/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Base relocations: one walk that checks every block, and the same walk again to apply them. [PE/COFF 6.6] */
#include <string.h>

#include "pe/file.h"

#define BLOCK_HEADER_SIZE 8

static void add(uint8_t *place, unsigned width, uint64_t delta)
{
	uint32_t narrow;
	uint64_t wide;

	if (width == 8) {
		memcpy(&wide, place, sizeof(wide));
		wide += delta;
		memcpy(place, &wide, sizeof(wide));
	} else {
		memcpy(&narrow, place, sizeof(narrow));
		narrow += (uint32_t)delta;
		memcpy(place, &narrow, sizeof(narrow));
	}
}

/* base NULL: only check. */
static int walk_block(const struct pe_file *file, const uint8_t *block, uint32_t size, uint8_t *base, uint64_t delta,
		      struct error *err)
{
	unsigned width = pe_pointer_size(file);
	unsigned wanted = width == 8 ? IMAGE_REL_BASED_DIR64 : IMAGE_REL_BASED_HIGHLOW;
	uint32_t page = pe_u32(block);

	for (uint32_t offset = BLOCK_HEADER_SIZE; offset < size; offset += 2) {
		unsigned type = pe_u16(block + offset) >> 12;
		uint64_t rva = (uint64_t)page + (pe_u16(block + offset) & 0xfff);

		if (type == IMAGE_REL_BASED_ABSOLUTE)
			continue;
		if (type != wanted)
			return error_set(err, "relocation type %u at 0x%llx does not suit the machine type", type,
					 (unsigned long long)rva);
		if (!pe_section_at_rva(file, rva, width))
			return error_set(err, "the relocation of 0x%llx lies outside every section",
					 (unsigned long long)rva);
		if (base)
			add(base + rva, width, delta);
	}
	return 0;
}

static int walk(const struct pe_file *file, uint8_t *base, uint64_t delta, struct error *err)
{
	struct pe_range directory = file->directories[IMAGE_DIRECTORY_ENTRY_BASERELOC];
	const uint8_t *p;

	if (!directory.size)
		return 0;
	p = pe_bytes_at_rva(file, directory.rva, directory.size);
	if (!p)
		return error_set(err, "the relocation table lies outside the image");
	for (uint32_t done = 0; done < directory.size;) {
		uint32_t left = directory.size - done, size;

		if (left < BLOCK_HEADER_SIZE)
			return error_set(err, "the relocation table ends inside a block's header");
		size = pe_u32(p + done + 4);
		if (size < BLOCK_HEADER_SIZE || size > left || size % 4)
			return error_set(err, "the relocation block at 0x%x has the impossible size %u",
					 directory.rva + done, size);
		if (walk_block(file, p + done, size, base, delta, err))
			return -1;
		done += size;
	}
	return 0;
}

int pe_check_relocations(const struct pe_file *file, struct error *err)
{
	return walk(file, NULL, 0, err);
}

void pe_apply_relocations(const struct pe_file *file, uint8_t *base, uint64_t delta)
{
	walk(file, base, delta, NULL);
}
