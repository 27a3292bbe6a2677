/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A Request of several device requests: what the next one is, by stage, and what came of the last one. */
#include "steps.h"

/*
 * The area, behind the first three table entries: more of the table, or own data. Own data begin one entry into it, and
 * leave one entry's room behind them. Where a chain has two descriptors only (a queue of size 2), the header stands
 * right in front of data that the device reads, or the status byte right behind data that it writes. [virtio 2.6.4]
 */
#define OWN_DATA_AT sizeof(struct virtq_desc)
#define OWN_DATA_ENDS (2 * sizeof(struct virtq_desc))

/* The serial number is given up after so many failures: one may be chance, and each can cost a reset. */
#define SERIAL_FAILURES_MAX 2

C_ASSERT(sizeof(struct virtio_blk_req) <= OWN_DATA_AT);
C_ASSERT(VIRTIO_BLK_ID_BYTES == DISK_SERIAL_BYTES && VIRTIO_BLK_ID_BYTES <= VIRTIO_BLK_SECTOR_SIZE);

static FORCEINLINE PUCHAR VblkOwnData(PVBLK_REQUEST Request) {
    return (PUCHAR)(Request + 1) + OWN_DATA_AT;
}

/* Of the area. */
static FORCEINLINE ULONGLONG VblkAreaPhysical(const VBLK_REQUEST *Request) {
    return Request->TablePhysical + sizeof(Request->Wire.Table);
}

static FORCEINLINE ULONGLONG VblkWirePhysical(const VBLK_REQUEST *Request) {
    return Request->TablePhysical - FIELD_OFFSET(VBLK_WIRE, Table);
}

static FORCEINLINE ULONG VblkLeast(ULONGLONG A, ULONGLONG B) {
    return (ULONG)(A < B ? A : B);
}

/* Whether the device writes the data of such a request. */
static FORCEINLINE BOOLEAN VblkIsFromDevice(ULONG Type) {
    return (BOOLEAN)(Type == VIRTIO_BLK_T_IN || Type == VIRTIO_BLK_T_GET_ID);
}

static VOID VblkSetHeader(PVBLK_REQUEST Request, ULONG Type, ULONGLONG Sector) {
    Request->Wire.Header.type = Type;
    Request->Wire.Header.reserved = 0;
    Request->Wire.Header.sector = Sector;
    Request->Wire.Status = VBLK_STATUS_UNTOUCHED;
}

/* The table's first entry, and its last one behind Count data segments. */
static DECLSPEC_NOINLINE VOID VblkSetTableEnds(PVBLK_REQUEST Request, ULONG Count) {
    ULONGLONG wire = VblkWirePhysical(Request);

    VblkSetEntry(&Request->Wire.Table[0], wire + FIELD_OFFSET(VBLK_WIRE, Header), sizeof(Request->Wire.Header),
                 VIRTQ_DESC_F_NEXT, 1);
    VblkSetEntry(&Request->Wire.Table[Count + 1], wire + FIELD_OFFSET(VBLK_WIRE, Status), 1, VIRTQ_DESC_F_WRITE, 0);
    Request->TableCount = (USHORT)(Count + VBLK_TABLE_OVERHEAD);
}

/* Two descriptors: all that the device reads, all that it writes. */
static VOID VblkSetTwo(PVBLK_REQUEST Request, PVBLK_STEPS Steps, BOOLEAN FromDevice) {
    struct virtq_desc *table = Request->Wire.Table;
    PUCHAR data = VblkOwnData(Request);
    ULONGLONG physical = VblkAreaPhysical(Request) + OWN_DATA_AT;

    VblkSetTableEnds(Request, 0);
    if (FromDevice) {
        data[Steps->Payload] = VBLK_STATUS_UNTOUCHED;
        VblkSetEntry(&table[1], physical, Steps->Payload + 1, VIRTQ_DESC_F_WRITE, 0);
    } else {
        RtlCopyMemory(data - sizeof(Request->Wire.Header), &Request->Wire.Header, sizeof(Request->Wire.Header));
        VblkSetEntry(&table[0], physical - sizeof(Request->Wire.Header),
                     (ULONG)sizeof(Request->Wire.Header) + Steps->Payload, VIRTQ_DESC_F_NEXT, 1);
    }
}

