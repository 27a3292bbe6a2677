/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An SRB goes back to StorPort: outcome → SrbStatus, SCSI status and sense, by one table. The only giver-back. */
#include "aero_virtio_blk.h"
#include "trace.h"

/* Fixed-format sense data: its length, and the fields of it that are not zero. [SPC-3 4.5.3] */
#define SENSE_LENGTH 18
#define SENSE_RESPONSE_CODE 0x70
#define SENSE_AT_KEY 2
#define SENSE_AT_ADDITIONAL_LENGTH 7
#define SENSE_AT_ASC 12
#define SENSE_AT_ASCQ 13

/* Key 0: no sense, and SCSI status GOOD. */
typedef struct _VBLK_OUTCOME_ROW {
    UCHAR SrbStatus;
    UCHAR Key;
    UCHAR Asc;
    UCHAR Ascq;
} VBLK_OUTCOME_ROW;

/*
 * In the order of VBLK_OUTCOME.
 * A failed flush is a write error: what it should have settled may be lost, and a repetition that succeeds would hide
 * that. Medium errors are not repeated by the class driver; hardware errors and resets are. [reference 4.1]
 */
static const VBLK_OUTCOME_ROW VblkOutcomes[] = {
    {0, 0, 0, 0}, /* Pending */
    {SRB_STATUS_SUCCESS, 0, 0, 0},
    {SRB_STATUS_BUSY, 0, 0, 0},
    {SRB_STATUS_BUS_RESET, 0, 0, 0},
    {SRB_STATUS_NO_DEVICE, 0, 0, 0},
    {SRB_STATUS_INVALID_PATH_ID, 0, 0, 0},
    {SRB_STATUS_INVALID_TARGET_ID, 0, 0, 0},
    {SRB_STATUS_INVALID_LUN, 0, 0, 0},
    {SRB_STATUS_INVALID_REQUEST, 0, 0, 0},
    {SRB_STATUS_DATA_OVERRUN, 0, 0, 0},   /* LengthMismatch */
    {SRB_STATUS_ERROR, 0x03, 0x11, 0x00}, /* ReadError: UNRECOVERED READ ERROR */
    {SRB_STATUS_ERROR, 0x03, 0x0C, 0x00}, /* WriteError: WRITE ERROR */
    {SRB_STATUS_ERROR, 0x03, 0x0C, 0x00}, /* FlushError: WRITE ERROR */
    {SRB_STATUS_ERROR, 0x04, 0x44, 0x00}, /* DeviceFault: INTERNAL TARGET FAILURE */
    {SRB_STATUS_ERROR, 0x02, 0x3A, 0x00}, /* NoMedium: MEDIUM NOT PRESENT */
    {SRB_STATUS_ERROR, 0x05, 0x20, 0x00}, /* InvalidOpcode: INVALID COMMAND OPERATION CODE */
    {SRB_STATUS_ERROR, 0x05, 0x21, 0x00}, /* OutOfRange: LOGICAL BLOCK ADDRESS OUT OF RANGE */
    {SRB_STATUS_ERROR, 0x05, 0x24, 0x00}, /* InvalidField: INVALID FIELD IN CDB */
    {SRB_STATUS_ERROR, 0x05, 0x39, 0x00}, /* SavingUnsupported: SAVING PARAMETERS NOT SUPPORTED */
    {SRB_STATUS_ERROR, 0x05, 0x1A, 0x00}, /* ListLength: PARAMETER LIST LENGTH ERROR */
    {SRB_STATUS_ERROR, 0x05, 0x26, 0x00}, /* InvalidList: INVALID FIELD IN PARAMETER LIST */
    {SRB_STATUS_ERROR, 0x06, 0x2A, 0x09}, /* CapacityChanged: CAPACITY DATA HAS CHANGED */
    {SRB_STATUS_ERROR, 0x07, 0x27, 0x00}, /* WriteProtected: WRITE PROTECTED */
    {SRB_STATUS_ERROR, 0x0E, 0x1D, 0x00}, /* Miscompare: MISCOMPARE DURING VERIFY OPERATION */
};

