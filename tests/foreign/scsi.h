/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A disk in memory as SCSI sees it: what both miniports that keep one answer in the same way. */
#ifndef FOREIGN_SCSI_H
#define FOREIGN_SCSI_H

#include <storport.h>

#define DISK_BLOCK_BYTES 512
#define DISK_BLOCKS 8192

/* A transfer, where the command is one. */
typedef struct _TRANSFER {
    ULONG Offset, Bytes; /* of the disk; of the data */
    BOOLEAN ToDisk;
} TRANSFER, *PTRANSFER;

/* Sets Srb's status (and sense) and returns FALSE; or returns TRUE, for a transfer that is still to be made. */
BOOLEAN ScsiDecode(PSCSI_REQUEST_BLOCK Srb, PTRANSFER Transfer);

#endif
