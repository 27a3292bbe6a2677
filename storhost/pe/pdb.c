/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Program databases: streams out of the multi-stream file, and procedures and public symbols out of those streams.
 * Layout and numbers as microsoft-pdb and LLVM's "The PDB File Format" give them; all little-endian.
 */
#include "pe/pdb.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pe/file.h"

/* The multi-stream file. */
#define MSF_MAGIC                                                                                                      \
	"Microsoft C/C++ MSF 7.00\r\n\x1a"                                                                             \
	"DS\0\0\0"
#define MSF_MAGIC_BYTES 32u
#define MSF_SUPERBLOCK_BYTES 56u
#define STREAMS_MAX 0x10000u
#define STREAM_ABSENT 0xffffffffu /* as a size */
#define STREAM_NONE 0xffffu       /* as a number */

enum { STREAM_INFO = 1, STREAM_DBI = 3 };

/* The information stream: version, signature, age, GUID. */
#define INFO_GUID 12u
#define INFO_BYTES 28u

/* The debug information stream's header. */
#define DBI_AGE 8u
#define DBI_SYMBOLS 20u /* number of the stream of public symbols' records */
#define DBI_MODULES_SIZE 24u
#define DBI_BYTES 64u

/* One module in it: a fixed part, two strings, padding to 4. */
#define MODULE_STREAM 34u
#define MODULE_SYMBOLS_SIZE 36u
#define MODULE_BYTES 64u
#define MODULES_MAX 4096u

/* Symbol records: length (of what follows it), kind, and offsets behind the kind. */
enum { S_PUB32 = 0x110e, S_LPROC32 = 0x110f, S_GPROC32 = 0x1110 };
#define SYMBOL_SIGNATURE_BYTES 4u /* before the first record of a module */
#define PROC_SIZE 12u
#define PROC_OFFSET 28u
#define PROC_SECTION 32u
#define PROC_NAME 35u
#define PUBLIC_OFFSET 4u
#define PUBLIC_SECTION 8u
#define PUBLIC_NAME 10u

#define NAME_MAX_BYTES 200u

struct msf {
	const uint8_t *bytes;
	size_t size;
	uint32_t block_size, block_count;
	uint8_t *directory;
	uint32_t directory_size, stream_count;
};

struct stream {
	uint8_t *bytes;
	uint32_t size;
};

struct symbol {
	unsigned section;
	uint32_t offset, size; /* size 0: a public symbol, whose end is not known */
	char *name;
};

struct table {
	struct symbol *list;
	size_t count, room;
};

struct pdb {
	struct table procedures, publics;
};

/* ---- streams ---- */

static const uint8_t *msf_block(const struct msf *msf, uint32_t block)
{
	uint64_t offset = (uint64_t)block * msf->block_size;

	return offset <= msf->size && msf->block_size <= msf->size - offset ? msf->bytes + offset : NULL;
}

static uint32_t blocks_for(const struct msf *msf, uint32_t size)
{
	return (uint32_t)(((uint64_t)size + msf->block_size - 1) / msf->block_size);
}

/* `size` bytes out of the blocks that are listed at `list`, which is inside what was read; NULL: one is not there. */
static uint8_t *msf_gather(const struct msf *msf, const uint8_t *list, uint32_t size)
{
	uint8_t *bytes = size <= msf->size ? malloc(size ? size : 1) : NULL;
	uint32_t done = 0;

	for (uint32_t i = 0; bytes && done < size; i++) {
		const uint8_t *block = msf_block(msf, pe_u32(list + 4 * (size_t)i));
		uint32_t part = size - done < msf->block_size ? size - done : msf->block_size;

		if (!block) {
			free(bytes);
			return NULL;
		}
		memcpy(bytes + done, block, part);
		done += part;
	}
	return bytes;
}

