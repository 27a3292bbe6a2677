/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * SRBs: from a request to what the miniport sees of it, and back.
 *
 * A slot's SRB, scatter/gather list and SRB extension are windows that are open only while the driver owns the SRB, and
 * its data pages and its extension are the device's only during that time. A touch after completion therefore faults,
 * and a late device access is refused.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/inject.h"
#include "port/internal.h"

#define SENSE_BYTES 255u
#define UNWRITTEN 0xcc
/* Where an unmapped data buffer pretends to be: below any address that Linux maps. */
#define NOWHERE ((uintptr_t)0x8000)

static bool needs_low_memory(const struct port *port)
{
	return port->config->Dma64BitAddresses != SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED;
}

static bool data_needs_low_memory(const struct port *port)
{
	UCHAR dma64 = port->config->Dma64BitAddresses;

	return dma64 != SCSI_DMA64_MINIPORT_SUPPORTED && dma64 != SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED;
}

/* ---- slots ---- */

static void *window_of_single_pages(size_t pages, bool low, enum phys_use use)
{
	uint64_t *addresses = calloc(pages, sizeof(*addresses));
	void *window = NULL;
	size_t i;

	for (i = 0; addresses && i < pages; i++) {
		addresses[i] = phys_alloc(use, low);
		if (!addresses[i])
			break;
	}
	if (addresses && i == pages)
		window = phys_map(addresses, pages);
	free(addresses);
	return window;
}

static void *window_of_adjacent_pages(size_t pages, bool low, enum phys_use use)
{
	uint64_t first = phys_alloc_contiguous(pages, use, low), *addresses = calloc(pages, sizeof(*addresses));
	void *window = NULL;

	for (size_t i = 0; addresses && first && i < pages; i++)
		addresses[i] = first + i * PHYS_PAGE;
	if (addresses && first)
		window = phys_map(addresses, pages);
	free(addresses);
	return window;
}

static bool extension_create(struct slot *slot, uint32_t alignment)
{
	struct port *port = slot->port;
	uint32_t size = port->config->SrbExtensionSize, room = (size + alignment - 1) & ~(alignment - 1);
	uint8_t *window;

	if (!size)
		return true;
	if (port->extension_pages > 64)
		return false;
	window = window_of_adjacent_pages(port->extension_pages, needs_low_memory(port), PHYS_PRIVATE);
	if (!window)
		return false;
	/* It ends at a guard page, as nearly as its alignment lets it. */
	slot->extension = window + port->extension_pages * PHYS_PAGE - room;
	slot->extension_address = phys_of(window, NULL);
	return true;
}

static void slot_protect(struct slot *slot, bool open)
{
	struct port *port = slot->port;
	uintptr_t extension = (uintptr_t)slot->extension & ~(uintptr_t)(PHYS_PAGE - 1);
	int all = open ? PROT_READ | PROT_WRITE : PROT_NONE;

	mprotect((void *)((uintptr_t)slot->srb & ~(uintptr_t)(PHYS_PAGE - 1)), PHYS_PAGE, all);
	mprotect(slot->list, SGL_PAGES * PHYS_PAGE, all & ~(slot->elements ? PROT_WRITE : 0));
	if (extension) {
		mprotect((void *)extension, port->extension_pages * PHYS_PAGE, all);
		phys_set_use(slot->extension_address, port->extension_pages, open ? PHYS_BOTH : PHYS_PRIVATE);
	}
}

