/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Interrupts and the DPC: what the device has done becomes a list of Requests to be returned. */
#include "aero_virtio_blk.h"

/* What a DPC that runs has in Adapter->Dpcs. */
#define THIS_DPC (1 + VBLK_DPC_RUNNING)

/* Counted before it is queued: it may be over when StorPortIssueDpc returns. */
VOID VblkQueueDpc(PVBLK_ADAPTER Adapter) {
    if (Adapter->DpcReady) {
        (VOID)InterlockedIncrement(&Adapter->Dpcs);
        if (!StorPortIssueDpc(Adapter, &Adapter->Dpc, NULL, NULL)) {
            (VOID)InterlockedDecrement(&Adapter->Dpcs); /* it is in the queue already */
        }
    }
}

/*
 * The state in which the device can have raised the line. In the others it was reset, or it must not be touched (I7).
 */
static BOOLEAN VblkMayInterrupt(ULONG State) {
    return (BOOLEAN)(State == VblkRunning || State == VblkChanging || State == VblkResetting || State == VblkFailed);
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

/* A message that is not the queue's. FALSE: nor is it the configuration's. */
static DECLSPEC_NOINLINE BOOLEAN VblkConfigMessage(PVBLK_ADAPTER Adapter, ULONG MessageId) {
    if (MessageId != Adapter->ConfigVector) {
        return FALSE;
    }
    Adapter->ConfigPending = TRUE;
    VblkQueueDpc(Adapter);
    return TRUE;
}

/* A message needs no acknowledgement, and no register is read for it. IRQL: DIRQL. Locks: Interrupt, held. */
BOOLEAN NTAPI VblkHwMSInterrupt(PVOID DeviceExtension, ULONG MessageId) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;

    if (MessageId != adapter->QueueVector) {
        return VblkConfigMessage(adapter, MessageId);
    }
    VblkQueueDpc(adapter);
    return TRUE;
}

/*
 * One message serves queue and configuration, and two that come together are one: only the registers know of the
 * second. Each DPC asks them, or a change could stay unknown until the next completion, which may never come.
 * TRUE: the device has to be reset. Locks: StartIo.
 */
static DECLSPEC_NOINLINE BOOLEAN VblkLookBesides(PVBLK_ADAPTER Adapter) {
    VblkLookAtConfig(Adapter);
    return (BOOLEAN)(Adapter->State != VblkRunning);
}

/* What the DPC does under the lock. Locks: StartIo. */
static FORCEINLINE VOID VblkServe(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished) {
    BOOLEAN disturbed = TRUE;

    VblkBeginExclusive(Adapter);
    if (Adapter->State == VblkRunning) {
        VblkCollect(Adapter, Finished);
        disturbed = (BOOLEAN)(VblkSharesMessage(Adapter) && VblkLookBesides(Adapter));
    }
    if (disturbed || Adapter->ConfigPending || VblkIsDisturbed(Adapter)) {
        VblkServiceState(Adapter, Finished);
    }
    VblkEndExclusive(Adapter);
}

/* Whether StorPort waits for what only a DPC returns: then it does not stop the adapter yet. Locks: StartIo. */
static DECLSPEC_NOINLINE BOOLEAN VblkIsAwaited(const VBLK_ADAPTER *Adapter) {
    return (BOOLEAN)((Adapter->State == VblkRunning || Adapter->State == VblkResetting) &&
                     (Adapter->Queue.AvailIndex != Adapter->Queue.UsedIndex || Adapter->Aside != NULL ||
                      Adapter->ResetQueue.First != NULL));
}

/* IRQL: DISPATCH. Locks: takes StartIo; Requests are returned without it. */
VOID NTAPI VblkDpc(PSTOR_DPC Dpc, PVOID HwDeviceExtension, PVOID SystemArgument1, PVOID SystemArgument2) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)HwDeviceExtension;
    STOR_LOCK_HANDLE lock;
    VBLK_LIST finished;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument1);
    UNREFERENCED_PARAMETER(SystemArgument2);

    VblkListInitialize(&finished);
    StorPortAcquireSpinLock(adapter, StartIoLock, NULL, &lock);
    /* HwAdapterControl takes no lock, and may hold up an interrupt of this processor: nothing is done beside it. */
    (VOID)InterlockedExchangeAdd(&adapter->Dpcs, VBLK_DPC_RUNNING);
    if (adapter->Paused == VBLK_NOT_PAUSED || (adapter->Paused == VBLK_PAUSED_IDLE && VblkIsAwaited(adapter))) {
        VblkServe(adapter, &finished);
    }
    StorPortReleaseSpinLock(adapter, &lock);
    VblkFinishList(adapter, &finished);
    /* The last one: a reset may have waited for it. */
    if (InterlockedExchangeAdd(&adapter->Dpcs, -THIS_DPC) == THIS_DPC && adapter->State == VblkResetting) {
        VblkQueueDpc(adapter);
    }
}
