/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* VERIFY, WRITE AND VERIFY, UNMAP and WRITE SAME: checked, and turned into steps. */
#include "medium.h"
#include "cdb.h"
#include "steps.h"

/* BYTCHK, two bits: nothing is compared, or all of it. The other values are refused. [SBC-3 5.29] */
#define BYTCHK(Cdb) ((Cdb)[1] >> 1 & 0x3)
#define BYTCHK_NONE 0
#define BYTCHK_ALL 1

#define UNMAP_ANCHOR 0x01

#define WRITE_SAME_ANCHOR 0x10
#define WRITE_SAME_UNMAP 0x08
#define WRITE_SAME_PBDATA 0x04
#define WRITE_SAME_LBDATA 0x02
#define WRITE_SAME_NDOB 0x01
#define WRITE_SAME_REFUSED (CDB_PROTECT | WRITE_SAME_ANCHOR | WRITE_SAME_PBDATA | WRITE_SAME_LBDATA)

/* Success: the blocks are there. None has to begin inside. */
static VBLK_OUTCOME VblkCheckRange(const VBLK_ADAPTER *Adapter, ULONGLONG Lba, ULONGLONG Blocks) {
    if (Lba >= Adapter->CapacityBlocks || Blocks > Adapter->CapacityBlocks - Lba) {
        return VblkOutcomeOutOfRange;
    }
    return VblkOutcomeSuccess;
}

/* Success: the SRB brings exactly these blocks. */
static VBLK_OUTCOME VblkCheckData(const VBLK_ADAPTER *Adapter, PSCSI_REQUEST_BLOCK Srb, ULONGLONG Blocks) {
    if (Blocks << Adapter->BlockShift != Srb->DataTransferLength) {
        return VblkOutcomeLengthMismatch;
    }
    return (Srb->SrbFlags & SRB_FLAGS_DATA_OUT) != 0 && Srb->DataBuffer != NULL ? VblkOutcomeSuccess
                                                                                : VblkOutcomeInvalidRequest;
}

static VBLK_OUTCOME VblkNothingToDo(PSCSI_REQUEST_BLOCK Srb) {
    Srb->DataTransferLength = 0;
    return VblkOutcomeSuccess;
}

/*
 * Without comparison the blocks are read all the same: whether the medium can be read is what the sender asks, and
 * what a check of the range alone would hide. [SBC-3 5.29]
 */
VBLK_OUTCOME VblkVerify(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_REQUEST request = VblkRequestOf(Srb);
    ULONG check = BYTCHK(Srb->Cdb);
    VBLK_OUTCOME outcome;
    PVBLK_STEPS steps;
    ULONGLONG lba;
    ULONG blocks;

    if ((Srb->Cdb[1] & CDB_PROTECT) != 0 || check > BYTCHK_ALL) {
        return VblkOutcomeInvalidField;
    }
    CdbExtent(Srb->Cdb, &lba, &blocks);
    outcome = VblkCheckRange(Adapter, lba, blocks);
    if (outcome == VblkOutcomeSuccess && check == BYTCHK_ALL && blocks != 0) {
        outcome = VblkCheckData(Adapter, Srb, blocks);
    }
    if (outcome != VblkOutcomeSuccess) {
        return outcome;
    }
    if (blocks == 0) {
        return VblkNothingToDo(Srb);
    }
    steps = VblkPrepareSteps(Adapter, request, check == BYTCHK_ALL ? VblkStageCompare : VblkStageRead, VblkStageOver);
    if (steps == NULL) {
        return VblkOutcomeDeviceFault;
    }
    if (check == BYTCHK_ALL) {
        steps->Data = (PUCHAR)Srb->DataBuffer;
    } else {
        request->Flags |= VBLK_REQUEST_NO_DATA;
    }
    steps->First = lba;
    steps->Blocks = blocks;
    steps->Total = blocks;
    return VblkFirstStep(Adapter, request);
}

/* [SBC-3 5.37] */
VBLK_OUTCOME VblkWriteAndVerify(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_REQUEST request = VblkRequestOf(Srb);
    ULONG check = BYTCHK(Srb->Cdb);
    PSTOR_SCATTER_GATHER_LIST scatter;
    VBLK_OUTCOME outcome;
    PVBLK_STEPS steps;
    ULONGLONG lba;
    ULONG blocks;

    if ((Srb->Cdb[1] & CDB_PROTECT) != 0 || check > BYTCHK_ALL) {
        return VblkOutcomeInvalidField;
    }
    if (Adapter->ReadOnly) {
        return VblkOutcomeWriteProtected;
    }
    CdbExtent(Srb->Cdb, &lba, &blocks);
    outcome = VblkCheckRange(Adapter, lba, blocks);
    if (outcome == VblkOutcomeSuccess && blocks != 0) {
        outcome = VblkCheckData(Adapter, Srb, blocks);
    }
    if (outcome != VblkOutcomeSuccess) {
        return outcome;
    }
    if (blocks == 0) {
        return VblkNothingToDo(Srb);
    }
    scatter = StorPortGetScatterGatherList(Adapter, Srb);
    if (scatter == NULL) {
        return VblkOutcomeInvalidRequest;
    }
    request->Flags = VBLK_REQUEST_WRITES;
    request->Last = lba + blocks - 1;
    outcome = VblkBeginTransfer(Adapter, request, scatter);
    if (outcome == VblkOutcomePending) {
        steps = VblkStepsOf(Adapter, request);
        steps->Data = (PUCHAR)Srb->DataBuffer;
        steps->Next = (UCHAR)(check == BYTCHK_ALL ? VblkStageCompare : VblkStageRead);
    }
    return outcome;
}

