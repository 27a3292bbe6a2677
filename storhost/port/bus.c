/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The PCI function as firmware, pci.sys and the interrupt code of Windows treat it: BAR addresses, configuration space,
 * register mappings, MSI and MSI-X, and the way back of DMA and interrupts.
 */
#include <string.h>
#include <sys/mman.h>

#include "base/inject.h"
#include "port/internal.h"
#include "trap/trap.h"

#define PCI_COMMAND 0x04
#define PCI_STATUS 0x06
#define PCI_BAR0 0x10
#define PCI_CAPABILITIES 0x34
#define COMMAND_MEMORY 0x0002u
#define COMMAND_MASTER 0x0004u
#define COMMAND_INTX_DISABLE 0x0400u
#define STATUS_CAPABILITIES 0x0010u
#define CAPABILITY_MSI 0x05
#define CAPABILITY_MSIX 0x11

/*
 * What an access of a register takes. A processor waits for it, in a virtual machine for longer still, so that a driver
 * which polls one a million times has waited for a second.
 */
#define REGISTER_US 1u

#define MEMORY_RANGES 8u

/* Where the local APICs listen, and the vector of message 0. */
#define MESSAGE_ADDRESS 0xfee00000u
#define MESSAGE_VECTOR 0x50u

/* One in so many services of the line finds another device on it, too. */
#define FOREIGN_EVERY 4u

static uint32_t config_get(struct port *port, unsigned offset, unsigned width)
{
	return port->unplugged ? ~0u : port->device->ops->config_read(port->device, offset, width);
}

static void config_set(struct port *port, unsigned offset, unsigned width, uint32_t value)
{
	if (!port->unplugged)
		port->device->ops->config_write(port->device, offset, width, value);
}

/* Offset of a capability, 0 if there is none. The list is the device's word: bounded. */
static unsigned capability_find(struct port *port, unsigned id)
{
	unsigned offset = config_get(port, PCI_CAPABILITIES, 1) & 0xfcu;

	if (!(config_get(port, PCI_STATUS, 2) & STATUS_CAPABILITIES))
		return 0;
	for (unsigned i = 0; offset >= 0x40 && i < 48; i++) {
		if (config_get(port, offset, 1) == id)
			return offset;
		offset = config_get(port, offset + 1, 1) & 0xfcu;
	}
	return 0;
}

/* ---- resources ---- */

static void bar_assign(struct port *port, unsigned bar, uint64_t *low, uint64_t *high)
{
	unsigned offset = PCI_BAR0 + 4 * bar;
	uint64_t length = port->device->ops->bar_length(port->device, bar);
	uint64_t *next;

	if (!length)
		return;
	port->bar_length[bar] = length;
	port->bar_64[bar] = (config_get(port, offset, 4) & 6u) == 4;
	/* 64-bit BARs lie above 4 GiB on every other run. */
	next = port->bar_64[bar] && (port->options.seed & 1) ? high : low;
	*next = (*next + length - 1) & ~(length - 1);
	port->bar_address[bar] = *next;
	*next += length;
}

/* The instruction of the driver's that accesses a register on this thread; 0: none does. */
static __thread uintptr_t register_pc;

static void *device_translate(void *opaque, uint64_t address, uint32_t length, bool write)
{
	void *host = phys_device(address, length, write);

	(void)opaque;
	if (!host)
		verify_report(RULE_DMA_MEMORY, 0, "the device was told to %s %u bytes at 0x%llx, which is %s",
			      write ? "write" : "read", length, (unsigned long long)address, phys_use_name(address));
	return host;
}

static bool device_granted(void *opaque, uint64_t address, uint32_t length, bool write)
{
	(void)opaque;
	if (phys_device(address, length, write))
		return true;
	verify_report(phys_device(address, length, !write) ? RULE_DMA_DIRECTION : RULE_DMA_DESCRIPTOR, 0,
		      "a descriptor gives the device %u bytes at 0x%llx to %s, which is %s", length,
		      (unsigned long long)address, write ? "write" : "read", phys_use_name(address));
	return false;
}

/* A line that the device does not assert any more was somebody else's. */
static void stray_arrives(struct work *work)
{
	struct port *port = container_of(work, struct port, stray.timer.work);
	struct interrupt *interrupt = port->stray.interrupt;

	if (!interrupt->level || __atomic_load_n(&port->line_asserted, __ATOMIC_ACQUIRE))
		interrupt_signal(interrupt, true);
	else
		bus_neighbour(port);
}

