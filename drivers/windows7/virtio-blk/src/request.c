/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An SRB becomes a Request: HwBuildIo prepares it without a lock, HwStartIo sends it where it belongs. */
#include "aero_virtio_blk.h"
#include "cdb.h"
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

/* Whether Bytes of the Request from Wire on are physically contiguous, piece by piece as StorPort tells them. */
static DECLSPEC_NOINLINE BOOLEAN VblkIsContiguous(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, ULONG Bytes) {
    ULONGLONG wire = Request->TablePhysical - FIELD_OFFSET(VBLK_WIRE, Table);
    STOR_PHYSICAL_ADDRESS piece;
    ULONG offset = 0;
    ULONG length;

    while (offset < Bytes) {
        length = 0;
        piece = StorPortGetPhysicalAddress(Adapter, NULL, (PUCHAR)&Request->Wire + offset, &length);
        if ((ULONGLONG)piece.QuadPart != wire + offset || length == 0) {
            return FALSE;
        }
        if (length >= Bytes - offset) {
            return TRUE;
        }
        offset += length;
    }
    return TRUE;
}

/* Finds out where the device sees the Request; its table has Count entries. */
FORCEINLINE BOOLEAN VblkLocate(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, ULONG Count) {
    ULONG bytes = FIELD_OFFSET(VBLK_WIRE, Table) + Count * sizeof(struct virtq_desc);
    ULONG length;
    STOR_PHYSICAL_ADDRESS physical;

    Request->TableCount = (USHORT)Count;
    physical = StorPortGetPhysicalAddress(Adapter, NULL, &Request->Wire, &length);
    Request->TablePhysical = (ULONGLONG)physical.QuadPart + FIELD_OFFSET(VBLK_WIRE, Table);
    return (BOOLEAN)(physical.QuadPart != 0 && (length >= bytes || VblkIsContiguous(Adapter, Request, bytes)));
}

FORCEINLINE VOID VblkSetEntry(struct virtq_desc *Entry, ULONGLONG Address, ULONG Length, USHORT Flags, USHORT Next) {
    Entry->addr = Address;
    Entry->len = Length;
    Entry->flags = Flags;
    Entry->next = Next;
}

/* Entry in three stores: FlagsNext holds flags in its lower half and next in its upper one. */
FORCEINLINE VOID VblkSetDataEntry(struct virtq_desc *Entry, const STOR_SCATTER_GATHER_ELEMENT *Element,
                                  ULONG FlagsNext) {
    Entry->addr = (ULONGLONG)Element->PhysicalAddress.QuadPart;
    Entry->len = Element->Length;
    *(ULONG *)(PVOID)&Entry->flags = FlagsNext;
}

C_ASSERT(FIELD_OFFSET(struct virtq_desc, flags) % sizeof(ULONG) == 0);

/* Table entries 2 to Count for scatter elements 1 to Count - 1, two at a time as long as there are two. */
static DECLSPEC_NOINLINE VOID VblkFillRest(struct virtq_desc *Table, const STOR_SCATTER_GATHER_ELEMENT *Element,
                                           ULONG Count, USHORT Flags) {
    struct virtq_desc *entry = Table + 2;
    struct virtq_desc *end = Table + Count + 1;
    ULONG flagsNext = Flags | 3ul << 16;

    if (Count % 2 == 0) {
        VblkSetDataEntry(entry++, ++Element, flagsNext);
        flagsNext += 1ul << 16;
    }
    while (entry != end) {
        VblkSetDataEntry(&entry[0], &Element[1], flagsNext);
        VblkSetDataEntry(&entry[1], &Element[2], flagsNext + (1ul << 16));
        entry += 2;
        Element += 2;
        flagsNext += 2ul << 16;
    }
}