int slots_create(struct port *port, struct error *err)
{
	/* Alignment of an SRB extension is promised by nobody; the least that pools give is tried as often as more. */
	uint32_t alignment = (uint32_t)sizeof(void *) * 2u << rng_below(&port->rng, 3);

	port->extension_pages = (port->config->SrbExtensionSize + alignment + PHYS_PAGE - 1) / PHYS_PAGE;
	port->slots = calloc(port->slot_count, sizeof(*port->slots));
	port->srb_window = window_of_single_pages(port->slot_count, needs_low_memory(port), PHYS_BOTH);
	port->list_window = window_of_adjacent_pages((size_t)port->slot_count * SGL_PAGES, false, PHYS_PRIVATE);
	if (!port->slots || !port->srb_window || !port->list_window)
		return error_set(err, "no memory for requests");
	for (uint32_t i = port->slot_count; i-- > 0;) {
		struct slot *slot = &port->slots[i];

		slot->port = port;
		slot->sense = port->srb_window + i * PHYS_PAGE;
		slot->srb = (void *)(slot->sense + PHYS_PAGE - ((sizeof(*slot->srb) + 15) & ~(size_t)15));
		slot->list = (void *)(port->list_window + i * SGL_PAGES * PHYS_PAGE);
		slot->pages = calloc(SGL_MAX, sizeof(*slot->pages));
		if (!slot->pages || !extension_create(slot, alignment))
			return error_set(err, "no memory for SRB extensions of %u bytes",
					 port->config->SrbExtensionSize);
		slot_protect(slot, false);
		slot->next_free = port->free_slots;
		port->free_slots = slot;
	}
	port->last_free = &port->slots[port->slot_count - 1];
	return 0;
}

static void window_destroy(uint8_t *window, size_t pages)
{
	if (!window)
		return;
	for (size_t i = 0; i < pages; i++)
		phys_free(phys_of(window + i * PHYS_PAGE, NULL), 1);
	phys_unmap(window, pages);
}

/* The bytes of the buffer's pages that lie before it, or behind it. */
static uint8_t *data_beside(const struct slot *slot, bool behind, uint32_t *length)
{
	uint32_t end = (slot->offset + slot->data_length - 1) % PHYS_PAGE + 1;
	uint8_t *page = phys_host(slot->pages[behind ? slot->page_count - 1 : 0]);

	*length = behind ? PHYS_PAGE - end : slot->offset;
	return behind ? page + end : page;
}

static void data_guard(struct slot *slot)
{
	uint32_t length;

	for (int behind = 0; behind < 2; behind++) {
		uint8_t *bytes = data_beside(slot, behind, &length);

		memset(bytes, UNWRITTEN, length);
	}
}

static void data_check_guard(const struct slot *slot)
{
	uint32_t length, at;

	for (int behind = 0; behind < 2 && slot->page_count; behind++) {
		const uint8_t *bytes = data_beside(slot, behind, &length);

		for (at = 0; at < length && bytes[at] == UNWRITTEN; at++)
			;
		if (at < length)
			verify_report(RULE_DATA_OVERRUN, 0, "byte %lld of a buffer of %u bytes was written",
				      behind ? (long long)slot->data_length + at : (long long)at - length,
				      slot->data_length);
	}
}

static void data_release(struct slot *slot)
{
	if (slot->mapped)
		phys_unmap(slot->mapped, slot->page_count);
	slot->mapped = NULL;
	if (slot->port->dump)
		dump_data(slot, PHYS_PRIVATE);
	for (uint32_t i = 0; i < slot->page_count && !slot->port->dump; i++)
		phys_free(slot->pages[i], 1);
	slot->page_count = 0;
}

/* The memory of an adapter that was given up is kept: its device may still write to it. */
static void slots_release_memory(struct port *port)
{
	for (uint32_t i = 0; i < port->slot_count; i++) {
		uint8_t *extension = port->slots[i].extension;

		data_release(&port->slots[i]); /* a crash has left it */
		if (extension)
			window_destroy(extension - (uintptr_t)extension % PHYS_PAGE, port->extension_pages);
	}
	window_destroy(port->srb_window, port->slot_count);
	window_destroy(port->list_window, (size_t)port->slot_count * SGL_PAGES);
}

