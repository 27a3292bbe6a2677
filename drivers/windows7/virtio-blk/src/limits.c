/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the device offers becomes what we take of it: features, and every configuration field, by these rules.
 *
 *   VERSION_1       without it the device is not ours.
 *   BLK_SIZE        blk_size other than 512, 1024, 2048 or 4096: the disk is driven in sectors, and TOPOLOGY, which
 *                   counts in blocks, is not taken.
 *   SEG_MAX         0 is taken for 1, as one segment is the least that moves data. Without it only the queue limits.
 *   SIZE_MAX        taken if one segment can hold a block.
 *   queue size      a power of two from 2 on, used up to VIRTQUEUE_MAX_SIZE. A chain is never longer than the queue,
 *                   indirect or not. [virtio 2.7.5.3.1]
 *   TOPOLOGY        a physical block that READ CAPACITY(16) cannot express, or that is larger than the largest
 *                   transfer, is taken for one logical block; so is an alignment beyond it for none.
 *   CONFIG_WCE      taken together with FLUSH only: a cache that cannot be flushed is no use.
 *   DISCARD         taken if one request can take one range of one block away. discard_sector_alignment is a hint.
 *   WRITE_ZEROES    taken likewise.
 *   VIRTIO_BLK_F_*  that are not here, and fields that the configuration is too short for: not taken.
 *
 * A dump image has little memory and one request at a time: the queue is used up to VBLK_DUMP_QUEUE_SIZE, and a request
 * has as many segments as a transfer of VBLK_MIN_BREAKS can need.
 */
#include "aero_virtio_blk.h"

#define WANTED_FEATURES                                                                                                \
    (VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |                                     \
     VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIRTIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) |                                   \
     VIRTIO_FEATURE(VIRTIO_F_ORDER_PLATFORM) | VIRTIO_FEATURE(VIRTIO_BLK_F_SIZE_MAX) |                                 \
     VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_FEATURE(VIRTIO_BLK_F_RO) | VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) |  \
     VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH) | VIRTIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY) |                                      \
     VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE) | VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD) |                                  \
     VIRTIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES))

/* Blocks that Windows 7 can use. */
#define BLOCK_SHIFT_MAX 12
#define PHYSICAL_EXPONENT_MAX 15

/* A request for less than this many sectors is a fragment that no host can take away. */
#define UNMAP_SECTORS_MIN 8

/* In front of own data there is room for a header, behind it for a status byte: see steps.c. */
#define AREA_ENDS (2 * sizeof(struct virtq_desc))

#define FIELD_AT(Field) ((ULONG)offsetof(struct virtio_blk_config, Field))

static DECLSPEC_NOINLINE BOOLEAN VblkReadField(PVBLK_ADAPTER Adapter, ULONG Offset, PVOID Field, ULONG Length) {
    return VirtioPciReadConfig(&Adapter->Pci, Offset, Field, Length);
}

static VOID VblkDecline(PVBLK_ADAPTER Adapter, ULONG Bit) {
    Adapter->Features &= ~VIRTIO_FEATURE(Bit);
}

static ULONG VblkLesser(ULONG A, ULONG B) {
    return A < B ? A : B;
}

static BOOLEAN VblkReadBlockSize(PVBLK_ADAPTER Adapter) {
    le32 bytes = VIRTIO_BLK_SECTOR_SIZE;
    ULONG shift = VBLK_SECTOR_SHIFT;

    if (VblkHasFeature(Adapter, VIRTIO_BLK_F_BLK_SIZE) &&
        !VblkReadField(Adapter, FIELD_AT(blk_size), &bytes, sizeof(bytes))) {
        return FALSE;
    }
    while (shift <= BLOCK_SHIFT_MAX && bytes != 1ul << shift) {
        shift++;
    }
    if (shift > BLOCK_SHIFT_MAX) {
        shift = VBLK_SECTOR_SHIFT;
        VblkDecline(Adapter, VIRTIO_BLK_F_TOPOLOGY);
    }
    Adapter->BlockShift = shift;
    Adapter->BlockSectors = 1ull << (shift - VBLK_SECTOR_SHIFT);
    Adapter->Disk.BlockShift = shift;
    return TRUE;
}

