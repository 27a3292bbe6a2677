/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The callbacks of a dump image: the copy of this driver that Windows starts to write a crash dump or the hibernation
 * file, in place of those of the same names in the rest of the driver.
 *
 * Nothing but this image runs. There are no interrupts and no DPCs: the port asks HwInterrupt again and again until the
 * one request that it has out comes back, so what the DPC does is done there. There is no registry, no event log and
 * no pool. [reference 6]
 */
#include "aero_virtio_blk.h"

/* The device was live a moment ago: it is reset before anything else. Any well-formed layout may have been admitted. */
ULONG NTAPI VblkDumpFindAdapter(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                                PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;
    ULONG result;

    UNREFERENCED_PARAMETER(HwContext);
    UNREFERENCED_PARAMETER(BusInformation);
    UNREFERENCED_PARAMETER(ArgumentString);
    UNREFERENCED_PARAMETER(Again);

    result = VblkFindAdapter(adapter, ConfigInfo, FALSE, TRUE);
    adapter->QueueDepthSet = TRUE; /* there is no queue to set it for */
    ConfigInfo->HwMSInterruptRoutine = VblkDumpMSInterrupt;
    return result;
}

/* The disk is ready when this returns. [reference 6.2] */
BOOLEAN NTAPI VblkDumpInitialize(PVOID DeviceExtension) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;

    adapter->ConfigVector = VIRTIO_MSI_NO_VECTOR;
    adapter->QueueVector = VIRTIO_MSI_NO_VECTOR;
    return VblkStart(adapter);
}

/* One request is out at a time: where there still is one, the port has given it up and uses its memory again. */
BOOLEAN NTAPI VblkDumpBuildIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;

    VblkBeginExclusive(adapter);
    VblkAbandon(adapter);
    VblkEndExclusive(adapter);
    return VblkHwBuildIo(DeviceExtension, Srb);
}

/* The ring is looked at whatever the ISR register says: with MSI-X enabled it says nothing. */
BOOLEAN NTAPI VblkDumpInterrupt(PVOID DeviceExtension) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;
    VBLK_LIST finished;

    VblkListInitialize(&finished);
    VblkBeginExclusive(adapter);
    if (adapter->State == VblkRunning) {
        VblkPoll(adapter, &finished, VblkOutcomePending);
        if (finished.First == NULL) {
            VblkLookAtConfig(adapter);
        }
        VblkServiceState(adapter, &finished);
    }
    VblkEndExclusive(adapter);
    VblkFinishList(adapter, &finished);
    return TRUE;
}

BOOLEAN NTAPI VblkDumpMSInterrupt(PVOID DeviceExtension, ULONG MessageId) {
    UNREFERENCED_PARAMETER(MessageId);
    return VblkDumpInterrupt(DeviceExtension);
}

/* Resets are disregarded. [reference 6.2] */
BOOLEAN NTAPI VblkDumpResetBus(PVOID DeviceExtension, ULONG PathId) {
    UNREFERENCED_PARAMETER(DeviceExtension);
    UNREFERENCED_PARAMETER(PathId);
    return TRUE;
}
