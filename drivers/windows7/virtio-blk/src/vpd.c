/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Vital product data and the capacity's long form, built from what is known of the disk. Pure. */
#include "cdb.h"
#include "disk.h"

#define VPD_SUPPORTED 0x00
#define VPD_SERIAL 0x80
#define VPD_IDENTIFICATION 0x83
#define VPD_BLOCK_LIMITS 0xB0
#define VPD_CHARACTERISTICS 0xB1
#define VPD_PROVISIONING 0xB2

#define VPD_HEADER_BYTES 4
#define VPD_LIMITS_BYTES 64 /* pages B0 and B1 */
#define VPD_PROVISIONING_BYTES 8
#define VPD_DESIGNATOR_BYTES 4 /* in front of a designator */
#define VPD_NO_LIMIT 0xFFFFFFFF
#define VPD_GRANULARITY_VALID 0x80 /* UGAVALID */
#define VPD_NON_ROTATING 1
#define VPD_THIN 2

/* Code set ASCII; association: the logical unit. [SPC-3 7.6.3.1] */
#define DESIGNATOR_ASCII 2
#define DESIGNATOR_VENDOR_SPECIFIC 0
#define DESIGNATOR_T10_VENDOR_ID 1

/* In ascending order. */
static const UCHAR VpdPages[] = {VPD_SUPPORTED,    VPD_SERIAL,          VPD_IDENTIFICATION,
                                 VPD_BLOCK_LIMITS, VPD_CHARACTERISTICS, VPD_PROVISIONING};

C_ASSERT(VPD_HEADER_BYTES + sizeof(VpdPages) <= VPD_MAX && VPD_LIMITS_BYTES <= VPD_MAX);
C_ASSERT(VPD_HEADER_BYTES + VPD_DESIGNATOR_BYTES + sizeof(DISK_VENDOR DISK_PRODUCT) - 1 + DISK_SERIAL_MAX <= VPD_MAX);

static UCHAR DiskHexDigit(ULONG Value) {
    return (UCHAR) "0123456789ABCDEF"[Value & 0xF];
}

static ULONG DiskAppend(PUCHAR To, const CHAR *Text) {
    ULONG length = 0;

    while (Text[length] != 0) {
        To[length] = (UCHAR)Text[length];
        length++;
    }
    return length;
}

VOID DiskSetSerial(PVBLK_DISK Disk, const UCHAR *Id) {
    BOOLEAN text = TRUE;
    ULONG length = 0;
    ULONG i;

    while (length < DISK_SERIAL_BYTES && Id[length] != 0) {
        text = (BOOLEAN)(text && Id[length] >= 0x20 && Id[length] < 0x7F);
        length++;
    }
    while (length != 0 && Id[length - 1] == ' ') {
        length--;
    }
    for (i = 0; i < length; i++) {
        if (text) {
            Disk->Serial[i] = Id[i];
        } else {
            Disk->Serial[2 * i] = DiskHexDigit(Id[i] >> 4);
            Disk->Serial[2 * i + 1] = DiskHexDigit(Id[i]);
        }
    }
    Disk->SerialLength = (UCHAR)(text ? length : 2 * length);
}

BOOLEAN VpdNeedsSerial(UCHAR Page) {
    return (BOOLEAN)(Page == VPD_SERIAL || Page == VPD_IDENTIFICATION);
}

/* Blanks, where there is no serial number. [SPC-3 7.6.9] */
static ULONG VpdBuildSerial(const VBLK_DISK *Disk, PUCHAR Data) {
    ULONG i;

    for (i = 0; i < Disk->SerialLength; i++) {
        Data[i] = Disk->Serial[i];
    }
    for (; i < DISK_SERIAL_BYTES && Disk->SerialLength == 0; i++) {
        Data[i] = ' ';
    }
    return i;
}

/* "PCI 00:1F.0": no more than a place, but no two disks of a machine have the same one. */
static ULONG VpdAppendLocation(const VBLK_DISK *Disk, PUCHAR To) {
    ULONG device = Disk->PciSlot & 0x1F;
    ULONG length = DiskAppend(To, "PCI ");

    To[length++] = DiskHexDigit(Disk->PciBus >> 4);
    To[length++] = DiskHexDigit(Disk->PciBus);
    To[length++] = ':';
    To[length++] = DiskHexDigit(device >> 4);
    To[length++] = DiskHexDigit(device);
    To[length++] = '.';
    To[length++] = DiskHexDigit(Disk->PciSlot >> 5 & 0x7);
    return length;
}

