/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One Request, several device requests: transfers that the device's limits cut, verification, UNMAP, WRITE SAME, and
 * the serial number that an INQUIRY waits for.
 *
 *   VblkBeginTransfer, VblkBeginSteps   what the command is about; builds the first device request
 *   VblkNextStep                        the device has done one; builds the next, or says how the Request ends
 *
 * All state is in the Request's VBLK_STEPS, so any number of them can be in flight. Only one device request of each is,
 * so they are done in order. What the device limits is honoured where a device request is built, nowhere else.
 */
#ifndef AERO_VIRTIO_BLK_STEPS_H
#define AERO_VIRTIO_BLK_STEPS_H

#include "aero_virtio_blk.h"

typedef enum _VBLK_STAGE {
    VblkStageOver,
    VblkStageTransfer, /* between the device and the SRB's buffer */
    VblkStageSettle,   /* a flush, before what was written is read back */
    VblkStageRead,     /* of the medium, into memory that nobody looks at */
    VblkStageCompare,  /* the medium with the SRB's buffer */
    VblkStageDiscard,  /* the descriptors of UNMAP's parameter list */
    VblkStageZero,
    VblkStageFill, /* one block, again and again */
    VblkStageIdentify
} VBLK_STAGE;

/*
 * A READ or WRITE whose scatter list is not one for the device as it stands. Request->Last is set. Pending, or how it
 * ends. IRQL: DISPATCH. Locks: none.
 */
VBLK_OUTCOME VblkBeginTransfer(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, PSTOR_SCATTER_GATHER_LIST Scatter);

/*
 * Clears the steps of Request: Stage, then Next. The caller says what they are about, which lies within the disk: First,
 * Blocks, Total, Data. NULL: the device cannot reach the Request. Locks: StartIo.
 */
PVBLK_STEPS VblkPrepareSteps(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, VBLK_STAGE Stage, VBLK_STAGE Next);
/* Builds the first device request. Pending, or how the Request ends. */
VBLK_OUTCOME VblkFirstStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request);

/* The same after a device request that came back with Status. Locks: StartIo. */
VBLK_OUTCOME VblkNextStep(PVBLK_ADAPTER Adapter, PVBLK_REQUEST Request, UCHAR Status);

/* The device was reset: what had asked it for the serial number has not been answered. Locks: StartIo, or alone. */
VOID VblkLoseSerial(PVBLK_ADAPTER Adapter);

/* The status byte of a Request of VBLK_REQUEST_STEPS. */
UCHAR VblkStepStatus(const VBLK_ADAPTER *Adapter, PVBLK_REQUEST Request);

#endif
