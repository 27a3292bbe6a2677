/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A driver for Wine: the disk, the volume and the SCSI port that Windows 7 makes of an adapter. Requests to the disk
 * and to the port go over a TCP connection, on loopback, to a driver that `storhost sg` hosts.
 *
 * It stands for disk.sys, the volume manager and StorPort's device control, never for the driver under test: what a
 * program reads from the disk, writes to it and asks the miniport is answered there. One request is under way at a
 * time.
 * Volumes have no file system, for Wine gives drivers no names of files: they only say which disk they would be on, and
 * files of drive V: are Linux's. T: is on another disk, and U: a CD-ROM.
 *
 * The key of its service has the DWORDs Connection, the TCP port, and Payload, how many bytes of a control request's
 * payload the miniport is offered (all, where there is none).
 */
#include <ntddk.h>
#include <ntddscsi.h>
#include <ntdddisk.h>

#include "front/sg_wire.h"

#define MOST_BYTES (64u * 1024) /* of one command: any adapter takes that */
#define RETRIES 5               /* of a command that a unit attention met */
#define TIMEOUT_S 30
#define PORT_NUMBER 2
#define DISK_NUMBER 1
#define BLOCK_BYTES 512u

/* ---- Winsock, as far as it is needed: its headers and a driver's do not go together ---- */

typedef UINT_PTR SOCKET;
struct socket_address {
    USHORT family, port;
    UCHAR address[4], zero[8];
};

#define AF_INET 2
#define SOCK_STREAM 1
#define INVALID_SOCKET ((SOCKET)~0)

int __stdcall WSAStartup(USHORT version, void *data);
SOCKET __stdcall socket(int family, int type, int protocol);
int __stdcall connect(SOCKET socket, const struct socket_address *name, int length);
int __stdcall send(SOCKET socket, const char *data, int length, int flags);
int __stdcall recv(SOCKET socket, char *data, int length, int flags);
int __stdcall closesocket(SOCKET socket);

/* ---- the connection ---- */

enum kind {
    KIND_DISK,
    KIND_VOLUME,
    KIND_OTHER_VOLUME, /* of another disk */
    KIND_CDROM,        /* whose number is the disk's: each type counts by itself */
    KIND_PORT
};

static ULONG connection_port, most_payload = MAXULONG;
static SOCKET connection = INVALID_SOCKET;

static BOOLEAN connected(void) {
    struct socket_address name = {.family = AF_INET, .address = {127, 0, 0, 1}};
    UCHAR room[1024];

    if (connection != INVALID_SOCKET)
        return TRUE;
    if (WSAStartup(0x202, room))
        return FALSE;
    name.port = (USHORT)(connection_port << 8 | connection_port >> 8);
    connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connection != INVALID_SOCKET && !connect(connection, &name, sizeof(name)))
        return TRUE;
    closesocket(connection);
    connection = INVALID_SOCKET;
    return FALSE;
}

static BOOLEAN move(BOOLEAN out, void *data, ULONG length) {
    char *bytes = data;

    while (length) {
        int moved = out ? send(connection, bytes, (int)length, 0) : recv(connection, bytes, (int)length, 0);

        if (moved <= 0)
            return FALSE;
        bytes += moved;
        length -= (ULONG)moved;
    }
    return TRUE;
}

/* One request and its answer. The data are the request's, or the answer's, or both, as its kind has it. */
static NTSTATUS exchange(struct sg_request *request, void *data, struct sg_reply *reply) {
    BOOLEAN sends = request->direction == SG_WIRE_OUT || request->kind == SG_WIRE_IO_CONTROL;
    BOOLEAN good;

    request->magic = SG_WIRE_MAGIC;
    request->timeout = TIMEOUT_S;
    good = connected() && move(TRUE, request, sizeof(*request)) && (!sends || move(TRUE, data, request->length)) &&
           move(FALSE, reply, sizeof(*reply));
    if (good && !reply->error && request->direction == SG_WIRE_IN)
        good = reply->transferred <= request->length && move(FALSE, data, reply->transferred);
    if (!good) {
        closesocket(connection);
        connection = INVALID_SOCKET;
    }
    if (!good || reply->host_status == 1) /* DID_NO_CONNECT */
        return STATUS_DEVICE_NOT_CONNECTED;
    return reply->error || reply->host_status ? STATUS_IO_DEVICE_ERROR : STATUS_SUCCESS;
}

/* ---- SCSI ---- */

