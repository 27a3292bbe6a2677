/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* pe_open(): what a good image says, and that each thing that is wrong with a bad one is refused in a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image_builder.h"
#include "pe/format.h"
#include "pe/pe.h"

static struct pe_file *open_good(const struct image *image)
{
	struct error err = { "" };
	struct pe_file *file = NULL;

	if (pe_open_memory(image->bytes, sizeof(image->bytes), &file, &err))
		fail_msg("%s", err.text);
	return file;
}

static void test_headers_are_read(void **state)
{
	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		const struct pe_section *sections;
		const struct pe_headers *h;
		struct pe_file *file;
		struct image image;
		size_t count;

		image_build(&image, wide);
		file = open_good(&image);
		h = pe_headers(file);
		assert_int_equal(h->machine, wide ? PE_X64 : PE_X86);
		assert_true(h->image_base == (wide ? IMAGE_BASE_X64 : IMAGE_BASE_X86));
		assert_int_equal(h->image_size, 0x6000);
		assert_int_equal(h->entry_rva, IMAGE_ENTRY_RVA);
		assert_int_equal(h->subsystem, IMAGE_SUBSYSTEM_NATIVE);
		assert_int_equal(h->subsystem_major, 6);
		assert_int_equal(h->subsystem_minor, 1);
		assert_int_equal(h->timestamp, 0x4d4f4f4e);
		assert_int_equal(h->file_size, IMAGE_FILE_SIZE);
		assert_int_equal(h->checksum, h->computed_checksum);
		sections = pe_sections(file, &count);
		assert_int_equal(count, IMAGE_SECTIONS);
		assert_string_equal(sections[3].name, "INIT");
		assert_int_equal(sections[3].rva, IMAGE_INIT);
		assert_int_equal(sections[3].characteristics, 0x62000020);
		pe_close(file);
	}
}

static void test_checksum_follows_every_byte_but_its_own(void **state)
{
	struct pe_file *file;
	struct image image;

	(void)state;
	image_build(&image, true);
	image.bytes[0x404] ^= 1;
	file = open_good(&image);
	assert_int_not_equal(pe_headers(file)->checksum, pe_headers(file)->computed_checksum);
	pe_close(file);
	image_sign_off(&image);
	file = open_good(&image);
	assert_int_equal(pe_headers(file)->checksum, pe_headers(file)->computed_checksum);
	pe_close(file);
}

static void test_checksum_of_an_odd_file_pads_with_zero(void **state)
{
	struct pe_file *even, *odd;
	uint8_t bytes[IMAGE_FILE_SIZE + 2] = { 0 };
	struct image image;
	struct error err;

	(void)state;
	image_build(&image, true);
	memcpy(bytes, image.bytes, sizeof(image.bytes));
	bytes[IMAGE_FILE_SIZE] = 0x7f;
	assert_int_equal(pe_open_memory(bytes, IMAGE_FILE_SIZE + 1, &odd, &err), 0);
	assert_int_equal(pe_open_memory(bytes, IMAGE_FILE_SIZE + 2, &even, &err), 0);
	assert_int_equal(pe_headers(odd)->computed_checksum + 1, pe_headers(even)->computed_checksum);
	pe_close(odd);
	pe_close(even);
}

static void test_imports_are_listed_in_order(void **state)
{
	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		const struct pe_import *imports;
		struct pe_file *file;
		struct image image;
		size_t count;

		image_build(&image, wide);
		image_put(&image, IMAGE_OFFSET(IMAGE_NAMES_NTOSKRNL), wide ? 8 : 4, (wide ? 1ull << 63 : 1u << 31) | 7);
		file = open_good(&image);
		imports = pe_imports(file, &count);
		assert_int_equal(count, 3);
		assert_string_equal(imports[0].dll, "storport.sys");
		assert_string_equal(imports[0].name, "StorPortInitialize");
		assert_int_equal(imports[0].iat_rva, IMAGE_IAT_STORPORT);
		assert_string_equal(imports[1].name, "StorPortNotification");
		assert_int_equal(imports[1].iat_rva, IMAGE_IAT_STORPORT + (wide ? 8 : 4));
		assert_string_equal(imports[2].dll, "ntoskrnl.exe");
		assert_null(imports[2].name);
		assert_int_equal(imports[2].ordinal, 7);
		pe_close(file);
	}
}

