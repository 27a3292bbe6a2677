/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One PCI function: its 256 bytes of configuration space, the memory BARs, the capability list, and INTx, MSI
 * and MSI-X.
 *
 * Order of use: pci_init, then any of pci_add_bar, pci_add_capability, pci_add_msix, pci_add_msi and
 * pci_patch, then pci_seal, which makes the state so far the one after power-on. After that accesses and
 * signals, in any order.
 * Locks: none; the caller serializes. Nothing here calls the machine but pci_signal, pci_set_intx and the
 * writes, which may release a message that was pending.
 *
 * A message is a memory write of the function, so it is lost while bus mastering is off. [PCI 3.0 6.2.2, 6.8]
 */
#ifndef STORHOST_DEVICE_PCI_H
#define STORHOST_DEVICE_PCI_H

#include "device/device.h"

#define PCI_BARS 6
#define PCI_MSIX_MAX 2048 /* entries of a table, by its size field [PCI 3.0 6.8.2.3] */
#define PCI_MSI_MAX 32

#define PCI_CAP_ID_MSI 0x05
#define PCI_CAP_ID_VENDOR 0x09
#define PCI_CAP_ID_MSIX 0x11

/* Bytes of an MSI-X table of n entries, and of its pending bits. */
#define PCI_MSIX_TABLE_BYTES(n) (16u * (n))
#define PCI_MSIX_PBA_BYTES(n) (8u * (((n) + 63) / 64))

struct pci_identity {
	uint16_t vendor;
	uint16_t device;
	uint16_t subsystem_vendor;
	uint16_t subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits: base class, sub-class, interface */
};

enum pci_bar_kind {
	PCI_BAR_MEMORY32,
	PCI_BAR_MEMORY64, /* takes the next BAR as its upper half */
	PCI_BAR_MEMORY64_PREFETCH,
};

struct pci_msix_entry {
	uint64_t address;
	uint32_t data;
	bool masked;
	bool pending;
};

struct pci_function {
	const struct device_bus *bus;
	struct device_stats *stats;
	uint8_t config[256];
	uint8_t writable[256]; /* a bit that is set here can be written */
	uint8_t sealed[256];   /* config after power-on */
	uint64_t bar_length[PCI_BARS];
	unsigned cap_end;  /* first free byte for capabilities */
	unsigned cap_last; /* offset of the last link written */
	unsigned msix_cap; /* 0: absent */
	unsigned msix_count;
	unsigned msix_bar;
	uint32_t msix_table;
	uint32_t msix_pba;
	struct pci_msix_entry *msix;
	unsigned msi_cap; /* 0: absent */
	unsigned msi_count;
	uint32_t msi_pending;
	bool intx_wanted;
	bool intx_asserted;
};

/* bus and stats outlive the function. */
void pci_init(struct pci_function *fn, const struct pci_identity *id, const struct device_bus *bus,
	      struct device_stats *stats);
void pci_free(struct pci_function *fn);
/* length: a power of two, at least 16. */
void pci_add_bar(struct pci_function *fn, unsigned bar, enum pci_bar_kind kind, uint64_t length);
/*
 * Appends a capability whose first two bytes (id and next) the function fills in; body is what follows, and
 * len its length. Returns the capability's offset. The caller asks for no more than configuration space
 * holds.
 */
unsigned pci_add_capability(struct pci_function *fn, uint8_t id, const void *body, unsigned len);
/* Both structures must lie in the BAR and not overlap. -1: no memory. */
int pci_add_msix(struct pci_function *fn, unsigned count, unsigned bar, uint32_t table, uint32_t pba);
/* count: a power of two up to PCI_MSI_MAX. 64-bit addresses, with mask and pending bits. */
void pci_add_msi(struct pci_function *fn, unsigned count);
/* Sets bytes that nobody can write, for functions that are not what they should be. */
void pci_patch(struct pci_function *fn, unsigned offset, unsigned width, uint32_t value);
/* Lets software write the bits of mask at offset. */
void pci_allow_writes(struct pci_function *fn, unsigned offset, unsigned width, uint32_t mask);
void pci_seal(struct pci_function *fn);

/* Back to the sealed state: BARs unassigned, command register clear, INTA# released, every vector masked. */
void pci_power_on(struct pci_function *fn);

uint32_t pci_config_read(const struct pci_function *fn, unsigned offset, unsigned width);
void pci_config_write(struct pci_function *fn, unsigned offset, unsigned width, uint32_t value);

uint64_t pci_bar_length(const struct pci_function *fn, unsigned bar);
bool pci_memory_enabled(const struct pci_function *fn);
bool pci_bus_master(const struct pci_function *fn);
bool pci_msix_enabled(const struct pci_function *fn);
bool pci_msi_enabled(const struct pci_function *fn);
/*
 * Messages that can be signalled now: those of the mechanism that is enabled, else what MSI-X (or MSI) would
 * have.
 */
unsigned pci_messages(const struct pci_function *fn);

/* Whether these bytes of a BAR belong to the MSI-X table or its pending bits. */
bool pci_msix_claims(const struct pci_function *fn, unsigned bar, uint64_t offset);
/* Of a claimed offset; width 1, 2 or 4, aligned. Writes take effect only as 32-bit ones. */
uint32_t pci_msix_read(const struct pci_function *fn, uint64_t offset, unsigned width);
void pci_msix_write(struct pci_function *fn, uint64_t offset, unsigned width, uint32_t value);

/*
 * Sends message n by MSI-X or MSI, whichever is enabled, or makes it pending; nothing without either, or no
 * such n.
 */
void pci_signal(struct pci_function *fn, unsigned n);
/*
 * What the function wants of INTA#; the wire also depends on INTx disable and on MSI and MSI-X, which replace
 * it.
 */
void pci_set_intx(struct pci_function *fn, bool wanted);

#endif
