/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * aero_virtio_blk.sys from the inside: the Adapter, the Request, the states between them, and who may call what.
 *
 * The path of a request
 *   HwBuildIo    decodes the CDB, writes the Request into the SRB extension: header, descriptor table, status byte.
 *   HwStartIo    asks the state once, then hands the Request to VblkSubmit, or to scsi.c what is not a plain read, write
 *                or flush: it answers, or prepares one device request or a sequence of them (steps.c).
 *   VblkSubmit   checks the range, enters the Request into the ring, rings the doorbell if the device wants it.
 *                (VblkTrySubmit is the same for whatever finds nothing in its way; HwStartIo tries it first.)
 *   interrupt    notes what happened and queues the DPC; it takes no lock and touches no ring.
 *   DPC          VblkCollect under StorPort's StartIo lock, then, without it, VblkFinishList: outcome → SRB → StorPort.
 * Whatever is refused on the way becomes an outcome, and VblkFinish is the only way out.
 * A Request of several device requests comes back after each; VblkSort has the next one built and sets the Request
 * aside, and VblkResume, in the same DPC, enters it into the ring when the drain is over.
 *
 * States
 *
 *               HwFindAdapter
 *                    |
 *                    v   VblkStart          VblkStart
 *   next start --> Found ----------> Changing <----------- Failed <----------+
 *                                    |   ^  |                 ^ |            |
 *                              VblkStart |  | VblkStop        | | VblkBeginReset
 *                                    v   |  v                 | v            |
 *                       +------ Running  +--Stopped           | Resetting ---+
 *                       |        |   ^                        |  ^   |  VblkRecover
 *                       |        |   +------------------------+--|---+
 *                       |        +-- VblkBeginReset, a fault ----+
 *                       +-- VblkStop --> Changing
 *
 *   Changing ends in Running or Failed, if it is a start, or else in Stopped.
 *   any state -- VblkLeave (PnP remove, surprise removal) --> Gone
 *
 *   Found      0, also what a zeroed extension says when HwFindAdapter never ran.
 *              * The device was reset and has no queue; no interrupt is ours.
 *              * No Request is in flight.
 *   Changing   HwInitialize or ScsiRestartAdapter is programming the device, or ScsiStopAdapter resets it.
 *              * The port sends nothing; the ring may be half laid out.
 *   Running    * Ring and device agree on features, size, vectors and addresses; the device has DRIVER_OK.
 *              * No reset is queued. Requests are accepted.
 *   Resetting  A reset was asked for or found necessary, or the adapter is to leave; the DPC or HwResetBus performs it.
 *              * The device may still own Requests. New ones get BUSY, nothing is added or popped.
 *   Stopped    * The device was reset, and has lost its power or is about to: no register is touched. A device that
 *                did not obey is reset again by the restart, and what it may still own stays until then.
 *              * The port had drained its queue: no other Request is in flight. Extension and ring memory are kept.
 *   Failed     The device refused to stop, or to start again.
 *              * Requests that it may still own stay in the ring and are not returned; new ones get NO_DEVICE.
 *              * A further reset may be tried.
 *   Gone       * No register is touched any more.
 *              * Every Request was returned, unless the device refused to stop when it was removed in order (I6).
 *
 * Invariants
 *   I1 An SRB is in exactly one of: StorPort's hands, the ring, Aside, a list on its way to VblkFinish.
 *   I2 A head index is free or names one Request, in memory that the device cannot reach.
 *   I3 What the device can write is read once, and checked before it is used.
 *   I4 The ring is touched only under its lock, StorPort's StartIo lock, or while no callback that takes it can run.
 *   I5 RequestComplete once per SRB; neither SRB, Request nor scatter list is touched after it.
 *   I6 No Request in flight is returned before the device was seen to stop (Gone: before it was seen to be absent).
 *   I7 In Gone no register is touched.
 *   I8 After HwFindAdapter nothing is allocated.
 *   I9 Configuration of more than one access is read between equal generations.
 *
 * Dump mode: the driver is loaded a second time, beside the live instance, to write crash dumps and the hibernation
 * file. DriverEntry, called without a driver object, registers the callbacks of dump.c; the rest is the same code, and
 * Adapter->Dump says where it must not do something there: report, queue the DPC, be told of a new capacity.
 * A reset that the port asks for is disregarded there, one that the device needs is not.
 *
 * Locks: one, StorPort's StartIo lock. Nothing of our own is held around RequestComplete.
 *
 *   callback               IRQL       holds       takes     touches
 *   HwFindAdapter          PASSIVE    -           -         everything; nothing else runs
 *   HwInitialize           DIRQL      Interrupt   -         everything but the DPC
 *   passive initialization PASSIVE    -           -         Dpc, DpcReady
 *   HwBuildIo              DISPATCH   -           -         the SRB, its Request; reads what is constant while Running
 *   HwStartIo              DISPATCH   StartIo     -         State, ring, counters
 *   HwInterrupt            DIRQL      Interrupt   -         ISR register, ConfigPending, Dpc
 *   HwMSInterruptRoutine   DIRQL      Interrupt   -         ConfigPending, Dpc
 *   DPC                    DISPATCH   -           StartIo   State, ring, counters
 *   HwResetBus             DISPATCH   StartIo     -         State, ring, counters
 *   HwAdapterControl       to DIRQL   Interrupt?  -         State, ring: StorPort has drained its queue, and said so before
 *   any, in dump mode      to HIGH    -           -         everything; nothing else runs
 */