static void test_names_come_from_the_address_table_if_there_is_no_other(void **state)
{
	const struct pe_import *imports;
	struct pe_file *file;
	struct image image;
	size_t count;

	(void)state;
	image_build(&image, true);
	image_put(&image, IMAGE_OFFSET(IMAGE_DESCRIPTORS), 4, 0);
	file = open_good(&image);
	imports = pe_imports(file, &count);
	assert_int_equal(count, 3);
	assert_string_equal(imports[1].name, "StorPortNotification");
	pe_close(file);
}

static void test_debug_path_and_version_strings_are_read(void **state)
{
	struct pe_file *file;
	struct image image;
	char text[32];

	(void)state;
	image_build(&image, true);
	image_put(&image, IMAGE_OFFSET(0x2340), 2, 0);
	file = open_good(&image);
	assert_string_equal(pe_pdb_path(file), "tiny.pdb");
	assert_true(pe_version_string(file, "FileVersion", text, sizeof(text)));
	assert_string_equal(text, "6.1.7601.0");
	assert_true(pe_version_string(file, "ProductName", text, 5));
	assert_string_equal(text, "Tiny");
	assert_false(pe_version_string(file, "ProductNam", text, sizeof(text)));
	assert_false(pe_version_string(file, "Comments", text, sizeof(text)));
	pe_close(file);
}

/* Offset of the text of the FileVersion string in the built image. */
static size_t find_version_text(const struct image *image)
{
	static const uint8_t text[] = { '6', 0, '.', 0, '1', 0 };

	for (size_t i = IMAGE_OFFSET(IMAGE_VERSION); i < IMAGE_OFFSET(0x2400); i++)
		if (!memcmp(image->bytes + i, text, sizeof(text)))
			return i;
	fail_msg("no version text");
	return 0;
}

