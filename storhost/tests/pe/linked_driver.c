/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A driver for test-pe-map, compiled and linked for Windows: one import, one pointer that needs a relocation. */

__declspec(dllimport) unsigned long __stdcall StorPortInitialize(void);

static int seven(void)
{
	return 7;
}

/* volatile: the compiler must not see through the pointer. */
static int (*volatile Pointer)(void) = seven;

unsigned long DriverEntry(void)
{
	return StorPortInitialize() + (unsigned long)Pointer();
}
