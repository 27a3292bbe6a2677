/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Commands for the medium that are more than one read, write or flush. For scsi.c's table; outcomes as there. */
#ifndef AERO_VIRTIO_BLK_MEDIUM_H
#define AERO_VIRTIO_BLK_MEDIUM_H

#include "aero_virtio_blk.h"

VBLK_OUTCOME VblkVerify(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);
VBLK_OUTCOME VblkWriteAndVerify(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);
VBLK_OUTCOME VblkUnmapBlocks(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);
VBLK_OUTCOME VblkWriteSame16(PVBLK_ADAPTER Adapter, PSCSI_REQUEST_BLOCK Srb);

#endif