static void test_version_strings_become_utf8(void **state)
{
	static const uint16_t units[] = { 0xe4, 0x20ac, 0xd83d, 0xde00, 0xdc00, 'x' };
	struct pe_file *file;
	struct image image;
	char text[32];
	size_t offset;

	(void)state;
	image_build(&image, true);
	offset = find_version_text(&image);
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		image_put(&image, offset + i * 2, 2, units[i]);
	file = open_good(&image);
	assert_true(pe_version_string(file, "FileVersion", text, sizeof(text)));
	assert_memory_equal(text, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbdx", 13);
	/* A character that does not fit is left out whole. */
	assert_true(pe_version_string(file, "FileVersion", text, 5));
	assert_string_equal(text, "\xc3\xa4");
	pe_close(file);
}

#define HEADER(offset) (IMAGE_PE + (offset))
#define OPTIONAL(offset) (IMAGE_OPTIONAL + (offset))
#define AT(rva) IMAGE_OFFSET(rva)

/* One field of the good x64 image made wrong, and words of the sentence that refuses it. */
static const struct damage {
	size_t offset;
	unsigned width;
	uint64_t value;
	const char *sentence;
} damages[] = {
	{ 0, 1, 'X', "MZ header" },
	{ 60, 4, 0x82, "multiple of 4" },
	{ 60, 4, IMAGE_FILE_SIZE - 20, "outside the file" },
	{ 60, 4, 0xfffffffc, "outside the file" },
	{ HEADER(2), 1, 1, "no PE signature" },
	{ HEADER(4), 2, 0x1c4, "neither x86 nor x64" },
	{ HEADER(6), 2, 0, "0 sections" },
	{ HEADER(6), 2, 97, "97 sections" },
	{ HEADER(6), 2, 40, "exceeds the headers" },
	{ HEADER(20), 2, 111, "optional header is truncated" },
	{ HEADER(20), 2, 0xffff, "optional header is truncated" },
	{ HEADER(22), 2, 0, "executable" },
	{ OPTIONAL(0), 2, 0x10b, "does not suit the machine type" },
	{ OPTIONAL(16), 4, 0x6000, "entry point" },
	{ OPTIONAL(32), 4, 0x3000, "powers of two" },
	{ OPTIONAL(32), 4, 0x100, "powers of two" },
	{ OPTIONAL(36), 4, 0, "powers of two" },
	{ OPTIONAL(56), 4, 0x5000, "exceeds the image's size" },
	{ OPTIONAL(56), 4, 0x300, "less than that of its headers" },
	{ OPTIONAL(60), 4, IMAGE_FILE_SIZE + 1, "exceeds the file" },
	{ OPTIONAL(60), 4, 0x188, "section table exceeds the headers" },
	{ OPTIONAL(60), 4, 0x1200, "section 1 overlaps" },
	{ OPTIONAL(108), 4, 17, "data directories" },
	{ OPTIONAL(108), 4, 0x20000001, "data directories" },
	{ IMAGE_SECTION(true, 1) + 12, 4, 0x2010, "section 2 is not aligned" },
	{ IMAGE_SECTION(true, 1) + 12, 4, 0x1000, "section 2 overlaps" },
	{ IMAGE_SECTION(true, 1) + 12, 4, 0x3000, "section 3 overlaps" },
	{ IMAGE_SECTION(true, 1) + 8, 4, 0x1001, "section 3 overlaps" },
	{ IMAGE_SECTION(true, 4) + 12, 4, 0xfffff000, "exceeds the image's size" },
	{ IMAGE_SECTION(true, 4) + 8, 4, 0xffffffff, "exceeds the image's size" },
	{ IMAGE_SECTION(true, 0) + 20, 4, 0x410, "not aligned in the file" },
	{ IMAGE_SECTION(true, 4) + 20, 4, IMAGE_FILE_SIZE, "outside the file" },
	{ IMAGE_SECTION(true, 4) + 16, 4, 0xfffffe00, "outside the file" },
	{ IMAGE_SECTION(true, 0) + 20, 4, 0xfffffe00, "outside the file" },
	{ IMAGE_DIRECTORY(true, 1), 4, 0x7000, "import table lies outside" },
	{ IMAGE_DIRECTORY(true, 1), 4, 0xfffffff0, "import table lies outside" },
	{ AT(IMAGE_DESCRIPTORS) + 12, 4, 0x9000, "something that is no string" },
	{ AT(IMAGE_DLL_STORPORT), 1, 0x1b, "something that is no string" },
	{ AT(IMAGE_DLL_STORPORT), 1, 0, "something that is no string" },
	{ AT(IMAGE_DESCRIPTORS), 4, 0x8000, "list of imports from storport.sys" },
	{ AT(IMAGE_DESCRIPTORS), 4, 0xfffffff8, "list of imports from storport.sys" },
	{ AT(IMAGE_DESCRIPTORS) + 16, 4, 0x8000, "import addresses for storport.sys" },
	{ AT(IMAGE_DESCRIPTORS) + 16, 4, 0x200, "import addresses for storport.sys" },
	{ AT(IMAGE_DESCRIPTORS) + 16, 4, 0x23fc, "import addresses for storport.sys" },
	{ AT(IMAGE_NAMES_STORPORT), 8, 0x9000, "no readable name" },
	{ AT(IMAGE_NAMES_STORPORT), 8, 0x100002020ull, "no readable name" },
	{ AT(IMAGE_NAME_INITIALIZE) + 4, 1, 0x80, "no readable name" },
	{ IMAGE_DIRECTORY(true, 5), 4, 0x8000, "relocation table lies outside" },
	{ IMAGE_DIRECTORY(true, 5) + 4, 4, 0x1000, "relocation table lies outside" },
	{ IMAGE_DIRECTORY(true, 5) + 4, 4, 16, "ends inside a block's header" },
	{ AT(IMAGE_RELOC) + 4, 4, 0, "impossible size 0" },
	{ AT(IMAGE_RELOC) + 4, 4, 4, "impossible size 4" },
	{ AT(IMAGE_RELOC) + 4, 4, 10, "impossible size 10" },
	{ AT(IMAGE_RELOC) + 4, 4, 16, "impossible size 16" },
	{ AT(IMAGE_RELOC), 4, 0x6000, "outside every section" },
	{ AT(IMAGE_RELOC), 4, 0xfffff000, "outside every section" },
	{ AT(IMAGE_RELOC) + 8, 2, 0xa3fc, "outside every section" },
	{ AT(IMAGE_RELOC) + 8, 2, 0x3008, "relocation type 3" },
	{ AT(IMAGE_RELOC) + 8, 2, 0x1008, "relocation type 1" },
	{ IMAGE_DIRECTORY(true, 6), 4, 0x8000, "debug directory lies outside" },
	{ AT(IMAGE_DEBUG) + 24, 4, IMAGE_FILE_SIZE, "debug data lies outside" },
	{ AT(IMAGE_DEBUG) + 16, 4, 0xffffffff, "debug data lies outside" },
	{ AT(IMAGE_DEBUG) + 16, 4, 30, "has no end" },
	{ AT(IMAGE_DEBUG) + 16, 4, 24, "has no end" },
	{ AT(IMAGE_DEBUG) + 16, 4, 20, "has no end" },
	{ IMAGE_DIRECTORY(true, 10), 4, 0x8000, "load configuration lies outside" },
	{ AT(IMAGE_LOAD_CONFIG) + 0x58, 8, 0x140008000ull, "security cookie" },
	{ AT(IMAGE_LOAD_CONFIG) + 0x58, 8, 0x13fffffffull, "security cookie" },
	{ IMAGE_DIRECTORY(true, 2), 4, 0x8000, "resources lie outside" },
	{ AT(IMAGE_RESOURCES) + 14, 2, 0xffff, "resource directory is damaged" },
	{ AT(IMAGE_RESOURCES) + 20, 4, 0x800001f8, "resource directory is damaged" },
	{ AT(IMAGE_RESOURCES) + 20, 4, 0x18, "resource directory is damaged" },
	{ AT(IMAGE_RESOURCES) + 0x44, 4, 0x1f8, "resource directory is damaged" },
	{ AT(IMAGE_RESOURCES) + 0x44, 4, 0x80000030, "resource directory is damaged" },
	{ AT(IMAGE_RESOURCES) + 0x4c, 4, 0x1a9, "version resource lies outside" },
	{ AT(IMAGE_RESOURCES) + 0x48, 4, 0xffffff00, "version resource lies outside" },
};

static void test_each_damaged_field_is_refused_in_a_sentence(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		const struct damage *damage = &damages[i];
		struct pe_file *file = NULL;
		struct error err = { "" };
		struct image image;

		image_build(&image, true);
		image_put(&image, damage->offset, damage->width, damage->value);
		if (!pe_open_memory(image.bytes, sizeof(image.bytes), &file, &err))
			fail_msg("damage %zu (\"%s\") was accepted", i, damage->sentence);
		if (!strstr(err.text, damage->sentence))
			fail_msg("damage %zu: \"%s\" instead of \"%s\"", i, err.text, damage->sentence);
	}
}

