/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * HwFindAdapter: whether the device is ours to drive, where its registers are, and the memory for its queue.
 * Nothing else runs yet. Every refusal has a reason, told once, and leaves the device alone.
 */
#include "aero_virtio_blk.h"
#include "trace.h"

/* PCI configuration space, type 0 header. [PCI 3.0 6.1, 6.2.5.1] */
#define PCI_SPACE_BYTES 256
#define PCI_AT_VENDOR 0x00
#define PCI_AT_DEVICE 0x02
#define PCI_AT_REVISION 0x08
#define PCI_AT_BAR0 0x10
#define PCI_BAR_IO 0x1
#define PCI_BAR_TYPE 0x6
#define PCI_BAR_TYPE_64 0x4
#define PCI_BAR_FLAGS 0xF

#define CONTRACT_REVISION 1 /* [contract 1.1, 4] */

static ULONG VblkGetLe32(const UCHAR *Bytes) {
    return (ULONG)Bytes[0] | (ULONG)Bytes[1] << 8 | (ULONG)Bytes[2] << 16 | (ULONG)Bytes[3] << 24;
}

/* Whether Text, which may be NULL, contains Word. */
static BOOLEAN VblkContains(const CHAR *Text, const CHAR *Word) {
    ULONG i;

    for (; Text != NULL && *Text != 0; Text++) {
        for (i = 0; Word[i] != 0 && Text[i] == Word[i]; i++) {
        }
        if (Word[i] == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* The registry's DriverParameter decides, and where it is silent the build. */
static BOOLEAN VblkWantsFixedLayout(const CHAR *Argument) {
    if (VblkContains(Argument, "layout=any")) {
        return FALSE;
    }
    if (VblkContains(Argument, "layout=contract")) {
        return TRUE;
    }
    return AERO_VIRTIO_MINIPORT_ENFORCE_FIXED_LAYOUT != 0;
}

static VBLK_REASON VblkIdentify(PVBLK_ADAPTER Adapter, PPORT_CONFIGURATION_INFORMATION ConfigInfo, PUCHAR Space) {
    ULONG identity;

    if (StorPortGetBusData(Adapter, PCIConfiguration, ConfigInfo->SystemIoBusNumber, ConfigInfo->SlotNumber, Space,
                           PCI_SPACE_BYTES) != PCI_SPACE_BYTES) {
        return VblkReasonBusData;
    }
    identity = VblkGetLe32(Space + PCI_AT_VENDOR);
    if (identity != (VIRTIO_PCI_VENDOR_ID | (ULONG)(VIRTIO_PCI_DEVICE_ID_BASE + VIRTIO_ID_BLOCK) << 16)) {
        return VblkReasonIdentity;
    }
    return Space[PCI_AT_REVISION] == CONTRACT_REVISION ? VblkReasonNone : VblkReasonRevision;
}

/* Finds the memory that the system assigned at Start. StorPort's order of ranges says nothing about BARs. */
static VOID VblkMatchBar(PPORT_CONFIGURATION_INFORMATION ConfigInfo, ULONGLONG Start, PVBLK_BAR Bar) {
    const ACCESS_RANGE *range = *ConfigInfo->AccessRanges;
    ULONG i;

    for (i = 0; i < ConfigInfo->NumberOfAccessRanges; i++) {
        if (range[i].RangeInMemory && range[i].RangeLength != 0 && (ULONGLONG)range[i].RangeStart.QuadPart == Start) {
            Bar->Start = range[i].RangeStart;
            Bar->Length = range[i].RangeLength;
            return;
        }
    }
}

static VOID VblkMatchBars(PVBLK_ADAPTER Adapter, PPORT_CONFIGURATION_INFORMATION ConfigInfo, const UCHAR *Space) {
    ULONG i;

    for (i = 0; i < RTL_NUMBER_OF(Adapter->Bar); i++) {
        ULONG low = VblkGetLe32(Space + PCI_AT_BAR0 + 4 * i);
        ULONGLONG start = low & ~(ULONG)PCI_BAR_FLAGS;
        PVBLK_BAR bar = &Adapter->Bar[i];

        if ((low & PCI_BAR_IO) != 0) {
            continue;
        }
        if ((low & PCI_BAR_TYPE) == PCI_BAR_TYPE_64 && i + 1 < RTL_NUMBER_OF(Adapter->Bar)) {
            i++; /* the next register is this BAR's upper half */
            start |= (ULONGLONG)VblkGetLe32(Space + PCI_AT_BAR0 + 4 * i) << 32;
        }
        if (start != 0) {
            VblkMatchBar(ConfigInfo, start, bar);
        }
    }
}

static VBLK_REASON VblkParseCaps(PVBLK_ADAPTER Adapter, const UCHAR *Space, BOOLEAN FixedLayout,
                                 PVIRTIO_PCI_CAPS Caps) {
    ULONG length[RTL_NUMBER_OF(Adapter->Bar)];
    VIRTIO_PCI_CAPS_STATUS status;
    ULONG i;

    for (i = 0; i < RTL_NUMBER_OF(length); i++) {
        length[i] = Adapter->Bar[i].Length;
    }
    status = VirtioPciParseCaps(Space, length, FixedLayout, Caps);
    if (status == VirtioPciCapsOk) {
        return VblkReasonNone;
    }
    return (VBLK_REASON)(VblkReasonCapsNoList + (status - VirtioPciCapsNoList));
}

/* Where Region begins, or NULL. Each BAR is mapped once, as a whole. */
static PUCHAR VblkMapRegion(PVBLK_ADAPTER Adapter, PPORT_CONFIGURATION_INFORMATION ConfigInfo,
                            const VIRTIO_PCI_REGION *Region) {
    PVBLK_BAR bar = &Adapter->Bar[Region->Bar];

    if (bar->Mapped == NULL) {
        bar->Mapped = (PUCHAR)StorPortGetDeviceBase(Adapter, ConfigInfo->AdapterInterfaceType,
                                                    ConfigInfo->SystemIoBusNumber, bar->Start, bar->Length, FALSE);
    }
    return bar->Mapped == NULL ? NULL : bar->Mapped + Region->Offset;
}

static VBLK_REASON VblkMapRegions(PVBLK_ADAPTER Adapter, PPORT_CONFIGURATION_INFORMATION ConfigInfo,
                                  const VIRTIO_PCI_CAPS *Caps) {
    PVIRTIO_PCI pci = &Adapter->Pci;

    pci->Context = Adapter;
    pci->Common = VblkMapRegion(Adapter, ConfigInfo, &Caps->Common);
    pci->Notify = VblkMapRegion(Adapter, ConfigInfo, &Caps->Notify);
    pci->Isr = VblkMapRegion(Adapter, ConfigInfo, &Caps->Isr);
    pci->Device = VblkMapRegion(Adapter, ConfigInfo, &Caps->Device);
    pci->NotifyLength = Caps->Notify.Length;
    pci->DeviceLength = Caps->Device.Length;
    pci->NotifyMultiplier = Caps->NotifyMultiplier;
    if (pci->Common == NULL || pci->Notify == NULL || pci->Isr == NULL || pci->Device == NULL) {
        return VblkReasonMapping;
    }
    return VblkReasonNone;
}

static VOID VblkUnmap(PVBLK_ADAPTER Adapter) {
    ULONG i;

    for (i = 0; i < RTL_NUMBER_OF(Adapter->Bar); i++) {
        if (Adapter->Bar[i].Mapped != NULL) {
            StorPortFreeDeviceBase(Adapter, Adapter->Bar[i].Mapped);
            Adapter->Bar[i].Mapped = NULL;
        }
    }
    RtlZeroMemory(&Adapter->Pci, sizeof(Adapter->Pci));
}

/* Stops whatever an earlier driver left running, asks, and leaves the device stopped. */
static VBLK_REASON VblkAskDevice(PVBLK_ADAPTER Adapter) {
    VBLK_REASON reason;

    if (!VirtioPciReset(&Adapter->Pci)) {
        return VblkReasonWillNotStop;
    }
    VirtioPciBegin(&Adapter->Pci);
    reason = VblkReadLimits(Adapter);
    if (!VirtioPciReset(&Adapter->Pci) && reason == VblkReasonNone) {
        reason = VblkReasonWillNotStop;
    }
    return reason;
}

static VOID VblkFillConfigInfo(PVBLK_ADAPTER Adapter, PPORT_CONFIGURATION_INFORMATION ConfigInfo) {
    ConfigInfo->NumberOfPhysicalBreaks = Adapter->Breaks;
    ConfigInfo->MaximumTransferLength = VBLK_TRANSFER_BYTES(Adapter->Breaks);
    ConfigInfo->AlignmentMask = 0; /* virtio places no condition on a buffer: any mask would cost someone a copy */
    ConfigInfo->SrbExtensionSize = (ULONG)VBLK_REQUEST_BYTES(Adapter->AreaBytes);
    Adapter->Disk.PciBus = ConfigInfo->SystemIoBusNumber;
    Adapter->Disk.PciSlot = ConfigInfo->SlotNumber;
    if ((ConfigInfo->Dma64BitAddresses & SCSI_DMA64_SYSTEM_SUPPORTED) != 0) {
        ConfigInfo->Dma64BitAddresses = SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED;
    }
    ConfigInfo->NumberOfBuses = 1;
    ConfigInfo->MaximumNumberOfTargets = 1;
    ConfigInfo->MaximumNumberOfLogicalUnits = 1;
    ConfigInfo->CachesData = Adapter->Flush;
    ConfigInfo->ResetTargetSupported = TRUE;
    ConfigInfo->VirtualDevice = FALSE;
    ConfigInfo->SynchronizationModel = StorSynchronizeFullDuplex;
    ConfigInfo->HwMSInterruptRoutine = VblkHwMSInterrupt;
    ConfigInfo->InterruptSynchronizationMode = InterruptSynchronizeAll;
}

/* StorPort gives uncached memory once per adapter, so a second start uses what the first one got. */
static VBLK_REASON VblkAllocateRing(PVBLK_ADAPTER Adapter, PPORT_CONFIGURATION_INFORMATION ConfigInfo) {
    ULONG bytes = VirtqueueBytes(Adapter->QueueSize) + VIRTQUEUE_ALIGNMENT - 1;
    PVOID memory = StorPortGetUncachedExtension(Adapter, ConfigInfo, bytes);
    STOR_PHYSICAL_ADDRESS physical;
    ULONG length = 0;
    PUCHAR ring;

    if (memory != NULL) {
        Adapter->RingVirtual = memory;
        Adapter->RingBytes = bytes;
    }
    if (Adapter->RingVirtual == NULL || Adapter->RingBytes < bytes) {
        return VblkReasonMemory;
    }
    ring =
        (PUCHAR)(((ULONG_PTR)Adapter->RingVirtual + VIRTQUEUE_ALIGNMENT - 1) & ~(ULONG_PTR)(VIRTQUEUE_ALIGNMENT - 1));
    physical = StorPortGetPhysicalAddress(Adapter, NULL, ring, &length);
    if (physical.QuadPart == 0) {
        return VblkReasonMemory;
    }
    Adapter->RingMemory.Virtual = ring;
    Adapter->RingMemory.Physical = (ULONGLONG)physical.QuadPart;
    Adapter->RingMemory.Slot = Adapter->Slot;
    return VblkReasonNone;
}

static VBLK_REASON VblkProbe(PVBLK_ADAPTER Adapter, PPORT_CONFIGURATION_INFORMATION ConfigInfo, BOOLEAN FixedLayout) {
    UCHAR space[PCI_SPACE_BYTES];
    VIRTIO_PCI_CAPS caps;
    VBLK_REASON reason = VblkIdentify(Adapter, ConfigInfo, space);

    if (reason == VblkReasonNone) {
        VblkMatchBars(Adapter, ConfigInfo, space);
        reason = VblkParseCaps(Adapter, space, FixedLayout, &caps);
    }
    if (reason == VblkReasonNone) {
        reason = VblkMapRegions(Adapter, ConfigInfo, &caps);
    }
    if (reason == VblkReasonNone) {
        reason = VblkAskDevice(Adapter);
    }
    if (reason == VblkReasonNone) {
        VblkFillConfigInfo(Adapter, ConfigInfo);
        reason = VblkAllocateRing(Adapter, ConfigInfo);
    }
    return reason;
}

ULONG VblkFindAdapter(PVBLK_ADAPTER Adapter, PPORT_CONFIGURATION_INFORMATION ConfigInfo, BOOLEAN FixedLayout,
                      BOOLEAN Dump) {
    VBLK_REASON reason;

    VblkEnterFound(Adapter);
    Adapter->Dump = Dump;
    reason = VblkProbe(Adapter, ConfigInfo, FixedLayout);
    if (reason == VblkReasonNone) {
        return SP_RETURN_FOUND;
    }
    VblkUnmap(Adapter);
    VblkReport(Adapter, reason);
    return reason <= VblkReasonRevision ? SP_RETURN_NOT_FOUND : SP_RETURN_BAD_CONFIG;
}

/* The extension is zero only the first time. IRQL: PASSIVE. Locks: none. [ddi HW_FIND_ADAPTER] */
ULONG NTAPI VblkHwFindAdapter(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                              PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again) {
    UNREFERENCED_PARAMETER(HwContext);
    UNREFERENCED_PARAMETER(BusInformation);
    UNREFERENCED_PARAMETER(Again);

    return VblkFindAdapter((PVBLK_ADAPTER)DeviceExtension, ConfigInfo, VblkWantsFixedLayout(ArgumentString), FALSE);
}