void slots_destroy(struct port *port)
{
	if (!port->slots)
		return;
	if (!port->failed)
		slots_release_memory(port);
	for (uint32_t i = 0; i < port->slot_count; i++)
		free(port->slots[i].pages);
	free(port->slots);
	port->slots = port->free_slots = port->last_free = NULL;
	port->srb_window = port->list_window = NULL;
}

/* The slot that has been unused for longest, so that a late touch of an old SRB does not meet a new one. */
static struct slot *slot_take(struct port *port)
{
	struct slot *slot;

	machine_lock();
	slot = port->free_slots;
	if (slot) {
		port->free_slots = slot->next_free;
		if (!port->free_slots)
			port->last_free = NULL;
		slot->sequence = port->sequence++;
		while (port->tag_taken[port->next_tag])
			port->next_tag = (UCHAR)((port->next_tag + 1) % SP_UNTAGGED);
		slot->tag = port->next_tag;
		port->tag_taken[slot->tag] = true;
	}
	machine_unlock();
	return slot;
}

static void slot_give_back(struct slot *slot)
{
	struct port *port = slot->port;

	machine_lock();
	port->tag_taken[slot->tag] = false;
	slot->next_free = NULL;
	if (port->last_free)
		port->last_free->next_free = slot;
	else
		port->free_slots = slot;
	port->last_free = slot;
	slot->state = SLOT_FREE;
	machine_unlock();
}

struct port_request *slot_take_request(struct slot *slot)
{
	return atomic_exchange(&slot->request, NULL);
}

struct slot *slot_of(struct port *port, const void *srb)
{
	uintptr_t offset = (uintptr_t)srb - (uintptr_t)port->srb_window;
	struct slot *slot;

	if (!port->slots || offset >= (uintptr_t)port->slot_count * PHYS_PAGE)
		return NULL;
	slot = &port->slots[offset / PHYS_PAGE];
	return slot->srb == srb ? slot : NULL;
}

struct slot *slot_of_address(struct port *port, uintptr_t address)
{
	uintptr_t srb = address - (uintptr_t)port->srb_window, list = address - (uintptr_t)port->list_window;

	if (!port->slots)
		return NULL;
	if (srb < (uintptr_t)port->slot_count * PHYS_PAGE)
		return &port->slots[srb / PHYS_PAGE];
	if (list < (uintptr_t)port->slot_count * SGL_PAGES * PHYS_PAGE)
		return &port->slots[list / (SGL_PAGES * PHYS_PAGE)];
	for (unsigned i = 0; i < port->slot_count; i++) {
		uintptr_t buffer = port->slots[i].buffer;
		uintptr_t extension = (uintptr_t)port->slots[i].extension & ~(uintptr_t)(PHYS_PAGE - 1);

		if (extension && address - extension < port->extension_pages * (uintptr_t)PHYS_PAGE)
			return &port->slots[i];
		if (buffer && address - buffer < port->slots[i].buffer_pages * (uintptr_t)PHYS_PAGE)
			return &port->slots[i];
	}
	return NULL;
}

bool slot_list_has(const struct slot *slot, uintptr_t address)
{
	return address - (uintptr_t)slot->list < SGL_PAGES * (uintptr_t)PHYS_PAGE;
}

bool srb_buffer_nowhere(uintptr_t address)
{
	return address - NOWHERE < NOWHERE;
}

/* ---- data ---- */

/* Whether NumberOfPhysicalBreaks counts elements or what lies between them: the seed decides [storport-win7 3.6]. */
uint32_t port_elements(const struct port *port)
{
	uint32_t breaks = port->config->NumberOfPhysicalBreaks;

	return breaks < SGL_MAX ? breaks + (port->options.seed >> 5 & 1) : breaks;
}