static void stray_send(struct port *port, struct interrupt *interrupt, uint64_t delay)
{
	port->stray.interrupt = interrupt;
	timer_set(&port->stray.timer, delay, stray_arrives);
}

/* An interrupt on its way from the device. Whether it arrives now. */
static bool interrupt_passes(struct port *port, struct interrupt *interrupt)
{
	static const uint64_t delays[] = { 100, 20000, 3000000, 75000000 };

	if (port->dump)
		return true; /* to nobody */
	if (inject(INJECT_INTERRUPT_DROP, "an interrupt"))
		return false;
	if (inject(INJECT_INTERRUPT_DELAY, "an interrupt")) {
		stray_send(port, interrupt, delays[inject_random() % 4]);
		return false;
	}
	if (inject(INJECT_INTERRUPT_TWICE, "an interrupt"))
		stray_send(port, interrupt, inject_random() % 1000);
	return true;
}

static void device_set_intx(void *opaque, bool asserted)
{
	struct port *port = opaque;

	__atomic_store_n(&port->line_asserted, asserted, __ATOMIC_RELEASE);
	if (!asserted || interrupt_passes(port, &port->line.interrupt))
		interrupt_signal(&port->line.interrupt, asserted);
}

static void device_msi_write(void *opaque, uint64_t address, uint32_t data)
{
	struct port *port = opaque;
	unsigned message = data - MESSAGE_VECTOR;

	if ((address & ~0xfffffull) == MESSAGE_ADDRESS && message < port->message_count &&
	    interrupt_passes(port, &port->messages[message].interrupt))
		interrupt_signal(&port->messages[message].interrupt, true);
}

static void device_wake(void *opaque)
{
	(void)opaque;
	cpu_wake_device();
}

static void device_blame(void *opaque, enum rule rule, const char *clause, const char *text)
{
	(void)opaque;
	verify_report(rule, register_pc, "%s [%s]", text, clause);
}

static bool device_step_actor(void *opaque, uint64_t random)
{
	struct port *port = opaque;

	return !port->unplugged && port->device->ops->step(port->device, random);
}

static bool device_busy_actor(void *opaque)
{
	struct port *port = opaque;

	return port->device->ops->busy && !port->unplugged && port->device->ops->busy(port->device);
}

static bool device_expects(void *opaque)
{
	const struct port *port = opaque;

	for (unsigned i = 0; i < port->slot_count; i++) {
		if (port->slots[i].state == SLOT_STARTED)
			return true;
	}
	return false;
}

