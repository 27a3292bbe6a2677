/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An SRB becomes a Request: HwBuildIo prepares it without a lock, HwStartIo sends it where it belongs. */
#include "cdb.h"
#include "steps.h"
#include "trace.h"

C_ASSERT(VBLK_REQUEST_WRITES == CDB_WRITE && VBLK_REQUEST_FLUSHES == CDB_SYNCHRONIZE && VBLK_REQUEST_FUA == CDB_FUA);

/* There is one logical unit, 0/0/0. */
static VBLK_OUTCOME VblkCheckAddress(PSCSI_REQUEST_BLOCK Srb) {
    if (Srb->PathId != 0) {
        return VblkOutcomeInvalidPath;
    }
    if (Srb->TargetId != 0) {
        return VblkOutcomeInvalidTarget;
    }
    if (Srb->Lun != 0) {
        return VblkOutcomeInvalidLun;
    }
    return VblkOutcomePending;
}

/* VblkCheckAddress in one comparison: path, target and unit are the upper three bytes of an aligned ULONG. */
static FORCEINLINE BOOLEAN VblkIsForDisk(const SCSI_REQUEST_BLOCK *Srb) {
    return (BOOLEAN)((*(const ULONG *)(const VOID *)&Srb->ScsiStatus & 0xFFFFFF00) == 0);
}

C_ASSERT(FIELD_OFFSET(SCSI_REQUEST_BLOCK, ScsiStatus) % sizeof(ULONG) == 0);
C_ASSERT(FIELD_OFFSET(SCSI_REQUEST_BLOCK, PathId) == FIELD_OFFSET(SCSI_REQUEST_BLOCK, ScsiStatus) + 1);
C_ASSERT(FIELD_OFFSET(SCSI_REQUEST_BLOCK, Lun) == FIELD_OFFSET(SCSI_REQUEST_BLOCK, ScsiStatus) + 3);

/*
 * Asks StorPort piece by piece whether Bytes of the Request from Wire on, which begin at Physical, are contiguous.
 * Returns Physical; 0: they are not.
 */
static DECLSPEC_NOINLINE ULONGLONG VblkFollow(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, ULONG Bytes,
                                              ULONGLONG Physical) {
    STOR_PHYSICAL_ADDRESS piece;
    ULONG offset = 0;
    ULONG length;

    while (offset < Bytes) {
        length = 0;
        piece = StorPortGetPhysicalAddress(Adapter, NULL, (PUCHAR)&Request->Wire + offset, &length);
        if ((ULONGLONG)piece.QuadPart != Physical + offset || length == 0) {
            return 0;
        }
        if (length >= Bytes - offset) {
            break;
        }
        offset += length;
    }
    return Physical;
}

ULONGLONG VblkLocateBytes(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, ULONG Bytes) {
    ULONG length = 0;
    STOR_PHYSICAL_ADDRESS physical = StorPortGetPhysicalAddress(Adapter, NULL, &Request->Wire, &length);

    Request->TablePhysical = (ULONGLONG)physical.QuadPart + FIELD_OFFSET(VBLK_WIRE, Table);
    return VblkFollow(Adapter, Request, Bytes, (ULONGLONG)physical.QuadPart);
}

/*
 * Finds out where the device sees the Request, whose table has Count entries, and makes it one for VblkSubmit.
 * Returns the physical address of Wire; 0: it has none, or none that is contiguous.
 */
static FORCEINLINE ULONGLONG VblkLocate(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, ULONG Count) {
    ULONG bytes = FIELD_OFFSET(VBLK_WIRE, Table) + Count * sizeof(struct virtq_desc);
    ULONG length;
    STOR_PHYSICAL_ADDRESS physical;

    Request->TableCount = (USHORT)Count;
    Request->Kind = VblkKindDevice;
    Request->Outcome = VblkOutcomeSuccess;
    physical = StorPortGetPhysicalAddress(Adapter, NULL, &Request->Wire, &length);
    Request->TablePhysical = (ULONGLONG)physical.QuadPart + FIELD_OFFSET(VBLK_WIRE, Table);
    return length >= bytes ? (ULONGLONG)physical.QuadPart
                           : VblkFollow(Adapter, Request, bytes, (ULONGLONG)physical.QuadPart);
}

