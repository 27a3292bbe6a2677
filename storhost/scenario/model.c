/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the medium holds: for each block the versions that it may have. A block's data follow from its address and
 * version, so that any mixture of blocks and times is seen.
 */
#define _FILE_OFFSET_BITS 64
#include <scsi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/bytes.h"
#include "scenario/internal.h"

#define CHUNK_BLOCKS 64u
#define VERSIONS 4u /* that a block may have at a time; more choice is no knowledge */
#define UNKNOWN 0xffu
#define BUCKETS 4096u
#define MAGIC 0x6b636f6c62747a21u
#define BLOCK_SIZE_MAX 65536u
#define RANGE_MAX (1u << 20) /* blocks of one UNMAP or WRITE SAME */

/* Operation codes newer than the Windows 7 kit's list. [SBC-3] */
#define WRITE_AND_VERIFY_12 0xae
#define WRITE_AND_VERIFY_16 0x8e
#define WRITE_SAME_16 0x93
#define UNMAP 0x42

/* Version 0 is what the disk held when the scenario began. */
struct chunk {
	struct chunk *next;
	uint64_t first;              /* block */
	uint8_t count[CHUNK_BLOCKS]; /* of versions, or UNKNOWN */
	uint32_t version[CHUNK_BLOCKS][VERSIONS];
};

struct model {
	uint32_t block_size;
	int fd;
	bool zeroed;
	bool doubtful; /* untouched blocks, too, are unknown */
	uint32_t last_version;
	struct chunk *bucket[BUCKETS];
	uint8_t *scratch; /* one block */
};

struct model *model_create(uint32_t block_size, int fd, bool zeroed)
{
	struct model *model = calloc(1, sizeof(*model));

	if (!model)
		return NULL;
	model->block_size = block_size;
	model->fd = fd;
	model->zeroed = zeroed;
	model->scratch = malloc(block_size);
	if (model->scratch && block_size <= BLOCK_SIZE_MAX)
		return model;
	model_free(model);
	return NULL;
}

void model_free(struct model *model)
{
	for (unsigned i = 0; model && i < BUCKETS; i++) {
		while (model->bucket[i]) {
			struct chunk *next = model->bucket[i]->next;

			free(model->bucket[i]);
			model->bucket[i] = next;
		}
	}
	if (model)
		free(model->scratch);
	free(model);
}

/* NULL: no block of it was ever touched. */
static struct chunk *chunk_find(const struct model *model, uint64_t lba)
{
	struct chunk *chunk = model->bucket[lba / CHUNK_BLOCKS % BUCKETS];

	while (chunk && chunk->first != lba - lba % CHUNK_BLOCKS)
		chunk = chunk->next;
	return chunk;
}

static struct chunk *chunk_get(struct model *model, uint64_t lba)
{
	struct chunk **bucket = &model->bucket[lba / CHUNK_BLOCKS % BUCKETS];
	struct chunk *chunk = chunk_find(model, lba);

	if (chunk)
		return chunk;
	chunk = calloc(1, sizeof(*chunk));
	if (!chunk)
		abort(); /* without its model a scenario proves nothing */
	chunk->first = lba - lba % CHUNK_BLOCKS;
	memset(chunk->count, model->doubtful ? UNKNOWN : 1, sizeof(chunk->count));
	chunk->next = *bucket;
	*bucket = chunk;
	return chunk;
}

/* ---- data ---- */

static uint64_t mix(uint64_t z)
{
	struct rng rng = { z };

	return rng_next(&rng);
}

static void fill_block(uint8_t *data, uint32_t size, uint64_t lba, uint32_t version)
{
	uint64_t head[3] = { MAGIC, lba, version }, word = mix(lba * 0x100000001b3u ^ version);

	memcpy(data, head, sizeof(head));
	for (uint32_t at = sizeof(head); at < size; at += sizeof(word)) {
		memcpy(data + at, &word, sizeof(word));
		word = word * 0x9e3779b97f4a7c15u + 0x7f4a7c15u;
	}
}

uint32_t model_new_version(struct model *model)
{
	return ++model->last_version;
}

void model_fill(const struct model *model, uint64_t lba, uint32_t blocks, uint32_t version, uint8_t *data)
{
	for (uint32_t i = 0; i < blocks; i++)
		fill_block(data + (size_t)i * model->block_size, model->block_size, lba + i, version);
}

