/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Requests that the device may own: into the ring, out of it, and all of them back at once. */
#include "aero_virtio_blk.h"
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

/* The ring's cookie is the Request. */
FORCEINLINE VBLK_OUTCOME VblkEnter(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    PVIRTQUEUE queue = &Adapter->Queue;

    if (!VirtqueueAdd(queue, Request->Wire.Table, Request->TablePhysical, Request->TableCount, Request)) {
        return VblkRingFull(Adapter);
    }
    VirtqueuePublish(queue);
    if (VirtqueueKickNeeded(queue)) {
        VirtioPciNotify(&Adapter->Pci, &Adapter->PciQueue);
    }
    return VblkOutcomePending;
}

VBLK_OUTCOME VblkSubmit(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    ULONGLONG capacity = Adapter->CapacityBlocks;

    VIRTIO_ASSERT(Adapter->State == VblkRunning);
    if (Request->Lba >= capacity || Request->Blocks > capacity - Request->Lba) {
        return VblkOutcomeOutOfRange;
    }
    if (Request->TableCount == 0) {
        return VblkOutcomeSuccess;
    }
    return VblkEnter(Adapter, Request);
}

VBLK_OUTCOME VblkSubmitFlush(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request) {
    VIRTIO_ASSERT(Adapter->State == VblkRunning);
    return VblkEnter(Adapter, Request);
}

VOID VblkMakeFlush(PVBLK_REQUEST Request) {
    ULONGLONG wire = Request->TablePhysical - FIELD_OFFSET(VBLK_WIRE, Table);
    struct virtq_desc *table = Request->Wire.Table;

    Request->Flags = VBLK_REQUEST_FLUSHES;
    Request->TableCount = VBLK_TABLE_OVERHEAD;
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

/* How a Request ends whose status byte says anything but OK. */
static VBLK_OUTCOME VblkErrorOutcome(const VBLK_REQUEST *Request, UCHAR Status) {
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
 * A Request came back that failed or is not over. FlushOutcome says how one ends that still needs its flush: Pending,
 * it gets it now; anything else, the device cannot be asked any more.
 */
static DECLSPEC_NOINLINE VOID VblkSort(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, UCHAR Status, PVBLK_LIST Finished,
                                       VBLK_OUTCOME FlushOutcome) {
    VBLK_OUTCOME outcome = VblkOutcomeSuccess;

    if (Status == VBLK_STATUS_UNTOUCHED) {
        Request->Next = Adapter->Suspects;
        Adapter->Suspects = Request;
        return;
    }
    if (Status != VIRTIO_BLK_S_OK) {
        outcome = VblkErrorOutcome(Request, Status);
    } else if ((Request->Flags & VBLK_REQUEST_FUA) != 0 && Adapter->Flush) {
        outcome = FlushOutcome;
        if (outcome == VblkOutcomePending) {
            VblkMakeFlush(Request);
            if (VblkEnter(Adapter, Request) == VblkOutcomePending) {
                return;
            }
            outcome = VblkOutcomeBusReset; /* only a broken ring has no room for what just left it */
        }
    }
    Request->Outcome = (UCHAR)outcome;
    VblkListAppend(Finished, Request);
}

/* Everything that the device has announced; FlushOutcome as for VblkSort. TRUE: there was something. */
FORCEINLINE BOOLEAN VblkDrain(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished, VBLK_OUTCOME FlushOutcome) {
    PVBLK_REQUEST request;
    BOOLEAN any = FALSE;
    ULONG usedLength;
    UCHAR status;

    while ((request = (PVBLK_REQUEST)VirtqueuePop(&Adapter->Queue, &usedLength)) != NULL) {
        any = TRUE;
        status = *(volatile UCHAR *)&request->Wire.Status;
        if (status != VIRTIO_BLK_S_OK || (request->Flags & VBLK_REQUEST_FUA) != 0) {
            VblkSort(Adapter, request, status, Finished, FlushOutcome);
            continue;
        }
        request->Outcome = VblkOutcomeSuccess;
        VblkListAppend(Finished, request);
    }
    return any;
}

ULONG VblkCollect(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished) {
    ULONG collected = 0;
    ULONG rounds = COLLECT_ROUNDS;

    do {
        VirtqueueSuppress(&Adapter->Queue);
        if (VblkDrain(Adapter, Finished, VblkOutcomePending)) {
            collected = VBLK_COLLECTED_ANY;
        }
        if (!VirtqueueRearm(&Adapter->Queue)) {
            return collected;
        }
    } while (--rounds != 0);
    return collected | VBLK_COLLECTED_MORE;
}

VOID VblkTakeAll(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished, VBLK_OUTCOME Outcome) {
    PVBLK_REQUEST request;

    if (Adapter->Queue.Size != 0) { /* 0: there never was a queue */
        (VOID)VblkDrain(Adapter, Finished, Outcome);
        while ((request = (PVBLK_REQUEST)VirtqueueTake(&Adapter->Queue)) != NULL) {
            request->Outcome = (UCHAR)Outcome;
            VblkListAppend(Finished, request);
        }
    }
    while ((request = Adapter->Suspects) != NULL) {
        Adapter->Suspects = request->Next;
        request->Outcome = (UCHAR)Outcome;
        VblkListAppend(Finished, request);
    }
}