/* [SBC-3 5.28] */
VBLK_OUTCOME VblkUnmapBlocks(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_REQUEST request = VblkRequestOf(Srb);
    ULONG length = CdbGet16(Srb->Cdb + 7);
    PVBLK_STEPS steps;
    ULONG count;

    if ((Srb->Cdb[1] & UNMAP_ANCHOR) != 0) {
        return VblkOutcomeInvalidField;
    }
    if (Adapter->ReadOnly) {
        return VblkOutcomeWriteProtected;
    }
    if (length == 0) {
        return VblkNothingToDo(Srb);
    }
    if (Srb->DataTransferLength != length) {
        return VblkOutcomeLengthMismatch;
    }
    if ((Srb->SrbFlags & SRB_FLAGS_DATA_OUT) == 0 || Srb->DataBuffer == NULL) {
        return VblkOutcomeInvalidRequest;
    }
    switch (UnmapCheck((const UCHAR *)Srb->DataBuffer, length, Adapter->CapacityBlocks, &count)) {
    case UnmapOk:
        break;
    case UnmapOutOfRange:
        return VblkOutcomeOutOfRange;
    default:
        return VblkOutcomeListLength;
    }
    steps = VblkPrepareSteps(Adapter, request, VblkStageDiscard, VblkStageOver);
    if (steps == NULL) {
        return VblkOutcomeDeviceFault;
    }
    request->Flags |= VBLK_REQUEST_WRITES;
    steps->Data = (PUCHAR)Srb->DataBuffer;
    steps->Total = count;
    return VblkFirstStep(Adapter, request);
}

/* Only zeroes, which have a request of their own, can take blocks away. */
static BOOLEAN VblkIsZero(const UCHAR *Bytes, ULONG Length) {
    ULONG i;

    for (i = 0; i < Length && Bytes[i] == 0; i++) {
    }
    return (BOOLEAN)(i == Length);
}

/*
 * Zeroes have a request of their own; another pattern is written block by block. No number of blocks means up to the
 * last one. UNMAP is refused where page B2h says that this command takes nothing away. [SBC-3 5.44, 6.6.4]
 */
VBLK_OUTCOME VblkWriteSame16(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_REQUEST request = VblkRequestOf(Srb);
    BOOLEAN data = (BOOLEAN)((Srb->Cdb[1] & WRITE_SAME_NDOB) == 0);
    BOOLEAN unmap = (BOOLEAN)((Srb->Cdb[1] & WRITE_SAME_UNMAP) != 0);
    VBLK_STAGE stage = VblkStageZero;
    VBLK_OUTCOME outcome;
    PVBLK_STEPS steps;
    ULONGLONG lba;
    ULONGLONG blocks;
    ULONG count;

    if ((Srb->Cdb[1] & WRITE_SAME_REFUSED) != 0 || (unmap && !Adapter->Disk.ZeroesUnmap)) {
        return VblkOutcomeInvalidField;
    }
    if (Adapter->ReadOnly) {
        return VblkOutcomeWriteProtected;
    }
    CdbExtent(Srb->Cdb, &lba, &count);
    outcome = VblkCheckRange(Adapter, lba, count);
    if (outcome == VblkOutcomeSuccess && data) {
        outcome = VblkCheckData(Adapter, Srb, 1);
    }
    if (outcome != VblkOutcomeSuccess) {
        return outcome;
    }
    if (data && !VblkIsZero((const UCHAR *)Srb->DataBuffer, 1ul << Adapter->BlockShift)) {
        stage = VblkStageFill;
    }
    blocks = count != 0 ? count : Adapter->CapacityBlocks - lba;
    steps = VblkPrepareSteps(Adapter, request, stage, VblkStageOver);
    if (steps == NULL) {
        return VblkOutcomeDeviceFault;
    }
    request->Flags |= VBLK_REQUEST_WRITES | (data ? 0 : VBLK_REQUEST_NO_DATA);
    steps->First = lba;
    steps->Blocks = blocks;
    steps->Total = blocks;
    steps->Data = (PUCHAR)Srb->DataBuffer;
    steps->Unmap = unmap;
    return VblkFirstStep(Adapter, request);
}
