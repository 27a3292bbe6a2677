/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Every transition of Adapter->State, and what the device has to be told for it: start, reset, configuration change,
 * stop, restart, removal. The only writer of the state.
 *
 * What runs inside HwInitialize and HwAdapterControl is legal at DIRQL under the interrupt lock and at DISPATCH without
 * it: no pool, no lock, no registry, no event log.
 */
#include "aero_virtio_blk.h"
#include "aero_virtio_blk_ioctl.h"
#include "steps.h"
#include "trace.h"

/* What callbacks that cannot be put off wait for another processor's DPC: 1 ms in all. */
#define DPC_STALLS 100
#define DPC_STALL_US 10
#define SERVE_STALLS 20000 /* a DPC that resets the device has its time, and as much again */

/* More messages than a function can have. [PCI 3.0 6.8.2] */
#define MESSAGE_LIMIT 2048

typedef struct _VBLK_REASON_ROW {
    ULONG Code; /* UniqueId of the event: fixed once published */
    PCWSTR Text;
} VBLK_REASON_ROW;

/* In the order of VBLK_REASON. */
static const VBLK_REASON_ROW VblkReasons[] = {
    {0, L""},
    {0x101, L"The PCI configuration space cannot be read."},
    {0x102, L"The device is not a modern virtio block device."},
    {0x103, L"The device's PCI revision is not 1, the contract version that this driver knows."},
    {0x111, L"The device has no PCI capability list."},
    {0x112, L"The device's PCI capability list has a pointer outside of its range."},
    {0x113, L"The device's PCI capability list does not end."},
    {0x114, L"A virtio capability of the device is too short."},
    {0x115, L"A required virtio capability is missing."},
    {0x116, L"A virtio register region lies in no usable memory BAR, or beyond its end."},
    {0x117, L"The device's register layout is not the contract's; DriverParameter layout=any accepts it."},
    {0x121, L"The device's registers cannot be mapped."},
    {0x122, L"The device does not stop when it is reset."},
    {0x123, L"The device does not offer VIRTIO_F_VERSION_1."},
    {0x124, L"The device's configuration cannot be read."},
    {0x125, L"The device has no usable request queue."},
    {0x126, L"The device's request queue is too short for a request."},
    {0x131, L"There is no memory for the request queue."},
    {0x141, L"The device refused its features, interrupt vectors or queue."},
    {0x142, L"The device broke the virtio protocol or asked for a reset."},
};

C_ASSERT(RTL_NUMBER_OF(VblkReasons) == VblkReasonCount);

DECLSPEC_NOINLINE VOID VblkReport(PVBLK_ADAPTER Adapter, VBLK_REASON Reason) {
    STOR_LOG_EVENT_DETAILS details;
    PWSTR text = (PWSTR)VblkReasons[Reason].Text;

    if (Adapter->Dump) {
        return; /* there is no event log */
    }
    VblkTrace((VBLK_TRACE_ERROR, "reported: %x\n", VblkReasons[Reason].Code));
    RtlZeroMemory(&details, sizeof(details));
    details.InterfaceRevision = STOR_CURRENT_LOG_INTERFACE_REVISION;
    details.Size = sizeof(details);
    details.EventAssociation = StorEventAdapterAssociation;
    details.StorportSpecificErrorCode = TRUE;
    details.ErrorCode = SP_INTERNAL_ADAPTER_ERROR;
    details.UniqueId = VblkReasons[Reason].Code;
    details.StringCount = 1;
    details.StringList = &text;
    (VOID)StorPortLogSystemEvent(Adapter, &details, NULL);
}

/* Reports what was noted at DIRQL. IRQL: to DISPATCH. */
static VOID VblkReportUntold(PVBLK_ADAPTER Adapter) {
    if (Adapter->Untold != VblkReasonNone) {
        VblkReport(Adapter, Adapter->Untold);
        Adapter->Untold = VblkReasonNone;
    }
}

#if DBG
#define TO(State) (1u << (State))