/* A device request with Bytes of own data. */
static DECLSPEC_NOINLINE VOID VblkSetOwnData(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, ULONG Type, ULONGLONG Sector,
                                             ULONG Bytes) {
    PVBLK_STEPS steps = VblkStepsOf(Adapter, Request);
    BOOLEAN fromDevice = VblkIsFromDevice(Type);

    VblkSetHeader(Request, Type, Sector);
    steps->Payload = Bytes;
    if (Adapter->MaxSegments == 0) {
        VblkSetTwo(Request, steps, fromDevice);
        return;
    }
    VblkSetTableEnds(Request, 1);
    VblkSetEntry(&Request->Wire.Table[1], VblkAreaPhysical(Request) + OWN_DATA_AT, Bytes,
                 (USHORT)(VIRTQ_DESC_F_NEXT | (fromDevice ? VIRTQ_DESC_F_WRITE : 0)), 2);
}

UCHAR VblkStepStatus(const VBLK_ADAPTER *Adapter, PVBLK_REQUEST Request) {
    PVBLK_STEPS steps = VblkStepsOf(Adapter, Request);

    if (Adapter->MaxSegments == 0 && steps->Payload != 0 && VblkIsFromDevice(Request->Wire.Header.type)) {
        return *(volatile UCHAR *)(VblkOwnData(Request) + steps->Payload);
    }
    return *(volatile UCHAR *)&Request->Wire.Status;
}

/* Where the rest begins, in sectors. */
static ULONGLONG VblkRestSector(const VBLK_ADAPTER *Adapter, const VBLK_STEPS *Steps) {
    return (Steps->First + Steps->Done) * Adapter->BlockSectors;
}

static ULONG VblkOwnBlocks(const VBLK_ADAPTER *Adapter, const VBLK_STEPS *Steps) {
    ULONG room = VblkLeast(Adapter->AreaBytes - OWN_DATA_ENDS, Adapter->SegmentBytes) >> Adapter->BlockShift;

    return VblkLeast(Steps->Total - Steps->Done, room);
}

/* The SRB's buffer in system space, or NULL. StorPort has mapped it for all but reads and writes. */
static PUCHAR VblkMapData(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    PVOID data = NULL;

    if (Steps->Data == NULL && StorPortGetSystemAddress(Adapter, Request->Srb, &data) == STOR_STATUS_SUCCESS) {
        Steps->Data = (PUCHAR)data;
    }
    return Steps->Data;
}

/* ---- transfers ---- */

static VOID VblkAdvance(PVBLK_STEPS Steps, ULONG Bytes) {
    const STOR_SCATTER_GATHER_LIST *scatter = Steps->Scatter;
    ULONG rest;

    while (Bytes != 0 && Steps->Element < scatter->NumberOfElements) {
        rest = scatter->List[Steps->Element].Length - Steps->Offset;
        if (Bytes < rest) {
            Steps->Offset += Bytes;
            return;
        }
        Bytes -= rest;
        Steps->Element++;
        Steps->Offset = 0;
    }
}

/* Takes Bytes off the end of Count data segments; how many are left. */
static ULONG VblkTrim(struct virtq_desc *Table, ULONG Count, ULONG Bytes) {
    while (Bytes != 0 && Table[Count].len <= Bytes) {
        Bytes -= Table[Count].len;
        Count--;
    }
    if (Bytes != 0) {
        Table[Count].len -= Bytes;
    }
    return Count;
}

/*
 * Table entries from 1 on for what comes next of the scatter list, in whole blocks: as much as one device request
 * takes. Returns the segments; *Bytes is their length.
 */
static ULONG VblkCut(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, const VBLK_STEPS *Steps, USHORT Flags,
                     ULONG *Bytes) {
    const STOR_SCATTER_GATHER_LIST *scatter = Steps->Scatter;
    ULONG left = (ULONG)(Steps->Total - Steps->Done) << Adapter->BlockShift;
    struct virtq_desc *table = Request->Wire.Table;
    ULONG element = Steps->Element;
    ULONG offset = Steps->Offset;
    ULONG count = 0;
    ULONG bytes = 0;
    ULONG surplus;
    ULONG piece;

    while (count < Adapter->MaxSegments && bytes < left && element < scatter->NumberOfElements) {
        piece = VblkLeast(scatter->List[element].Length - offset, VblkLeast(Adapter->SegmentBytes, left - bytes));
        count++;
        VblkSetEntry(&table[count], (ULONGLONG)scatter->List[element].PhysicalAddress.QuadPart + offset, piece, Flags,
                     (USHORT)(count + 1));
        bytes += piece;
        offset += piece;
        if (offset == scatter->List[element].Length) {
            element++;
            offset = 0;
        }
    }
    surplus = bytes & ((1ul << Adapter->BlockShift) - 1);
    *Bytes = bytes - surplus;
    return VblkTrim(table, count, surplus);
}

