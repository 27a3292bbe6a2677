/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The command line and the environment. */
#include "options.h"

#include <string.h>

#define RESIZE_SECONDS_DEFAULT 60
#define RESIZE_SECONDS_MAX 3600

const char OptionsUsage[] =
    "aero-virtio-selftest.exe [--blk-root PATH] [--expect-blk-msi] [--test-blk-resize [--blk-resize-seconds N]] "
    "[--test-blk-reset]";

/* An environment variable that is 1 is as good as its option. */
static BOOL IsSet(const WCHAR *Variable) {
    WCHAR value[4];

    return GetEnvironmentVariableW(Variable, value, sizeof(value) / sizeof(value[0])) == 1 && value[0] == L'1';
}

static BOOL ParseSeconds(const WCHAR *Text, DWORD *Seconds) {
    DWORD value = 0;

    for (; *Text >= L'0' && *Text <= L'9' && value <= RESIZE_SECONDS_MAX; Text++) {
        value = value * 10 + (DWORD)(*Text - L'0');
    }
    *Seconds = value;
    return *Text == L'\0' && value != 0 && value <= RESIZE_SECONDS_MAX;
}

const char *OptionsParse(int Count, WCHAR **Arguments, OPTIONS *Options) {
    int i;

    memset(Options, 0, sizeof(*Options));
    Options->BlkRoot = L"";
    Options->ExpectBlkMsi = IsSet(L"AERO_VIRTIO_SELFTEST_EXPECT_BLK_MSI");
    Options->TestBlkResize = IsSet(L"AERO_VIRTIO_SELFTEST_TEST_BLK_RESIZE");
    Options->TestBlkReset = IsSet(L"AERO_VIRTIO_SELFTEST_TEST_BLK_RESET");
    Options->BlkResizeSeconds = RESIZE_SECONDS_DEFAULT;
    for (i = 1; i < Count; i++) {
        if (wcscmp(Arguments[i], L"--expect-blk-msi") == 0) {
            Options->ExpectBlkMsi = TRUE;
        } else if (wcscmp(Arguments[i], L"--test-blk-resize") == 0) {
            Options->TestBlkResize = TRUE;
        } else if (wcscmp(Arguments[i], L"--test-blk-reset") == 0) {
            Options->TestBlkReset = TRUE;
        } else if (wcscmp(Arguments[i], L"--help") == 0) {
            Options->Help = TRUE;
        } else if (wcscmp(Arguments[i], L"--blk-root") == 0) {
            if (++i == Count || Arguments[i][0] == L'\0') {
                return "--blk-root needs a directory";
            }
            Options->BlkRoot = Arguments[i];
        } else if (wcscmp(Arguments[i], L"--blk-resize-seconds") == 0) {
            if (++i == Count || !ParseSeconds(Arguments[i], &Options->BlkResizeSeconds)) {
                return "--blk-resize-seconds needs a number from 1 to 3600";
            }
        } else {
            return "there is an argument that is none of the options";
        }
    }
    return NULL;
}
