/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A RAM disk as hobbyists and samples write them: a PCI miniport by its form, which has its memory, lock, list, DPC and
 * timer of the kernel's, prints what it does, and never looks at its device.
 */
#include "kernel.h"
#include "scsi.h"

#define POOL_TAG 0x4b534452
#define NON_PAGED 0
#define LATER_EVERY 16 /* requests, of which one waits for the timer */

typedef struct _REQUEST { /* SRB extension */
    LIST_ENTRY Entry;
    PSCSI_REQUEST_BLOCK Srb;
    PUCHAR Buffer;
    TRANSFER Transfer;
} REQUEST, *PREQUEST;

typedef struct _DISK {
    PUCHAR Memory;
    KSPIN_LOCK Lock; /* of Waiting and Count */
    LIST_ENTRY Waiting;
    ULONG Count;
    KOBJECT Dpc, Timer;
    LARGE_INTEGER Started;
} DISK, *PDISK;

static VOID Complete(PDISK Disk, PSCSI_REQUEST_BLOCK Srb, UCHAR Status) {
    Srb->SrbStatus = Status;
    StorPortNotification(RequestComplete, Disk, Srb);
}

static PREQUEST Next(PDISK Disk) {
    PLIST_ENTRY entry;
    KIRQL irql;

    KeAcquireSpinLock(&Disk->Lock, &irql);
    entry = RemoveHeadList(&Disk->Waiting);
    KeReleaseSpinLock(&Disk->Lock, irql);
    return entry == &Disk->Waiting ? NULL : CONTAINING_RECORD(entry, REQUEST, Entry);
}

static VOID NTAPI OnDpc(PVOID Dpc, PVOID Context, PVOID Argument1, PVOID Argument2) {
    PDISK disk = (PDISK)Context;
    PREQUEST request;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    while ((request = Next(disk)) != NULL) {
        PUCHAR at = disk->Memory + request->Transfer.Offset;

        if (request->Transfer.ToDisk) {
            RtlCopyMemory(at, request->Buffer, request->Transfer.Bytes);
        } else {
            RtlCopyMemory(request->Buffer, at, request->Transfer.Bytes);
        }
        Complete(disk, request->Srb, SRB_STATUS_SUCCESS);
    }
}

static VOID Enqueue(PDISK Disk, PREQUEST Request) {
    LARGE_INTEGER later;
    BOOLEAN wait;
    KIRQL irql;

    KeAcquireSpinLock(&Disk->Lock, &irql);
    InsertTailList(&Disk->Waiting, &Request->Entry);
    wait = (BOOLEAN)(++Disk->Count % LATER_EVERY == 0);
    KeReleaseSpinLock(&Disk->Lock, irql);
    if (wait) {
        later.QuadPart = -10000; /* a millisecond */
        (VOID)KeSetTimer(&Disk->Timer, later, &Disk->Dpc);
    } else {
        (VOID)KeInsertQueueDpc(&Disk->Dpc, NULL, NULL);
    }
}

static VOID ExecuteScsi(PDISK Disk, PSCSI_REQUEST_BLOCK Srb) {
    PREQUEST request = (PREQUEST)Srb->SrbExtension;
    PVOID buffer;

    if (!ScsiDecode(Srb, &request->Transfer)) {
        StorPortNotification(RequestComplete, Disk, Srb);
        return;
    }
    if (StorPortGetSystemAddress(Disk, Srb, &buffer) != STOR_STATUS_SUCCESS) {
        DbgPrint("ramdisk: no address for SRB %p\n", Srb);
        Complete(Disk, Srb, SRB_STATUS_BUSY);
        return;
    }
    request->Srb = Srb;
    request->Buffer = (PUCHAR)buffer;
    Enqueue(Disk, request);
}

static VOID Abort(PDISK Disk) {
    PREQUEST request;

    while ((request = Next(Disk)) != NULL) {
        Complete(Disk, request->Srb, SRB_STATUS_BUS_RESET);
    }
}

static BOOLEAN NTAPI HwStartIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb) {
    PDISK disk = (PDISK)DeviceExtension;

    switch (Srb->Function) {
    case SRB_FUNCTION_EXECUTE_SCSI:
        ExecuteScsi(disk, Srb);
        return TRUE;
    case SRB_FUNCTION_RESET_LOGICAL_UNIT:
    case SRB_FUNCTION_RESET_DEVICE:
        Abort(disk);
        break;
    case SRB_FUNCTION_PNP:
        if (((PSCSI_PNP_REQUEST_BLOCK)Srb)->PnPAction == StorRemoveDevice) {
            DbgPrint("ramdisk: removed after %lu requests\n", disk->Count);
            (VOID)KeCancelTimer(&disk->Timer);
            ExFreePoolWithTag(disk->Memory, POOL_TAG);
            disk->Memory = NULL;
        }
        break;
    case SRB_FUNCTION_FLUSH:
    case SRB_FUNCTION_SHUTDOWN:
    case SRB_FUNCTION_POWER:
        break;
    default:
        Complete(disk, Srb, SRB_STATUS_INVALID_REQUEST);
        return TRUE;
    }
    Complete(disk, Srb, SRB_STATUS_SUCCESS);
    return TRUE;
}