static int msf_open(struct msf *msf, const uint8_t *bytes, size_t size, struct error *err)
{
	const uint8_t *list;
	uint32_t blocks;

	memset(msf, 0, sizeof(*msf));
	if (size < MSF_SUPERBLOCK_BYTES || memcmp(bytes, MSF_MAGIC, MSF_MAGIC_BYTES))
		return error_set(err, "not a program database");
	msf->bytes = bytes;
	msf->size = size;
	msf->block_size = pe_u32(bytes + 32);
	msf->directory_size = pe_u32(bytes + 44);
	if (msf->block_size < 512 || msf->block_size > 65536 || (msf->block_size & (msf->block_size - 1)))
		return error_set(err, "blocks of %u bytes", msf->block_size);
	blocks = blocks_for(msf, msf->directory_size);
	list = msf_block(msf, pe_u32(bytes + 52));
	if (!list || blocks > msf->block_size / 4 || msf->directory_size < 4)
		return error_set(err, "its directory lies outside the file");
	msf->directory = msf_gather(msf, list, msf->directory_size);
	if (!msf->directory)
		return error_set(err, "its directory lies outside the file");
	msf->stream_count = pe_u32(msf->directory);
	if (msf->stream_count > STREAMS_MAX || msf->stream_count > (msf->directory_size - 4) / 4)
		return error_set(err, "its directory has no room for its streams");
	return 0;
}

static uint32_t stream_size(const struct msf *msf, uint32_t n)
{
	uint32_t size = pe_u32(msf->directory + 4 + 4 * (size_t)n);

	return size == STREAM_ABSENT ? 0 : size;
}

/* False: there is no such stream, or not all of it. */
static bool stream_read(const struct msf *msf, uint32_t n, struct stream *stream)
{
	uint64_t list = 4 + 4 * (uint64_t)msf->stream_count;

	stream->bytes = NULL;
	if (n >= msf->stream_count)
		return false;
	for (uint32_t i = 0; i < n; i++)
		list += 4 * (uint64_t)blocks_for(msf, stream_size(msf, i));
	stream->size = stream_size(msf, n);
	if (list + 4 * (uint64_t)blocks_for(msf, stream->size) > msf->directory_size)
		return false;
	stream->bytes = msf_gather(msf, msf->directory + list, stream->size);
	return stream->bytes != NULL;
}

/* ---- symbols ---- */

/* The printable name at `at`, in memory of its own; NULL: there is none. */
static char *name_read(const uint8_t *at, size_t room)
{
	size_t length = strnlen((const char *)at, room < NAME_MAX_BYTES ? room : NAME_MAX_BYTES);

	if (!length || length == room)
		return NULL;
	for (size_t i = 0; i < length; i++) {
		if (at[i] < 0x20 || at[i] > 0x7e)
			return NULL;
	}
	return strndup((const char *)at, length);
}

static void table_add(struct table *table, const struct symbol *symbol)
{
	size_t room = table->room ? 2 * table->room : 256;
	struct symbol *grown;

	if (!symbol->name)
		return;
	if (table->count == table->room) {
		grown = realloc(table->list, room * sizeof(*grown));
		if (!grown) {
			free(symbol->name);
			return;
		}
		table->list = grown;
		table->room = room;
	}
	table->list[table->count++] = *symbol;
}

/* One record; p is behind its kind and has `room` bytes. */
static void symbol_read(struct pdb *pdb, unsigned kind, const uint8_t *p, size_t room)
{
	struct symbol symbol = { .size = 0 };

	if ((kind == S_GPROC32 || kind == S_LPROC32) && room > PROC_NAME) {
		symbol.section = pe_u16(p + PROC_SECTION);
		symbol.offset = pe_u32(p + PROC_OFFSET);
		symbol.size = pe_u32(p + PROC_SIZE);
		symbol.name = name_read(p + PROC_NAME, room - PROC_NAME);
		table_add(&pdb->procedures, &symbol);
	} else if (kind == S_PUB32 && room > PUBLIC_NAME) {
		symbol.section = pe_u16(p + PUBLIC_SECTION);
		symbol.offset = pe_u32(p + PUBLIC_OFFSET);
		symbol.name = name_read(p + PUBLIC_NAME, room - PUBLIC_NAME);
		table_add(&pdb->publics, &symbol);
	}
}