#ifndef AERO_VIRTIO_BLK_H
#define AERO_VIRTIO_BLK_H

#include <ntddk.h>
#include <storport.h>
#include <ntddscsi.h>

#include "disk.h"
#include "virtio_blk_spec.h"
#include "virtio_pci_modern_miniport.h"
#include "virtqueue_split_legacy.h"

/* What the build enforces where the registry says nothing: contract §1.4, or any well-formed placement. */
#ifndef AERO_VIRTIO_MINIPORT_ENFORCE_FIXED_LAYOUT
#define AERO_VIRTIO_MINIPORT_ENFORCE_FIXED_LAYOUT 1
#endif

typedef struct _VBLK_ADAPTER VBLK_ADAPTER, *PVBLK_ADAPTER;
typedef struct _VBLK_REQUEST VBLK_REQUEST, *PVBLK_REQUEST;

typedef enum _VBLK_STATE {
    VblkFound,
    VblkChanging,
    VblkRunning,
    VblkResetting,
    VblkStopped,
    VblkFailed,
    VblkGone
} VBLK_STATE;

/* How an SRB ends. finish.c has one row for each. */
typedef enum _VBLK_OUTCOME {
    VblkOutcomePending, /* it does not end now; never given to VblkFinish */
    VblkOutcomeSuccess,
    VblkOutcomeBusy,
    VblkOutcomeBusReset,
    VblkOutcomeNoDevice,
    VblkOutcomeInvalidPath,
    VblkOutcomeInvalidTarget,
    VblkOutcomeInvalidLun,
    VblkOutcomeInvalidRequest,
    VblkOutcomeLengthMismatch, /* the SRB's buffer and the CDB's length disagree */
    VblkOutcomeReadError,
    VblkOutcomeWriteError,
    VblkOutcomeFlushError,
    VblkOutcomeDeviceFault, /* a status that no device may report */
    VblkOutcomeNoMedium,
    VblkOutcomeInvalidOpcode,
    VblkOutcomeOutOfRange,
    VblkOutcomeInvalidField,
    VblkOutcomeSavingUnsupported,
    VblkOutcomeListLength,
    VblkOutcomeInvalidList,
    VblkOutcomeCapacityChanged,
    VblkOutcomeWriteProtected,
    VblkOutcomeMiscompare,
    VblkOutcomeCount
} VBLK_OUTCOME;