static BOOLEAN NTAPI HwResetBus(PVOID DeviceExtension, ULONG PathId) {
    DbgPrint("ramdisk: reset of bus %lu\n", PathId);
    Abort((PDISK)DeviceExtension);
    return TRUE;
}

static BOOLEAN NTAPI HwInterrupt(PVOID DeviceExtension) {
    UNREFERENCED_PARAMETER(DeviceExtension);
    return FALSE;
}

static BOOLEAN NTAPI HwInitialize(PVOID DeviceExtension) {
    PDISK disk = (PDISK)DeviceExtension;

    KeQuerySystemTime(&disk->Started);
    return TRUE;
}

static SCSI_ADAPTER_CONTROL_STATUS NTAPI HwAdapterControl(PVOID DeviceExtension, SCSI_ADAPTER_CONTROL_TYPE Type,
                                                          PVOID Parameters) {
    PSCSI_SUPPORTED_CONTROL_TYPE_LIST list = (PSCSI_SUPPORTED_CONTROL_TYPE_LIST)Parameters;

    UNREFERENCED_PARAMETER(DeviceExtension);
    if (Type == ScsiQuerySupportedControlTypes) {
        list->SupportedTypeList[ScsiQuerySupportedControlTypes] = TRUE;
        list->SupportedTypeList[ScsiStopAdapter] = TRUE;
        list->SupportedTypeList[ScsiRestartAdapter] = TRUE;
    }
    return ScsiAdapterControlSuccess;
}

static ULONG NTAPI HwFindAdapter(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                                 PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again) {
    PDISK disk = (PDISK)DeviceExtension;

    UNREFERENCED_PARAMETER(HwContext);
    UNREFERENCED_PARAMETER(BusInformation);
    DbgPrint("ramdisk: HwFindAdapter(\"%s\") at IRQL %d\n", ArgumentString, KeGetCurrentIrql());
    *Again = FALSE;
    disk->Memory = (PUCHAR)ExAllocatePoolWithTag(NON_PAGED, DISK_BLOCKS * DISK_BLOCK_BYTES, POOL_TAG);
    if (disk->Memory == NULL) {
        return SP_RETURN_ERROR;
    }
    RtlZeroMemory(disk->Memory, DISK_BLOCKS * DISK_BLOCK_BYTES);
    KeInitializeSpinLock(&disk->Lock);
    InitializeListHead(&disk->Waiting);
    KeInitializeDpc(&disk->Dpc, OnDpc, disk);
    KeInitializeTimer(&disk->Timer);
    ConfigInfo->MaximumTransferLength = 64 * 1024;
    ConfigInfo->NumberOfPhysicalBreaks = 17;
    ConfigInfo->NumberOfBuses = 1;
    ConfigInfo->MaximumNumberOfTargets = 1;
    ConfigInfo->MaximumNumberOfLogicalUnits = 1;
    ConfigInfo->ResetTargetSupported = TRUE;
    ConfigInfo->SynchronizationModel = StorSynchronizeFullDuplex;
    return SP_RETURN_FOUND;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) {
    HW_INITIALIZATION_DATA data;

    DbgPrint("ramdisk: DriverEntry(%p, %wZ)\n", DriverObject, RegistryPath);
    RtlZeroMemory(&data, sizeof(data));
    data.HwInitializationDataSize = sizeof(data);
    data.AdapterInterfaceType = PCIBus;
    data.HwFindAdapter = HwFindAdapter;
    data.HwInitialize = HwInitialize;
    data.HwStartIo = HwStartIo;
    data.HwInterrupt = HwInterrupt;
    data.HwResetBus = HwResetBus;
    data.HwAdapterControl = HwAdapterControl;
    data.DeviceExtensionSize = sizeof(DISK);
    data.SrbExtensionSize = sizeof(REQUEST);
    data.NumberOfAccessRanges = 6;
    data.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
    data.NeedPhysicalAddresses = TRUE;
    data.TaggedQueuing = TRUE;
    data.AutoRequestSense = TRUE;
    data.MultipleRequestPerLu = TRUE;
    return (NTSTATUS)StorPortInitialize(DriverObject, RegistryPath, &data, NULL);
}