/* The first entry, and the last one, which is at Last. */
static FORCEINLINE VOID VblkSetEnds(PVBLK_WIRE Wire, struct virtq_desc *Last, ULONGLONG Physical) {
    VblkSetEntry(&Wire->Table[0], Physical + FIELD_OFFSET(VBLK_WIRE, Header), sizeof(Wire->Header), VIRTQ_DESC_F_NEXT,
                 1);
    VblkSetEntry(Last, Physical + FIELD_OFFSET(VBLK_WIRE, Status), 1, VIRTQ_DESC_F_WRITE, 0);
}

/*
 * An element begins as a descriptor does, so both are copied at once. FlagsNext holds flags in its lower half and next
 * in its upper one.
 */
static FORCEINLINE VOID VblkSetDataEntry(struct virtq_desc *Entry, const STOR_SCATTER_GATHER_ELEMENT *Element,
                                         ULONG FlagsNext) {
    *Entry = *(const struct virtq_desc *)(const VOID *)Element;
    *(ULONG *)(PVOID)&Entry->flags = FlagsNext;
}

C_ASSERT(FIELD_OFFSET(STOR_SCATTER_GATHER_ELEMENT, PhysicalAddress) == FIELD_OFFSET(struct virtq_desc, addr));
C_ASSERT(FIELD_OFFSET(STOR_SCATTER_GATHER_ELEMENT, Length) == FIELD_OFFSET(struct virtq_desc, len));
C_ASSERT(sizeof(STOR_SCATTER_GATHER_ELEMENT) >= sizeof(struct virtq_desc));
C_ASSERT(FIELD_OFFSET(struct virtq_desc, flags) % sizeof(ULONG) == 0);

/* Two entries for two elements; FlagsNext is the first one's. */
static FORCEINLINE VOID VblkSetDataPair(struct virtq_desc *Entry, const STOR_SCATTER_GATHER_ELEMENT *Element,
                                        ULONG FlagsNext) {
    VblkSetDataEntry(&Entry[0], &Element[0], FlagsNext);
    VblkSetDataEntry(&Entry[1], &Element[1], FlagsNext + (1ul << 16));
}

/*
 * Table entries 1 to Count for Count elements, by four after what is left of that. Returns the entry behind them.
 * VblkSetDirection has left the flags of all of them in entry 1.
 */
static FORCEINLINE struct virtq_desc *VblkSetData(struct virtq_desc *Table, const STOR_SCATTER_GATHER_ELEMENT *Element,
                                                  ULONG Count) {
    struct virtq_desc *entry = Table + 1;
    struct virtq_desc *end = entry + Count;
    ULONG flagsNext = entry->flags | 2ul << 16;

    if ((Count & 1) != 0) {
        VblkSetDataEntry(entry++, Element++, flagsNext);
        flagsNext += 1ul << 16;
    }
    if ((Count & 2) != 0) {
        VblkSetDataPair(entry, Element, flagsNext);
        entry += 2;
        Element += 2;
        flagsNext += 2ul << 16;
    }
    while (entry != end) {
        VblkSetDataPair(entry, Element, flagsNext);
        VblkSetDataPair(entry + 2, Element + 2, flagsNext + (2ul << 16));
        entry += 4;
        Element += 4;
        flagsNext += 4ul << 16;
    }
    return end;
}

/* The table of any scatter list but those of one element. One with more than a device request takes is cut. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkBuildScattered(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request,
                                                         PSTOR_SCATTER_GATHER_LIST Scatter) {
    ULONG count = Scatter->NumberOfElements;
    struct virtq_desc *last;
    ULONGLONG physical;

    if (count - 1 >= Adapter->MaxSegments) { /* an empty list is among these */
        return count == 0 ? VblkOutcomeInvalidRequest : VblkBeginTransfer(Adapter, Request, Scatter);
    }
    last = VblkSetData(Request->Wire.Table, Scatter->List, count);
    physical = VblkLocate(Adapter, Request, count + VBLK_TABLE_OVERHEAD);
    if (physical == 0) {
        return VblkOutcomeDeviceFault;
    }
    VblkSetEnds(&Request->Wire, last, physical);
    return VblkOutcomePending;
}

