/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The four memory routines a compiler calls on its own, for the cross build (the kit has them in its storport.lib).
 * Compile with -ffreestanding: a compiler that took these bodies for the idioms they implement would call itself.
 *
 * The string instructions are used at every length: no register but integer ones, the same code for both machines, and
 * processors make them fast from a few dozen bytes on. The direction flag is clear on entry by convention.
 */
#include "ntddk.h"

void *__cdecl memcpy(void *Destination, const void *Source, size_t Length) {
    void *to = Destination;

    __asm__ __volatile__("rep; movsb" : "+D"(to), "+S"(Source), "+c"(Length) : : "memory");
    return Destination;
}

void *__cdecl memmove(void *Destination, const void *Source, size_t Length) {
    UCHAR *to = Destination;
    const UCHAR *from = Source;

    /* Unsigned distance: below Length only where copying upwards would overwrite bytes before they are read. */
    if ((ULONG_PTR)to - (ULONG_PTR)from >= Length) {
        return memcpy(Destination, Source, Length);
    }
    while (Length != 0) {
        Length -= 1;
        to[Length] = from[Length];
    }
    return Destination;
}

void *__cdecl memset(void *Destination, int Fill, size_t Length) {
    void *to = Destination;

    __asm__ __volatile__("rep; stosb" : "+D"(to), "+c"(Length) : "a"(Fill) : "memory");
    return Destination;
}

int __cdecl memcmp(const void *First, const void *Second, size_t Length) {
    const UCHAR *first = First;
    const UCHAR *second = Second;

    for (; Length != 0; Length -= 1, first += 1, second += 1) {
        if (*first != *second) {
            return *first < *second ? -1 : 1;
        }
    }
    return 0;
}
