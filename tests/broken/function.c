/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The virtio half: the contract's register layout, one queue, and one request at a time, a FLUSH but for mistakes. */
#include "miniport.h"
#include "virtio_blk_spec.h"
#include "virtio_spec.h"

/* [contract 1.4] */
#define NOTIFY_OFFSET 0x1000
#define NOTIFY_MULTIPLIER 4
#define ISR_OFFSET 0x2000

#define DEVICE_OFFSET 0x3000

/* In the shared memory; room for a queue of 128, which is the contract's. */
#define AVAIL_OFFSET 0x0800
#define USED_OFFSET 0x1000
#define REQUEST_OFFSET 0x2000
#define STATUS_OFFSET (REQUEST_OFFSET + sizeof(struct virtio_blk_req))
#define DATA_OFFSET 0x2100
#define TABLE_OFFSET 0x2400
#define TABLE_ENTRIES (QUEUE_ENTRIES + 1)
#define QUEUE_ENTRIES 128

C_ASSERT(STATUS_OFFSET < DATA_OFFSET);
C_ASSERT(TABLE_OFFSET + TABLE_ENTRIES * sizeof(struct virtq_desc) <= FUNCTION_SHARED_BYTES);

/* A physical address that StorPort gave to nobody. */
#define NOBODYS_MEMORY 0x3000

#define STATUS_RESERVED 0x20

#define COMMON(Adapter, Field, Type) ((Type *)((Adapter)->Registers + offsetof(struct virtio_pci_common_cfg, Field)))

static VOID FunctionSetStatus(PADAPTER Adapter, UCHAR Status) {
    StorPortWriteRegisterUchar(Adapter, COMMON(Adapter, device_status, UCHAR), Status);
}

static UCHAR FunctionStatus(PADAPTER Adapter) {
    return StorPortReadRegisterUchar(Adapter, COMMON(Adapter, device_status, UCHAR));
}

static VOID FunctionAccept(PADAPTER Adapter, ULONG Word, ULONG Bits) {
    StorPortWriteRegisterUlong(Adapter, COMMON(Adapter, driver_feature_select, ULONG), Word);
    StorPortWriteRegisterUlong(Adapter, COMMON(Adapter, driver_feature, ULONG), Bits);
}

static VOID FunctionSetAddress(PADAPTER Adapter, PULONG Register, ULONG Offset) {
    ULONGLONG physical = Adapter->SharedPhysical + Offset;

    StorPortWriteRegisterUlong(Adapter, Register, (ULONG)physical);
    StorPortWriteRegisterUlong(Adapter, Register + 1, (ULONG)(physical >> 32));
}

static VOID FunctionSetDescriptor(PADAPTER Adapter, ULONG Index, ULONG Offset, ULONG Length, USHORT Flags) {
    struct virtq_desc *descriptor = (struct virtq_desc *)(PVOID)Adapter->Shared + Index;

    descriptor->addr = Adapter->SharedPhysical + Offset;
    descriptor->len = Length;
    descriptor->flags = Flags;
    descriptor->next = (USHORT)(Index + 1);
}

static VOID FunctionNotify(PADAPTER Adapter, USHORT Value) {
    ULONG doorbell = NOTIFY_OFFSET + NOTIFY_MULTIPLIER * Adapter->NotifyOffset;

    StorPortWriteRegisterUshort(Adapter, (PUSHORT)(PVOID)(Adapter->Registers + doorbell), Value);
}

VOID FunctionStop(PADAPTER Adapter) {
    FunctionSetStatus(Adapter, 0);
    while (Mistake != BreakMmioReset && FunctionStatus(Adapter) != 0) {
    }
}

/* ---- Bring-up ---- */

static UCHAR FunctionNegotiate(PADAPTER Adapter) {
    UCHAR status = Mistake == BreakStatusOrder ? 0 : VIRTIO_STATUS_ACKNOWLEDGE;
    ULONG word = 1ul << VIRTIO_BLK_F_FLUSH;

    if (Mistake == BreakFeatureOffered) {
        word |= 1ul << VIRTIO_BLK_F_RO;
    }
    if (Mistake == BreakRingLength) {
        word |= 1ul << VIRTIO_F_INDIRECT_DESC;
    }
    if (status != 0) {
        FunctionSetStatus(Adapter, status);
    }
    FunctionSetStatus(Adapter, status |= VIRTIO_STATUS_DRIVER);
    FunctionAccept(Adapter, 0, word);
    FunctionAccept(Adapter, 1, Mistake == BreakFeatureVersion ? 0 : 1ul << (VIRTIO_F_VERSION_1 - 32));
    FunctionSetStatus(Adapter, status |= VIRTIO_STATUS_FEATURES_OK);
    if (Mistake == BreakFeatureLate) {
        FunctionAccept(Adapter, 0, 0);
    }
    if (Mistake == BreakStatusUnread) {
        return status;
    }
    return (FunctionStatus(Adapter) & VIRTIO_STATUS_FEATURES_OK) != 0 ? status : 0;
}

