/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* SRB_IO_CONTROL: the diagnostic query and the forced reset of checked builds. Completes nothing. */
#include "aero_virtio_blk.h"
#include "aero_virtio_blk_ioctl.h"

/* Where a field of the query ends. The answer is as many whole fields as fit. */
#define FIELD_END(Field) ((UCHAR)RTL_SIZEOF_THROUGH_FIELD(AEROVBLK_QUERY_INFO, Field))

static const UCHAR VblkQueryFieldEnds[] = {
    FIELD_END(UsedIdx),
    FIELD_END(InterruptMode),
    FIELD_END(MsixConfigVector),
    FIELD_END(MsixQueue0Vector),
    FIELD_END(MessageCount),
    FIELD_END(Flags),
    FIELD_END(AbortSrbCount),
    FIELD_END(ResetDeviceSrbCount),
    FIELD_END(ResetBusSrbCount),
    FIELD_END(PnpSrbCount),
    FIELD_END(IoctlResetCount),
    FIELD_END(CapacityChangeEvents),
    FIELD_END(ResetDetectedCount),
    FIELD_END(HwResetBusCount),
};

/* The first field that is not optional ends the minimum. */
C_ASSERT(RTL_SIZEOF_THROUGH_FIELD(AEROVBLK_QUERY_INFO, UsedIdx) == AEROVBLK_QUERY_MINIMUM_LENGTH);

static VOID VblkFillQuery(PVBLK_ADAPTER Adapter, AEROVBLK_QUERY_INFO *Info) {
    RtlZeroMemory(Info, sizeof(*Info));
    Info->NegotiatedFeatures = Adapter->Features;
    Info->QueueSize = Adapter->Queue.Size;
    Info->NumFree = Adapter->Queue.Size != 0 ? VirtqueueFreeCount(&Adapter->Queue) : 0;
    Info->AvailIdx = Adapter->Queue.AvailIndex;
    Info->UsedIdx = Adapter->Queue.UsedIndex;
    Info->InterruptMode = Adapter->MessageCount != 0 ? AEROVBLK_INTERRUPT_MODE_MESSAGE : AEROVBLK_INTERRUPT_MODE_INTX;
    Info->MsixConfigVector = Adapter->ConfigVector;
    Info->MsixQueue0Vector = Adapter->QueueVector;
    Info->MessageCount = Adapter->MessageCount;
    Info->Flags = Adapter->RemovedFlags;
    if (Adapter->State == VblkResetting) {
        Info->Flags |= AEROVBLK_FLAG_RESET_IN_PROGRESS;
    }
    if (Adapter->ResetQueue.First != NULL) {
        Info->Flags |= AEROVBLK_FLAG_RESET_PENDING;
    }
    Info->AbortSrbCount = Adapter->AbortSrbCount;
    Info->ResetDeviceSrbCount = Adapter->ResetDeviceSrbCount;
    Info->ResetBusSrbCount = Adapter->ResetBusSrbCount;
    Info->PnpSrbCount = Adapter->PnpSrbCount;
    Info->IoctlResetCount = Adapter->IoctlResetCount;
    Info->CapacityChangeEvents = Adapter->CapacityChangeEvents;
    Info->ResetDetectedCount = Adapter->ResetDetectedCount;
    Info->HwResetBusCount = Adapter->HwResetBusCount;
}

static VBLK_OUTCOME VblkQuery(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, PSRB_IO_CONTROL Control) {
    AEROVBLK_QUERY_INFO info;
    ULONG length = 0;
    ULONG i;

    for (i = 0; i < RTL_NUMBER_OF(VblkQueryFieldEnds) && VblkQueryFieldEnds[i] <= Control->Length; i++) {
        length = VblkQueryFieldEnds[i];
    }
    if (length == 0) {
        Control->ReturnCode = (ULONG)STATUS_BUFFER_TOO_SMALL;
        return VblkOutcomeInvalidRequest;
    }
    VblkFillQuery(Adapter, &info);
    RtlCopyMemory(Control + 1, &info, length);
    Control->Length = length;
    Control->ReturnCode = (ULONG)STATUS_SUCCESS;
    Srb->DataTransferLength = sizeof(*Control) + length;
    return VblkOutcomeSuccess;
}

/*
 * The I/O manager hands ReturnCode to the caller only with a request that succeeded, so a free build succeeds in saying
 * that it does not do this.
 */
static VBLK_OUTCOME VblkForceReset(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb, PSRB_IO_CONTROL Control) {
    Control->Length = 0;
    Srb->DataTransferLength = sizeof(*Control);
#if DBG
    Control->ReturnCode = (ULONG)STATUS_SUCCESS;
    Adapter->IoctlResetCount++;
    return VblkBeginReset(Adapter, Srb);
#else
    UNREFERENCED_PARAMETER(Adapter);
    Control->ReturnCode = (ULONG)STATUS_NOT_SUPPORTED;
    return VblkOutcomeSuccess;
#endif
}

VBLK_OUTCOME VblkIoControl(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb) {
    PSRB_IO_CONTROL control = (PSRB_IO_CONTROL)Srb->DataBuffer;

    if (control == NULL || Srb->DataTransferLength < sizeof(*control) || control->HeaderLength != sizeof(*control) ||
        control->Length > Srb->DataTransferLength - sizeof(*control) ||
        !RtlEqualMemory(control->Signature, AEROVBLK_SIGNATURE, AEROVBLK_SIGNATURE_LENGTH)) {
        return VblkOutcomeInvalidRequest;
    }
    switch (control->ControlCode) {
    case AEROVBLK_IOCTL_QUERY:
        return VblkQuery(Adapter, Srb, control);
    case AEROVBLK_IOCTL_FORCE_RESET:
        return VblkForceReset(Adapter, Srb, control);
    default:
        return VblkOutcomeInvalidRequest;
    }
}