/*
 * The next device request of a transfer. A block that lies in more pieces than one device request takes goes through
 * own data. Without an address to copy it from or to, the whole command is to be tried again.
 */
static VBLK_OUTCOME VblkBuildTransferStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    BOOLEAN writes = (BOOLEAN)(Request->Wire.Header.type == VIRTIO_BLK_T_OUT);
    ULONG bytes;
    ULONG count =
        VblkCut(Adapter, Request, Steps, (USHORT)(VIRTQ_DESC_F_NEXT | (writes ? 0 : VIRTQ_DESC_F_WRITE)), &bytes);

    if (count != 0) {
        VblkSetHeader(Request, Request->Wire.Header.type, VblkRestSector(Adapter, Steps));
        VblkSetTableEnds(Request, count);
        Steps->Payload = 0;
    } else {
        if (VblkMapData(Adapter, Request, Steps) == NULL) {
            return VblkOutcomeBusy;
        }
        bytes = 1ul << Adapter->BlockShift;
        VblkSetOwnData(Adapter, Request, Request->Wire.Header.type, VblkRestSector(Adapter, Steps), bytes);
        if (writes) {
            RtlCopyMemory(VblkOwnData(Request), Steps->Data + ((ULONG_PTR)Steps->Done << Adapter->BlockShift), bytes);
        }
    }
    Steps->Now = bytes >> Adapter->BlockShift;
    VblkAdvance(Steps, bytes);
    return VblkOutcomePending;
}

/* ---- the same block again and again; comparison ---- */

/*
 * Reads or writes as many blocks as a table takes, each in the area's last block: every segment is the same memory. What
 * is read is forgotten; what is written is the SRB's one block.
 */
static VBLK_OUTCOME VblkBuildRepeatedStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps, ULONG Type) {
    USHORT flags = (USHORT)(VIRTQ_DESC_F_NEXT | (VblkIsFromDevice(Type) ? VIRTQ_DESC_F_WRITE : 0));
    ULONG block = 1ul << Adapter->BlockShift;
    ULONG at = (Adapter->AreaBytes - block) & ~(ULONG)(sizeof(struct virtq_desc) - 1);
    ULONG count = VblkLeast(Adapter->MaxSegments, 1 + at / sizeof(struct virtq_desc));
    PUCHAR data = (PUCHAR)(Request + 1) + at;
    ULONG i;

    count = VblkLeast(count, Steps->Total - Steps->Done);
    if (count == 0) { /* no segment at all, so a chain of two descriptors */
        data = VblkOwnData(Request);
    }
    if (Type == VIRTIO_BLK_T_OUT) {
        RtlCopyMemory(data, Steps->Data, block);
    }
    if (count == 0) {
        VblkSetOwnData(Adapter, Request, Type, VblkRestSector(Adapter, Steps), block);
        Steps->Now = 1;
        return VblkOutcomePending;
    }
    VblkSetHeader(Request, Type, VblkRestSector(Adapter, Steps));
    for (i = 1; i <= count; i++) {
        VblkSetEntry(&Request->Wire.Table[i], VblkAreaPhysical(Request) + at, block, flags, (USHORT)(i + 1));
    }
    VblkSetTableEnds(Request, count);
    Steps->Payload = 0;
    Steps->Now = count;
    return VblkOutcomePending;
}

static VBLK_OUTCOME VblkBuildCompareStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    Steps->Now = VblkOwnBlocks(Adapter, Steps);
    VblkSetOwnData(Adapter, Request, VIRTIO_BLK_T_IN, VblkRestSector(Adapter, Steps),
                   Steps->Now << Adapter->BlockShift);
    return VblkOutcomePending;
}

static VBLK_OUTCOME VblkBuildSettleStep(PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    ULONG flags = Request->Flags;

    VblkMakeFlush(Request);
    Request->Flags = flags | VBLK_REQUEST_FLUSHES;
    Steps->Payload = 0;
    Steps->Now = 1;
    return VblkOutcomePending;
}

/* ---- taking blocks away ---- */

/*
 * As many ranges as the device takes, out of the parameter list. The list is its sender's memory and may have changed
 * since it was checked, so every range is checked again. Steps->Offset: what of a descriptor is done.
 */
