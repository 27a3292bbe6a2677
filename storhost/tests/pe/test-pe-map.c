/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* pe_map(): an image runs where it is put, bound and protected, and what cannot run is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image_builder.h"
#include "pe/format.h"
#include "pe/pe.h"

#ifdef __x86_64__
#define HOST_WIDE true
#define DRIVER_CALL __attribute__((ms_abi))
#define HOST_BASE IMAGE_BASE_X64
#else
#define HOST_WIDE false
#define DRIVER_CALL __attribute__((stdcall))
#define HOST_BASE IMAGE_BASE_X86
#endif

typedef uintptr_t(DRIVER_CALL *driver_fn)(void);

static DRIVER_CALL uintptr_t answer(void)
{
	return 42;
}

static void *resolve_all(void *opaque, const struct pe_import *import)
{
	(void)opaque;
	(void)import;
	return (void *)(uintptr_t)answer;
}

static void *resolve_none(void *opaque, const struct pe_import *import)
{
	(void)opaque;
	(void)import;
	return NULL;
}

static int try_map(const struct image *image, pe_resolve_fn resolve, struct pe_module **module, struct error *err)
{
	struct pe_file *file;
	int result;

	err->text[0] = '\0';
	if (pe_open_memory(image->bytes, sizeof(image->bytes), &file, err))
		fail_msg("%s", err->text);
	result = pe_map(file, resolve, NULL, module, err);
	/* The module does not need the file any more. */
	pe_close(file);
	return result;
}

static struct pe_module *map_good(const struct image *image)
{
	struct pe_module *module = NULL;
	struct error err;

	if (try_map(image, resolve_all, &module, &err))
		fail_msg("%s", err.text);
	return module;
}

/* The rights of the page at address, as /proc/self/maps spells them; empty if it is not mapped. */
static const char *rights(const void *address)
{
	static char found[8];
	unsigned long long first, end;
	char line[512], flags[8];
	FILE *maps = fopen("/proc/self/maps", "r");

	found[0] = '\0';
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx %7s", &first, &end, flags) == 3 && (uintptr_t)address >= first &&
		    (uintptr_t)address < end)
			memcpy(found, flags, 4), found[3] = '\0';
	fclose(maps);
	return found;
}

static void test_image_is_relocated_and_bound(void **state)
{
	struct pe_module *module;
	struct image image;
	uint8_t *base;
	driver_fn call;

	(void)state;
	image_build(&image, HOST_WIDE);
	module = map_good(&image);
	base = pe_module_base(module);
	assert_int_equal(pe_module_size(module), 0x6000);
	assert_ptr_equal(pe_module_entry(module), base + IMAGE_ENTRY_RVA);
	memcpy(&call, &(void *){ pe_module_entry(module) }, sizeof(call));
	assert_int_equal(call(), (uintptr_t)base + IMAGE_POINTER_TARGET);
	memcpy(&call, &(void *){ base + IMAGE_CALL_RVA }, sizeof(call));
	assert_int_equal(call(), 42);
	assert_true(pe_module_contains(module, base));
	assert_true(pe_module_contains(module, base + 0x5fff));
	assert_false(pe_module_contains(module, base + 0x6000));
	assert_false(pe_module_contains(module, base - 1));
	pe_unmap(module);
	assert_string_equal(rights(base), "");
}

static void test_base_is_random_and_not_the_preferred_one(void **state)
{
	uintptr_t seen[16];
	struct image image;

	(void)state;
	image_build(&image, HOST_WIDE);
	for (int i = 0; i < 16; i++) {
		struct pe_module *module = map_good(&image);

		seen[i] = (uintptr_t)pe_module_base(module);
		assert_int_equal(seen[i] % 4096, 0);
		assert_true(seen[i] != HOST_BASE);
#ifdef __x86_64__
		assert_true(seen[i] >= 1ull << 32 && seen[i] < 1ull << 46);
#endif
		pe_unmap(module);
	}
	for (int i = 1; i < 16; i++)
		assert_true(seen[i] != seen[0]);
}