/* Where each state leads, in the order of VBLK_STATE: the diagram in aero_virtio_blk.h. */
static const UCHAR VblkSuccessors[] = {
    TO(VblkFound) | TO(VblkChanging) | TO(VblkGone),
    TO(VblkRunning) | TO(VblkStopped) | TO(VblkFailed) | TO(VblkGone),
    TO(VblkResetting) | TO(VblkChanging) | TO(VblkGone),
    TO(VblkResetting) | TO(VblkChanging) | TO(VblkRunning) | TO(VblkFailed) | TO(VblkGone),
    TO(VblkChanging) | TO(VblkGone),
    TO(VblkChanging) | TO(VblkResetting) | TO(VblkGone),
    TO(VblkGone),
};

#undef TO

C_ASSERT(RTL_NUMBER_OF(VblkSuccessors) == VblkGone + 1);
#endif

static VOID VblkSetState(PVBLK_ADAPTER Adapter, VBLK_STATE State) {
    NT_ASSERT((VblkSuccessors[Adapter->State] & 1u << State) != 0);
    VblkTrace((VBLK_TRACE_STATE, "state %d -> %d\n", Adapter->State, State));
    Adapter->OpenBlocks = VblkOpenBlocks(Adapter, State);
    VirtioWriteBarrier(); /* where the DPC may run once the state is Running, nothing is written after it */
    Adapter->State = State;
}

#if DBG
static VOID VblkAssertState(PVBLK_ADAPTER Adapter) {
    /* 0: a stop may have begun beside the DPC. */
    NT_ASSERT(Adapter->OpenBlocks == 0 || Adapter->OpenBlocks == VblkOpenBlocks(Adapter, Adapter->State));
    switch (Adapter->State) {
    case VblkRunning:
        NT_ASSERT(VblkHasFeature(Adapter, VIRTIO_F_VERSION_1));
        NT_ASSERT(Adapter->PciQueue.Doorbell != NULL && Adapter->Queue.Size == Adapter->QueueSize);
        NT_ASSERT(Adapter->ResetQueue.First == NULL);
        NT_ASSERT(!VblkIsBroken(Adapter));
        break;
    case VblkResetting:
        NT_ASSERT(Adapter->Pci.Common != NULL);
        break;
    case VblkStopped:
    case VblkFailed:
    case VblkGone:
        NT_ASSERT(Adapter->ResetQueue.First == NULL);
        break;
    case VblkChanging:
        break;
    case VblkFound:
        NT_ASSERT(Adapter->Aside == NULL && Adapter->ResetQueue.First == NULL);
        break;
    default:
        NT_ASSERT(FALSE);
    }
}

VOID VblkBeginExclusive(PVBLK_ADAPTER Adapter) {
    NT_ASSERT(InterlockedExchange(&Adapter->Exclusive, TRUE) == FALSE);
    VblkAssertState(Adapter);
}

VOID VblkEndExclusive(PVBLK_ADAPTER Adapter) {
    VblkAssertState(Adapter);
    NT_ASSERT(InterlockedExchange(&Adapter->Exclusive, FALSE) != FALSE);
}
#endif

/* A full barrier comes first: a DPC counts itself before it looks at Paused. */
static LONG VblkDpcs(PVBLK_ADAPTER Adapter) {
    return InterlockedCompareExchange(&Adapter->Dpcs, 0, 0);
}

/* Until there are fewer DPCs. Those of other processors need no lock of ours for what is left to them. */
static VOID VblkAwaitDpcs(PVBLK_ADAPTER Adapter, LONG Fewer, ULONG Stalls) {
    while (Stalls-- != 0 && VblkDpcs(Adapter) >= Fewer) {
        VirtioStall(DPC_STALL_US);
    }
}

/*
 * No DPC does anything from here on until Paused is cleared. Where the stop was announced, none does already, though one
 * may be looking whether it should: what VblkIsAwaited reads stays as it is until the start, which waits for that one.
 * Otherwise one that runs, on another processor, may be resetting the device, and is waited for, though in vain if that
 * processor waits for the interrupt lock, which is ours.
 */
static VOID VblkPause(PVBLK_ADAPTER Adapter) {
    if (InterlockedExchange(&Adapter->Paused, VBLK_PAUSED) != VBLK_PAUSED_IDLE) {
        VblkAwaitDpcs(Adapter, VBLK_DPC_RUNNING, SERVE_STALLS);
    }
}

