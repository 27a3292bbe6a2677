/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Interrupts and the DPC: what the device has done becomes a list of Requests to be returned. */
#include "aero_virtio_blk.h"

/*
 * Where one message serves queue and configuration, a configuration change can hide behind completions under load.
 * The generation is read in every DPC that found nothing, and once in so many of the others.
 */
#define DPCS_PER_LOOK 64

/*
 * The state in which the device can have raised the line. In the others it was reset, or it must not be touched (I7).
 */
static BOOLEAN VblkMayInterrupt(ULONG State) {
    return (BOOLEAN)(State == VblkRunning || State == VblkStarting || State == VblkResetting || State == VblkFailed);
}

/* Reading the ISR register acknowledges. [virtio 4.1.5.3; contract 1.7]. IRQL: DIRQL. Locks: Interrupt, held. */
BOOLEAN NTAPI VblkHwInterrupt(PVOID DeviceExtension) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;
    UCHAR isr;

    if (adapter->MessageCount != 0 || !VblkMayInterrupt(adapter->State)) {
        return FALSE;
    }
    isr = VirtioPciReadIsr(&adapter->Pci);
    if ((isr & (VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG)) == 0) {
        return FALSE;
    }
    if ((isr & VIRTIO_PCI_ISR_CONFIG) != 0) {
        adapter->ConfigPending = TRUE;
    }
    VblkQueueDpc(adapter);
    return TRUE;
}

/* A message needs no acknowledgement, and no register is read for it. IRQL: DIRQL. Locks: Interrupt, held. */
BOOLEAN NTAPI VblkHwMSInterrupt(PVOID DeviceExtension, ULONG MessageId) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;

    if (MessageId != adapter->QueueVector) {
        if (MessageId != adapter->ConfigVector) {
            return FALSE;
        }
        adapter->ConfigPending = TRUE;
    }
    VblkQueueDpc(adapter);
    return TRUE;
}

/* IRQL: DISPATCH. Locks: takes StartIo; Requests are returned without it. */
VOID NTAPI VblkDpc(PSTOR_DPC Dpc, PVOID HwDeviceExtension, PVOID SystemArgument1, PVOID SystemArgument2) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)HwDeviceExtension;
    STOR_LOCK_HANDLE lock;
    VBLK_LIST finished;
    ULONG collected = 0;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument1);
    UNREFERENCED_PARAMETER(SystemArgument2);

    VblkListInitialize(&finished);
    StorPortAcquireSpinLock(adapter, StartIoLock, NULL, &lock);
    VblkAssertState(adapter);
    if (adapter->State == VblkRunning) {
        collected = VblkCollect(adapter, &finished);
        if (VblkSharesMessage(adapter) &&
            ((collected & VBLK_COLLECTED_ANY) == 0 || ++adapter->DpcsSinceLook >= DPCS_PER_LOOK)) {
            adapter->DpcsSinceLook = 0;
            VblkLookAtConfig(adapter);
        }
    }
    if (adapter->State != VblkRunning || adapter->ConfigPending || VblkIsBroken(adapter)) {
        VblkServiceState(adapter, &finished);
    }
    StorPortReleaseSpinLock(adapter, &lock);

    if ((collected & VBLK_COLLECTED_MORE) != 0) {
        VblkQueueDpc(adapter);
    }
    VblkFinishList(adapter, &finished);
}
