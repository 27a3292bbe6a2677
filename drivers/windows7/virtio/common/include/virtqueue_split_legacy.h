/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The split virtqueue, driver side. (The file name is given by the project's layout; the ring is the modern one.)
 *
 * A request is one table of descriptors that its owner has built in memory the device can read: entry i links to
 * i + 1, the last does not link, device-readable entries come before device-writable ones. VirtqueueAdd puts it into
 * the ring in whichever form was negotiated, one indirect descriptor or a copy of the entries in the ring itself, and
 * keeps a cookie for it. The cookie comes back once, from VirtqueuePop or from VirtqueueTake.
 *
 * Call order
 *   VirtqueueInitialize                 the device does not know the ring yet
 *   { VirtqueueAdd … VirtqueuePublish   one publish may cover several adds
 *     VirtqueueKickNeeded }             TRUE: the caller writes the doorbell
 *   { VirtqueueSuppress                 optional: no interrupts while draining
 *     VirtqueuePop …                    until NULL
 *     VirtqueueRearm }                  TRUE: more arrived meanwhile, pop again
 *   VirtqueueTake …                     only after the device was seen to stop: whatever it still owned;
 *                                       then VirtqueueInitialize again
 *
 * Ownership and trust
 *   R1 The caller serializes all calls on one queue. Nothing here takes a lock or touches a register.
 *   R2 Desc and Avail are written by the driver and never read back; Used is written by the device and never trusted.
 *      Every link, count and cookie that decides something lives in Slot[], in memory the device cannot reach.
 *   R3 A head index is free (Cookie NULL) or names exactly one request.
 *   R4 A used entry is read once. Its id must name a head in flight, and the used index may run ahead of us by no more
 *      than the number of requests in flight; otherwise Broken latches, and from then on Pop returns NULL and Add
 *      refuses, until VirtqueueInitialize.
 *   R5 A used index that was accepted stays accepted: what it announced is popped before the index is read again, so
 *      every TRUE of VirtqueueRearm is followed by a request or by Broken. A drain therefore ends after at most Size
 *      pops between two adds, whatever the device does.
 *
 * Barriers are named where they stand, with the two accesses that each orders.  [virtio 2.7]
 * IRQL: any, for all of it.
 */
#ifndef VIRTQUEUE_SPLIT_LEGACY_H
#define VIRTQUEUE_SPLIT_LEGACY_H

#include "virtio_platform.h"
#include "virtio_spec.h"

/* Largest ring this driver lays out; a larger queue is used at this size. */
#define VIRTQUEUE_MAX_SIZE 1024

/* Ends the free list. */
#define VIRTQUEUE_NO_SLOT 0xFFFF

typedef struct _VIRTQUEUE_SLOT {
    PVOID Cookie; /* of the chain that starts here; NULL while free or inside a chain */
    USHORT Next;  /* free list, or next descriptor of the chain */
    USHORT Last;  /* of the chain that starts here: its last descriptor */
} VIRTQUEUE_SLOT, *PVIRTQUEUE_SLOT;

/* Where one ring lies: one block of VirtqueueBytes(Size), physically contiguous, aligned to VIRTQUEUE_ALIGNMENT. */
typedef struct _VIRTQUEUE_MEMORY {
    PVOID Virtual;
    ULONGLONG Physical;
    PVIRTQUEUE_SLOT Slot; /* Size elements of driver-private memory */
} VIRTQUEUE_MEMORY, *PVIRTQUEUE_MEMORY;

#define VIRTQUEUE_ALIGNMENT 16

/*
 * The fields from Desc to Broken are together because, without EVENT_IDX, adding and popping use no others; of these
 * they write FreeHead to UsedSeen.
 */
typedef struct _VIRTQUEUE {
    struct virtq_desc *Desc;            /* device-readable */
    volatile struct virtq_avail *Avail; /* device-readable */
    volatile struct virtq_used *Used;   /* device-writable */
    PVIRTQUEUE_SLOT Slot;
    USHORT Mask;       /* Size - 1 */
    USHORT FreeHead;   /* VIRTQUEUE_NO_SLOT: none, or Broken */
    USHORT AvailIndex; /* free-running: next to be published; AvailIndex - UsedIndex requests are in flight */
    USHORT KickIndex;  /* AvailIndex at the last kick decision */
    USHORT UsedIndex;  /* free-running: next to be popped */
    USHORT UsedSeen;   /* free-running: end of what the device announced, between UsedIndex and AvailIndex */
    BOOLEAN Indirect;
    BOOLEAN EventIndex;
    BOOLEAN Broken;
    volatile le16 *UsedEvent;  /* behind Avail->ring; device-readable */
    volatile le16 *AvailEvent; /* behind Used->ring; device-writable */
    ULONGLONG DescPhysical;
    ULONGLONG AvailPhysical;
    ULONGLONG UsedPhysical;
    USHORT Size;      /* power of two, 1 to VIRTQUEUE_MAX_SIZE */
    USHORT TakeIndex; /* slot where the next Take looks first */
} VIRTQUEUE, *PVIRTQUEUE;

/* Bytes of ring memory for a queue of Size descriptors, event fields included. */
ULONG VirtqueueBytes(USHORT Size);

/*
 * Lays out and clears the ring and forgets every request. Interrupts start enabled.
 * Indirect, EventIndex: the features as negotiated.
 */
VOID VirtqueueInitialize(PVIRTQUEUE Queue, USHORT Size, const VIRTQUEUE_MEMORY *Memory, BOOLEAN Indirect,
                         BOOLEAN EventIndex);

/* Descriptors that VirtqueueAdd could use; 0 when Broken. Walks the free list: for diagnostics. */
USHORT VirtqueueFreeCount(const VIRTQUEUE *Queue);

/*
 * Enters a table of Count descriptors at Table / TablePhysical for Cookie (not NULL). Count is 1 to Size.
 * FALSE: no room (or Broken); nothing has changed. The device sees nothing before VirtqueuePublish.
 */
BOOLEAN VirtqueueAdd(PVIRTQUEUE Queue, const struct virtq_desc *Table, ULONGLONG TablePhysical, USHORT Count,
                     PVOID Cookie);

/* Makes everything added visible to the device. */
VOID VirtqueuePublish(PVIRTQUEUE Queue);

/*
 * Whether the device wants a doorbell for what was published since the last call. Contains the full barrier.
 * Nothing may have been added since VirtqueuePublish.
 */
BOOLEAN VirtqueueKickNeeded(PVIRTQUEUE Queue);

/*
 * Next finished request, or NULL: none, or Broken. *UsedLength is what the device says it wrote: untrusted, and with
 * NULL without meaning.
 */
PVOID VirtqueuePop(PVIRTQUEUE Queue, ULONG *UsedLength);

/* Asks for no interrupts (a hint that the device may ignore). */
VOID VirtqueueSuppress(PVIRTQUEUE Queue);

/* Asks for an interrupt at the next used entry. TRUE: one is already there, no interrupt may come for it. */
BOOLEAN VirtqueueRearm(PVIRTQUEUE Queue);

/* A request that the stopped device still owned, each once, in no order; NULL when there is none left. */
PVOID VirtqueueTake(PVIRTQUEUE Queue);

#endif
