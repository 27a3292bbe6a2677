/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Configuration space of one PCI function, BAR sizing, the capability list, and its interrupts. */
#include "device/pci.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "device/bus.h"

/* Offsets in the header and their bits. [PCI 3.0 6.1, 6.2] */
#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 0x0002u
#define PCI_COMMAND_MASTER 0x0004u
#define PCI_COMMAND_PARITY 0x0040u
#define PCI_COMMAND_SERR 0x0100u
#define PCI_COMMAND_INTX_DISABLE 0x0400u
#define PCI_STATUS 0x06
#define PCI_STATUS_INTERRUPT 0x08u
#define PCI_STATUS_CAP_LIST 0x10u
#define PCI_REVISION 0x08
#define PCI_CLASS 0x09
#define PCI_CACHE_LINE 0x0C
#define PCI_LATENCY 0x0D
#define PCI_BAR0 0x10
#define PCI_BAR_64 0x04u
#define PCI_BAR_PREFETCH 0x08u
#define PCI_SUBSYSTEM_VENDOR 0x2C
#define PCI_SUBSYSTEM 0x2E
#define PCI_CAP_POINTER 0x34
#define PCI_INTERRUPT_LINE 0x3C
#define PCI_INTERRUPT_PIN 0x3D
#define PCI_HEADER_END 0x40

/* MSI-X, from the start of the capability. [PCI 3.0 6.8.2] */
#define MSIX_CONTROL 2
#define MSIX_CONTROL_MASK 0x4000u
#define MSIX_CONTROL_ENABLE 0x8000u
#define MSIX_TABLE 4
#define MSIX_PBA 8
#define MSIX_BYTES 12

/* MSI with 64-bit address and masking. [PCI 3.0 6.8.1] */
#define MSI_CONTROL 2
#define MSI_CONTROL_ENABLE 0x0001u
#define MSI_CONTROL_GRANTED_SHIFT 4
#define MSI_CONTROL_64 0x0080u
#define MSI_CONTROL_MASKABLE 0x0100u
#define MSI_ADDRESS 4
#define MSI_DATA 12
#define MSI_MASK 16
#define MSI_PENDING 20
#define MSI_BYTES 24

static uint32_t get(const uint8_t *bytes, unsigned offset, unsigned width)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < width; i++)
		value |= (uint32_t)bytes[offset + i] << (8 * i);
	return value;
}

static void put(uint8_t *bytes, unsigned offset, unsigned width, uint32_t value)
{
	for (unsigned i = 0; i < width; i++)
		bytes[offset + i] = (uint8_t)(value >> (8 * i));
}

