/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* SCSI commands that are answered without the device, by table. Completes nothing: each returns an outcome. */
#include "aero_virtio_blk.h"
#include "cdb.h"

/* StorPort's limit of requests outstanding per logical unit. [reference 3.5] */
#define QUEUE_DEPTH_LIMIT 254

#define INQUIRY_EVPD 0x01
#define INQUIRY_BYTES 36
#define INQUIRY_VERSION_SPC3 0x05
#define INQUIRY_CMDQUE 0x02
#define VPD_HEADER_BYTES 4

#define MODE_DBD 0x08
#define MODE_PC_MASK 0xC0
#define MODE_PC_CHANGEABLE 0x40
#define MODE_PC_SAVED 0xC0
#define MODE_PAGE_MASK 0x3F
#define MODE_PAGE_ALL 0x3F
#define MODE_SUBPAGE_ALL 0xFF
#define MODE_WP 0x80
#define MODE_DPOFUA 0x10
#define MODE_WCE 0x04
#define MODE_BLOCK_DESCRIPTOR_BYTES 8
#define MODE_CACHING_BYTES 20
#define MODE_CONTROL_BYTES 12
#define MODE_DATA_MAX (8 + MODE_BLOCK_DESCRIPTOR_BYTES + MODE_CACHING_BYTES + MODE_CONTROL_BYTES)

#define REPORT_LUNS_MINIMUM 16

static VOID VblkPut16(PUCHAR Bytes, ULONG Value) {
    Bytes[0] = (UCHAR)(Value >> 8);
    Bytes[1] = (UCHAR)Value;
}

static VOID VblkPut32(PUCHAR Bytes, ULONG Value) {
    VblkPut16(Bytes, Value >> 16);
    VblkPut16(Bytes + 2, Value);
}

static VOID VblkPut64(PUCHAR Bytes, ULONGLONG Value) {
    VblkPut32(Bytes, (ULONG)(Value >> 32));
    VblkPut32(Bytes + 4, (ULONG)Value);
}

static ULONG VblkAtMost32(ULONGLONG Value) {
    return Value > 0xFFFFFFFF ? 0xFFFFFFFF : (ULONG)Value;
}