static void test_sections_have_the_rights_they_ask_for(void **state)
{
	static const char *const expected[] = { "r--", "r-x", "r--", "rw-", "r-x", "r--" };
	struct pe_module *module;
	struct image image;
	uint8_t *base;

	(void)state;
	image_build(&image, HOST_WIDE);
	module = map_good(&image);
	base = pe_module_base(module);
	for (unsigned i = 0; i < 6; i++)
		assert_string_equal(rights(base + i * 0x1000), expected[i]);
	pe_module_discard(module);
	for (unsigned i = 0; i < 6; i++)
		assert_string_equal(rights(base + i * 0x1000), i < 4 ? expected[i] : "---");
	pe_unmap(module);
}

static uintptr_t mapped_cookie(const struct image *image)
{
	struct pe_module *module = map_good(image);
	uintptr_t cookie;

	memcpy(&cookie, (uint8_t *)pe_module_base(module) + IMAGE_COOKIE, sizeof(cookie));
	pe_unmap(module);
	return cookie;
}

static void test_default_cookie_is_replaced_by_a_random_one(void **state)
{
	const uintptr_t usual = HOST_WIDE ? (uintptr_t)UINT64_C(0x2b992ddfa232) : 0xbb40e64e;
	struct image image;
	uintptr_t first;

	(void)state;
	image_build(&image, HOST_WIDE);
	first = mapped_cookie(&image);
	assert_true(first != usual);
	assert_true(first != mapped_cookie(&image));
#ifdef __x86_64__
	assert_int_equal(first >> 48, 0);
#endif
	/* One that is not the default is the driver's own business. */
	image_put(&image, IMAGE_OFFSET(IMAGE_COOKIE), sizeof(first), 0x12345678);
	assert_int_equal(mapped_cookie(&image), 0x12345678);
}

static void test_refused_imports_are_all_named_in_one_sentence(void **state)
{
	struct pe_module *module = NULL;
	struct image image;
	struct error err;

	(void)state;
	image_build(&image, HOST_WIDE);
	image_put(&image, IMAGE_OFFSET(IMAGE_NAMES_NTOSKRNL), sizeof(void *),
		  ((uintptr_t)1 << (sizeof(void *) * 8 - 1)) | 7);
	assert_int_equal(try_map(&image, resolve_none, &module, &err), -1);
	assert_string_equal(err.text, "imports are refused: storport.sys!StorPortInitialize, "
				      "storport.sys!StorPortNotification, ntoskrnl.exe!#7");
}

static void test_refused_imports_beyond_a_sentence_are_counted(void **state)
{
	char name[] = "StorPortAnEntryPointThatNoWindowsHasNumber00";
	struct pe_module *module = NULL;
	struct image image;
	struct error err;

	(void)state;
	image_build(&image, HOST_WIDE);
	/* Sixteen names where resources and load configuration were. */
	image_put(&image, IMAGE_DIRECTORY(HOST_WIDE, IMAGE_DIRECTORY_ENTRY_RESOURCE) + 4, 4, 0);
	memset(image.bytes + IMAGE_OFFSET(0x2200), 0, 0x200);
	memcpy(image.bytes + IMAGE_OFFSET(0x2202), name, sizeof(name));
	for (unsigned i = 0; i < 16; i++) {
		image_put(&image, IMAGE_OFFSET(0x2300) + i * sizeof(void *), sizeof(void *), 0x2200);
		image_put(&image, IMAGE_OFFSET(0x3100) + i * sizeof(void *), sizeof(void *), 0);
	}
	image_put(&image, IMAGE_OFFSET(IMAGE_DESCRIPTORS), 4, 0x2300);
	image_put(&image, IMAGE_OFFSET(IMAGE_DESCRIPTORS) + 16, 4, 0x3100);
	assert_int_equal(try_map(&image, resolve_none, &module, &err), -1);
	assert_non_null(strstr(err.text, "17 imports are refused: "));
	assert_non_null(strstr(err.text, " and 10 more"));
}

