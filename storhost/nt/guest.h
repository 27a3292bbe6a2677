/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a driver hands to an export: variadic arguments of its calling convention, and memory that may not be there.
 *
 * The copies report a bad address as the driver's fault (CALL-ARGUMENT, at pc) and return false; nothing of the
 * machine is lost by it. guest_move and guest_fill stand for routines that have no way to fail: there a bad address
 * is a crash of the driver, and they do not return from it.
 */
#ifndef STORHOST_NT_GUEST_H
#define STORHOST_NT_GUEST_H

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

bool guest_read(void *to, const void *from, size_t size, uintptr_t pc);
bool guest_write(void *to, const void *from, size_t size, uintptr_t pc);
/* Copies a string of the driver's, cut to size - 1 characters. */
bool guest_string(char *to, const char *from, size_t size, uintptr_t pc);
/* The same from UTF-16; characters beyond ASCII become '?'. */
bool guest_wide_string(char *to, const uint16_t *from, size_t size, uintptr_t pc);

void guest_move(void *to, const void *from, size_t size, uintptr_t pc);
void guest_fill(void *to, int value, size_t size, uintptr_t pc);

#endif