/* Whether the port maps the buffer for the miniport: all but reads and writes of the medium. */
static bool buffer_is_mapped(const struct port *port, const struct port_request *request)
{
	if (port->config->MapBuffers == STOR_MAP_NO_BUFFERS)
		return false;
	if (request->function != SRB_FUNCTION_EXECUTE_SCSI)
		return true;
	switch (request->cdb[0]) {
	case SCSIOP_READ6:
	case SCSIOP_WRITE6:
	case SCSIOP_READ:
	case SCSIOP_WRITE:
	case SCSIOP_READ12:
	case SCSIOP_WRITE12:
	case SCSIOP_READ16:
	case SCSIOP_WRITE16:
		return false;
	}
	return true;
}

/* A number below n, of the port's own generator. */
static uint32_t port_random(struct port *port, uint32_t n)
{
	uint32_t number;

	machine_lock();
	number = (uint32_t)rng_below(&port->rng, n);
	machine_unlock();
	return number;
}

/* Where in its first page the buffer starts: anywhere that the alignment mask and the element limit allow. */
static uint32_t buffer_offset(struct port *port, uint32_t length)
{
	uint32_t step = port->config->AlignmentMask + 1;
	uint32_t offset = step < PHYS_PAGE ? port_random(port, PHYS_PAGE / step) * step : 0;
	uint32_t pages = (offset + length + PHYS_PAGE - 1) / PHYS_PAGE;

	if (pages > port_elements(port) || port_random(port, 4) == 0)
		return 0;
	return offset;
}

static void data_copy(struct slot *slot, struct port_request *request, bool to_pages)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < slot->page_count; i++) {
		uint32_t start = i ? 0 : slot->offset;
		uint32_t part = PHYS_PAGE - start < request->length - done ? PHYS_PAGE - start : request->length - done;
		uint8_t *page = (uint8_t *)phys_host(slot->pages[i]) + start;

		if (to_pages)
			memcpy(page, (uint8_t *)request->data + done, part);
		else
			memcpy((uint8_t *)request->data + done, page, part);
		done += part;
	}
}

static bool data_allocate(struct slot *slot)
{
	struct port_request *request = slot->request;
	enum phys_use use = request->direction == DIRECTION_IN ? PHYS_FROM_DEVICE : PHYS_TO_DEVICE;
	uint32_t pages;

	slot->data_length = request->length;
	slot->offset = slot->port->dump ? 0 : buffer_offset(slot->port, request->length);
	pages = (slot->offset + request->length + PHYS_PAGE - 1) / PHYS_PAGE;
	if (pages > SGL_MAX)
		return false;
	if (slot->port->dump) {
		slot->page_count = pages;
		if (!dump_data(slot, use)) {
			slot->page_count = 0;
			return false;
		}
		data_copy(slot, request, true);
		return true;
	}
	for (slot->page_count = 0; slot->page_count < pages; slot->page_count++) {
		uint64_t page = phys_alloc(use, data_needs_low_memory(slot->port));

		if (!page) {
			data_release(slot);
			return false;
		}
		slot->pages[slot->page_count] = page;
	}
	data_copy(slot, request, true);
	data_guard(slot);
	return true;
}

void *slot_system_address(struct slot *slot)
{
	if (!slot->page_count)
		return NULL;
	if (!slot->mapped) {
		slot->mapped = phys_map(slot->pages, slot->page_count);
		slot->buffer = (uintptr_t)slot->mapped;
		slot->buffer_pages = slot->page_count;
	}
	return slot->mapped ? (uint8_t *)slot->mapped + slot->offset : NULL;
}

/* The last element becomes two: the longest list there is has one more than there are breaks. */
static void list_split(struct slot *slot)
{
	STOR_SCATTER_GATHER_LIST *list = slot->list;
	STOR_SCATTER_GATHER_ELEMENT *last = &list->List[slot->elements - 1];
	uint32_t step = slot->port->config->AlignmentMask + 1, steps = last->Length / step, first;

	if (steps < 2)
		return;
	first = (1 + port_random(slot->port, steps - 1)) * step;
	last[1] = (STOR_SCATTER_GATHER_ELEMENT){ .Length = last->Length - first };
	last[1].PhysicalAddress.QuadPart = last->PhysicalAddress.QuadPart + first;
	last->Length = first;
	list->NumberOfElements = ++slot->elements;
}

