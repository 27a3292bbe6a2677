/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* DriverEntry: what StorPort is told about this miniport before there is any adapter. */
#include "aero_virtio_blk.h"

#pragma alloc_text(INIT, DriverEntry)

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) {
    HW_INITIALIZATION_DATA data;

    VirtioPlatformInitialize();
    RtlZeroMemory(&data, sizeof(data));
    data.HwInitializationDataSize = sizeof(data);
    data.AdapterInterfaceType = PCIBus;

    data.HwFindAdapter = VblkHwFindAdapter;
    data.HwInitialize = VblkHwInitialize;
    data.HwAdapterControl = VblkHwAdapterControl;
    data.HwResetBus = VblkHwResetBus;
    data.HwBuildIo = VblkHwBuildIo;
    data.HwStartIo = VblkHwStartIo;
    data.HwInterrupt = VblkHwInterrupt;

    data.DeviceExtensionSize = sizeof(VBLK_ADAPTER);
    data.SrbExtensionSize = (ULONG)VBLK_REQUEST_BYTES(1); /* HwFindAdapter sets the one for the device's limit */
    data.NumberOfAccessRanges = RTL_NUMBER_OF(((PVBLK_ADAPTER)0)->Bar);

    data.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
    data.NeedPhysicalAddresses = TRUE;
    data.TaggedQueuing = TRUE;
    data.AutoRequestSense = TRUE;
    data.MultipleRequestPerLu = TRUE;

    if (DriverObject == NULL) {
        /* A dump image. [reference 6.2] */
        data.HwFindAdapter = VblkDumpFindAdapter;
        data.HwInitialize = VblkDumpInitialize;
        data.HwResetBus = VblkDumpResetBus;
        data.HwBuildIo = VblkDumpBuildIo;
        data.HwInterrupt = VblkDumpInterrupt;
        data.DeviceExtensionSize = FIELD_OFFSET(VBLK_ADAPTER, Slot[VBLK_DUMP_QUEUE_SIZE]);
    }
    return (NTSTATUS)StorPortInitialize(DriverObject, RegistryPath, &data, NULL);
}
