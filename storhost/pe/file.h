/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files of pe/ share: the opened file and the only three ways to reach its bytes.
 *
 * A parser asks for a range of the file (by offset or by RVA) or for a string, and gets a pointer to bytes that are
 * there, or NULL. All arithmetic on numbers from the file is done in 64 bits, where two 32-bit values cannot overflow.
 */
#ifndef STORHOST_PE_FILE_H
#define STORHOST_PE_FILE_H

#include "pe/format.h"
#include "pe/pe.h"

struct pe_range {
	uint32_t rva, size;
};

struct pe_file {
	uint8_t *bytes;
	size_t size;
	struct pe_headers headers;
	uint32_t headers_size; /* SizeOfHeaders: the part of the file that is mapped at RVA 0 */
	struct pe_section *sections;
	uint32_t *raw_offsets; /* of each section's data in the file */
	size_t section_count;
	struct pe_import *imports;
	size_t import_count;
	struct pe_range directories[IMAGE_NUMBEROF_DIRECTORY_ENTRIES];
	const char *pdb_path;
	const uint8_t *pdb_guid; /* 16 bytes; NULL without pdb_path */
	uint32_t pdb_age;
	const uint8_t *version; /* VS_VERSIONINFO */
	size_t version_size;
	uint32_t cookie_rva; /* of the /GS security cookie; 0: none */
};

static inline uint16_t pe_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t pe_u32(const uint8_t *p)
{
	return pe_u16(p) | (uint32_t)pe_u16(p + 2) << 16;
}

static inline uint64_t pe_u64(const uint8_t *p)
{
	return pe_u32(p) | (uint64_t)pe_u32(p + 4) << 32;
}

static inline unsigned pe_pointer_size(const struct pe_file *file)
{
	return file->headers.machine == PE_X64 ? 8 : 4;
}

static inline uint64_t pe_pointer(const struct pe_file *file, const uint8_t *p)
{
	return file->headers.machine == PE_X64 ? pe_u64(p) : pe_u32(p);
}

/* A whole file, from malloc, of a size that a driver or what belongs to it can have. */
int pe_read_file(const char *path, uint8_t **bytes, size_t *size, struct error *err);

/* Bytes of address space that a section occupies, before rounding to pages. */
static inline uint32_t pe_section_extent(const struct pe_section *section)
{
	return section->virtual_size ? section->virtual_size : section->raw_size;
}

static inline uint64_t pe_align(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

/* Bytes of a section's file data that are mapped. */
uint32_t pe_section_data_size(const struct pe_file *file, const struct pe_section *section);

const uint8_t *pe_bytes_at_offset(const struct pe_file *file, uint64_t offset, uint64_t size);
const uint8_t *pe_bytes_at_rva(const struct pe_file *file, uint64_t rva, uint64_t size);
/* A NUL-terminated string of printable ASCII, not empty; NULL if what is there is none. */
const char *pe_string_at_rva(const struct pe_file *file, uint64_t rva);
/* The section whose address range, zero-filled part included, contains [rva, rva+size). */
const struct pe_section *pe_section_at_rva(const struct pe_file *file, uint64_t rva, uint64_t size);

/* Each reads and checks one part of an opened file. */
int pe_read_imports(struct pe_file *file, struct error *err);
int pe_read_debug(struct pe_file *file, struct error *err);
int pe_read_load_config(struct pe_file *file, struct error *err);
int pe_read_version(struct pe_file *file, struct error *err);
int pe_check_relocations(const struct pe_file *file, struct error *err);

/* Adds delta to every relocated place of the image that is mapped writable at base. The relocations were checked. */
void pe_apply_relocations(const struct pe_file *file, uint8_t *base, uint64_t delta);

#endif