/* The model's scratch block becomes this version of a block. */
static bool expected_block(struct model *model, uint64_t lba, uint32_t version)
{
	if (version) {
		fill_block(model->scratch, model->block_size, lba, version);
	} else if (model->zeroed) {
		memset(model->scratch, 0, model->block_size);
	} else {
		off_t offset = (off_t)(lba * model->block_size);

		return pread(model->fd, model->scratch, model->block_size, offset) == (ssize_t)model->block_size;
	}
	return true;
}

/* ---- changes ---- */

void model_written(struct model *model, uint64_t lba, uint32_t blocks, uint32_t version, bool good)
{
	for (uint64_t i = lba; i < lba + blocks; i++) {
		struct chunk *chunk = chunk_get(model, i);
		unsigned at = (unsigned)(i % CHUNK_BLOCKS);
		uint8_t *count = &chunk->count[at];

		if (good)
			*count = 0;
		if (*count == UNKNOWN || *count == VERSIONS)
			*count = UNKNOWN;
		else
			chunk->version[at][(*count)++] = version;
	}
}

void model_forget(struct model *model, uint64_t lba, uint64_t blocks)
{
	for (uint64_t i = lba; i < lba + blocks; i++)
		chunk_get(model, i)->count[i % CHUNK_BLOCKS] = UNKNOWN;
}

static void forget_all(struct model *model)
{
	model->doubtful = true;
	for (unsigned i = 0; i < BUCKETS; i++) {
		for (struct chunk *chunk = model->bucket[i]; chunk; chunk = chunk->next)
			memset(chunk->count, UNKNOWN, sizeof(chunk->count));
	}
}

/* What a list of UNMAP names [SBC-3 5.28]; more than RANGE_MAX blocks in a piece is refused, and if not, found out. */
static void doubt_ranges(struct model *model, const uint8_t *list, uint32_t length)
{
	for (uint32_t at = 8; at + 16 <= length; at += 16) {
		uint32_t blocks = get_be32(list + at + 8);

		if (blocks <= RANGE_MAX)
			model_forget(model, get_be64(list + at), blocks);
	}
}

void model_doubt(struct model *model, const uint8_t *cdb, uint8_t length, const uint8_t *list, uint32_t list_length)
{
	static const uint8_t group_length[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };
	uint64_t blocks;

	if (length < group_length[cdb[0] >> 5])
		return;
	switch (cdb[0]) {
	case SCSIOP_WRITE6:
		model_forget(model, get_be32(cdb) & 0x1fffff, cdb[4] ? cdb[4] : 256);
		return;
	case SCSIOP_WRITE:
	case SCSIOP_WRITE_VERIFY:
		model_forget(model, get_be32(cdb + 2), (uint64_t)(cdb[7] << 8 | cdb[8]));
		return;
	case SCSIOP_WRITE12:
	case WRITE_AND_VERIFY_12:
		blocks = get_be32(cdb + 6);
		break;
	case SCSIOP_WRITE16:
	case WRITE_AND_VERIFY_16:
		blocks = get_be32(cdb + 10);
		break;
	case UNMAP:
		if (list)
			doubt_ranges(model, list, list_length);
		return;
	case SCSIOP_FORMAT_UNIT:
	case SCSIOP_WRITE_SAME:
		forget_all(model);
		return;
	case WRITE_SAME_16:
		blocks = get_be32(cdb + 10);
		if (blocks && blocks <= RANGE_MAX)
			model_forget(model, get_be64(cdb + 2), blocks);
		else
			forget_all(model);
		return;
	default:
		return;
	}
	if (blocks > DATA_MAX)
		return; /* more than any buffer: refused, and if not, found out */
	model_forget(model, length == 16 ? get_be64(cdb + 2) : get_be32(cdb + 2), blocks);
}

void model_cut(struct model *model, uint64_t lba)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		for (struct chunk *chunk = model->bucket[i]; chunk; chunk = chunk->next) {
			for (unsigned at = 0; at < CHUNK_BLOCKS; at++) {
				if (chunk->first + at < lba)
					continue;
				chunk->count[at] = 1;
				chunk->version[at][0] = 0;
			}
		}
	}
}

