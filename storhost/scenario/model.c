/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the medium holds: for each block the versions that it may have, and those that it may have after power was lost.
 * A block's data follow from its address and version, so that any mixture of blocks and times is seen. Versions grow: of
 * two that a block had, the greater came later. Blocks that were zeroed have such versions too.
 *
 * Lost power takes back what a volatile cache held, but no more than to the last version that was known to be durable,
 * and that is any since. A flush makes durable what had come back good before it was sent.
 */
#define _FILE_OFFSET_BITS 64
#include <scsi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/bytes.h"
#include "scenario/internal.h"

#define CHUNK_BLOCKS TOUCHED_MAX
#define VERSIONS 4u   /* that a block may have at a time; of more, all since the first are taken for possible */
#define UNKNOWN 0xffu /* in place of a number of versions: any data */
#define SINCE 0xfeu   /* version[0] and any later one */
#define NO_VERSION UINT32_MAX
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
struct block {
	uint32_t version[VERSIONS];
	uint32_t zeroes;  /* the last version that was zeroes, or NO_VERSION */
	uint32_t changed; /* model->clock at its last change; durable where that is not after model->flushed */
	uint32_t oldest;  /* where it is not durable: the first version that lost power may leave */
	uint8_t count;    /* of versions, or UNKNOWN, or SINCE */
	bool vague;       /* where it is not durable: any data may be left */
};

struct chunk {
	struct chunk *next;
	uint64_t first; /* block */
	struct block block[CHUNK_BLOCKS];
};

struct model {
	uint32_t block_size;
	int fd;
	bool zeroed;
	bool doubtful; /* untouched blocks, too, are unknown */
	uint32_t last_version;
	uint32_t clock;   /* counts changes, from 1 on */
	uint32_t flushed; /* clock when the latest flush that went well was sent */
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
	model->doubtful = fd < 0;
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
	for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
		chunk->block[i].count = model->doubtful ? UNKNOWN : 1;
		chunk->block[i].zeroes = model->zeroed ? 0 : NO_VERSION;
	}
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

/* ---- changes ---- */

/* NULL: it was never touched. */
static struct block *block_find(const struct model *model, uint64_t lba)
{
	struct chunk *chunk = chunk_find(model, lba);

	return chunk ? &chunk->block[lba % CHUNK_BLOCKS] : NULL;
}

static struct block *block_get(struct model *model, uint64_t lba)
{
	return &chunk_get(model, lba)->block[lba % CHUNK_BLOCKS];
}

/* A version is added to those that the block may have. */
static void add_version(struct block *block, uint32_t version)
{
	if (block->count < VERSIONS) {
		block->version[block->count++] = version;
	} else if (block->count == VERSIONS) {
		for (unsigned i = 1; i < VERSIONS; i++) {
			if (block->version[i] < block->version[0])
				block->version[0] = block->version[i];
		}
		block->count = SINCE;
	}
}

/* A durable block is about to be so no longer: what it has now is what may be left of it. */
static void note_durable(struct block *block)
{
	unsigned count = block->count == SINCE ? 1 : block->count;

	block->vague = block->count == UNKNOWN;
	block->oldest = NO_VERSION;
	for (unsigned i = 0; !block->vague && i < count; i++) {
		if (block->version[i] < block->oldest)
			block->oldest = block->version[i];
	}
}

static void block_changed(struct model *model, struct block *block, uint32_t version, enum change change)
{
	if (block->changed <= model->flushed)
		note_durable(block);
	if (change != CHANGE_DOUBTFUL)
		block->count = 0;
	add_version(block, version);
	block->changed = change == CHANGE_DURABLE ? 0 : model->clock;
}

void model_written(struct model *model, uint64_t lba, uint32_t blocks, uint32_t version, enum change change)
{
	model->clock++;
	for (uint64_t i = lba; i < lba + blocks; i++)
		block_changed(model, block_get(model, i), version, change);
}

void model_zeroed(struct model *model, uint64_t lba, uint32_t blocks, uint32_t version, enum change change)
{
	model_written(model, lba, blocks, version, change);
	for (uint64_t i = lba; i < lba + blocks; i++)
		block_get(model, i)->zeroes = version;
}

uint32_t model_clock(const struct model *model)
{
	return model->clock;
}

void model_flushed(struct model *model, uint32_t clock)
{
	if (clock > model->flushed)
		model->flushed = clock;
}

static void for_each_block(struct model *model,
			   void (*visit)(struct model *model, struct block *block, uint64_t lba, void *with),
			   void *with)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		for (struct chunk *chunk = model->bucket[i]; chunk; chunk = chunk->next) {
			for (unsigned at = 0; at < CHUNK_BLOCKS; at++)
				visit(model, &chunk->block[at], chunk->first + at, with);
		}
	}
}

