/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver's code: a .sys that pe/ maps, or a driver that was compiled for Linux and linked into this program.
 *
 * A build with a linked-in driver (AERO_NATIVE) runs the driver's own sources under sanitizers, coverage and the
 * fuzzer. It sets image_linked before main, and the path "-" means that driver. Its imports are storhost's exports by
 * name, bound by the linker. It is judged as a .sys is, except for what only an image file has: its data is not
 * protected from its code, and its initialization code is not discarded.
 */
#ifndef STORHOST_PORT_IMAGE_H
#define STORHOST_PORT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define IMAGE_LINKED "-" /* the path of the linked-in driver */

struct image_linked {
	const char *name;
	void *entry;                /* DriverEntry */
	const uint8_t *start, *end; /* its code */
	bool checked;
};

extern const struct image_linked *image_linked; /* NULL: this program has none */

/* What is known of a driver before it is loaded. */
struct image_facts {
	bool checked; /* a checked build */
};

/* -1 and a sentence if this program cannot host it. */
int image_inspect(const char *path, struct image_facts *facts, struct error *err);

struct image;

/* Maps it and binds its imports. -1: *out is as it was. */
int image_load(const char *path, struct image **out, struct error *err);
void *image_entry(const struct image *image);
/* Whether the address lies in the driver; offset (may be NULL) from its beginning. */
bool image_contains(const struct image *image, const void *address, uintptr_t *offset);
/* The procedure at that offset: "name+0x12", "name"; false: none is known. */
bool image_symbol(const struct image *image, uintptr_t offset, char *buf, size_t size);
/* After DriverEntry: a later touch of what is for initialization only faults. */
void image_discard(struct image *image);
void image_free(struct image *image);

#endif
