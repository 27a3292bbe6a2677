/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The SCSI half: what StorPort calls, and every mistake but those that only the device would notice. */
#include "miniport.h"

#define POOL_TAG 0x6b6f7242
#define DUMP_BYTES_TOO_MANY 0x8001
#define SLEEPING_MICROSECONDS 1000000
#define POOL_BYTES 100 /* not a multiple of the pool's alignment */

/* Newer than Windows 7. */
#define EXT_FUNCTION_WINDOWS8 100

/* Exported by Windows 7's kernel; nothing that a miniport may call, so that storhost will hardly ever have it. */
NTKERNELAPI NTSTATUS NTAPI IoCreateDevice(PVOID, ULONG, PVOID, ULONG, ULONG, BOOLEAN, PVOID *);

static const volatile ULONG Constant = 1;
static volatile ULONG Zero;

/* This image writes dumps. */
static BOOLEAN Dumping;

static VOID Complete(PADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, UCHAR Status) {
    Srb->SrbStatus = Status;
    if (Srb->Function == SRB_FUNCTION_EXECUTE_SCSI) {
        Srb->ScsiStatus = SCSISTAT_GOOD;
    }
    StorPortNotification(RequestComplete, Adapter, Srb);
}

/* ---- Crashes ---- */

static DECLSPEC_NOINLINE ULONG Recurse(volatile ULONG *Outer) {
    volatile ULONG here[64];

    here[0] = *Outer + 1;
    return here[0] == 0 ? 0 : Recurse(here) + here[0];
}

static VOID Crash(VOID) {
    volatile ULONG depth = 0;

    switch (Mistake) {
    case BreakFaultBreakpoint:
        __asm__ __volatile__("int3");
        break;
    case BreakFaultConstant:
        *(volatile ULONG *)(ULONG_PTR)&Constant = 2;
        break;
    case BreakFaultDivision:
        depth = 100 / Zero;
        break;
    case BreakFaultJump:
        ((VOID (*)(VOID))(ULONG_PTR)0x10)();
        break;
    case BreakDriverFault:
        depth = *(volatile ULONG *)(ULONG_PTR)Zero;
        break;
    case BreakFaultPrivileged:
        __asm__ __volatile__("cli");
        break;
    case BreakFaultRecursion:
        (VOID)Recurse(&depth);
        break;
    case BreakCallKernel:
        (VOID)IoCreateDevice(NULL, 0, NULL, 0, 0, FALSE, NULL);
        break;
    case BreakTimeEndless:
        while (Zero == 0) {
        }
        break;
    }
}

/* ---- Mistakes of HwStartIo, before TEST UNIT READY goes its way ---- */

static VOID MisuseLocks(PADAPTER Adapter) {
    STOR_LOCK_HANDLE handle;
    ULONG irql;

    switch (Mistake) {
    case BreakCallbackIrql:
        StorPortAcquireSpinLock(Adapter, InterruptLock, NULL, &handle);
        handle.Context.OldIrql = DISPATCH_LEVEL + 1;
        StorPortReleaseSpinLock(Adapter, &handle);
        break;
    case BreakCallbackLock:
        StorPortAcquireSpinLock(Adapter, InterruptLock, NULL, &handle);
        break;
    case BreakLockDeadlock:
        StorPortAcquireSpinLock(Adapter, StartIoLock, NULL, &handle);
        break;
    case BreakLockMsi:
        (VOID)StorPortAcquireMSISpinLock(Adapter, 0, &irql);
        break;
    case BreakLockOrder:
        StorPortAcquireSpinLock(Adapter, DpcLock, &Adapter->Dpc, &handle);
        StorPortReleaseSpinLock(Adapter, &handle);
        break;
    case BreakLockRelease:
        StorPortAcquireSpinLock(Adapter, InterruptLock, NULL, &handle);
        StorPortReleaseSpinLock(Adapter, &handle);
        StorPortReleaseSpinLock(Adapter, &handle);
        break;
    case BreakLockHandle:
        StorPortAcquireSpinLock(Adapter, InterruptLock, NULL, &Adapter->Handle);
        StorPortReleaseSpinLock(Adapter, &Adapter->Handle);
        break;
    }
}