void bus_restore(struct port *port)
{
	for (unsigned bar = 0; bar < BARS; bar++) {
		if (!port->bar_length[bar])
			continue;
		config_set(port, PCI_BAR0 + 4 * bar, 4, (uint32_t)port->bar_address[bar]);
		if (port->bar_64[bar])
			config_set(port, PCI_BAR0 + 4 * bar + 4, 4, (uint32_t)(port->bar_address[bar] >> 32));
	}
	config_set(port, PCI_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
}

static void bars_assign(struct port *port)
{
	for (unsigned bar = 0; bar < BARS; bar++)
		bar_assign(port, bar, &port->next_low, &port->next_high);
}

void bus_move(struct port *port)
{
	config_set(port, PCI_COMMAND, 2, 0);
	bars_assign(port);
	bus_restore(port);
}

/* RAM does not change in a machine's life. */
static unsigned memory_ranges(struct device_memory *memory)
{
	struct phys_range range;
	unsigned n;

	for (n = 0; n < MEMORY_RANGES && phys_range(n, &range); n++)
		memory[n] = (struct device_memory){ range.address, range.length, range.host,
						    range.fd,      range.offset, range.physical };
	return n;
}

int bus_attach(struct port *port, struct error *err)
{
	static struct device_memory memory[MEMORY_RANGES];
	const struct device_bus bus = {
		.opaque = port,
		.translate = device_translate,
		.granted = device_granted,
		.set_intx = device_set_intx,
		.msi_write = device_msi_write,
		.wake = device_wake,
		.blame = device_blame,
		.memory = memory,
		.memory_count = memory_ranges(memory),
		.expects = device_expects,
	};

	if (device_attach(port->device, &bus, err))
		return -1;
	cpu_set_device(device_step_actor, device_busy_actor, port);
	return 0;
}

int bus_assign(struct port *port, struct error *err)
{
	if (bus_attach(port, err))
		return -1;
	if (config_get(port, 0, 2) == 0xffff)
		return error_set(err, "there is no PCI function");
	port->next_low = 0xe0000000u;
	port->next_high = 0x0000380000000000u;
	bars_assign(port);
	bus_restore(port);
	return 0;
}

uint32_t bus_config_read(struct port *port, unsigned offset, uint8_t *buffer, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		buffer[i] = offset + i < 256 ? (uint8_t)config_get(port, offset + i, 1) : 0xff;
	return length;
}

/* ---- register mappings ---- */

/* Whether nothing answers: reads are all ones, writes are lost. */
static bool register_gone(struct port *port, uintptr_t pc)
{
	bool gone;

	if (inject(INJECT_REMOVE, callback_name(cpu_self()->callback)))
		power_vanish(port);
	gone = port->unplugged;
	if (gone && port->removal_told)
		verify_report(RULE_MMIO_GONE, pc, "a register is accessed in %s", callback_name(cpu_self()->callback));
	else if (!gone && port->stopped)
		verify_report(RULE_MMIO_STOPPED, pc, "a register is accessed in %s",
			      callback_name(cpu_self()->callback));
	return gone;
}

uint64_t bus_register_read(struct mapping *mapping, uint64_t offset, unsigned width, uintptr_t pc)
{
	struct port *port = mapping->port;
	uint64_t value = ~0ull;
	bool lost = inject(INJECT_READ, callback_name(cpu_self()->callback));

	count64_add(&port->stats.mmio_reads);
	register_pc = pc;
	/* A read gets lost on its way to the device, or on its way back. */
	if (!register_gone(port, pc) && !(lost && inject_random() & 1))
		value = port->device->ops->bar_read(port->device, mapping->bar, mapping->offset + offset, width);
	register_pc = 0;
	return lost ? ~0ull : value;
}

void bus_register_write(struct mapping *mapping, uint64_t offset, unsigned width, uint64_t value, uintptr_t pc)
{
	struct port *port = mapping->port;

	count64_add(&port->stats.mmio_writes);
	register_pc = pc;
	if (!register_gone(port, pc))
		port->device->ops->bar_write(port->device, mapping->bar, mapping->offset + offset, width, value);
	register_pc = 0;
}

void bus_register_after(uintptr_t pc)
{
	cpu_spend(REGISTER_US);
	callback_watch(pc);
	cpu_point();
}

static uint64_t mapping_read(void *opaque, uint64_t offset, unsigned width)
{
	return bus_register_read(opaque, offset, width, trap_pc());
}

static void mapping_write(void *opaque, uint64_t offset, unsigned width, uint64_t value)
{
	bus_register_write(opaque, offset, width, value, trap_pc());
}

static void mapping_after(void *opaque)
{
	(void)opaque;
	bus_register_after(trap_pc());
}

/* The BAR that holds [address, address + length), or BARS. */
static unsigned bar_of(const struct port *port, uint64_t address, uint64_t length)
{
	unsigned bar;

	for (bar = 0; bar < BARS; bar++) {
		uint64_t offset = address - port->bar_address[bar];

		if (address >= port->bar_address[bar] && length <= port->bar_length[bar] &&
		    offset <= port->bar_length[bar] - length && port->bar_length[bar])
			break;
	}
	return bar;
}

/* The device's own registers lie over the region that traps, where it has them to lend. */
static void mapping_open(struct mapping *mapping)
{
	const struct device *device = mapping->port->device;

	mapping->direct = device->ops->bar_map && device->ops->bar_map((struct device *)device, mapping->bar,
								       mapping->offset, mapping->length, mapping->base);
	mapping->port->direct |= mapping->direct;
}

/* From here on it traps. */
static void mapping_close(struct mapping *mapping)
{
	if (mapping->direct)
		mmap(mapping->base, mapping->length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		     -1, 0);
	mapping->direct = false;
}

void bus_trap(struct port *port)
{
	for (unsigned i = 0; i < MAPPINGS; i++) {
		if (port->mappings[i].base)
			mapping_close(&port->mappings[i]);
	}
}

void *bus_map(struct port *port, uint64_t address, uint32_t length, uintptr_t pc)
{
	static const struct trap_region_ops ops = { mapping_read, mapping_write, mapping_after };
	unsigned bar = length ? bar_of(port, address, length) : BARS;
	struct mapping *mapping = NULL;
	struct error err;
	size_t lead;

	for (unsigned i = 0; i < MAPPINGS && !mapping; i++)
		mapping = port->mappings[i].base ? NULL : &port->mappings[i];
	if (bar == BARS || !mapping) {
		verify_report(RULE_MMIO_MAPPING, pc, "0x%llx, %u bytes, is mapped but lies in no range of the function",
			      (unsigned long long)address, length);
		return NULL;
	}
	lead = address % PHYS_PAGE;
	mapping->port = port;
	mapping->bar = bar;
	mapping->offset = address - lead - port->bar_address[bar];
	mapping->length = (lead + length + PHYS_PAGE - 1) & ~(uint64_t)(PHYS_PAGE - 1);
	mapping->base = trap_region_create(mapping->length, &ops, mapping, &err);
	if (mapping->base)
		mapping_open(mapping);
	return mapping->base ? mapping->base + lead : NULL;
}

struct mapping *bus_mapping(struct port *port, const volatile void *address, unsigned width, uintptr_t pc)
{
	for (unsigned i = 0; i < MAPPINGS; i++) {
		struct mapping *mapping = &port->mappings[i];
		uintptr_t offset = (uintptr_t)address - (uintptr_t)mapping->base;

		if (mapping->base && offset < mapping->length && width <= mapping->length - offset)
			return mapping;
	}
	verify_report(RULE_MMIO_MAPPING, pc, "the register address %p lies in no live mapping",
		      (const void *)(uintptr_t)address);
	return NULL;
}

/* The address space is not reused: what is laid over it must not stay. */
static void mapping_destroy(struct mapping *mapping)
{
	mapping_close(mapping);
	trap_region_destroy(mapping->base);
	mapping->base = NULL;
}

bool bus_unmap(struct port *port, void *base, uintptr_t pc)
{
	struct mapping *mapping = bus_mapping(port, base, 1, pc);

	if (!mapping)
		return false;
	mapping_destroy(mapping);
	return true;
}

void bus_unmap_all(struct port *port)
{
	for (unsigned i = 0; i < MAPPINGS; i++) {
		if (port->mappings[i].base)
			mapping_destroy(&port->mappings[i]);
	}
}

/* ---- interrupts ---- */

static bool line_call(struct port *port)
{
	struct frame frame;
	bool claimed;

	callback_enter(&frame, CB_INTERRUPT);
	claimed = port->init.HwInterrupt(port->extension);
	callback_leave(&frame);
	return claimed;
}

/* Another device on the line interrupts, now and then. */
static void line_call_for_another(struct port *port)
{
	struct interrupt *line = &port->line.interrupt;
	uint64_t raised = interrupt_raised(line);

	/* One that was injected away is asserted all the same. */
	if (interrupt_asserted(line) || __atomic_load_n(&port->line_asserted, __ATOMIC_ACQUIRE) ||
	    cpu_random() % FOREIGN_EVERY)
		return;
	if (line_call(port) && interrupt_raised(line) == raised)
		verify_report(RULE_IRQ_FOREIGN, 0, "HwInterrupt returned TRUE, and its device had not interrupted");
}

void bus_silence(struct port *port)
{
	__atomic_store_n(&port->line_asserted, false, __ATOMIC_RELEASE);
	interrupt_signal(&port->line.interrupt, false);
}

static bool line_service(struct interrupt *self, void *opaque)
{
	struct port *port = opaque;
	bool claimed;

	(void)self;
	/* A device that is being pulled out, or asserted the line at that moment, does not hold it on. */
	if (port->unplugged)
		bus_silence(port);
	count64_add(&port->stats.interrupts);
	claimed = line_call(port);
	port->stats.refused += !claimed;
	if (port->device->ops->intx_served)
		port->device->ops->intx_served(port->device);
	else if (claimed)
		line_call_for_another(port);
	return claimed;
}

void bus_neighbour(struct port *port)
{
	int irql = lock_acquire(&port->interrupt_lock, 0);

	line_service(&port->line.interrupt, port);
	lock_release(&port->interrupt_lock, (unsigned)irql, 0);
}

static bool message_service(struct interrupt *self, void *opaque)
{
	struct port *port = opaque;
	struct frame frame;

	count64_add(&port->stats.interrupts);
	callback_enter(&frame, CB_MS_INTERRUPT);
	port->config->HwMSInterruptRoutine(port->extension, self->id);
	callback_leave(&frame);
	return true;
}

static void msi_program(struct port *port, unsigned capability)
{
	uint32_t control = config_get(port, capability + 2, 2), enabled = 0;
	unsigned data = control & 0x80u ? 12 : 8;

	while ((1u << enabled) < port->message_count)
		enabled++;
	config_set(port, capability + 4, 4, MESSAGE_ADDRESS);
	if (control & 0x80u)
		config_set(port, capability + 8, 4, 0);
	config_set(port, capability + data, 2, MESSAGE_VECTOR);
	config_set(port, capability + 2, 2, (control & ~0x70u) | enabled << 4 | 1u);
}

/* Entries past the granted messages carry message 0 [storport-win7 7]. */
static void msix_program(struct port *port, unsigned capability)
{
	const struct device_ops *ops = port->device->ops;
	uint32_t control = config_get(port, capability + 2, 2), table = config_get(port, capability + 4, 4);
	unsigned entries = (control & 0x7ffu) + 1, bar = table & 7u;

	config_set(port, capability + 2, 2, (control & 0x3fffu) | 0xc000u);
	for (unsigned i = 0; i < entries; i++) {
		uint64_t entry = (table & ~7u) + 16ull * i;

		ops->bar_write(port->device, bar, entry, 4, MESSAGE_ADDRESS);
		ops->bar_write(port->device, bar, entry + 4, 4, 0);
		ops->bar_write(port->device, bar, entry + 8, 4, MESSAGE_VECTOR + (i < port->message_count ? i : 0));
		ops->bar_write(port->device, bar, entry + 12, 4, 0);
	}
	config_set(port, capability + 2, 2, (control & 0x3fffu) | 0x8000u);
}

/* Messages that the function can have: what was asked for, or one, or none [storport-win7 7]. */
static unsigned messages_granted(struct port *port, unsigned capability)
{
	uint32_t control = config_get(port, capability + 2, 2);
	unsigned most = port->options.interrupts == INTERRUPT_MSIX ? (control & 0x7ffu) + 1 : 1u << (control >> 1 & 7u);

	if (port->options.messages > PORT_MESSAGES_MAX)
		return 1;
	return port->options.messages <= most ? port->options.messages : 1;
}

static void message_connect(struct port *port, unsigned id)
{
	struct message *message = &port->messages[id];
	bool per_message = port->config->InterruptSynchronizationMode == InterruptSynchronizePerMessage;

	message->lock.name = "message";
	message->lock.rank = LOCK_MESSAGE;
	message->lock.irql = IRQL_DEVICE;
	message->interrupt.service = message_service;
	message->interrupt.opaque = port;
	message->interrupt.id = id;
	message->interrupt.lock = per_message ? &message->lock : &port->interrupt_lock;
	interrupt_connect(&message->interrupt);
}

int bus_connect(struct port *port, struct error *err)
{
	unsigned id = port->options.interrupts == INTERRUPT_MSIX ? CAPABILITY_MSIX : CAPABILITY_MSI;
	unsigned capability = port->options.interrupts == INTERRUPT_LINE ? 0 : capability_find(port, id);

	if (port->options.interrupts != INTERRUPT_LINE && !capability)
		return error_set(err, "the device has no %s capability", id == CAPABILITY_MSIX ? "MSI-X" : "MSI");
	port->message_count = 0;
	if (!capability || !port->config->HwMSInterruptRoutine ||
	    !call_target(port, (void *)(uintptr_t)port->config->HwMSInterruptRoutine, "HwMSInterruptRoutine", 0)) {
		port->line.interrupt.service = line_service;
		port->line.interrupt.opaque = port;
		port->line.interrupt.lock = &port->interrupt_lock;
		port->line.interrupt.level = true;
		interrupt_connect(&port->line.interrupt);
		return 0;
	}
	port->message_count = messages_granted(port, capability);
	for (unsigned i = 0; i < port->message_count; i++)
		message_connect(port, i);
	config_set(port, PCI_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER | COMMAND_INTX_DISABLE);
	if (id == CAPABILITY_MSIX)
		msix_program(port, capability);
	else
		msi_program(port, capability);
	return 0;
}

void bus_disconnect(struct port *port)
{
	timer_cancel(&port->stray.timer);
	interrupt_disconnect(&port->line.interrupt);
	for (unsigned i = 0; i < port->message_count; i++)
		interrupt_disconnect(&port->messages[i].interrupt);
	config_set(port, PCI_COMMAND, 2, 0);
}