VOID VblkExpectStop(PVBLK_ADAPTER Adapter, BOOLEAN Expected) {
    if (Expected && Adapter->Paused == VBLK_NOT_PAUSED) {
        Adapter->Paused = VBLK_PAUSED_IDLE;
    } else if (!Expected && Adapter->Paused == VBLK_PAUSED_IDLE) {
        Adapter->Paused = VBLK_NOT_PAUSED;
        VblkQueueDpc(Adapter); /* a DPC that came before did nothing */
    }
}

/* A rebalance comes through here with a disk in use: what Windows knows of it stays, and a change is still told. */
VOID VblkEnterFound(PVBLK_ADAPTER Adapter) {
    ULONGLONG blocks = Adapter->CapacityBlocks;
    BOOLEAN told = Adapter->CapacityTold;
    BOOLEAN attention = Adapter->UnitAttention;

    VblkAwaitDpcs(Adapter, 1, DPC_STALLS);
    RtlZeroMemory(Adapter, FIELD_OFFSET(VBLK_ADAPTER, RingVirtual));
    Adapter->CapacityBlocks = blocks;
    Adapter->CapacityTold = told;
    Adapter->UnitAttention = attention;
    VblkListInitialize(&Adapter->ResetQueue);
    VblkSetState(Adapter, VblkFound);
}

/* Reads the capacity; a new one is told once, by a unit attention. FALSE: unreadable, and the old one stands. */
static BOOLEAN VblkReadCapacity(PVBLK_ADAPTER Adapter) {
    UCHAR generation = VirtioPciConfigGeneration(&Adapter->Pci);
    ULONGLONG blocks;
    le64 sectors;

    if (!VirtioPciReadConfig(&Adapter->Pci, offsetof(struct virtio_blk_config, capacity), &sectors, sizeof(sectors))) {
        return FALSE;
    }
    Adapter->ConfigGeneration = generation; /* read first: a change in between only means that we look again */
    blocks = sectors >> (Adapter->BlockShift - VBLK_SECTOR_SHIFT);
    if (blocks != Adapter->CapacityBlocks) {
        Adapter->CapacityBlocks = blocks;
        if (Adapter->CapacityTold) {
            Adapter->UnitAttention = TRUE;
            Adapter->CapacityChangeEvents++;
        }
        VblkUpdateOpen(Adapter);
    }
    return TRUE;
}

/* Whether the volatile cache is in use. FALSE: the device does not say. [virtio 5.2.5.2] */
static BOOLEAN VblkReadWriteBack(PVBLK_ADAPTER Adapter) {
    u8 writeback = Adapter->Flush;

    if (VblkHasFeature(Adapter, VIRTIO_BLK_F_CONFIG_WCE) &&
        !VirtioPciReadConfig(&Adapter->Pci, offsetof(struct virtio_blk_config, writeback), &writeback,
                             sizeof(writeback))) {
        return FALSE;
    }
    Adapter->Disk.WriteBack = (BOOLEAN)(writeback != 0);
    return TRUE;
}

BOOLEAN VblkSetWriteBack(PVBLK_ADAPTER Adapter, BOOLEAN On) {
    VirtioPciWriteConfig8(&Adapter->Pci, offsetof(struct virtio_blk_config, writeback), (u8)On);
    Adapter->WriteBackChosen = TRUE;
    Adapter->WriteBackWanted = On;
    return (BOOLEAN)(VblkReadWriteBack(Adapter) && Adapter->Disk.WriteBack == On);
}

/* A reset makes the device forget what was chosen; one that does not take it again is believed, not refused. */
static BOOLEAN VblkRestoreWriteBack(PVBLK_ADAPTER Adapter) {
    if (!VblkReadWriteBack(Adapter)) {
        return FALSE;
    }
    Adapter->Disk.DefaultWriteBack = Adapter->Disk.WriteBack;
    if (Adapter->WriteBackChosen && Adapter->Disk.WriteBackChangeable) {
        (VOID)VblkSetWriteBack(Adapter, Adapter->WriteBackWanted);
    }
    return TRUE;
}

