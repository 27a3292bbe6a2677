/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the medium holds by what was written to it: for each block the versions that it may have. Data follow from a
 * block's address and version, so that any mixture of blocks and times is seen.
 */
#ifndef STORHOST_SCENARIO_MODEL_H
#define STORHOST_SCENARIO_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct model;

/*
 * zeroed: untouched blocks are zero; otherwise they are what the open image fd holds; fd -1: anything. NULL: no memory.
 */
struct model *model_create(uint32_t block_size, int fd, bool zeroed);
void model_free(struct model *model);
/* A version that no block has had, and its data for blocks from lba on. */
uint32_t model_new_version(struct model *model);
void model_fill(const struct model *model, uint64_t lba, uint32_t blocks, uint32_t version, uint8_t *data);
/* A write came back. */
enum change {
	CHANGE_DOUBTFUL, /* not good: each block holds what it held or the new version */
	CHANGE_MADE,     /* good; until it is flushed, lost power may take it back */
	CHANGE_DURABLE,  /* good, and it may not */
};
void model_written(struct model *model, uint64_t lba, uint32_t blocks, uint32_t version, enum change change);
/* The same for blocks that are zeroes in their new version. */
void model_zeroed(struct model *model, uint64_t lba, uint32_t blocks, uint32_t version, enum change change);
/* How far changes have come, for model_flushed: what was made until then is durable. */
uint32_t model_clock(const struct model *model);
void model_flushed(struct model *model, uint32_t clock);
/* What was not durable may be gone. */
void model_power_lost(struct model *model);
/* The data of these blocks, if there is no choice; else false. */
bool model_recall(const struct model *model, uint64_t lba, uint32_t blocks, uint8_t *data);
/* Data that a read returned; where there was a choice it is settled. -1 and "expected …, got …". */
int model_read(struct model *model, uint64_t lba, uint32_t blocks, const uint8_t *data, struct error *err);
/* What these blocks hold is not known any more. */
void model_forget(struct model *model, uint64_t lba, uint64_t blocks);
/* A command that the model knows as it was written only. list: what an UNMAP brings, or NULL. */
struct model_command {
	const uint8_t *cdb;
	uint8_t length;
	const uint8_t *list;
	uint32_t list_length;
};
/* It was sent: what it may change is forgotten. */
void model_doubt(struct model *model, const struct model_command *command);
/* Whether it may change some of these blocks. */
bool model_reaches(const struct model_command *command, uint64_t lba, uint64_t blocks);
/* Blocks from here on were cut off; should they come back, they are zero. */
void model_cut(struct model *model, uint64_t lba);
#define TOUCHED_MAX 64u
/* Blocks from lba on of which some were touched: the first of them, and how many (TOUCHED_MAX); false: there are none. */
bool model_touched(const struct model *model, uint64_t lba, uint64_t *first, uint32_t *blocks);
/* The medium itself against the model; nothing where it is out of sight. */
int model_compare(struct model *model, struct error *err);

#endif
