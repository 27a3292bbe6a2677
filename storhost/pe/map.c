/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A driver image in memory: placed at random, relocated, bound and protected. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "pe/file.h"

#define PAGE 4096u
#define IMAGE_SIZE_MAX (256u << 20)
#define PLACEMENT_TRIES 256

#ifdef __x86_64__
#define HOST_MACHINE PE_X64
/* Above what 32 bits hold, so that an address that a driver has truncated faults. */
#define PLACE_LOW (UINT64_C(1) << 32)
#define PLACE_HIGH (UINT64_C(1) << 46)
#define COOKIE_DEFAULT UINT64_C(0x00002b992ddfa232)
#define COOKIE_MASK UINT64_C(0x0000ffffffffffff)
#else
#define HOST_MACHINE PE_X86
#define PLACE_LOW UINT64_C(0x10000000)
#define PLACE_HIGH UINT64_C(0xb0000000)
#define COOKIE_DEFAULT UINT64_C(0xbb40e64e)
#define COOKIE_MASK UINT64_C(0xffffffff)
#endif

struct pe_module {
	uint8_t *base;
	size_t size;
	uint32_t entry_rva;
	struct pe_section *sections;
	size_t section_count;
};

static int check_loadable(const struct pe_file *file, struct error *err)
{
	const struct pe_headers *h = &file->headers;
	const struct pe_section *entry = pe_section_at_rva(file, h->entry_rva, 1);

	if (h->machine != HOST_MACHINE)
		return error_set(err, "this is an %s driver: it needs the %d-bit storhost",
				 h->machine == PE_X64 ? "x64" : "x86", h->machine == PE_X64 ? 64 : 32);
	if (h->subsystem != IMAGE_SUBSYSTEM_NATIVE)
		return error_set(err, "subsystem %u is not native: this is no driver", h->subsystem);
	if (h->characteristics & IMAGE_FILE_RELOCS_STRIPPED)
		return error_set(err, "the image has no relocations and cannot be moved from 0x%llx",
				 (unsigned long long)h->image_base);
	if (h->section_alignment < PAGE)
		return error_set(err, "section alignment 0x%x is less than a page: sections could not be protected",
				 h->section_alignment);
	if (pe_align(h->image_size, h->section_alignment) > IMAGE_SIZE_MAX)
		return error_set(err, "the image's size, 0x%x, is more than a driver can have", h->image_size);
	if (!entry || !(entry->characteristics & IMAGE_SCN_MEM_EXECUTE))
		return error_set(err, "the entry point 0x%x is not in an executable section", h->entry_rva);
	for (size_t i = 0; i < file->section_count; i++)
		if ((file->sections[i].characteristics & IMAGE_SCN_MEM_EXECUTE) &&
		    (file->sections[i].characteristics & IMAGE_SCN_MEM_WRITE))
			return error_set(err, "section %zu is both writable and executable", i + 1);
	return 0;
}

static int random_number(uint64_t *value, struct error *err)
{
	ssize_t n;

	do
		n = getrandom(value, sizeof(*value), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*value))
		return error_set(err, "no random numbers: %s", strerror(errno));
	return 0;
}