/* What an administrator is told, once, in the event log. lifecycle.c has code and text of each. */
typedef enum _VBLK_REASON {
    VblkReasonNone,
    VblkReasonBusData,
    VblkReasonIdentity,
    VblkReasonRevision,
    VblkReasonCapsNoList, /* from here in the order of VIRTIO_PCI_CAPS_STATUS */
    VblkReasonCapsBadPointer,
    VblkReasonCapsLoop,
    VblkReasonCapsTruncated,
    VblkReasonCapsMissing,
    VblkReasonCapsBarUnusable,
    VblkReasonCapsNotContract,
    VblkReasonMapping,
    VblkReasonWillNotStop,
    VblkReasonNotModern,
    VblkReasonConfigUnreadable,
    VblkReasonQueue,
    VblkReasonSegments,
    VblkReasonMemory,
    VblkReasonStart,
    VblkReasonBroken,
    VblkReasonCount
} VBLK_REASON;

C_ASSERT(VblkReasonCapsNotContract - VblkReasonCapsNoList == VirtioPciCapsNotContract - VirtioPciCapsNoList);

typedef enum _VBLK_KIND {
    VblkKindDevice,  /* for VblkSubmit */
    VblkKindNothing, /* succeeds without the device, if its range is right */
    VblkKindScsi,    /* for scsi.c, which answers it or prepares it for the device */
    VblkKindAnswered /* Outcome says how it ends */
} VBLK_KIND;

/*
 * What the device sees of a Request. Written by the driver before it is submitted; Status is device-writable and is
 * read once, after the request came back.
 */
typedef struct _VBLK_WIRE {
    struct virtio_blk_req Header;
    UCHAR Status;
    UCHAR Reserved[15];
    struct virtq_desc Table[3]; /* header, data segments, status: as many entries as the adapter's limit allows */
                                /* the area follows: Adapter->AreaBytes */
} VBLK_WIRE, *PVBLK_WIRE;

/* No device writes this, so a Request that comes back with it was never carried out. */
#define VBLK_STATUS_UNTOUCHED 0xFF

/* A table's first entry is the header, its last the status byte. */
#define VBLK_TABLE_OVERHEAD 2

/*
 * A Request lives in the SRB extension, which StorPort neither clears nor aligns. At this alignment a one-segment
 * Request takes two cache lines on x64: the driver's part with the header, then status byte and table.
 */
#define VBLK_REQUEST_ALIGNMENT 64

struct _VBLK_REQUEST {
    PVBLK_REQUEST Next;
    PSCSI_REQUEST_BLOCK Srb;
    ULONGLONG TablePhysical;
    ULONGLONG Last; /* block that must exist: all of the range does then. All ones: it passes 2^64 */
    USHORT TableCount;
    UCHAR Kind;    /* VBLK_KIND */
    UCHAR Outcome; /* VBLK_OUTCOME: how it ends. Success in the ring, until more is known */
    ULONG Flags;   /* VBLK_REQUEST_*; none: it reads */
    DECLSPEC_ALIGN(16) VBLK_WIRE Wire;
};

#define VBLK_REQUEST_WRITES 0x2
#define VBLK_REQUEST_FLUSHES 0x4
#define VBLK_REQUEST_FUA 0x800      /* forced unit access: if the device can flush, it ends with a flush */
#define VBLK_REQUEST_STEPS 0x1000   /* of several device requests, or one whose end is not the Request's: steps.c */
#define VBLK_REQUEST_NO_DATA 0x2000 /* nothing is transferred, whatever the SRB's buffer */
/* What comes back with any of these is not simply over. */
#define VBLK_REQUEST_SORTED (VBLK_REQUEST_FUA | VBLK_REQUEST_STEPS | VBLK_REQUEST_NO_DATA)