static void symbols_read(struct pdb *pdb, const uint8_t *p, size_t size)
{
	while (size >= 4) {
		size_t length = pe_u16(p);

		if (length < 2 || length > size - 2)
			return;
		symbol_read(pdb, pe_u16(p + 2), p + 4, length - 2);
		p += 2 + length;
		size -= 2 + length;
	}
}

static void module_read(struct pdb *pdb, const struct msf *msf, const uint8_t *module)
{
	uint32_t size = pe_u32(module + MODULE_SYMBOLS_SIZE);
	struct stream stream;

	if (pe_u16(module + MODULE_STREAM) == STREAM_NONE || !stream_read(msf, pe_u16(module + MODULE_STREAM), &stream))
		return;
	if (size > SYMBOL_SIGNATURE_BYTES && size <= stream.size)
		symbols_read(pdb, stream.bytes + SYMBOL_SIGNATURE_BYTES, size - SYMBOL_SIGNATURE_BYTES);
	free(stream.bytes);
}

/* Bytes of a module's entry, 0 where none fits. */
static size_t module_size(const uint8_t *p, size_t room)
{
	size_t used = MODULE_BYTES;

	for (int strings = 0; strings < 2; strings++) {
		const uint8_t *end = room > used ? memchr(p + used, 0, room - used) : NULL;

		if (!end)
			return 0;
		used = (size_t)(end - p) + 1;
	}
	used = (used + 3) & ~(size_t)3;
	return used <= room ? used : room;
}

static void modules_read(struct pdb *pdb, const struct msf *msf, const struct stream *dbi)
{
	const uint8_t *p = dbi->bytes + DBI_BYTES;
	size_t size = pe_u32(dbi->bytes + DBI_MODULES_SIZE), used;

	if (size > dbi->size - DBI_BYTES)
		return;
	for (unsigned n = 0; n < MODULES_MAX && (used = module_size(p, size)) != 0; n++, p += used, size -= used)
		module_read(pdb, msf, p);
}

static void publics_read(struct pdb *pdb, const struct msf *msf, const struct stream *dbi)
{
	struct stream stream;

	if (!stream_read(msf, pe_u16(dbi->bytes + DBI_SYMBOLS), &stream))
		return;
	symbols_read(pdb, stream.bytes, stream.size);
	free(stream.bytes);
}

static int compare(const void *a, const void *b)
{
	const struct symbol *one = a, *other = b;

	if (one->section != other->section)
		return one->section < other->section ? -1 : 1;
	return one->offset < other->offset ? -1 : one->offset > other->offset;
}

static void table_sort(struct table *table)
{
	if (table->count)
		qsort(table->list, table->count, sizeof(*table->list), compare);
}

/* ---- the whole ---- */

static bool is_of(const struct msf *msf, const struct stream *dbi, const uint8_t *guid, uint32_t age)
{
	struct stream info;
	bool same;

	if (!stream_read(msf, STREAM_INFO, &info))
		return false;
	same = info.size >= INFO_BYTES && !memcmp(info.bytes + INFO_GUID, guid, PDB_GUID_BYTES) &&
	       pe_u32(dbi->bytes + DBI_AGE) == age;
	free(info.bytes);
	return same;
}

static int pdb_read(struct pdb *pdb, const struct msf *msf, const uint8_t *guid, uint32_t age, struct error *err)
{
	struct stream dbi;
	int result = 0;

	if (!stream_read(msf, STREAM_DBI, &dbi))
		return error_set(err, "it has no debug information");
	if (dbi.size < DBI_BYTES)
		result = error_set(err, "its debug information has %u bytes", dbi.size);
	else if (!is_of(msf, &dbi, guid, age))
		result = error_set(err, "it belongs to another image");
	if (!result) {
		modules_read(pdb, msf, &dbi);
		publics_read(pdb, msf, &dbi);
		table_sort(&pdb->procedures);
		table_sort(&pdb->publics);
	}
	free(dbi.bytes);
	return result;
}