/* Requested before the machine sleeps, and due when it does. */
static VOID NTAPI HwTimer(PVOID DeviceExtension) {
    PADAPTER adapter = (PADAPTER)DeviceExtension;
    PSCSI_REQUEST_BLOCK waiting = adapter->Waiting;

    if (Mistake == BreakMmioStopped) {
        (VOID)FunctionAcknowledge(adapter);
    } else if (waiting != NULL) {
        adapter->Waiting = NULL;
        Complete(adapter, waiting, SRB_STATUS_BUS_RESET);
    }
}

static VOID MisuseCalls(PADAPTER Adapter) {
    switch (Mistake) {
    case BreakCallArgument:
        StorPortNotification(RequestTimerCall, Adapter, NULL, 1000);
        break;
    case BreakCallNotification:
        StorPortNotification(NextRequest, Adapter);
        break;
    case BreakCallWindows8:
        (VOID)StorPortExtendedFunction((STORPORT_FUNCTION_CODE)EXT_FUNCTION_WINDOWS8, Adapter);
        break;
    case BreakDpcInit:
        (VOID)StorPortIssueDpc(Adapter, &Adapter->NeverInitialized, NULL, NULL);
        break;
    case BreakQueueDepth:
        (VOID)StorPortSetDeviceQueueDepth(Adapter, 0, 0, 0, 255);
        break;
    case BreakStartioWait:
        StorPortStallExecution(10);
        break;
    case BreakDriverStopped:
        (VOID)StorPortExtendedFunction(ExtFunctionAllocateMdl, Adapter, NULL, 0, NULL);
        break;
    case BreakMmioStopped:
        StorPortNotification(RequestTimerCall, Adapter, HwTimer, SLEEPING_MICROSECONDS);
        break;
    case BreakTimeEndlessPoll:
        for (;;) {
            (VOID)FunctionAcknowledge(Adapter);
        }
    }
}

/* TRUE: the SRB is settled, in a way of its own. */
static BOOLEAN MisuseSrb(PADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    ULONG length;

    switch (Mistake) {
    case BreakSrbAfter:
        Complete(Adapter, Srb, SRB_STATUS_SUCCESS);
        *(volatile UCHAR *)&Srb->SrbStatus = SRB_STATUS_SUCCESS;
        return TRUE;
    case BreakSrbLength:
        Srb->DataTransferLength += DISK_BLOCK_BYTES;
        return FALSE;
    case BreakSrbReadonly:
        Srb->TimeOutValue++;
        return FALSE;
    case BreakSrbSense:
        Complete(Adapter, Srb, SRB_STATUS_SUCCESS | SRB_STATUS_AUTOSENSE_VALID);
        return TRUE;
    case BreakSrbStatus:
        Complete(Adapter, Srb, SRB_STATUS_PENDING);
        return TRUE;
    case BreakSrbTwice:
        Complete(Adapter, Srb, SRB_STATUS_SUCCESS);
        StorPortNotification(RequestComplete, Adapter, Srb);
        return TRUE;
    case BreakSrbUnknown:
        StorPortNotification(RequestComplete, Adapter, Adapter);
        return FALSE;
    case BreakSrbLost:
    case BreakSrbRemoved:
    case BreakResetOutstanding:
        Adapter->Waiting = Srb;
        return TRUE;
    case BreakDmaMemory:
        Adapter->DataPhysical =
            (ULONGLONG)StorPortGetPhysicalAddress(Adapter, NULL, Srb->SrbExtension, &length).QuadPart;
        if (!Adapter->Made) {
            FunctionFlush(Adapter);
            Adapter->Made = FunctionAwaitFetch(Adapter);
        }
        Complete(Adapter, Srb, SRB_STATUS_SUCCESS);
        return TRUE;
    default:
        return FALSE;
    }
}