C_ASSERT(FIELD_OFFSET(VBLK_REQUEST, Wire) <= 48);
C_ASSERT(sizeof(VBLK_REQUEST) == RTL_SIZEOF_THROUGH_FIELD(VBLK_REQUEST, Wire.Table));
C_ASSERT(FIELD_OFFSET(VBLK_REQUEST, Wire.Table) % sizeof(struct virtq_desc) == 0);

/*
 * What is left of a Request of several device requests. It lies behind the area, in which such a Request has either
 * more of its table or data of its own.
 */
typedef struct _VBLK_STEPS {
    PSTOR_SCATTER_GATHER_LIST Scatter; /* of a transfer that is cut */
    PUCHAR Data;                       /* the SRB's buffer where it is mapped, or NULL */
    ULONGLONG First;                   /* block where the command begins */
    ULONGLONG Blocks;                  /* of the command */
    ULONGLONG Total;                   /* what the stage is about: blocks, but for a discard descriptors */
    ULONGLONG Done;                    /* of these */
    ULONG Now;                         /* of these, what the device is doing; a discard counts when it is built */
    ULONG Element;                     /* of Scatter: where the rest begins, */
    ULONG Offset;                      /* and where in it */
    ULONG Payload;                     /* bytes of own data of the device request, or 0 */
    UCHAR Stage;                       /* VBLK_STAGE */
    UCHAR Next;                        /* the stage that follows, or VblkStageOver */
    BOOLEAN Unmap;                     /* zeroes may be written by taking blocks away */
} VBLK_STEPS, *PVBLK_STEPS;

/* Entries of the table in front of the area: what one data segment takes. */
#define VBLK_TABLE_ENTRIES 3

/* Bytes of SRB extension with an area of so many. */
#define VBLK_REQUEST_BYTES(AreaBytes)                                                                                  \
    (VBLK_REQUEST_ALIGNMENT - 1 + sizeof(VBLK_REQUEST) + (AreaBytes) + sizeof(VBLK_STEPS))

typedef struct _VBLK_LIST {
    PVBLK_REQUEST First;
    PVBLK_REQUEST *Last;
} VBLK_LIST, *PVBLK_LIST;

/* More elements than this a scatter list never has, whichever way NumberOfPhysicalBreaks is read: 1 MiB, misaligned. */
#define VBLK_MAX_SEGMENTS 258
/* Windows 7 is promised no fewer: longer lists than the device takes are cut. [reference 3.7] */
#define VBLK_MIN_BREAKS 17
/* A queue of up to this size, which the contract's and QEMU's are, is used as it is by a dump image: 11 KiB with Slot. */
#define VBLK_DUMP_QUEUE_SIZE 256
/* A transfer of so many pages may be misaligned, and has this many elements then. */
#define VBLK_TRANSFER_BYTES(Breaks) (((Breaks) - 1) * PAGE_SIZE)

#define VBLK_SECTOR_SHIFT 9

typedef struct _VBLK_BAR {
    STOR_PHYSICAL_ADDRESS Start;
    ULONG Length; /* 0: not a memory BAR, or not assigned to us */
    PUCHAR Mapped;
} VBLK_BAR, *PVBLK_BAR;

struct _VBLK_ADAPTER {
    /*
     * On x64, from an extension that begins on a cache line, the first 64 bytes are all that HwBuildIo and the
     * interrupt read, and requests write none of them; the second 64 are what submission and collection read and write.
     */

    /* Constant while Running. */
    ULONGLONG PlainBlockBytes; /* of a block; 0 where a scatter element may be more than one segment */
    ULONGLONG BlockSectors;    /* of a block, in the unit of virtio_blk_req */
    ULONG BlockShift;          /* log2 of a block's bytes */
    ULONG MaxSegments;         /* data segments of one device request; 0: a chain has no room for one of its own */
    BOOLEAN ReadOnly;
    BOOLEAN Flush; /* the device has a volatile cache and VIRTIO_BLK_T_FLUSH */
    USHORT ConfigVector;
    USHORT QueueVector;
    ULONG MessageCount; /* 0: line interrupt */

