/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* MODE SENSE and MODE SELECT: the caching and control pages, as bytes and as decisions. Pure. */
#include "cdb.h"
#include "disk.h"

#define MODE_DBD 0x08
#define MODE_PF 0x10
#define MODE_SP 0x01
#define MODE_LONGLBA 0x01
#define MODE_PC(Cdb) ((Cdb)[2] >> 6)
#define MODE_PC_CHANGEABLE 1
#define MODE_PC_DEFAULT 2
#define MODE_PC_SAVED 3
#define MODE_PAGE_MASK 0x3F
#define MODE_PAGE_ALL 0x3F
#define MODE_SUBPAGE_ALL 0xFF
#define MODE_SUBPAGE_FORMAT 0x40
#define MODE_WP 0x80
#define MODE_DPOFUA 0x10
#define MODE_DESCRIPTOR_BYTES 8

#define MODE_CACHING 0x08
#define MODE_CACHING_BYTES 20
#define MODE_CACHING_AT_FLAGS 2
#define MODE_WCE 0x04

#define MODE_CONTROL 0x0A
#define MODE_CONTROL_BYTES 12
#define MODE_CONTROL_AT_QUEUE 3
#define MODE_UNRESTRICTED_REORDERING 0x10 /* as virtio has it: requests in flight are not ordered */

/* The header's fields are where the command's length puts them. [SPC-3 7.4.3] */
static ULONG ModeHeaderBytes(const UCHAR *Cdb) {
    return Cdb[0] == CDB_MODE_SENSE_6 || Cdb[0] == CDB_MODE_SELECT_6 ? 4 : 8;
}

/* One page by its code, with the values that Pc asks for; its length, 0: there is none. [SPC-3 7.4.6; SBC-2 6.3.3] */
static ULONG ModePage(const VBLK_DISK *Disk, UCHAR Code, ULONG Pc, PUCHAR Data) {
    BOOLEAN writeBack = Disk->WriteBack;

    switch (Code) {
    case MODE_CACHING:
        RtlZeroMemory(Data, MODE_CACHING_BYTES);
        Data[1] = MODE_CACHING_BYTES - 2;
        if (Pc == MODE_PC_CHANGEABLE) {
            writeBack = Disk->WriteBackChangeable;
        } else if (Pc == MODE_PC_DEFAULT) {
            writeBack = Disk->DefaultWriteBack;
        }
        Data[MODE_CACHING_AT_FLAGS] = (UCHAR)(writeBack ? MODE_WCE : 0);
        break;
    case MODE_CONTROL:
        RtlZeroMemory(Data, MODE_CONTROL_BYTES);
        Data[1] = MODE_CONTROL_BYTES - 2;
        Data[MODE_CONTROL_AT_QUEUE] = (UCHAR)(Pc == MODE_PC_CHANGEABLE ? 0 : MODE_UNRESTRICTED_REORDERING);
        break;
    default:
        return 0;
    }
    Data[0] = Code;
    return Data[1] + 2ul;
}

/* The pages that Cdb asks for, in ascending order; 0: there is no such page. */
static ULONG ModePages(const VBLK_DISK *Disk, const UCHAR *Cdb, PUCHAR Data) {
    UCHAR code = Cdb[2] & MODE_PAGE_MASK;
    ULONG length;

    if (Cdb[3] != 0 && Cdb[3] != MODE_SUBPAGE_ALL) {
        return 0;
    }
    if (code != MODE_PAGE_ALL) {
        return ModePage(Disk, code, MODE_PC(Cdb), Data);
    }
    length = ModePage(Disk, MODE_CACHING, MODE_PC(Cdb), Data);
    return length + ModePage(Disk, MODE_CONTROL, MODE_PC(Cdb), Data + length);
}

/* DPOFUA: forced unit access is always honoured, by a flush where the device has a volatile cache. [SBC-2 6.3.1] */
MODE_RESULT ModeSense(const VBLK_DISK *Disk, const UCHAR *Cdb, ULONGLONG Blocks, PUCHAR Data, ULONG *Length) {
    UCHAR specific = (UCHAR)(MODE_DPOFUA | (Disk->ReadOnly ? MODE_WP : 0));
    ULONG header = ModeHeaderBytes(Cdb);
    ULONG descriptor = (Cdb[1] & MODE_DBD) != 0 ? 0 : MODE_DESCRIPTOR_BYTES;
    ULONG pages;

    RtlZeroMemory(Data, MODE_DATA_MAX);
    pages = ModePages(Disk, Cdb, Data + header + descriptor);
    if (pages == 0) {
        return ModeInvalidCdb;
    }
    if (MODE_PC(Cdb) == MODE_PC_SAVED) {
        return ModeSavingUnsupported;
    }
    *Length = header + descriptor + pages;
    if (header == 4) {
        Data[0] = (UCHAR)(*Length - 1);
        Data[2] = specific;
        Data[3] = (UCHAR)descriptor;
    } else {
        CdbPut16(Data, *Length - 2);
        Data[3] = specific;
        CdbPut16(Data + 6, descriptor);
    }
    if (descriptor != 0) {
        CdbPut32(Data + header, Blocks > 0xFFFFFFFF ? 0xFFFFFFFF : (ULONG)Blocks);
        CdbPut32(Data + header + 4, 1ul << Disk->BlockShift); /* three bytes, below a reserved one */
    }
    return ModeOk;
}