/* Of Blocks from Lba on: the one whose existence says that all exist. None still has to begin inside. */
static FORCEINLINE ULONGLONG VblkLastBlock(ULONGLONG Lba, ULONG Blocks) {
    ULONGLONG last = Lba + (Blocks != 0 ? Blocks - 1 : 0);

    return last >= Lba ? last : ~0ull;
}

/*
 * A READ or WRITE that cannot go to the device as it stands. One whose length is not that of the SRB's buffer, or whose
 * data go the other way, is refused: the device would be told what nobody meant. (Windows' own drivers never send one.)
 * No blocks at all are no error. What is left is for a device that takes no element as it is.
 */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkBuildOddTransfer(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb,
                                                           PVBLK_REQUEST Request, ULONGLONG Lba, ULONG Blocks) {
    BOOLEAN writes = (BOOLEAN)((Request->Flags & VBLK_REQUEST_WRITES) != 0);
    PSTOR_SCATTER_GATHER_LIST scatter;

    if (writes && Adapter->ReadOnly) {
        return VblkOutcomeWriteProtected;
    }
    Request->Last = VblkLastBlock(Lba, Blocks);
    if (Blocks == 0) {
        Request->Kind = VblkKindNothing;
        return VblkOutcomePending;
    }
    if ((ULONGLONG)Blocks << Adapter->BlockShift != Srb->DataTransferLength) {
        return VblkOutcomeLengthMismatch;
    }
    if ((Srb->SrbFlags & (writes ? SRB_FLAGS_DATA_OUT : SRB_FLAGS_DATA_IN)) == 0) {
        return VblkOutcomeInvalidRequest;
    }
    scatter = StorPortGetScatterGatherList(Adapter, Srb);
    return scatter == NULL ? VblkOutcomeInvalidRequest : VblkBeginTransfer(Adapter, Request, scatter);
}

/* What depends on the direction: the header's type, and how a scatter list's first element is described. */
static FORCEINLINE VOID VblkSetDirection(PVBLK_WIRE Wire, ULONG Type, USHORT DataFlags) {
    Wire->Header.type = Type;
    Wire->Header.reserved = 0;
    Wire->Table[1].flags = DataFlags;
    Wire->Table[1].next = 2;
}

/*
 * READ or WRITE.
 * Forced unit access, for reads as for writes, means that the data are on the medium when the command ends: a flush
 * follows where the device has a volatile cache. [SBC-2 5.6, 5.25]
 */
static FORCEINLINE VBLK_OUTCOME VblkBuildTransfer(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, PVBLK_REQUEST Request,
                                                  ULONG Flags, ULONGLONG Lba, ULONG Blocks) {
    PSTOR_SCATTER_GATHER_LIST scatter;
    ULONGLONG physical;

    Request->Flags = Flags;
    if (Blocks == 0 || Blocks * Adapter->PlainBlockBytes != Srb->DataTransferLength) {
        return VblkBuildOddTransfer(Adapter, Srb, Request, Lba, Blocks);
    }
    Request->Last = VblkLastBlock(Lba, Blocks);
    Request->Wire.Header.sector = Lba * Adapter->BlockSectors;
    Request->Wire.Status = VBLK_STATUS_UNTOUCHED;
    if ((Flags & VBLK_REQUEST_WRITES) != 0) {
        VblkSetDirection(&Request->Wire, VIRTIO_BLK_T_OUT, VIRTQ_DESC_F_NEXT);
        if (Adapter->ReadOnly || (Srb->SrbFlags & SRB_FLAGS_DATA_OUT) == 0) {
            return VblkBuildOddTransfer(Adapter, Srb, Request, Lba, Blocks);
        }
    } else {
        VblkSetDirection(&Request->Wire, VIRTIO_BLK_T_IN, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE);
        if ((Srb->SrbFlags & SRB_FLAGS_DATA_IN) == 0) {
            return VblkBuildOddTransfer(Adapter, Srb, Request, Lba, Blocks);
        }
    }
    scatter = StorPortGetScatterGatherList(Adapter, Srb);
    if (scatter == NULL) {
        return VblkOutcomeInvalidRequest;
    }
    if (scatter->NumberOfElements != 1) {
        return VblkBuildScattered(Adapter, Request, scatter);
    }
    Request->Wire.Table[1].addr = (ULONGLONG)scatter->List[0].PhysicalAddress.QuadPart;
    Request->Wire.Table[1].len = scatter->List[0].Length;
    physical = VblkLocate(Adapter, Request, 1 + VBLK_TABLE_OVERHEAD);
    if (physical == 0) {
        return VblkOutcomeDeviceFault;
    }
    VblkSetEnds(&Request->Wire, &Request->Wire.Table[2], physical);
    return VblkOutcomePending;
}

