/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the disk says of itself and can be told to be: vital product data, mode pages, the lists that commands bring.
 *
 * Pure, as cdb.h is: VBLK_DISK is filled by whoever knows the device (limits.c, lifecycle.c, steps.c), and everything
 * here turns it into bytes, or bytes into decisions. Units are logical blocks.
 */
#ifndef AERO_VIRTIO_BLK_DISK_H
#define AERO_VIRTIO_BLK_DISK_H

#include "virtio_platform.h"

/* Vendor, product and revision: 8, 16 and 4 characters, padded with blanks. [SPC-3 6.4.2] */
#define DISK_VENDOR "AERO    "
#define DISK_PRODUCT "VIRTIO BLK      "
#define DISK_REVISION "1.0 "

/* The serial number as it came, 20 bytes, or in hexadecimal where it is no text. */
#define DISK_SERIAL_BYTES 20
#define DISK_SERIAL_MAX (2 * DISK_SERIAL_BYTES)

typedef struct _VBLK_DISK {
    ULONG BlockShift;         /* log2 of a block's bytes */
    ULONG MaxTransfer;        /* of one command */
    ULONG OptimalTransfer;    /* 0: not stated */
    ULONG UnmapGranularity;   /* at least 1 */
    USHORT PreferredMultiple; /* of transfers; 0: not stated */
    USHORT LowestAligned;     /* block that begins a physical block */
    UCHAR PhysicalExponent;   /* log2 of the blocks in a physical block */
    BOOLEAN ReadOnly;
    BOOLEAN WriteBack;           /* a volatile cache is in use */
    BOOLEAN DefaultWriteBack;    /* it was when the device was found */
    BOOLEAN WriteBackChangeable; /* and that can be changed */
    BOOLEAN Unmaps;              /* UNMAP is there */
    BOOLEAN Zeroes;              /* WRITE SAME of zeroes is there */
    BOOLEAN ZeroesUnmap;         /* and may take the blocks away */
    UCHAR SerialLength;          /* 0: the disk has no serial number */
    UCHAR Serial[DISK_SERIAL_MAX];
    ULONG PciBus;
    ULONG PciSlot; /* device number, function number above it from bit 5 on */
} VBLK_DISK, *PVBLK_DISK;

/* Blocks can be taken away by one command or another. [SBC-3 3.1, "logical block provisioning"] */
static __inline BOOLEAN DiskIsThin(const VBLK_DISK *Disk) {
    return (BOOLEAN)(Disk->Unmaps || (Disk->Zeroes && Disk->ZeroesUnmap));
}

/* Takes what GET_ID returned: up to 20 bytes, ended by NUL only where it is shorter; blanks behind it do not count. */
VOID DiskSetSerial(PVBLK_DISK Disk, const UCHAR *Id);

/* ---- vpd.c ---- */

#define VPD_MAX 96

/* Whether a page tells of the serial number. */
BOOLEAN VpdNeedsSerial(UCHAR Page);
/* The page, to VPD_MAX bytes of Data; its length, 0: there is no such page. [SPC-3 7.6; SBC-3 6.6] */
ULONG VpdBuild(const VBLK_DISK *Disk, UCHAR Page, PUCHAR Data);

/* The 32 bytes of READ CAPACITY(16). Blocks is not 0. [SBC-3 5.16.2] */
#define DISK_CAPACITY_16_BYTES 32
VOID DiskBuildCapacity16(const VBLK_DISK *Disk, ULONGLONG Blocks, PUCHAR Data);

/* ---- mode.c ---- */

#define MODE_DATA_MAX (8 + 8 + 20 + 12)

typedef enum _MODE_RESULT {
    ModeOk,
    ModeInvalidCdb,        /* INVALID FIELD IN CDB */
    ModeSavingUnsupported, /* SAVING PARAMETERS NOT SUPPORTED */
    ModeInvalidList,       /* INVALID FIELD IN PARAMETER LIST */
    ModeListLength         /* PARAMETER LIST LENGTH ERROR */
} MODE_RESULT;

/* Either MODE SENSE, to MODE_DATA_MAX bytes of Data. [SPC-3 6.9, 6.10] */
MODE_RESULT ModeSense(const VBLK_DISK *Disk, const UCHAR *Cdb, ULONGLONG Blocks, PUCHAR Data, ULONG *Length);

/*
 * Either MODE SELECT, whose list has Length bytes. Everything is checked before anything is accepted: *WriteBack is
 * written only with ModeOk, and is then what the disk has to become. [SPC-3 6.7, 6.8]
 */
MODE_RESULT ModeSelect(const VBLK_DISK *Disk, const UCHAR *Cdb, ULONGLONG Blocks, const UCHAR *List, ULONG Length,
                       BOOLEAN *WriteBack);

/* ---- unmap.c ---- */

typedef enum _UNMAP_RESULT {
    UnmapOk,
    UnmapListLength, /* PARAMETER LIST LENGTH ERROR */
    UnmapOutOfRange
} UNMAP_RESULT;

/* As many as a list has room for whose length has 16 bits. */
#define UNMAP_HEADER_BYTES 8
#define UNMAP_DESCRIPTOR_BYTES 16
#define UNMAP_DESCRIPTORS_MAX ((0xFFFF - UNMAP_HEADER_BYTES) / UNMAP_DESCRIPTOR_BYTES)

/* A parameter list of Length bytes for a disk of so many Blocks; *Count: its descriptors. [SBC-3 5.28.2] */
UNMAP_RESULT UnmapCheck(const UCHAR *List, ULONG Length, ULONGLONG Blocks, ULONG *Count);
/* Descriptor Index of a list that has so many. */
VOID UnmapGet(const UCHAR *List, ULONG Index, ULONGLONG *Lba, ULONG *Blocks);

#endif
