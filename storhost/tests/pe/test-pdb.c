/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Program databases: the names in a real one, whose is taken, and that damaged ones do no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pe/file.h"
#include "pe/pdb.h"
#include "pe/pe.h"

#define FLIPS 4000u

static struct {
	struct pe_file *image;
	uint8_t *bytes;
	size_t size;
	char path[512];
} linked;

static int open_linked(void **state)
{
	struct error err = { "" };
	size_t stem = strlen(LINKED_DRIVER) - strlen(".sys");

	(void)state;
	snprintf(linked.path, sizeof(linked.path), "%.*s.pdb", (int)stem, LINKED_DRIVER);
	if (pe_open(LINKED_DRIVER, &linked.image, &err) || pe_read_file(linked.path, &linked.bytes, &linked.size, &err))
		fail_msg("%s", err.text);
	return 0;
}

static int close_linked(void **state)
{
	(void)state;
	pe_close(linked.image);
	free(linked.bytes);
	return 0;
}

static struct pdb *open_bytes(const uint8_t *bytes, size_t size)
{
	struct error err = { "" };
	struct pdb *pdb = NULL;

	if (pdb_open_memory(bytes, size, linked.image->pdb_guid, linked.image->pdb_age, &pdb, &err)) {
		assert_true(err.text[0] != '\0');
		return NULL;
	}
	return pdb;
}

/* Every answer is looked at, so that the sanitizers see it, too. */
static void ask_everything(const struct pdb *pdb)
{
	for (unsigned section = 0; section < 8; section++) {
		for (uint32_t offset = 0; offset < 0x2000; offset += 0x1f) {
			uint32_t distance = 0;
			const char *name = pdb_symbol(pdb, section, offset, &distance);

			assert_true(!name || (strlen(name) <= 200 && distance <= offset));
		}
	}
}

static void test_an_address_has_the_name_of_its_function(void **state)
{
	uint32_t entry = pe_headers(linked.image)->entry_rva;
	struct error err = { "" };
	struct pdb *pdb = pe_open_pdb(linked.image, LINKED_DRIVER, &err);
	char name[64];

	(void)state;
	if (!pdb)
		fail_msg("%s", err.text);
	assert_true(pe_symbol(linked.image, pdb, entry, name, sizeof(name)));
	assert_string_equal(name, "DriverEntry");
	assert_true(pe_symbol(linked.image, pdb, entry + 3, name, sizeof(name)));
	assert_string_equal(name, "DriverEntry+0x3");
	assert_false(pe_symbol(linked.image, pdb, 0x10, name, sizeof(name)));
	assert_false(pe_symbol(linked.image, pdb, 0xfffffff0u, name, sizeof(name)));
	ask_everything(pdb);
	pdb_close(pdb);
}

static void test_a_name_that_is_cut_short_ends(void **state)
{
	struct pdb *pdb = pe_open_pdb(linked.image, LINKED_DRIVER, NULL);
	char name[7];

	(void)state;
	assert_non_null(pdb);
	assert_true(pe_symbol(linked.image, pdb, pe_headers(linked.image)->entry_rva, name, sizeof(name)));
	assert_string_equal(name, "Driver");
	pdb_close(pdb);
}

static void test_the_database_of_another_image_is_refused(void **state)
{
	uint8_t guid[PDB_GUID_BYTES];
	uint32_t age = linked.image->pdb_age;
	struct error err = { "" };
	struct pdb *pdb = NULL;

	(void)state;
	memcpy(guid, linked.image->pdb_guid, sizeof(guid));
	assert_int_equal(pdb_open_memory(linked.bytes, linked.size, guid, age + 1, &pdb, &err), -1);
	assert_string_equal(err.text, "it belongs to another image");
	guid[15] ^= 1;
	assert_int_equal(pdb_open_memory(linked.bytes, linked.size, guid, age, &pdb, &err), -1);
	assert_string_equal(err.text, "it belongs to another image");
}

static void test_what_is_no_database_or_is_not_there_gets_a_sentence(void **state)
{
	static const uint8_t zeroes[4096];
	struct error err = { "" };

	(void)state;
	assert_null(open_bytes(zeroes, sizeof(zeroes)));
	assert_null(open_bytes(zeroes, 0));
	assert_null(pe_open_pdb(linked.image, "/nonexistent/linked_driver.sys", &err));
	assert_non_null(strstr(err.text, "cannot be opened"));
}

static void test_a_truncated_database_does_no_harm(void **state)
{
	(void)state;
	for (size_t size = 0; size < linked.size; size += size < 256 ? 1 : 509) {
		/* Of its own size: a byte read behind its end is one behind an allocation. */
		uint8_t *bytes = malloc(size ? size : 1);
		struct pdb *pdb;

		assert_non_null(bytes);
		memcpy(bytes, linked.bytes, size);
		pdb = open_bytes(bytes, size);
		if (pdb)
			ask_everything(pdb);
		pdb_close(pdb);
		free(bytes);
	}
}

/* Half of the flips go where streams are described, the rest anywhere. */
static size_t flip_place(uint64_t random)
{
	uint32_t block_size = pe_u32(linked.bytes + 32);
	size_t directory = (size_t)block_size * pe_u32(linked.bytes + (size_t)block_size * pe_u32(linked.bytes + 52));

	switch (random >> 8 & 3) {
	case 0:
		return (size_t)(random >> 16) % 56;
	case 1:
		return directory + (size_t)(random >> 16) % 256;
	default:
		return (size_t)(random >> 16) % linked.size;
	}
}

static void test_a_damaged_database_does_no_harm(void **state)
{
	uint8_t *bytes = malloc(linked.size);
	uint64_t random = 20090722;
	unsigned opened = 0;

	(void)state;
	assert_non_null(bytes);
	for (unsigned n = 0; n < FLIPS; n++) {
		struct pdb *pdb;

		memcpy(bytes, linked.bytes, linked.size);
		for (unsigned flips = 1 + n % 3; flips; flips--) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			bytes[flip_place(random)] ^= (uint8_t)(1u << (random >> 61));
		}
		pdb = open_bytes(bytes, linked.size);
		opened += pdb != NULL;
		if (pdb && n % 16 == 0)
			ask_everything(pdb);
		pdb_close(pdb);
	}
	free(bytes);
	/* Neither was everything refused, nor nothing. */
	assert_in_range(opened, 1, FLIPS - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_address_has_the_name_of_its_function),
		cmocka_unit_test(test_a_name_that_is_cut_short_ends),
		cmocka_unit_test(test_the_database_of_another_image_is_refused),
		cmocka_unit_test(test_what_is_no_database_or_is_not_there_gets_a_sentence),
		cmocka_unit_test(test_a_truncated_database_does_no_harm),
		cmocka_unit_test(test_a_damaged_database_does_no_harm),
	};

	return cmocka_run_group_tests(tests, open_linked, close_linked);
}
