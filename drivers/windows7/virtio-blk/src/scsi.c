/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The commands of this disk, by one table: what each is, which of its bits are looked at, and what answers it. Completes
 * nothing: each answer is an outcome.
 */
#include "cdb.h"
#include "medium.h"
#include "steps.h"

/* StorPort's limit of requests outstanding per logical unit. [reference 3.5] */
#define QUEUE_DEPTH_LIMIT 254

#define INQUIRY_EVPD 0x01
#define INQUIRY_BYTES 74
#define INQUIRY_VERSION_SPC3 0x05
#define INQUIRY_CMDQUE 0x02

#define REPORT_LUNS_MINIMUM 16
#define REQUEST_SENSE_DESC 0x01

#define START_STOP_START 0x01
#define START_STOP_LOEJ 0x02
#define START_STOP_NO_FLUSH 0x04
#define START_STOP_POWER 0xF0

#define PREVENT_REFUSED 0x02
#define DIAGNOSTIC_CODE 0xE0 /* SELF-TEST CODE */

#define LOG_PPC_SP 0x03

#define OPCODES_RCTD 0x80
#define OPCODES_OPTIONS 0x07
#define OPCODES_ALL 0
#define OPCODES_ONE 1
#define OPCODES_ONE_WITH_ACTION 2
#define OPCODES_UNSUPPORTED 1
#define OPCODES_SUPPORTED 3
#define OPCODES_CTDP 0x80
#define OPCODES_TIMEOUTS_BYTES 12

static ULONG VblkAtMost32(ULONGLONG Value) {
    return Value > 0xFFFFFFFF ? 0xFFFFFFFF : (ULONG)Value;
}

/* Answers with what there is of Data, what the CDB allows and what the buffer holds, whichever is least. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkReply(PSCSI_REQUEST_BLOCK Srb, const VOID *Data, ULONG Length,
                                                ULONG AllocationLength) {
    if (Length > AllocationLength) {
        Length = AllocationLength;
    }
    if (Length > Srb->DataTransferLength) {
        Length = Srb->DataTransferLength;
    }
    if (Length != 0) {
        if (Srb->DataBuffer == NULL) {
            return VblkOutcomeInvalidRequest;
        }
        RtlCopyMemory(Srb->DataBuffer, Data, Length);
    }
    Srb->DataTransferLength = Length;
    return VblkOutcomeSuccess;
}

static VBLK_OUTCOME VblkDone(PSCSI_REQUEST_BLOCK Srb) {
    Srb->DataTransferLength = 0;
    return VblkOutcomeSuccess;
}

/* Pending: a flush was prepared, and the command is over when it is. */
static VBLK_OUTCOME VblkFlushThenDone(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_REQUEST request = VblkRequestOf(Srb);
    VBLK_OUTCOME outcome = VblkPrepareFlush(Adapter, request);

    if (outcome == VblkOutcomePending) {
        request->Flags |= VBLK_REQUEST_NO_DATA;
    }
    return outcome == VblkOutcomeSuccess ? VblkDone(Srb) : outcome;
}

/* A full ring is not an error but costs a retry, so StorPort is told how much it can have out. */
static VOID VblkSetQueueDepth(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    ULONG depth = Adapter->QueueSize;

    if (Adapter->QueueDepthSet) {
        return;
    }
    if (!VblkHasFeature(Adapter, VIRTIO_F_INDIRECT_DESC)) {
        depth = depth > VBLK_TABLE_ENTRIES ? depth / VBLK_TABLE_ENTRIES : 1; /* the shortest chain in the ring itself */
    }
    if (depth > QUEUE_DEPTH_LIMIT) {
        depth = QUEUE_DEPTH_LIMIT;
    }
    Adapter->QueueDepthSet = StorPortSetDeviceQueueDepth(Adapter, Srb->PathId, Srb->TargetId, Srb->Lun, depth);
}