void pci_init(struct pci_function *fn, const struct pci_identity *id, const struct device_bus *bus,
	      struct device_stats *stats)
{
	memset(fn, 0, sizeof(*fn));
	fn->bus = bus;
	fn->stats = stats;
	fn->cap_end = PCI_HEADER_END;
	fn->cap_last = PCI_CAP_POINTER;
	put(fn->config, PCI_VENDOR_ID, 2, id->vendor);
	put(fn->config, PCI_DEVICE_ID, 2, id->device);
	put(fn->config, PCI_REVISION, 1, id->revision);
	put(fn->config, PCI_CLASS, 3, id->class_code);
	put(fn->config, PCI_SUBSYSTEM_VENDOR, 2, id->subsystem_vendor);
	put(fn->config, PCI_SUBSYSTEM, 2, id->subsystem);
	put(fn->config, PCI_INTERRUPT_PIN, 1, 1);
	put(fn->writable, PCI_COMMAND, 2,
	    PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	put(fn->writable, PCI_CACHE_LINE, 1, 0xFF);
	put(fn->writable, PCI_LATENCY, 1, 0xFF);
	put(fn->writable, PCI_INTERRUPT_LINE, 1, 0xFF);
}

void pci_free(struct pci_function *fn)
{
	free(fn->msix);
	fn->msix = NULL;
}

void pci_add_bar(struct pci_function *fn, unsigned bar, enum pci_bar_kind kind, uint64_t length)
{
	unsigned offset = PCI_BAR0 + 4 * bar;
	uint64_t mask = ~(length - 1);

	assert(length >= 16 && (length & (length - 1)) == 0);
	assert(bar < PCI_BARS - (kind == PCI_BAR_MEMORY32 ? 0 : 1));
	fn->bar_length[bar] = length;
	put(fn->writable, offset, 4, (uint32_t)mask);
	if (kind == PCI_BAR_MEMORY32)
		return;
	put(fn->config, offset, 4, PCI_BAR_64 | (kind == PCI_BAR_MEMORY64_PREFETCH ? PCI_BAR_PREFETCH : 0));
	put(fn->writable, offset + 4, 4, (uint32_t)(mask >> 32));
}

unsigned pci_add_capability(struct pci_function *fn, uint8_t id, const void *body, unsigned len)
{
	unsigned at = fn->cap_end;

	assert(at + 2 + len <= sizeof(fn->config));
	fn->config[at] = id;
	fn->config[at + 1] = 0;
	memcpy(&fn->config[at + 2], body, len);
	fn->config[fn->cap_last] = (uint8_t)at;
	fn->cap_last = at + 1;
	fn->cap_end = (at + 2 + len + 3) & ~3u;
	fn->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	return at;
}

int pci_add_msix(struct pci_function *fn, unsigned count, unsigned bar, uint32_t table, uint32_t pba)
{
	uint8_t body[MSIX_BYTES] = { 0 };

	assert(count >= 1 && count <= PCI_MSIX_MAX && table % 8 == 0 && pba % 8 == 0);
	assert(table + PCI_MSIX_TABLE_BYTES(count) <= fn->bar_length[bar]);
	assert(pba + PCI_MSIX_PBA_BYTES(count) <= fn->bar_length[bar]);
	fn->msix = calloc(count, sizeof(*fn->msix));
	if (!fn->msix)
		return -1;
	put(body, MSIX_CONTROL, 2, count - 1);
	put(body, MSIX_TABLE, 4, table | bar);
	put(body, MSIX_PBA, 4, pba | bar);
	fn->msix_cap = pci_add_capability(fn, PCI_CAP_ID_MSIX, body + 2, sizeof(body) - 2);
	fn->msix_count = count;
	fn->msix_bar = bar;
	fn->msix_table = table;
	fn->msix_pba = pba;
	pci_allow_writes(fn, fn->msix_cap + MSIX_CONTROL, 2, MSIX_CONTROL_MASK | MSIX_CONTROL_ENABLE);
	return 0;
}

void pci_add_msi(struct pci_function *fn, unsigned count)
{
	uint8_t body[MSI_BYTES] = { 0 };
	unsigned log2 = 0;

	assert(count >= 1 && count <= PCI_MSI_MAX && (count & (count - 1)) == 0);
	while (1u << log2 < count)
		log2++;
	put(body, MSI_CONTROL, 2, MSI_CONTROL_64 | MSI_CONTROL_MASKABLE | log2 << 1);
	fn->msi_cap = pci_add_capability(fn, PCI_CAP_ID_MSI, body + 2, sizeof(body) - 2);
	fn->msi_count = count;
	pci_allow_writes(fn, fn->msi_cap + MSI_CONTROL, 2, MSI_CONTROL_ENABLE | 7u << MSI_CONTROL_GRANTED_SHIFT);
	pci_allow_writes(fn, fn->msi_cap + MSI_ADDRESS, 4, ~3u);
	pci_allow_writes(fn, fn->msi_cap + MSI_ADDRESS + 4, 4, ~0u);
	pci_allow_writes(fn, fn->msi_cap + MSI_DATA, 2, 0xFFFF);
	pci_allow_writes(fn, fn->msi_cap + MSI_MASK, 4, count == 32 ? ~0u : (1u << count) - 1);
}

void pci_patch(struct pci_function *fn, unsigned offset, unsigned width, uint32_t value)
{
	assert(offset + width <= sizeof(fn->config));
	put(fn->config, offset, width, value);
}

void pci_allow_writes(struct pci_function *fn, unsigned offset, unsigned width, uint32_t mask)
{
	assert(offset + width <= sizeof(fn->writable));
	put(fn->writable, offset, width, mask);
}

void pci_seal(struct pci_function *fn)
{
	memcpy(fn->sealed, fn->config, sizeof(fn->sealed));
	for (unsigned i = 0; i < fn->msix_count; i++)
		fn->msix[i] = (struct pci_msix_entry){ .masked = true };
}

static uint32_t command(const struct pci_function *fn)
{
	return get(fn->config, PCI_COMMAND, 2);
}

bool pci_memory_enabled(const struct pci_function *fn)
{
	return command(fn) & PCI_COMMAND_MEMORY;
}

bool pci_bus_master(const struct pci_function *fn)
{
	return command(fn) & PCI_COMMAND_MASTER;
}

static uint32_t msix_control(const struct pci_function *fn)
{
	return fn->msix_cap ? get(fn->config, fn->msix_cap + MSIX_CONTROL, 2) : 0;
}

static uint32_t msi_control(const struct pci_function *fn)
{
	return fn->msi_cap ? get(fn->config, fn->msi_cap + MSI_CONTROL, 2) : 0;
}

bool pci_msix_enabled(const struct pci_function *fn)
{
	return msix_control(fn) & MSIX_CONTROL_ENABLE;
}

bool pci_msi_enabled(const struct pci_function *fn)
{
	return msi_control(fn) & MSI_CONTROL_ENABLE;
}

unsigned pci_messages(const struct pci_function *fn)
{
	unsigned granted;

	if (pci_msix_enabled(fn) || !fn->msi_cap)
		return fn->msix_count;
	if (!pci_msi_enabled(fn))
		return fn->msix_count ? fn->msix_count : fn->msi_count;
	granted = 1u << (msi_control(fn) >> MSI_CONTROL_GRANTED_SHIFT & 7);
	return granted < fn->msi_count ? granted : fn->msi_count;
}

/* Drives the wire after anything that it depends on has changed. */
static void update_intx(struct pci_function *fn)
{
	bool level = fn->intx_wanted && !pci_msix_enabled(fn) && !pci_msi_enabled(fn) &&
		     !(command(fn) & PCI_COMMAND_INTX_DISABLE);

	if (level == fn->intx_asserted)
		return;
	fn->intx_asserted = level;
	if (level)
		fn->stats->interrupts++;
	fn->bus->set_intx(fn->bus->opaque, level);
}

void pci_set_intx(struct pci_function *fn, bool wanted)
{
	fn->intx_wanted = wanted;
	update_intx(fn);
}

static void send(struct pci_function *fn, uint64_t address, uint32_t data)
{
	if (!pci_bus_master(fn))
		return;
	fn->stats->interrupts++;
	fn->bus->msi_write(fn->bus->opaque, address, data);
}

static void send_msi(struct pci_function *fn, unsigned n)
{
	uint64_t address = get(fn->config, fn->msi_cap + MSI_ADDRESS, 4) |
			   (uint64_t)get(fn->config, fn->msi_cap + MSI_ADDRESS + 4, 4) << 32;
	uint32_t data = get(fn->config, fn->msi_cap + MSI_DATA, 2);

	send(fn, address, (data & ~(pci_messages(fn) - 1)) | n);
}

static uint32_t msi_mask(const struct pci_function *fn)
{
	return get(fn->config, fn->msi_cap + MSI_MASK, 4);
}

void pci_signal(struct pci_function *fn, unsigned n)
{
	if (n >= pci_messages(fn))
		return;
	if (pci_msix_enabled(fn)) {
		struct pci_msix_entry *entry = &fn->msix[n];

		if (entry->masked || msix_control(fn) & MSIX_CONTROL_MASK)
			entry->pending = true;
		else
			send(fn, entry->address, entry->data);
	} else if (pci_msi_enabled(fn)) {
		if (msi_mask(fn) & 1u << n)
			fn->msi_pending |= 1u << n;
		else
			send_msi(fn, n);
	}
}

/* Sends what was pending and is masked no longer. */
static void release_pending(struct pci_function *fn)
{
	if (pci_msix_enabled(fn)) {
		for (unsigned n = 0; n < fn->msix_count && !(msix_control(fn) & MSIX_CONTROL_MASK); n++) {
			struct pci_msix_entry *entry = &fn->msix[n];

			if (entry->pending && !entry->masked) {
				entry->pending = false;
				send(fn, entry->address, entry->data);
			}
		}
	} else if (pci_msi_enabled(fn)) {
		for (unsigned n = 0; n < pci_messages(fn); n++) {
			if (fn->msi_pending & ~msi_mask(fn) & 1u << n) {
				fn->msi_pending &= ~(1u << n);
				send_msi(fn, n);
			}
		}
	}
}

void pci_power_on(struct pci_function *fn)
{
	memcpy(fn->config, fn->sealed, sizeof(fn->config));
	for (unsigned i = 0; i < fn->msix_count; i++)
		fn->msix[i] = (struct pci_msix_entry){ .masked = true };
	fn->msi_pending = 0;
	pci_set_intx(fn, false);
}

uint32_t pci_config_read(const struct pci_function *fn, unsigned offset, unsigned width)
{
	uint8_t bytes[256];

	if (offset + width > sizeof(bytes))
		return UINT32_MAX >> (32 - 8 * width);
	memcpy(bytes + offset, fn->config + offset, width);
	if (offset <= PCI_STATUS && PCI_STATUS < offset + width && fn->intx_wanted && !pci_msix_enabled(fn) &&
	    !pci_msi_enabled(fn))
		bytes[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	for (unsigned i = 0; fn->msi_cap && i < 4; i++) {
		unsigned at = fn->msi_cap + MSI_PENDING + i;

		if (offset <= at && at < offset + width)
			bytes[at] = (uint8_t)(fn->msi_pending >> (8 * i));
	}
	return get(bytes, offset, width);
}

void pci_config_write(struct pci_function *fn, unsigned offset, unsigned width, uint32_t value)
{
	if (offset + width > sizeof(fn->config))
		return;
	for (unsigned i = 0; i < width; i++) {
		uint8_t mask = fn->writable[offset + i];
		uint8_t byte = (uint8_t)(value >> (8 * i));

		fn->config[offset + i] = (uint8_t)((fn->config[offset + i] & ~mask) | (byte & mask));
	}
	release_pending(fn);
	update_intx(fn);
}

uint64_t pci_bar_length(const struct pci_function *fn, unsigned bar)
{
	return bar < PCI_BARS ? fn->bar_length[bar] : 0;
}

static bool in_table(const struct pci_function *fn, uint64_t offset)
{
	return offset >= fn->msix_table && offset < fn->msix_table + PCI_MSIX_TABLE_BYTES(fn->msix_count);
}

bool pci_msix_claims(const struct pci_function *fn, unsigned bar, uint64_t offset)
{
	if (!fn->msix_cap || bar != fn->msix_bar)
		return false;
	return in_table(fn, offset) ||
	       (offset >= fn->msix_pba && offset < fn->msix_pba + PCI_MSIX_PBA_BYTES(fn->msix_count));
}

static uint32_t table_dword(const struct pci_msix_entry *entry, unsigned field)
{
	switch (field) {
	case 0:
		return (uint32_t)entry->address;
	case 1:
		return (uint32_t)(entry->address >> 32);
	case 2:
		return entry->data;
	default:
		return entry->masked;
	}
}

static uint32_t pba_dword(const struct pci_function *fn, unsigned first)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < 32 && first + i < fn->msix_count; i++)
		bits |= (uint32_t)fn->msix[first + i].pending << i;
	return bits;
}

