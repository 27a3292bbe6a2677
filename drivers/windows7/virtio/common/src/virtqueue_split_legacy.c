/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver side of one split virtqueue, in memory: layout, add, publish, kick decision, pop, rearm, take.
 */
#include "virtqueue_split_legacy.h"

/* Offset of the device area: on a cache line of its own where the block starts on one. */
#define USED_ALIGNMENT 64

C_ASSERT(VIRTQUEUE_ALIGNMENT % VIRTQ_DESC_ALIGN == 0 && USED_ALIGNMENT % VIRTQ_USED_ALIGN == 0);
C_ASSERT(VIRTQUEUE_MAX_SIZE <= VIRTQ_SIZE_LIMIT);

/* Byte offsets in the ring's memory. The event fields stand behind the last ring element.  [virtio 2.7.6, 2.7.8] */
typedef struct _VIRTQUEUE_LAYOUT {
    ULONG Avail;
    ULONG UsedEvent;
    ULONG Used;
    ULONG AvailEvent;
    ULONG Bytes;
} VIRTQUEUE_LAYOUT;

static VIRTQUEUE_LAYOUT VirtqueueLayout(USHORT Size) {
    VIRTQUEUE_LAYOUT layout;

    layout.Avail = Size * (ULONG)sizeof(struct virtq_desc);
    layout.UsedEvent = layout.Avail + (ULONG)offsetof(struct virtq_avail, ring) + Size * (ULONG)sizeof(le16);
    layout.Used = (layout.UsedEvent + (ULONG)sizeof(le16) + USED_ALIGNMENT - 1) & ~(ULONG)(USED_ALIGNMENT - 1);
    layout.AvailEvent =
        layout.Used + (ULONG)offsetof(struct virtq_used, ring) + Size * (ULONG)sizeof(struct virtq_used_elem);
    layout.Bytes = layout.AvailEvent + (ULONG)sizeof(le16);
    return layout;
}

ULONG VirtqueueBytes(USHORT Size) {
    return VirtqueueLayout(Size).Bytes;
}

/* What every descriptor and slot keeps until the next initialization; in direct mode requests overwrite some of it. */
static VOID VirtqueueInitializeSlots(PVIRTQUEUE Queue) {
    USHORT i;

    for (i = 0; i < Queue->Size; i++) {
        Queue->Desc[i].addr = 0;
        Queue->Desc[i].len = 0;
        Queue->Desc[i].flags = (le16)(Queue->Indirect ? VIRTQ_DESC_F_INDIRECT : 0);
        Queue->Desc[i].next = 0;
        Queue->Slot[i].Cookie = NULL;
        Queue->Slot[i].Next = (USHORT)(i < Queue->Mask ? i + 1 : VIRTQUEUE_NO_SLOT);
        Queue->Slot[i].Last = i;
    }
}

VOID VirtqueueInitialize(PVIRTQUEUE Queue, USHORT Size, const VIRTQUEUE_MEMORY *Memory, BOOLEAN Indirect,
                         BOOLEAN EventIndex) {
    VIRTQUEUE_LAYOUT layout = VirtqueueLayout(Size);
    PUCHAR base = (PUCHAR)Memory->Virtual;
    USHORT i;

    VIRTIO_ASSERT(Size != 0 && Size <= VIRTQUEUE_MAX_SIZE && (Size & (Size - 1)) == 0);
    VIRTIO_ASSERT(Memory->Physical % VIRTQUEUE_ALIGNMENT == 0);

    Queue->Desc = (struct virtq_desc *)base;
    Queue->Avail = (volatile struct virtq_avail *)(base + layout.Avail);
    Queue->Used = (volatile struct virtq_used *)(base + layout.Used);
    Queue->UsedEvent = (volatile le16 *)(base + layout.UsedEvent);
    Queue->AvailEvent = (volatile le16 *)(base + layout.AvailEvent);
    Queue->Slot = Memory->Slot;
    Queue->DescPhysical = Memory->Physical;
    Queue->AvailPhysical = Memory->Physical + layout.Avail;
    Queue->UsedPhysical = Memory->Physical + layout.Used;
    Queue->Size = Size;
    Queue->Mask = (USHORT)(Size - 1);
    Queue->FreeHead = 0;
    Queue->AvailIndex = 0;
    Queue->KickIndex = 0;
    Queue->UsedIndex = 0;
    Queue->UsedSeen = 0;
    Queue->TakeIndex = 0;
    Queue->Indirect = Indirect;
    Queue->EventIndex = EventIndex;
    Queue->Broken = FALSE;

    VirtqueueInitializeSlots(Queue);
    for (i = 0; i < Size; i++) {
        Queue->Avail->ring[i] = 0;
        Queue->Used->ring[i].id = 0;
        Queue->Used->ring[i].len = 0;
    }
    Queue->Avail->flags = 0;
    Queue->Avail->idx = 0;
    Queue->Used->flags = 0;
    Queue->Used->idx = 0;
    *Queue->UsedEvent = 0;
    *Queue->AvailEvent = 0;
}

