/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The registers of a modern virtio PCI function: status, features, device configuration, queue set-up.
 */
#include "virtio_pci_modern_miniport.h"

/* Most devices have reset when the write returns; the others get 100 ms, in stalls that the kit allows. */
#define RESET_READS_WITHOUT_STALL 4
#define RESET_STALLS 200
#define RESET_STALL_US 500

/* A configuration that changes during so many reads in a row will not settle. */
#define CONFIG_READ_ATTEMPTS 16

/* A macro, so that a Field's offset is a constant of the address. */
#define COMMON(Device, Field) ((Device)->Common + offsetof(struct virtio_pci_common_cfg, Field))

/* [virtio 4.1.3.1] */
static VOID VirtioPciWrite64(PVIRTIO_PCI Device, PUCHAR Register, ULONGLONG Value) {
    VirtioWrite32(Device->Context, Register, (ULONG)Value);
    VirtioWrite32(Device->Context, Register + 4, (ULONG)(Value >> 32));
}

/* The driver never clears a status bit but by reset.  [virtio 2.1.1] */
static VOID VirtioPciAddStatus(PVIRTIO_PCI Device, UCHAR Bits) {
    UCHAR status = VirtioPciStatus(Device);

    if (status != VIRTIO_STATUS_ABSENT) {
        VirtioWrite8(Device->Context, COMMON(Device, device_status), (UCHAR)(status | Bits));
    }
}

UCHAR VirtioPciStatus(PVIRTIO_PCI Device) {
    return VirtioRead8(Device->Context, COMMON(Device, device_status));
}

