/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A miniport in the shape of an AHCI one: a list of 32 command headers in uncached memory, a command table with the
 * scatter list in the SRB extension, a register of issued slots, interrupts, StorPort's DPC, locks and timer. It keeps
 * every rule. What a slot does is done when the function (tests/broken/function.c) has finished a FLUSH that was
 * started after the slot was issued; the data are those of a disk in memory.
 */
#include "kernel.h"
#include "miniport.h"
#undef DISK_BLOCKS /* the other miniport's */
#undef DISK_BLOCK_BYTES
#include "scsi.h"

#define SLOTS 32
#define POOL_TAG 0x544f4c53
#define TABLE_ELEMENTS 17
#define WATCH_MICROSECONDS 200000

typedef struct _COMMAND_HEADER { /* as a device would read it */
    ULONGLONG Table;
    ULONG Elements;
    ULONG Bytes;
} COMMAND_HEADER, *PCOMMAND_HEADER;

typedef struct _COMMAND_TABLE { /* SRB extension */
    STOR_SCATTER_GATHER_ELEMENT Elements[TABLE_ELEMENTS];
    TRANSFER Transfer;
    PUCHAR Buffer;
} COMMAND_TABLE, *PCOMMAND_TABLE;

typedef struct _HBA {
    ADAPTER Function; /* first: StorPort knows the extension by its address */
    PCOMMAND_HEADER List;
    PUCHAR Memory;
    PSCSI_REQUEST_BLOCK Slot[SLOTS];
    ULONG Busy, Issued, Running; /* slots; under the StartIo lock */
    ULONG Ticks, Interrupts;
    BOOLEAN Watching;
    LARGE_INTEGER LastInterrupt;
} HBA, *PHBA;

const volatile ULONG Mistake = BreakNothing;

static VOID Complete(PHBA Hba, PSCSI_REQUEST_BLOCK Srb, UCHAR Status) {
    Srb->SrbStatus = Status;
    StorPortNotification(RequestComplete, Hba, Srb);
}

/* ---- Out ---- */

static BOOLEAN NTAPI HwBuildIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb) {
    PCOMMAND_TABLE table = (PCOMMAND_TABLE)Srb->SrbExtension;
    PSTOR_SCATTER_GATHER_LIST list;
    PVOID buffer;

    if (Srb->Function != SRB_FUNCTION_EXECUTE_SCSI) {
        return TRUE;
    }
    if (!ScsiDecode(Srb, &table->Transfer)) {
        StorPortNotification(RequestComplete, DeviceExtension, Srb);
        return FALSE;
    }
    list = StorPortGetScatterGatherList(DeviceExtension, Srb);
    if (list == NULL || list->NumberOfElements > TABLE_ELEMENTS ||
        StorPortGetSystemAddress(DeviceExtension, Srb, &buffer) != STOR_STATUS_SUCCESS) {
        Complete((PHBA)DeviceExtension, Srb, SRB_STATUS_BUSY);
        return FALSE;
    }
    StorPortMoveMemory(table->Elements, list->List, list->NumberOfElements * sizeof(list->List[0]));
    table->Buffer = (PUCHAR)buffer;
    return TRUE;
}

/* Locks: StartIo. */
static VOID Kick(PHBA Hba) {
    if (Hba->Running == 0 && Hba->Issued != 0) {
        Hba->Running = Hba->Issued;
        Hba->Issued = 0;
        FunctionFlush(&Hba->Function);
    }
}

static VOID NTAPI HwTimer(PVOID DeviceExtension) {
    PHBA hba = (PHBA)DeviceExtension;

    hba->Ticks++;
    hba->Watching = (BOOLEAN)(hba->Busy != 0);
    if (hba->Watching) {
        StorPortNotification(RequestTimerCall, hba, HwTimer, WATCH_MICROSECONDS);
    }
}