static const struct {
	size_t offset;
	unsigned width;
	uint64_t value;
	const char *sentence;
} unloadable[] = {
	{ IMAGE_OPTIONAL + 68, 2, 3, "not native" },
	{ IMAGE_PE + 22, 2, 3, "no relocations" },
	{ IMAGE_OPTIONAL + 32, 4, 0x200, "less than a page" },
	{ IMAGE_OPTIONAL + 16, 4, 0x2000, "entry point" },
	{ IMAGE_OPTIONAL + 16, 4, 0, "entry point" },
	{ IMAGE_OPTIONAL + 56, 4, 0xf0000000, "more than a driver can have" },
	{ IMAGE_SECTION(HOST_WIDE, 0) + 36, 4, 0xe0000020, "section 1 is both writable and executable" },
};

static void test_what_cannot_run_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(unloadable) / sizeof(unloadable[0]); i++) {
		struct pe_module *module = NULL;
		struct image image;
		struct error err;

		image_build(&image, HOST_WIDE);
		image_put(&image, unloadable[i].offset, unloadable[i].width, unloadable[i].value);
		assert_int_equal(try_map(&image, resolve_all, &module, &err), -1);
		if (!strstr(err.text, unloadable[i].sentence))
			fail_msg("\"%s\" instead of \"%s\"", err.text, unloadable[i].sentence);
	}
}

static void test_the_other_architecture_opens_but_does_not_map(void **state)
{
	struct pe_module *module = NULL;
	struct image image;
	struct error err;

	(void)state;
	image_build(&image, !HOST_WIDE);
	assert_int_equal(try_map(&image, resolve_all, &module, &err), -1);
	assert_non_null(strstr(err.text, HOST_WIDE ? "it needs the 32-bit storhost" : "it needs the 64-bit storhost"));
}

static void test_flipped_bytes_are_survived(void **state)
{
	unsigned long long seed = 2;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		struct pe_module *module;
		struct pe_file *file;
		struct image image;
		struct error err;

		image_build(&image, HOST_WIDE);
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		image.bytes[(seed >> 33) % (i & 1 ? 0x300 : IMAGE_FILE_SIZE)] ^= (uint8_t)(1 + (seed >> 24) % 255);
		if (pe_open_memory(image.bytes, sizeof(image.bytes), &file, &err))
			continue;
		if (!pe_map(file, resolve_all, NULL, &module, &err)) {
			pe_module_discard(module);
			pe_unmap(module);
		}
		pe_close(file);
	}
}

#ifdef LINKED_DRIVER
/* What lld-link makes of linked_driver.c for this machine. */
static void test_a_linked_driver_runs(void **state)
{
	struct pe_module *module = NULL;
	const struct pe_headers *h;
	struct pe_file *file;
	struct error err;
	driver_fn entry;
	size_t count;

	(void)state;
	if (pe_open(LINKED_DRIVER, &file, &err))
		fail_msg("%s", err.text);
	h = pe_headers(file);
	assert_int_equal(h->checksum, h->computed_checksum);
	assert_int_equal(h->subsystem, IMAGE_SUBSYSTEM_NATIVE);
	assert_int_equal(h->subsystem_minor, 1);
	assert_string_equal(pe_imports(file, &count)->name, "StorPortInitialize");
	assert_int_equal(count, 1);
	if (pe_map(file, resolve_all, NULL, &module, &err))
		fail_msg("%s", err.text);
	pe_close(file);
	memcpy(&entry, &(void *){ pe_module_entry(module) }, sizeof(entry));
	assert_int_equal(entry(), 42 + 7);
	pe_unmap(module);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image_is_relocated_and_bound),
		cmocka_unit_test(test_base_is_random_and_not_the_preferred_one),
		cmocka_unit_test(test_sections_have_the_rights_they_ask_for),
		cmocka_unit_test(test_default_cookie_is_replaced_by_a_random_one),
		cmocka_unit_test(test_refused_imports_are_all_named_in_one_sentence),
		cmocka_unit_test(test_refused_imports_beyond_a_sentence_are_counted),
		cmocka_unit_test(test_what_cannot_run_is_refused),
		cmocka_unit_test(test_the_other_architecture_opens_but_does_not_map),
		cmocka_unit_test(test_flipped_bytes_are_survived),
#ifdef LINKED_DRIVER
		cmocka_unit_test(test_a_linked_driver_runs),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
