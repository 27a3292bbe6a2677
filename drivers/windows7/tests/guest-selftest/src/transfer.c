/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sequential writes and reads of a pattern that is different in each place and in each run. */
#include "transfer.h"

#include <string.h>

#define CHUNK_BYTES (1u << 20)
#define FILE_NAME L"aero-virtio-selftest.tmp"
#define PATH_CHARS 600
#define RAW_START CHUNK_BYTES /* where partitions begin, and what a partition table leaves free */

/* One range of a file or a disk, and the memory that goes through it. */
typedef struct _RANGE {
    HANDLE Handle;
    ULONGLONG Start;
    DWORD Bytes; /* of whole chunks */
    ULONGLONG Seed;
    ULONGLONG *Chunk;
} RANGE;

static ULONGLONG PatternWord(const RANGE *Range, ULONGLONG Offset) {
    ULONGLONG word = (Offset + Range->Seed) * 0x9E3779B97F4A7C15u;

    return word ^ word >> 29;
}

static void FillChunk(const RANGE *Range, ULONGLONG Offset) {
    DWORD i;

    for (i = 0; i < CHUNK_BYTES / sizeof(ULONGLONG); i++) {
        Range->Chunk[i] = PatternWord(Range, Offset + i * sizeof(ULONGLONG));
    }
}

static BOOL IsChunkPattern(const RANGE *Range, ULONGLONG Offset) {
    DWORD i;

    for (i = 0; i < CHUNK_BYTES / sizeof(ULONGLONG); i++) {
        if (Range->Chunk[i] != PatternWord(Range, Offset + i * sizeof(ULONGLONG))) {
            return FALSE;
        }
    }
    return TRUE;
}

static BOOL IsChunkZero(const RANGE *Range) {
    DWORD i;

    for (i = 0; i < CHUNK_BYTES / sizeof(ULONGLONG); i++) {
        if (Range->Chunk[i] != 0) {
            return FALSE;
        }
    }
    return TRUE;
}

/* The chunk from or to the disk; a Windows error code. Less than a chunk is an error, too. */
static DWORD MoveChunk(const RANGE *Range, ULONGLONG Offset, BOOL Write) {
    OVERLAPPED place; /* on a handle for synchronous use: where, and nothing else */
    DWORD moved = 0;
    BOOL done;

    memset(&place, 0, sizeof(place));
    place.Offset = (DWORD)Offset;
    place.OffsetHigh = (DWORD)(Offset >> 32);
    done = Write ? WriteFile(Range->Handle, Range->Chunk, CHUNK_BYTES, &moved, &place)
                 : ReadFile(Range->Handle, Range->Chunk, CHUNK_BYTES, &moved, &place);
    if (!done) {
        return GetLastError();
    }
    return moved == CHUNK_BYTES ? ERROR_SUCCESS : ERROR_HANDLE_EOF;
}

static LONGLONG Ticks(void) {
    LARGE_INTEGER now;

    QueryPerformanceCounter(&now);
    return now.QuadPart;
}

static double MebibytesPerSecond(DWORD Bytes, LONGLONG Elapsed) {
    LARGE_INTEGER frequency;

    QueryPerformanceFrequency(&frequency);
    return Elapsed > 0 ? (double)Bytes / (1 << 20) * (double)frequency.QuadPart / (double)Elapsed : 0;
}

static void Fail(TRANSFER *Transfer, const char *Reason, DWORD Error) {
    if (Transfer->Reason == NULL) {
        Transfer->Reason = Reason;
        Transfer->Error = Error;
    }
}

/* Writes and flushes. The time is that of the writes alone, without what the pattern costs. */
static void WriteRange(const RANGE *Range, TRANSFER *Transfer) {
    LONGLONG elapsed = 0, started;
    DWORD done, error = ERROR_SUCCESS;

    for (done = 0; done < Range->Bytes && error == ERROR_SUCCESS; done += CHUNK_BYTES) {
        FillChunk(Range, Range->Start + done);
        started = Ticks();
        error = MoveChunk(Range, Range->Start + done, TRUE);
        elapsed += Ticks() - started;
        if (error == ERROR_SUCCESS) {
            Transfer->WriteBytes += CHUNK_BYTES;
        }
    }
    Transfer->WriteMbps = MebibytesPerSecond(Transfer->WriteBytes, elapsed);
    if (error != ERROR_SUCCESS) {
        Fail(Transfer, "write", error);
        return;
    }
    Transfer->WriteOk = TRUE;
    if (!FlushFileBuffers(Range->Handle)) {
        Fail(Transfer, "flush", GetLastError());
        return;
    }
    Transfer->FlushOk = TRUE;
}

