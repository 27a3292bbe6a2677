/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where the program begins when it is cross-built: on Windows 7's own msvcrt.dll, without any compiler's start-up code.
 * Visual Studio brings its own.
 */
#include <stdlib.h>
#include <wchar.h>

/* As msvcrt.dll exports it; no header declares it the same way as the others. */
typedef struct _STARTUP_MODE {
    int NewHandlerMode;
} STARTUP_MODE;

int __cdecl __wgetmainargs(int *Count, wchar_t ***Arguments, wchar_t ***Environment, int Wildcards, STARTUP_MODE *Mode);

int wmain(int Count, wchar_t **Arguments);
void wmainCRTStartup(void);

void wmainCRTStartup(void) {
    STARTUP_MODE mode = {0};
    wchar_t **arguments, **environment;
    int count;

    if (__wgetmainargs(&count, &arguments, &environment, 0, &mode) != 0) {
        exit(255);
    }
    exit(wmain(count, arguments));
}
