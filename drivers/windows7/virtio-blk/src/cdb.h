/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A CDB taken apart: what it asks for, where, how much. Pure: no state, no SCSI port driver, no device.
 *
 * Only what decides the path of a command is decoded here. Commands that are answered without the device read the
 * rest of their fields themselves, with the big-endian accessors below.
 */
#ifndef AERO_VIRTIO_BLK_CDB_H
#define AERO_VIRTIO_BLK_CDB_H

#include "virtio_platform.h"

/* Operation codes that this driver knows. [SPC-3 table 45; SBC-2 table 11] */
#define CDB_TEST_UNIT_READY 0x00
#define CDB_REQUEST_SENSE 0x03
#define CDB_READ_6 0x08
#define CDB_WRITE_6 0x0A
#define CDB_INQUIRY 0x12
#define CDB_MODE_SELECT_6 0x15
#define CDB_MODE_SENSE_6 0x1A
#define CDB_START_STOP_UNIT 0x1B
#define CDB_SEND_DIAGNOSTIC 0x1D
#define CDB_PREVENT_ALLOW 0x1E
#define CDB_READ_CAPACITY_10 0x25
#define CDB_READ_10 0x28
#define CDB_WRITE_10 0x2A
#define CDB_WRITE_AND_VERIFY_10 0x2E
#define CDB_VERIFY_10 0x2F
#define CDB_SYNCHRONIZE_CACHE_10 0x35
#define CDB_UNMAP 0x42
#define CDB_LOG_SENSE 0x4D
#define CDB_MODE_SELECT_10 0x55
#define CDB_MODE_SENSE_10 0x5A
#define CDB_READ_16 0x88
#define CDB_WRITE_16 0x8A
#define CDB_WRITE_AND_VERIFY_16 0x8E
#define CDB_VERIFY_16 0x8F
#define CDB_SYNCHRONIZE_CACHE_16 0x91
#define CDB_WRITE_SAME_16 0x93
#define CDB_SERVICE_ACTION_IN_16 0x9E
#define CDB_REPORT_LUNS 0xA0
#define CDB_MAINTENANCE_IN 0xA3
#define CDB_READ_12 0xA8
#define CDB_WRITE_12 0xAA
#define CDB_WRITE_AND_VERIFY_12 0xAE
#define CDB_VERIFY_12 0xAF

/* Service actions: of SERVICE ACTION IN(16), and of MAINTENANCE IN. */
#define CDB_SA_READ_CAPACITY_16 0x10
#define CDB_SA_REPORT_SUPPORTED_OPERATION_CODES 0x0C
#define CDB_SERVICE_ACTION(Cdb) ((Cdb)[1] & 0x1F)

/* What a CDB asks for. The values of reads and writes are bit 1 of their operation codes. */
#define CDB_READ 0
#define CDB_WRITE 2
#define CDB_SYNCHRONIZE 4 /* SYNCHRONIZE CACHE; 0 blocks mean up to the last one */
#define CDB_OTHER 5       /* not a command for the medium; position and length are not set */
#define CDB_INVALID 6     /* a medium command with a field that must be refused: INVALID FIELD IN CDB */

#define CDB_OPERATION(Decoded) ((Decoded) & 0x7)
/* Beside CDB_READ or CDB_WRITE: force unit access, where CdbHead has it too. */
#define CDB_FUA 0x800

/* Bits of byte 1 and of CONTROL that are refused: protection information; NACA and LINK. */
#define CDB_PROTECT 0xE0
#define CDB_CONTROL_REFUSED 0x05

/*
 * What Cdb asks for, as above; position and length in blocks. Cdb has 16 readable bytes, of which the sender meant
 * Length. In registers rather than a structure, because every request comes through here.
 */
ULONG CdbDecode(const UCHAR *Cdb, ULONG Length, ULONGLONG *Lba, ULONG *Blocks);

/*
 * FALSE: shorter than its operation code says, or CONTROL asks for NACA or for linked commands, which this target does
 * not do. [SPC-3 4.3.6; SAM-3 5.2]
 */
BOOLEAN CdbIsWellFormed(const UCHAR *Cdb, ULONG Length);

/* Bytes that a CDB with this operation code has; 0 where the code does not say. */
ULONG CdbLength(UCHAR Opcode);

/* Position and length in blocks of any 10-, 12- or 16-byte command that has them where READ has them. */
VOID CdbExtent(const UCHAR *Cdb, ULONGLONG *Lba, ULONG *Blocks);

/* Bytes 0 and 1 of a CDB, the operation code in the lower half. */
static __inline ULONG CdbHead(const UCHAR *Cdb) {
    return (ULONG)Cdb[0] | (ULONG)Cdb[1] << 8;
}

/*
 * Whether Cdb is a READ(10) or WRITE(10) with nothing to refuse, as nearly all are. Then CdbDecode would return
 * CdbHead(Cdb) & (CDB_WRITE | CDB_FUA), CdbGet32(Cdb + 2) and CdbGet16(Cdb + 7).
 */
static __inline BOOLEAN CdbIsTransfer10(const UCHAR *Cdb, ULONG Length) {
    return (BOOLEAN)(Length >= 10 && (CdbHead(Cdb) & ((0xFF & ~CDB_WRITE) | CDB_PROTECT << 8)) == CDB_READ_10 &&
                     (Cdb[9] & CDB_CONTROL_REFUSED) == 0);
}

static __inline USHORT CdbGet16(const UCHAR *Bytes) {
    return (USHORT)(Bytes[0] << 8 | Bytes[1]);
}

static __inline ULONG CdbGet32(const UCHAR *Bytes) {
    return (ULONG)Bytes[0] << 24 | (ULONG)Bytes[1] << 16 | (ULONG)Bytes[2] << 8 | (ULONG)Bytes[3];
}

static __inline ULONGLONG CdbGet64(const UCHAR *Bytes) {
    return (ULONGLONG)CdbGet32(Bytes) << 32 | CdbGet32(Bytes + 4);
}

static __inline VOID CdbPut16(PUCHAR Bytes, ULONG Value) {
    Bytes[0] = (UCHAR)(Value >> 8);
    Bytes[1] = (UCHAR)Value;
}

static __inline VOID CdbPut32(PUCHAR Bytes, ULONG Value) {
    CdbPut16(Bytes, Value >> 16);
    CdbPut16(Bytes + 2, Value);
}

static __inline VOID CdbPut64(PUCHAR Bytes, ULONGLONG Value) {
    CdbPut32(Bytes, (ULONG)(Value >> 32));
    CdbPut32(Bytes + 4, (ULONG)Value);
}

#endif