/*
 * One designator. With a serial number it is T10 vendor ID based, and as unique as the serial number is. Without one it
 * is vendor specific, a type that promises no uniqueness beyond the machine, and names the place. [SPC-3 7.6.3]
 */
static ULONG VpdBuildIdentification(const VBLK_DISK *Disk, PUCHAR Data) {
    PUCHAR designator = Data + VPD_DESIGNATOR_BYTES;
    ULONG length = DiskAppend(designator, DISK_VENDOR DISK_PRODUCT);
    ULONG i;

    Data[0] = DESIGNATOR_ASCII;
    Data[1] = (UCHAR)(Disk->SerialLength != 0 ? DESIGNATOR_T10_VENDOR_ID : DESIGNATOR_VENDOR_SPECIFIC);
    if (Disk->SerialLength == 0) {
        length += VpdAppendLocation(Disk, designator + length);
    }
    for (i = 0; i < Disk->SerialLength; i++) {
        designator[length++] = Disk->Serial[i];
    }
    Data[3] = (UCHAR)length;
    return VPD_DESIGNATOR_BYTES + length;
}

/*
 * UNMAP and WRITE SAME are cut to what the device takes, so they have no limits of their own, but that a parameter
 * list has 16 bits of length. [SBC-3 6.6.3]
 */
static ULONG VpdBuildLimits(const VBLK_DISK *Disk, PUCHAR Page) {
    CdbPut16(Page + 6, Disk->PreferredMultiple);
    CdbPut32(Page + 8, Disk->MaxTransfer);
    CdbPut32(Page + 12, Disk->OptimalTransfer);
    if (Disk->Unmaps) {
        CdbPut32(Page + 20, VPD_NO_LIMIT);
        CdbPut32(Page + 24, UNMAP_DESCRIPTORS_MAX);
        CdbPut32(Page + 28, Disk->UnmapGranularity);
        Page[32] = VPD_GRANULARITY_VALID;
    }
    return VPD_LIMITS_BYTES - VPD_HEADER_BYTES;
}

/* What a block holds after UNMAP is not said, so LBPRZ is 0. [SBC-3 6.6.4] */
static ULONG VpdBuildProvisioning(const VBLK_DISK *Disk, PUCHAR Page) {
    Page[5] = (UCHAR)((Disk->Unmaps ? 0x80 : 0) | (Disk->Zeroes && Disk->ZeroesUnmap ? 0x40 : 0));
    Page[6] = (UCHAR)(DiskIsThin(Disk) ? VPD_THIN : 0);
    return VPD_PROVISIONING_BYTES - VPD_HEADER_BYTES;
}

ULONG VpdBuild(const VBLK_DISK *Disk, UCHAR Page, PUCHAR Data) {
    ULONG length = 0;

    RtlZeroMemory(Data, VPD_MAX);
    Data[1] = Page;
    switch (Page) {
    case VPD_SUPPORTED:
        RtlCopyMemory(Data + VPD_HEADER_BYTES, VpdPages, sizeof(VpdPages));
        length = sizeof(VpdPages);
        break;
    case VPD_SERIAL:
        length = VpdBuildSerial(Disk, Data + VPD_HEADER_BYTES);
        break;
    case VPD_IDENTIFICATION:
        length = VpdBuildIdentification(Disk, Data + VPD_HEADER_BYTES);
        break;
    case VPD_BLOCK_LIMITS:
        length = VpdBuildLimits(Disk, Data);
        break;
    case VPD_CHARACTERISTICS:
        CdbPut16(Data + 4, VPD_NON_ROTATING);
        length = VPD_LIMITS_BYTES - VPD_HEADER_BYTES;
        break;
    case VPD_PROVISIONING:
        length = VpdBuildProvisioning(Disk, Data);
        break;
    default:
        return 0;
    }
    CdbPut16(Data + 2, length);
    return VPD_HEADER_BYTES + length;
}

VOID DiskBuildCapacity16(const VBLK_DISK *Disk, ULONGLONG Blocks, PUCHAR Data) {
    RtlZeroMemory(Data, DISK_CAPACITY_16_BYTES);
    CdbPut64(Data, Blocks - 1);
    CdbPut32(Data + 8, 1ul << Disk->BlockShift);
    Data[13] = Disk->PhysicalExponent;
    CdbPut16(Data + 14, (DiskIsThin(Disk) ? 0x8000u : 0) | Disk->LowestAligned); /* LBPME; LBPRZ is 0 */
}