/*
 * Writes the list: neighbouring pages become one element, as StorPort may do. A dump's buffer is in one piece; whether
 * its list says so is decided by the seed.
 */
static void list_build(struct slot *slot)
{
	STOR_SCATTER_GATHER_LIST *list = slot->list;
	const struct port *port = slot->port;
	bool merge = !port->dump || port->options.seed & 64;
	uint32_t left = slot->request->length, count = 0;
	uint64_t expected = 0;

	for (uint32_t i = 0; i < slot->page_count; i++) {
		uint32_t start = i ? 0 : slot->offset;
		uint32_t part = PHYS_PAGE - start < left ? PHYS_PAGE - start : left;
		uint64_t address = slot->pages[i] + start;

		if (count && merge && address == expected) {
			list->List[count - 1].Length += part;
		} else {
			list->List[count].PhysicalAddress.QuadPart = (LONGLONG)address;
			list->List[count].Length = part;
			list->List[count++].Reserved = 0;
		}
		expected = address + part;
		left -= part;
	}
	list->NumberOfElements = count;
	list->Reserved = 0;
	slot->elements = count;
	if (count == port->config->NumberOfPhysicalBreaks && count < port_elements(port))
		list_split(slot);
}

/* ---- out ---- */

/* The SRB of a request that the miniport has; NULL: it has it not, or not any more. */
static SCSI_REQUEST_BLOCK *srb_of(struct port *port, const struct port_request *request)
{
	for (unsigned i = 0; i < port->slot_count; i++) {
		if (port->slots[i].request == request && port->slots[i].state == SLOT_STARTED)
			return port->slots[i].srb;
	}
	return NULL;
}

static void srb_build_scsi(struct slot *slot, SCSI_REQUEST_BLOCK *srb)
{
	const struct port_request *request = slot->request;

	srb->PathId = request->path;
	srb->TargetId = request->target;
	srb->Lun = request->lun;
	srb->QueueTag = slot->tag;
	srb->QueueAction = request->queue_action ? request->queue_action : SRB_SIMPLE_TAG_REQUEST;
	srb->CdbLength = request->cdb_length;
	srb->SenseInfoBufferLength = (UCHAR)(SENSE_BYTES - request->sense_cut);
	srb->SenseInfoBuffer = srb->SenseInfoBufferLength ? slot->sense : NULL;
	srb->SrbFlags |= SRB_FLAGS_QUEUE_ACTION_ENABLE | SRB_FLAGS_NO_QUEUE_FREEZE | request->flags;
	memcpy(srb->Cdb, request->cdb, sizeof(srb->Cdb));
	if (request->aborts)
		srb->NextSrb = srb_of(slot->port, request->aborts);
}