#define INQUIRY_IDENTITY DISK_VENDOR DISK_PRODUCT DISK_REVISION
#define INQUIRY_AT_IDENTITY 8
#define INQUIRY_AT_VERSIONS 58

/* SAM-3, SPC-3, SBC-3, no version of each. SBC-3 for UNMAP, WRITE SAME(16) and pages B0 and B2. [SPC-3 6.4.2] */
static const UCHAR InquiryVersions[] = {0x00, 0x60, 0x03, 0x00, 0x04, 0xC0};

C_ASSERT(INQUIRY_AT_VERSIONS + sizeof(InquiryVersions) <= INQUIRY_BYTES);

/* A page that tells of the serial number waits until the device has been asked for it: never a wrong one. */
static VBLK_OUTCOME VblkInquireProduct(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    UCHAR data[VPD_MAX];
    PVBLK_STEPS steps;
    ULONG length;

    if (VpdNeedsSerial(Srb->Cdb[2]) && !Adapter->SerialKnown) {
        steps = VblkPrepareSteps(Adapter, VblkRequestOf(Srb), VblkStageIdentify, VblkStageOver);
        if (steps == NULL) {
            return VblkOutcomeDeviceFault;
        }
        steps->Total = 1;
        return VblkFirstStep(Adapter, VblkRequestOf(Srb));
    }
    length = VpdBuild(&Adapter->Disk, Srb->Cdb[2], data);
    return length == 0 ? VblkOutcomeInvalidField : VblkReply(Srb, data, length, CdbGet16(Srb->Cdb + 3));
}

/* [SPC-3 6.4.2] */
static VBLK_OUTCOME VblkInquiry(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    static const UCHAR head[INQUIRY_AT_IDENTITY] = {0, 0, INQUIRY_VERSION_SPC3, 2, INQUIRY_BYTES - 5,
                                                    0, 0, INQUIRY_CMDQUE};
    UCHAR standard[INQUIRY_BYTES];

    if ((Srb->Cdb[1] & INQUIRY_EVPD) != 0) {
        return VblkInquireProduct(Adapter, Srb);
    }
    if (Srb->Cdb[2] != 0) {
        return VblkOutcomeInvalidField;
    }
    VblkSetQueueDepth(Adapter, Srb);
    RtlZeroMemory(standard, sizeof(standard));
    RtlCopyMemory(standard, head, sizeof(head));
    RtlCopyMemory(standard + INQUIRY_AT_IDENTITY, INQUIRY_IDENTITY, sizeof(INQUIRY_IDENTITY) - 1);
    RtlCopyMemory(standard + INQUIRY_AT_VERSIONS, InquiryVersions, sizeof(InquiryVersions));
    return VblkReply(Srb, standard, sizeof(standard), CdbGet16(Srb->Cdb + 3));
}

static VBLK_OUTCOME VblkTestUnitReady(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    return Adapter->CapacityBlocks == 0 ? VblkOutcomeNoMedium : VblkDone(Srb);
}

/* Sense always came with the command that it belongs to, so there is none to ask for. [SPC-3 6.27] */
static VBLK_OUTCOME VblkRequestSense(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    static const UCHAR none[18] = {0x70, 0, 0, 0, 0, 0, 0, 10};

    UNREFERENCED_PARAMETER(Adapter);
    if ((Srb->Cdb[1] & REQUEST_SENSE_DESC) != 0) {
        return VblkOutcomeInvalidField;
    }
    return VblkReply(Srb, none, sizeof(none), Srb->Cdb[4]);
}

/* [SBC-2 5.10] */
static VBLK_OUTCOME VblkReadCapacity10(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    UCHAR data[8];

    if (Adapter->CapacityBlocks == 0) {
        return VblkOutcomeNoMedium;
    }
    if (CdbGet32(Srb->Cdb + 2) != 0 || (Srb->Cdb[8] & 0x01) != 0) {
        return VblkOutcomeInvalidField; /* LOGICAL BLOCK ADDRESS and PMI are one obsolete feature */
    }
    CdbPut32(data, VblkAtMost32(Adapter->CapacityBlocks - 1));
    CdbPut32(data + 4, 1ul << Adapter->BlockShift);
    return VblkReply(Srb, data, sizeof(data), sizeof(data));
}