static VOID MisuseVectors(PADAPTER Adapter) {
    PUSHORT vector = COMMON(Adapter, config_msix_vector, USHORT);

    if (Mistake == BreakVectorValue) {
        StorPortWriteRegisterUshort(Adapter, vector, 0x900);
        (VOID)StorPortReadRegisterUshort(Adapter, vector);
    }
    if (Mistake == BreakVectorUnread) {
        StorPortWriteRegisterUshort(Adapter, vector, 0);
    }
    if (Mistake == BreakConfigTorn) {
        (VOID)StorPortReadRegisterUlong(Adapter, (PULONG)(PVOID)(Adapter->Registers + DEVICE_OFFSET));
        (VOID)StorPortReadRegisterUchar(Adapter, COMMON(Adapter, config_generation, UCHAR));
    }
}

static VOID FunctionProgramQueue(PADAPTER Adapter) {
    PUSHORT enable = COMMON(Adapter, queue_enable, USHORT);

    StorPortWriteRegisterUshort(Adapter, COMMON(Adapter, queue_select, USHORT), 0);
    if (Mistake == BreakQueueSize) {
        StorPortWriteRegisterUshort(Adapter, COMMON(Adapter, queue_size, USHORT), QUEUE_ENTRIES - 1);
    }
    if (Mistake == BreakQueueAddress) {
        StorPortWriteRegisterUshort(Adapter, enable, 1);
    }
    FunctionSetAddress(Adapter, COMMON(Adapter, queue_desc, ULONG), 0);
    FunctionSetAddress(Adapter, COMMON(Adapter, queue_driver, ULONG), AVAIL_OFFSET);
    FunctionSetAddress(Adapter, COMMON(Adapter, queue_device, ULONG), USED_OFFSET);
    Adapter->NotifyOffset = StorPortReadRegisterUshort(Adapter, COMMON(Adapter, queue_notify_off, USHORT));
    StorPortWriteRegisterUshort(Adapter, enable, 1);
    if (Mistake == BreakQueueEnable) {
        StorPortWriteRegisterUshort(Adapter, enable, 1);
    }
    if (Mistake == BreakQueueFixed) {
        FunctionSetAddress(Adapter, COMMON(Adapter, queue_desc, ULONG), 0);
    }
    if (Mistake == BreakNotifyEarly) {
        FunctionNotify(Adapter, 0);
    }
}

BOOLEAN FunctionStart(PADAPTER Adapter) {
    UCHAR status;

    FunctionStop(Adapter);
    RtlZeroMemory(Adapter->Shared, FUNCTION_SHARED_BYTES);
    Adapter->Submitted = 0;
    FunctionSetDescriptor(Adapter, 0, REQUEST_OFFSET, sizeof(struct virtio_blk_req), VIRTQ_DESC_F_NEXT);
    FunctionSetDescriptor(Adapter, 1, STATUS_OFFSET, 1, VIRTQ_DESC_F_WRITE);
    status = FunctionNegotiate(Adapter);
    if (status == 0) {
        return FALSE;
    }
    MisuseVectors(Adapter);
    FunctionProgramQueue(Adapter);
    FunctionSetStatus(Adapter, status |= VIRTIO_STATUS_DRIVER_OK);
    if (Mistake == BreakStatusBits) {
        FunctionSetStatus(Adapter, status | STATUS_RESERVED);
    }
    return TRUE;
}

/* ---- Requests ---- */

/* A chain of header, data to write, status. */
static VOID FunctionAddData(PADAPTER Adapter, ULONG Length) {
    FunctionSetDescriptor(Adapter, 1, DATA_OFFSET, Length, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE);
    FunctionSetDescriptor(Adapter, 2, STATUS_OFFSET, 1, VIRTQ_DESC_F_WRITE);
}

static VOID MisuseRequest(PADAPTER Adapter, struct virtio_blk_req *Request) {
    struct virtq_desc *header = (struct virtq_desc *)(PVOID)Adapter->Shared;

    switch (Mistake) {
    case BreakBlockRequest:
        header->len = 8;
        break;
    case BreakBlockData:
        Request->type = VIRTIO_BLK_T_IN;
        FunctionAddData(Adapter, 100);
        break;
    case BreakBlockCapacity:
        Request->type = VIRTIO_BLK_T_IN;
        Request->sector = 1ull << 40;
        FunctionAddData(Adapter, DISK_BLOCK_BYTES);
        break;
    case BreakBlockFields:
        Request->sector = 1;
        break;
    case BreakBlockFeature:
        Request->type = VIRTIO_BLK_T_DISCARD;
        break;
    case BreakDmaDescriptor:
        header->addr = NOBODYS_MEMORY;
        break;
    case BreakDmaDirection:
        header->addr = Adapter->DataPhysical;
        break;
    case BreakDmaMemory:
        header[1].addr = Adapter->DataPhysical;
        break;
    }
}