C_ASSERT(RTL_NUMBER_OF(VblkOutcomes) == VblkOutcomeCount);

/* TRUE: the requester has sense data now. Only a SCSI command has any, and only where there is a buffer for it. */
static BOOLEAN VblkWriteSense(PSCSI_REQUEST_BLOCK Srb, const VBLK_OUTCOME_ROW *Row) {
    UCHAR sense[SENSE_LENGTH];
    ULONG length = Srb->SenseInfoBufferLength;

    if (Srb->SenseInfoBuffer == NULL || length == 0 || (Srb->SrbFlags & SRB_FLAGS_DISABLE_AUTOSENSE) != 0) {
        return FALSE;
    }
    if (length > SENSE_LENGTH) {
        length = SENSE_LENGTH;
    }
    RtlZeroMemory(sense, sizeof(sense));
    sense[0] = SENSE_RESPONSE_CODE;
    sense[SENSE_AT_KEY] = Row->Key;
    sense[SENSE_AT_ADDITIONAL_LENGTH] = SENSE_LENGTH - SENSE_AT_ADDITIONAL_LENGTH - 1;
    sense[SENSE_AT_ASC] = Row->Asc;
    sense[SENSE_AT_ASCQ] = Row->Ascq;
    RtlCopyMemory(Srb->SenseInfoBuffer, sense, length);
    Srb->SenseInfoBufferLength = (UCHAR)length;
    return TRUE;
}

/*
 * What an SRB carries back. Of one that did not succeed nothing was transferred as far as anyone may rely on it; only
 * BUSY leaves the length alone, because StorPort issues the very same SRB again. [ddi HW_STARTIO]
 * Other functions than SCSI commands have fields of their own where those have the SCSI status.
 */
static DECLSPEC_NOINLINE VOID VblkSetStatus(PSCSI_REQUEST_BLOCK Srb, VBLK_OUTCOME Outcome) {
    const VBLK_OUTCOME_ROW *row = &VblkOutcomes[Outcome];
    UCHAR status = row->SrbStatus;
    UCHAR scsiStatus = SCSISTAT_GOOD;

    if (Outcome != VblkOutcomeSuccess) {
        VblkTrace((VBLK_TRACE_ERROR, "srb %p function %x: outcome %d\n", Srb, Srb->Function, Outcome));
    }
    if (Outcome != VblkOutcomeSuccess && Outcome != VblkOutcomeBusy) {
        Srb->DataTransferLength = 0;
    }
    if (Srb->Function == SRB_FUNCTION_EXECUTE_SCSI) {
        if (row->Key != 0) {
            scsiStatus = SCSISTAT_CHECK_CONDITION;
            if (VblkWriteSense(Srb, row)) {
                status |= SRB_STATUS_AUTOSENSE_VALID;
            }
        }
        Srb->ScsiStatus = scsiStatus;
    }
    Srb->SrbStatus = status;
}

static FORCEINLINE VOID VblkGiveBack(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, VBLK_OUTCOME Outcome) {
    VIRTIO_ASSERT(Outcome > VblkOutcomePending && Outcome < VblkOutcomeCount);
    if (Outcome == VblkOutcomeSuccess && Srb->Function == SRB_FUNCTION_EXECUTE_SCSI) {
        Srb->SrbStatus = SRB_STATUS_SUCCESS;
        Srb->ScsiStatus = SCSISTAT_GOOD;
    } else {
        VblkSetStatus(Srb, Outcome);
    }
    StorPortNotification(RequestComplete, Adapter, Srb);
}

VOID VblkFinish(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, VBLK_OUTCOME Outcome) {
    VblkGiveBack(Adapter, Srb, Outcome);
}

VOID VblkFinishList(PVBLK_ADAPTER Adapter, PVBLK_LIST List) {
    PVBLK_REQUEST request = List->First;
    PVBLK_REQUEST next;

    while (request != NULL) {
        next = request->Next;
        VblkGiveBack(Adapter, request->Srb, (VBLK_OUTCOME)request->Outcome);
        request = next;
    }
}
