/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Commands of a disk in memory. */
#include "scsi.h"

static ULONG Big32(PUCHAR Bytes) {
    return (ULONG)Bytes[0] << 24 | (ULONG)Bytes[1] << 16 | (ULONG)Bytes[2] << 8 | Bytes[3];
}

static VOID Refuse(PSCSI_REQUEST_BLOCK Srb, UCHAR AdditionalSense) {
    PUCHAR sense = (PUCHAR)Srb->SenseInfoBuffer;

    RtlZeroMemory(sense, 18);
    sense[0] = 0x70;
    sense[2] = 5; /* illegal request */
    sense[7] = 10;
    sense[12] = AdditionalSense;
    Srb->SenseInfoBufferLength = 18;
    Srb->DataTransferLength = 0;
    Srb->SrbStatus = SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID;
    Srb->ScsiStatus = SCSISTAT_CHECK_CONDITION;
}

static VOID Answer(PSCSI_REQUEST_BLOCK Srb, const VOID *Data, ULONG Length) {
    if (Srb->DataTransferLength > Length) {
        Srb->DataTransferLength = Length;
    }
    StorPortMoveMemory(Srb->DataBuffer, (PVOID)(ULONG_PTR)Data, Srb->DataTransferLength);
}

/* The operations that transfer, by the low bits of their codes; the high ones say how long the command is. */
enum {
    OperationRead = 0x08,
    OperationWrite = 0x0a,
    OperationWriteVerify = 0x0e,
    OperationVerify = 0x0f
};

/* Where and how much; FALSE: it is no transfer. */
static BOOLEAN Place(PUCHAR Cdb, PULONGLONG Block, PULONG Blocks) {
    ULONG operation = Cdb[0] & 0x1f;

    if (operation != OperationRead && operation != OperationWrite && operation != OperationWriteVerify &&
        operation != OperationVerify) {
        return FALSE;
    }
    switch (Cdb[0] >> 5) {
    case 0:
        *Block = (ULONG)(Cdb[1] & 0x1f) << 16 | (ULONG)Cdb[2] << 8 | Cdb[3];
        *Blocks = Cdb[4] == 0 ? 256 : Cdb[4];
        return (BOOLEAN)(operation == OperationRead || operation == OperationWrite);
    case 1:
        *Block = Big32(Cdb + 2);
        *Blocks = (ULONG)Cdb[7] << 8 | Cdb[8];
        return TRUE;
    case 4:
        *Block = (ULONGLONG)Big32(Cdb + 2) << 32 | Big32(Cdb + 6);
        *Blocks = Big32(Cdb + 10);
        return TRUE;
    case 5:
        *Block = Big32(Cdb + 2);
        *Blocks = Big32(Cdb + 6);
        return TRUE;
    default:
        return FALSE;
    }
}

static BOOLEAN Transfer(PSCSI_REQUEST_BLOCK Srb, PTRANSFER Transfer, ULONGLONG Block, ULONG Blocks) {
    if (Block >= DISK_BLOCKS || Blocks > DISK_BLOCKS - (ULONG)Block) {
        Refuse(Srb, 0x21); /* block address out of range */
        return FALSE;
    }
    if (Blocks == 0 || (Srb->Cdb[0] & 0x1f) == OperationVerify) {
        return FALSE;
    }
    Transfer->Offset = (ULONG)Block * DISK_BLOCK_BYTES;
    Transfer->Bytes = Blocks * DISK_BLOCK_BYTES;
    Transfer->ToDisk = (BOOLEAN)((Srb->Cdb[0] & 0x1f) != OperationRead);
    if (Transfer->Bytes > Srb->DataTransferLength) {
        Refuse(Srb, 0x24); /* invalid field in CDB */
        return FALSE;
    }
    Srb->DataTransferLength = Transfer->Bytes;
    return TRUE;
}

BOOLEAN ScsiDecode(PSCSI_REQUEST_BLOCK Srb, PTRANSFER Made) {
    static const UCHAR inquiry[36] = "\0\0\5\2\37\0\0\2FOREIGN RAM DISK        1.0";
    static const UCHAR capacity[8] = {0, 0, (DISK_BLOCKS - 1) >> 8, (DISK_BLOCKS - 1) & 0xff,
                                      0, 0, DISK_BLOCK_BYTES >> 8,  0};
    static const UCHAR modes[4] = {3, 0, 0, 0};
    static const UCHAR units[16] = {0, 0, 0, 8};
    PUCHAR cdb = Srb->Cdb;
    ULONGLONG block;
    ULONG blocks;

    Srb->SrbStatus = SRB_STATUS_SUCCESS;
    Srb->ScsiStatus = SCSISTAT_GOOD;
    switch (cdb[0]) {
    case SCSIOP_TEST_UNIT_READY:
    case SCSIOP_SYNCHRONIZE_CACHE:
    case SCSIOP_SYNCHRONIZE_CACHE16:
        return FALSE;
    case SCSIOP_INQUIRY:
        if ((cdb[1] & 1) != 0) {
            Refuse(Srb, 0x24);
        } else {
            Answer(Srb, inquiry, sizeof(inquiry));
        }
        return FALSE;
    case SCSIOP_READ_CAPACITY:
        Answer(Srb, capacity, sizeof(capacity));
        return FALSE;
    case SCSIOP_MODE_SENSE:
        Answer(Srb, modes, sizeof(modes));
        return FALSE;
    case SCSIOP_REPORT_LUNS:
        Answer(Srb, units, sizeof(units));
        return FALSE;
    default:
        if (Place(cdb, &block, &blocks)) {
            return Transfer(Srb, Made, block, blocks);
        }
        Refuse(Srb, 0x20); /* invalid command operation code */
        return FALSE;
    }
}