VBLK_OUTCOME VblkPrepareFlush(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    if (!Adapter->Flush) {
        return VblkOutcomeSuccess;
    }
    if (VblkLocate(Adapter, Request, VBLK_TABLE_OVERHEAD) == 0) {
        return VblkOutcomeDeviceFault;
    }
    VblkMakeFlush(Request);
    return VblkOutcomePending;
}

/* SYNCHRONIZE CACHE. IMMED changes nothing but when its end is told, and it is told when it is true. [SBC-2 5.18] */
static VBLK_OUTCOME VblkBuildSynchronize(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    VBLK_OUTCOME outcome = VblkPrepareFlush(Adapter, Request);

    if (outcome == VblkOutcomeSuccess) {
        Request->Kind = VblkKindNothing;
        return VblkOutcomePending;
    }
    Request->Flags |= VBLK_REQUEST_NO_DATA;
    return outcome;
}

/* Any command. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkBuildCommand(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb,
                                                       PVBLK_REQUEST Request) {
    VBLK_OUTCOME outcome = VblkCheckAddress(Srb);
    ULONGLONG lba;
    ULONG blocks;
    ULONG decoded;

    if (outcome != VblkOutcomePending) {
        return outcome;
    }
    decoded = CdbDecode(Srb->Cdb, Srb->CdbLength, &lba, &blocks);
    switch (CDB_OPERATION(decoded)) {
    case CDB_READ:
    case CDB_WRITE:
        return VblkBuildTransfer(Adapter, Srb, Request, decoded, lba, blocks);
    case CDB_SYNCHRONIZE:
        Request->Last = VblkLastBlock(lba, blocks);
        return VblkBuildSynchronize(Adapter, Request);
    case CDB_OTHER:
        Request->Kind = VblkKindScsi;
        return VblkOutcomePending;
    default:
        return VblkOutcomeInvalidField;
    }
}

/*
 * Never completes an SRB: a dump port may call HwStartIo after HwBuildIo whatever this returns. [reference 6.2]
 * IRQL: DISPATCH. Locks: none.
 */
BOOLEAN NTAPI VblkHwBuildIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;
    PVBLK_REQUEST request;
    VBLK_OUTCOME outcome;

    if (Srb->Function != SRB_FUNCTION_EXECUTE_SCSI) {
        return TRUE;
    }
    request = VblkRequestOf(Srb);
    request->Srb = Srb;
    if (VblkIsForDisk(Srb) && CdbIsTransfer10(Srb->Cdb, Srb->CdbLength)) {
        outcome = VblkBuildTransfer(adapter, Srb, request, CdbHead(Srb->Cdb) & (CDB_WRITE | CDB_FUA),
                                    CdbGet32(Srb->Cdb + 2), CdbGet16(Srb->Cdb + 7));
    } else {
        outcome = VblkBuildCommand(adapter, Srb, request);
    }
    if (outcome != VblkOutcomePending) {
        request->Kind = VblkKindAnswered;
        request->Outcome = (UCHAR)outcome;
    }
    return TRUE;
}