/* Likewise, of a READ whose buffer is mapped at Buffer. */
static BOOLEAN MisuseData(PADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, PUCHAR Buffer) {
    PSTOR_SCATTER_GATHER_LIST list = StorPortGetScatterGatherList(Adapter, Srb);

    switch (Mistake) {
    case BreakSrbAfterBuffer:
        Complete(Adapter, Srb, SRB_STATUS_SUCCESS);
        *(volatile UCHAR *)Buffer = 0;
        return TRUE;
    case BreakSrbBuffer:
        *(volatile UCHAR *)Srb->DataBuffer = 0;
        return FALSE;
    case BreakSrbList:
        *(volatile ULONG *)&list->List[0].Length = 1;
        return FALSE;
    case BreakDmaDirection:
        Adapter->DataPhysical = (ULONGLONG)list->List[0].PhysicalAddress.QuadPart;
        Adapter->Waiting = Srb;
        FunctionFlush(Adapter);
        return TRUE;
    default:
        return FALSE;
    }
}

static VOID TestUnitReady(PADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    Crash();
    MisuseLocks(Adapter);
    MisuseCalls(Adapter);
    if (MisuseSrb(Adapter, Srb)) {
        return;
    }
    Adapter->Waiting = Srb;
    FunctionFlush(Adapter);
}

/* ---- Commands ---- */

static VOID Refuse(PADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, UCHAR AdditionalSense) {
    PUCHAR sense = (PUCHAR)Srb->SenseInfoBuffer;

    RtlZeroMemory(sense, 18);
    sense[0] = 0x70;
    sense[2] = 5; /* illegal request */
    sense[7] = 10;
    sense[12] = AdditionalSense;
    Srb->SenseInfoBufferLength = 18;
    Srb->DataTransferLength = 0;
    Srb->SrbStatus = SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID;
    Srb->ScsiStatus = SCSISTAT_CHECK_CONDITION;
    StorPortNotification(RequestComplete, Adapter, Srb);
}

static VOID Answer(PADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, const VOID *Data, ULONG Length) {
    if (Mistake == BreakDataOverrun) {
        ((PUCHAR)Srb->DataBuffer)[Srb->DataTransferLength] = 0;
    }
    if (Srb->DataTransferLength > Length) {
        Srb->DataTransferLength = Length;
    }
    RtlCopyMemory(Srb->DataBuffer, Data, Srb->DataTransferLength);
    Complete(Adapter, Srb, SRB_STATUS_SUCCESS);
}

/* READ(10) and WRITE(10). */
static VOID Transfer(PADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    ULONG block = (ULONG)Srb->Cdb[2] << 24 | (ULONG)Srb->Cdb[3] << 16 | (ULONG)Srb->Cdb[4] << 8 | Srb->Cdb[5];
    ULONG blocks = (ULONG)Srb->Cdb[7] << 8 | Srb->Cdb[8];
    PVOID buffer;

    if (block >= DISK_BLOCKS || blocks > DISK_BLOCKS - block || Srb->DataTransferLength != blocks * DISK_BLOCK_BYTES) {
        Refuse(Adapter, Srb, 0x21); /* block address out of range */
        return;
    }
    if (blocks != 0 && StorPortGetSystemAddress(Adapter, Srb, &buffer) != STOR_STATUS_SUCCESS) {
        Complete(Adapter, Srb, SRB_STATUS_BUSY);
        return;
    }
    if (blocks != 0 && MisuseData(Adapter, Srb, (PUCHAR)buffer)) {
        return;
    }
    if (blocks != 0 && Srb->Cdb[0] == SCSIOP_WRITE) {
        RtlCopyMemory(Adapter->Disk + block * DISK_BLOCK_BYTES, buffer, blocks * DISK_BLOCK_BYTES);
    } else if (blocks != 0) {
        RtlCopyMemory(buffer, Adapter->Disk + block * DISK_BLOCK_BYTES, blocks * DISK_BLOCK_BYTES);
    }
    Complete(Adapter, Srb, SRB_STATUS_SUCCESS);
}