/* The descriptor table: header, the scatter list, status. Most lists have one element. */
FORCEINLINE VOID VblkFillTable(PVBLK_REQUEST Request, const STOR_SCATTER_GATHER_LIST *Scatter, USHORT DataFlags) {
    ULONGLONG wire = Request->TablePhysical - FIELD_OFFSET(VBLK_WIRE, Table);
    const STOR_SCATTER_GATHER_ELEMENT *element = Scatter->List;
    struct virtq_desc *table = Request->Wire.Table;
    ULONG count = Scatter->NumberOfElements;

    VblkSetEntry(&table[0], wire + FIELD_OFFSET(VBLK_WIRE, Header), sizeof(struct virtio_blk_req), VIRTQ_DESC_F_NEXT,
                 1);
    VblkSetEntry(&table[1], (ULONGLONG)element->PhysicalAddress.QuadPart, element->Length, DataFlags, 2);
    VblkSetEntry(&table[count + 1], wire + FIELD_OFFSET(VBLK_WIRE, Status), 1, VIRTQ_DESC_F_WRITE, 0);
    if (count != 1) {
        VblkFillRest(table, element, count, DataFlags);
    }
}

/*
 * A READ or WRITE whose length is not that of the SRB's buffer. None at all is no error. Anything else is refused: the
 * device would be told lengths that nobody meant. (Windows' own drivers never send one.)
 */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkBuildOddLength(PSCSI_REQUEST_BLOCK Srb, PVBLK_REQUEST Request) {
    if (Request->Blocks != 0) {
        return VblkOutcomeLengthMismatch;
    }
    Srb->DataTransferLength = 0;
    Request->TableCount = 0;
    return VblkOutcomePending;
}

/*
 * READ or WRITE.
 * Forced unit access, for reads as for writes, means that the data are on the medium when the command ends: a flush
 * follows where the device has a volatile cache. [SBC-2 5.6, 5.25]
 */
FORCEINLINE VBLK_OUTCOME VblkBuildTransfer(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, PVBLK_REQUEST Request,
                                           ULONG Flags) {
    ULONG write = Flags & VBLK_REQUEST_WRITES;
    PSTOR_SCATTER_GATHER_LIST scatter;

    if (write && Adapter->ReadOnly) {
        return VblkOutcomeWriteProtected;
    }
    if (((ULONGLONG)Request->Blocks << Adapter->BlockShift) != Srb->DataTransferLength || Request->Blocks == 0) {
        return VblkBuildOddLength(Srb, Request);
    }
    if ((Srb->SrbFlags & (write ? SRB_FLAGS_DATA_OUT : SRB_FLAGS_DATA_IN)) == 0) {
        return VblkOutcomeInvalidRequest;
    }
    scatter = StorPortGetScatterGatherList(Adapter, Srb);
    if (scatter == NULL || scatter->NumberOfElements - 1 >= Adapter->MaxSegments) {
        return VblkOutcomeInvalidRequest; /* an empty list is among these */
    }
    if (!VblkLocate(Adapter, Request, scatter->NumberOfElements + VBLK_TABLE_OVERHEAD)) {
        return VblkOutcomeDeviceFault;
    }
    Request->Flags = (UCHAR)Flags;
    Request->Wire.Header.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
    Request->Wire.Header.reserved = 0;
    Request->Wire.Header.sector = Request->Lba << (Adapter->BlockShift - VBLK_SECTOR_SHIFT);
    Request->Wire.Status = VBLK_STATUS_UNTOUCHED;
    VblkFillTable(Request, scatter, write ? VIRTQ_DESC_F_NEXT : VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE);
    return VblkOutcomePending;
}