static void expect_refusal(const struct image *image, const char *sentence)
{
	struct pe_file *file = NULL;
	struct error err = { "" };

	assert_int_equal(pe_open_memory(image->bytes, sizeof(image->bytes), &file, &err), -1);
	if (!strstr(err.text, sentence))
		fail_msg("\"%s\" instead of \"%s\"", err.text, sentence);
}

static void test_a_load_configuration_must_fit_its_section(void **state)
{
	struct image image;

	(void)state;
	image_build(&image, true);
	image_put(&image, IMAGE_DIRECTORY(true, 10), 4, 0x23c0);
	image_put(&image, AT(0x23c0), 4, 0x60);
	expect_refusal(&image, "exceeds its section");
}

static void test_a_64_bit_relocation_does_not_suit_a_32_bit_image(void **state)
{
	struct image image;

	(void)state;
	image_build(&image, false);
	image_put(&image, AT(IMAGE_RELOC) + 8, 2, IMAGE_REL_BASED_DIR64 << 12 | 8);
	expect_refusal(&image, "relocation type 10");
}

static void test_an_endless_import_table_is_bounded(void **state)
{
	struct image image;

	(void)state;
	/* Descriptors up to the section's end, all alike, and no terminator. */
	image_build(&image, true);
	for (uint32_t rva = 0x2200; rva + 20 <= 0x2400; rva += 20)
		memcpy(image.bytes + AT(rva), image.bytes + AT(IMAGE_DESCRIPTORS), 20);
	image_put(&image, IMAGE_DIRECTORY(true, 1), 4, 0x2200);
	image_put(&image, IMAGE_DIRECTORY(true, 2) + 4, 4, 0);
	expect_refusal(&image, "has no end");
}

