/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Fuzz target: a file that says it is a driver, or a sound one that was spoilt. It is opened, read in every respect, mapped and unmapped. */
#include <string.h>

#include "fuzz/input.h"
#include "image_builder.h"
#include "pe/pe.h"
#include "target.h"

#define IMAGE_MAX (1u << 24) /* mapping more takes time and shows nothing new */

static int imported;

static void *resolve(void *opaque, const struct pe_import *import)
{
	(void)opaque;
	return import->name && import->name[0] == '?' ? NULL : &imported;
}

static size_t seen;

static void read_everything(const struct pe_file *file)
{
	static const char *const keys[] = { "FileVersion", "FileDescription", "ProductName" };
	char text[64];
	size_t count;

	pe_sections(file, &count);
	seen += count;
	for (size_t i = 0, imports = (pe_imports(file, &count), count); i < imports; i++) {
		const struct pe_import *import = &pe_imports(file, &count)[i];

		seen += strlen(import->dll) + (import->name ? strlen(import->name) : 0);
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		seen += pe_version_string(file, keys[i], text, sizeof(text)) ? strlen(text) : 0;
	seen += pe_version_flags(file) + (pe_pdb_path(file) ? strlen(pe_pdb_path(file)) : 0);
}

static void try_image(const uint8_t *bytes, size_t size)
{
	struct pe_module *module;
	struct pe_file *file;
	struct error err;

	if (pe_open_memory(bytes, size, &file, &err))
		return;
	read_everything(file);
	if (pe_headers(file)->image_size <= IMAGE_MAX && !pe_map(file, resolve, NULL, &module, &err)) {
		seen += *(const volatile uint8_t *)pe_module_base(module) + pe_module_contains(module, &seen);
		pe_module_discard(module);
		pe_unmap(module);
	}
	pe_close(file);
}

/* A sound image for x86 or x64, spoilt: offset, width and value of each piece. */
static void try_spoilt(struct input *input, bool wide)
{
	static const uint8_t widths[] = { 1, 2, 4, 8 };
	struct image image;
	bool signed_off;

	image_build(&image, wide);
	signed_off = input_byte(input) & 1;
	while (input_more(input)) {
		uint32_t where = (uint32_t)input_number(input, 2);
		unsigned width = widths[where >> 14];

		image_put(&image, (where & 0x3fff) % (IMAGE_FILE_SIZE - 8), width, input_number(input, width));
	}
	if (signed_off)
		image_sign_off(&image);
	try_image(image.bytes, sizeof(image.bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input input = { bytes, size };
	uint8_t what = input_byte(&input);

	if (what & 2)
		try_image(input.bytes, input.size);
	else
		try_spoilt(&input, what & 1);
	return 0;
}