/* Breaks: so many, and one more on the other reading of NumberOfPhysicalBreaks, fit a table that is not cut. */
static BOOLEAN VblkReadSegments(PVBLK_ADAPTER Adapter) {
    ULONG segments = Adapter->QueueSize - VBLK_TABLE_OVERHEAD;
    le32 limit = 0;
    le32 bytes = 0;

    if (VblkHasFeature(Adapter, VIRTIO_BLK_F_SEG_MAX)) {
        if (!VblkReadField(Adapter, FIELD_AT(seg_max), &limit, sizeof(limit))) {
            return FALSE;
        }
        segments = VblkLesser(segments, limit != 0 ? limit : 1);
    }
    segments = VblkLesser(segments, Adapter->Dump ? VBLK_MIN_BREAKS + 1 : VBLK_MAX_SEGMENTS);
    Adapter->MaxSegments = segments;
    Adapter->Breaks = segments > VBLK_MIN_BREAKS ? segments - 1 : VBLK_MIN_BREAKS;

    Adapter->SegmentBytes = 0xFFFFFFFF;
    if (VblkHasFeature(Adapter, VIRTIO_BLK_F_SIZE_MAX)) {
        if (VblkReadField(Adapter, FIELD_AT(size_max), &bytes, sizeof(bytes)) && bytes >> Adapter->BlockShift != 0) {
            Adapter->SegmentBytes = bytes;
        } else {
            VblkDecline(Adapter, VIRTIO_BLK_F_SIZE_MAX);
        }
    }
    Adapter->PlainBlockBytes = 1ull << Adapter->BlockShift;
    if (segments == 0 || Adapter->SegmentBytes < VBLK_TRANSFER_BYTES(Adapter->Breaks)) {
        Adapter->PlainBlockBytes = 0;
    }
    return TRUE;
}

/* Room for the table of the longest list, or for a block of own data. */
static VOID VblkSizeArea(PVBLK_ADAPTER Adapter) {
    ULONG table = Adapter->MaxSegments < 2 ? 0 : (Adapter->MaxSegments - 1) * (ULONG)sizeof(struct virtq_desc);
    ULONG data = (1ul << Adapter->BlockShift) + (ULONG)AREA_ENDS;

    Adapter->AreaBytes = table > data ? table : data;
}

static VOID VblkReadTopology(PVBLK_ADAPTER Adapter) {
    PVBLK_DISK disk = &Adapter->Disk;
    u8 exponent;
    u8 alignment;
    le16 minimum;
    le32 optimal;

    disk->MaxTransfer = (ULONG)VBLK_TRANSFER_BYTES(Adapter->Breaks) >> Adapter->BlockShift;
    if (!VblkHasFeature(Adapter, VIRTIO_BLK_F_TOPOLOGY)) {
        return;
    }
    if (!VblkReadField(Adapter, FIELD_AT(topology.physical_block_exp), &exponent, sizeof(exponent)) ||
        !VblkReadField(Adapter, FIELD_AT(topology.alignment_offset), &alignment, sizeof(alignment)) ||
        !VblkReadField(Adapter, FIELD_AT(topology.min_io_size), &minimum, sizeof(minimum)) ||
        !VblkReadField(Adapter, FIELD_AT(topology.opt_io_size), &optimal, sizeof(optimal))) {
        VblkDecline(Adapter, VIRTIO_BLK_F_TOPOLOGY);
        return;
    }
    if (exponent <= PHYSICAL_EXPONENT_MAX && 1ul << exponent <= disk->MaxTransfer) {
        disk->PhysicalExponent = exponent;
        disk->LowestAligned = (USHORT)(alignment < 1ul << exponent ? alignment : 0);
    }
    disk->PreferredMultiple = (USHORT)(minimum <= disk->MaxTransfer ? minimum : 0);
    disk->OptimalTransfer = VblkLesser(optimal, disk->MaxTransfer);
}

