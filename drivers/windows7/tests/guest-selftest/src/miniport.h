/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver itself, asked past the file systems: its diagnostic interface by the port's device \\.\ScsiN:, SCSI
 * commands and the capacity by the disk.
 *
 * Functions return a Windows error code, ERROR_SUCCESS if all went well.
 */
#ifndef SELFTEST_MINIPORT_H
#define SELFTEST_MINIPORT_H

#include "device.h"

#include "aero_virtio_blk_ioctl.h"

typedef struct _MINIPORT {
    HANDLE Disk; /* may be read and written past any volume */
    HANDLE Port;
} MINIPORT;

/* Whichever of the two cannot be opened stays INVALID_HANDLE_VALUE; the error is the disk's, or else the port's. */
DWORD MiniportOpen(const VIRTIO_DISK *Disk, MINIPORT *Miniport);
void MiniportClose(MINIPORT *Miniport);

/* Fields beyond *Length bytes are zero. A length that is less than the ABI allows is an error. */
DWORD MiniportQuery(const MINIPORT *Miniport, AEROVBLK_QUERY_INFO *Info, DWORD *Length);
/* *Status is the driver's own answer, an NTSTATUS. */
DWORD MiniportForceReset(const MINIPORT *Miniport, DWORD *Status);

/* ERROR_INVALID_DATA: the answer is not a list with unit 0 in it. */
DWORD MiniportReportLuns(const MINIPORT *Miniport);
/* The capacity as the driver says it now, not as Windows has it in memory. */
DWORD MiniportReadCapacity(const MINIPORT *Miniport, ULONGLONG *Bytes);

#endif