static BOOLEAN VblkStartQueue(PVBLK_ADAPTER Adapter) {
    PVIRTIO_PCI_QUEUE pciQueue = &Adapter->PciQueue;

    VirtqueueInitialize(&Adapter->Queue, Adapter->QueueSize, &Adapter->RingMemory,
                        VblkHasFeature(Adapter, VIRTIO_F_INDIRECT_DESC), VblkHasFeature(Adapter, VIRTIO_F_EVENT_IDX));
    if (Adapter->Dump) {
        VirtqueueSuppress(&Adapter->Queue); /* for good, or for 65535 requests: VblkPoll never rearms */
    }
    pciQueue->Index = 0;
    pciQueue->Size = Adapter->QueueSize;
    pciQueue->Vector = Adapter->QueueVector;
    pciQueue->Desc = Adapter->Queue.DescPhysical;
    pciQueue->Avail = Adapter->Queue.AvailPhysical;
    pciQueue->Used = Adapter->Queue.UsedPhysical;
    return (BOOLEAN)(VirtioPciSetConfigVector(&Adapter->Pci, Adapter->ConfigVector) &&
                     VirtioPciSetupQueue(&Adapter->Pci, pciQueue));
}

/*
 * From status 0 to DRIVER_OK: the one recipe for HwInitialize, restart and reset. FALSE: the device refused something.
 * [virtio 3.1.1]
 */
static BOOLEAN VblkBringUp(PVBLK_ADAPTER Adapter) {
    PVIRTIO_PCI pci = &Adapter->Pci;

    VblkLoseSerial(Adapter);
    VirtioPciBegin(pci);
    if ((Adapter->Features & ~VirtioPciOfferedFeatures(pci)) != 0 || !VirtioPciNegotiate(pci, Adapter->Features) ||
        !VblkReadCapacity(Adapter) || !VblkRestoreWriteBack(Adapter) || !VblkStartQueue(Adapter) ||
        !VirtioPciDriverOk(pci)) {
        VirtioPciFail(pci);
        (VOID)VirtioPciReset(pci);
        return FALSE;
    }
    /* Before DRIVER_OK no interrupt tells of a change. */
    if (VirtioPciConfigGeneration(pci) != Adapter->ConfigGeneration) {
        (VOID)VblkReadCapacity(Adapter);
    }
    return TRUE;
}

/* The SRBs that asked for what the DPC has done now. A removal cannot fail. */
static VOID VblkAnswerResets(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished, VBLK_OUTCOME Outcome) {
    PVBLK_REQUEST request;

    while ((request = Adapter->ResetQueue.First) != NULL) {
        Adapter->ResetQueue.First = request->Next;
        request->Outcome = (UCHAR)(request->Srb->Function == SRB_FUNCTION_PNP ? VblkOutcomeSuccess : Outcome);
        VblkListAppend(Finished, request);
    }
    Adapter->ResetQueue.Last = &Adapter->ResetQueue.First; /* First stays as it is: VblkIsAwaited looks beside a stop */
}

/*
 * The one order of recovery: stop the device; take what it had finished, give back the rest; start it again. A device
 * that does not stop keeps what it has (I6). Returns the state that this leads to, Running or Failed.
 * Locks: StartIo, or nobody else runs.
 */
static DECLSPEC_NOINLINE VBLK_STATE VblkReset(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished) {
    BOOLEAN running = FALSE;

    if (!VirtioPciReset(&Adapter->Pci)) {
        Adapter->Untold = VblkReasonWillNotStop;
    } else {
        VblkTakeAll(Adapter, Finished, VblkOutcomeBusReset);
        running = VblkBringUp(Adapter);
        if (!running) {
            Adapter->Untold = VblkReasonStart;
        }
    }
    VblkAnswerResets(Adapter, Finished, running ? VblkOutcomeSuccess : VblkOutcomeDeviceFault);
    return running ? VblkRunning : VblkFailed;
}

/* Whether the device was reset, has lost its power or is gone: no register is touched for its sake. */
static BOOLEAN VblkIsQuiet(const VBLK_ADAPTER *Adapter) {
    return (BOOLEAN)(Adapter->State == VblkFound || Adapter->State == VblkStopped || Adapter->State == VblkGone);
}