    /* Between interrupt and DPC. */
    volatile LONG ConfigPending; /* a configuration interrupt came */
    volatile BOOLEAN DpcReady;   /* the DPC may be queued */

    /* Under the StartIo lock. */
    volatile ULONG State;  /* VBLK_STATE; lifecycle.c alone writes it */
    BOOLEAN UnitAttention; /* the capacity changed and nobody was told */
    BOOLEAN QueueDepthSet;
    UCHAR ConfigGeneration;
    BOOLEAN Doubtful;    /* one of Aside came back untouched: the device may still write to it */
    PVBLK_REQUEST Aside; /* out of the ring and not over: the last one first */
    ULONGLONG CapacityBlocks;
    ULONGLONG OpenBlocks; /* CapacityBlocks where VblkTrySubmit may go ahead, otherwise 0: VblkUpdateOpen */
    VIRTQUEUE Queue;
    VIRTIO_PCI_QUEUE PciQueue;
    VBLK_LIST ResetQueue; /* SRBs that wait for what the DPC has to do: resets, a removal */
    BOOLEAN RemoveDue;    /* and that is to leave, not to start again */
    volatile LONG Dpcs;   /* queued or running; each that runs counts VBLK_DPC_RUNNING more */
    volatile LONG Paused; /* VBLK_PAUSED, ... */
    BOOLEAN CapacityTold; /* somebody may know CapacityBlocks: another value is a change */
    VBLK_REASON Untold;   /* noted where the event log is out of reach */

    ULONGLONG Features; /* as negotiated; constant while Running */

    /* What commands are told, and how they are cut. Constant while Running, but for what Disk says of the cache. */
    VBLK_DISK Disk;
    ULONG Breaks;           /* NumberOfPhysicalBreaks */
    ULONG AreaBytes;        /* of every Request: behind its first table entries, in front of its VBLK_STEPS */
    ULONG SegmentBytes;     /* of one data segment, at most */
    ULONG MaxDiscardBlocks; /* of one range */
    ULONG MaxDiscardRanges; /* of one device request */
    ULONG MaxZeroBlocks;    /* of one device request */
    BOOLEAN SerialKnown;    /* Disk.Serial is right; under the StartIo lock */
    BOOLEAN SerialAsked;    /* since the last reset */
    UCHAR SerialFailures;
    BOOLEAN Dump; /* this is a dump image; constant */
    STOR_DPC Dpc;
    VIRTIO_PCI Pci;
    VBLK_BAR Bar[6];

    /* For the diagnostic interface. */
    ULONG RemovedFlags; /* AEROVBLK_FLAG_REMOVED, AEROVBLK_FLAG_SURPRISE_REMOVED */
    ULONG AbortSrbCount;
    ULONG ResetDeviceSrbCount;
    ULONG ResetBusSrbCount;
    ULONG PnpSrbCount;
    ULONG IoctlResetCount;
    ULONG CapacityChangeEvents;
    ULONG ResetDetectedCount;
    ULONG HwResetBusCount;

#if DBG
    volatile LONG Exclusive; /* between VblkBeginExclusive and VblkEndExclusive */
#endif

    /* From here on HwFindAdapter clears nothing: StorPort gives uncached memory once, and a cache stays as chosen. */
    PVOID RingVirtual;
    ULONG RingBytes;
    BOOLEAN WriteBackChosen; /* by MODE SELECT: it outlives resets, */
    BOOLEAN WriteBackWanted; /* and this is what it asked for */

    VIRTQUEUE_MEMORY RingMemory;
    USHORT QueueSize;
    VIRTQUEUE_SLOT Slot[VIRTQUEUE_MAX_SIZE]; /* VBLK_DUMP_QUEUE_SIZE of them in a dump image */
};