static VBLK_OUTCOME VblkBuildDiscardStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    struct virtio_blk_discard_write_zeroes *range = (PVOID)VblkOwnData(Request);
    ULONG count = 0;
    ULONGLONG lba;
    ULONG blocks;
    ULONG piece;

    while (count < Adapter->MaxDiscardRanges && Steps->Done < Steps->Total) {
        UnmapGet(Steps->Data, (ULONG)Steps->Done, &lba, &blocks);
        if (blocks <= Steps->Offset) {
            Steps->Done++;
            Steps->Offset = 0;
            continue;
        }
        if (lba > Adapter->CapacityBlocks || blocks > Adapter->CapacityBlocks - lba) {
            return VblkOutcomeOutOfRange;
        }
        piece = VblkLeast(blocks - Steps->Offset, Adapter->MaxDiscardBlocks);
        range[count].sector = (lba + Steps->Offset) * Adapter->BlockSectors;
        range[count].num_sectors = piece * (ULONG)Adapter->BlockSectors;
        range[count].flags = 0;
        Steps->Offset += piece;
        count++;
    }
    if (count == 0) {
        return VblkOutcomeSuccess; /* nothing but empty descriptors was left */
    }
    Steps->Now = 0;
    VblkSetOwnData(Adapter, Request, VIRTIO_BLK_T_DISCARD, 0, count * (ULONG)sizeof(*range));
    return VblkOutcomePending;
}

static VBLK_OUTCOME VblkBuildZeroStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    struct virtio_blk_discard_write_zeroes *range = (PVOID)VblkOwnData(Request);

    Steps->Now = VblkLeast(Steps->Total - Steps->Done, Adapter->MaxZeroBlocks);
    range->sector = VblkRestSector(Adapter, Steps);
    range->num_sectors = Steps->Now * (ULONG)Adapter->BlockSectors;
    range->flags = Steps->Unmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    VblkSetOwnData(Adapter, Request, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(*range));
    return VblkOutcomePending;
}

/* ---- the serial number ---- */

static VBLK_OUTCOME VblkBuildIdentifyStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    Steps->Now = 0;
    Adapter->SerialAsked = TRUE;
    RtlZeroMemory(VblkOwnData(Request), VIRTIO_BLK_ID_BYTES);
    VblkSetOwnData(Adapter, Request, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES);
    return VblkOutcomePending;
}

/*
 * GET_ID came back. UNSUPP: the disk has no serial number. Any other failure is not the INQUIRY's, and the device is
 * asked again, but not for ever.
 */
static VBLK_OUTCOME VblkTakeSerial(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps, UCHAR Status) {
    if (!Adapter->SerialKnown) {
        if (Status == VIRTIO_BLK_S_OK) {
            DiskSetSerial(&Adapter->Disk, VblkOwnData(Request));
        } else if (Status != VIRTIO_BLK_S_UNSUPP && ++Adapter->SerialFailures < SERIAL_FAILURES_MAX) {
            return VblkBuildIdentifyStep(Adapter, Request, Steps);
        }
        Adapter->SerialKnown = TRUE;
    }
    return VblkScsiCommand(Adapter, Request->Srb);
}

VOID VblkLoseSerial(PVBLK_ADAPTER Adapter) {
    if (Adapter->SerialAsked && !Adapter->SerialKnown && ++Adapter->SerialFailures >= SERIAL_FAILURES_MAX) {
        Adapter->SerialKnown = TRUE;
    }
    Adapter->SerialAsked = FALSE;
}

/* ---- the sequence ---- */

/* Success: nothing is left of the stage. */
static VBLK_OUTCOME VblkBuildStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    if (Steps->Done >= Steps->Total) {
        return VblkOutcomeSuccess;
    }
    switch (Steps->Stage) {
    case VblkStageTransfer:
        return VblkBuildTransferStep(Adapter, Request, Steps);
    case VblkStageSettle:
        return VblkBuildSettleStep(Request, Steps);
    case VblkStageRead:
        return VblkBuildRepeatedStep(Adapter, Request, Steps, VIRTIO_BLK_T_IN);
    case VblkStageFill:
        return VblkBuildRepeatedStep(Adapter, Request, Steps, VIRTIO_BLK_T_OUT);
    case VblkStageCompare:
        return VblkBuildCompareStep(Adapter, Request, Steps);
    case VblkStageDiscard:
        return VblkBuildDiscardStep(Adapter, Request, Steps);
    case VblkStageZero:
        return VblkBuildZeroStep(Adapter, Request, Steps);
    default:
        return VblkBuildIdentifyStep(Adapter, Request, Steps);
    }
}

