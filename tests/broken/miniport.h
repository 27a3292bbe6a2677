/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A small StorPort miniport that keeps every rule but the one that Mistake names: a RAM disk, whose TEST UNIT READY
 * waits for a FLUSH of the virtio function, so that interrupts, DPCs and DMA are part of it. It can be a dump image.
 *
 * miniport.c has the SCSI half, function.c the virtio half; mistake.c is compiled with -DMISTAKE=Break…, and is all
 * that differs from one driver to the next. Mistakes are made on TEST UNIT READY, or while starting and stopping.
 */
#ifndef BROKEN_MINIPORT_H
#define BROKEN_MINIPORT_H

#include <storport.h>

enum {
    BreakNothing,
    BreakCallArgument,
    BreakCallContext,
    BreakCallIrql,
    BreakCallNotification,
    BreakCallObsolete,
    BreakCallWindows8,
    BreakCallbackIrql,
    BreakCallbackLock,
    BreakConfigBuses,
    BreakConfigDuplex,
    BreakConfigLimits,
    BreakConfigOverrun,
    BreakConfigVirtual,
    BreakControlList,
    BreakControlTypes,
    BreakDataOverrun,
    BreakDmaMemory,
    BreakDpcInit,
    BreakDumpCall,
    BreakDumpMemory,
    BreakFaultBreakpoint,
    BreakFaultConstant,
    BreakFaultDivision,
    BreakFaultJump,
    BreakDriverFault,
    BreakFaultPrivileged,
    BreakFaultRecursion,
    BreakFindResult,
    BreakInitData,
    BreakInitResult,
    BreakIrqStorm,
    BreakLockDeadlock,
    BreakLockMsi,
    BreakLockOrder,
    BreakLockRelease,
    BreakMemoryFree,
    BreakMemoryLeak,
    BreakMemoryOverrun,
    BreakMmioGone,
    BreakMmioMapping,
    BreakQueueDepth,
    BreakResetOutstanding,
    BreakSrbAfter,
    BreakSrbLength,
    BreakSrbLost,
    BreakSrbReadonly,
    BreakSrbRemoved,
    BreakSrbSense,
    BreakSrbStatus,
    BreakSrbTwice,
    BreakSrbUnknown,
    BreakStallLong,
    BreakStartioWait,
    BreakDriverStopped,

    BreakConfigReadonly,
    BreakUncachedOnce,
    BreakUncachedFinal,
    BreakCallKernel,
    BreakPassiveEnable,
    BreakPerfOptions,
    BreakQueueEarly,
    BreakLockHandle,
    BreakStallInterrupt,
    BreakTimeCallback,
    BreakTimeEndless,
    BreakTimeEndlessPoll,
    BreakIrqForeign,
    BreakBuildioDone,
    BreakSrbAfterBuffer,
    BreakSrbBuffer,
    BreakSrbList,

    BreakBlockCapacity,
    BreakBlockData,
    BreakBlockFeature,
    BreakBlockFields,
    BreakBlockRequest,
    BreakConfigTorn,
    BreakDmaDescriptor,
    BreakDmaDirection,
    BreakFeatureLate,
    BreakFeatureOffered,
    BreakFeatureVersion,
    BreakMmioReadonly,
    BreakMmioReset,
    BreakMmioRunning,
    BreakMmioStopped,
    BreakMmioWidth,
    BreakNotifyEarly,
    BreakNotifyTarget,
    BreakQueueAddress,
    BreakQueueEnable,
    BreakQueueFixed,
    BreakQueueSize,
    BreakRingBarrier,
    BreakRingBuffer,
    BreakRingFlags,
    BreakRingHead,
    BreakRingIndex,
    BreakRingIndirect,
    BreakRingLength,
    BreakRingLoop,
    BreakRingOrder,
    BreakRingOwned,
    BreakStatusBits,
    BreakStatusOrder,
    BreakStatusUnread,
    BreakVectorUnread,
    BreakVectorValue
};

extern const volatile ULONG Mistake;

#define DISK_BLOCK_BYTES 512
#define DISK_BLOCKS 128

typedef struct _ADAPTER {
    PUCHAR Registers; /* BAR0, mapped */
    PUCHAR Shared;    /* ring and request, where the device sees them at SharedPhysical */
    ULONGLONG SharedPhysical;
    ULONGLONG DataPhysical;      /* memory of the SRB that is being started, for mistakes */
    USHORT NotifyOffset;         /* units of the contract's multiplier */
    USHORT Submitted;            /* FLUSHes so far: the ring's index */
    PSCSI_REQUEST_BLOCK Waiting; /* for the FLUSH in the ring; under the StartIo lock */
    BOOLEAN Made;                /* the mistake, where once is enough */
    BOOLEAN Gone;                /* pulled out: no register may be touched */
    STOR_DPC Dpc;
    STOR_DPC NeverInitialized;
    STOR_LOCK_HANDLE Handle;
    UCHAR Disk[DISK_BLOCKS * DISK_BLOCK_BYTES];
} ADAPTER, *PADAPTER;

/* ---- function.c ---- */

#define FUNCTION_SHARED_BYTES 0x2c80

/* Registers and Shared are set. Leaves the device running; IRQL: to DIRQL. */
BOOLEAN FunctionStart(PADAPTER Adapter);
VOID FunctionStop(PADAPTER Adapter);
/* Puts one FLUSH into the ring. None may be there. */
VOID FunctionFlush(PADAPTER Adapter);
/* Whether the last FLUSH came back. */
BOOLEAN FunctionIsDone(PADAPTER Adapter);
/* Returns when the device has seen it: TRUE; or has finished. */
BOOLEAN FunctionAwaitFetch(PADAPTER Adapter);
/* Reads ISR status, which acknowledges. */
UCHAR FunctionAcknowledge(PADAPTER Adapter);

#endif
