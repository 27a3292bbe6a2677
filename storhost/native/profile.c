/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Coverage counters of a process that leaves by _exit, as a scenario's does, are written, too (-Wl,--wrap=_exit). */
#include <stdnoreturn.h>

int __llvm_profile_write_file(void);
noreturn void __real__exit(int status);
noreturn void __wrap__exit(int status);

void __wrap__exit(int status)
{
	__llvm_profile_write_file();
	__real__exit(status);
}