/* After a stage. Written data are settled first, then read: from the medium and not from a cache above it. */
static VOID VblkEnterNextStage(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    BOOLEAN written = (BOOLEAN)(Steps->Stage == VblkStageTransfer);

    Steps->Stage = Steps->Next;
    Steps->Total = Steps->Blocks;
    Steps->Done = 0;
    if (written && Adapter->Flush) {
        Steps->Stage = VblkStageSettle;
        Steps->Total = 1;
    } else {
        Steps->Next = VblkStageOver;
        Request->Flags &= ~(ULONG)(VBLK_REQUEST_WRITES | VBLK_REQUEST_FLUSHES | VBLK_REQUEST_FUA);
    }
}

VBLK_OUTCOME VblkFirstStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    PVBLK_STEPS steps = VblkStepsOf(Adapter, Request);
    VBLK_OUTCOME outcome = VblkBuildStep(Adapter, Request, steps);

    while (outcome == VblkOutcomeSuccess && steps->Next != VblkStageOver) {
        VblkEnterNextStage(Adapter, Request, steps);
        outcome = VblkBuildStep(Adapter, Request, steps);
    }
    return outcome;
}

/* What a device request that succeeded has brought. Pending: on with it. */
static VBLK_OUTCOME VblkTakeResult(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PVBLK_STEPS Steps) {
    PUCHAR data;

    if (Steps->Stage == VblkStageCompare) {
        data = Steps->Data + ((ULONG_PTR)Steps->Done << Adapter->BlockShift);
        if (!RtlEqualMemory(VblkOwnData(Request), data, Steps->Payload)) {
            return VblkOutcomeMiscompare;
        }
    } else if (Steps->Stage == VblkStageTransfer && Steps->Payload != 0 &&
               Request->Wire.Header.type == VIRTIO_BLK_T_IN) {
        data = Steps->Data + ((ULONG_PTR)Steps->Done << Adapter->BlockShift);
        RtlCopyMemory(data, VblkOwnData(Request), Steps->Payload);
    }
    Steps->Done += Steps->Now;
    return VblkOutcomePending;
}

VBLK_OUTCOME VblkNextStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, UCHAR Status) {
    PVBLK_STEPS steps = VblkStepsOf(Adapter, Request);
    VBLK_OUTCOME outcome;

    if (steps->Stage == VblkStageIdentify) {
        return VblkTakeSerial(Adapter, Request, steps, Status);
    }
    if (Status != VIRTIO_BLK_S_OK) {
        return VblkErrorOutcome(Request, Status);
    }
    outcome = VblkTakeResult(Adapter, Request, steps);
    return outcome == VblkOutcomePending ? VblkFirstStep(Adapter, Request) : outcome;
}

PVBLK_STEPS VblkPrepareSteps(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, VBLK_STAGE Stage, VBLK_STAGE Next) {
    PVBLK_STEPS steps = VblkStepsOf(Adapter, Request);
    ULONG bytes = FIELD_OFFSET(VBLK_WIRE, Table) + (ULONG)sizeof(Request->Wire.Table) + Adapter->AreaBytes;

    if (VblkLocateBytes(Adapter, Request, bytes) == 0) {
        return NULL;
    }
    RtlZeroMemory(steps, sizeof(*steps));
    steps->Stage = (UCHAR)Stage;
    steps->Next = (UCHAR)Next;
    Request->Kind = VblkKindDevice;
    Request->Outcome = VblkOutcomeSuccess;
    Request->Flags = VBLK_REQUEST_STEPS;
    return steps;
}

VBLK_OUTCOME VblkBeginTransfer(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PSTOR_SCATTER_GATHER_LIST Scatter) {
    ULONG flags = Request->Flags;
    PVBLK_STEPS steps = VblkPrepareSteps(Adapter, Request, VblkStageTransfer, VblkStageOver);

    if (steps == NULL) {
        return VblkOutcomeDeviceFault;
    }
    Request->Flags = flags | VBLK_REQUEST_STEPS;
    Request->Wire.Header.type = (flags & VBLK_REQUEST_WRITES) != 0 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
    steps->Scatter = Scatter;
    steps->Blocks = Request->Srb->DataTransferLength >> Adapter->BlockShift;
    steps->First = Request->Last + 1 - steps->Blocks; /* whatever it is where Last says that there is no such range */
    steps->Total = steps->Blocks;
    return VblkFirstStep(Adapter, Request);
}
