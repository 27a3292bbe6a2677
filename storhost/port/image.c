/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Where the driver's code comes from. */
#include "port/image.h"

#include <stdlib.h>
#include <string.h>

#include "nt/exports.h"
#include "pe/pdb.h"

#define VERSION_DEBUG 1u /* VS_FF_DEBUG */

struct image {
	const struct image_linked *linked; /* or NULL, and */
	struct pe_file *file;
	struct pe_module *module;
	struct pdb *symbols; /* NULL: none that belong to the driver */
};

const struct image_linked *image_linked;

static const struct image_linked *linked_driver(const char *path)
{
	return strcmp(path, IMAGE_LINKED) ? NULL : image_linked;
}

int image_inspect(const char *path, struct image_facts *facts, struct error *err)
{
	const struct image_linked *linked = linked_driver(path);
	struct pe_file *file;
	struct error why;
	bool native;

	if (linked) {
		facts->checked = linked->checked;
		return 0;
	}
	if (pe_open(path, &file, &why))
		return error_set(err, "%s: %s", path, why.text);
	facts->checked = pe_version_flags(file) & VERSION_DEBUG;
	native = pe_headers(file)->machine == (sizeof(void *) == 8 ? PE_X64 : PE_X86);
	pe_close(file);
	if (!native)
		return error_set(err, "%s is for the other machine: this storhost has %zu bits", path,
				 8 * sizeof(void *));
	return 0;
}

static void *resolve(void *opaque, const struct pe_import *import)
{
	const struct pe_headers *headers = pe_headers(opaque);
	void *address = NULL;

	if (!import->name || export_find(headers->machine, import->dll, import->name, &address) == EXPORT_UNKNOWN)
		return NULL;
	return address;
}

static int image_open(const char *path, struct image *image, struct error *err)
{
	image->linked = linked_driver(path);
	if (image->linked)
		return 0;
	if (pe_open(path, &image->file, err) || pe_map(image->file, resolve, image->file, &image->module, err))
		return -1;
	image->symbols = pe_open_pdb(image->file, path, NULL);
	return 0;
}

int image_load(const char *path, struct image **out, struct error *err)
{
	struct image *image = calloc(1, sizeof(*image));

	*out = NULL;
	if (!image)
		return error_set(err, "no memory");
	if (image_open(path, image, err)) {
		image_free(image);
		return -1;
	}
	*out = image;
	return 0;
}

void *image_entry(const struct image *image)
{
	return image->linked ? image->linked->entry : pe_module_entry(image->module);
}

bool image_contains(const struct image *image, const void *address, uintptr_t *offset)
{
	const uint8_t *base;
	bool inside = false;

	if (image->linked) {
		base = image->linked->start;
		inside = (const uint8_t *)address >= base && (const uint8_t *)address < image->linked->end;
	} else if (image->module) {
		base = pe_module_base(image->module);
		inside = pe_module_contains(image->module, address);
	}
	if (inside && offset)
		*offset = (uintptr_t)address - (uintptr_t)base;
	return inside;
}

bool image_symbol(const struct image *image, uintptr_t offset, char *buf, size_t size)
{
	return image->symbols && pe_symbol(image->file, image->symbols, offset, buf, size);
}

void image_discard(struct image *image)
{
	if (image->module)
		pe_module_discard(image->module);
}

void image_free(struct image *image)
{
	if (!image)
		return;
	if (image->module)
		pe_unmap(image->module);
	if (image->symbols)
		pdb_close(image->symbols);
	if (image->file)
		pe_close(image->file);
	free(image);
}