static void srb_build(struct slot *slot)
{
	static const ULONG direction_flags[] = {
		[DIRECTION_NONE] = 0,
		[DIRECTION_IN] = SRB_FLAGS_DATA_IN,
		[DIRECTION_OUT] = SRB_FLAGS_DATA_OUT,
	};
	struct port_request *request = slot->request;
	SCSI_REQUEST_BLOCK *srb = slot->srb;

	memset(srb, 0, sizeof(*srb));
	srb->Length = sizeof(*srb);
	srb->Function = request->function;
	srb->SrbFlags = direction_flags[request->direction];
	srb->TimeOutValue = request->timeout;
	srb->SrbExtension = slot->extension;
	srb->OriginalRequest = (void *)(NOWHERE - 0x800);
	if (request->function == SRB_FUNCTION_PNP) {
		((SCSI_PNP_REQUEST_BLOCK *)srb)->PnPAction = (STOR_PNP_ACTION)request->action;
		((SCSI_PNP_REQUEST_BLOCK *)srb)->SrbPnPFlags = request->adapter ? SRB_PNP_FLAGS_ADAPTER_REQUEST : 0;
	} else if (request->function == SRB_FUNCTION_POWER) {
		((SCSI_POWER_REQUEST_BLOCK *)srb)->DevicePowerState = (STOR_DEVICE_POWER_STATE)request->power_state;
		((SCSI_POWER_REQUEST_BLOCK *)srb)->PowerAction = (STOR_POWER_ACTION)request->action;
		((SCSI_POWER_REQUEST_BLOCK *)srb)->SrbPowerFlags =
			request->adapter ? SRB_POWER_FLAGS_ADAPTER_REQUEST : 0;
	} else {
		srb_build_scsi(slot, srb);
	}
	if (request->function == SRB_FUNCTION_WMI)
		((SCSI_WMI_REQUEST_BLOCK *)srb)->WMISubFunction = request->wmi_subfunction;
	if (request->direction != DIRECTION_NONE && request->length) {
		srb->DataTransferLength = request->length;
		srb->DataBuffer = buffer_is_mapped(slot->port, request) ? slot_system_address(slot)
									: (void *)(NOWHERE + slot->offset);
	}
	memset(slot->sense, UNWRITTEN, SENSE_BYTES);
	if (slot->extension)
		memset(slot->extension, UNWRITTEN, slot->port->config->SrbExtensionSize);
	slot->sent = *srb;
}

struct slot *slot_prepare(struct port *port, struct port_request *request)
{
	struct slot *slot = slot_take(port);

	if (!slot)
		return NULL;
	slot->request = request;
	slot->elements = slot->page_count = 0;
	slot->buffer = 0;
	slot->left = 0;
	slot->order = UINT64_MAX;
	slot_protect(slot, true);
	if (request->direction != DIRECTION_NONE && request->length && !data_allocate(slot)) {
		slot_protect(slot, false);
		slot_give_back(slot);
		return NULL;
	}
	if (slot->page_count)
		list_build(slot);
	srb_build(slot);
	if (slot->elements)
		mprotect(slot->list, SGL_PAGES * PHYS_PAGE, PROT_READ);
	slot->timeout = request->timeout ? request->timeout : DEFAULT_TIMEOUT_S;
	slot->deadline = clock_now() + slot->timeout * (uint64_t)1000000;
	slot->state = SLOT_BUILDING;
	return slot;
}

/* It is the miniport's from here on. False: it has been, and is completed. */
static bool slot_started(struct slot *slot)
{
	enum slot_state building = SLOT_BUILDING;

	if (!atomic_compare_exchange_strong(&slot->state, &building, SLOT_STARTED))
		return false;
	slot->order = ++slot->port->order;
	if (slot->sent.Function == SRB_FUNCTION_EXECUTE_SCSI && slot->sent.Cdb[0] == SCSIOP_INQUIRY)
		slot->port->inquired = true;
	return true;
}

/* Hands the SRB to the miniport. At IRQL_DISPATCH. Afterwards the slot may be anybody's. */
void slot_start(struct slot *slot)
{
	struct port *port = slot->port;
	SCSI_REQUEST_BLOCK *srb = slot->srb;
	struct frame frame;
	BOOLEAN start = TRUE;
	int irql;

	if (port->init.HwBuildIo) {
		callback_enter(&frame, CB_BUILD_IO);
		start = port->init.HwBuildIo(port->extension, srb);
		callback_leave(&frame);
	}
	if (!start) {
		/* The miniport has completed it, or will. */
		slot_started(slot);
		return;
	}
	irql = lock_acquire(&port->startio, 0);
	if (slot_started(slot)) {
		callback_enter(&frame, CB_START_IO);
		port->init.HwStartIo(port->extension, srb);
		callback_leave(&frame);
	} else {
		verify_report(RULE_BUILDIO_DONE, 0, "HwBuildIo completed an SRB and returned TRUE for it");
	}
	lock_release(&port->startio, (unsigned)irql, 0);
}

