/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* CDB → operation, position, length, force-unit-access. Pure; for every opcode that moves or settles data. */
#include "cdb.h"

/* Bytes of a CDB by the top three bits of its operation code; 0 where the code does not say. [SPC-3 table 14] */
static const UCHAR CdbGroupLength[8] = {6, 10, 10, 0, 16, 12, 0, 0};

ULONG CdbLength(UCHAR Opcode) {
    return CdbGroupLength[Opcode >> 5];
}

VOID CdbExtent(const UCHAR *Cdb, ULONGLONG *Lba, ULONG *Blocks) {
    switch (CdbLength(Cdb[0])) {
    case 16:
        *Lba = CdbGet64(Cdb + 2);
        *Blocks = CdbGet32(Cdb + 10);
        return;
    case 12:
        *Lba = CdbGet32(Cdb + 2);
        *Blocks = CdbGet32(Cdb + 6);
        return;
    default:
        *Lba = CdbGet32(Cdb + 2);
        *Blocks = CdbGet16(Cdb + 7);
        return;
    }
}

BOOLEAN CdbIsWellFormed(const UCHAR *Cdb, ULONG Length) {
    ULONG needed = CdbLength(Cdb[0]);

    if (needed == 0) {
        return TRUE;
    }
    return (BOOLEAN)(Length >= needed && (Cdb[needed - 1] & CDB_CONTROL_REFUSED) == 0);
}

/* READ and WRITE of ControlAt + 1 bytes, but for the six-byte ones. */
static __inline ULONG CdbTransfer(const UCHAR *Cdb, ULONG Length, ULONG ControlAt) {
    if (Length <= ControlAt || ((Cdb[1] & CDB_PROTECT) | (Cdb[ControlAt] & CDB_CONTROL_REFUSED)) != 0) {
        return CDB_INVALID;
    }
    return CdbHead(Cdb) & (CDB_WRITE | CDB_FUA);
}

static __inline ULONG CdbPlain(const UCHAR *Cdb, ULONG Length, ULONG Operation) {
    return CdbIsWellFormed(Cdb, Length) ? Operation : CDB_INVALID;
}

ULONG CdbDecode(const UCHAR *Cdb, ULONG Length, ULONGLONG *Lba, ULONG *Blocks) {
    switch (Cdb[0]) {
    case CDB_READ_10:
    case CDB_WRITE_10:
        *Lba = CdbGet32(Cdb + 2);
        *Blocks = CdbGet16(Cdb + 7);
        return CdbTransfer(Cdb, Length, 9);
    case CDB_READ_16:
    case CDB_WRITE_16:
        *Lba = CdbGet64(Cdb + 2);
        *Blocks = CdbGet32(Cdb + 10);
        return CdbTransfer(Cdb, Length, 15);
    case CDB_READ_12:
    case CDB_WRITE_12:
        *Lba = CdbGet32(Cdb + 2);
        *Blocks = CdbGet32(Cdb + 6);
        return CdbTransfer(Cdb, Length, 11);
    case CDB_READ_6:
    case CDB_WRITE_6:
        /* 21 bits of position, no flags, and a length of 0 means 256. [SBC-2 5.5] */
        *Lba = CdbGet32(Cdb) & 0x1FFFFF;
        *Blocks = Cdb[4] != 0 ? Cdb[4] : 256;
        return CdbPlain(Cdb, Length, (ULONG)(Cdb[0] & CDB_WRITE));
    case CDB_SYNCHRONIZE_CACHE_10:
        *Lba = CdbGet32(Cdb + 2);
        *Blocks = CdbGet16(Cdb + 7);
        return CdbPlain(Cdb, Length, CDB_SYNCHRONIZE);
    case CDB_SYNCHRONIZE_CACHE_16:
        *Lba = CdbGet64(Cdb + 2);
        *Blocks = CdbGet32(Cdb + 10);
        return CdbPlain(Cdb, Length, CDB_SYNCHRONIZE);
    default:
        return CDB_OTHER;
    }
}