/* What the state has to say about a request for the device. Pending: nothing. */
static VBLK_OUTCOME VblkGate(PVBLK_ADAPTER Adapter) {
    switch (Adapter->State) {
    case VblkRunning:
        return VblkOutcomePending;
    case VblkChanging:
    case VblkResetting:
    case VblkStopped:
        return VblkOutcomeBusy;
    default:
        return VblkOutcomeNoDevice;
    }
}

/* Commands that neither report nor clear a unit attention. [SPC-3 5.6, 6.4, 6.21] */
static BOOLEAN VblkIgnoresAttention(UCHAR Opcode) {
    return (BOOLEAN)(Opcode == CDB_INQUIRY || Opcode == CDB_REPORT_LUNS || Opcode == CDB_REQUEST_SENSE);
}

/* A command that may not be for the device, or may not get there now. Pending: the device has it. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkStartCommand(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_REQUEST request = VblkRequestOf(Srb);
    VBLK_OUTCOME outcome = VblkGate(Adapter);

    if (outcome != VblkOutcomePending) {
        return outcome;
    }
    if (!VblkIsForDisk(Srb)) {
        return (VBLK_OUTCOME)request->Outcome;
    }
    if (Adapter->UnitAttention && !VblkIgnoresAttention(Srb->Cdb[0])) {
        Adapter->UnitAttention = FALSE;
        VblkUpdateOpen(Adapter);
        return VblkOutcomeCapacityChanged;
    }
    switch (request->Kind) {
    case VblkKindAnswered:
        return (VBLK_OUTCOME)request->Outcome;
    case VblkKindScsi:
        outcome = VblkScsiCommand(Adapter, Srb);
        return outcome == VblkOutcomePending ? VblkSubmitChecked(Adapter, request) : outcome;
    default:
        return VblkSubmit(Adapter, request);
    }
}

/* SRB_FUNCTION_FLUSH and SHUTDOWN; HwBuildIo has left the Request alone. */
static VBLK_OUTCOME VblkStartFlush(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_REQUEST request = VblkRequestOf(Srb);
    VBLK_OUTCOME outcome = VblkGate(Adapter);

    if (outcome == VblkOutcomePending) {
        outcome = VblkCheckAddress(Srb);
    }
    if (outcome != VblkOutcomePending) {
        return outcome;
    }
    request->Srb = Srb;
    outcome = VblkPrepareFlush(Adapter, request);
    return outcome == VblkOutcomePending ? VblkSubmitChecked(Adapter, request) : outcome;
}

/* The disk cannot be ejected by itself, so every capability is absent. */
static VBLK_OUTCOME VblkQueryCapabilities(PSCSI_PNP_REQUEST_BLOCK Pnp) {
    PSTOR_DEVICE_CAPABILITIES capabilities = (PSTOR_DEVICE_CAPABILITIES)Pnp->DataBuffer;
    USHORT version;

    if (capabilities == NULL || Pnp->DataTransferLength < sizeof(*capabilities)) {
        return VblkOutcomeInvalidRequest;
    }
    version = capabilities->Version;
    RtlZeroMemory(capabilities, sizeof(*capabilities));
    capabilities->Version = version;
    return VblkOutcomeSuccess;
}

/* May come when HwFindAdapter never ran: the extension is zero then. [reference 5.2] */
static VBLK_OUTCOME VblkStartPnp(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PSCSI_PNP_REQUEST_BLOCK pnp = (PSCSI_PNP_REQUEST_BLOCK)Srb;
    BOOLEAN wholeAdapter = (BOOLEAN)((pnp->SrbPnPFlags & SRB_PNP_FLAGS_ADAPTER_REQUEST) != 0);
    VBLK_OUTCOME outcome;

    Adapter->PnpSrbCount++;
    if (!wholeAdapter) {
        outcome = VblkCheckAddress(Srb);
        if (outcome != VblkOutcomePending) {
            return outcome;
        }
    }
    switch (pnp->PnPAction) {
    case StorQueryCapabilities:
        return VblkQueryCapabilities(pnp);
    case StorStartDevice:
    case StorStopDevice: /* ScsiStopAdapter follows and does the work */
        if (wholeAdapter) {
            VblkExpectStop(Adapter, (BOOLEAN)(pnp->PnPAction == StorStopDevice));
        }
        return VblkOutcomeSuccess;
    case StorRemoveDevice:
    case StorSurpriseRemoval:
        return wholeAdapter ? VblkBeginRemove(Adapter, Srb, (BOOLEAN)(pnp->PnPAction == StorSurpriseRemoval))
                            : VblkOutcomeSuccess;
    default:
        return VblkOutcomeInvalidRequest;
    }
}