/* Locks: StartIo. */
static VOID Issue(PHBA Hba, PSCSI_REQUEST_BLOCK Srb) {
    PCOMMAND_TABLE table = (PCOMMAND_TABLE)Srb->SrbExtension;
    ULONG slot, length;

    for (slot = 0; slot < SLOTS && (Hba->Busy & (1ul << slot)) != 0; slot++) {
    }
    if (slot == SLOTS) {
        (VOID)StorPortBusy(Hba, 1);
        Complete(Hba, Srb, SRB_STATUS_BUSY);
        return;
    }
    Hba->Busy |= 1ul << slot;
    Hba->Issued |= 1ul << slot;
    Hba->Slot[slot] = Srb;
    Hba->List[slot].Table = (ULONGLONG)StorPortGetPhysicalAddress(Hba, NULL, table, &length).QuadPart;
    Hba->List[slot].Bytes = table->Transfer.Bytes;
    Kick(Hba);
    if (!Hba->Watching) {
        Hba->Watching = TRUE;
        StorPortNotification(RequestTimerCall, Hba, HwTimer, WATCH_MICROSECONDS);
    }
}

/* ---- Back ---- */

static BOOLEAN NTAPI NoteInterrupt(PVOID DeviceExtension, PVOID Context) {
    PHBA hba = (PHBA)DeviceExtension;

    StorPortQuerySystemTime((PLARGE_INTEGER)Context);
    return (BOOLEAN)(hba->Interrupts != 0);
}

static BOOLEAN NTAPI HwInterrupt(PVOID DeviceExtension) {
    PHBA hba = (PHBA)DeviceExtension;

    if (FunctionAcknowledge(&hba->Function) == 0) {
        return FALSE;
    }
    hba->Interrupts++;
    (VOID)StorPortIssueDpc(hba, &hba->Function.Dpc, NULL, NULL);
    return TRUE;
}

static VOID Finish(PHBA Hba, ULONG Slot, UCHAR Status) {
    PSCSI_REQUEST_BLOCK srb = Hba->Slot[Slot];
    PCOMMAND_TABLE table = (PCOMMAND_TABLE)srb->SrbExtension;
    PUCHAR at = Hba->Memory + table->Transfer.Offset;

    Hba->Slot[Slot] = NULL;
    if (Status == SRB_STATUS_SUCCESS) {
        StorPortMoveMemory(table->Transfer.ToDisk ? at : table->Buffer, table->Transfer.ToDisk ? table->Buffer : at,
                           table->Transfer.Bytes);
    }
    Complete(Hba, srb, Status);
}

/* Locks: StartIo. */
static VOID FinishAll(PHBA Hba, ULONG Slots, UCHAR Status) {
    ULONG slot;

    Hba->Busy &= ~Slots;
    for (slot = 0; slot < SLOTS; slot++) {
        if ((Slots & (1ul << slot)) != 0) {
            Finish(Hba, slot, Status);
        }
    }
}

static VOID NTAPI HwDpc(PSTOR_DPC Dpc, PVOID DeviceExtension, PVOID Argument1, PVOID Argument2) {
    PHBA hba = (PHBA)DeviceExtension;
    STOR_LOCK_HANDLE handle;
    ULONG done;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    (VOID)StorPortSynchronizeAccess(hba, NoteInterrupt, &hba->LastInterrupt);
    StorPortAcquireSpinLock(hba, StartIoLock, NULL, &handle);
    if (hba->Running != 0 && FunctionIsDone(&hba->Function)) {
        done = hba->Running;
        hba->Running = 0;
        FinishAll(hba, done, SRB_STATUS_SUCCESS);
        Kick(hba);
    }
    StorPortReleaseSpinLock(hba, &handle);
}

/* ---- Events ---- */

/* Locks: StartIo. */
static VOID Reset(PHBA Hba) {
    (VOID)FunctionStart(&Hba->Function);
    Hba->Running = Hba->Issued = 0;
    FinishAll(Hba, Hba->Busy, SRB_STATUS_BUS_RESET);
}