/* [SBC-2 5.11; SBC-3 5.16] */
static VBLK_OUTCOME VblkReadCapacity16(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    UCHAR data[DISK_CAPACITY_16_BYTES];

    if (CdbGet64(Srb->Cdb + 2) != 0 || (Srb->Cdb[14] & 0x01) != 0) {
        return VblkOutcomeInvalidField;
    }
    if (Adapter->CapacityBlocks == 0) {
        return VblkOutcomeNoMedium;
    }
    DiskBuildCapacity16(&Adapter->Disk, Adapter->CapacityBlocks, data);
    return VblkReply(Srb, data, sizeof(data), CdbGet32(Srb->Cdb + 10));
}

static VBLK_OUTCOME VblkModeOutcome(MODE_RESULT Result) {
    switch (Result) {
    case ModeOk:
        return VblkOutcomeSuccess;
    case ModeSavingUnsupported:
        return VblkOutcomeSavingUnsupported;
    case ModeInvalidList:
        return VblkOutcomeInvalidList;
    case ModeListLength:
        return VblkOutcomeListLength;
    default:
        return VblkOutcomeInvalidField;
    }
}

/* What PARAMETER LIST LENGTH or ALLOCATION LENGTH says in either length of MODE SELECT and MODE SENSE. */
static ULONG VblkModeLength(const UCHAR *Cdb) {
    return CdbLength(Cdb[0]) == 6 ? Cdb[4] : CdbGet16(Cdb + 7);
}

static VBLK_OUTCOME VblkModeSense(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    UCHAR data[MODE_DATA_MAX];
    ULONG length = 0;
    MODE_RESULT result = ModeSense(&Adapter->Disk, Srb->Cdb, Adapter->CapacityBlocks, data, &length);

    return result == ModeOk ? VblkReply(Srb, data, length, VblkModeLength(Srb->Cdb)) : VblkModeOutcome(result);
}

/* When the cache is no longer to be used, what it still holds is settled before the command is over. */
static VBLK_OUTCOME VblkModeSelect(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    const UCHAR *list = (const UCHAR *)Srb->DataBuffer;
    ULONG length = VblkModeLength(Srb->Cdb);
    BOOLEAN writeBack = Adapter->Disk.WriteBack;
    MODE_RESULT result;

    if (length != 0 && (list == NULL || (Srb->SrbFlags & SRB_FLAGS_DATA_OUT) == 0)) {
        return VblkOutcomeInvalidRequest;
    }
    if (length != 0 && Srb->DataTransferLength != length) {
        return VblkOutcomeLengthMismatch;
    }
    result = ModeSelect(&Adapter->Disk, Srb->Cdb, Adapter->CapacityBlocks, list, length, &writeBack);
    if (result != ModeOk) {
        return VblkModeOutcome(result);
    }
    if (writeBack != Adapter->Disk.WriteBack) {
        if (!VblkSetWriteBack(Adapter, writeBack)) {
            return VblkOutcomeDeviceFault;
        }
        if (!writeBack) {
            return VblkPrepareFlush(Adapter, VblkRequestOf(Srb));
        }
    }
    Srb->DataTransferLength = length;
    return VblkOutcomeSuccess;
}