/*
 * The adapter leaves. Quiet: nothing can write to what is in flight, if anything is; otherwise the device is stopped.
 * Appends to Finished what is to be returned. Locks: StartIo, or nobody else runs.
 */
static VOID VblkLeave(PVBLK_ADAPTER Adapter, BOOLEAN Quiet, PVBLK_LIST Finished) {
    if (Quiet || VblkIsQuiet(Adapter) || VirtioPciReset(&Adapter->Pci) ||
        VirtioPciStatus(&Adapter->Pci) == VIRTIO_STATUS_ABSENT) {
        VblkTakeAll(Adapter, Finished, VblkOutcomeNoDevice);
    }
    VblkAnswerResets(Adapter, Finished, VblkOutcomeNoDevice);
    VblkSetState(Adapter, VblkGone);
}

/* What Resetting is for. TRUE: no request is outstanding any more. */
static BOOLEAN VblkRecover(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished) {
    if (Adapter->RemoveDue) {
        VblkLeave(Adapter, FALSE, Finished);
        return TRUE;
    }
    VblkSetState(Adapter, VblkReset(Adapter, Finished));
    return (BOOLEAN)(Adapter->State == VblkRunning);
}

/* From the moment when the state is Running, the DPC may run on another processor: it is the last to be written. */
BOOLEAN VblkStart(PVBLK_ADAPTER Adapter) {
    VBLK_LIST finished;
    VBLK_STATE state;

    VblkListInitialize(&finished);
    VblkPause(Adapter);
    VblkBeginExclusive(Adapter);
    VblkSetState(Adapter, VblkChanging);
    state = VblkReset(Adapter, &finished);
    Adapter->CapacityTold = (BOOLEAN)!Adapter->Dump; /* a dump has no use for being told of another one */
    VblkEndExclusive(Adapter);
    VblkSetState(Adapter, state);
    Adapter->Paused = VBLK_NOT_PAUSED;
    VblkQueueDpc(Adapter); /* a DPC that came before did nothing */
    VblkFinishList(Adapter, &finished);
    return (BOOLEAN)(state == VblkRunning);
}

/*
 * The DPC exists from here on; it looks for everything that interrupts before it could only note. A start that failed
 * is told here, where the event log is in reach, and fails the adapter's start. IRQL: PASSIVE.
 */
static BOOLEAN NTAPI VblkPassiveInitialize(PVOID DeviceExtension) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;

    VblkReportUntold(adapter);
    if (adapter->State != VblkRunning) {
        return FALSE;
    }
    StorPortInitializeDpc(adapter, &adapter->Dpc, VblkDpc);
    adapter->DpcReady = TRUE;
    VblkQueueDpc(adapter);
    return TRUE;
}

/* Message 0 for the configuration and 1 for the queue, 0 for both, or the line. [contract 1.8] */
static VOID VblkAssignMessages(PVBLK_ADAPTER Adapter) {
    MESSAGE_INTERRUPT_INFORMATION information;
    ULONG count = 0;

    while (count < MESSAGE_LIMIT && StorPortGetMSIInfo(Adapter, count, &information) == STOR_STATUS_SUCCESS) {
        count++;
    }
    Adapter->MessageCount = count;
    Adapter->ConfigVector = (USHORT)(count != 0 ? 0 : VIRTIO_MSI_NO_VECTOR);
    Adapter->QueueVector = (USHORT)(count > 1 ? 1 : Adapter->ConfigVector);
}

/* IRQL: DIRQL. Locks: Interrupt, held. */
BOOLEAN NTAPI VblkHwInitialize(PVOID DeviceExtension) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;

    VblkAssignMessages(adapter);
    if (!StorPortEnablePassiveInitialization(adapter, VblkPassiveInitialize)) {
        adapter->Untold = VblkReasonStart;
        return FALSE;
    }
    (VOID)VblkStart(adapter);
    return TRUE;
}