static VOID ExecuteScsi(PADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    static const UCHAR inquiry[37] = "\0\0\5\2\37\0\0\2BROKEN  RAM DISK        1.0 ";
    static const UCHAR capacity[8] = {0, 0, 0, DISK_BLOCKS - 1, 0, 0, DISK_BLOCK_BYTES >> 8, 0};
    static const UCHAR modes[4] = {3, 0, 0, 0};
    static const UCHAR units[16] = {0, 0, 0, 8};

    switch (Srb->Cdb[0]) {
    case SCSIOP_TEST_UNIT_READY:
        TestUnitReady(Adapter, Srb);
        break;
    case SCSIOP_INQUIRY:
        if ((Srb->Cdb[1] & 1) != 0) {
            Refuse(Adapter, Srb, 0x24); /* invalid field in CDB */
        } else {
            Answer(Adapter, Srb, inquiry, sizeof(inquiry) - 1);
        }
        break;
    case SCSIOP_READ_CAPACITY:
        Answer(Adapter, Srb, capacity, sizeof(capacity));
        break;
    case SCSIOP_MODE_SENSE:
        Answer(Adapter, Srb, modes, sizeof(modes));
        break;
    case SCSIOP_REPORT_LUNS:
        Answer(Adapter, Srb, units, sizeof(units));
        break;
    case SCSIOP_READ:
    case SCSIOP_WRITE:
        Transfer(Adapter, Srb);
        break;
    default:
        Refuse(Adapter, Srb, 0x20); /* invalid command operation code */
        break;
    }
}

/* Locks: StartIo. */
static VOID Reset(PADAPTER Adapter) {
    PSCSI_REQUEST_BLOCK waiting = Adapter->Waiting;

    (VOID)FunctionStart(Adapter);
    if (Mistake == BreakResetOutstanding) {
        StorPortNotification(RequestTimerCall, Adapter, HwTimer, 1000);
        return;
    }
    Adapter->Waiting = NULL;
    if (waiting != NULL) {
        Complete(Adapter, waiting, SRB_STATUS_BUS_RESET);
    }
}

/* The device is gone, or will be: what waits for it comes back, and no register is touched. Locks: StartIo. */
static VOID PlugAndPlay(PADAPTER Adapter, PSCSI_PNP_REQUEST_BLOCK Pnp) {
    PSCSI_REQUEST_BLOCK waiting = Adapter->Waiting;

    Adapter->Gone |= (BOOLEAN)(Pnp->PnPAction == StorSurpriseRemoval);
    if (Adapter->Gone && waiting != NULL && Mistake != BreakSrbRemoved) {
        Adapter->Waiting = NULL;
        Complete(Adapter, waiting, SRB_STATUS_NO_DEVICE);
    }
    if (Pnp->PnPAction == StorRemoveDevice && Mistake == BreakMmioGone) {
        (VOID)FunctionAcknowledge(Adapter);
    }
    Complete(Adapter, (PSCSI_REQUEST_BLOCK)Pnp, SRB_STATUS_SUCCESS);
}

static BOOLEAN NTAPI HwStartIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb) {
    PADAPTER adapter = (PADAPTER)DeviceExtension;

    switch (Srb->Function) {
    case SRB_FUNCTION_EXECUTE_SCSI:
        ExecuteScsi(adapter, Srb);
        break;
    case SRB_FUNCTION_RESET_LOGICAL_UNIT:
    case SRB_FUNCTION_RESET_DEVICE:
        Reset(adapter);
        Complete(adapter, Srb, SRB_STATUS_SUCCESS);
        break;
    case SRB_FUNCTION_POWER:
        Complete(adapter, Srb, SRB_STATUS_SUCCESS);
        break;
    case SRB_FUNCTION_PNP:
        PlugAndPlay(adapter, (PSCSI_PNP_REQUEST_BLOCK)Srb);
        break;
    default:
        Complete(adapter, Srb, SRB_STATUS_INVALID_REQUEST);
        break;
    }
    return TRUE;
}

/* Only of the driver that breaks what it is for. */
static BOOLEAN NTAPI HwBuildIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb) {
    if (Srb->Function == SRB_FUNCTION_EXECUTE_SCSI && Srb->Cdb[0] == SCSIOP_TEST_UNIT_READY) {
        Complete((PADAPTER)DeviceExtension, Srb, SRB_STATUS_SUCCESS);
    }
    return TRUE;
}

static BOOLEAN NTAPI HwResetBus(PVOID DeviceExtension, ULONG PathId) {
    UNREFERENCED_PARAMETER(PathId);
    Reset((PADAPTER)DeviceExtension);
    return TRUE;
}

/* ---- Interrupts ---- */

