/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The kinds of device that a machine can have, and which one a text names.
 *
 * A text is `KIND:PLACE[,option…]` for a device that others made, or options alone, which change the device that is
 * chosen already: at first the contract's, which takes the words and keys of virtio_blk_help. A device of others takes
 * fewer of them or none; what it cannot be told is DEVICE_CANNOT, which is no error: what needed it does not apply.
 */
#ifndef STORHOST_DEVICE_OPEN_H
#define STORHOST_DEVICE_OPEN_H

#include <stdio.h>

#include "base/error.h"
#include "device/virtio_blk.h"

#define DEVICE_PLACE_MAX 256
#define DEVICE_WORDS_MAX 512

struct device_choice;

struct device_kind {
	const char *name; /* before the colon; NULL: the contract device, which has neither name nor place */
	const char *place, *meaning;
	bool path;     /* place is a file name, which is kept absolute */
	bool own_disk; /* it brings its medium: no disk is made or opened for it */
	bool forgets;  /* lost power may take back what was not flushed, for all that is known */
	/* Changes the contract device's options to those that the kind begins with; may be NULL. */
	void (*defaults)(struct device_choice *choice);
	/* Takes options, as device_parse. NULL: there are none. */
	int (*parse)(struct device_choice *choice, const char *options, struct error *err);
	/* Whether open can succeed, as far as that can be told without a disk; NULL: yes. */
	int (*check)(const struct device_choice *choice, struct error *err);
	/* disk: NULL where there is none. NULL and a sentence if it cannot be had. */
	struct device *(*open)(const struct device_choice *choice, const char *disk, struct error *err);
};

struct device_choice {
	const struct device_kind *kind;
	char place[DEVICE_PLACE_MAX];
	char words[DEVICE_WORDS_MAX];    /* options in the order in which they came, for a kind that hands them on */
	struct virtio_blk_options model; /* options of the contract device, and of what a kind shares with it */
	uint64_t wanted;                 /* features without which the device is not what was asked for */
};

/* The contract device. */
void device_defaults(struct device_choice *choice);
/* 0; DEVICE_CANNOT; or -1 for what is not understood. With the choice as it was unless 0, and a sentence. */
int device_parse(struct device_choice *choice, const char *spec, struct error *err);
/* Whether the device is there; device_create may fail all the same. */
int device_check(const struct device_choice *choice, struct error *err);
struct device *device_create(const struct device_choice *choice, const char *disk, struct error *err);
/* The device has so many MSI messages unless its options say something else; for kinds that can. */
void device_offer_msi(struct device_choice *choice, unsigned messages);
/* Whether power that is lost takes back what was not flushed. */
bool device_forgets(const struct device_choice *choice);
/* A line per kind. */
void device_help(FILE *out);

/* Appends options to choice->words; for a kind's parse. */
int device_add_words(struct device_choice *choice, const char *options, struct error *err);

#endif