/* SELECT REPORT: 0 and 2 include logical unit 0; 1 is well known units only, of which there are none. [SPC-3 6.21] */
static VBLK_OUTCOME VblkReportLuns(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    static const UCHAR one[16] = {0, 0, 0, 8};
    static const UCHAR none[8] = {0};
    ULONG allocation = CdbGet32(Srb->Cdb + 6);

    UNREFERENCED_PARAMETER(Adapter);
    if (allocation < REPORT_LUNS_MINIMUM || Srb->Cdb[2] > 2) {
        return VblkOutcomeInvalidField;
    }
    return Srb->Cdb[2] == 1 ? VblkReply(Srb, none, sizeof(none), allocation)
                            : VblkReply(Srb, one, sizeof(one), allocation);
}

/*
 * There is nothing that turns: stopping is the time to settle what was written, and the disk stays ready. It has no
 * power conditions and nothing to eject. [SBC-3 5.25]
 */
static VBLK_OUTCOME VblkStartStopUnit(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    if ((Srb->Cdb[4] & (START_STOP_POWER | START_STOP_LOEJ)) != 0) {
        return VblkOutcomeInvalidField;
    }
    return (Srb->Cdb[4] & (START_STOP_START | START_STOP_NO_FLUSH)) != 0 ? VblkDone(Srb)
                                                                         : VblkFlushThenDone(Adapter, Srb);
}

/* The medium cannot be removed, whatever is asked for. [SPC-3 6.13] */
static VBLK_OUTCOME VblkPreventAllow(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    UNREFERENCED_PARAMETER(Adapter);
    return (Srb->Cdb[4] & PREVENT_REFUSED) != 0 ? VblkOutcomeInvalidField : VblkDone(Srb);
}

/* The default self-test, which a disk that is ready passes; no other test, and no parameters. [SPC-3 6.28] */
static VBLK_OUTCOME VblkSendDiagnostic(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    if ((Srb->Cdb[1] & DIAGNOSTIC_CODE) != 0 || CdbGet16(Srb->Cdb + 3) != 0) {
        return VblkOutcomeInvalidField;
    }
    return VblkTestUnitReady(Adapter, Srb);
}

/* The list of pages, which is the only one: the device counts nothing that a log could tell. [SPC-3 6.6, 7.2.12] */
static VBLK_OUTCOME VblkLogSense(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    static const UCHAR pages[5] = {0, 0, 0, 1, 0};

    UNREFERENCED_PARAMETER(Adapter);
    if ((Srb->Cdb[1] & LOG_PPC_SP) != 0 || (Srb->Cdb[2] & 0x3F) != 0 || Srb->Cdb[3] != 0 ||
        CdbGet16(Srb->Cdb + 5) != 0) {
        return VblkOutcomeInvalidField;
    }
    return VblkReply(Srb, pages, sizeof(pages), CdbGet16(Srb->Cdb + 7));
}

static VBLK_OUTCOME VblkReportOpcodes(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);

/* ---- the table ---- */

#define NO_ACTION 0xFF

/* What a command is there for. */
#define WITH_ALWAYS 0
#define WITH_UNMAP 1
#define WITH_ZEROES 2

typedef VBLK_OUTCOME VBLK_ANSWER(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);

typedef struct _VBLK_COMMAND_ROW {
    UCHAR Opcode;
    UCHAR Action; /* service action, or NO_ACTION */
    UCHAR With;
    VBLK_ANSWER *Answer; /* NULL: HwBuildIo makes a device request of it (cdb.c) */
    UCHAR Usage[15];     /* bits looked at, from byte 1 on; CONTROL's are those that are refused. [SPC-3 6.23.3] */
} VBLK_COMMAND_ROW;

#define C CDB_CONTROL_REFUSED
#define F 0xFF

