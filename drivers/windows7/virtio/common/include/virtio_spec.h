/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The layouts and constants of virtio 1.2 that are common to all device types: split ring, PCI transport, status,
 * feature bits. Names are the specification's where it has one; section tags are those of version 1.2.
 *
 * Shared by the driver and by device models. Of virtio_platform.h it needs u8, le16, le32, le64, C_ASSERT, offsetof.
 * Everything is little-endian and naturally aligned, so no structure needs packing.
 */
#ifndef VIRTIO_SPEC_H
#define VIRTIO_SPEC_H

#include "virtio_platform.h"

/* Feature bits by number; VIRTIO_FEATURE makes the mask. [virtio 6] */
#define VIRTIO_FEATURE(Bit) (1ULL << (Bit))

#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_ACCESS_PLATFORM 33
#define VIRTIO_F_RING_PACKED 34
#define VIRTIO_F_IN_ORDER 35
#define VIRTIO_F_ORDER_PLATFORM 36
#define VIRTIO_F_SR_IOV 37
#define VIRTIO_F_NOTIFICATION_DATA 38
#define VIRTIO_F_NOTIF_CONFIG_DATA 39
#define VIRTIO_F_RING_RESET 40

/* device_status. Writing 0 resets. [virtio 2.1] */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01
#define VIRTIO_STATUS_DRIVER 0x02
#define VIRTIO_STATUS_DRIVER_OK 0x04
#define VIRTIO_STATUS_FEATURES_OK 0x08
#define VIRTIO_STATUS_DEVICE_NEEDS_RESET 0x40
#define VIRTIO_STATUS_FAILED 0x80
/* No device has the reserved bits 4 and 5 set: this is what a bus without a device reads. */
#define VIRTIO_STATUS_ABSENT 0xFF

/* Split ring: descriptor table. [virtio 2.7.5] */
struct virtq_desc {
    le64 addr;
    le32 len;
    le16 flags;
    le16 next; /* where flags has NEXT */
};

#define VIRTQ_DESC_F_NEXT 1
#define VIRTQ_DESC_F_WRITE 2 /* device-writable */
#define VIRTQ_DESC_F_INDIRECT 4

C_ASSERT(sizeof(struct virtq_desc) == 16);
C_ASSERT(offsetof(struct virtq_desc, len) == 8);
C_ASSERT(offsetof(struct virtq_desc, flags) == 12);
C_ASSERT(offsetof(struct virtq_desc, next) == 14);

/* Split ring: driver area. [virtio 2.7.6] */
struct virtq_avail {
    le16 flags;
    le16 idx;
    le16 ring[1]; /* Queue Size elements; le16 used_event follows them */
};

#define VIRTQ_AVAIL_F_NO_INTERRUPT 1

C_ASSERT(offsetof(struct virtq_avail, idx) == 2);
C_ASSERT(offsetof(struct virtq_avail, ring) == 4);

/* Split ring: device area. [virtio 2.7.8] */
struct virtq_used_elem {
    le32 id;  /* head of the finished chain */
    le32 len; /* bytes written, says the device */
};

struct virtq_used {
    le16 flags;
    le16 idx;
    struct virtq_used_elem ring[1]; /* Queue Size elements; le16 avail_event follows them */
};

#define VIRTQ_USED_F_NO_NOTIFY 1

C_ASSERT(sizeof(struct virtq_used_elem) == 8);
C_ASSERT(offsetof(struct virtq_used_elem, len) == 4);
C_ASSERT(offsetof(struct virtq_used, idx) == 2);
C_ASSERT(offsetof(struct virtq_used, ring) == 4);

/* Alignment of the three areas, and the largest queue of a split ring. [virtio 2.7] */
#define VIRTQ_DESC_ALIGN 16
#define VIRTQ_AVAIL_ALIGN 2
#define VIRTQ_USED_ALIGN 4
#define VIRTQ_SIZE_LIMIT 32768

