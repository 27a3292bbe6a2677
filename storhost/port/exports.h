/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the files that implement storport.sys's exports share: variadic arguments of drivers, and their memory. */
#ifndef STORHOST_PORT_EXPORTS_H
#define STORHOST_PORT_EXPORTS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A variadic export of a Windows driver: Windows's convention on x64, cdecl on x86. */
#if defined(__x86_64__)
typedef __builtin_ms_va_list guest_va_list;
#define guest_va_start(ap, last) __builtin_ms_va_start(ap, last)
#define guest_va_end(ap) __builtin_ms_va_end(ap)
#else
typedef va_list guest_va_list;
#define guest_va_start(ap, last) va_start(ap, last)
#define guest_va_end(ap) va_end(ap)
#endif
#define guest_va_arg(ap, type) __builtin_va_arg(ap, type)

/* Copies between the port and memory that a driver named. A bad address is the driver's fault: a finding, false. */
bool guest_read(void *to, const void *from, size_t size, uintptr_t pc);
bool guest_write(void *to, const void *from, size_t size, uintptr_t pc);
/* Copies a string of the driver's, cut to size - 1 characters. */
bool guest_string(char *to, const char *from, size_t size, uintptr_t pc);
/* The same from UTF-16; characters beyond ASCII become '?'. */
bool guest_wide_string(char *to, const uint16_t *from, size_t size, uintptr_t pc);

#endif