static void lose_power(struct model *model, struct block *block, uint64_t lba, void *with)
{
	(void)lba;
	(void)with;
	if (block->changed <= model->flushed)
		return;
	block->changed = 0;
	block->count = block->vague ? UNKNOWN : SINCE;
	block->version[0] = block->oldest;
}

void model_power_lost(struct model *model)
{
	for_each_block(model, lose_power, NULL);
}

void model_forget(struct model *model, uint64_t lba, uint64_t blocks)
{
	uint64_t most = INT64_MAX / model->block_size; /* no file has more */

	model->clock++;
	for (uint64_t i = lba; i < lba + blocks && i < most; i++) {
		struct block *block = block_get(model, i);

		block->count = UNKNOWN;
		block->vague = true;
		block->changed = model->clock;
	}
}

static void forget(struct model *model, struct block *block, uint64_t lba, void *with)
{
	(void)with;
	(void)block;
	model_forget(model, lba, 1);
}

static void forget_all(struct model *model)
{
	model->doubtful = true;
	for_each_block(model, forget, NULL);
}

/* Blocks that a command may change. */
typedef void model_visit(void *with, uint64_t lba, uint64_t blocks);

/* What a list of UNMAP names [SBC-3 5.28]; more than RANGE_MAX blocks in a piece is refused, and if not, found out. */
static void visit_ranges(const uint8_t *list, uint32_t length, model_visit *visit, void *with)
{
	for (uint32_t at = 8; at + 16 <= length; at += 16) {
		uint32_t blocks = get_be32(list + at + 8);

		if (blocks <= RANGE_MAX)
			visit(with, get_be64(list + at), blocks);
	}
}

/* Visits what a command may change, piece by piece; UINT64_MAX blocks from 0 on are all that there are. */
static void visit_changes(const struct model_command *command, model_visit *visit, void *with)
{
	static const uint8_t group_length[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };
	const uint8_t *cdb = command->cdb;
	uint64_t blocks;

	if (command->length < group_length[cdb[0] >> 5])
		return;
	switch (cdb[0]) {
	case SCSIOP_WRITE6:
		visit(with, get_be32(cdb) & 0x1fffff, cdb[4] ? cdb[4] : 256);
		return;
	case SCSIOP_WRITE:
	case SCSIOP_WRITE_VERIFY:
		visit(with, get_be32(cdb + 2), (uint64_t)(cdb[7] << 8 | cdb[8]));
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
		if (command->list)
			visit_ranges(command->list, command->list_length, visit, with);
		return;
	case SCSIOP_FORMAT_UNIT:
	case SCSIOP_WRITE_SAME:
		visit(with, 0, UINT64_MAX);
		return;
	case WRITE_SAME_16:
		blocks = get_be32(cdb + 10);
		if (blocks && blocks <= RANGE_MAX)
			visit(with, get_be64(cdb + 2), blocks);
		else
			visit(with, 0, UINT64_MAX);
		return;
	default:
		return;
	}
	if (blocks > DATA_MAX)
		return; /* more than any buffer: refused, and if not, found out */
	visit(with, command->length == 16 ? get_be64(cdb + 2) : get_be32(cdb + 2), blocks);
}

static void doubt(void *with, uint64_t lba, uint64_t blocks)
{
	if (blocks == UINT64_MAX)
		forget_all(with);
	else
		model_forget(with, lba, blocks);
}

void model_doubt(struct model *model, const struct model_command *command)
{
	visit_changes(command, doubt, model);
}

struct reach {
	uint64_t lba, blocks;
	bool reached;
};

static void compare_reach(void *with, uint64_t lba, uint64_t blocks)
{
	struct reach *reach = with;

	reach->reached |= lba < reach->lba + reach->blocks && (blocks > UINT64_MAX - lba || reach->lba < lba + blocks);
}

bool model_reaches(const struct model_command *command, uint64_t lba, uint64_t blocks)
{
	struct reach reach = { lba, blocks, false };

	visit_changes(command, compare_reach, &reach);
	return reach.reached;
}

/* A file that was cut and grew again is zero there, and durably so. */
static void cut(struct model *model, struct block *block, uint64_t lba, void *with)
{
	if (lba < *(uint64_t *)with)
		return;
	block->count = 1;
	block->version[0] = block->zeroes = model->last_version;
	block->changed = 0;
}

void model_cut(struct model *model, uint64_t lba)
{
	model_new_version(model);
	for_each_block(model, cut, &lba);
}

/* ---- checks ---- */

static bool is_zero(const uint8_t *data, uint32_t size)
{
	return !data[0] && !memcmp(data, data + 1, size - 1);
}

/* Whether the data are that of some version of some block; the model's scratch is used. */
static bool identify(const struct model *model, const uint8_t *data, uint64_t *lba, uint32_t *version)
{
	uint64_t head[3];

	memcpy(head, data, sizeof(head));
	if (head[0] != MAGIC || head[2] > model->last_version)
		return false;
	*lba = head[1];
	*version = (uint32_t)head[2];
	fill_block(model->scratch, model->block_size, *lba, *version);
	return !memcmp(data, model->scratch, model->block_size);
}

