/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The diagnostic interface of aero_virtio_blk.sys: IOCTL_SCSI_MINIPORT with this signature and these codes.
 *
 * A fixed ABI that programs built long ago rely on: fields are only ever appended. Needs nothing of any kit, so that a
 * user-mode program, the driver and a Linux test read the same file. All integers are little-endian.
 *
 * Query: the caller says in SRB_IO_CONTROL.Length how many payload bytes it has room for; the driver writes as many
 * whole fields as fit, at least the first 16 bytes, and sets Length to what it wrote. With less room the request fails.
 * Force reset: resets the device as a bus reset would. Checked builds only; a free build answers with ReturnCode
 * 0xC00000BB (not supported) and does nothing.
 */
#ifndef AERO_VIRTIO_BLK_IOCTL_H
#define AERO_VIRTIO_BLK_IOCTL_H

#include <stddef.h>

#define AEROVBLK_SIGNATURE "AEROVBLK" /* 8 bytes; the terminator is not part of it */
#define AEROVBLK_SIGNATURE_LENGTH 8

#define AEROVBLK_IOCTL_QUERY 0x8000A001u
#define AEROVBLK_IOCTL_FORCE_RESET 0x8000A002u

#define AEROVBLK_QUERY_MINIMUM_LENGTH 16

#define AEROVBLK_INTERRUPT_MODE_INTX 0
#define AEROVBLK_INTERRUPT_MODE_MESSAGE 1

#define AEROVBLK_NO_VECTOR 0xFFFFu

#define AEROVBLK_FLAG_REMOVED 0x1u
#define AEROVBLK_FLAG_SURPRISE_REMOVED 0x2u
#define AEROVBLK_FLAG_RESET_IN_PROGRESS 0x4u
#define AEROVBLK_FLAG_RESET_PENDING 0x8u

/* "unsigned int" and "unsigned short" have 32 and 16 bits on every target of this file. */
typedef struct _AEROVBLK_QUERY_INFO {
    unsigned long long NegotiatedFeatures;
    unsigned short QueueSize;
    unsigned short NumFree;
    unsigned short AvailIdx;
    unsigned short UsedIdx;
    unsigned int InterruptMode;      /* AEROVBLK_INTERRUPT_MODE_* */
    unsigned short MsixConfigVector; /* AEROVBLK_NO_VECTOR: none */
    unsigned short MsixQueue0Vector; /* likewise */
    unsigned int MessageCount;       /* messages granted; 0 with INTx */
    unsigned int Flags;              /* AEROVBLK_FLAG_* */
    unsigned int AbortSrbCount;
    unsigned int ResetDeviceSrbCount; /* device and logical unit */
    unsigned int ResetBusSrbCount;
    unsigned int PnpSrbCount;
    unsigned int IoctlResetCount;
    unsigned int CapacityChangeEvents;
    unsigned int ResetDetectedCount; /* faults of the device that the driver noticed itself */
    unsigned int HwResetBusCount;
} AEROVBLK_QUERY_INFO;

#define AEROVBLK_AT(Field, Offset)                                                                                     \
    typedef char AerovblkOffset##Field[offsetof(AEROVBLK_QUERY_INFO, Field) == (Offset) ? 1 : -1]

AEROVBLK_AT(NegotiatedFeatures, 0x00);
AEROVBLK_AT(QueueSize, 0x08);
AEROVBLK_AT(NumFree, 0x0A);
AEROVBLK_AT(AvailIdx, 0x0C);
AEROVBLK_AT(UsedIdx, 0x0E);
AEROVBLK_AT(InterruptMode, 0x10);
AEROVBLK_AT(MsixConfigVector, 0x14);
AEROVBLK_AT(MsixQueue0Vector, 0x16);
AEROVBLK_AT(MessageCount, 0x18);
AEROVBLK_AT(Flags, 0x1C);
AEROVBLK_AT(AbortSrbCount, 0x20);
AEROVBLK_AT(ResetDeviceSrbCount, 0x24);
AEROVBLK_AT(ResetBusSrbCount, 0x28);
AEROVBLK_AT(PnpSrbCount, 0x2C);
AEROVBLK_AT(IoctlResetCount, 0x30);
AEROVBLK_AT(CapacityChangeEvents, 0x34);
AEROVBLK_AT(ResetDetectedCount, 0x38);
AEROVBLK_AT(HwResetBusCount, 0x3C);
typedef char AerovblkQueryInfoSize[sizeof(AEROVBLK_QUERY_INFO) == 0x40 ? 1 : -1];

#undef AEROVBLK_AT

#endif
