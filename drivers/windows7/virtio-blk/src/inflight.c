/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Requests that the device may own: into the ring, out of it, and all of them back at once. */
#include "steps.h"
#include "trace.h"

/*
 * How often one DPC drains the ring. Each drain is bounded by the queue's size, so this bounds the time under the lock;
 * a device that keeps finishing gets another DPC.
 */
#define COLLECT_ROUNDS 4

/*
 * No room. A quarter of what is out must come back before StorPort goes on: a retry per completion would find the ring
 * full again.
 */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkRingFull(PVBLK_ADAPTER Adapter) {
    USHORT inFlight = (USHORT)(Adapter->Queue.AvailIndex - Adapter->Queue.UsedIndex);

    if (inFlight != 0) {
        (VOID)StorPortBusy(Adapter, inFlight / 4u + 1);
    }
    return VblkOutcomeBusy;
}

/* The ring's cookie is the Request. FALSE: no room, and nothing has happened. */
static FORCEINLINE BOOLEAN VblkAdd(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    PVIRTQUEUE queue = &Adapter->Queue;

    VBLK_ASSERT_EXCLUSIVE(Adapter);
    if (!VirtqueueAdd(queue, Request->Wire.Table, Request->TablePhysical, Request->TableCount, Request)) {
        return FALSE;
    }
    VirtqueuePublish(queue);
    if (VirtqueueKickNeeded(queue)) {
        VirtioPciNotify(&Adapter->Pci, &Adapter->PciQueue);
    }
    return TRUE;
}

/* What was set aside for want of room comes first, or it might never find any. */
static DECLSPEC_NOINLINE VBLK_OUTCOME VblkEnter(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    return Adapter->Aside == NULL && VblkAdd(Adapter, Request) ? VblkOutcomePending : VblkRingFull(Adapter);
}

VBLK_OUTCOME VblkSubmit(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    VIRTIO_ASSERT(Adapter->State == VblkRunning);
    if (Request->Last >= Adapter->CapacityBlocks) {
        return VblkOutcomeOutOfRange;
    }
    if (Request->Kind == VblkKindNothing) {
        Request->Srb->DataTransferLength = 0;
        return VblkOutcomeSuccess;
    }
    return VblkEnter(Adapter, Request);
}

BOOLEAN VblkTrySubmit(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    if (Request->Last >= Adapter->OpenBlocks || !Adapter->Queue.Indirect) {
        return FALSE;
    }
    VIRTIO_ASSERT(Adapter->State == VblkRunning && Request->Kind == VblkKindDevice);
    return VblkAdd(Adapter, Request);
}

VBLK_OUTCOME VblkSubmitChecked(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    VIRTIO_ASSERT(Adapter->State == VblkRunning && Request->Kind == VblkKindDevice);
    return VblkEnter(Adapter, Request);
}

static VOID VblkSetAside(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    Request->Next = Adapter->Aside;
    Adapter->Aside = Request;
}

/* Takes all that is set aside, in the order in which it came. */
static PVBLK_REQUEST VblkTakeAside(PVBLK_ADAPTER Adapter) {
    PVBLK_REQUEST first = NULL;
    PVBLK_REQUEST request;

    while ((request = Adapter->Aside) != NULL) {
        Adapter->Aside = request->Next;
        request->Next = first;
        first = request;
    }
    return first;
}

VOID VblkResume(PVBLK_ADAPTER Adapter) {
    PVBLK_REQUEST request = VblkTakeAside(Adapter);
    PVBLK_REQUEST next;

    for (; request != NULL; request = next) {
        next = request->Next;
        if (Adapter->Aside != NULL || !VblkAdd(Adapter, request)) {
            VblkSetAside(Adapter, request);
        }
    }
}

VOID VblkMakeFlush(PVBLK_REQUEST Request) {
    ULONGLONG wire = Request->TablePhysical - FIELD_OFFSET(VBLK_WIRE, Table);
    struct virtq_desc *table = Request->Wire.Table;

    Request->Flags = VBLK_REQUEST_FLUSHES;
    Request->TableCount = VBLK_TABLE_OVERHEAD;
    Request->Outcome = VblkOutcomeSuccess;
    Request->Wire.Header.type = VIRTIO_BLK_T_FLUSH;
    Request->Wire.Header.reserved = 0;
    Request->Wire.Header.sector = 0;
    Request->Wire.Status = VBLK_STATUS_UNTOUCHED;
    table[0].addr = wire + FIELD_OFFSET(VBLK_WIRE, Header);
    table[0].len = sizeof(struct virtio_blk_req);
    table[0].flags = VIRTQ_DESC_F_NEXT;
    table[0].next = 1;
    table[1].addr = wire + FIELD_OFFSET(VBLK_WIRE, Status);
    table[1].len = 1;
    table[1].flags = VIRTQ_DESC_F_WRITE;
    table[1].next = 0;
}