/* A block descriptor may repeat what is; a number of 0 or all ones leaves the capacity alone. [SBC-2 6.3.2.2] */
static BOOLEAN ModeDescriptorIsCurrent(const VBLK_DISK *Disk, ULONGLONG Blocks, const UCHAR *Descriptor) {
    ULONG count = CdbGet32(Descriptor);

    return (BOOLEAN)((count == 0 || count == 0xFFFFFFFF || count == Blocks) &&
                     CdbGet32(Descriptor + 4) == 1ul << Disk->BlockShift);
}

/* Header and descriptor, of which *At is the end. The fields that MODE SELECT reserves are not looked at. */
static MODE_RESULT ModeSelectHeader(const VBLK_DISK *Disk, ULONG Header, ULONGLONG Blocks, const UCHAR *List,
                                    ULONG Length, ULONG *At) {
    ULONG descriptor;

    if (Length < Header) {
        return ModeListLength;
    }
    descriptor = Header == 4 ? List[3] : CdbGet16(List + 6);
    if (List[Header == 4 ? 1 : 2] != 0 || (Header == 8 && (List[4] & MODE_LONGLBA) != 0) ||
        (descriptor != 0 && descriptor != MODE_DESCRIPTOR_BYTES)) {
        return ModeInvalidList;
    }
    if (Length - Header < descriptor) {
        return ModeListLength;
    }
    if (descriptor != 0 && !ModeDescriptorIsCurrent(Disk, Blocks, List + Header)) {
        return ModeInvalidList;
    }
    *At = Header + descriptor;
    return ModeOk;
}

/* One page at Page, with Left bytes from there on: every bit that differs from the current value must be changeable. */
static MODE_RESULT ModeSelectPage(const VBLK_DISK *Disk, const UCHAR *Page, ULONG Left, ULONG *Bytes,
                                  BOOLEAN *WriteBack) {
    UCHAR current[MODE_CACHING_BYTES];
    UCHAR mask[MODE_CACHING_BYTES];
    UCHAR code = Page[0] & MODE_PAGE_MASK;
    ULONG i;

    if (Left < 2) {
        return ModeListLength;
    }
    *Bytes = ModePage(Disk, code, 0, current);
    if (*Bytes == 0 || (Page[0] & MODE_SUBPAGE_FORMAT) != 0 || Page[1] != *Bytes - 2) {
        return ModeInvalidList;
    }
    if (Left < *Bytes) {
        return ModeListLength;
    }
    (VOID)ModePage(Disk, code, MODE_PC_CHANGEABLE, mask);
    for (i = 2; i < *Bytes; i++) {
        if (((Page[i] ^ current[i]) & ~mask[i]) != 0) {
            return ModeInvalidList;
        }
    }
    if (code == MODE_CACHING) {
        *WriteBack = (BOOLEAN)((Page[MODE_CACHING_AT_FLAGS] & MODE_WCE) != 0);
    }
    return ModeOk;
}

MODE_RESULT ModeSelect(const VBLK_DISK *Disk, const UCHAR *Cdb, ULONGLONG Blocks, const UCHAR *List, ULONG Length,
                       BOOLEAN *WriteBack) {
    BOOLEAN wanted = Disk->WriteBack;
    MODE_RESULT result = ModeOk;
    ULONG at = 0;
    ULONG bytes = 0;

    if ((Cdb[1] & MODE_PF) == 0 || (Cdb[1] & MODE_SP) != 0) {
        return ModeInvalidCdb;
    }
    if (Length != 0) {
        result = ModeSelectHeader(Disk, ModeHeaderBytes(Cdb), Blocks, List, Length, &at);
    }
    while (result == ModeOk && at < Length) {
        result = ModeSelectPage(Disk, List + at, Length - at, &bytes, &wanted);
        at += bytes;
    }
    if (result == ModeOk) {
        *WriteBack = wanted;
    }
    return result;
}
