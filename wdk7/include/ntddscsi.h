/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The control codes that reach a SCSI port driver and the header of a miniport-private request. */
#ifndef WDK7_NTDDSCSI_H
#define WDK7_NTDDSCSI_H

#include "ntddk.h"

#ifndef CTL_CODE
#define CTL_CODE(DeviceType, Function, Method, Access)                                                                 \
    (((DeviceType) << 16) | ((Access) << 14) | ((Function) << 2) | (Method))
#define METHOD_BUFFERED 0
#define FILE_ANY_ACCESS 0
#define FILE_READ_ACCESS 1
#define FILE_WRITE_ACCESS 2
#define FILE_DEVICE_CONTROLLER 0x00000004
#endif

#define IOCTL_SCSI_BASE FILE_DEVICE_CONTROLLER
#define IOCTL_SCSI_PASS_THROUGH CTL_CODE(IOCTL_SCSI_BASE, 0x0401, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)
#define IOCTL_SCSI_MINIPORT CTL_CODE(IOCTL_SCSI_BASE, 0x0402, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)
#define IOCTL_SCSI_GET_INQUIRY_DATA CTL_CODE(IOCTL_SCSI_BASE, 0x0403, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_SCSI_GET_CAPABILITIES CTL_CODE(IOCTL_SCSI_BASE, 0x0404, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_SCSI_PASS_THROUGH_DIRECT                                                                                 \
    CTL_CODE(IOCTL_SCSI_BASE, 0x0405, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)
#define IOCTL_SCSI_GET_ADDRESS CTL_CODE(IOCTL_SCSI_BASE, 0x0406, METHOD_BUFFERED, FILE_ANY_ACCESS)

/* SRB_FUNCTION_IO_CONTROL: stands at the start of DataBuffer, Length payload bytes follow it. */
typedef struct _SRB_IO_CONTROL {
    ULONG HeaderLength; /* bytes of this structure */
    UCHAR Signature[8]; /* names the miniport's interface; no terminator */
    ULONG Timeout;      /* seconds */
    ULONG ControlCode;
    ULONG ReturnCode;
    ULONG Length; /* payload bytes */
} SRB_IO_CONTROL, *PSRB_IO_CONTROL;

#endif
