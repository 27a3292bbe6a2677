/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The table of device kinds, and the texts that choose from it. */
#include "device/open.h"

#include <string.h>
#include <unistd.h>

/* ---- the contract device ---- */

static int contract_parse(struct device_choice *choice, const char *options, struct error *err)
{
	return virtio_blk_parse(&choice->model, options, err);
}

static struct device *contract_open(const struct device_choice *choice, const char *disk, struct error *err)
{
	return virtio_blk_create(&choice->model, disk, err);
}

/* ---- the table ---- */

static const struct device_kind kinds[] = {
	{ .parse = contract_parse, .open = contract_open },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

void device_defaults(struct device_choice *choice)
{
	memset(choice, 0, sizeof(*choice));
	choice->kind = &kinds[0];
	virtio_blk_defaults(&choice->model);
}

static const struct device_kind *kind_named(const char *spec, size_t length)
{
	for (size_t i = 1; i < KINDS; i++) {
		if (strlen(kinds[i].name) == length && !memcmp(kinds[i].name, spec, length))
			return &kinds[i];
	}
	return NULL;
}

int device_add_words(struct device_choice *choice, const char *options, struct error *err)
{
	size_t length = strlen(choice->words);

	if (length + strlen(options) + 2 > sizeof(choice->words))
		return error_set(err, "the device has more than %u characters of options", DEVICE_WORDS_MAX - 2);
	if (length)
		choice->words[length++] = ',';
	strcpy(choice->words + length, options);
	return 0;
}

static int take_place(struct device_choice *choice, const char *place, size_t length, struct error *err)
{
	size_t lead = 0;

	if (!length)
		return error_set(err, "the device %s:%s needs its %s", choice->kind->name, choice->kind->place,
				 choice->kind->place);
	if (choice->kind->path && *place != '/') {
		if (!getcwd(choice->place, sizeof(choice->place)))
			return error_set(err, "the present directory has no name");
		lead = strlen(choice->place);
		if (lead + 1 < sizeof(choice->place))
			choice->place[lead++] = '/';
	}
	if (lead + length >= sizeof(choice->place))
		return error_set(err, "'%.*s' is too long", (int)length, place);
	memcpy(choice->place + lead, place, length);
	choice->place[lead + length] = '\0';
	return 0;
}

static int take_options(struct device_choice *choice, const char *options, struct error *err)
{
	size_t kind = strcspn(options, ":,=");

	if (options[kind] == ':')
		return error_set(err, "there is no kind of device '%.*s'", (int)kind, options);
	if (choice->kind->parse)
		return choice->kind->parse(choice, options, err);
	error_set(err, "a %s device cannot be told '%s'", choice->kind->name, options);
	return DEVICE_CANNOT;
}

int device_parse(struct device_choice *choice, const char *spec, struct error *err)
{
	const struct device_kind *kind = kind_named(spec, strcspn(spec, ":"));
	struct device_choice parsed = *choice;
	const char *place, *options = spec;
	int rc = 0;

	if (kind) {
		place = spec + strlen(kind->name) + 1;
		options = place + strcspn(place, ",");
		device_defaults(&parsed);
		parsed.kind = kind;
		rc = take_place(&parsed, place, (size_t)(options - place), err);
		options += *options == ',';
	}
	if (!rc && (*options || !kind))
		rc = take_options(&parsed, options, err);
	if (!rc)
		*choice = parsed;
	return rc;
}

struct device *device_create(const struct device_choice *choice, const char *disk, struct error *err)
{
	return choice->kind->open(choice, disk, err);
}

/* MSI is no part of virtio: the device has it where it was asked for, by its own key or by the interrupts granted. */
void device_offer_msi(struct device_choice *choice, unsigned messages)
{
	struct virtio_pci_options *pci = &choice->model.pci;

	if (pci->msi_vectors)
		return;
	pci->msi_vectors = 1;
	while (pci->msi_vectors < messages)
		pci->msi_vectors *= 2;
}

bool device_forgets(const struct device_choice *choice)
{
	return choice->kind == &kinds[0] && choice->model.volatile_percent;
}

void device_help(FILE *out)
{
	for (size_t i = 1; i < KINDS; i++)
		fprintf(out, "  %s:%s[,OPTION...]\n      %s\n", kinds[i].name, kinds[i].place, kinds[i].meaning);
}