#if defined(_AMD64_)
C_ASSERT(FIELD_OFFSET(VBLK_ADAPTER, CapacityBlocks) == 64 && FIELD_OFFSET(VBLK_ADAPTER, Queue.Broken) < 128);
#endif

FORCEINLINE PVBLK_REQUEST VblkRequestOf(PSCSI_REQUEST_BLOCK Srb) {
    return (PVBLK_REQUEST)(((ULONG_PTR)Srb->SrbExtension + VBLK_REQUEST_ALIGNMENT - 1) &
                           ~(ULONG_PTR)(VBLK_REQUEST_ALIGNMENT - 1));
}

FORCEINLINE PVBLK_STEPS VblkStepsOf(const VBLK_ADAPTER *Adapter, PVBLK_REQUEST Request) {
    return (PVBLK_STEPS)(PVOID)((PUCHAR)(Request + 1) + Adapter->AreaBytes);
}

FORCEINLINE VOID VblkSetEntry(struct virtq_desc *Entry, ULONGLONG Address, ULONG Length, USHORT Flags, USHORT Next) {
    Entry->addr = Address;
    Entry->len = Length;
    Entry->flags = Flags;
    Entry->next = Next;
}

FORCEINLINE VOID VblkListInitialize(PVBLK_LIST List) {
    List->First = NULL;
    List->Last = &List->First;
}

FORCEINLINE VOID VblkListAppend(PVBLK_LIST List, PVBLK_REQUEST Request) {
    Request->Next = NULL;
    *List->Last = Request;
    List->Last = &Request->Next;
}

/* The device broke the ring's rules, or returned what it never carried out: only a reset helps. */
FORCEINLINE BOOLEAN VblkIsBroken(const VBLK_ADAPTER *Adapter) {
    return (BOOLEAN)(Adapter->Queue.Broken || Adapter->Doubtful);
}

/* The drain left something for VblkServiceState. */
FORCEINLINE BOOLEAN VblkIsDisturbed(const VBLK_ADAPTER *Adapter) {
    return (BOOLEAN)(Adapter->Queue.Broken || Adapter->Aside != NULL);
}

FORCEINLINE BOOLEAN VblkHasFeature(const VBLK_ADAPTER *Adapter, ULONG Bit) {
    return (BOOLEAN)((Adapter->Features & VIRTIO_FEATURE(Bit)) != 0);
}

/* Configuration and queue report through one message: which of them it was has to be asked. */
FORCEINLINE BOOLEAN VblkSharesMessage(const VBLK_ADAPTER *Adapter) {
    return (BOOLEAN)(Adapter->MessageCount == 1);
}

FORCEINLINE ULONGLONG VblkOpenBlocks(const VBLK_ADAPTER *Adapter, ULONG State) {
    return State == VblkRunning && !Adapter->UnitAttention ? Adapter->CapacityBlocks : 0;
}

/* After every change of UnitAttention or CapacityBlocks: one comparison then admits most requests. */
FORCEINLINE VOID VblkUpdateOpen(PVBLK_ADAPTER Adapter) {
    Adapter->OpenBlocks = VblkOpenBlocks(Adapter, Adapter->State);
}

/* ---- aero_virtio_blk.c ---- */

DRIVER_INITIALIZE DriverEntry;

/* ---- adapter.c ---- */

HW_FIND_ADAPTER VblkHwFindAdapter;

/* HwFindAdapter, when it is known what this is. FixedLayout: of the contract, or refused. IRQL: PASSIVE, Dump: any. */
ULONG VblkFindAdapter(PVBLK_ADAPTER Adapter, PPORT_CONFIGURATION_INFORMATION ConfigInfo, BOOLEAN FixedLayout,
                      BOOLEAN Dump);

/* ---- limits.c ---- */

/* What the device offers becomes what we take of it, and Adapter's limits. The device is at DRIVER. IRQL: PASSIVE. */
VBLK_REASON VblkReadLimits(PVBLK_ADAPTER Adapter);