USHORT VirtqueueFreeCount(const VIRTQUEUE *Queue) {
    USHORT index = Queue->FreeHead;
    USHORT count = 0;

    while (index != VIRTQUEUE_NO_SLOT) {
        index = Queue->Slot[index].Next;
        count++;
    }
    return count;
}

/* Into the next element of avail->ring; not published yet. */
static FORCEINLINE BOOLEAN VirtqueueEnter(PVIRTQUEUE Queue, USHORT Head, PVOID Cookie) {
    USHORT index = Queue->AvailIndex;

    Queue->Slot[Head].Cookie = Cookie;
    Queue->Avail->ring[index & Queue->Mask] = Head;
    Queue->AvailIndex = (USHORT)(index + 1);
    return TRUE;
}

/*
 * Copies a table into the free descriptors, linked as their slots already are. Out of line, so that the indirect path
 * saves no registers for it. What a refused request leaves in free descriptors, nobody reads.
 */
static DECLSPEC_NOINLINE BOOLEAN VirtqueueAddDirect(PVIRTQUEUE Queue, const struct virtq_desc *Table, USHORT Count,
                                                    PVOID Cookie) {
    USHORT head = Queue->FreeHead;
    USHORT index = head;
    USHORT last = head;
    USHORT i;

    for (i = 0; i < Count; i++) {
        if (index == VIRTQUEUE_NO_SLOT) {
            return FALSE;
        }
        last = index;
        index = Queue->Slot[last].Next;
        Queue->Desc[last].addr = Table[i].addr;
        Queue->Desc[last].len = Table[i].len;
        Queue->Desc[last].flags = (le16)((Table[i].flags & VIRTQ_DESC_F_WRITE) | VIRTQ_DESC_F_NEXT);
        Queue->Desc[last].next = index;
    }
    Queue->Desc[last].flags = (le16)(Table[Count - 1].flags & VIRTQ_DESC_F_WRITE);
    Queue->FreeHead = index;
    Queue->Slot[head].Last = last;
    return VirtqueueEnter(Queue, head, Cookie);
}

BOOLEAN VirtqueueAdd(PVIRTQUEUE Queue, const struct virtq_desc *Table, ULONGLONG TablePhysical, USHORT Count,
                     PVOID Cookie) {
    USHORT head = Queue->FreeHead;
    struct virtq_desc *desc;

    VIRTIO_ASSERT(Cookie != NULL && Count != 0 && Count <= Queue->Size);
    if (!Queue->Indirect) {
        return VirtqueueAddDirect(Queue, Table, Count, Cookie);
    }
    if (head == VIRTQUEUE_NO_SLOT) {
        return FALSE;
    }
    desc = &Queue->Desc[head];
    desc->addr = TablePhysical;
    desc->len = Count * (ULONG)sizeof(struct virtq_desc);
    Queue->FreeHead = Queue->Slot[head].Next;
    return VirtqueueEnter(Queue, head, Cookie);
}

VOID VirtqueuePublish(PVIRTQUEUE Queue) {
    volatile struct virtq_avail *avail = Queue->Avail;
    USHORT index = Queue->AvailIndex;

    /* Stores to descriptors and avail->ring, then the store to avail->idx.  [virtio 2.7.13.3.1] */
    VirtioWriteBarrier();
    avail->idx = index;
}

