/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a driver may import. Windows 7 SP1's own export lists (nt/win7/) say which names exist; the tables below say
 * which of them storhost implements. A name that Windows 7 has and storhost has not is bound to a stub of its own,
 * which reports that name through export_stub_called() when the driver calls it.
 */
#ifndef STORHOST_NT_EXPORTS_H
#define STORHOST_NT_EXPORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "pe/pe.h"

struct export_entry {
	const char *name; /* undecorated; NULL ends a table */
	void *address;    /* a function of the driver's calling convention, or a variable */
};

extern const struct export_entry *const nt_exports[]; /* tables of ntoskrnl.exe and hal.dll; NULL ends them */
extern const struct export_entry port_exports[];      /* storport.sys */

enum export_state {
	EXPORT_UNKNOWN, /* Windows 7 does not export it on this machine */
	EXPORT_STUB,    /* Windows 7 does, storhost stops with its name when it is called */
	EXPORT_IMPLEMENTED,
};

/* dll is compared without case. address may be NULL; a stub's thunk is made on demand and kept for the process. */
enum export_state export_find(enum pe_machine machine, const char *dll, const char *name, void **address);

/* Called on the driver's thread when it calls a stub from pc; must not return. Set before any driver runs. */
extern void (*export_stub_called)(const char *dll, const char *name, uintptr_t pc);

/* The variable that storhost has not, and whose address a driver that imports it got; NULL: that is another address. */
const char *export_variable(uintptr_t address);

enum { EXPORT_X64 = 1, EXPORT_X86 = 2 };

/* The n-th name that Windows 7 exports, module by module; false past the last. */
struct export_name {
	const char *dll, *name;
	unsigned machines; /* EXPORT_… */
	bool implemented;
};
bool export_name(unsigned n, struct export_name *name);

#endif
