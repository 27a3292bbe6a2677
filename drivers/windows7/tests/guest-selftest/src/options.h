/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the selftest is asked to do, by its command line or its environment. */
#ifndef SELFTEST_OPTIONS_H
#define SELFTEST_OPTIONS_H

#include <windows.h>

typedef struct _OPTIONS {
    const WCHAR *BlkRoot; /* empty: none was given */
    BOOL ExpectBlkMsi;
    BOOL TestBlkResize;
    BOOL TestBlkReset;
    DWORD BlkResizeSeconds;
    BOOL Help;
} OPTIONS;

extern const char OptionsUsage[];

/* NULL, or what is wrong with the command line. */
const char *OptionsParse(int Count, WCHAR **Arguments, OPTIONS *Options);

#endif