/* In a dump image nothing interrupts: this is asked whether the device is done. */
static BOOLEAN PolledInterrupt(PADAPTER Adapter) {
    PSCSI_REQUEST_BLOCK waiting = Adapter->Waiting;

    if (waiting == NULL || !FunctionIsDone(Adapter) || Mistake == BreakSrbLost) {
        return FALSE;
    }
    Adapter->Waiting = NULL;
    Complete(Adapter, waiting, SRB_STATUS_SUCCESS);
    return TRUE;
}

static BOOLEAN NTAPI HwInterrupt(PVOID DeviceExtension) {
    PADAPTER adapter = (PADAPTER)DeviceExtension;

    if (Dumping) {
        return PolledInterrupt(adapter);
    }
    if (Mistake == BreakIrqStorm || FunctionAcknowledge(adapter) == 0) {
        return (BOOLEAN)(Mistake == BreakIrqForeign);
    }
    if (Mistake == BreakStallInterrupt) {
        StorPortStallExecution(10);
    }
    if (Mistake == BreakCallIrql) {
        (VOID)StorPortSetDeviceQueueDepth(adapter, 0, 0, 0, 8);
    }
    (VOID)StorPortIssueDpc(adapter, &adapter->Dpc, NULL, NULL);
    return TRUE;
}

static VOID NTAPI HwDpc(PSTOR_DPC Dpc, PVOID DeviceExtension, PVOID Argument1, PVOID Argument2) {
    PADAPTER adapter = (PADAPTER)DeviceExtension;
    PSCSI_REQUEST_BLOCK done = NULL;
    STOR_LOCK_HANDLE handle;
    ULONG i;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    StorPortAcquireSpinLock(adapter, StartIoLock, NULL, &handle);
    if (FunctionIsDone(adapter)) {
        done = adapter->Waiting;
        adapter->Waiting = NULL;
    }
    StorPortReleaseSpinLock(adapter, &handle);
    if (done != NULL && Mistake == BreakCallContext) {
        (VOID)StorPortGetScatterGatherList(adapter, done);
    }
    for (i = 0; Mistake == BreakTimeCallback && i < 600; i++) {
        StorPortStallExecution(999);
    }
    if (done != NULL) {
        Complete(adapter, done, SRB_STATUS_SUCCESS);
    }
}

/* ---- Start and stop ---- */

static VOID MisuseMemory(PADAPTER Adapter) {
    PVOID memory;

    if (StorPortAllocatePool(Adapter, POOL_BYTES, POOL_TAG, &memory) != STOR_STATUS_SUCCESS) {
        return;
    }
    if (Mistake == BreakMemoryOverrun) {
        ((volatile UCHAR *)memory)[POOL_BYTES] = 0;
    }
    if (Mistake != BreakMemoryLeak) {
        (VOID)StorPortFreePool(Adapter, memory);
    }
    if (Mistake == BreakMemoryFree) {
        (VOID)StorPortFreePool(Adapter, memory);
    }
}

static BOOLEAN NTAPI PassiveInitialize(PVOID DeviceExtension) {
    PADAPTER adapter = (PADAPTER)DeviceExtension;

    StorPortInitializeDpc(adapter, &adapter->Dpc, HwDpc);
    MisuseMemory(adapter);
    if (Mistake == BreakStallLong) {
        StorPortStallExecution(1001);
    }
    if (Mistake == BreakPassiveEnable) {
        (VOID)StorPortEnablePassiveInitialization(adapter, PassiveInitialize);
    }
    if (Mistake == BreakQueueEarly) {
        (VOID)StorPortSetDeviceQueueDepth(adapter, 0, 0, 0, 8);
    }
    return TRUE;
}