/* [virtio 4.1.4.3.2] */
BOOLEAN VirtioPciReset(PVIRTIO_PCI Device) {
    ULONG i;

    VirtioWrite8(Device->Context, COMMON(Device, device_status), 0);
    for (i = 0; i < RESET_READS_WITHOUT_STALL + RESET_STALLS; i++) {
        if (i >= RESET_READS_WITHOUT_STALL) {
            VirtioStall(RESET_STALL_US);
        }
        if (VirtioPciStatus(Device) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* [virtio 3.1.1] steps 2 and 3 */
VOID VirtioPciBegin(PVIRTIO_PCI Device) {
    VirtioPciAddStatus(Device, VIRTIO_STATUS_ACKNOWLEDGE);
    VirtioPciAddStatus(Device, VIRTIO_STATUS_DRIVER);
}

/* Adds Bit, and looks whether the device has it now. */
static BOOLEAN VirtioPciReachStatus(PVIRTIO_PCI Device, UCHAR Bit) {
    UCHAR status;

    VirtioPciAddStatus(Device, Bit);
    status = VirtioPciStatus(Device);
    return status != VIRTIO_STATUS_ABSENT && (status & Bit) != 0;
}

BOOLEAN VirtioPciDriverOk(PVIRTIO_PCI Device) {
    return VirtioPciReachStatus(Device, VIRTIO_STATUS_DRIVER_OK);
}

VOID VirtioPciFail(PVIRTIO_PCI Device) {
    VirtioPciAddStatus(Device, VIRTIO_STATUS_FAILED);
}

UCHAR VirtioPciReadIsr(PVIRTIO_PCI Device) {
    UCHAR isr = VirtioRead8(Device->Context, Device->Isr);

    return (UCHAR)(isr == 0xFF ? 0 : isr);
}

ULONGLONG VirtioPciOfferedFeatures(PVIRTIO_PCI Device) {
    ULONG low, high;

    VirtioWrite32(Device->Context, COMMON(Device, device_feature_select), 0);
    low = VirtioRead32(Device->Context, COMMON(Device, device_feature));
    VirtioWrite32(Device->Context, COMMON(Device, device_feature_select), 1);
    high = VirtioRead32(Device->Context, COMMON(Device, device_feature));
    return (ULONGLONG)high << 32 | low;
}

/* [virtio 3.1.1] steps 4 to 6 */
BOOLEAN VirtioPciNegotiate(PVIRTIO_PCI Device, ULONGLONG Features) {
    VIRTIO_ASSERT((Features & VIRTIO_FEATURE(VIRTIO_F_VERSION_1)) != 0);
    VirtioWrite32(Device->Context, COMMON(Device, driver_feature_select), 0);
    VirtioWrite32(Device->Context, COMMON(Device, driver_feature), (ULONG)Features);
    VirtioWrite32(Device->Context, COMMON(Device, driver_feature_select), 1);
    VirtioWrite32(Device->Context, COMMON(Device, driver_feature), (ULONG)(Features >> 32));
    return VirtioPciReachStatus(Device, VIRTIO_STATUS_FEATURES_OK);
}

UCHAR VirtioPciConfigGeneration(PVIRTIO_PCI Device) {
    return VirtioRead8(Device->Context, COMMON(Device, config_generation));
}

/* One pass over the range; it may mix generations. */
static VOID VirtioPciCopyConfig(PVIRTIO_PCI Device, ULONG Offset, PUCHAR Buffer, ULONG Length) {
    ULONG width, value, i;

    while (Length != 0) {
        if (Length >= 4 && Offset % 4 == 0) {
            width = 4;
            value = VirtioRead32(Device->Context, Device->Device + Offset);
        } else if (Length >= 2 && Offset % 2 == 0) {
            width = 2;
            value = VirtioRead16(Device->Context, Device->Device + Offset);
        } else {
            width = 1;
            value = VirtioRead8(Device->Context, Device->Device + Offset);
        }
        for (i = 0; i < width; i++) {
            *Buffer++ = (UCHAR)(value >> (8 * i));
        }
        Offset += width;
        Length -= width;
    }
}

DECLSPEC_NOINLINE BOOLEAN VirtioPciReadConfig(PVIRTIO_PCI Device, ULONG Offset, PVOID Buffer, ULONG Length) {
    UCHAR before, after;
    ULONG attempt;

    if (Offset > Device->DeviceLength || Length > Device->DeviceLength - Offset) {
        return FALSE;
    }
    after = VirtioPciConfigGeneration(Device);
    for (attempt = 0; attempt < CONFIG_READ_ATTEMPTS; attempt++) {
        before = after;
        VirtioPciCopyConfig(Device, Offset, (PUCHAR)Buffer, Length);
        after = VirtioPciConfigGeneration(Device);
        if (before == after) {
            /* 0xFF is a generation like any other, unless nothing else answers either. */
            return after != 0xFF || VirtioPciStatus(Device) != VIRTIO_STATUS_ABSENT;
        }
    }
    return FALSE;
}

VOID VirtioPciWriteConfig8(PVIRTIO_PCI Device, ULONG Offset, UCHAR Value) {
    if (Offset < Device->DeviceLength) {
        VirtioWrite8(Device->Context, Device->Device + Offset, Value);
    }
}

USHORT VirtioPciQueueCount(PVIRTIO_PCI Device) {
    return VirtioRead16(Device->Context, COMMON(Device, num_queues));
}

/* Size of the selected queue; 0 unless a power of two. */
static USHORT VirtioPciSelectedQueueSize(PVIRTIO_PCI Device) {
    USHORT size = VirtioRead16(Device->Context, COMMON(Device, queue_size));

    return (USHORT)((size & (size - 1)) == 0 ? size : 0);
}

USHORT VirtioPciQueueSize(PVIRTIO_PCI Device, USHORT Index) {
    VirtioWrite16(Device->Context, COMMON(Device, queue_select), Index);
    return VirtioPciSelectedQueueSize(Device);
}

/* Of the selected queue; NULL if its doorbell is outside the notification region or not aligned.  [virtio 4.1.4.4] */
static PUCHAR VirtioPciDoorbell(PVIRTIO_PCI Device) {
    ULONG index = VirtioRead16(Device->Context, COMMON(Device, queue_notify_off));
    ULONG multiplier = Device->NotifyMultiplier;

    VIRTIO_ASSERT(Device->NotifyLength >= sizeof(le16));
    if (multiplier != 0 && index > (Device->NotifyLength - sizeof(le16)) / multiplier) {
        return NULL;
    }
    if (index * multiplier % sizeof(le16) != 0) {
        return NULL;
    }
    return Device->Notify + index * multiplier;
}

/*
 * Writes one of the vector registers; the device answers VIRTIO_MSI_NO_VECTOR for refused. To that value there is no
 * answer, and without MSI-X the registers need not hold it.  [virtio 4.1.5.1.2]
 */
static BOOLEAN VirtioPciWriteVector(PVIRTIO_PCI Device, PUCHAR Register, USHORT Vector) {
    VirtioWrite16(Device->Context, Register, Vector);
    return Vector == VIRTIO_MSI_NO_VECTOR || VirtioRead16(Device->Context, Register) == Vector;
}

BOOLEAN VirtioPciSetConfigVector(PVIRTIO_PCI Device, USHORT Vector) {
    return VirtioPciWriteVector(Device, COMMON(Device, config_msix_vector), Vector);
}

/* [virtio 4.1.5.1.3] */
BOOLEAN VirtioPciSetupQueue(PVIRTIO_PCI Device, PVIRTIO_PCI_QUEUE Queue) {
    VIRTIO_ASSERT(Queue->Size != 0 && (Queue->Size & (Queue->Size - 1)) == 0);
    VIRTIO_ASSERT(Queue->Desc % VIRTQ_DESC_ALIGN == 0 && Queue->Avail % VIRTQ_AVAIL_ALIGN == 0 &&
                  Queue->Used % VIRTQ_USED_ALIGN == 0);

    if (VirtioPciQueueSize(Device, Queue->Index) < Queue->Size ||
        VirtioRead16(Device->Context, COMMON(Device, queue_enable)) != 0) {
        return FALSE;
    }
    VirtioWrite16(Device->Context, COMMON(Device, queue_size), Queue->Size);
    if (VirtioPciSelectedQueueSize(Device) != Queue->Size ||
        !VirtioPciWriteVector(Device, COMMON(Device, queue_msix_vector), Queue->Vector)) {
        return FALSE;
    }
    Queue->Doorbell = VirtioPciDoorbell(Device);
    if (Queue->Doorbell == NULL) {
        return FALSE;
    }
    VirtioPciWrite64(Device, COMMON(Device, queue_desc), Queue->Desc);
    VirtioPciWrite64(Device, COMMON(Device, queue_driver), Queue->Avail);
    VirtioPciWrite64(Device, COMMON(Device, queue_device), Queue->Used);
    VirtioWrite16(Device->Context, COMMON(Device, queue_enable), 1);
    return VirtioRead16(Device->Context, COMMON(Device, queue_enable)) == 1;
}
