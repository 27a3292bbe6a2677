/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Finding what a driver imports: Windows 7's export lists, storhost's own tables, and a stub for the rest. */
#include "nt/exports.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WIN7_X64 = 1, WIN7_X86 = 2 };

struct win7_export {
	const char *name;
	unsigned machines;
};

struct win7_module {
	const char *dll;
	const struct win7_export *exports; /* in ASCII order */
	unsigned count;
	unsigned first; /* number of the first export's stub */
};

#include "nt/win7/exports.inc"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define STUB_COUNT 4096
#define STUB_SIZE 10

_Static_assert(WIN7_EXPORT_COUNT <= STUB_COUNT, "one stub per name");

void (*export_stub_called)(const char *dll, const char *name);

extern const unsigned char export_stubs[] __attribute__((visibility("hidden")));
void export_stub_enter(unsigned long stub) __attribute__((visibility("hidden"), noreturn));

/*
 * Stub n pushes n and enters C, whatever the driver's calling convention and however it has aligned its stack: nothing
 * of the caller is needed again. The file keeps them in its text, so that no page is ever writable and executable.
 */
#define QUOTE(x) #x
#define STRING(x) QUOTE(x)
#ifdef __x86_64__
#define STUB_ENTER                                                                                                     \
	"pop %rdi\n"                                                                                                   \
	"and $-16, %rsp\n"                                                                                             \
	"cld\n"
#else
#define STUB_ENTER                                                                                                     \
	"pop %eax\n"                                                                                                   \
	"and $-16, %esp\n"                                                                                             \
	"sub $12, %esp\n"                                                                                              \
	"push %eax\n"                                                                                                  \
	"cld\n"
#endif

__asm__(".pushsection .text\n"
	".hidden export_stubs\n"
	".globl export_stubs\n"
	".balign 16\n"
	"export_stubs:\n"
	".set stub_number, 0\n"
	".rept " STRING(STUB_COUNT) "\n"
				    ".byte 0x68\n" /* push imm32 */
				    ".long stub_number\n"
				    ".byte 0xe9\n" /* jmp rel32 */
				    ".long 1f - . - 4\n"
				    ".set stub_number, stub_number + 1\n"
				    ".endr\n"
				    "1:\n" STUB_ENTER "call export_stub_enter\n"
				    "ud2\n"
				    ".popsection\n");

static int compare_name(const void *key, const void *element)
{
	return strcmp(key, ((const struct win7_export *)element)->name);
}

static const struct win7_module *find_module(const char *dll)
{
	for (size_t i = 0; i < ARRAY_SIZE(win7_modules); i++)
		if (!strcasecmp(win7_modules[i].dll, dll))
			return &win7_modules[i];
	return NULL;
}

static void *find_implementation(const struct win7_module *module, const char *name)
{
	const struct export_entry *entry = strcmp(module->dll, "storport.sys") ? nt_exports : port_exports;

	for (; entry->name; entry++)
		if (!strcmp(entry->name, name))
			return entry->address;
	return NULL;
}

void export_stub_enter(unsigned long stub)
{
	for (size_t i = 0; i < ARRAY_SIZE(win7_modules); i++) {
		const struct win7_module *module = &win7_modules[i];

		if (stub >= module->first && stub - module->first < module->count && export_stub_called)
			export_stub_called(module->dll, module->exports[stub - module->first].name);
	}
	abort();
}

enum export_state export_find(enum pe_machine machine, const char *dll, const char *name, void **address)
{
	const struct win7_module *module = find_module(dll);
	const struct win7_export *found;
	void *implementation;

	if (!module)
		return EXPORT_UNKNOWN;
	found = bsearch(name, module->exports, module->count, sizeof(*found), compare_name);
	if (!found || !(found->machines & (machine == PE_X64 ? WIN7_X64 : WIN7_X86)))
		return EXPORT_UNKNOWN;
	implementation = find_implementation(module, name);
	if (address && implementation)
		*address = implementation;
	else if (address)
		*address = (void *)(uintptr_t)(export_stubs +
					       (module->first + (unsigned)(found - module->exports)) * STUB_SIZE);
	return implementation ? EXPORT_IMPLEMENTED : EXPORT_STUB;
}
