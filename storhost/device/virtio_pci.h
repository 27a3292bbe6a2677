/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The modern virtio-pci transport of one device: its capabilities, the four regions in a BAR, device status,
 * feature negotiation, queues, notifications and interrupts, as contract §1 and [virtio 4.1] have them.
 *
 * The device type behind it (virtio_blk) gives its configuration structure and what happens on a doorbell and
 * on a reset, through struct virtio_pci_type; it serves queues that virtio_pci_queue says are live.
 *
 * Reset takes as long as the type needs: type->stop() is called once, when the driver writes 0; if it returns
 * false, device_status keeps its value until the type calls virtio_pci_stopped(). Queues and interrupts are
 * off from the write on.
 *
 * A driver that breaks the protocol is blamed once per access and then meets a robust device: what it must
 * not write is ignored, what it must not read still reads as the bytes that are there.
 * Locks: none; the caller serializes everything, the calls into the type included.
 */
#ifndef STORHOST_DEVICE_VIRTIO_PCI_H
#define STORHOST_DEVICE_VIRTIO_PCI_H

#include "device/pci.h"
#include "device/vring.h"

#define VIRTIO_PCI_QUEUES 1

struct virtio_pci_type {
	/* Bytes of the configuration structure; reads beyond it are 0. */
	unsigned config_length;
	/* Width of the field (or half of a 64-bit field) that begins at offset, 0 where none does. */
	unsigned (*config_field)(unsigned offset);
	/* Whether that field is half of a 64-bit one. */
	bool (*config_wide)(unsigned offset);
	uint8_t (*config_read)(void *opaque, unsigned offset);
	/* A whole field. False: the driver may not write it. */
	bool (*config_write)(void *opaque, unsigned offset, unsigned width, uint32_t value);
	void (*negotiated)(void *opaque); /* FEATURES_OK was just set */
	void (*notified)(void *opaque, unsigned queue);
	bool (*stop)(void *opaque);
};

/* Where a region lies, in the BAR that holds all four. */
struct virtio_pci_region {
	uint32_t offset;
	uint32_t length;
};

/* Ways for a capability list to be wrong. */
enum virtio_pci_caps_fault {
	CAPS_SOUND,
	CAPS_MISSING_COMMON,
	CAPS_MISSING_NOTIFY,
	CAPS_MISSING_ISR,
	CAPS_MISSING_DEVICE,
	CAPS_NO_LIST,
	CAPS_EMPTY,
	CAPS_LOOP,
	CAPS_SELF,
	CAPS_MISALIGNED,
	CAPS_IN_HEADER,
	CAPS_SHORT_COMMON,
	CAPS_SHORT_NOTIFY,
	CAPS_PAST_END,
	CAPS_RESERVED_BAR,
	CAPS_ABSENT_BAR,
	CAPS_BEYOND_BAR,
	CAPS_WRAPPING,
	CAPS_SHORT_REGION,
	CAPS_DUPLICATE,
	CAPS_UNKNOWN_FIRST,
};

/* Ways for the registers to be wrong. */
enum virtio_pci_register_fault {
	REGISTERS_SOUND,
	REGISTERS_FEATURES_REFUSED,
	REGISTERS_VECTOR_REFUSED,
	REGISTERS_QUEUE_VECTOR_REFUSED,
	REGISTERS_RESET_STUCK,
	REGISTERS_RESET_STUCK_RUNNING,
	REGISTERS_GENERATION_UNSTABLE,
	REGISTERS_QUEUE_ENABLED,
	REGISTERS_QUEUE_SIZE_FIXED,
	REGISTERS_ISR_RESERVED,
};

struct virtio_pci_options {
	struct pci_identity identity;
	unsigned bar; /* of the four regions */
	enum pci_bar_kind bar_kind;
	uint64_t bar_length;
	struct virtio_pci_region common;
	struct virtio_pci_region notify;
	struct virtio_pci_region isr;
	struct virtio_pci_region device;
	uint32_t multiplier;
	uint16_t notify_off;
	bool config_window;    /* also offer the capability of [virtio 4.1.4.9] */
	unsigned msix_vectors; /* 0: no MSI-X */
	unsigned msix_bar;     /* a 32-bit memory BAR of msix_bar_length bytes of its own, or `bar` */
	uint64_t msix_bar_length;
	uint32_t msix_table;
	uint32_t msix_pba;
	unsigned msi_vectors; /* 0: no MSI */
	unsigned num_queues;  /* as the register says; the device serves VIRTIO_PCI_QUEUES at most */
	uint16_t queue_size;
	uint64_t features;
	bool suppress_doorbells;
	bool always_signal;
	enum virtio_pci_caps_fault caps;
	enum virtio_pci_register_fault registers;
	unsigned reset_reads; /* device_status reads that a reset outlives, at least */
};

