/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Finding what a driver imports: Windows 7's export lists, storhost's own tables, and a stub for the rest. */
#include "nt/exports.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#define WIN7_X64 EXPORT_X64
#define WIN7_X86 EXPORT_X86

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

void (*export_stub_called)(const char *dll, const char *name, uintptr_t pc);

extern const unsigned char export_stubs[] __attribute__((visibility("hidden")));
void export_stub_enter(unsigned long stub, uintptr_t pc) __attribute__((visibility("hidden"), noreturn));

/*
 * Stub n pushes n and enters C, whatever the driver's calling convention and however it has aligned its stack: nothing
 * of the caller is needed again. The file keeps them in its text, so that no page is ever writable and executable.
 */
#define QUOTE(x) #x
#define STRING(x) QUOTE(x)
#ifdef __x86_64__
#define STUB_ENTER                                                                                                     \
	"pop %rdi\n"                                                                                                   \
	"mov (%rsp), %rsi\n"                                                                                           \
	"and $-16, %rsp\n"                                                                                             \
	"cld\n"
#else
#define STUB_ENTER                                                                                                     \
	"pop %eax\n"                                                                                                   \
	"mov (%esp), %edx\n"                                                                                           \
	"and $-16, %esp\n"                                                                                             \
	"sub $8, %esp\n"                                                                                               \
	"push %edx\n"                                                                                                  \
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

static void *find_in(const struct export_entry *entry, const char *name)
{
	for (; entry->name; entry++)
		if (!strcmp(entry->name, name))
			return entry->address;
	return NULL;
}

static void *find_implementation(const struct win7_module *module, const char *name)
{
	void *found = NULL;

	if (!strcmp(module->dll, "storport.sys"))
		return find_in(port_exports, name);
	for (size_t i = 0; nt_exports[i] && !found; i++)
		found = find_in(nt_exports[i], name);
	return found;
}

static const struct win7_module *module_of(unsigned long number)
{
	for (size_t i = 0; i < ARRAY_SIZE(win7_modules); i++) {
		if (number >= win7_modules[i].first && number - win7_modules[i].first < win7_modules[i].count)
			return &win7_modules[i];
	}
	return NULL;
}

void export_stub_enter(unsigned long stub, uintptr_t pc)
{
	const struct win7_module *module = module_of(stub);

	if (module && export_stub_called)
		export_stub_called(module->dll, module->exports[stub - module->first].name, pc);
	abort();
}

/*
 * Those that are no routines, by name: a driver that looks at one must not take code for its value. It gets an address
 * of memory that nobody may touch, VARIABLE_ROOM bytes for each.
 */
static const char *const variables[] = {
	"CcFastMdlReadWait",
	"CmKeyObjectType",
	"ExDesktopObjectType",
	"ExEventObjectType",
	"ExSemaphoreObjectType",
	"FsRtlLegalAnsiCharacterArray",
	"HalDispatchTable",
	"HalPrivateDispatchTable",
	"InitSafeBootMode",
	"IoAdapterObjectType",
	"IoDeviceHandlerObjectSize",
	"IoDeviceHandlerObjectType",
	"IoDeviceObjectType",
	"IoDriverObjectType",
	"IoFileObjectType",
	"IoReadOperationCount",
	"IoReadTransferCount",
	"IoStatisticsLock",
	"IoWriteOperationCount",
	"IoWriteTransferCount",
	"KdComPortInUse",
	"KdEnteredDebugger",
	"KeDcacheFlushCount",
	"KeIcacheFlushCount",
	"KeLoaderBlock",
	"KeServiceDescriptorTable",
	"LpcPortObjectType",
	"MmBadPointer",
	"MmHighestUserAddress",
	"MmSectionObjectType",
	"MmSystemRangeStart",
	"MmUserProbeAddress",
	"NlsAnsiCodePage",
	"NlsLeadByteInfo",
	"NlsMbCodePageTag",
	"NlsMbOemCodePageTag",
	"NlsOemCodePage",
	"NlsOemLeadByteInfo",
	"NtBuildGUID",
	"NtBuildLab",
	"NtBuildNumber",
	"NtGlobalFlag",
	"PoGetSystemWake",
	"PsInitialSystemProcess",
	"PsJobType",
	"PsProcessType",
	"PsThreadType",
	"SeExports",
	"SePublicDefaultDacl",
	"SeSystemDefaultDacl",
	"SeTokenObjectType",
};

#define VARIABLE_ROOM 256u

static uint8_t *variable_memory(void)
{
	static uint8_t *memory;

	if (!memory)
		memory = mmap(NULL, ARRAY_SIZE(variables) * VARIABLE_ROOM, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

static void *find_variable(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		if (!strcmp(variables[i], name) && variable_memory())
			return variable_memory() + i * VARIABLE_ROOM;
	}
	return NULL;
}

const char *export_variable(uintptr_t address)
{
	uintptr_t offset = address - (uintptr_t)variable_memory();

	return variable_memory() && offset < ARRAY_SIZE(variables) * VARIABLE_ROOM ? variables[offset / VARIABLE_ROOM]
										   : NULL;
}

bool export_name(unsigned n, struct export_name *name)
{
	const struct win7_module *module = module_of(n);
	const struct win7_export *found;

	if (!module)
		return false;
	found = &module->exports[n - module->first];
	*name = (struct export_name){ module->dll, found->name, found->machines,
				      find_implementation(module, found->name) != NULL };
	return true;
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
	if (address)
		*address = implementation ? implementation : find_variable(name);
	if (address && !*address)
		*address = (void *)(uintptr_t)(export_stubs +
					       (module->first + (unsigned)(found - module->exports)) * STUB_SIZE);
	return implementation ? EXPORT_IMPLEMENTED : EXPORT_STUB;
}