/* Whether the data are what an image held when the scenario began, as far as the image can tell: it has them still. */
static bool is_original(const struct model *model, uint64_t lba, const uint8_t *data)
{
	off_t offset = (off_t)(lba * model->block_size);

	if (model->zeroed)
		return is_zero(data, model->block_size);
	return pread(model->fd, model->scratch, model->block_size, offset) != (ssize_t)model->block_size ||
	       !memcmp(data, model->scratch, model->block_size);
}

static bool admits(const struct block *block, uint32_t version)
{
	if (block->count == SINCE)
		return version != NO_VERSION && version >= block->version[0];
	for (unsigned i = 0; i < block->count; i++) {
		if (block->version[i] == version)
			return true;
	}
	return false;
}

/* The version that the data are, if the block may have it; else NO_VERSION. */
static uint32_t version_of(const struct model *model, const struct block *block, uint64_t lba, const uint8_t *data)
{
	uint64_t of;
	uint32_t version;

	if (is_zero(data, model->block_size) && admits(block, block->zeroes))
		return block->zeroes;
	if (identify(model, data, &of, &version) && of == lba && admits(block, version))
		return version;
	return admits(block, 0) && is_original(model, lba, data) ? 0 : NO_VERSION;
}

static void describe_wanted(const struct block *block, char *text, size_t size)
{
	unsigned count = block->count == SINCE ? 1 : block->count, used = 0;

	for (unsigned i = 0; i < count && used < size; i++)
		used += (unsigned)snprintf(text + used, size - used, "%s%u", i ? " or " : "", block->version[i]);
	if (block->count == SINCE && used < size)
		snprintf(text + used, size - used, " or later");
}

static int wrong_block(const struct model *model, uint64_t lba, const uint8_t *data, const struct block *block,
		       struct error *err)
{
	char wanted[80] = "0", got[80] = "data that nobody wrote";
	bool whole = true;
	uint64_t head[3];
	uint32_t version;

	if (block)
		describe_wanted(block, wanted, sizeof(wanted));
	memcpy(head, data, sizeof(head));
	if (head[0] == MAGIC)
		whole = identify(model, data, &head[1], &version);
	if (head[0] == MAGIC)
		snprintf(got, sizeof(got), "version %llu of block %llu%s", (unsigned long long)head[2],
			 (unsigned long long)head[1], whole ? "" : ", damaged");
	else if (is_zero(data, model->block_size))
		snprintf(got, sizeof(got), "zeroes");
	return error_set(err, "expected version %s in block %llu, got %s", wanted, (unsigned long long)lba, got);
}

static int check_block(struct model *model, uint64_t lba, const uint8_t *data, bool settle, struct error *err)
{
	struct block *block = block_find(model, lba);
	uint32_t version;

	if (!block)
		return model->doubtful || is_original(model, lba, data) ? 0 : wrong_block(model, lba, data, NULL, err);
	if (block->count == UNKNOWN)
		return 0;
	version = version_of(model, block, lba, data);
	if (version == NO_VERSION)
		return wrong_block(model, lba, data, block, err);
	if (settle) {
		block->version[0] = version;
		block->count = 1;
	}
	return 0;
}

bool model_recall(const struct model *model, uint64_t lba, uint32_t blocks, uint8_t *data)
{
	for (uint32_t i = 0; i < blocks; i++) {
		const struct block *block = block_find(model, lba + i);
		uint8_t *to = data + (size_t)i * model->block_size;

		if (block ? block->count != 1 : model->doubtful || !model->zeroed)
			return false;
		if (!block || block->version[0] == block->zeroes)
			memset(to, 0, model->block_size);
		else if (block->version[0])
			fill_block(to, model->block_size, lba + i, block->version[0]);
		else
			return false;
	}
	return true;
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

bool model_touched(const struct model *model, uint64_t lba, uint64_t *next, uint32_t *blocks)
{
	const struct chunk *found = NULL;

	for (unsigned i = 0; i < BUCKETS; i++) {
		for (const struct chunk *chunk = model->bucket[i]; chunk; chunk = chunk->next) {
			if (chunk->first >= lba && (!found || chunk->first < found->first))
				found = chunk;
		}
	}
	*next = found ? found->first : 0;
	*blocks = CHUNK_BLOCKS;
	return found != NULL;
}

int model_compare(struct model *model, struct error *err)
{
	uint8_t *block = model->fd < 0 ? NULL : malloc(model->block_size);
	struct error why;
	int failed;

	if (model->fd < 0)
		return 0;
	if (!block)
		return error_set(err, "there is no memory");
	failed = compare_known(model, block, &why) || (model->zeroed && compare_data(model, block, &why));
	free(block);
	return failed ? error_set(err, "on the medium, %s", why.text) : 0;
}
