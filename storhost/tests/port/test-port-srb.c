/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about SRBs: what a miniport sees of a request, what of it is gone afterwards, and which completions are found. */
#include "port_rig.h"

#include <string.h>

static void (*in_dpc)(SCSI_REQUEST_BLOCK *srb);

static void with_held(void)
{
	in_dpc(rig.held[rig.held_count - 1]);
}

/* One request without data that is held, and that fn completes, or does what it likes with, in a DPC. */
static struct rig_request *held_then(void (*fn)(SCSI_REQUEST_BLOCK *srb))
{
	struct rig_request *request = rig_request(0);

	rig_port();
	rig_submit(request);
	assert_int_equal(rig.held_count, 1);
	in_dpc = fn;
	rig_in_dpc(with_held);
	return request;
}

/* ---- completions that are found ---- */

static void complete_twice(SCSI_REQUEST_BLOCK *srb)
{
	rig_complete(srb, SRB_STATUS_SUCCESS);
	StorPortNotification(RequestComplete, rig.extension, srb);
}

static void a_second_completion_is_found(void **state)
{
	struct rig_request *request;

	(void)state;
	request = held_then(complete_twice);
	rig_only_findings(RULE_SRB_TWICE, 1);
	assert_int_equal(request->done, 1);
}

static void complete_only(SCSI_REQUEST_BLOCK *srb)
{
	StorPortNotification(RequestComplete, rig.extension, srb);
}

static void a_completion_of_one_that_came_back_long_ago_is_found(void **state)
{
	struct rig_request *request;

	(void)state;
	request = held_then(rig_start_and_succeed);
	rig_no_findings();
	rig_sleep(1000);
	in_dpc = complete_only;
	rig_in_dpc(with_held);
	rig_only_findings(RULE_SRB_TWICE, 1);
	assert_int_equal(request->done, 1);
	/* The SRB can still be used. */
	rig_submit(rig_request(1));
	in_dpc = rig_start_and_succeed;
	rig_in_dpc(with_held);
	assert_int_equal(rig_done(), 2);
}

static void complete_others(SCSI_REQUEST_BLOCK *srb)
{
	static SCSI_REQUEST_BLOCK mine;

	complete_only(&mine);
	complete_only(NULL);
	complete_only((void *)((char *)srb + 8));
}

static void a_completion_of_what_was_never_given_out_is_found(void **state)
{
	struct rig_request *request;

	(void)state;
	request = held_then(complete_others);
	rig_only_findings(RULE_SRB_UNKNOWN, 3);
	assert_int_equal(request->done, 0);
}

static BOOLEAN build_and_complete(SCSI_REQUEST_BLOCK *srb)
{
	rig_complete(srb, SRB_STATUS_SUCCESS);
	return TRUE;
}

static BOOLEAN build_complete_and_stop(SCSI_REQUEST_BLOCK *srb)
{
	rig_complete(srb, SRB_STATUS_INVALID_REQUEST);
	return FALSE;
}

static void a_build_io_that_completes_and_goes_on_is_found(void **state)
{
	(void)state;
	rig.build_io = build_and_complete;
	rig_port();
	rig_submit(rig_request(0));
	rig_only_findings(RULE_BUILDIO_DONE, 1);
	assert_int_equal(rig.started, 0);
	assert_int_equal(rig_done(), 1);
}

static void a_build_io_that_completes_and_says_so_is_not_blamed(void **state)
{
	(void)state;
	rig.build_io = build_complete_and_stop;
	rig_port();
	rig_submit(rig_request(0));
	rig_no_findings();
	assert_int_equal(rig.started, 0);
	assert_int_equal(rig_requests[0].request.srb_status, SRB_STATUS_INVALID_REQUEST);
}

static UCHAR status_given;

static void complete_with_status(SCSI_REQUEST_BLOCK *srb)
{
	rig_complete(srb, status_given);
}

static void statuses_that_a_miniport_may_not_set_are_found(void **state)
{
	static const UCHAR statuses[] = { SRB_STATUS_PENDING, SRB_STATUS_INTERNAL_ERROR,
					  SRB_STATUS_SUCCESS | SRB_STATUS_QUEUE_FROZEN, 0x3f };

	(void)state;
	rig.start_io = complete_with_status;
	rig_port();
	for (unsigned i = 0; i < sizeof(statuses); i++) {
		status_given = statuses[i];
		rig_submit(rig_request(i));
		assert_int_equal(rig_findings(RULE_SRB_STATUS), i + 1);
		assert_int_equal(rig_done(), i + 1);
	}
	rig_only_findings(RULE_SRB_STATUS, sizeof(statuses));
}