/* Whether the device can be reset: it was started, and it was not given up. */
static BOOLEAN VblkIsResettable(const VBLK_ADAPTER *Adapter) {
    return (BOOLEAN)(Adapter->State == VblkRunning || Adapter->State == VblkResetting || Adapter->State == VblkFailed);
}

/* A reset may have to wait for the device, and HwStartIo may not wait: the DPC does it. */
static VBLK_OUTCOME VblkLeaveToDpc(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PVBLK_REQUEST request = VblkRequestOf(Srb);

    request->Srb = Srb;
    VblkListAppend(&Adapter->ResetQueue, request);
    VblkSetState(Adapter, VblkResetting);
    VblkQueueDpc(Adapter);
    return VblkOutcomePending;
}

VBLK_OUTCOME VblkBeginReset(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    if (Adapter->Dump) {
        return VblkOutcomeSuccess; /* disregarded [reference 6.2] */
    }
    return VblkIsResettable(Adapter) ? VblkLeaveToDpc(Adapter, Srb) : VblkOutcomeNoDevice;
}

VBLK_OUTCOME VblkBeginRemove(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, BOOLEAN Surprise) {
    VBLK_LIST finished;

    Adapter->RemovedFlags |= AEROVBLK_FLAG_REMOVED | (Surprise ? AEROVBLK_FLAG_SURPRISE_REMOVED : 0);
    VblkReportUntold(Adapter);
    /* Without a DPC, after a start that failed, nothing is in flight, and the device was stopped as far as it stops. */
    if (!Surprise && Adapter->DpcReady && VblkIsResettable(Adapter)) {
        Adapter->RemoveDue = TRUE;
        return VblkLeaveToDpc(Adapter, Srb);
    }
    VblkListInitialize(&finished);
    VblkLeave(Adapter, (BOOLEAN)(Surprise || !Adapter->DpcReady), &finished);
    VblkFinishList(Adapter, &finished);
    return VblkOutcomeSuccess;
}

VOID VblkAbandon(PVBLK_ADAPTER Adapter) {
    VBLK_LIST finished;

    if (!VblkIsResettable(Adapter) ||
        (Adapter->Queue.AvailIndex == Adapter->Queue.UsedIndex && Adapter->Aside == NULL)) {
        return;
    }
    VblkListInitialize(&finished);
    VblkSetState(Adapter, VblkResetting);
    Adapter->Queue.Size = 0; /* nothing of it is looked at again */
    Adapter->Aside = NULL;
    VblkSetState(Adapter, VblkReset(Adapter, &finished));
}

/* A fault that we noticed ourselves: the DPC that sees Resetting performs the reset. [ddi ResetDetected] */
static VOID VblkDetectFault(PVBLK_ADAPTER Adapter) {
    Adapter->ResetDetectedCount++;
    VblkSetState(Adapter, VblkResetting);
    VblkReport(Adapter, VblkReasonBroken);
    if (!Adapter->Dump) {
        StorPortNotification(ResetDetected, Adapter, 0);
    }
    VblkQueueDpc(Adapter);
}

/* The device says that its configuration changed (Told), or may have changed it. [virtio 2.1.2, 4.1.5.4] */
static VOID VblkCheckConfig(PVBLK_ADAPTER Adapter, BOOLEAN Told) {
    if ((VirtioPciStatus(&Adapter->Pci) & VIRTIO_STATUS_DEVICE_NEEDS_RESET) != 0) {
        VblkDetectFault(Adapter);
        return;
    }
    if (!Told && VirtioPciConfigGeneration(&Adapter->Pci) == Adapter->ConfigGeneration) {
        return;
    }
    if (!VblkReadCapacity(Adapter)) {
        Adapter->ConfigPending = TRUE; /* the next DPC tries again */
    }
}

VOID VblkLookAtConfig(PVBLK_ADAPTER Adapter) {
    VblkCheckConfig(Adapter, FALSE);
}