/* ---- back ---- */

static bool status_is_legal(UCHAR status)
{
	UCHAR code = SRB_STATUS(status);

	if (status & SRB_STATUS_QUEUE_FROZEN)
		return false;
	return code != SRB_STATUS_PENDING && code != SRB_STATUS_INTERNAL_ERROR && code < 0x38;
}

static void check_completed(const SCSI_REQUEST_BLOCK *sent, const SCSI_REQUEST_BLOCK *back, uintptr_t pc)
{
	SCSI_REQUEST_BLOCK a = *sent, b = *back;

	if (!status_is_legal(back->SrbStatus))
		verify_report(RULE_SRB_STATUS, pc,
			      "an SRB (function 0x%02x, opcode 0x%02x) is completed with status 0x%02x", sent->Function,
			      sent->Cdb[0], back->SrbStatus);
	if (sent->Function == SRB_FUNCTION_PNP || sent->Function == SRB_FUNCTION_POWER)
		return;
	if ((back->SrbStatus & SRB_STATUS_AUTOSENSE_VALID) &&
	    (back->ScsiStatus != SCSISTAT_CHECK_CONDITION || !sent->SenseInfoBuffer || !sent->SenseInfoBufferLength))
		verify_report(RULE_SRB_SENSE, pc, "AUTOSENSE_VALID is set with SCSI status 0x%02x", back->ScsiStatus);
	if (back->DataTransferLength > sent->DataTransferLength ||
	    (SRB_STATUS(back->SrbStatus) == SRB_STATUS_BUSY && back->DataTransferLength != sent->DataTransferLength))
		verify_report(RULE_SRB_LENGTH, pc, "DataTransferLength was %u and is %u with status 0x%02x",
			      sent->DataTransferLength, back->DataTransferLength, back->SrbStatus);
	if (back->SenseInfoBufferLength > sent->SenseInfoBufferLength)
		verify_report(RULE_SRB_READONLY, pc, "SenseInfoBufferLength grew from %u to %u",
			      sent->SenseInfoBufferLength, back->SenseInfoBufferLength);
	a.SrbStatus = b.SrbStatus = a.ScsiStatus = b.ScsiStatus = 0;
	a.SenseInfoBufferLength = b.SenseInfoBufferLength = 0;
	a.DataTransferLength = b.DataTransferLength = 0;
	if (memcmp(&a, &b, sizeof(a)))
		verify_report(RULE_SRB_READONLY, pc, "a field of the SRB (function 0x%02x, opcode 0x%02x) was changed",
			      sent->Function, sent->Cdb[0]);
}

static bool came_back_busy(const struct slot *slot)
{
	return SRB_STATUS(slot->sent.SrbStatus) == SRB_STATUS_BUSY;
}

/* The SRB's answer becomes the request's; NULL: somebody else has answered it. */
static struct port_request *slot_answer(struct slot *slot)
{
	struct port_request *request = slot_take_request(slot);
	const SCSI_REQUEST_BLOCK *back = &slot->sent;

	if (SRB_STATUS(back->SrbStatus) != SRB_STATUS_SUCCESS)
		inject_tell();
	if (!request)
		return NULL;
	if (!came_back_busy(slot) && slot->page_count && request->direction == DIRECTION_IN)
		data_copy(slot, request, false);
	request->srb_status = SRB_STATUS(back->SrbStatus);
	request->scsi_status = back->ScsiStatus;
	request->transferred = back->DataTransferLength;
	request->sense_length = slot->sense_length;
	request->left = slot->left;
	memcpy(request->sense, slot->sense_copy, slot->sense_length);
	return request;
}

/* The port's part of a completion, at IRQL_DISPATCH without locks. */
static void slot_finish(struct work *work)
{
	struct slot *slot = container_of(work, struct slot, completion);
	struct port_request *request = slot_answer(slot);
	struct port *port = slot->port;
	bool busy = came_back_busy(slot);

	data_check_guard(slot);
	data_release(slot);
	slot_give_back(slot);
	if (request)
		queue_finished(port, request, busy);
}