/* One entry more than the queue has, in a table: the rule is the chain's, not the ring's. */
static VOID FunctionFillTable(PADAPTER Adapter) {
    struct virtq_desc *table = (struct virtq_desc *)(PVOID)(Adapter->Shared + TABLE_OFFSET);
    ULONG i;

    for (i = 0; i < TABLE_ENTRIES; i++) {
        table[i].addr = Adapter->SharedPhysical + REQUEST_OFFSET;
        table[i].len = 1;
        table[i].flags = VIRTQ_DESC_F_NEXT;
        table[i].next = (USHORT)(i + 1);
    }
}

static VOID MisuseRing(PADAPTER Adapter, struct virtq_avail *Avail) {
    struct virtq_desc *header = (struct virtq_desc *)(PVOID)Adapter->Shared;

    switch (Mistake) {
    case BreakRingIndex:
        Adapter->Submitted += QUEUE_ENTRIES + 1;
        break;
    case BreakRingHead:
        Avail->ring[Adapter->Submitted % QUEUE_ENTRIES] = QUEUE_ENTRIES;
        break;
    case BreakRingOwned:
        Adapter->Submitted++; /* two entries, and both name chain 0 */
        break;
    case BreakRingLoop:
        header[1].flags |= VIRTQ_DESC_F_NEXT;
        header[1].next = 1;
        break;
    case BreakRingLength:
        FunctionFillTable(Adapter);
        FunctionSetDescriptor(Adapter, 0, TABLE_OFFSET, TABLE_ENTRIES * sizeof(*header), VIRTQ_DESC_F_INDIRECT);
        break;
    case BreakRingOrder:
        FunctionSetDescriptor(Adapter, 0, STATUS_OFFSET, 1, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE);
        FunctionSetDescriptor(Adapter, 1, REQUEST_OFFSET, sizeof(struct virtio_blk_req), 0);
        break;
    case BreakRingIndirect:
        FunctionSetDescriptor(Adapter, 0, 0, 2 * sizeof(*header), VIRTQ_DESC_F_INDIRECT);
        break;
    case BreakRingBuffer:
        header[1].len = 0;
        break;
    case BreakRingFlags:
        Avail->flags = 2;
        break;
    case BreakRingBarrier:
        FunctionNotify(Adapter, 0);
        break;
    case BreakNotifyTarget:
        FunctionNotify(Adapter, 1);
        break;
    }
}

VOID FunctionFlush(PADAPTER Adapter) {
    struct virtio_blk_req *request = (struct virtio_blk_req *)(PVOID)(Adapter->Shared + REQUEST_OFFSET);
    struct virtq_avail *avail = (struct virtq_avail *)(PVOID)(Adapter->Shared + AVAIL_OFFSET);

    request->type = VIRTIO_BLK_T_FLUSH;
    MisuseRequest(Adapter, request);
    MisuseRing(Adapter, avail);
    Adapter->Submitted++;
    KeMemoryBarrier(); /* the ring's entry, which is always 0, and the request before the index that names them */
    *(volatile USHORT *)&avail->idx = Adapter->Submitted;
    KeMemoryBarrier(); /* the index before the doorbell */
    FunctionNotify(Adapter, 0);
}

BOOLEAN FunctionAwaitFetch(PADAPTER Adapter) {
    struct virtq_used *used = (struct virtq_used *)(PVOID)(Adapter->Shared + USED_OFFSET);

    while (*(volatile USHORT *)&used->flags == 0 && !FunctionIsDone(Adapter)) {
        (VOID)FunctionStatus(Adapter);
    }
    return (BOOLEAN)!FunctionIsDone(Adapter);
}

BOOLEAN FunctionIsDone(PADAPTER Adapter) {
    struct virtq_used *used = (struct virtq_used *)(PVOID)(Adapter->Shared + USED_OFFSET);

    return (BOOLEAN)(*(volatile USHORT *)&used->idx == Adapter->Submitted);
}

UCHAR FunctionAcknowledge(PADAPTER Adapter) {
    if (Mistake == BreakMmioReadonly) {
        StorPortWriteRegisterUchar(Adapter, Adapter->Registers + ISR_OFFSET, 0);
    }
    if (Mistake == BreakMmioWidth) {
        return (UCHAR)StorPortReadRegisterUlong(Adapter, (PULONG)(PVOID)(Adapter->Registers + ISR_OFFSET));
    }
    return StorPortReadRegisterUchar(Adapter, Adapter->Registers + ISR_OFFSET);
}