static NTSTATUS command(const UCHAR *cdb, UCHAR cdb_length, UCHAR direction, void *data, ULONG length,
                        struct sg_reply *reply) {
    struct sg_request request = {.length = length, .direction = direction, .cdb_length = cdb_length};

    RtlCopyMemory(request.cdb, cdb, cdb_length);
    return exchange(&request, data, reply);
}

/* Again, as classpnp does, where a unit attention was all that came back. */
static NTSTATUS class_command(const UCHAR *cdb, UCHAR cdb_length, UCHAR direction, void *data, ULONG length) {
    struct sg_reply reply;
    NTSTATUS status = STATUS_SUCCESS;

    for (unsigned i = 0; i < RETRIES; i++) {
        status = command(cdb, cdb_length, direction, data, length, &reply);
        if (!NT_SUCCESS(status) || !reply.status)
            return status;
        status = STATUS_IO_DEVICE_ERROR;
        if (reply.sense_length < 3 || (reply.sense[2] & 15) != 6)
            break;
    }
    return status;
}

static ULONGLONG big_endian(const UCHAR *bytes, unsigned length) {
    ULONGLONG value = 0;

    for (unsigned i = 0; i < length; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void put_big_endian(UCHAR *bytes, unsigned length, ULONGLONG value) {
    for (unsigned i = length; i--; value >>= 8)
        bytes[i] = (UCHAR)value;
}

static NTSTATUS read_length(ULONGLONG *length) {
    static const UCHAR cdb[16] = {0x9E, 0x10, [13] = 32}; /* READ CAPACITY (16) */
    UCHAR data[32] = {0};
    NTSTATUS status = class_command(cdb, sizeof(cdb), SG_WIRE_IN, data, sizeof(data));

    *length = (big_endian(data, 8) + 1) * big_endian(data + 8, 4);
    return status;
}

static NTSTATUS transfer(BOOLEAN write, UCHAR *data, ULONG length, ULONGLONG offset) {
    NTSTATUS status = STATUS_SUCCESS;

    if (offset % BLOCK_BYTES || length % BLOCK_BYTES)
        return STATUS_INVALID_PARAMETER;
    while (length && NT_SUCCESS(status)) {
        ULONG bytes = length < MOST_BYTES ? length : MOST_BYTES;
        UCHAR cdb[16] = {write ? 0x8A : 0x88};

        put_big_endian(cdb + 2, 8, offset / BLOCK_BYTES);
        put_big_endian(cdb + 10, 4, bytes / BLOCK_BYTES);
        status = class_command(cdb, sizeof(cdb), write ? SG_WIRE_OUT : SG_WIRE_IN, data, bytes);
        data += bytes;
        offset += bytes;
        length -= bytes;
    }
    return status;
}

static NTSTATUS flush(void) {
    static const UCHAR cdb[10] = {0x35};

    return class_command(cdb, sizeof(cdb), SG_WIRE_NONE, NULL, 0);
}

/* ---- device control ---- */

/* SCSI_PASS_THROUGH as a 32-bit program has it: only the offset is narrower, and so is what follows. */
struct pass_through_32 {
    USHORT length;
    UCHAR scsi_status, path, target, lun, cdb_length, sense_length, direction;
    ULONG data_length, timeout, data_offset, sense_offset;
    UCHAR cdb[16];
};

static NTSTATUS pass_through(UCHAR *buffer, ULONG in, ULONG out, ULONG_PTR *returned) {
    static const UCHAR directions[] = {SG_WIRE_OUT, SG_WIRE_IN, SG_WIRE_NONE};
    SCSI_PASS_THROUGH *wide = (SCSI_PASS_THROUGH *)buffer;
    struct pass_through_32 *narrow = (struct pass_through_32 *)buffer;
    BOOLEAN is_wide = in >= sizeof(*wide) && wide->Length == sizeof(*wide);
    ULONGLONG offset;
    UCHAR *cdb;
    struct sg_reply reply;
    NTSTATUS status;

    if (!is_wide && (in < sizeof(*narrow) || narrow->length != sizeof(*narrow)))
        return STATUS_REVISION_MISMATCH;
    offset = is_wide ? wide->DataBufferOffset : narrow->data_offset;
    cdb = is_wide ? wide->Cdb : narrow->cdb;
    if (narrow->direction > 2 || narrow->cdb_length > 16 || offset > out || narrow->data_length > out - offset)
        return STATUS_INVALID_PARAMETER;
    status =
        command(cdb, narrow->cdb_length, directions[narrow->direction], buffer + offset, narrow->data_length, &reply);
    if (!NT_SUCCESS(status))
        return status;
    narrow->scsi_status = reply.status;
    narrow->sense_length = 0;
    narrow->data_length = reply.transferred;
    *returned = offset + reply.transferred;
    return STATUS_SUCCESS;
}

/* SRB_IO_CONTROL and its payload go as one block and come back as one, as the I/O manager has it. */
static NTSTATUS miniport(UCHAR *buffer, ULONG in, ULONG out, ULONG_PTR *returned) {
    SRB_IO_CONTROL *control = (SRB_IO_CONTROL *)buffer;
    struct sg_request request = {.kind = SG_WIRE_IO_CONTROL, .direction = SG_WIRE_IN};
    struct sg_reply reply;
    NTSTATUS status;

    if (in < sizeof(*control) || control->HeaderLength != sizeof(*control) || out < in)
        return STATUS_INVALID_PARAMETER;
    if (control->Length > most_payload)
        control->Length = most_payload;
    request.length = out;
    status = exchange(&request, buffer, &reply);
    *returned = NT_SUCCESS(status) ? reply.transferred : 0;
    return status;
}

#define ANSWER(type) ((type *)(out >= sizeof(type) && (*returned = sizeof(type)) ? buffer : NULL))

static NTSTATUS describe(enum kind kind, ULONG code, UCHAR *buffer, ULONG out, ULONG_PTR *returned) {
    if (code == IOCTL_STORAGE_GET_DEVICE_NUMBER && ANSWER(STORAGE_DEVICE_NUMBER)) {
        *(STORAGE_DEVICE_NUMBER *)buffer = (STORAGE_DEVICE_NUMBER){
            .DeviceType = kind == KIND_CDROM ? FILE_DEVICE_CD_ROM : FILE_DEVICE_DISK,
            .DeviceNumber = kind == KIND_OTHER_VOLUME ? DISK_NUMBER + 1 : DISK_NUMBER,
            .PartitionNumber = kind != KIND_DISK,
        };
        return STATUS_SUCCESS;
    }
    if (code == IOCTL_SCSI_GET_ADDRESS && ANSWER(SCSI_ADDRESS)) {
        *(SCSI_ADDRESS *)buffer = (SCSI_ADDRESS){.Length = sizeof(SCSI_ADDRESS), .PortNumber = PORT_NUMBER};
        return STATUS_SUCCESS;
    }
    if (code == IOCTL_DISK_GET_LENGTH_INFO && ANSWER(GET_LENGTH_INFORMATION))
        return read_length((ULONGLONG *)buffer);
    return code == IOCTL_DISK_UPDATE_PROPERTIES ? STATUS_SUCCESS : STATUS_INVALID_DEVICE_REQUEST;
}

/* ---- requests ---- */

static NTSTATUS finish(IRP *irp, NTSTATUS status, ULONG_PTR information) {
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = NT_SUCCESS(status) ? information : 0;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static enum kind kind_of(const DEVICE_OBJECT *device) {
    return *(enum kind *)device->DeviceExtension;
}

static NTSTATUS NTAPI dispatch_open(DEVICE_OBJECT *device, IRP *irp) {
    (void)device;
    return finish(irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI dispatch_transfer(DEVICE_OBJECT *device, IRP *irp) {
    const IO_STACK_LOCATION *stack = IoGetCurrentIrpStackLocation(irp);
    BOOLEAN write = stack->MajorFunction == IRP_MJ_WRITE;
    ULONG length = write ? stack->Parameters.Write.Length : stack->Parameters.Read.Length;
    LARGE_INTEGER offset = write ? stack->Parameters.Write.ByteOffset : stack->Parameters.Read.ByteOffset;

    if (kind_of(device) != KIND_DISK)
        return finish(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    return finish(irp, transfer(write, irp->AssociatedIrp.SystemBuffer, length, (ULONGLONG)offset.QuadPart), length);
}

static NTSTATUS NTAPI dispatch_flush(DEVICE_OBJECT *device, IRP *irp) {
    (void)device;
    return finish(irp, flush(), 0);
}

static NTSTATUS NTAPI dispatch_control(DEVICE_OBJECT *device, IRP *irp) {
    const IO_STACK_LOCATION *stack = IoGetCurrentIrpStackLocation(irp);
    ULONG code = stack->Parameters.DeviceIoControl.IoControlCode;
    ULONG in = stack->Parameters.DeviceIoControl.InputBufferLength;
    ULONG out = stack->Parameters.DeviceIoControl.OutputBufferLength;
    UCHAR *buffer = irp->AssociatedIrp.SystemBuffer;
    ULONG_PTR returned = 0;
    NTSTATUS status;

    if (kind_of(device) == KIND_PORT)
        status = code == IOCTL_SCSI_MINIPORT ? miniport(buffer, in, out, &returned) : STATUS_INVALID_DEVICE_REQUEST;
    else if (code == IOCTL_SCSI_PASS_THROUGH)
        status = pass_through(buffer, in, out, &returned);
    else
        status = describe(kind_of(device), code, buffer, out, &returned);
    return finish(irp, status, returned);
}

/* ---- start ---- */

static ULONG parameter(HANDLE key, const WCHAR *name, ULONG absent) {
    UCHAR room[sizeof(KEY_VALUE_PARTIAL_INFORMATION) + sizeof(ULONG)];
    KEY_VALUE_PARTIAL_INFORMATION *value = (KEY_VALUE_PARTIAL_INFORMATION *)room;
    UNICODE_STRING string;
    ULONG length;

    RtlInitUnicodeString(&string, name);
    if (!NT_SUCCESS(ZwQueryValueKey(key, &string, KeyValuePartialInformation, room, sizeof(room), &length)) ||
        value->Type != REG_DWORD)
        return absent;
    return *(ULONG *)value->Data;
}

static NTSTATUS add(DRIVER_OBJECT *driver, enum kind kind, const WCHAR *name, const WCHAR *const *links) {
    UNICODE_STRING string, link;
    DEVICE_OBJECT *device;
    NTSTATUS status;

    RtlInitUnicodeString(&string, name);
    status = IoCreateDevice(driver, sizeof(kind), &string, FILE_DEVICE_DISK, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    *(enum kind *)device->DeviceExtension = kind;
    device->Flags |= DO_BUFFERED_IO;
    device->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    for (; NT_SUCCESS(status) && *links; links++) {
        RtlInitUnicodeString(&link, *links);
        status = IoCreateSymbolicLink(&link, &string);
    }
    return status;
}

/* The names that wine_machine.py registers. */
static const WCHAR *const disk_links[] = {
    L"\\??\\PhysicalDrive1",
    L"\\??\\SCSI#Disk&Ven_AERO&Prod_VIRTIO#4&1#{53f56307-b6bf-11d0-94f2-00a0c91efb8b}",
    NULL,
};
static const WCHAR *const volume_links[] = {L"\\??\\V:", NULL};
static const WCHAR *const other_volume_links[] = {L"\\??\\T:", NULL};
static const WCHAR *const cdrom_links[] = {L"\\??\\U:", NULL};
static const WCHAR *const port_links[] = {L"\\??\\Scsi2:", NULL};

NTSTATUS NTAPI DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path) {
    OBJECT_ATTRIBUTES attributes;
    NTSTATUS status;
    HANDLE key;

    InitializeObjectAttributes(&attributes, path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    status = ZwOpenKey(&key, KEY_READ, &attributes);
    if (!NT_SUCCESS(status))
        return status;
    connection_port = parameter(key, L"Connection", 0);
    most_payload = parameter(key, L"Payload", MAXULONG);
    ZwClose(key);
    driver->MajorFunction[IRP_MJ_CREATE] = dispatch_open;
    driver->MajorFunction[IRP_MJ_CLOSE] = dispatch_open;
    driver->MajorFunction[IRP_MJ_READ] = dispatch_transfer;
    driver->MajorFunction[IRP_MJ_WRITE] = dispatch_transfer;
    driver->MajorFunction[IRP_MJ_FLUSH_BUFFERS] = dispatch_flush;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = dispatch_control;
    status = add(driver, KIND_PORT, L"\\Device\\ScsiPort2", port_links);
    if (NT_SUCCESS(status))
        status = add(driver, KIND_DISK, L"\\Device\\Harddisk1", disk_links);
    if (NT_SUCCESS(status))
        status = add(driver, KIND_VOLUME, L"\\Device\\HarddiskVolume3", volume_links);
    if (NT_SUCCESS(status))
        status = add(driver, KIND_OTHER_VOLUME, L"\\Device\\HarddiskVolume4", other_volume_links);
    if (NT_SUCCESS(status))
        status = add(driver, KIND_CDROM, L"\\Device\\CdRom1", cdrom_links);
    return status;
}
