/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A Windows driver image (PE32 or PE32+, native subsystem) as a file and as mapped memory.
 *
 * pe_open() reads the whole file and checks every offset, RVA, size and string that anything later follows; after it
 * has succeeded no accessor can read outside the file. pe_map() lays the sections out at a random page-aligned base,
 * applies relocations, binds imports through a resolver and gives every section the protection its header asks for
 * (never writable and executable at once: such a section is refused). A bad file is never fatal: one sentence in *err.
 */
#ifndef STORHOST_PE_PE_H
#define STORHOST_PE_PE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum pe_machine { PE_X86 = 0x014c, PE_X64 = 0x8664 };

struct pe_section {
	char name[9];
	uint32_t rva, virtual_size, raw_size, characteristics;
};

struct pe_import {
	const char *dll;  /* as spelled in the file */
	const char *name; /* NULL: imported by ordinal */
	uint16_t ordinal;
	uint32_t iat_rva;
};

struct pe_file;   /* the file's bytes, checked */
struct pe_module; /* a mapped image */

struct pe_headers {
	enum pe_machine machine;
	uint64_t image_base;
	uint32_t image_size, entry_rva, section_alignment, file_alignment;
	uint32_t checksum, computed_checksum, timestamp;
	uint16_t subsystem, dll_characteristics, characteristics;
	uint16_t os_major, os_minor, subsystem_major, subsystem_minor;
	size_t file_size;
};

int pe_open(const char *path, struct pe_file **out, struct error *err);
int pe_open_memory(const void *bytes, size_t size, struct pe_file **out, struct error *err); /* copies */
void pe_close(struct pe_file *file);

const struct pe_headers *pe_headers(const struct pe_file *file);
const struct pe_section *pe_sections(const struct pe_file *file, size_t *count);
const struct pe_import *pe_imports(const struct pe_file *file, size_t *count);
/* Path of the program database that the debug directory names, or NULL. */
const char *pe_pdb_path(const struct pe_file *file);
/*
 * The program database of that name beside the driver, if it belongs to this very image; NULL and a sentence otherwise.
 * driver: the path that the image was opened with.
 */
struct pdb;
struct pdb *pe_open_pdb(const struct pe_file *file, const char *driver, struct error *err);
/* The procedure at rva: "name+0x12", "name"; false: none is known. */
bool pe_symbol(const struct pe_file *file, const struct pdb *pdb, uint64_t rva, char *buf, size_t size);
/* A string of the version resource ("FileVersion", "FileDescription"…) copied to buf as UTF-8; false if absent. */
bool pe_version_string(const struct pe_file *file, const char *key, char *buf, size_t size);
/* FILEFLAGS of the version resource that its mask declares (bit 0: VS_FF_DEBUG); 0 without one. */
uint32_t pe_version_flags(const struct pe_file *file);

/*
 * Address to bind import i to; NULL refuses it. All refused imports are collected and named in one sentence of *err.
 */
typedef void *(*pe_resolve_fn)(void *opaque, const struct pe_import *import);

int pe_map(const struct pe_file *file, pe_resolve_fn resolve, void *opaque, struct pe_module **out, struct error *err);
void *pe_module_base(const struct pe_module *module);
size_t pe_module_size(const struct pe_module *module);
void *pe_module_entry(const struct pe_module *module);
/* Unmaps the discardable sections, as Windows does after DriverEntry: a later touch of them faults. */
void pe_module_discard(struct pe_module *module);
bool pe_module_contains(const struct pe_module *module, const void *address);
void pe_unmap(struct pe_module *module);

#endif