/* ScsiStopAdapter and ScsiRestartAdapter do the work. */
static VBLK_OUTCOME VblkStartPower(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PSCSI_POWER_REQUEST_BLOCK power = (PSCSI_POWER_REQUEST_BLOCK)Srb;
    VBLK_OUTCOME outcome = VblkOutcomePending;

    if ((power->SrbPowerFlags & SRB_POWER_FLAGS_ADAPTER_REQUEST) == 0) {
        outcome = VblkCheckAddress(Srb);
    } else {
        VblkExpectStop(Adapter, (BOOLEAN)(power->DevicePowerState != StorPowerDeviceD0));
    }
    return outcome == VblkOutcomePending ? VblkOutcomeSuccess : outcome;
}

/* A reset of the only logical unit, its target or its bus is one and the same thing: a reset of the device. */
static VBLK_OUTCOME VblkStartReset(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    if (Srb->PathId != 0) {
        return VblkOutcomeInvalidPath;
    }
    if (Srb->Function == SRB_FUNCTION_RESET_BUS) {
        Adapter->ResetBusSrbCount++;
    } else {
        if (Srb->TargetId != 0) {
            return VblkOutcomeInvalidTarget;
        }
        if (Srb->Function == SRB_FUNCTION_RESET_LOGICAL_UNIT && Srb->Lun != 0) {
            return VblkOutcomeInvalidLun;
        }
        Adapter->ResetDeviceSrbCount++;
    }
    return VblkBeginReset(Adapter, Srb);
}

/* Everything but SCSI commands. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkStartFunction(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    VblkTrace((VBLK_TRACE_REQUEST, "srb %p function %x\n", Srb, Srb->Function));
    switch (Srb->Function) {
    case SRB_FUNCTION_IO_CONTROL:
        return VblkIoControl(Adapter, Srb);
    case SRB_FUNCTION_FLUSH:
    case SRB_FUNCTION_SHUTDOWN:
        return VblkStartFlush(Adapter, Srb);
    case SRB_FUNCTION_RESET_LOGICAL_UNIT:
    case SRB_FUNCTION_RESET_DEVICE:
    case SRB_FUNCTION_RESET_BUS:
        return VblkStartReset(Adapter, Srb);
    case SRB_FUNCTION_PNP:
        return VblkStartPnp(Adapter, Srb);
    case SRB_FUNCTION_POWER:
        return VblkStartPower(Adapter, Srb);
    case SRB_FUNCTION_ABORT_COMMAND:
        Adapter->AbortSrbCount++;
        return VblkOutcomeInvalidRequest;
    default:
        return VblkOutcomeInvalidRequest;
    }
}

/* Any SRB. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkStartAny(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    return Srb->Function == SRB_FUNCTION_EXECUTE_SCSI ? VblkStartCommand(Adapter, Srb)
                                                      : VblkStartFunction(Adapter, Srb);
}

/* Most commands find nothing in their way and go straight to the device. IRQL: DISPATCH. Locks: StartIo, held. */
BOOLEAN NTAPI VblkHwStartIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;
    PVBLK_REQUEST request = VblkRequestOf(Srb);
    VBLK_OUTCOME outcome = VblkOutcomePending;

    VblkBeginExclusive(adapter);
    if (Srb->Function != SRB_FUNCTION_EXECUTE_SCSI || request->Kind != VblkKindDevice ||
        !VblkTrySubmit(adapter, request)) {
        outcome = VblkStartAny(adapter, Srb);
    }
    VblkEndExclusive(adapter);
    /* The last thing: another processor may stop the adapter as soon as nothing is outstanding. */
    if (outcome != VblkOutcomePending) {
        VblkFinish(adapter, Srb, outcome);
    }
    return TRUE;
}