/* Everything that needs more than a dump image has. */
static VOID MisuseDump(PADAPTER Adapter) {
    ULONG length = 16;
    PUCHAR buffer = StorPortAllocateRegistryBuffer(Adapter, &length);
    PHYSICAL_ADDRESS any = {{0, 0}};
    MESSAGE_INTERRUPT_INFORMATION message;
    PERF_CONFIGURATION_DATA performance;
    STOR_LOG_EVENT_DETAILS event;
    LARGE_INTEGER now;
    PVOID memory;

    (VOID)StorPortRegistryRead(Adapter, (PUCHAR) "Value", 1, MINIPORT_REG_DWORD, buffer, &length);
    (VOID)StorPortRegistryWrite(Adapter, (PUCHAR) "Value", 1, MINIPORT_REG_DWORD, (PUCHAR)&length, sizeof(length));
    StorPortFreeRegistryBuffer(Adapter, buffer);
    (VOID)StorPortEnablePassiveInitialization(Adapter, PassiveInitialize);
    StorPortInitializeDpc(Adapter, &Adapter->Dpc, HwDpc);
    (VOID)StorPortIssueDpc(Adapter, &Adapter->Dpc, NULL, NULL);
    StorPortQuerySystemTime(&now);
    StorPortNotification(QueryTickCount, Adapter, &now);
    StorPortLogError(Adapter, NULL, 0, 0, 0, SP_INTERNAL_ADAPTER_ERROR, 1);
    (VOID)StorPortLogSystemEvent(Adapter, &event, NULL);
    (VOID)StorPortGetMSIInfo(Adapter, 0, &message);
    (VOID)StorPortInitializePerfOpts(Adapter, TRUE, &performance);
    if (StorPortAllocatePool(Adapter, POOL_BYTES, POOL_TAG, &memory) == STOR_STATUS_SUCCESS) {
        *(volatile UCHAR *)(ULONG_PTR)Zero = 0; /* there is no pool */
    }
    (VOID)StorPortFreePool(Adapter, Adapter);
    (VOID)StorPortAllocateContiguousMemorySpecifyCacheNode(Adapter, POOL_BYTES, any, any, any, MmCached, 0, &memory);
    (VOID)StorPortFreeContiguousMemorySpecifyCache(Adapter, Adapter, POOL_BYTES, MmCached);
}

static BOOLEAN NTAPI HwInitialize(PVOID DeviceExtension) {
    PADAPTER adapter = (PADAPTER)DeviceExtension;

    if (Dumping) {
        if (Mistake == BreakDumpCall) {
            MisuseDump(adapter);
        }
        return FunctionStart(adapter);
    }
    if (Mistake == BreakPerfOptions) {
        (VOID)StorPortInitializePerfOpts(adapter, TRUE, NULL);
    }
    return (BOOLEAN)(StorPortEnablePassiveInitialization(adapter, PassiveInitialize) && FunctionStart(adapter));
}

static SCSI_ADAPTER_CONTROL_STATUS NTAPI HwAdapterControl(PVOID DeviceExtension, SCSI_ADAPTER_CONTROL_TYPE Type,
                                                          PVOID Parameters) {
    PSCSI_SUPPORTED_CONTROL_TYPE_LIST list = (PSCSI_SUPPORTED_CONTROL_TYPE_LIST)Parameters;
    PADAPTER adapter = (PADAPTER)DeviceExtension;

    switch (Type) {
    case ScsiQuerySupportedControlTypes:
        list->SupportedTypeList[ScsiQuerySupportedControlTypes] = TRUE;
        list->SupportedTypeList[ScsiStopAdapter] = TRUE;
        list->SupportedTypeList[ScsiRestartAdapter] = (BOOLEAN)(Mistake != BreakControlTypes);
        if (Mistake == BreakControlList) {
            list->SupportedTypeList[list->MaxControlType] = TRUE;
        }
        return ScsiAdapterControlSuccess;
    case ScsiStopAdapter:
        if (!adapter->Gone && Mistake != BreakMmioRunning) {
            FunctionStop(adapter);
        }
        return ScsiAdapterControlSuccess;
    case ScsiRestartAdapter:
        return FunctionStart(adapter) ? ScsiAdapterControlSuccess : ScsiAdapterControlUnsuccessful;
    default:
        return ScsiAdapterControlUnsuccessful;
    }
}