static VOID PlugAndPlay(PHBA Hba, PSCSI_PNP_REQUEST_BLOCK Pnp) {
    Hba->Function.Gone |= (BOOLEAN)(Pnp->PnPAction == StorSurpriseRemoval);
    if (Hba->Function.Gone) {
        Hba->Running = Hba->Issued = 0;
        FinishAll(Hba, Hba->Busy, SRB_STATUS_NO_DEVICE);
    }
    if (Pnp->PnPAction == StorRemoveDevice && Hba->Memory != NULL) {
        (VOID)StorPortFreePool(Hba, Hba->Memory);
        Hba->Memory = NULL;
    }
}

static BOOLEAN NTAPI HwStartIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb) {
    PHBA hba = (PHBA)DeviceExtension;

    switch (Srb->Function) {
    case SRB_FUNCTION_EXECUTE_SCSI:
        Issue(hba, Srb);
        return TRUE;
    case SRB_FUNCTION_RESET_LOGICAL_UNIT:
    case SRB_FUNCTION_RESET_DEVICE:
        Reset(hba);
        break;
    case SRB_FUNCTION_PNP:
        PlugAndPlay(hba, (PSCSI_PNP_REQUEST_BLOCK)Srb);
        break;
    case SRB_FUNCTION_FLUSH:
    case SRB_FUNCTION_SHUTDOWN:
    case SRB_FUNCTION_POWER:
        break;
    default:
        Complete(hba, Srb, SRB_STATUS_INVALID_REQUEST);
        return TRUE;
    }
    Complete(hba, Srb, SRB_STATUS_SUCCESS);
    return TRUE;
}

static BOOLEAN NTAPI HwResetBus(PVOID DeviceExtension, ULONG PathId) {
    StorPortDebugPrint(0, "slots: reset of bus %u, %u interrupts so far\n", PathId,
                       ((PHBA)DeviceExtension)->Interrupts);
    Reset((PHBA)DeviceExtension);
    return TRUE;
}

/* ---- Start and stop ---- */

static BOOLEAN NTAPI PassiveInitialize(PVOID DeviceExtension) {
    PHBA hba = (PHBA)DeviceExtension;
    PVOID memory;

    StorPortInitializeDpc(hba, &hba->Function.Dpc, HwDpc);
    if (hba->Memory == NULL) {
        if (StorPortAllocatePool(hba, DISK_BLOCKS * DISK_BLOCK_BYTES, POOL_TAG, &memory) != STOR_STATUS_SUCCESS) {
            return FALSE;
        }
        hba->Memory = (PUCHAR)memory;
        RtlZeroMemory(hba->Memory, DISK_BLOCKS * DISK_BLOCK_BYTES);
    }
    DbgPrint("slots: memory at %p, list at %p, %s\n", hba->Memory, hba->List, "running");
    return TRUE;
}

static BOOLEAN NTAPI HwInitialize(PVOID DeviceExtension) {
    PHBA hba = (PHBA)DeviceExtension;

    return (BOOLEAN)(StorPortEnablePassiveInitialization(hba, PassiveInitialize) && FunctionStart(&hba->Function));
}

static SCSI_ADAPTER_CONTROL_STATUS NTAPI HwAdapterControl(PVOID DeviceExtension, SCSI_ADAPTER_CONTROL_TYPE Type,
                                                          PVOID Parameters) {
    PSCSI_SUPPORTED_CONTROL_TYPE_LIST list = (PSCSI_SUPPORTED_CONTROL_TYPE_LIST)Parameters;
    PHBA hba = (PHBA)DeviceExtension;

    switch (Type) {
    case ScsiQuerySupportedControlTypes:
        list->SupportedTypeList[ScsiQuerySupportedControlTypes] = TRUE;
        list->SupportedTypeList[ScsiStopAdapter] = TRUE;
        list->SupportedTypeList[ScsiRestartAdapter] = TRUE;
        return ScsiAdapterControlSuccess;
    case ScsiStopAdapter:
        if (!hba->Function.Gone) {
            FunctionStop(&hba->Function);
        }
        return ScsiAdapterControlSuccess;
    case ScsiRestartAdapter:
        return FunctionStart(&hba->Function) ? ScsiAdapterControlSuccess : ScsiAdapterControlUnsuccessful;
    default:
        return ScsiAdapterControlUnsuccessful;
    }
}