/* ---- checks ---- */

static int wrong_block(const struct model *model, uint64_t lba, const uint8_t *data, const struct chunk *chunk,
		       struct error *err)
{
	unsigned at = (unsigned)(lba % CHUNK_BLOCKS), count = chunk ? chunk->count[at] : 1, used = 0;
	char wanted[80] = "", got[80] = "data that nobody wrote";
	uint64_t head[3];

	for (unsigned i = 0; i < count && used < sizeof(wanted); i++)
		used += (unsigned)snprintf(wanted + used, sizeof(wanted) - used, "%s%u", i ? " or " : "",
					   chunk ? chunk->version[at][i] : 0);
	memcpy(head, data, sizeof(head));
	if (head[0] == MAGIC) {
		fill_block(model->scratch, model->block_size, head[1], (uint32_t)head[2]);
		snprintf(got, sizeof(got), "version %llu of block %llu%s", (unsigned long long)head[2],
			 (unsigned long long)head[1],
			 memcmp(data, model->scratch, model->block_size) ? ", damaged" : "");
	} else if (!data[0] && !memcmp(data, data + 1, model->block_size - 1)) {
		snprintf(got, sizeof(got), "zeroes");
	}
	return error_set(err, "expected version %s in block %llu, got %s", wanted, (unsigned long long)lba, got);
}

static int check_block(struct model *model, uint64_t lba, const uint8_t *data, bool settle, struct error *err)
{
	struct chunk *chunk = chunk_find(model, lba);
	unsigned at = (unsigned)(lba % CHUNK_BLOCKS), count = chunk ? chunk->count[at] : 1;

	if (count == UNKNOWN || (!chunk && model->doubtful))
		return 0;
	for (unsigned i = 0; i < count; i++) {
		uint32_t version = chunk ? chunk->version[at][i] : 0;

		if (!expected_block(model, lba, version))
			return 0;
		if (memcmp(data, model->scratch, model->block_size))
			continue;
		if (settle && chunk) {
			chunk->version[at][0] = version;
			chunk->count[at] = 1;
		}
		return 0;
	}
	return wrong_block(model, lba, data, chunk, err);
}

int model_read(struct model *model, uint64_t lba, uint32_t blocks, const uint8_t *data, struct error *err)
{
	for (uint32_t i = 0; i < blocks; i++) {
		if (check_block(model, lba + i, data + (size_t)i * model->block_size, true, err))
			return -1;
	}
	return 0;
}

/* Every block that was ever touched. */
static int compare_known(struct model *model, uint8_t *block, struct error *err)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		for (struct chunk *chunk = model->bucket[i]; chunk; chunk = chunk->next) {
			for (unsigned at = 0; at < CHUNK_BLOCKS; at++) {
				uint64_t lba = chunk->first + at;
				off_t offset = (off_t)(lba * model->block_size);

				if (pread(model->fd, block, model->block_size, offset) != (ssize_t)model->block_size)
					break;
				if (check_block(model, lba, block, false, err))
					return -1;
			}
		}
	}
	return 0;
}

/* Every block that has data, which finds those that nobody was told to touch. */
static int compare_data(struct model *model, uint8_t *block, struct error *err)
{
	off_t end = lseek(model->fd, 0, SEEK_END), at = 0;

	while (at < end && (at = lseek(model->fd, at, SEEK_DATA)) >= 0) {
		off_t hole = lseek(model->fd, at, SEEK_HOLE);

		if (hole < 0)
			hole = end;
		for (at -= at % model->block_size; at < hole; at += model->block_size) {
			if (pread(model->fd, block, model->block_size, at) != (ssize_t)model->block_size)
				return 0;
			if (check_block(model, (uint64_t)at / model->block_size, block, false, err))
				return -1;
		}
	}
	return 0;
}

int model_compare(struct model *model, struct error *err)
{
	uint8_t *block = malloc(model->block_size);
	struct error why;
	int failed;

	if (!block)
		return error_set(err, "there is no memory");
	failed = compare_known(model, block, &why) || (model->zeroed && compare_data(model, block, &why));
	free(block);
	return failed ? error_set(err, "on the medium, %s", why.text) : 0;
}
