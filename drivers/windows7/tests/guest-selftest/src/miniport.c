/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Device control requests to the driver and to the disk above it. */
#include "miniport.h"

#include <stdio.h>
#include <string.h>
#include <winioctl.h>
#include <ntddscsi.h>

#define REQUEST_SECONDS 30 /* a device that says nothing is reset several times by then */
#define REPORT_LUNS 0xA0
#define REPORT_LUNS_BYTES 256

typedef struct _MINIPORT_CONTROL {
    SRB_IO_CONTROL Header;
    BYTE Payload[sizeof(AEROVBLK_QUERY_INFO)]; /* follows the header, with no regard to alignment */
} MINIPORT_CONTROL;

static HANDLE OpenDevice(const WCHAR *Path) {
    return CreateFileW(Path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING,
                       FILE_FLAG_NO_BUFFERING, NULL);
}

DWORD MiniportOpen(const VIRTIO_DISK *Disk, MINIPORT *Miniport) {
    SCSI_ADDRESS address;
    WCHAR port[32];
    DWORD returned;

    Miniport->Port = INVALID_HANDLE_VALUE;
    Miniport->Disk = OpenDevice(Disk->Path);
    if (Miniport->Disk == INVALID_HANDLE_VALUE) {
        return GetLastError();
    }
    if (!DeviceIoControl(Miniport->Disk, IOCTL_SCSI_GET_ADDRESS, NULL, 0, &address, sizeof(address), &returned, NULL)) {
        return GetLastError();
    }
    _snwprintf(port, sizeof(port) / sizeof(port[0]), L"\\\\.\\Scsi%u:", address.PortNumber);
    Miniport->Port = OpenDevice(port);
    return Miniport->Port == INVALID_HANDLE_VALUE ? GetLastError() : ERROR_SUCCESS;
}

static void CloseDevice(HANDLE *Device) {
    if (*Device != INVALID_HANDLE_VALUE) {
        CloseHandle(*Device);
    }
    *Device = INVALID_HANDLE_VALUE;
}

void MiniportClose(MINIPORT *Miniport) {
    CloseDevice(&Miniport->Disk);
    CloseDevice(&Miniport->Port);
}

/* PayloadBytes: what the driver may answer with. */
static DWORD SendControl(const MINIPORT *Miniport, DWORD Code, DWORD PayloadBytes, MINIPORT_CONTROL *Control) {
    DWORD bytes = sizeof(Control->Header) + PayloadBytes;
    DWORD returned;

    memset(Control, 0, sizeof(*Control));
    Control->Header.HeaderLength = sizeof(Control->Header);
    memcpy(Control->Header.Signature, AEROVBLK_SIGNATURE, AEROVBLK_SIGNATURE_LENGTH);
    Control->Header.Timeout = REQUEST_SECONDS;
    Control->Header.ControlCode = Code;
    Control->Header.Length = PayloadBytes;
    if (Miniport->Port == INVALID_HANDLE_VALUE) {
        return ERROR_INVALID_HANDLE;
    }
    if (!DeviceIoControl(Miniport->Port, IOCTL_SCSI_MINIPORT, Control, bytes, Control, bytes, &returned, NULL)) {
        return GetLastError();
    }
    return returned < sizeof(Control->Header) ? ERROR_INVALID_DATA : ERROR_SUCCESS;
}

DWORD MiniportQuery(const MINIPORT *Miniport, AEROVBLK_QUERY_INFO *Info, DWORD *Length) {
    MINIPORT_CONTROL control;
    DWORD error = SendControl(Miniport, AEROVBLK_IOCTL_QUERY, sizeof(*Info), &control);

    memset(Info, 0, sizeof(*Info));
    *Length = 0;
    if (error != ERROR_SUCCESS) {
        return error;
    }
    if (control.Header.ReturnCode != 0 || control.Header.Length < AEROVBLK_QUERY_MINIMUM_LENGTH) {
        return ERROR_INVALID_DATA;
    }
    *Length = control.Header.Length < sizeof(*Info) ? control.Header.Length : (DWORD)sizeof(*Info);
    memcpy(Info, control.Payload, *Length);
    return ERROR_SUCCESS;
}

DWORD MiniportForceReset(const MINIPORT *Miniport, DWORD *Status) {
    MINIPORT_CONTROL control;
    DWORD error = SendControl(Miniport, AEROVBLK_IOCTL_FORCE_RESET, 0, &control);

    *Status = control.Header.ReturnCode;
    return error;
}

static BOOL HasUnitZero(const BYTE *List, DWORD Bytes) {
    static const BYTE unitZero[8];
    DWORD length = (DWORD)List[0] << 24 | (DWORD)List[1] << 16 | (DWORD)List[2] << 8 | List[3];
    DWORD i;

    for (i = 8; i + 8 <= Bytes && i < 8 + length; i += 8) {
        if (memcmp(List + i, unitZero, sizeof(unitZero)) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

DWORD MiniportReportLuns(const MINIPORT *Miniport) {
    struct {
        SCSI_PASS_THROUGH Header;
        BYTE List[REPORT_LUNS_BYTES];
    } request;
    DWORD returned;

    memset(&request, 0, sizeof(request));
    request.Header.Length = sizeof(request.Header);
    request.Header.CdbLength = 12;
    request.Header.DataIn = SCSI_IOCTL_DATA_IN;
    request.Header.DataTransferLength = REPORT_LUNS_BYTES;
    request.Header.TimeOutValue = REQUEST_SECONDS;
    request.Header.DataBufferOffset = (ULONG_PTR)((BYTE *)request.List - (BYTE *)&request);
    request.Header.Cdb[0] = REPORT_LUNS;
    request.Header.Cdb[8] = (BYTE)(REPORT_LUNS_BYTES >> 8);
    request.Header.Cdb[9] = (BYTE)REPORT_LUNS_BYTES;
    if (!DeviceIoControl(Miniport->Disk, IOCTL_SCSI_PASS_THROUGH, &request, sizeof(request), &request, sizeof(request),
                         &returned, NULL)) {
        return GetLastError();
    }
    if (request.Header.ScsiStatus != 0) {
        return ERROR_IO_DEVICE;
    }
    if (request.Header.DataTransferLength > REPORT_LUNS_BYTES) {
        return ERROR_INVALID_DATA;
    }
    return HasUnitZero(request.List, request.Header.DataTransferLength) ? ERROR_SUCCESS : ERROR_INVALID_DATA;
}

DWORD MiniportReadCapacity(const MINIPORT *Miniport, ULONGLONG *Bytes) {
    GET_LENGTH_INFORMATION length;
    DWORD returned;

    /* Has disk.sys and the partition manager ask again. Where they cannot, the length below is as good as it gets. */
    DeviceIoControl(Miniport->Disk, IOCTL_DISK_UPDATE_PROPERTIES, NULL, 0, NULL, 0, &returned, NULL);
    if (!DeviceIoControl(Miniport->Disk, IOCTL_DISK_GET_LENGTH_INFO, NULL, 0, &length, sizeof(length), &returned,
                         NULL)) {
        return GetLastError();
    }
    *Bytes = (ULONGLONG)length.Length.QuadPart;
    return ERROR_SUCCESS;
}
