/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The DriverEntry of a virtual miniport, which has no hardware: its structure has five more callbacks. */
#include "kernel.h"

typedef struct _VIRTUAL_DATA {
    HW_INITIALIZATION_DATA Data;
    PVOID FreeAdapterResources, ProcessServiceRequest, CompleteServiceIrp, InitializeTracing, CleanupTracing;
} VIRTUAL_DATA;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) {
    VIRTUAL_DATA data;
    NTSTATUS status;

    RtlZeroMemory(&data, sizeof(data));
    data.Data.HwInitializationDataSize = sizeof(data);
    data.Data.AdapterInterfaceType = Internal;
    data.Data.TaggedQueuing = TRUE;
    data.Data.AutoRequestSense = TRUE;
    data.Data.MultipleRequestPerLu = TRUE;
    status = (NTSTATUS)StorPortInitialize(DriverObject, RegistryPath, (PHW_INITIALIZATION_DATA)(PVOID)&data, NULL);
    DbgPrint("virtual: StorPortInitialize returned 0x%lX\n", status);
    return status;
}