static int place(struct pe_module *module, uint64_t preferred, struct error *err)
{
	uint64_t pages = (PLACE_HIGH - PLACE_LOW - module->size) / PAGE, number, where;

	for (int i = 0; i < PLACEMENT_TRIES; i++) {
		void *base;

		if (random_number(&number, err))
			return -1;
		where = PLACE_LOW + number % pages * PAGE;
		if (where == preferred)
			continue;
		base = mmap((void *)(uintptr_t)where, module->size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		if (base == (void *)(uintptr_t)where) {
			module->base = base;
			return 0;
		}
		/* A kernel that does not know the flag takes the address as a hint. */
		if (base != MAP_FAILED)
			munmap(base, module->size);
		else if (errno != EEXIST)
			return error_set(err, "no memory for the image: %s", strerror(errno));
	}
	return error_set(err, "no room for the image in the address space");
}

/* Appends one import's name to a list; false if it does not fit. */
static bool list_import(char *list, size_t size, const struct pe_import *import)
{
	size_t used = strlen(list);
	const char *comma = used ? ", " : "";
	int n;

	if (import->name)
		n = snprintf(list + used, size - used, "%s%s!%s", comma, import->dll, import->name);
	else
		n = snprintf(list + used, size - used, "%s%s!#%u", comma, import->dll, import->ordinal);
	if (n >= 0 && (size_t)n < size - used)
		return true;
	list[used] = '\0';
	return false;
}

static int bind_imports(const struct pe_file *file, uint8_t *base, pe_resolve_fn resolve, void *opaque,
			struct error *err)
{
	char list[400] = "";
	size_t refused = 0, unnamed = 0;

	for (size_t i = 0; i < file->import_count; i++) {
		const struct pe_import *import = &file->imports[i];
		void *address = resolve(opaque, import);

		if (address) {
			memcpy(base + import->iat_rva, &address, sizeof(address));
			continue;
		}
		refused++;
		if (!list_import(list, sizeof(list), import))
			unnamed++;
	}
	if (unnamed)
		return error_set(err, "%zu imports are refused: %s and %zu more", refused, list, unnamed);
	if (refused)
		return error_set(err, "%s refused: %s", refused == 1 ? "an import is" : "imports are", list);
	return 0;
}

/* Gives the image a cookie of its own where the linker's default is still in place, as Windows' loader does. */
static int renew_cookie(const struct pe_file *file, uint8_t *base, struct error *err)
{
	uint64_t cookie;

	if (!file->cookie_rva || pe_pointer(file, base + file->cookie_rva) != COOKIE_DEFAULT)
		return 0;
	do {
		if (random_number(&cookie, err))
			return -1;
		cookie &= COOKIE_MASK;
	} while (!cookie || cookie == COOKIE_DEFAULT);
	memcpy(base + file->cookie_rva, &cookie, pe_pointer_size(file));
	return 0;
}

static int section_protection(const struct pe_section *section)
{
	int protection = PROT_NONE;

	if (section->characteristics & IMAGE_SCN_MEM_READ)
		protection |= PROT_READ;
	if (section->characteristics & IMAGE_SCN_MEM_WRITE)
		protection |= PROT_READ | PROT_WRITE;
	if (section->characteristics & IMAGE_SCN_MEM_EXECUTE)
		protection |= PROT_READ | PROT_EXEC;
	return protection;
}

static int protect(const struct pe_file *file, const struct pe_module *module, struct error *err)
{
	if (mprotect(module->base, module->size, PROT_NONE) ||
	    mprotect(module->base, pe_align(file->headers_size, PAGE), PROT_READ))
		return error_set(err, "the image cannot be protected: %s", strerror(errno));
	for (size_t i = 0; i < module->section_count; i++) {
		const struct pe_section *section = &module->sections[i];

		if (mprotect(module->base + section->rva, pe_align(pe_section_extent(section), PAGE),
			     section_protection(section)))
			return error_set(err, "section %zu cannot be protected: %s", i + 1, strerror(errno));
	}
	return 0;
}

static void copy_contents(const struct pe_file *file, uint8_t *base)
{
	memcpy(base, file->bytes, file->headers_size);
	for (size_t i = 0; i < file->section_count; i++)
		memcpy(base + file->sections[i].rva, file->bytes + file->raw_offsets[i],
		       pe_section_data_size(file, &file->sections[i]));
}

static int fill(const struct pe_file *file, struct pe_module *module, pe_resolve_fn resolve, void *opaque,
		struct error *err)
{
	module->sections = calloc(file->section_count, sizeof(*module->sections));
	if (!module->sections)
		return error_set(err, "no memory for the image");
	memcpy(module->sections, file->sections, file->section_count * sizeof(*module->sections));
	module->section_count = file->section_count;
	if (place(module, file->headers.image_base, err))
		return -1;
	copy_contents(file, module->base);
	pe_apply_relocations(file, module->base, (uintptr_t)module->base - file->headers.image_base);
	if (bind_imports(file, module->base, resolve, opaque, err) || renew_cookie(file, module->base, err) ||
	    protect(file, module, err))
		return -1;
	return 0;
}

int pe_map(const struct pe_file *file, pe_resolve_fn resolve, void *opaque, struct pe_module **out, struct error *err)
{
	struct pe_module *module;

	if (check_loadable(file, err))
		return -1;
	module = calloc(1, sizeof(*module));
	if (!module)
		return error_set(err, "no memory for the image");
	module->size = pe_align(file->headers.image_size, file->headers.section_alignment);
	module->entry_rva = file->headers.entry_rva;
	if (fill(file, module, resolve, opaque, err)) {
		pe_unmap(module);
		return -1;
	}
	*out = module;
	return 0;
}

void *pe_module_base(const struct pe_module *module)
{
	return module->base;
}

size_t pe_module_size(const struct pe_module *module)
{
	return module->size;
}

void *pe_module_entry(const struct pe_module *module)
{
	return module->base + module->entry_rva;
}

void pe_module_discard(struct pe_module *module)
{
	for (size_t i = 0; i < module->section_count; i++) {
		const struct pe_section *section = &module->sections[i];

		/* Fresh pages without access: the address stays taken, the contents are gone. */
		if (section->characteristics & IMAGE_SCN_MEM_DISCARDABLE)
			mmap(module->base + section->rva, pe_align(pe_section_extent(section), PAGE), PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	}
}

bool pe_module_contains(const struct pe_module *module, const void *address)
{
	return (uintptr_t)address - (uintptr_t)module->base < module->size;
}

void pe_unmap(struct pe_module *module)
{
	if (!module)
		return;
	if (module->base)
		munmap(module->base, module->size);
	free(module->sections);
	free(module);
}