/* ---- lifecycle.c ---- */

HW_INITIALIZE VblkHwInitialize;
HW_ADAPTER_CONTROL VblkHwAdapterControl;
HW_RESET_BUS VblkHwResetBus;

/* Tells the administrator. IRQL: to DISPATCH. [ddi StorPortLogSystemEvent] */
VOID VblkReport(PVBLK_ADAPTER Adapter, VBLK_REASON Reason);

/* Forgets everything but the ring memory, which StorPort gives only once. IRQL: PASSIVE, from HwFindAdapter. */
VOID VblkEnterFound(PVBLK_ADAPTER Adapter);

/* HwInitialize and ScsiRestartAdapter: into Running, TRUE, or Failed. Nobody else runs. IRQL: any. */
BOOLEAN VblkStart(PVBLK_ADAPTER Adapter);

/*
 * Forgets what is in flight without returning or reading it: its memory is StorPort's again. The device is reset. Dump
 * mode only.
 */
VOID VblkAbandon(PVBLK_ADAPTER Adapter);

/* ScsiStopAdapter is to follow, or not any more: what announces it comes under a lock, it does not. Locks: StartIo. */
VOID VblkExpectStop(PVBLK_ADAPTER Adapter, BOOLEAN Expected);

/* Queues Srb, which asks for a reset, and has the DPC perform it. Pending, or why not. Locks: StartIo. */
VBLK_OUTCOME VblkBeginReset(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);

/* What the DPC has to do besides completions. Appends what is to be returned to Finished. Locks: StartIo. */
VOID VblkServiceState(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished);

/* Looks whether the device has a new configuration or asks for a reset, without having been told. Locks: StartIo. */
VOID VblkLookAtConfig(PVBLK_ADAPTER Adapter);

/*
 * The adapter leaves, as Srb asks: what was in flight comes back as NO_DEVICE. Surprise: the hardware is not there any
 * more. Pending: the DPC stops the device and answers Srb. IRQL: DISPATCH. Locks: StartIo.
 */
VBLK_OUTCOME VblkBeginRemove(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, BOOLEAN Surprise);

/* Tells the device to use its volatile cache, or not to. FALSE: it does not. Locks: StartIo. */
BOOLEAN VblkSetWriteBack(PVBLK_ADAPTER Adapter, BOOLEAN On);

/*
 * Around everything that touches State or ring, whichever lock keeps the others out (I4): asserts in checked builds that
 * it does, and what every state promises. Between them RequestComplete may be called, but no callback is entered.
 */
#if DBG
VOID VblkBeginExclusive(PVBLK_ADAPTER Adapter);
VOID VblkEndExclusive(PVBLK_ADAPTER Adapter);
#define VBLK_ASSERT_EXCLUSIVE(Adapter) NT_ASSERT((Adapter)->Exclusive)
#else
#define VblkBeginExclusive(Adapter) ((void)0)
#define VblkEndExclusive(Adapter) ((void)0)
#define VBLK_ASSERT_EXCLUSIVE(Adapter) ((void)0)
#endif

/* ---- request.c ---- */

HW_BUILDIO VblkHwBuildIo;
HW_STARTIO VblkHwStartIo;

/* Where the device sees Bytes of Request from Wire on, and TablePhysical. 0: nowhere, or not in one piece. */
ULONGLONG VblkLocateBytes(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, ULONG Bytes);

/* Makes Request a flush for VblkSubmitChecked; Success: the device has no volatile cache, so there is nothing to do. */
VBLK_OUTCOME VblkPrepareFlush(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request);

/* ---- inflight.c: locks for all of these: StartIo (or nobody else runs: HwAdapterControl) ---- */

/*
 * Gives a built Request to the device, or ends what the device has no part in. Pending: the device owns it now.
 * Otherwise it does not, and the outcome says why: OutOfRange, Success of VblkKindNothing, or Busy when the ring is
 * full.
 */
