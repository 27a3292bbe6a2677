/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The virtio half: the contract's register layout, one queue, and one request at a time, always a FLUSH. */
#include "miniport.h"
#include "virtio_blk_spec.h"
#include "virtio_spec.h"

/* [contract 1.4] */
#define NOTIFY_OFFSET 0x1000
#define NOTIFY_MULTIPLIER 4
#define ISR_OFFSET 0x2000

/* In the shared memory; room for a queue of 128, which is the contract's. */
#define AVAIL_OFFSET 0x0800
#define USED_OFFSET 0x1000
#define REQUEST_OFFSET 0x2000
#define STATUS_OFFSET (REQUEST_OFFSET + sizeof(struct virtio_blk_req))

C_ASSERT(STATUS_OFFSET < FUNCTION_SHARED_BYTES);

/* A physical address that StorPort gave to nobody. */
#define NOBODYS_MEMORY 0x3000

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

VOID FunctionStop(PADAPTER Adapter) {
    FunctionSetStatus(Adapter, 0);
    while (FunctionStatus(Adapter) != 0) {
    }
}

BOOLEAN FunctionStart(PADAPTER Adapter) {
    UCHAR status = VIRTIO_STATUS_ACKNOWLEDGE;

    FunctionStop(Adapter);
    RtlZeroMemory(Adapter->Shared, FUNCTION_SHARED_BYTES);
    Adapter->Submitted = 0;
    FunctionSetDescriptor(Adapter, 0, REQUEST_OFFSET, sizeof(struct virtio_blk_req), VIRTQ_DESC_F_NEXT);
    FunctionSetDescriptor(Adapter, 1, STATUS_OFFSET, 1, VIRTQ_DESC_F_WRITE);

    FunctionSetStatus(Adapter, status);
    FunctionSetStatus(Adapter, status |= VIRTIO_STATUS_DRIVER);
    FunctionAccept(Adapter, 0, 1ul << VIRTIO_BLK_F_FLUSH);
    FunctionAccept(Adapter, 1, 1ul << (VIRTIO_F_VERSION_1 - 32));
    FunctionSetStatus(Adapter, status |= VIRTIO_STATUS_FEATURES_OK);
    if ((FunctionStatus(Adapter) & VIRTIO_STATUS_FEATURES_OK) == 0) {
        return FALSE;
    }
    StorPortWriteRegisterUshort(Adapter, COMMON(Adapter, queue_select, USHORT), 0);
    FunctionSetAddress(Adapter, COMMON(Adapter, queue_desc, ULONG), 0);
    FunctionSetAddress(Adapter, COMMON(Adapter, queue_driver, ULONG), AVAIL_OFFSET);
    FunctionSetAddress(Adapter, COMMON(Adapter, queue_device, ULONG), USED_OFFSET);
    Adapter->NotifyOffset = StorPortReadRegisterUshort(Adapter, COMMON(Adapter, queue_notify_off, USHORT));
    StorPortWriteRegisterUshort(Adapter, COMMON(Adapter, queue_enable, USHORT), 1);
    FunctionSetStatus(Adapter, status | VIRTIO_STATUS_DRIVER_OK);
    return TRUE;
}

VOID FunctionFlush(PADAPTER Adapter) {
    struct virtio_blk_req *request = (struct virtio_blk_req *)(PVOID)(Adapter->Shared + REQUEST_OFFSET);
    struct virtq_avail *avail = (struct virtq_avail *)(PVOID)(Adapter->Shared + AVAIL_OFFSET);
    ULONG doorbell = NOTIFY_OFFSET + NOTIFY_MULTIPLIER * Adapter->NotifyOffset;

    request->type = VIRTIO_BLK_T_FLUSH;
    if (Mistake == BreakDmaMemory) {
        ((struct virtq_desc *)(PVOID)Adapter->Shared)->addr = NOBODYS_MEMORY;
    }
    Adapter->Submitted++;
    KeMemoryBarrier(); /* the ring's entry, which is always 0, and the request before the index that names them */
    *(volatile USHORT *)&avail->idx = Adapter->Submitted;
    KeMemoryBarrier(); /* the index before the doorbell */
    StorPortWriteRegisterUshort(Adapter, (PUSHORT)(PVOID)(Adapter->Registers + doorbell), 0);
}

BOOLEAN FunctionIsDone(PADAPTER Adapter) {
    struct virtq_used *used = (struct virtq_used *)(PVOID)(Adapter->Shared + USED_OFFSET);

    return (BOOLEAN)(*(volatile USHORT *)&used->idx == Adapter->Submitted);
}

UCHAR FunctionAcknowledge(PADAPTER Adapter) {
    if (Mistake == BreakDeviceProtocol) {
        StorPortWriteRegisterUchar(Adapter, Adapter->Registers + ISR_OFFSET, 0);
    }
    return StorPortReadRegisterUchar(Adapter, Adapter->Registers + ISR_OFFSET);
}