/* Answers with what there is of Data, what the CDB allows and what the buffer holds, whichever is least. */
static VBLK_OUTCOME VblkReply(PSCSI_REQUEST_BLOCK Srb, const VOID *Data, ULONG Length, ULONG AllocationLength) {
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

/* A full ring is not an error but costs a retry, so StorPort is told how much it can have out. */
static VOID VblkSetQueueDepth(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    ULONG depth = Adapter->QueueSize;

    if (Adapter->QueueDepthSet) {
        return;
    }
    if (!VblkHasFeature(Adapter, VIRTIO_F_INDIRECT_DESC)) {
        depth /= VBLK_TABLE_OVERHEAD + 1; /* the shortest chain in the ring itself */
    }
    if (depth > QUEUE_DEPTH_LIMIT) {
        depth = QUEUE_DEPTH_LIMIT;
    }
    Adapter->QueueDepthSet = StorPortSetDeviceQueueDepth(Adapter, Srb->PathId, Srb->TargetId, Srb->Lun, depth);
}

/* Vendor, product and revision: 8, 16 and 4 characters, padded with blanks. */
#define INQUIRY_IDENTITY "AERO    VIRTIO BLK      1.0 "
#define INQUIRY_AT_IDENTITY 8

C_ASSERT(sizeof(INQUIRY_IDENTITY) - 1 == INQUIRY_BYTES - INQUIRY_AT_IDENTITY);

/* [SPC-3 6.4.2] */
static VBLK_OUTCOME VblkInquiry(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    static const UCHAR pages[VPD_HEADER_BYTES + 1] = {0, 0, 0, 1, 0x00};
    static const UCHAR head[INQUIRY_AT_IDENTITY] = {0, 0, INQUIRY_VERSION_SPC3, 2, INQUIRY_BYTES - 5,
                                                    0, 0, INQUIRY_CMDQUE};
    UCHAR standard[INQUIRY_BYTES];
    ULONG allocation = CdbGet16(Srb->Cdb + 3);

    if ((Srb->Cdb[1] & INQUIRY_EVPD) != 0) {
        return Srb->Cdb[2] == 0 ? VblkReply(Srb, pages, sizeof(pages), allocation) : VblkOutcomeInvalidField;
    }
    if (Srb->Cdb[2] != 0) {
        return VblkOutcomeInvalidField;
    }
    VblkSetQueueDepth(Adapter, Srb);
    RtlCopyMemory(standard, head, sizeof(head));
    RtlCopyMemory(standard + INQUIRY_AT_IDENTITY, INQUIRY_IDENTITY, sizeof(INQUIRY_IDENTITY) - 1);
    return VblkReply(Srb, standard, sizeof(standard), allocation);
}

static VBLK_OUTCOME VblkTestUnitReady(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    Srb->DataTransferLength = 0;
    return Adapter->CapacityBlocks == 0 ? VblkOutcomeNoMedium : VblkOutcomeSuccess;
}

/* Sense always came with the command that it belongs to, so there is none to ask for. [SPC-3 6.27] */
static VBLK_OUTCOME VblkRequestSense(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    static const UCHAR none[18] = {0x70, 0, 0, 0, 0, 0, 0, 10};

    UNREFERENCED_PARAMETER(Adapter);
    if ((Srb->Cdb[1] & 0x01) != 0) {
        return VblkOutcomeInvalidField; /* descriptor format */
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
    VblkPut32(data, VblkAtMost32(Adapter->CapacityBlocks - 1));
    VblkPut32(data + 4, 1ul << Adapter->BlockShift);
    return VblkReply(Srb, data, sizeof(data), sizeof(data));
}

/* [SBC-2 5.11] */
static VBLK_OUTCOME VblkServiceActionIn16(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    UCHAR data[32];

    if ((Srb->Cdb[1] & 0x1F) != CDB_SA_READ_CAPACITY_16 || CdbGet64(Srb->Cdb + 2) != 0 || (Srb->Cdb[14] & 0x01) != 0) {
        return VblkOutcomeInvalidField;
    }
    if (Adapter->CapacityBlocks == 0) {
        return VblkOutcomeNoMedium;
    }
    RtlZeroMemory(data, sizeof(data));
    VblkPut64(data, Adapter->CapacityBlocks - 1);
    VblkPut32(data + 8, 1ul << Adapter->BlockShift);
    return VblkReply(Srb, data, sizeof(data), CdbGet32(Srb->Cdb + 10));
}

/*
 * Appends the mode pages that Cdb asks for and returns their length; 0: there is no such page. No bit of them can be
 * changed, so as a mask they are zero. [SPC-3 7.4; SBC-2 6.3.3]
 */
static ULONG VblkModePages(PVBLK_ADAPTER Adapter, const UCHAR *Cdb, PUCHAR Data) {
    BOOLEAN mask = (BOOLEAN)((Cdb[2] & MODE_PC_MASK) == MODE_PC_CHANGEABLE);
    UCHAR page = Cdb[2] & MODE_PAGE_MASK;
    ULONG length = 0;

    if (Cdb[3] != 0 && Cdb[3] != MODE_SUBPAGE_ALL) {
        return 0;
    }
    if (page == 0x08 || page == MODE_PAGE_ALL) {
        Data[length] = 0x08; /* caching */
        Data[length + 1] = MODE_CACHING_BYTES - 2;
        Data[length + 2] = Adapter->Flush && !mask ? MODE_WCE : 0;
        length += MODE_CACHING_BYTES;
    }
    if (page == 0x0A || page == MODE_PAGE_ALL) {
        Data[length] = 0x0A; /* control */
        Data[length + 1] = MODE_CONTROL_BYTES - 2;
        length += MODE_CONTROL_BYTES;
    }
    return length;
}

/*
 * Both MODE SENSE. DPOFUA: forced unit access is always honoured, by a flush where the device has a volatile cache.
 * [SPC-3 6.9, 6.10; SBC-2 6.3.1]
 */
static VBLK_OUTCOME VblkModeSense(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, ULONG HeaderBytes, ULONG Allocation) {
    UCHAR data[MODE_DATA_MAX];
    UCHAR specific = (UCHAR)(MODE_DPOFUA | (Adapter->ReadOnly ? MODE_WP : 0));
    ULONG descriptor = (Srb->Cdb[1] & MODE_DBD) != 0 ? 0 : MODE_BLOCK_DESCRIPTOR_BYTES;
    ULONG pages;
    ULONG length;

    if ((Srb->Cdb[2] & MODE_PC_MASK) == MODE_PC_SAVED) {
        return VblkOutcomeSavingUnsupported;
    }
    RtlZeroMemory(data, sizeof(data));
    pages = VblkModePages(Adapter, Srb->Cdb, data + HeaderBytes + descriptor);
    if (pages == 0) {
        return VblkOutcomeInvalidField;
    }
    length = HeaderBytes + descriptor + pages;
    if (HeaderBytes == 4) {
        data[0] = (UCHAR)(length - 1);
        data[2] = specific;
        data[3] = (UCHAR)descriptor;
    } else {
        VblkPut16(data, length - 2);
        data[3] = specific;
        VblkPut16(data + 6, descriptor);
    }
    if (descriptor != 0) {
        VblkPut32(data + HeaderBytes, VblkAtMost32(Adapter->CapacityBlocks));
        VblkPut32(data + HeaderBytes + 4, 1ul << Adapter->BlockShift); /* three bytes, below a reserved one */
    }
    return VblkReply(Srb, data, length, Allocation);
}

static VBLK_OUTCOME VblkModeSense6(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    return VblkModeSense(Adapter, Srb, 4, Srb->Cdb[4]);
}

static VBLK_OUTCOME VblkModeSense10(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    return VblkModeSense(Adapter, Srb, 8, CdbGet16(Srb->Cdb + 7));
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

typedef struct _VBLK_COMMAND_ROW {
    UCHAR Opcode;
    VBLK_OUTCOME (*Answer)(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);
} VBLK_COMMAND_ROW;

static const VBLK_COMMAND_ROW VblkCommands[] = {
    {CDB_TEST_UNIT_READY, VblkTestUnitReady},
    {CDB_REQUEST_SENSE, VblkRequestSense},
    {CDB_INQUIRY, VblkInquiry},
    {CDB_MODE_SENSE_6, VblkModeSense6},
    {CDB_READ_CAPACITY_10, VblkReadCapacity10},
    {CDB_MODE_SENSE_10, VblkModeSense10},
    {CDB_SERVICE_ACTION_IN_16, VblkServiceActionIn16},
    {CDB_REPORT_LUNS, VblkReportLuns},
};

VBLK_OUTCOME VblkScsiCommand(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    ULONG i;

    for (i = 0; i < RTL_NUMBER_OF(VblkCommands); i++) {
        if (VblkCommands[i].Opcode == Srb->Cdb[0]) {
            if (!CdbIsWellFormed(Srb->Cdb, Srb->CdbLength)) {
                return VblkOutcomeInvalidField;
            }
            return VblkCommands[i].Answer(Adapter, Srb);
        }
    }
    return VblkOutcomeInvalidOpcode;
}