uint32_t pci_msix_read(const struct pci_function *fn, uint64_t offset, unsigned width)
{
	unsigned at = (unsigned)(offset & ~3ull);
	unsigned shift = 8 * (unsigned)(offset & 3);
	uint32_t dword;

	if (in_table(fn, offset))
		dword = table_dword(&fn->msix[(at - fn->msix_table) / 16], (at - fn->msix_table) / 4 % 4);
	else
		dword = pba_dword(fn, (at - fn->msix_pba) * 8);
	return dword >> shift & UINT32_MAX >> (32 - 8 * width);
}

void pci_msix_write(struct pci_function *fn, uint64_t offset, unsigned width, uint32_t value)
{
	struct pci_msix_entry *entry;

	if (!in_table(fn, offset) || width != 4)
		return;
	entry = &fn->msix[(offset - fn->msix_table) / 16];
	switch ((offset - fn->msix_table) / 4 % 4) {
	case 0:
		entry->address = (entry->address & ~0xFFFFFFFFull) | (value & ~3u);
		break;
	case 1:
		entry->address = (entry->address & 0xFFFFFFFFull) | (uint64_t)value << 32;
		break;
	case 2:
		entry->data = value;
		break;
	default:
		entry->masked = value & 1;
		release_pending(fn);
		break;
	}
}