/* A flush, or, without a volatile cache in the device, nothing that the device would have to do. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkBuildFlush(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    Request->TableCount = 0;
    if (Adapter->Flush) {
        if (!VblkLocate(Adapter, Request, VBLK_TABLE_OVERHEAD)) {
            return VblkOutcomeDeviceFault;
        }
        VblkMakeFlush(Request);
    }
    return VblkOutcomePending;
}

/* Commands that are neither READ nor WRITE. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkBuildOther(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, ULONG Operation) {
    switch (Operation) {
    case CDB_SYNCHRONIZE:
        return VblkBuildFlush(Adapter, Request);
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
    ULONG decoded;

    if (Srb->Function != SRB_FUNCTION_EXECUTE_SCSI) {
        return TRUE;
    }
    request = VblkRequestOf(Srb);
    request->Srb = Srb;
    request->Kind = VblkKindDevice;
    decoded = CdbDecode(Srb->Cdb, Srb->CdbLength, &request->Lba, &request->Blocks);
    if ((Srb->PathId | Srb->TargetId | Srb->Lun) != 0) {
        outcome = VblkCheckAddress(Srb);
    } else if (CDB_OPERATION(decoded) <= CDB_WRITE) {
        outcome = VblkBuildTransfer(adapter, Srb, request, decoded);
    } else {
        outcome = VblkBuildOther(adapter, request, decoded);
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
    case VblkStarting:
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

/* A command that may not be for the device, or may not get there now. Pending: it is, and may. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkAnswerCommand(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_REQUEST request = VblkRequestOf(Srb);
    VBLK_OUTCOME outcome = VblkGate(Adapter);

    if (outcome != VblkOutcomePending) {
        return outcome;
    }
    if (request->Kind == VblkKindAnswered) {
        return (VBLK_OUTCOME)request->Outcome;
    }
    if (request->Kind == VblkKindScsi && VblkSharesMessage(Adapter)) {
        VblkLookAtConfig(Adapter);
    }
    if (Adapter->UnitAttention && !VblkIgnoresAttention(Srb->Cdb[0])) {
        Adapter->UnitAttention = FALSE;
        return VblkOutcomeCapacityChanged;
    }
    return request->Kind == VblkKindScsi ? VblkScsiCommand(Adapter, Srb) : VblkOutcomePending;
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
    outcome = VblkBuildFlush(Adapter, request);
    if (outcome != VblkOutcomePending) {
        return outcome;
    }
    return request->TableCount == 0 ? VblkOutcomeSuccess : VblkSubmitFlush(Adapter, request);
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
        return VblkOutcomeSuccess;
    case StorRemoveDevice:
    case StorSurpriseRemoval:
        if (wholeAdapter) {
            VblkRemove(Adapter, (BOOLEAN)(pnp->PnPAction == StorSurpriseRemoval));
        }
        return VblkOutcomeSuccess;
    default:
        return VblkOutcomeInvalidRequest;
    }
}

/* Nothing is to be done in either direction: ScsiStopAdapter and ScsiRestartAdapter do it. */
static VBLK_OUTCOME VblkStartPower(PSCSI_REQUEST_BLOCK Srb) {
    PSCSI_POWER_REQUEST_BLOCK power = (PSCSI_POWER_REQUEST_BLOCK)Srb;
    VBLK_OUTCOME outcome = VblkOutcomePending;

    if ((power->SrbPowerFlags & SRB_POWER_FLAGS_ADAPTER_REQUEST) == 0) {
        outcome = VblkCheckAddress(Srb);
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
        return VblkStartPower(Srb);
    case SRB_FUNCTION_ABORT_COMMAND:
        Adapter->AbortSrbCount++;
        return VblkOutcomeInvalidRequest;
    default:
        return VblkOutcomeInvalidRequest;
    }
}

/* Most commands find nothing in their way and go straight to the device. IRQL: DISPATCH. Locks: StartIo, held. */
BOOLEAN NTAPI VblkHwStartIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;
    VBLK_OUTCOME outcome = VblkOutcomePending;

    VblkAssertState(adapter);
    if (Srb->Function != SRB_FUNCTION_EXECUTE_SCSI) {
        outcome = VblkStartFunction(adapter, Srb);
    } else {
        if (adapter->State != VblkRunning || adapter->UnitAttention || VblkRequestOf(Srb)->Kind != VblkKindDevice) {
            outcome = VblkAnswerCommand(adapter, Srb);
        }
        if (outcome == VblkOutcomePending) {
            outcome = VblkSubmit(adapter, VblkRequestOf(Srb));
        }
    }
    if (outcome != VblkOutcomePending) {
        VblkFinish(adapter, Srb, outcome);
    }
    return TRUE;
}