static void ReadRange(const RANGE *Range, TRANSFER *Transfer) {
    LONGLONG elapsed = 0, started;
    DWORD done, error = ERROR_SUCCESS;

    for (done = 0; done < Range->Bytes && Transfer->Reason == NULL; done += CHUNK_BYTES) {
        started = Ticks();
        error = MoveChunk(Range, Range->Start + done, FALSE);
        elapsed += Ticks() - started;
        if (error != ERROR_SUCCESS) {
            Fail(Transfer, "read", error);
        } else {
            Transfer->ReadBytes += CHUNK_BYTES;
            if (!IsChunkPattern(Range, Range->Start + done)) {
                Fail(Transfer, "verify", ERROR_CRC);
            }
        }
    }
    Transfer->ReadMbps = MebibytesPerSecond(Transfer->ReadBytes, elapsed);
    Transfer->ReadOk = Transfer->Reason == NULL;
}

/* Pages, as transfers past the cache need them. */
static BOOL OpenRange(RANGE *Range, TRANSFER *Transfer) {
    memset(Transfer, 0, sizeof(*Transfer));
    memset(Range, 0, sizeof(*Range));
    Range->Handle = INVALID_HANDLE_VALUE;
    Range->Seed = (ULONGLONG)Ticks() << 8;
    Range->Chunk = (ULONGLONG *)VirtualAlloc(NULL, CHUNK_BYTES, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (Range->Chunk == NULL) {
        Fail(Transfer, "no_memory", ERROR_NOT_ENOUGH_MEMORY);
    }
    return Range->Chunk != NULL;
}

/* The handle is closed between writing and reading, so that nothing of the file is left in the file system's hands. */
void TransferFile(const WCHAR *Directory, TRANSFER *Transfer) {
    WCHAR path[PATH_CHARS];
    RANGE range;

    if (!OpenRange(&range, Transfer)) {
        return;
    }
    range.Bytes = TRANSFER_BYTES;
    wcscpy(path, Directory);
    wcscat(path, FILE_NAME);
    range.Handle = CreateFileW(path, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_FLAG_NO_BUFFERING, NULL);
    if (range.Handle == INVALID_HANDLE_VALUE) {
        Fail(Transfer, "create_file", GetLastError());
    } else {
        WriteRange(&range, Transfer);
        CloseHandle(range.Handle);
    }
    if (Transfer->Reason == NULL) {
        range.Handle = CreateFileW(path, GENERIC_READ, 0, NULL, OPEN_EXISTING,
                                   FILE_FLAG_NO_BUFFERING | FILE_FLAG_SEQUENTIAL_SCAN, NULL);
        if (range.Handle == INVALID_HANDLE_VALUE) {
            Fail(Transfer, "open_file", GetLastError());
        } else {
            ReadRange(&range, Transfer);
            CloseHandle(range.Handle);
        }
    }
    DeleteFileW(path);
    VirtualFree(range.Chunk, 0, MEM_RELEASE);
}

/* *Blank is only right if the answer is ERROR_SUCCESS. */
static DWORD CheckBlank(const RANGE *Range, ULONGLONG DiskBytes, BOOL *Blank) {
    DWORD done, error = MoveChunk(Range, 0, FALSE);

    *Blank = IsChunkZero(Range);
    for (done = 0; error == ERROR_SUCCESS && *Blank && done < Range->Bytes; done += CHUNK_BYTES) {
        error = MoveChunk(Range, Range->Start + done, FALSE);
        *Blank = IsChunkZero(Range);
    }
    if (error == ERROR_SUCCESS && *Blank) {
        error = MoveChunk(Range, DiskBytes - CHUNK_BYTES, FALSE);
        *Blank = IsChunkZero(Range);
    }
    return error;
}

static DWORD ClearRange(const RANGE *Range) {
    DWORD done, error = ERROR_SUCCESS;

    memset(Range->Chunk, 0, CHUNK_BYTES);
    for (done = 0; error == ERROR_SUCCESS && done < Range->Bytes; done += CHUNK_BYTES) {
        error = MoveChunk(Range, Range->Start + done, TRUE);
    }
    return error == ERROR_SUCCESS && !FlushFileBuffers(Range->Handle) ? GetLastError() : error;
}

void TransferRaw(HANDLE Disk, ULONGLONG DiskBytes, TRANSFER *Transfer) {
    RANGE range;
    DWORD error;
    BOOL blank;

    if (!OpenRange(&range, Transfer)) {
        return;
    }
    range.Handle = Disk;
    range.Start = RAW_START;
    range.Bytes = TRANSFER_BYTES;
    while (range.Bytes != 0 && range.Start + range.Bytes + CHUNK_BYTES > DiskBytes) {
        range.Bytes -= CHUNK_BYTES;
    }
    if (range.Bytes == 0) {
        Fail(Transfer, "disk_too_small", ERROR_DISK_FULL);
    } else {
        error = CheckBlank(&range, DiskBytes, &blank);
        if (error != ERROR_SUCCESS) {
            Fail(Transfer, "read", error);
        } else if (!blank) {
            Fail(Transfer, "no_volume_and_not_blank", ERROR_UNRECOGNIZED_VOLUME);
        } else {
            WriteRange(&range, Transfer);
            if (Transfer->Reason == NULL) {
                ReadRange(&range, Transfer);
            }
            error = ClearRange(&range);
            if (error != ERROR_SUCCESS) {
                Fail(Transfer, "write", error);
            }
        }
    }
    VirtualFree(range.Chunk, 0, MEM_RELEASE);
}