/* PCI identity of a non-transitional device. [virtio 4.1.2] */
#define VIRTIO_PCI_VENDOR_ID 0x1AF4
#define VIRTIO_PCI_DEVICE_ID_BASE 0x1040 /* plus the device type */

/* Vendor capability that names a region. [virtio 4.1.4] */
struct virtio_pci_cap {
    u8 cap_vndr; /* VIRTIO_PCI_CAP_VNDR */
    u8 cap_next;
    u8 cap_len;
    u8 cfg_type;
    u8 bar; /* 0 to 5; the rest is reserved */
    u8 id;
    u8 padding[2];
    le32 offset;
    le32 length;
};

struct virtio_pci_notify_cap {
    struct virtio_pci_cap cap;
    le32 notify_off_multiplier;
};

#define VIRTIO_PCI_CAP_VNDR 0x09

#define VIRTIO_PCI_CAP_COMMON_CFG 1
#define VIRTIO_PCI_CAP_NOTIFY_CFG 2
#define VIRTIO_PCI_CAP_ISR_CFG 3
#define VIRTIO_PCI_CAP_DEVICE_CFG 4
#define VIRTIO_PCI_CAP_PCI_CFG 5
#define VIRTIO_PCI_CAP_SHARED_MEMORY_CFG 8
#define VIRTIO_PCI_CAP_VENDOR_CFG 9

C_ASSERT(sizeof(struct virtio_pci_cap) == 16);
C_ASSERT(offsetof(struct virtio_pci_cap, cap_len) == 2);
C_ASSERT(offsetof(struct virtio_pci_cap, cfg_type) == 3);
C_ASSERT(offsetof(struct virtio_pci_cap, bar) == 4);
C_ASSERT(offsetof(struct virtio_pci_cap, offset) == 8);
C_ASSERT(offsetof(struct virtio_pci_cap, length) == 12);
C_ASSERT(sizeof(struct virtio_pci_notify_cap) == 20);
C_ASSERT(offsetof(struct virtio_pci_notify_cap, notify_off_multiplier) == 16);

/* Common configuration, as far as every modern device has it. [virtio 4.1.4.3] */
struct virtio_pci_common_cfg {
    le32 device_feature_select;
    le32 device_feature; /* read-only */
    le32 driver_feature_select;
    le32 driver_feature;
    le16 config_msix_vector;
    le16 num_queues; /* read-only */
    u8 device_status;
    u8 config_generation; /* read-only */
    le16 queue_select;    /* the fields below are those of the selected queue */
    le16 queue_size;      /* 0: no such queue */
    le16 queue_msix_vector;
    le16 queue_enable;     /* the driver writes nothing but 1 */
    le16 queue_notify_off; /* read-only; in units of notify_off_multiplier */
    le64 queue_desc;
    le64 queue_driver;
    le64 queue_device;
};

#define VIRTIO_MSI_NO_VECTOR 0xFFFF

C_ASSERT(offsetof(struct virtio_pci_common_cfg, device_feature) == 0x04);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, driver_feature_select) == 0x08);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, driver_feature) == 0x0C);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, config_msix_vector) == 0x10);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, num_queues) == 0x12);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, device_status) == 0x14);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, config_generation) == 0x15);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, queue_select) == 0x16);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, queue_size) == 0x18);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, queue_msix_vector) == 0x1A);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, queue_enable) == 0x1C);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, queue_notify_off) == 0x1E);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, queue_desc) == 0x20);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, queue_driver) == 0x28);
C_ASSERT(offsetof(struct virtio_pci_common_cfg, queue_device) == 0x30);
C_ASSERT(sizeof(struct virtio_pci_common_cfg) == 0x38);

/* ISR status; reading clears it and deasserts INTx. [virtio 4.1.4.5] */
#define VIRTIO_PCI_ISR_QUEUE 0x01
#define VIRTIO_PCI_ISR_CONFIG 0x02

#endif