static ULONG NTAPI HwFindAdapter(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                                 PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again) {
    PHBA hba = (PHBA)DeviceExtension;
    ACCESS_RANGE *bar = *ConfigInfo->AccessRanges;
    ULONG bytes = FUNCTION_SHARED_BYTES + SLOTS * sizeof(COMMAND_HEADER) + 15, length;
    UCHAR header[64];

    UNREFERENCED_PARAMETER(HwContext);
    UNREFERENCED_PARAMETER(BusInformation);
    UNREFERENCED_PARAMETER(ArgumentString);
    *Again = FALSE;
    if (StorPortGetBusData(hba, PCIConfiguration, ConfigInfo->SystemIoBusNumber, ConfigInfo->SlotNumber, header, 64) !=
        64) {
        return SP_RETURN_NOT_FOUND;
    }
    ConfigInfo->MaximumTransferLength = 16 * PAGE_SIZE;
    ConfigInfo->NumberOfPhysicalBreaks = TABLE_ELEMENTS;
    ConfigInfo->NumberOfBuses = 1;
    ConfigInfo->MaximumNumberOfTargets = 1;
    ConfigInfo->MaximumNumberOfLogicalUnits = 1;
    ConfigInfo->ResetTargetSupported = TRUE;
    ConfigInfo->SynchronizationModel = StorSynchronizeFullDuplex;
    hba->Function.Registers = (PUCHAR)StorPortGetDeviceBase(hba, PCIBus, ConfigInfo->SystemIoBusNumber, bar->RangeStart,
                                                            bar->RangeLength, FALSE);
    hba->Function.Shared = (PUCHAR)StorPortGetUncachedExtension(hba, ConfigInfo, bytes);
    if (hba->Function.Registers == NULL || hba->Function.Shared == NULL) {
        return SP_RETURN_ERROR;
    }
    hba->Function.Shared = (PUCHAR)(((ULONG_PTR)hba->Function.Shared + 15) & ~(ULONG_PTR)15);
    hba->Function.SharedPhysical =
        (ULONGLONG)StorPortGetPhysicalAddress(hba, NULL, hba->Function.Shared, &length).QuadPart;
    hba->List = (PCOMMAND_HEADER)(PVOID)(hba->Function.Shared + FUNCTION_SHARED_BYTES);
    return SP_RETURN_FOUND;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) {
    HW_INITIALIZATION_DATA data;

    RtlZeroMemory(&data, sizeof(data));
    data.HwInitializationDataSize = sizeof(data);
    data.AdapterInterfaceType = PCIBus;
    data.HwFindAdapter = HwFindAdapter;
    data.HwInitialize = HwInitialize;
    data.HwStartIo = HwStartIo;
    data.HwInterrupt = HwInterrupt;
    data.HwResetBus = HwResetBus;
    data.HwAdapterControl = HwAdapterControl;
    data.HwBuildIo = HwBuildIo;
    data.DeviceExtensionSize = sizeof(HBA);
    data.SrbExtensionSize = sizeof(COMMAND_TABLE);
    data.NumberOfAccessRanges = 6;
    data.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
    data.NeedPhysicalAddresses = TRUE;
    data.TaggedQueuing = TRUE;
    data.AutoRequestSense = TRUE;
    data.MultipleRequestPerLu = TRUE;
    return (NTSTATUS)StorPortInitialize(DriverObject, RegistryPath, &data, NULL);
}