int pdb_open_memory(const uint8_t *bytes, size_t size, const uint8_t guid[PDB_GUID_BYTES], uint32_t age,
		    struct pdb **out, struct error *err)
{
	struct pdb *pdb = calloc(1, sizeof(*pdb));
	struct msf msf;
	int result;

	if (!pdb)
		return error_set(err, "no memory");
	result = msf_open(&msf, bytes, size, err) || pdb_read(pdb, &msf, guid, age, err) ? -1 : 0;
	free(msf.directory);
	if (result)
		pdb_close(pdb);
	else
		*out = pdb;
	return result;
}

static void table_free(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->list[i].name);
	free(table->list);
}

void pdb_close(struct pdb *pdb)
{
	if (!pdb)
		return;
	table_free(&pdb->procedures);
	table_free(&pdb->publics);
	free(pdb);
}

/* The last symbol at or before that place, in its section; NULL: there is none. */
static const struct symbol *table_find(const struct table *table, unsigned section, uint32_t offset)
{
	struct symbol key = { .section = section, .offset = offset };
	size_t first = 0, end = table->count;

	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (compare(&table->list[middle], &key) <= 0)
			first = middle + 1;
		else
			end = middle;
	}
	return first && table->list[first - 1].section == section ? &table->list[first - 1] : NULL;
}

const char *pdb_symbol(const struct pdb *pdb, unsigned section, uint32_t offset, uint32_t *distance)
{
	const struct symbol *symbol = table_find(&pdb->procedures, section, offset);

	if (!symbol || offset - symbol->offset >= symbol->size)
		symbol = table_find(&pdb->publics, section, offset);
	if (!symbol)
		return NULL;
	*distance = offset - symbol->offset;
	return symbol->name;
}

size_t pdb_symbol_count(const struct pdb *pdb)
{
	return pdb->procedures.count + pdb->publics.count;
}

/* ---- beside an image ---- */

struct pdb *pe_open_pdb(const struct pe_file *file, const char *driver, struct error *err)
{
	const char *name = file->pdb_path, *slash = strrchr(driver, '/');
	size_t directory = slash ? (size_t)(slash + 1 - driver) : 0;
	struct pdb *pdb = NULL;
	uint8_t *bytes;
	size_t size;
	char *path;

	if (!name) {
		error_set(err, "the image names no program database");
		return NULL;
	}
	/* Where the linker put it is nobody's business: only its name counts. */
	for (const char *p = name; *p; p++)
		name = *p == '/' || *p == '\\' ? p + 1 : name;
	path = malloc(directory + strlen(name) + 1);
	if (!path) {
		error_set(err, "no memory");
		return NULL;
	}
	memcpy(path, driver, directory);
	strcpy(path + directory, name);
	if (!pe_read_file(path, &bytes, &size, err)) {
		if (pdb_open_memory(bytes, size, file->pdb_guid, file->pdb_age, &pdb, err))
			pdb = NULL;
		free(bytes);
	}
	free(path);
	return pdb;
}

bool pe_symbol(const struct pe_file *file, const struct pdb *pdb, uint64_t rva, char *buf, size_t size)
{
	for (size_t i = 0; i < file->section_count; i++) {
		uint64_t offset = rva - file->sections[i].rva;
		uint32_t distance = 0;
		const char *name;

		if (offset >= pe_section_extent(&file->sections[i]))
			continue;
		name = pdb_symbol(pdb, (unsigned)i + 1, (uint32_t)offset, &distance);
		if (name && distance)
			snprintf(buf, size, "%s+0x%x", name, distance);
		else if (name)
			snprintf(buf, size, "%s", name);
		return name != NULL;
	}
	return false;
}