static const VBLK_COMMAND_ROW VblkCommands[] = {
    {CDB_TEST_UNIT_READY, NO_ACTION, WITH_ALWAYS, VblkTestUnitReady, {0, 0, 0, 0, C}},
    {CDB_REQUEST_SENSE, NO_ACTION, WITH_ALWAYS, VblkRequestSense, {1, 0, 0, F, C}},
    {CDB_READ_6, NO_ACTION, WITH_ALWAYS, NULL, {0x1F, F, F, F, C}},
    {CDB_WRITE_6, NO_ACTION, WITH_ALWAYS, NULL, {0x1F, F, F, F, C}},
    {CDB_INQUIRY, NO_ACTION, WITH_ALWAYS, VblkInquiry, {1, F, F, F, C}},
    {CDB_MODE_SELECT_6, NO_ACTION, WITH_ALWAYS, VblkModeSelect, {0x11, 0, 0, F, C}},
    {CDB_MODE_SENSE_6, NO_ACTION, WITH_ALWAYS, VblkModeSense, {0x08, F, F, F, C}},
    {CDB_START_STOP_UNIT, NO_ACTION, WITH_ALWAYS, VblkStartStopUnit, {0x01, 0, 0, 0xF7, C}},
    {CDB_SEND_DIAGNOSTIC, NO_ACTION, WITH_ALWAYS, VblkSendDiagnostic, {0xE4, 0, F, F, C}},
    {CDB_PREVENT_ALLOW, NO_ACTION, WITH_ALWAYS, VblkPreventAllow, {0, 0, 0, 0x03, C}},
    {CDB_READ_CAPACITY_10, NO_ACTION, WITH_ALWAYS, VblkReadCapacity10, {0, F, F, F, F, 0, 0, 0x01, C}},
    {CDB_READ_10, NO_ACTION, WITH_ALWAYS, NULL, {0xF8, F, F, F, F, 0, F, F, C}},
    {CDB_WRITE_10, NO_ACTION, WITH_ALWAYS, NULL, {0xF8, F, F, F, F, 0, F, F, C}},
    {CDB_WRITE_AND_VERIFY_10, NO_ACTION, WITH_ALWAYS, VblkWriteAndVerify, {0xF6, F, F, F, F, 0, F, F, C}},
    {CDB_VERIFY_10, NO_ACTION, WITH_ALWAYS, VblkVerify, {0xF6, F, F, F, F, 0, F, F, C}},
    {CDB_SYNCHRONIZE_CACHE_10, NO_ACTION, WITH_ALWAYS, NULL, {0x02, F, F, F, F, 0, F, F, C}},
    {CDB_UNMAP, NO_ACTION, WITH_UNMAP, VblkUnmapBlocks, {0x01, 0, 0, 0, 0, 0, F, F, C}},
    {CDB_LOG_SENSE, NO_ACTION, WITH_ALWAYS, VblkLogSense, {0x03, F, F, 0, F, F, F, F, C}},
    {CDB_MODE_SELECT_10, NO_ACTION, WITH_ALWAYS, VblkModeSelect, {0x11, 0, 0, 0, 0, 0, F, F, C}},
    {CDB_MODE_SENSE_10, NO_ACTION, WITH_ALWAYS, VblkModeSense, {0x08, F, F, 0, 0, 0, F, F, C}},
    {CDB_READ_16, NO_ACTION, WITH_ALWAYS, NULL, {0xF8, F, F, F, F, F, F, F, F, F, F, F, F, 0, C}},
    {CDB_WRITE_16, NO_ACTION, WITH_ALWAYS, NULL, {0xF8, F, F, F, F, F, F, F, F, F, F, F, F, 0, C}},
    {CDB_WRITE_AND_VERIFY_16,
     NO_ACTION,
     WITH_ALWAYS,
     VblkWriteAndVerify,
     {0xF6, F, F, F, F, F, F, F, F, F, F, F, F, 0, C}},
    {CDB_VERIFY_16, NO_ACTION, WITH_ALWAYS, VblkVerify, {0xF6, F, F, F, F, F, F, F, F, F, F, F, F, 0, C}},
    {CDB_SYNCHRONIZE_CACHE_16, NO_ACTION, WITH_ALWAYS, NULL, {0x02, F, F, F, F, F, F, F, F, F, F, F, F, 0, C}},
    {CDB_WRITE_SAME_16, NO_ACTION, WITH_ZEROES, VblkWriteSame16, {F, F, F, F, F, F, F, F, F, F, F, F, F, 0, C}},
    {CDB_SERVICE_ACTION_IN_16,
     CDB_SA_READ_CAPACITY_16,
     WITH_ALWAYS,
     VblkReadCapacity16,
     {0x1F, F, F, F, F, F, F, F, F, F, F, F, F, 0x01, C}},
    {CDB_REPORT_LUNS, NO_ACTION, WITH_ALWAYS, VblkReportLuns, {0, F, 0, 0, 0, F, F, F, F, 0, C}},
    {CDB_MAINTENANCE_IN,
     CDB_SA_REPORT_SUPPORTED_OPERATION_CODES,
     WITH_ALWAYS,
     VblkReportOpcodes,
     {0x1F, 0x87, F, F, F, F, F, F, F, 0, C}},
    {CDB_READ_12, NO_ACTION, WITH_ALWAYS, NULL, {0xF8, F, F, F, F, F, F, F, F, 0, C}},
    {CDB_WRITE_12, NO_ACTION, WITH_ALWAYS, NULL, {0xF8, F, F, F, F, F, F, F, F, 0, C}},
    {CDB_WRITE_AND_VERIFY_12, NO_ACTION, WITH_ALWAYS, VblkWriteAndVerify, {0xF6, F, F, F, F, F, F, F, F, 0, C}},
    {CDB_VERIFY_12, NO_ACTION, WITH_ALWAYS, VblkVerify, {0xF6, F, F, F, F, F, F, F, F, 0, C}},
};