static void statuses_that_a_miniport_may_set_reach_who_asked(void **state)
{
	static const UCHAR statuses[] = { SRB_STATUS_SUCCESS,   SRB_STATUS_ERROR,       SRB_STATUS_NO_DEVICE,
					  SRB_STATUS_BUS_RESET, SRB_STATUS_INVALID_LUN, SRB_STATUS_DATA_OVERRUN };

	(void)state;
	rig.start_io = complete_with_status;
	rig_port();
	for (unsigned i = 0; i < sizeof(statuses); i++) {
		status_given = statuses[i];
		rig_submit(rig_request(i));
		assert_int_equal(rig_requests[i].request.srb_status, statuses[i]);
	}
	rig_no_findings();
}

static void write_a_port_field(SCSI_REQUEST_BLOCK *srb)
{
	srb->TimeOutValue++;
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void a_field_that_is_the_ports_is_watched(void **state)
{
	(void)state;
	held_then(write_a_port_field);
	rig_only_findings(RULE_SRB_READONLY, 1);
}

static void grow(SCSI_REQUEST_BLOCK *srb)
{
	srb->DataTransferLength++;
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void a_length_that_grew_is_found(void **state)
{
	(void)state;
	held_then(grow);
	rig_only_findings(RULE_SRB_LENGTH, 1);
}

static unsigned shrinks;

static void shrink_and_refuse(SCSI_REQUEST_BLOCK *srb)
{
	if (!shrinks++) {
		srb->DataTransferLength -= 512;
		rig_complete(srb, SRB_STATUS_BUSY);
	} else {
		srb->DataTransferLength -= 1024;
		rig_complete(srb, SRB_STATUS_SUCCESS);
	}
}

static void a_length_may_shrink_but_not_with_busy(void **state)
{
	(void)state;
	rig.start_io = shrink_and_refuse;
	rig_port();
	rig_submit(rig_data_request(0, DIRECTION_OUT, 4096));
	rig_only_findings(RULE_SRB_LENGTH, 1);
	rig_sleep(1000000);
	assert_int_equal(rig_requests[0].request.transferred, 3072);
	rig_only_findings(RULE_SRB_LENGTH, 1);
}

static UCHAR scsi_status;

static void complete_with_sense(SCSI_REQUEST_BLOCK *srb)
{
	for (unsigned i = 0; i < 18; i++)
		((uint8_t *)srb->SenseInfoBuffer)[i] = (uint8_t)(0x70 + i);
	srb->SenseInfoBufferLength = 18;
	srb->ScsiStatus = scsi_status;
	rig_complete(srb, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID);
}

static void sense_comes_back_with_check_condition(void **state)
{
	const struct port_request *request;

	(void)state;
	scsi_status = SCSISTAT_CHECK_CONDITION;
	request = &held_then(complete_with_sense)->request;
	assert_int_equal(request->srb_status, SRB_STATUS_ERROR);
	assert_int_equal(request->scsi_status, SCSISTAT_CHECK_CONDITION);
	assert_int_equal(request->sense_length, 18);
	for (unsigned i = 0; i < 18; i++)
		assert_int_equal(request->sense[i], 0x70 + i);
	rig_no_findings();
}

static void sense_without_check_condition_is_found(void **state)
{
	(void)state;
	scsi_status = SCSISTAT_GOOD;
	held_then(complete_with_sense);
	rig_only_findings(RULE_SRB_SENSE, 1);
}

/* ---- what is not the driver's ---- */

/* One byte beside the data: behind it, or before it where it ends with its page. */
static void write_beside_the_data(SCSI_REQUEST_BLOCK *srb)
{
	const STOR_SCATTER_GATHER_LIST *list = StorPortGetScatterGatherList(rig.extension, srb);
	uint64_t first = (uint64_t)list->List[0].PhysicalAddress.QuadPart, end = first + list->List[0].Length;

	*(uint8_t *)phys_host(end % PHYS_PAGE ? end : first - 1) = 0;
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void a_byte_written_beside_the_data_is_found(void **state)
{
	(void)state;
	rig.start_io = write_beside_the_data;
	rig_port();
	rig_submit(rig_data_request(0, DIRECTION_IN, 512));
	assert_int_equal(rig_requests[0].request.srb_status, SRB_STATUS_SUCCESS);
	rig_only_findings(RULE_DATA_OVERRUN, 1);
}

static void write_behind_the_sense(SCSI_REQUEST_BLOCK *srb)
{
	assert_int_equal(srb->SenseInfoBufferLength, 10);
	((uint8_t *)srb->SenseInfoBuffer)[10] = 0;
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void a_byte_written_behind_the_sense_is_found(void **state)
{
	struct rig_request *request;

	(void)state;
	rig.start_io = write_behind_the_sense;
	rig_port();
	request = rig_request(0);
	request->request.sense_cut = 245;
	rig_submit(request);
	rig_only_findings(RULE_DATA_OVERRUN, 1);
}

/* ---- what is gone after a completion ---- */

static struct {
	uint8_t *srb, *list, *extension, *mapped;
	uint64_t data, extension_address;
} parts;

static void note_parts(SCSI_REQUEST_BLOCK *srb)
{
	STOR_SCATTER_GATHER_LIST *list = StorPortGetScatterGatherList(rig.extension, srb);
	uint32_t length = 0;

	parts.srb = (uint8_t *)srb;
	parts.list = (uint8_t *)list;
	parts.extension = srb->SrbExtension;
	parts.data = (uint64_t)list->List[0].PhysicalAddress.QuadPart;
	parts.extension_address = (uint64_t)StorPortGetPhysicalAddress(rig.extension, srb, srb->SrbExtension, &length);
	parts.mapped = srb->DataBuffer;
	rig.held[rig.held_count++] = srb;
}

static void map_all_buffers(PORT_CONFIGURATION_INFORMATION *config)
{
	config->MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
}

static void nothing_of_an_srb_is_left_after_its_completion(void **state)
{
	struct rig_request *request;

	(void)state;
	rig.start_io = note_parts;
	rig.configure = map_all_buffers;
	rig_port();
	request = rig_data_request(0, DIRECTION_IN, 4096);
	request->request.cdb[0] = SCSIOP_INQUIRY;
	rig_submit(request);
	assert_true(rig_writable(parts.srb));
	assert_true(rig_readable(parts.list));
	assert_false(rig_writable(parts.list));
	assert_true(rig_writable(parts.extension));
	assert_true(rig_writable(parts.mapped));
	assert_non_null(phys_device(parts.data, 1, true));
	assert_non_null(phys_device(parts.extension_address, 1, true));
	rig_in_dpc(rig_complete_all);
	assert_int_equal(request->done, 1);
	assert_false(rig_readable(parts.srb));
	assert_false(rig_readable(parts.list));
	assert_false(rig_readable(parts.extension));
	assert_false(rig_readable(parts.mapped));
	assert_null(phys_device(parts.data, 1, true));
	assert_null(phys_device(parts.extension_address, 1, true));
	rig_no_findings();
}

static void the_device_is_shut_out_at_once(SCSI_REQUEST_BLOCK *srb)
{
	/* At DIRQL the port cannot have finished with the request. */
	rig_complete(srb, SRB_STATUS_SUCCESS);
	if (phys_device(parts.data, 1, true) || phys_device(parts.extension_address, 1, true))
		parts.data = 0;
}

static void the_device_is_shut_out_by_the_completion_itself(void **state)
{
	(void)state;
	rig.start_io = note_parts;
	rig_port();
	rig_submit(rig_data_request(0, DIRECTION_IN, 4096));
	in_dpc = the_device_is_shut_out_at_once;
	rig_in_interrupt(with_held);
	assert_int_not_equal(parts.data, 0);
}

static SCSI_REQUEST_BLOCK *given[SLOTS];

static void note_srb_and_succeed(SCSI_REQUEST_BLOCK *srb)
{
	given[(rig.started - 1) % SLOTS] = srb;
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void an_srb_is_not_given_out_again_soon(void **state)
{
	(void)state;
	rig.start_io = note_srb_and_succeed;
	rig_port();
	for (unsigned n = 0; n < SLOTS; n++)
		port_submit(rig.port, &rig_request(n)->request);
	rig_settle();
	for (unsigned n = 1; n < SLOTS; n++) {
		for (unsigned other = 0; other < n; other++)
			assert_ptr_not_equal(given[n], given[other]);
	}
}

/* ---- data ---- */

static struct {
	uint32_t breaks;
	uint32_t alignment;
	unsigned wrong;
	bool in;
	unsigned n; /* of the request */
	uint8_t offset_seen[PHYS_PAGE / 512];
	unsigned most_elements, merged;
} sgl;

static void configure_sgl(PORT_CONFIGURATION_INFORMATION *config)
{
	config->NumberOfPhysicalBreaks = sgl.breaks;
	config->AlignmentMask = sgl.alignment;
}

/* Bytes of one element, as the device reaches them; wrong ones are counted. */
static void element_visit(const STOR_SCATTER_GATHER_ELEMENT *element, uint32_t at, bool in)
{
	for (uint32_t i = 0; i < element->Length; i++) {
		uint64_t address = (uint64_t)element->PhysicalAddress.QuadPart + i;
		uint8_t *byte = phys_device(address, 1, in);

		if (!byte || phys_device(address, 1, !in)) {
			sgl.wrong++;
			return;
		}
		if (in)
			*byte = rig_pattern(sgl.n + 1, at + i);
		else
			sgl.wrong += *byte != rig_pattern(sgl.n, at + i);
	}
}

static void walk_list(SCSI_REQUEST_BLOCK *srb)
{
	const STOR_SCATTER_GATHER_LIST *list = StorPortGetScatterGatherList(rig.extension, srb);
	uint32_t at = 0;

	for (uint32_t e = 0; list && e < list->NumberOfElements; e++) {
		const STOR_SCATTER_GATHER_ELEMENT *element = &list->List[e];
		uint64_t address = (uint64_t)element->PhysicalAddress.QuadPart, end = address + element->Length;

		sgl.wrong += !element->Length || (e && address % PHYS_PAGE) ||
			     (e + 1 < list->NumberOfElements && end % PHYS_PAGE);
		sgl.wrong += !e && (address & sgl.alignment);
		element_visit(element, at, sgl.in);
		at += element->Length;
	}
	sgl.wrong += !list || list->NumberOfElements > sgl.breaks || at != srb->DataTransferLength;
	if (list) {
		sgl.offset_seen[list->List[0].PhysicalAddress.QuadPart % PHYS_PAGE / 512] = 1;
		if (list->NumberOfElements > sgl.most_elements)
			sgl.most_elements = list->NumberOfElements;
		sgl.merged += list->List[0].Length > PHYS_PAGE;
	}
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void transfer(unsigned n, bool in, uint32_t length)
{
	struct rig_request *request = rig_data_request(n, in ? DIRECTION_IN : DIRECTION_OUT, length);

	sgl.n = n;
	sgl.in = in;
	rig_submit(request);
	assert_int_equal(request->done, 1);
	for (uint32_t i = 0; i < length; i++) {
		if (request->data[i] != rig_pattern(n + in, i))
			fail_msg("byte %u of a request of %u is wrong", i, length);
	}
}

/* Requests of many lengths, most of them as long as they may be, whatever their offset. */
static void transfers_with(uint32_t breaks, uint32_t alignment)
{
	uint32_t most, step = alignment + 1;

	sgl.breaks = breaks;
	sgl.alignment = alignment;
	rig.configure = configure_sgl;
	rig.start_io = walk_list;
	rig_port();
	most = port_limits(rig.port)->max_transfer;
	assert_int_equal(most, breaks > 1 ? (breaks - 1) * PHYS_PAGE : PHYS_PAGE);
	for (unsigned n = 0; n < 96; n++) {
		transfer(n, n & 1, most);
		transfer(n, n & 1, step * (1 + n % (most / step)));
	}
	assert_int_equal(sgl.wrong, 0);
	assert_true(sgl.most_elements <= breaks);
	rig_no_findings();
}

static void a_list_covers_exactly_its_request_whatever_the_offset(void **state)
{
	(void)state;
	transfers_with(18, 0);
	for (unsigned i = 0; i < sizeof(sgl.offset_seen); i++)
		assert_int_equal(sgl.offset_seen[i], 1);
	/* The offset that needs one element more did occur at the longest length. */
	assert_int_equal(sgl.most_elements, 18);
}

static void a_buffer_begins_where_the_alignment_mask_lets_it(void **state)
{
	(void)state;
	transfers_with(9, 511);
	for (unsigned i = 0; i < sizeof(sgl.offset_seen); i++)
		assert_int_equal(sgl.offset_seen[i], 1);
}

static void one_break_is_enough_for_a_page(void **state)
{
	(void)state;
	transfers_with(1, 3);
	assert_int_equal(sgl.most_elements, 1);
}

static void page_alignment_is_kept(void **state)
{
	(void)state;
	transfers_with(4, PHYS_PAGE - 1);
	assert_int_equal(sgl.offset_seen[0], 1);
	for (unsigned i = 1; i < sizeof(sgl.offset_seen); i++)
		assert_int_equal(sgl.offset_seen[i], 0);
}

static int address_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Leaves nothing to be had but six pages in a row. */
static void leave_six_neighbours(void)
{
	static uint64_t pages[1u << 16];
	unsigned count = 0, at = 0;

	while (count < 1u << 16 && (pages[count] = phys_alloc(PHYS_PRIVATE, false)))
		count++;
	qsort(pages, count, sizeof(*pages), address_order);
	while (at + 6 < count && pages[at + 5] != pages[at] + 5 * PHYS_PAGE)
		at++;
	for (unsigned i = 0; i < 6; i++)
		phys_free(pages[at + i], 1);
}

static void neighbouring_pages_become_one_element(void **state)
{
	(void)state;
	sgl.breaks = 8;
	rig.configure = configure_sgl;
	rig.start_io = walk_list;
	rig_port();
	leave_six_neighbours();
	for (unsigned n = 0; n < 64; n++)
		transfer(n, n & 1, 5 * PHYS_PAGE - n);
	assert_int_equal(sgl.wrong, 0);
	assert_true(sgl.merged > 0);
	rig_no_findings();
}

static bool list_seen;

static void look_for_list(SCSI_REQUEST_BLOCK *srb)
{
	list_seen = StorPortGetScatterGatherList(rig.extension, srb) != NULL;
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void a_request_without_data_has_no_list(void **state)
{
	(void)state;
	list_seen = true;
	rig.start_io = look_for_list;
	rig_port();
	rig_submit(rig_request(0));
	assert_false(list_seen);
	rig_no_findings();
}

/* ---- what the SRB says ---- */

static SCSI_REQUEST_BLOCK copy;
static bool extension_filled, buffer_matches;

static void copy_srb(SCSI_REQUEST_BLOCK *srb)
{
	const uint8_t *extension = srb->SrbExtension;

	copy = *srb;
	extension_filled = true;
	for (unsigned i = 0; i < 200; i++)
		extension_filled &= extension[i] == 0xcc;
	buffer_matches = (uintptr_t)srb->DataBuffer > 0x100000;
	for (uint32_t i = 0; buffer_matches && i < srb->DataTransferLength; i++)
		buffer_matches = ((uint8_t *)srb->DataBuffer)[i] == rig_pattern(0, i);
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void an_srb_says_what_its_request_is(void **state)
{
	struct rig_request *request;

	(void)state;
	rig.start_io = copy_srb;
	rig_port();
	request = rig_data_request(0, DIRECTION_OUT, 1024);
	request->request.path = 0;
	request->request.target = 3;
	request->request.lun = 2;
	request->request.cdb_length = 10;
	request->request.cdb[0] = SCSIOP_WRITE;
	request->request.cdb[9] = 0x77;
	rig_submit(request);
	assert_int_equal(copy.Length, sizeof(copy));
	assert_int_equal(copy.Function, SRB_FUNCTION_EXECUTE_SCSI);
	assert_int_equal(copy.SrbStatus, SRB_STATUS_PENDING);
	assert_int_equal(copy.TargetId, 3);
	assert_int_equal(copy.Lun, 2);
	assert_int_equal(copy.CdbLength, 10);
	assert_int_equal(copy.Cdb[0], SCSIOP_WRITE);
	assert_int_equal(copy.Cdb[9], 0x77);
	assert_int_equal(copy.DataTransferLength, 1024);
	assert_int_equal(copy.TimeOutValue, 10);
	assert_int_equal(copy.SrbFlags & SRB_FLAGS_UNSPECIFIED_DIRECTION, SRB_FLAGS_DATA_OUT);
	assert_int_equal(copy.QueueAction, SRB_SIMPLE_TAG_REQUEST);
	assert_true(extension_filled);
	/* A data buffer of a write is not mapped. */
	assert_false(rig_readable(copy.DataBuffer));
	rig_no_findings();
}

static void buffers_are_mapped_for_commands_that_are_no_reads_or_writes_if_the_miniport_asks(void **state)
{
	struct rig_request *request;

	(void)state;
	rig.start_io = copy_srb;
	rig.init.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
	rig_port();
	for (unsigned i = 0; i < 2; i++) {
		request = rig_data_request(0, DIRECTION_OUT, 5000);
		request->request.cdb[0] = i ? SCSIOP_WRITE : SCSIOP_MODE_SELECT;
		rig_submit(request);
		assert_int_equal(buffer_matches, !i);
	}
	rig_no_findings();
}

#define DEEPEST 254u

static struct {
	bool out[256]; /* by tag: of a request that is outstanding */
	unsigned clashes, untagged, started;
} tags;

static void set_deepest(void)
{
	StorPortSetDeviceQueueDepth(rig.extension, 0, 0, 0, DEEPEST);
}

static void start_with_tag(SCSI_REQUEST_BLOCK *srb)
{
	tags.untagged += srb->QueueTag == SP_UNTAGGED;
	tags.clashes += tags.out[srb->QueueTag];
	if (tags.started++ % 2) {
		rig_complete(srb, SRB_STATUS_SUCCESS);
		return;
	}
	tags.out[srb->QueueTag] = true;
	rig.held[rig.held_count++] = srb;
}

static void outstanding_requests_have_different_tags_and_all_have_one(void **state)
{
	(void)state;
	rig.start_io = start_with_tag;
	rig_port();
	rig_in_dpc(set_deepest);
	/* Every other one comes back at once, until as many are outstanding as there may be. */
	for (unsigned n = 0; n < 2 * DEEPEST - 1; n++)
		rig_submit(rig_request(n));
	assert_int_equal(rig.held_count, DEEPEST);
	assert_int_equal(rig_done(), DEEPEST - 1);
	assert_int_equal(tags.clashes, 0);
	assert_int_equal(tags.untagged, 0);
	rig_no_findings();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(a_second_completion_is_found),
		ISOLATED(a_completion_of_one_that_came_back_long_ago_is_found),
		ISOLATED(a_completion_of_what_was_never_given_out_is_found),
		ISOLATED(a_build_io_that_completes_and_goes_on_is_found),
		ISOLATED(a_build_io_that_completes_and_says_so_is_not_blamed),
		ISOLATED(statuses_that_a_miniport_may_not_set_are_found),
		ISOLATED(statuses_that_a_miniport_may_set_reach_who_asked),
		ISOLATED(a_field_that_is_the_ports_is_watched),
		ISOLATED(a_length_that_grew_is_found),
		ISOLATED(a_length_may_shrink_but_not_with_busy),
		ISOLATED(sense_comes_back_with_check_condition),
		ISOLATED(sense_without_check_condition_is_found),
		ISOLATED(a_byte_written_beside_the_data_is_found),
		ISOLATED(a_byte_written_behind_the_sense_is_found),
		ISOLATED(nothing_of_an_srb_is_left_after_its_completion),
		ISOLATED(the_device_is_shut_out_by_the_completion_itself),
		ISOLATED(an_srb_is_not_given_out_again_soon),
		ISOLATED(a_list_covers_exactly_its_request_whatever_the_offset),
		ISOLATED(a_buffer_begins_where_the_alignment_mask_lets_it),
		ISOLATED(one_break_is_enough_for_a_page),
		ISOLATED(page_alignment_is_kept),
		ISOLATED(neighbouring_pages_become_one_element),
		ISOLATED(a_request_without_data_has_no_list),
		ISOLATED(an_srb_says_what_its_request_is),
		ISOLATED(outstanding_requests_have_different_tags_and_all_have_one),
		ISOLATED(buffers_are_mapped_for_commands_that_are_no_reads_or_writes_if_the_miniport_asks),
	};

	return cmocka_run_group_tests_name("port/srb", tests, NULL, NULL);
}
