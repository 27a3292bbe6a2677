/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A small driver image built in memory, well-formed in every part that storhost reads, for tests to damage.
 *
 * Its five sections (.text, .rdata, .data, INIT, .reloc) are a page each in memory and IMAGE_RAW bytes in the file. The
 * entry point returns the value of the relocated pointer at IMAGE_POINTER; the function behind it, at IMAGE_CALL_RVA,
 * jumps to the first import.
 */
#ifndef STORHOST_TESTS_IMAGE_BUILDER_H
#define STORHOST_TESTS_IMAGE_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_RAW 0x400u
#define IMAGE_SECTIONS 5u
#define IMAGE_FILE_SIZE (IMAGE_RAW * (IMAGE_SECTIONS + 1))

/* Offsets in the file. */
#define IMAGE_PE 0x80u
#define IMAGE_OPTIONAL (IMAGE_PE + 24)
#define IMAGE_DIRECTORY(wide, i) (IMAGE_OPTIONAL + ((wide) ? 112u : 96u) + (i) * 8u)
#define IMAGE_SECTION(wide, i) (IMAGE_OPTIONAL + ((wide) ? 240u : 224u) + (i) * 40u)
#define IMAGE_OFFSET(rva) (IMAGE_RAW * ((rva) / 0x1000u) + (rva) % 0x1000u)

/* RVAs. */
enum {
	IMAGE_ENTRY_RVA = 0x1000,
	IMAGE_CALL_RVA = 0x1020,
	IMAGE_IAT_STORPORT = 0x2000, /* two imports */
	IMAGE_IAT_NTOSKRNL = 0x2018, /* one import */
	IMAGE_NAMES_STORPORT = 0x2030,
	IMAGE_NAMES_NTOSKRNL = 0x2048,
	IMAGE_DESCRIPTORS = 0x2060,
	IMAGE_NAME_INITIALIZE = 0x20a0,
	IMAGE_NAME_NOTIFICATION = 0x20c0,
	IMAGE_NAME_BUGCHECK = 0x20e0,
	IMAGE_DLL_STORPORT = 0x20f0,
	IMAGE_DLL_NTOSKRNL = 0x2100,
	IMAGE_DEBUG = 0x2120,
	IMAGE_RSDS = 0x2140,
	IMAGE_LOAD_CONFIG = 0x2180,
	IMAGE_RESOURCES = 0x2200,
	IMAGE_VERSION = 0x2258,
	IMAGE_COOKIE = 0x3000,
	IMAGE_POINTER = 0x3008,
	IMAGE_POINTER_TARGET = 0x3010,
	IMAGE_INIT = 0x4000,
	IMAGE_RELOC = 0x5000,
};

#define IMAGE_BASE_X64 UINT64_C(0x140000000)
#define IMAGE_BASE_X86 UINT64_C(0x400000)

struct image {
	bool wide; /* x64 */
	uint8_t bytes[IMAGE_FILE_SIZE];
};

void image_build(struct image *image, bool wide);
void image_put(struct image *image, size_t offset, unsigned width, uint64_t value);
/* Writes the checksum that the bytes should have. */
void image_sign_off(struct image *image);

#endif