#undef C
#undef F

static BOOLEAN VblkOffers(const VBLK_ADAPTER *Adapter, const VBLK_COMMAND_ROW *Row) {
    switch (Row->With) {
    case WITH_UNMAP:
        return Adapter->Disk.Unmaps;
    case WITH_ZEROES:
        return Adapter->Disk.Zeroes;
    default:
        return TRUE;
    }
}

/* The row of a command. NULL: there is none; *Known says whether its operation code has another one. */
static const VBLK_COMMAND_ROW *VblkFindCommand(const VBLK_ADAPTER *Adapter, UCHAR Opcode, ULONG Action,
                                               BOOLEAN *Known) {
    const VBLK_COMMAND_ROW *row;
    ULONG i;

    *Known = FALSE;
    for (i = 0; i < RTL_NUMBER_OF(VblkCommands); i++) {
        row = &VblkCommands[i];
        if (row->Opcode != Opcode || !VblkOffers(Adapter, row)) {
            continue;
        }
        if (row->Action == NO_ACTION || row->Action == Action) {
            return row;
        }
        *Known = TRUE;
    }
    return NULL;
}

/* ---- REPORT SUPPORTED OPERATION CODES [SPC-3 6.23] ---- */

/* No command has a time that it takes. */
static ULONG VblkPutTimeouts(PUCHAR Data) {
    RtlZeroMemory(Data, OPCODES_TIMEOUTS_BYTES);
    CdbPut16(Data, OPCODES_TIMEOUTS_BYTES - 2);
    return OPCODES_TIMEOUTS_BYTES;
}

