/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The table of device kinds, and the texts that choose from it. */
#include "device/open.h"

#include <string.h>
#include <unistd.h>

#include "device/plugin.h"
#include "device/vhost_user.h"
#include "device/vfio.h"

/* ---- the contract device ---- */

static int contract_parse(struct device_choice *choice, const char *options, struct error *err)
{
	return virtio_blk_parse(&choice->model, options, err);
}

static struct device *contract_open(const struct device_choice *choice, const char *disk, struct error *err)
{
	return virtio_blk_create(&choice->model, disk, err);
}

/* ---- a function of the machine that storhost runs on ---- */

#define CONTROL "control="
#define HAS "has="
#define SEEN "registers=seen"

static struct device *vfio_open(const struct device_choice *choice, const char *disk, struct error *err)
{
	char control[DEVICE_WORDS_MAX] = "";
	const char *word = strstr(choice->words, CONTROL);

	(void)disk;
	if (word)
		snprintf(control, sizeof(control), "%.*s", (int)strcspn(word, ",") - (int)strlen(CONTROL),
			 word + strlen(CONTROL));
	return vfio_create(choice->place, control, strstr(choice->words, SEEN), err);
}

/* Whether `word` is among those that the device was said to have. */
static bool has_word(const struct device_choice *choice, const char *word, size_t length)
{
	const char *list = strstr(choice->words, HAS);

	for (list = list ? list + strlen(HAS) : ""; *list && *list != ','; list += *list == '/') {
		size_t own = strcspn(list, "/,");

		if (own == length && !memcmp(list, word, length))
			return true;
		list += own;
	}
	return false;
}

/* What a device of the model's leaves to chance, one with a life of its own does as it likes. */
static bool is_chance(const char *word, size_t length)
{
	static const char *const keys[] = { "reorder=", "batch=", "outstanding=" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (length > strlen(keys[i]) && !memcmp(word, keys[i], strlen(keys[i])))
			return true;
	}
	return false;
}

static int vfio_parse(struct device_choice *choice, const char *options, struct error *err)
{
	for (const char *word = options; *word; word += *word == ',') {
		size_t length = strcspn(word, ",");
		char text[DEVICE_WORDS_MAX];

		snprintf(text, sizeof(text), "%.*s", (int)length, word);
		if (!strncmp(word, CONTROL, strlen(CONTROL)) || !strncmp(word, HAS, strlen(HAS)) ||
		    !strcmp(text, SEEN)) {
			if (device_add_words(choice, text, err))
				return -1;
		} else if (!has_word(choice, word, length) && !is_chance(word, length)) {
			error_set(err, "the device was not made with %s", text);
			return DEVICE_CANNOT;
		}
		word += length;
	}
	return 0;
}

/* ---- the table ---- */

static const struct device_kind kinds[] = {
	{ .parse = contract_parse, .open = contract_open },
	{ .name = "vhost-user",
	  .place = "SOCKET",
	  .meaning =
		  "a block device of a vhost-user back end, which has the disk; OPTION: of the PCI function in front",
	  .path = true,
	  .own_disk = true,
	  .defaults = vhost_user_defaults,
	  .parse = vhost_user_parse,
	  .check = vhost_user_check,
	  .open = vhost_user_open },
	{ .name = "so",
	  .place = "FILE",
	  .meaning = "a device model in a shared object (include/storhost-device.h); OPTION: as it pleases",
	  .path = true,
	  .forgets = true,
	  .parse = plugin_parse,
	  .check = plugin_check,
	  .open = plugin_open },
	{ .name = "vfio",
	  .place = "BUS:DEVICE.FUNCTION",
	  .meaning =
		  "a virtio-blk PCI function of this machine that is bound to vfio-pci; control=FILE: who resizes\n      "
		  "and pulls it; has=WORD/WORD...: options of the contract device that it was made with; registers=seen:\n      "
		  "each access to them is seen",
	  .own_disk = true,
	  .parse = vfio_parse,
	  .open = vfio_open },
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
		place = spec + strlen(kind->name);
		place += *place == ':';
		options = place + strcspn(place, ",");
		device_defaults(&parsed);
		parsed.kind = kind;
		if (kind->defaults)
			kind->defaults(&parsed);
		rc = take_place(&parsed, place, (size_t)(options - place), err);
		options += *options == ',';
	}
	if (!rc && (*options || !kind))
		rc = take_options(&parsed, options, err);
	if (!rc)
		*choice = parsed;
	return rc;
}

int device_check(const struct device_choice *choice, struct error *err)
{
	return choice->kind->check ? choice->kind->check(choice, err) : 0;
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
	return choice->kind->forgets || choice->model.volatile_percent;
}

void device_help(FILE *out)
{
	for (size_t i = 1; i < KINDS; i++)
		fprintf(out, "  %s:%s[,OPTION...]\n      %s\n", kinds[i].name, kinds[i].place, kinds[i].meaning);
}