BOOLEAN VirtqueueKickNeeded(PVIRTQUEUE Queue) {
    USHORT from = Queue->KickIndex;
    USHORT to = Queue->AvailIndex;

    Queue->KickIndex = to;
    /* The store to avail->idx, then the load of avail_event or used->flags.  [virtio 2.7.13.4.1] */
    VirtioFullBarrier();
    if (Queue->EventIndex) {
        /* Whether from <= event < to, in 16 bits.  [virtio 2.7.10] */
        return (USHORT)(to - *Queue->AvailEvent - 1) < (USHORT)(to - from);
    }
    if (to == from || (Queue->Used->flags & VIRTQ_USED_F_NO_NOTIFY) != 0) {
        return FALSE;
    }
    return TRUE;
}

/* Nothing to pop and nothing free: the fast paths need no test of Broken. */
static DECLSPEC_NOINLINE VOID VirtqueueBreak(PVIRTQUEUE Queue) {
    Queue->UsedSeen = Queue->UsedIndex;
    Queue->FreeHead = VIRTQUEUE_NO_SLOT;
    Queue->Broken = TRUE;
}

/* Reads used->idx; only when all that it announced before was popped (R5). TRUE: there is more. */
static BOOLEAN VirtqueueLook(PVIRTQUEUE Queue) {
    USHORT index = Queue->Used->idx;

    VIRTIO_ASSERT(Queue->UsedSeen == Queue->UsedIndex);
    if (index == Queue->UsedIndex || Queue->Broken) {
        return FALSE;
    }
    if ((USHORT)(index - Queue->UsedIndex) > (USHORT)(Queue->AvailIndex - Queue->UsedIndex)) {
        VirtqueueBreak(Queue);
        return FALSE;
    }
    /* The load of used->idx, then the loads of used->ring.  [virtio 2.7.14] */
    VirtioReadBarrier();
    Queue->UsedSeen = index;
    return TRUE;
}

PVOID VirtqueuePop(PVIRTQUEUE Queue, ULONG *UsedLength) {
    volatile struct virtq_used_elem *element;
    USHORT index = Queue->UsedIndex;
    PVIRTQUEUE_SLOT slots;
    PVOID cookie;
    ULONG mask;
    ULONG head;

    if (index == Queue->UsedSeen && !VirtqueueLook(Queue)) {
        return NULL;
    }
    slots = Queue->Slot;
    mask = Queue->Mask;
    element = &Queue->Used->ring[index & mask];
    head = element->id;
    *UsedLength = element->len;
    cookie = head <= mask ? slots[head].Cookie : NULL;
    if (cookie == NULL) {
        VirtqueueBreak(Queue);
        return NULL;
    }
    slots[head].Cookie = NULL;
    Queue->UsedIndex = (USHORT)(index + 1);
    slots[slots[head].Last].Next = Queue->FreeHead;
    Queue->FreeHead = (USHORT)head;
    return cookie;
}

/* Out of line: otherwise a compiler makes one store with a computed address of this and the other mode's. */
static DECLSPEC_NOINLINE VOID VirtqueueSetUsedEvent(PVIRTQUEUE Queue, USHORT Event) {
    *Queue->UsedEvent = Event;
}

VOID VirtqueueSuppress(PVIRTQUEUE Queue) {
    if (Queue->EventIndex) {
        VirtqueueSetUsedEvent(Queue, (USHORT)(Queue->UsedIndex - 1)); /* 65535 entries ahead */
    } else {
        Queue->Avail->flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
    }
}

BOOLEAN VirtqueueRearm(PVIRTQUEUE Queue) {
    if (Queue->EventIndex) {
        VirtqueueSetUsedEvent(Queue, Queue->UsedIndex);
    } else {
        Queue->Avail->flags = 0;
    }
    /* The store to used_event or avail->flags, then the load of used->idx.  [virtio 2.7.14] */
    VirtioFullBarrier();
    return Queue->UsedIndex != Queue->UsedSeen || VirtqueueLook(Queue);
}

PVOID VirtqueueTake(PVIRTQUEUE Queue) {
    PVOID cookie = NULL;

    while (cookie == NULL && Queue->TakeIndex < Queue->Size) {
        cookie = Queue->Slot[Queue->TakeIndex].Cookie;
        Queue->Slot[Queue->TakeIndex].Cookie = NULL;
        Queue->TakeIndex++;
    }
    return cookie;
}
