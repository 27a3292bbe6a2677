/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The names in a program database (.pdb): procedures, static ones included, and public symbols.
 *
 * A database belongs to one image, which names it by GUID and age; any other is refused. Whatever the file says is
 * checked before it is followed: a bad one gives fewer names, or a sentence, and nothing worse.
 */
#ifndef STORHOST_PE_PDB_H
#define STORHOST_PE_PDB_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PDB_GUID_BYTES 16

struct pdb;

int pdb_open_memory(const uint8_t *bytes, size_t size, const uint8_t guid[PDB_GUID_BYTES], uint32_t age,
		    struct pdb **out, struct error *err);
void pdb_close(struct pdb *pdb);
/*
 * The procedure that contains byte `offset` of section n (the first is 1), or else the public symbol before it; NULL:
 * there is none. *distance: bytes from where the name is.
 */
const char *pdb_symbol(const struct pdb *pdb, unsigned section, uint32_t offset, uint32_t *distance);
size_t pdb_symbol_count(const struct pdb *pdb);

#endif