/* Whether one register may be another one, too. */
bool virtio_pci_regions_overlap(const struct virtio_pci_options *options);

struct virtio_pci_queue {
	uint16_t size;
	uint16_t vector;
	bool vector_unread; /* written and not read back */
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
	struct vring ring; /* running while the queue is enabled */
};

struct virtio_pci {
	const struct device_bus *bus;
	struct device_stats *stats;
	const struct virtio_pci_type *type;
	void *opaque;
	struct virtio_pci_options options;
	struct pci_function pci;
	unsigned window; /* offset of the PCI_CFG capability, 0 if there is none */
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint64_t driver_features;
	uint16_t config_vector;
	uint8_t status;
	uint8_t generation;
	uint8_t isr;
	uint16_t queue_select;
	bool stopping;        /* a reset has begun and does not show yet */
	bool type_busy;       /* the type has not finished stopping */
	bool stuck;           /* the reset will never show */
	bool reset_unseen;    /* the driver has not read the 0 of its reset yet */
	bool gone;            /* pulled out: all ones everywhere */
	bool features_unread; /* FEATURES_OK was written and not read back */
	bool vector_unread;   /* likewise config_msix_vector */
	enum {
		CONFIG_UNGUARDED,
		CONFIG_GUARDED, /* config_generation was read */
		CONFIG_READ,    /* and half of a 64-bit field since */
	} config_guard;
	unsigned reset_reads; /* status reads until the reset may show */
	struct virtio_pci_queue queue[VIRTIO_PCI_QUEUES];
};

/* Refuses what the text form lets through and no PCI function can be, and places the MSI-X structures. */
int virtio_pci_complete(struct virtio_pci_options *options, struct error *err);
/* bus, stats, type and opaque outlive the transport. -1: no memory. */
int virtio_pci_init(struct virtio_pci *vp, const struct virtio_pci_options *options, const struct virtio_pci_type *type,
		    void *opaque, const struct device_bus *bus, struct device_stats *stats);
void virtio_pci_free(struct virtio_pci *vp);
/* The type has stopped already. */
void virtio_pci_power_on(struct virtio_pci *vp);

uint32_t virtio_pci_config_read(struct virtio_pci *vp, unsigned offset, unsigned width);
void virtio_pci_config_write(struct virtio_pci *vp, unsigned offset, unsigned width, uint32_t value);
uint64_t virtio_pci_bar_length(const struct virtio_pci *vp, unsigned bar);
uint64_t virtio_pci_bar_read(struct virtio_pci *vp, unsigned bar, uint64_t offset, unsigned width);
void virtio_pci_bar_write(struct virtio_pci *vp, unsigned bar, uint64_t offset, unsigned width, uint64_t value);

/*
 * The ring of queue n, or NULL unless the device may use it now: DRIVER_OK, enabled, bus master, not broken.
 */
struct vring *virtio_pci_queue(struct virtio_pci *vp, unsigned n);
bool virtio_pci_negotiated(const struct virtio_pci *vp, unsigned feature);
bool virtio_pci_driver_ok(const struct virtio_pci *vp);

void virtio_pci_queue_interrupt(struct virtio_pci *vp, unsigned n);
/* The type's configuration structure has changed. */
void virtio_pci_config_changed(struct virtio_pci *vp);
/* A configuration interrupt with no change behind it. */
void virtio_pci_config_interrupt(struct virtio_pci *vp);
/* The device gives up until it is reset. */
void virtio_pci_needs_reset(struct virtio_pci *vp);
/* The registers are wrong in this way from now on; a reset that hung ends where it is another one. */
void virtio_pci_set_registers(struct virtio_pci *vp, enum virtio_pci_register_fault registers);
/* The stop() that returned false is done. */
void virtio_pci_stopped(struct virtio_pci *vp);
/* Surprise removal. */
void virtio_pci_pull_out(struct virtio_pci *vp);

#endif