DECLSPEC_NOINLINE VOID VblkServiceState(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished) {
    /* Cleared before the registers are read, with a barrier between: a change meanwhile sets it again. */
    if (Adapter->State == VblkRunning && InterlockedExchange(&Adapter->ConfigPending, FALSE) != FALSE) {
        VblkCheckConfig(Adapter, TRUE);
    }
    if (Adapter->State == VblkRunning && VblkIsBroken(Adapter)) {
        VblkDetectFault(Adapter);
    }
    if (Adapter->State == VblkRunning) {
        VblkResume(Adapter);
    }
    /* A reset is not over before what DPCs but this one are giving back is back: the last of them asks for one more. */
    if (Adapter->State == VblkResetting && VblkDpcs(Adapter) < 2 * VBLK_DPC_RUNNING) {
        (VOID)VblkRecover(Adapter, Finished);
    }
    VblkReportUntold(Adapter);
}

/* IRQL: DISPATCH. Locks: StartIo, held. [ddi HW_RESET_BUS] */
BOOLEAN NTAPI VblkHwResetBus(PVOID DeviceExtension, ULONG PathId) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;
    VBLK_LIST finished;
    BOOLEAN done;

    if (PathId != 0) {
        return FALSE;
    }
    adapter->HwResetBusCount++;
    if (!VblkIsResettable(adapter)) {
        return FALSE;
    }
    VblkAwaitDpcs(adapter, VBLK_DPC_RUNNING, DPC_STALLS); /* what they are giving back is not in flight, and not back */
    VblkBeginExclusive(adapter);
    VblkListInitialize(&finished);
    VblkSetState(adapter, VblkResetting);
    StorPortNotification(ResetDetected, adapter, 0);
    done = VblkRecover(adapter, &finished);
    VblkReportUntold(adapter);
    VblkEndExclusive(adapter);
    VblkFinishList(adapter, &finished);
    return done;
}

/* May come when the hardware is absent already: then nothing answers. */
static VOID VblkStop(PVBLK_ADAPTER Adapter) {
    VBLK_LIST finished;

    if (VblkIsQuiet(Adapter)) {
        return;
    }
    VblkListInitialize(&finished);
    VblkPause(Adapter); /* until the restart */
    VblkBeginExclusive(Adapter);
    VblkSetState(Adapter, VblkChanging);
    if (VirtioPciReset(&Adapter->Pci)) {
        VblkTakeAll(Adapter, &finished, VblkOutcomeBusReset);
    }
    VblkAnswerResets(Adapter, &finished, VblkOutcomeSuccess);
    VblkEndExclusive(Adapter);
    VblkSetState(Adapter, VblkStopped); /* even if the device did not obey: it loses its power, or its place */
    VblkFinishList(Adapter, &finished);
}

/* Only elements below MaxControlType exist. [ddi HW_ADAPTER_CONTROL] */
static VOID VblkListControlTypes(PSCSI_SUPPORTED_CONTROL_TYPE_LIST List) {
    static const UCHAR supported[] = {ScsiQuerySupportedControlTypes, ScsiStopAdapter, ScsiRestartAdapter};
    ULONG i;

    for (i = 0; i < RTL_NUMBER_OF(supported); i++) {
        if (supported[i] < List->MaxControlType) {
            List->SupportedTypeList[supported[i]] = TRUE;
        }
    }
}

/* IRQL: to DIRQL. Locks: Interrupt may be held; StorPort has drained its queues. */
SCSI_ADAPTER_CONTROL_STATUS NTAPI VblkHwAdapterControl(PVOID DeviceExtension, SCSI_ADAPTER_CONTROL_TYPE ControlType,
                                                       PVOID Parameters) {
    PVBLK_ADAPTER adapter = (PVBLK_ADAPTER)DeviceExtension;

    switch (ControlType) {
    case ScsiQuerySupportedControlTypes:
        VblkListControlTypes((PSCSI_SUPPORTED_CONTROL_TYPE_LIST)Parameters);
        return ScsiAdapterControlSuccess;
    case ScsiStopAdapter:
        VblkStop(adapter);
        return ScsiAdapterControlSuccess;
    case ScsiRestartAdapter:
        if (adapter->State != VblkStopped) {
            return ScsiAdapterControlUnsuccessful;
        }
        return VblkStart(adapter) ? ScsiAdapterControlSuccess : ScsiAdapterControlUnsuccessful;
    default:
        return ScsiAdapterControlUnsuccessful;
    }
}