void slot_reclaim(struct slot *slot)
{
	if (slot->state == SLOT_FREE)
		return;
	if (slot->state == SLOT_COMPLETED)
		slot_answer(slot);
	slot_protect(slot, false);
	data_release(slot);
	slot_give_back(slot);
}

/* Before the window on the sense buffer closes. room: of the buffer that the driver was given. */
static void sense_take(struct slot *slot, uint32_t room, uintptr_t pc)
{
	const SCSI_REQUEST_BLOCK *back = &slot->sent;

	for (uint32_t i = room; i < SENSE_BYTES; i++) {
		if (slot->sense[i] == UNWRITTEN)
			continue;
		verify_report(RULE_DATA_OVERRUN, pc, "byte %u of a sense buffer of %u bytes was written", i, room);
		break;
	}

	slot->sense_length = 0;
	if (!(back->SrbStatus & SRB_STATUS_AUTOSENSE_VALID) || back->Function != SRB_FUNCTION_EXECUTE_SCSI)
		return;
	slot->sense_length = back->SenseInfoBufferLength;
	memcpy(slot->sense_copy, slot->sense, slot->sense_length);
}

static void check_reset(struct slot *slot, uintptr_t pc)
{
	UCHAR function = slot->sent.Function;
	unsigned left = 0;

	if ((function == SRB_FUNCTION_RESET_LOGICAL_UNIT || function == SRB_FUNCTION_RESET_DEVICE ||
	     function == SRB_FUNCTION_RESET_BUS) &&
	    SRB_STATUS(slot->sent.SrbStatus) == SRB_STATUS_SUCCESS)
		left = reset_left(slot->port, slot->order);
	if (left)
		verify_report(RULE_RESET_OUTSTANDING, pc, "%u requests are outstanding after a reset (function 0x%02x)",
			      left, function);
	slot->left = left;
}

void srb_complete(struct port *port, const void *srb, uintptr_t pc)
{
	struct slot *slot = slot_of(port, srb);
	struct cpu *cpu = cpu_self();
	SCSI_REQUEST_BLOCK sent;
	enum slot_state state;

	if (!slot) {
		verify_report(RULE_SRB_UNKNOWN, pc, "an SRB at %p is completed, which StorPort never gave out", srb);
		return;
	}
	state = atomic_exchange(&slot->state, SLOT_COMPLETED);
	if (state != SLOT_BUILDING && state != SLOT_STARTED) {
		verify_report(RULE_SRB_TWICE, pc, "an SRB is completed a second time");
		if (state == SLOT_FREE)
			slot->state = SLOT_FREE;
		return;
	}
	sent = slot->sent;
	slot->sent = *slot->srb;
	check_completed(&sent, &slot->sent, pc);
	sense_take(slot, sent.Function == SRB_FUNCTION_EXECUTE_SCSI ? sent.SenseInfoBufferLength : SENSE_BYTES, pc);
	if (port->dump)
		return; /* it is looked at when the callback has returned */
	slot_protect(slot, false);
	if (slot->mapped)
		mprotect(slot->mapped, (size_t)slot->page_count * PHYS_PAGE, PROT_NONE);
	for (uint32_t i = 0; i < slot->page_count; i++)
		phys_set_use(slot->pages[i], 1, PHYS_PRIVATE);
	check_reset(slot, pc);

	slot->completion.run = slot_finish;
	/* At DISPATCH_LEVEL without a lock StorPort may complete at once, on the driver's stack. */
	if (cpu->irql > IRQL_DISPATCH || cpu->held_count || port->dispatching[cpu->index] || cpu_choose(2) == 0)
		cpu_defer(cpu, &slot->completion);
	else
		slot_finish(&slot->completion);
}