VBLK_OUTCOME VblkErrorOutcome(const VBLK_REQUEST *Request, UCHAR Status) {
    VblkTrace((VBLK_TRACE_ERROR, "request %p: device status %x\n", Request, Status));
    if (Status == VIRTIO_BLK_S_UNSUPP) {
        return VblkOutcomeInvalidOpcode;
    }
    if (Status != VIRTIO_BLK_S_IOERR) {
        return VblkOutcomeDeviceFault;
    }
    if ((Request->Flags & VBLK_REQUEST_FLUSHES) != 0) {
        return VblkOutcomeFlushError;
    }
    return (Request->Flags & VBLK_REQUEST_WRITES) != 0 ? VblkOutcomeWriteError : VblkOutcomeReadError;
}

/*
 * A Request came back that failed, or is not simply over. MoreOutcome says how one ends that needs the device again:
 * Pending, it gets it; anything else, the device cannot be asked any more. A flush, which every request needs at most
 * once, follows at once; what can need the device for ever is set aside, so that the drain ends.
 */
static DECLSPEC_NOINLINE VOID VblkSort(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, UCHAR Status, PVBLK_LIST Finished,
                                       VBLK_OUTCOME MoreOutcome) {
    VBLK_OUTCOME outcome = VblkOutcomeSuccess;
    ULONG flags = Request->Flags;

    if ((flags & VBLK_REQUEST_STEPS) != 0) {
        Status = VblkStepStatus(Adapter, Request);
    }
    if (Status == VBLK_STATUS_UNTOUCHED) {
        Adapter->Doubtful = TRUE;
        VblkSetAside(Adapter, Request);
        return;
    }
    if ((flags & VBLK_REQUEST_STEPS) != 0) {
        outcome = VblkNextStep(Adapter, Request, Status);
    } else if (Status != VIRTIO_BLK_S_OK) {
        outcome = VblkErrorOutcome(Request, Status);
    }
    if (outcome == VblkOutcomePending) {
        outcome = MoreOutcome;
        if (outcome == VblkOutcomePending) {
            VblkSetAside(Adapter, Request);
            return;
        }
    } else if (outcome == VblkOutcomeSuccess && (Request->Flags & VBLK_REQUEST_FUA) != 0 && Adapter->Flush) {
        outcome = MoreOutcome;
        if (outcome == VblkOutcomePending) {
            VblkMakeFlush(Request);
            if (VblkAdd(Adapter, Request)) {
                return;
            }
            outcome = VblkOutcomeBusReset; /* only a broken ring has no room for what just left it */
        }
    }
    if (outcome == VblkOutcomeSuccess && (flags & VBLK_REQUEST_NO_DATA) != 0) {
        Request->Srb->DataTransferLength = 0;
    }
    Request->Outcome = (UCHAR)outcome;
    VblkListAppend(Finished, Request);
}

/* Everything that the device has announced; MoreOutcome as for VblkSort. */
static FORCEINLINE VOID VblkDrain(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished, VBLK_OUTCOME MoreOutcome) {
    PVBLK_REQUEST *last = Finished->Last; /* kept from memory; the end is marked when all are there */
    PVBLK_REQUEST request;
    ULONG usedLength;
    UCHAR status;

    VBLK_ASSERT_EXCLUSIVE(Adapter);
    while ((request = (PVBLK_REQUEST)VirtqueuePop(&Adapter->Queue, &usedLength)) != NULL) {
        status = *(volatile UCHAR *)&request->Wire.Status;
        if (status != VIRTIO_BLK_S_OK || (request->Flags & VBLK_REQUEST_SORTED) != 0) {
            Finished->Last = last;
            VblkSort(Adapter, request, status, Finished, MoreOutcome);
            last = Finished->Last;
            continue;
        }
        *last = request;
        last = &request->Next;
    }
    *last = NULL;
    Finished->Last = last;
}

DECLSPEC_NOINLINE VOID VblkPoll(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished, VBLK_OUTCOME MoreOutcome) {
    VblkDrain(Adapter, Finished, MoreOutcome);
}

VOID VblkCollect(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished) {
    ULONG rounds = COLLECT_ROUNDS;

    do {
        VirtqueueSuppress(&Adapter->Queue);
        VblkDrain(Adapter, Finished, VblkOutcomePending);
        if (!VirtqueueRearm(&Adapter->Queue)) {
            return;
        }
    } while (--rounds != 0);
    VblkQueueDpc(Adapter);
}

VOID VblkTakeAll(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished, VBLK_OUTCOME Outcome) {
    PVBLK_REQUEST request;

    if (Adapter->Queue.Size != 0) { /* 0: there never was a queue */
        VblkPoll(Adapter, Finished, Outcome);
        while ((request = (PVBLK_REQUEST)VirtqueueTake(&Adapter->Queue)) != NULL) {
            request->Outcome = (UCHAR)Outcome;
            VblkListAppend(Finished, request);
        }
    }
    while ((request = Adapter->Aside) != NULL) {
        Adapter->Aside = request->Next;
        request->Outcome = (UCHAR)Outcome;
        VblkListAppend(Finished, request);
    }
    Adapter->Doubtful = FALSE;
}