static VOID Configure(PPORT_CONFIGURATION_INFORMATION ConfigInfo) {
    if (Mistake != BreakConfigLimits) {
        ConfigInfo->MaximumTransferLength = 16 * PAGE_SIZE;
        ConfigInfo->NumberOfPhysicalBreaks = 17;
    }
    ConfigInfo->NumberOfBuses = (UCHAR)(Mistake != BreakConfigBuses);
    ConfigInfo->MaximumNumberOfTargets = 1;
    ConfigInfo->MaximumNumberOfLogicalUnits = 1;
    ConfigInfo->ResetTargetSupported = TRUE;
    ConfigInfo->VirtualDevice = (BOOLEAN)(Mistake == BreakConfigVirtual);
    ConfigInfo->SynchronizationModel =
        Mistake == BreakConfigDuplex ? StorSynchronizeHalfDuplex : StorSynchronizeFullDuplex;
    if (Mistake == BreakConfigReadonly) {
        ConfigInfo->SlotNumber++;
    }
    if (Mistake == BreakUncachedFinal) {
        ConfigInfo->SrbExtensionSize += 64;
    }
    if (Mistake == BreakConfigOverrun) {
        *(volatile UCHAR *)(ConfigInfo + 1) = 1;
    }
}

static ULONG NTAPI HwFindAdapter(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                                 PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again) {
    PADAPTER adapter = (PADAPTER)DeviceExtension;
    ACCESS_RANGE *bar = *ConfigInfo->AccessRanges;
    STOR_PHYSICAL_ADDRESS address = bar->RangeStart;
    ULONG bytes = Dumping && Mistake == BreakDumpMemory ? DUMP_BYTES_TOO_MANY : FUNCTION_SHARED_BYTES + 15;
    ULONG length;

    UNREFERENCED_PARAMETER(HwContext);
    UNREFERENCED_PARAMETER(BusInformation);
    UNREFERENCED_PARAMETER(ArgumentString);
    *Again = FALSE;
    if (Mistake == BreakCallObsolete) {
        (VOID)StorPortValidateRange(adapter, PCIBus, 0, address, bar->RangeLength, FALSE);
    }
    if (Mistake == BreakMmioMapping) {
        address.QuadPart += bar->RangeLength;
    }
    adapter->Registers =
        (PUCHAR)StorPortGetDeviceBase(adapter, PCIBus, ConfigInfo->SystemIoBusNumber, address, bar->RangeLength, FALSE);
    /* The queue's descriptors need an address that 16 divides; StorPort promises none. */
    adapter->Shared = (PUCHAR)StorPortGetUncachedExtension(adapter, ConfigInfo, bytes);
    if (Mistake == BreakUncachedOnce) {
        (VOID)StorPortGetUncachedExtension(adapter, ConfigInfo, FUNCTION_SHARED_BYTES);
    }
    if (adapter->Registers == NULL || adapter->Shared == NULL) {
        return SP_RETURN_ERROR;
    }
    adapter->Shared = (PUCHAR)(((ULONG_PTR)adapter->Shared + 15) & ~(ULONG_PTR)15);
    adapter->SharedPhysical = (ULONGLONG)StorPortGetPhysicalAddress(adapter, NULL, adapter->Shared, &length).QuadPart;
    Configure(ConfigInfo);
    return Mistake == BreakFindResult ? SP_RETURN_BAD_CONFIG + 1 : SP_RETURN_FOUND;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) {
    HW_INITIALIZATION_DATA data;
    NTSTATUS status;

    Dumping = (BOOLEAN)(DriverObject == NULL);
    RtlZeroMemory(&data, sizeof(data));
    data.HwInitializationDataSize = sizeof(data) + (Mistake == BreakInitData ? 8 : 0);
    data.AdapterInterfaceType = PCIBus;
    data.HwFindAdapter = HwFindAdapter;
    data.HwInitialize = HwInitialize;
    data.HwStartIo = HwStartIo;
    data.HwInterrupt = HwInterrupt;
    data.HwResetBus = HwResetBus;
    data.HwAdapterControl = HwAdapterControl;
    data.HwBuildIo = Mistake == BreakBuildioDone ? HwBuildIo : NULL;
    data.DeviceExtensionSize = sizeof(ADAPTER);
    data.SrbExtensionSize = Mistake == BreakDmaMemory ? 64 : 0;
    data.NumberOfAccessRanges = 6;
    data.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
    data.NeedPhysicalAddresses = TRUE;
    data.TaggedQueuing = TRUE;
    data.AutoRequestSense = TRUE;
    data.MultipleRequestPerLu = TRUE;
    status = (NTSTATUS)StorPortInitialize(DriverObject, RegistryPath, &data, NULL);
    return Mistake == BreakInitResult ? STATUS_UNSUCCESSFUL : status;
}
