/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Data written, flushed, read back and compared, past Windows' cache: in a file, or on a disk that has nothing on it.
 */
#ifndef SELFTEST_TRANSFER_H
#define SELFTEST_TRANSFER_H

#include <windows.h>

#define TRANSFER_BYTES (32u << 20)
#define TRANSFER_ROOM_BYTES (2u * TRANSFER_BYTES) /* what a volume must have free to be chosen without being named */

typedef struct _TRANSFER {
    BOOL WriteOk, FlushOk, ReadOk; /* ReadOk: and it was what had been written */
    DWORD WriteBytes, ReadBytes;
    double WriteMbps, ReadMbps; /* MiB per second */
    const char *Reason;         /* NULL: all went well; otherwise one word */
    DWORD Error;                /* a Windows error code, with a reason */
} TRANSFER;

/* In a file of its own, which is gone afterwards. The directory's name ends with a backslash. */
void TransferFile(const WCHAR *Directory, TRANSFER *Transfer);
/*
 * On a disk of so many bytes. Nothing is written unless its first and last megabyte, and where it would write, are all
 * zeroes; and that is what it leaves behind.
 */
void TransferRaw(HANDLE Disk, ULONGLONG DiskBytes, TRANSFER *Transfer);

#endif