static void exercise(const void *bytes, size_t size)
{
	struct pe_file *file;
	struct error err;
	char text[64];
	size_t count;

	if (pe_open_memory(bytes, size, &file, &err)) {
		assert_true(strlen(err.text) > 0);
		return;
	}
	pe_sections(file, &count);
	for (const struct pe_import *import = pe_imports(file, &count); count; count--, import++)
		assert_true(strlen(import->dll) && (!import->name || strlen(import->name)));
	if (pe_pdb_path(file))
		assert_true(strlen(pe_pdb_path(file)) < size);
	pe_version_string(file, "FileVersion", text, sizeof(text));
	pe_version_string(file, "ProductName", text, sizeof(text));
	pe_close(file);
}

static void test_every_truncation_is_survived(void **state)
{
	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		struct image image;

		image_build(&image, wide);
		for (size_t size = 1; size < sizeof(image.bytes); size++)
			exercise(image.bytes, size);
	}
}

static void test_flipped_bytes_are_survived(void **state)
{
	unsigned long long seed = 1;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		struct image image;

		image_build(&image, i & 1);
		for (int flips = 1 + i % 4; flips; flips--) {
			size_t offset;

			/* Most of the image is zeros that nothing reads: half of the flips go to the headers. */
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			offset = (seed >> 33) % (flips & 1 ? 0x300 : IMAGE_FILE_SIZE);
			image.bytes[offset] ^= (uint8_t)(1 + (seed >> 24) % 255);
		}
		exercise(image.bytes, sizeof(image.bytes));
	}
}

static void test_what_is_no_file_is_refused_in_a_sentence(void **state)
{
	struct pe_file *file;
	struct error err;

	(void)state;
	assert_int_equal(pe_open("/nonexistent/driver.sys", &file, &err), -1);
	assert_non_null(strstr(err.text, "cannot be opened"));
	assert_int_equal(pe_open("/", &file, &err), -1);
	assert_non_null(strstr(err.text, "not a regular file"));
	assert_int_equal(pe_open("/dev/null", &file, &err), -1);
	assert_non_null(strstr(err.text, "not a regular file"));
	assert_int_equal(pe_open_memory("", 0, &file, &err), -1);
	assert_non_null(strstr(err.text, "empty"));
	assert_int_equal(pe_open_memory("MZ", 2, &file, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers_are_read),
		cmocka_unit_test(test_checksum_follows_every_byte_but_its_own),
		cmocka_unit_test(test_checksum_of_an_odd_file_pads_with_zero),
		cmocka_unit_test(test_imports_are_listed_in_order),
		cmocka_unit_test(test_names_come_from_the_address_table_if_there_is_no_other),
		cmocka_unit_test(test_debug_path_and_version_strings_are_read),
		cmocka_unit_test(test_version_strings_become_utf8),
		cmocka_unit_test(test_each_damaged_field_is_refused_in_a_sentence),
		cmocka_unit_test(test_a_load_configuration_must_fit_its_section),
		cmocka_unit_test(test_a_64_bit_relocation_does_not_suit_a_32_bit_image),
		cmocka_unit_test(test_an_endless_import_table_is_bounded),
		cmocka_unit_test(test_every_truncation_is_survived),
		cmocka_unit_test(test_flipped_bytes_are_survived),
		cmocka_unit_test(test_what_is_no_file_is_refused_in_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