/* Limits of T_DISCARD. Where a range is cut, it is cut where the device likes it. */
static VOID VblkReadDiscard(PVBLK_ADAPTER Adapter) {
    PVBLK_DISK disk = &Adapter->Disk;
    le32 limit[3] = {0, 0, 0}; /* max_discard_sectors, max_discard_seg, discard_sector_alignment */
    ULONG sectors = (ULONG)Adapter->BlockSectors;
    ULONG granularity;

    disk->UnmapGranularity = 1;
    if (!VblkHasFeature(Adapter, VIRTIO_BLK_F_DISCARD)) {
        return;
    }
    if (!VblkReadField(Adapter, FIELD_AT(max_discard_sectors), limit, sizeof(limit)) || limit[0] < sectors ||
        limit[1] == 0) {
        VblkDecline(Adapter, VIRTIO_BLK_F_DISCARD);
        return;
    }
    granularity = limit[2] > UNMAP_SECTORS_MIN ? limit[2] : UNMAP_SECTORS_MIN;
    granularity = (granularity - 1) / sectors + 1;
    disk->Unmaps = TRUE;
    disk->UnmapGranularity = granularity;
    Adapter->MaxDiscardBlocks = limit[0] / sectors;
    if (Adapter->MaxDiscardBlocks > granularity) {
        Adapter->MaxDiscardBlocks -= Adapter->MaxDiscardBlocks % granularity;
    }
    Adapter->MaxDiscardRanges =
        VblkLesser(limit[1], VblkLesser(Adapter->AreaBytes - (ULONG)AREA_ENDS, Adapter->SegmentBytes) /
                                 (ULONG)sizeof(struct virtio_blk_discard_write_zeroes));
}

static VOID VblkReadZeroes(PVBLK_ADAPTER Adapter) {
    le32 limit[2] = {0, 0}; /* max_write_zeroes_sectors, max_write_zeroes_seg */
    u8 mayUnmap = 0;

    if (!VblkHasFeature(Adapter, VIRTIO_BLK_F_WRITE_ZEROES)) {
        return;
    }
    if (!VblkReadField(Adapter, FIELD_AT(max_write_zeroes_sectors), limit, sizeof(limit)) ||
        !VblkReadField(Adapter, FIELD_AT(write_zeroes_may_unmap), &mayUnmap, sizeof(mayUnmap)) ||
        limit[0] < Adapter->BlockSectors || limit[1] == 0) {
        VblkDecline(Adapter, VIRTIO_BLK_F_WRITE_ZEROES);
        return;
    }
    Adapter->Disk.Zeroes = TRUE;
    Adapter->Disk.ZeroesUnmap = (BOOLEAN)(mayUnmap != 0);
    Adapter->MaxZeroBlocks = limit[0] / (ULONG)Adapter->BlockSectors;
}

VBLK_REASON VblkReadLimits(PVBLK_ADAPTER Adapter) {
    PVIRTIO_PCI pci = &Adapter->Pci;
    ULONG size;

    Adapter->Features = VirtioPciOfferedFeatures(pci) & WANTED_FEATURES;
    if (!VblkHasFeature(Adapter, VIRTIO_F_VERSION_1)) {
        return VblkReasonNotModern;
    }
    size = VirtioPciQueueCount(pci) == 0 ? 0 : VirtioPciQueueSize(pci, 0);
    if (size == 0) {
        return VblkReasonQueue;
    }
    if (size < VBLK_TABLE_OVERHEAD) {
        return VblkReasonSegments;
    }
    Adapter->QueueSize = (USHORT)VblkLesser(size, Adapter->Dump ? VBLK_DUMP_QUEUE_SIZE : VIRTQUEUE_MAX_SIZE);
    if (!VblkReadBlockSize(Adapter) || !VblkReadSegments(Adapter)) {
        return VblkReasonConfigUnreadable;
    }
    VblkSizeArea(Adapter);
    VblkReadTopology(Adapter);
    VblkReadDiscard(Adapter);
    VblkReadZeroes(Adapter);

    Adapter->Flush = VblkHasFeature(Adapter, VIRTIO_BLK_F_FLUSH);
    if (!Adapter->Flush) {
        VblkDecline(Adapter, VIRTIO_BLK_F_CONFIG_WCE);
    }
    Adapter->ReadOnly = VblkHasFeature(Adapter, VIRTIO_BLK_F_RO);
    Adapter->Disk.ReadOnly = Adapter->ReadOnly;
    Adapter->Disk.WriteBackChangeable = VblkHasFeature(Adapter, VIRTIO_BLK_F_CONFIG_WCE);
    return VblkReasonNone;
}
