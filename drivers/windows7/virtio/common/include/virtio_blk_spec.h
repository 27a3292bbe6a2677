/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The layouts and constants of the virtio 1.2 block device. Names are the specification's; section tags are those of
 * version 1.2.
 *
 * Shared by the driver and by device models. Of virtio_platform.h it needs u8, le16, le32, le64, C_ASSERT, offsetof.
 */
#ifndef VIRTIO_BLK_SPEC_H
#define VIRTIO_BLK_SPEC_H

#include "virtio_platform.h"

#define VIRTIO_ID_BLOCK 2

/* Unit of capacity, sector and the discard limits, whatever blk_size says. */
#define VIRTIO_BLK_SECTOR_SIZE 512

/* Feature bits by number. [virtio 5.2.3] */
#define VIRTIO_BLK_F_SIZE_MAX 1
#define VIRTIO_BLK_F_SEG_MAX 2
#define VIRTIO_BLK_F_GEOMETRY 4
#define VIRTIO_BLK_F_RO 5
#define VIRTIO_BLK_F_BLK_SIZE 6
#define VIRTIO_BLK_F_FLUSH 9
#define VIRTIO_BLK_F_TOPOLOGY 10
#define VIRTIO_BLK_F_CONFIG_WCE 11
#define VIRTIO_BLK_F_MQ 12
#define VIRTIO_BLK_F_DISCARD 13
#define VIRTIO_BLK_F_WRITE_ZEROES 14
#define VIRTIO_BLK_F_LIFETIME 15
#define VIRTIO_BLK_F_SECURE_ERASE 16

/* Device configuration; a field is there only with its feature. [virtio 5.2.4] */
struct virtio_blk_config {
    le64 capacity; /* sectors; always there */
    le32 size_max; /* SIZE_MAX: bytes per segment */
    le32 seg_max;  /* SEG_MAX: data segments per request */
    struct virtio_blk_geometry {
        le16 cylinders;
        u8 heads;
        u8 sectors;
    } geometry;
    le32 blk_size; /* BLK_SIZE: bytes per logical block */
    struct virtio_blk_topology {
        u8 physical_block_exp; /* log2 of logical blocks per physical block */
        u8 alignment_offset;   /* logical blocks */
        le16 min_io_size;      /* logical blocks */
        le32 opt_io_size;      /* logical blocks */
    } topology;
    u8 writeback; /* CONFIG_WCE: 0 writethrough, 1 writeback */
    u8 unused0;
    le16 num_queues;               /* MQ */
    le32 max_discard_sectors;      /* DISCARD */
    le32 max_discard_seg;          /* DISCARD */
    le32 discard_sector_alignment; /* DISCARD: sectors */
    le32 max_write_zeroes_sectors; /* WRITE_ZEROES */
    le32 max_write_zeroes_seg;     /* WRITE_ZEROES */
    u8 write_zeroes_may_unmap;     /* WRITE_ZEROES */
    u8 unused1[3];
    le32 max_secure_erase_sectors;      /* SECURE_ERASE */
    le32 max_secure_erase_seg;          /* SECURE_ERASE */
    le32 secure_erase_sector_alignment; /* SECURE_ERASE: sectors */
};

C_ASSERT(offsetof(struct virtio_blk_config, size_max) == 0x08);
C_ASSERT(offsetof(struct virtio_blk_config, seg_max) == 0x0C);
C_ASSERT(offsetof(struct virtio_blk_config, geometry) == 0x10);
C_ASSERT(offsetof(struct virtio_blk_config, geometry.heads) == 0x12);
C_ASSERT(offsetof(struct virtio_blk_config, geometry.sectors) == 0x13);
C_ASSERT(offsetof(struct virtio_blk_config, blk_size) == 0x14);
C_ASSERT(offsetof(struct virtio_blk_config, topology) == 0x18);
C_ASSERT(offsetof(struct virtio_blk_config, topology.min_io_size) == 0x1A);
C_ASSERT(offsetof(struct virtio_blk_config, topology.opt_io_size) == 0x1C);
C_ASSERT(offsetof(struct virtio_blk_config, writeback) == 0x20);
C_ASSERT(offsetof(struct virtio_blk_config, num_queues) == 0x22);
C_ASSERT(offsetof(struct virtio_blk_config, max_discard_sectors) == 0x24);
C_ASSERT(offsetof(struct virtio_blk_config, max_discard_seg) == 0x28);
C_ASSERT(offsetof(struct virtio_blk_config, discard_sector_alignment) == 0x2C);
C_ASSERT(offsetof(struct virtio_blk_config, max_write_zeroes_sectors) == 0x30);
C_ASSERT(offsetof(struct virtio_blk_config, max_write_zeroes_seg) == 0x34);
C_ASSERT(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) == 0x38);
C_ASSERT(offsetof(struct virtio_blk_config, max_secure_erase_sectors) == 0x3C);
C_ASSERT(offsetof(struct virtio_blk_config, max_secure_erase_seg) == 0x40);
C_ASSERT(offsetof(struct virtio_blk_config, secure_erase_sector_alignment) == 0x44);
C_ASSERT(sizeof(struct virtio_blk_config) == 0x48);

/* The part of a request before its data. Data, then one status byte, follow in buffers of their own. [virtio 5.2.6] */
struct virtio_blk_req {
    le32 type;
    le32 reserved; /* 0 */
    le64 sector;   /* 0 where the type has no position */
};

C_ASSERT(sizeof(struct virtio_blk_req) == 16);
C_ASSERT(offsetof(struct virtio_blk_req, reserved) == 4);
C_ASSERT(offsetof(struct virtio_blk_req, sector) == 8);

#define VIRTIO_BLK_T_IN 0
#define VIRTIO_BLK_T_OUT 1
#define VIRTIO_BLK_T_FLUSH 4
#define VIRTIO_BLK_T_GET_ID 8
#define VIRTIO_BLK_T_GET_LIFETIME 10
#define VIRTIO_BLK_T_DISCARD 11
#define VIRTIO_BLK_T_WRITE_ZEROES 13
#define VIRTIO_BLK_T_SECURE_ERASE 14

#define VIRTIO_BLK_S_OK 0
#define VIRTIO_BLK_S_IOERR 1
#define VIRTIO_BLK_S_UNSUPP 2

/* Data of GET_ID: a string, ended by NUL only where it is shorter. */
#define VIRTIO_BLK_ID_BYTES 20

/* One segment of the data of DISCARD, WRITE_ZEROES and SECURE_ERASE. */
struct virtio_blk_discard_write_zeroes {
    le64 sector;
    le32 num_sectors;
    le32 flags;
};

#define VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP 1

C_ASSERT(sizeof(struct virtio_blk_discard_write_zeroes) == 16);
C_ASSERT(offsetof(struct virtio_blk_discard_write_zeroes, num_sectors) == 8);
C_ASSERT(offsetof(struct virtio_blk_discard_write_zeroes, flags) == 12);

#endif