/* A descriptor goes out as soon as it is made: together they are more than a kernel stack should hold. */
static VBLK_OUTCOME VblkReportAll(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, BOOLEAN Timeouts) {
    UCHAR data[8 + OPCODES_TIMEOUTS_BYTES];
    ULONG room = CdbGet32(Srb->Cdb + 6);
    ULONG size = Timeouts ? sizeof(data) : 8;
    ULONG at = 4;
    ULONG i;

    if (room > Srb->DataTransferLength) {
        room = Srb->DataTransferLength;
    }
    if (room != 0 && Srb->DataBuffer == NULL) {
        return VblkOutcomeInvalidRequest;
    }
    for (i = 0; i < RTL_NUMBER_OF(VblkCommands); i++) {
        const VBLK_COMMAND_ROW *row = &VblkCommands[i];

        if (!VblkOffers(Adapter, row)) {
            continue;
        }
        RtlZeroMemory(data, sizeof(data));
        data[0] = row->Opcode;
        data[3] = (UCHAR)(row->Action == NO_ACTION ? 0 : row->Action);
        data[5] = (UCHAR)((row->Action == NO_ACTION ? 0 : 0x01) | (Timeouts ? 0x02 : 0));
        CdbPut16(data + 6, CdbLength(row->Opcode));
        (VOID)VblkPutTimeouts(data + 8);
        if (at < room) {
            RtlCopyMemory((PUCHAR)Srb->DataBuffer + at, data, size < room - at ? size : room - at);
        }
        at += size;
    }
    CdbPut32(data, at - 4);
    RtlCopyMemory(Srb->DataBuffer, data, room < 4 ? room : 4);
    Srb->DataTransferLength = at < room ? at : room;
    return VblkOutcomeSuccess;
}

static VBLK_OUTCOME VblkReportOne(PSCSI_REQUEST_BLOCK Srb, const VBLK_COMMAND_ROW *Row, BOOLEAN Timeouts) {
    UCHAR data[4 + 16 + OPCODES_TIMEOUTS_BYTES];
    ULONG length = 4;

    RtlZeroMemory(data, sizeof(data));
    data[1] = OPCODES_UNSUPPORTED;
    if (Row != NULL) {
        data[1] = (UCHAR)(OPCODES_SUPPORTED | (Timeouts ? OPCODES_CTDP : 0));
        CdbPut16(data + 2, CdbLength(Row->Opcode));
        data[4] = Row->Opcode;
        RtlCopyMemory(data + 5, Row->Usage, sizeof(Row->Usage));
        if (Row->Action != NO_ACTION) {
            data[5] = (UCHAR)((data[5] & ~0x1F) | Row->Action);
        }
        length += CdbLength(Row->Opcode);
        length += Timeouts ? VblkPutTimeouts(data + length) : 0;
    }
    return VblkReply(Srb, data, length, CdbGet32(Srb->Cdb + 6));
}

static VBLK_OUTCOME VblkReportOpcodes(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    BOOLEAN timeouts = (BOOLEAN)((Srb->Cdb[2] & OPCODES_RCTD) != 0);
    ULONG option = Srb->Cdb[2] & OPCODES_OPTIONS;
    const VBLK_COMMAND_ROW *row;
    BOOLEAN known;

    if (option == OPCODES_ALL) {
        return VblkReportAll(Adapter, Srb, timeouts);
    }
    if (option > OPCODES_ONE_WITH_ACTION) {
        return VblkOutcomeInvalidField;
    }
    row = VblkFindCommand(Adapter, Srb->Cdb[3], CdbGet16(Srb->Cdb + 4), &known);
    if (row != NULL) {
        known = (BOOLEAN)(row->Action != NO_ACTION);
    }
    if ((option == OPCODES_ONE && known) || (option == OPCODES_ONE_WITH_ACTION && row != NULL && !known)) {
        return VblkOutcomeInvalidField; /* the option does not fit the operation code */
    }
    return VblkReportOne(Srb, row, timeouts);
}

VBLK_OUTCOME VblkScsiCommand(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    BOOLEAN known;
    const VBLK_COMMAND_ROW *row = VblkFindCommand(Adapter, Srb->Cdb[0], CDB_SERVICE_ACTION(Srb->Cdb), &known);

    if (row == NULL) {
        return known ? VblkOutcomeInvalidField : VblkOutcomeInvalidOpcode;
    }
    if (!CdbIsWellFormed(Srb->Cdb, Srb->CdbLength)) {
        return VblkOutcomeInvalidField;
    }
    return row->Answer(Adapter, Srb);
}
