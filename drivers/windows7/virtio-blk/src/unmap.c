/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The parameter list of UNMAP: whether it is one, and its descriptors. Pure. */
#include "cdb.h"
#include "disk.h"

VOID UnmapGet(const UCHAR *List, ULONG Index, ULONGLONG *Lba, ULONG *Blocks) {
    const UCHAR *descriptor = List + UNMAP_HEADER_BYTES + Index * UNMAP_DESCRIPTOR_BYTES;

    *Lba = CdbGet64(descriptor);
    *Blocks = CdbGet32(descriptor + 8);
}

/*
 * No list at all is no error. A list that says that it is longer than it is has lost something on the way; a piece of a
 * descriptor at its end is not one.
 */
UNMAP_RESULT UnmapCheck(const UCHAR *List, ULONG Length, ULONGLONG Blocks, ULONG *Count) {
    ULONG described;
    ULONGLONG lba;
    ULONG blocks;
    ULONG i;

    *Count = 0;
    if (Length == 0) {
        return UnmapOk;
    }
    if (Length < UNMAP_HEADER_BYTES) {
        return UnmapListLength;
    }
    described = CdbGet16(List + 2);
    if (described > Length - UNMAP_HEADER_BYTES || CdbGet16(List) < described + UNMAP_HEADER_BYTES - 2) {
        return UnmapListLength;
    }
    for (i = 0; i < described / UNMAP_DESCRIPTOR_BYTES; i++) {
        UnmapGet(List, i, &lba, &blocks);
        if (lba > Blocks || blocks > Blocks - lba) {
            return UnmapOutOfRange;
        }
    }
    *Count = i;
    return UnmapOk;
}