VBLK_OUTCOME VblkSubmit(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request);

/*
 * The same for VblkKindDevice, an indirect ring, and an adapter that is Running without a unit attention.
 * FALSE: one of these is not so, or VblkSubmit would not return Pending. Nothing has happened.
 */
BOOLEAN VblkTrySubmit(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request);

/* The same for VblkKindDevice whose range was checked, or which has none. */
VBLK_OUTCOME VblkSubmitChecked(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request);

/* Enters what was set aside, as far as there is room; what there is none for stays. */
VOID VblkResume(PVBLK_ADAPTER Adapter);

/* Makes Request, whose TablePhysical is known, a flush. */
VOID VblkMakeFlush(PVBLK_REQUEST Request);

/* How a Request ends whose status byte says anything but OK. */
VBLK_OUTCOME VblkErrorOutcome(const VBLK_REQUEST *Request, UCHAR Status);

/*
 * Appends what the device has finished to Finished, outcomes set, and asks for the next interrupt. Where it stops
 * before the ring is empty, no interrupt may come for the rest, and it queues the DPC again.
 */
VOID VblkCollect(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished);

/*
 * Appends what the device has finished, and asks for nothing. MoreOutcome: how a Request ends that needs the device again;
 * Pending: it gets it.
 */
VOID VblkPoll(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished, VBLK_OUTCOME MoreOutcome);

/*
 * Appends everything in flight to Finished: with their own outcomes what a stopped device had finished, with Outcome
 * the rest. The device was seen to stop (I6) or to be absent.
 */
VOID VblkTakeAll(PVBLK_ADAPTER Adapter, PVBLK_LIST Finished, VBLK_OUTCOME Outcome);

/* ---- completion.c ---- */

HW_INTERRUPT VblkHwInterrupt;
HW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE VblkHwMSInterrupt;
HW_DPC_ROUTINE VblkDpc;

/* Of Adapter->Dpcs: more than there can be DPCs. */
#define VBLK_DPC_RUNNING 0x10000

/* Adapter->Paused: what a DPC does. */
#define VBLK_NOT_PAUSED 0
#define VBLK_PAUSED_IDLE 1 /* the adapter is about to be stopped: only what StorPort waits for */
#define VBLK_PAUSED 2      /* it is being stopped, is stopped, or is being started: nothing */

/* Queues the DPC, which finds out by itself what there is to do. IRQL: any. */
VOID VblkQueueDpc(PVBLK_ADAPTER Adapter);

/* ---- dump.c: what DriverEntry registers in dump mode. IRQL: to HIGH. Locks: none, nobody else runs ---- */

HW_FIND_ADAPTER VblkDumpFindAdapter;
HW_INITIALIZE VblkDumpInitialize;
HW_BUILDIO VblkDumpBuildIo;
HW_INTERRUPT VblkDumpInterrupt;
HW_MESSAGE_SIGNALED_INTERRUPT_ROUTINE VblkDumpMSInterrupt;
HW_RESET_BUS VblkDumpResetBus;

/* ---- finish.c: IRQL to DIRQL, no lock of ours ---- */

/* Returns Srb to StorPort with Outcome. It, its Request and its scatter list belong to StorPort from here on. */
VOID VblkFinish(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, VBLK_OUTCOME Outcome);

/* Returns every Request of the list with its own outcome. */
VOID VblkFinishList(PVBLK_ADAPTER Adapter, PVBLK_LIST List);

/* ---- scsi.c ---- */

/*
 * Answers a command, or, Pending, prepares its Request for VblkSubmitChecked. The Srb's buffer is mapped.
 * Locks: StartIo.
 */
VBLK_OUTCOME VblkScsiCommand(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);

/* ---- ioctl.c ---- */

/* Answers SRB_FUNCTION_IO_CONTROL, or, Pending, began a reset for it. Locks: StartIo. */
VBLK_OUTCOME VblkIoControl(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);

#endif
