/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * virtio over PCI, modern transport: registers and nothing else (no ring, no request, no lock).
 *
 * Bringing a device up, in call order                                             [virtio 3.1.1]
 *   VirtioPciParseCaps       configuration bytes → four regions. Pure; nothing was touched yet.
 *   (the caller maps the BARs and fills VIRTIO_PCI)
 *   VirtioPciReset           status 0, read back until 0, bounded. FALSE: the device may still be running.
 *   VirtioPciBegin           ACKNOWLEDGE, then DRIVER
 *   VirtioPciNegotiate       features: offered & wanted, FEATURES_OK, read back
 *   VirtioPciReadConfig      device configuration between equal generations
 *   VirtioPciSetConfigVector, VirtioPciSetupQueue   vectors are confirmed by reading them back
 *   VirtioPciDriverOk        read back
 * Later: VirtioPciNotify (the doorbell), VirtioPciReadIsr (reading acknowledges), VirtioPciStatus.
 * Any failure: VirtioPciFail sets FAILED, and VirtioPciReset starts again.
 *
 * The selectors (feature, queue) are global to the device: the caller serializes everything but Notify and ReadIsr.
 * Every access has the width of its field; 64-bit fields are written as two 32-bit halves.       [virtio 4.1.3.1]
 * An absent device reads all ones everywhere: every wait is bounded, and such a status is never taken for an answer.
 * IRQL: any, for all of it. VirtioPciReset may take 100 ms.
 */
#ifndef VIRTIO_PCI_MODERN_MINIPORT_H
#define VIRTIO_PCI_MODERN_MINIPORT_H

#include "virtio_platform.h"
#include "virtio_spec.h"

typedef struct _VIRTIO_PCI_REGION {
    ULONG Bar; /* 0 to 5 */
    ULONG Offset;
    ULONG Length;
} VIRTIO_PCI_REGION;

typedef struct _VIRTIO_PCI_CAPS {
    VIRTIO_PCI_REGION Common;
    VIRTIO_PCI_REGION Notify;
    VIRTIO_PCI_REGION Isr;
    VIRTIO_PCI_REGION Device;
    ULONG NotifyMultiplier;
} VIRTIO_PCI_CAPS, *PVIRTIO_PCI_CAPS;

/*
 * Why a function's capability list was refused. A broken list is named first, then the first region (in the order of
 * VIRTIO_PCI_CAPS) that could not be placed, by what is wrong with the first capability that names it.
 */
typedef enum _VIRTIO_PCI_CAPS_STATUS {
    VirtioPciCapsOk,
    VirtioPciCapsNoList,      /* status bit 4 clear, or the list is empty */
    VirtioPciCapsBadPointer,  /* misaligned, or inside the header */
    VirtioPciCapsLoop,        /* more links than configuration space can hold */
    VirtioPciCapsTruncated,   /* a required capability, or the region it names, is too short for its fields */
    VirtioPciCapsMissing,     /* a required capability is not there */
    VirtioPciCapsBarUnusable, /* the region does not lie, aligned, in a memory BAR: I/O space, absent or too short */
    VirtioPciCapsNotContract  /* well formed, but not the contract's fixed layout; only with FixedLayout */
} VIRTIO_PCI_CAPS_STATUS;

/*
 * Reads the capability list from the 256 bytes of configuration space.
 * BarLength[n]: bytes of memory BAR n as the system assigned it; 0 where n is not a memory BAR.
 * FixedLayout: accept contract §1.4 only (BAR0 at least 0x4000 long, the four offsets, the lengths as minimums,
 * multiplier 4). Otherwise the first usable capability of each type wins; capabilities that name a reserved BAR
 * or an unknown type are skipped. *Caps is written only with VirtioPciCapsOk. [virtio 4.1.4; contract 1.3, 1.4]
 */
VIRTIO_PCI_CAPS_STATUS VirtioPciParseCaps(const UCHAR *Config, const ULONG BarLength[6], BOOLEAN FixedLayout,
                                          PVIRTIO_PCI_CAPS Caps);

typedef struct _VIRTIO_PCI {
    PVOID Context; /* what the platform's register access needs */
    PUCHAR Common;
    PUCHAR Notify;
    PUCHAR Isr;
    PUCHAR Device;
    ULONG NotifyLength;
    ULONG DeviceLength;
    ULONG NotifyMultiplier;
} VIRTIO_PCI, *PVIRTIO_PCI;

typedef struct _VIRTIO_PCI_QUEUE {
    USHORT Index;
    USHORT Size;   /* in: wanted (power of two, at most what the device has) */
    USHORT Vector; /* VIRTIO_MSI_NO_VECTOR for none */
    ULONGLONG Desc;
    ULONGLONG Avail;
    ULONGLONG Used;
    PUCHAR Doorbell; /* out */
} VIRTIO_PCI_QUEUE, *PVIRTIO_PCI_QUEUE;

BOOLEAN VirtioPciReset(PVIRTIO_PCI Device);
VOID VirtioPciBegin(PVIRTIO_PCI Device);
BOOLEAN VirtioPciDriverOk(PVIRTIO_PCI Device);
VOID VirtioPciFail(PVIRTIO_PCI Device);
/* VIRTIO_STATUS_ABSENT if no device answers. */
UCHAR VirtioPciStatus(PVIRTIO_PCI Device);
/* Why the device interrupts; reading acknowledges. 0: it does not, or no device answers. */
UCHAR VirtioPciReadIsr(PVIRTIO_PCI Device);

ULONGLONG VirtioPciOfferedFeatures(PVIRTIO_PCI Device);
/* Accepts exactly Features (a subset of what is offered, VERSION_1 included). FALSE: the device refuses the set. */
BOOLEAN VirtioPciNegotiate(PVIRTIO_PCI Device, ULONGLONG Features);

/*
 * Copies Length bytes of device configuration at Offset, all of one generation. Each access is the widest aligned one,
 * up to 32 bits, that the rest allows: an 8- or 16-bit field takes a call of its own, wider ones may be read together.
 * FALSE: outside the region, it never stopped changing, or no device answers.                     [virtio 2.5.1]
 */
BOOLEAN VirtioPciReadConfig(PVIRTIO_PCI Device, ULONG Offset, PVOID Buffer, ULONG Length);
UCHAR VirtioPciConfigGeneration(PVIRTIO_PCI Device);
/* Writes one byte of device configuration; nothing at an Offset outside of the region. After FEATURES_OK only. */
VOID VirtioPciWriteConfig8(PVIRTIO_PCI Device, ULONG Offset, UCHAR Value);

USHORT VirtioPciQueueCount(PVIRTIO_PCI Device);
/* Largest size of queue Index; 0 if there is no such queue, or no split ring can have the size it states. */
USHORT VirtioPciQueueSize(PVIRTIO_PCI Device, USHORT Index);
/* Programs and enables one queue. FALSE: vector or size not confirmed, already enabled, or doorbell out of range. */
BOOLEAN VirtioPciSetupQueue(PVIRTIO_PCI Device, PVIRTIO_PCI_QUEUE Queue);
/* FALSE: the device could not map the vector. VIRTIO_MSI_NO_VECTOR is never refused. */
BOOLEAN VirtioPciSetConfigVector(PVIRTIO_PCI Device, USHORT Vector);

/* Rings the doorbell of a queue that VirtioPciSetupQueue enabled. */
static FORCEINLINE VOID VirtioPciNotify(PVIRTIO_PCI Device, const VIRTIO_PCI_QUEUE *Queue) {
    VirtioWrite16(Device->Context, Queue->Doorbell, Queue->Index);
}

#endif
