/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* How a request may come back, and how it did. */
#include <srb.h>
#include <scsi.h>
#include <string.h>

#include "base/inject.h"
#include "scenario/internal.h"

#define NAME(status) { #status, SRB_STATUS_##status }

static const struct {
	const char *name;
	uint8_t status;
} srb_statuses[] = {
	NAME(SUCCESS),
	NAME(ABORTED),
	NAME(ABORT_FAILED),
	NAME(ERROR),
	NAME(BUSY),
	NAME(INVALID_REQUEST),
	NAME(INVALID_PATH_ID),
	NAME(NO_DEVICE),
	NAME(TIMEOUT),
	NAME(SELECTION_TIMEOUT),
	NAME(COMMAND_TIMEOUT),
	NAME(MESSAGE_REJECTED),
	NAME(BUS_RESET),
	NAME(PARITY_ERROR),
	NAME(REQUEST_SENSE_FAILED),
	NAME(NO_HBA),
	NAME(DATA_OVERRUN),
	NAME(UNEXPECTED_BUS_FREE),
	NAME(PHASE_SEQUENCE_FAILURE),
	NAME(BAD_SRB_BLOCK_LENGTH),
	NAME(REQUEST_FLUSHED),
	NAME(INVALID_LUN),
	NAME(INVALID_TARGET_ID),
	NAME(BAD_FUNCTION),
	NAME(ERROR_RECOVERY),
	NAME(NOT_POWERED),
	NAME(LINK_DOWN),
};

#define SRB_STATUSES (sizeof(srb_statuses) / sizeof(srb_statuses[0]))
/* Fixed-format sense data that reaches its additional codes. [SPC-3 4.5.3] */
#define SENSE_BYTES 14u
#define SENSE_FIXED 0x70u

static const char *srb_name(uint8_t status)
{
	for (size_t i = 0; i < SRB_STATUSES; i++) {
		if (srb_statuses[i].status == status)
			return srb_statuses[i].name;
	}
	return NULL;
}

void expect_help(FILE *out)
{
	fprintf(out, "\nEXPECT is one or more of these, joined by 'or':\n"
		     "  good [BYTES]     SRB status SUCCESS, SCSI status GOOD, and so many bytes transferred\n"
		     "  sense KK/AA/QQ   CHECK CONDITION with this sense key and these additional codes\n"
		     "  srb NAME         this SRB status\n"
		     "  any              whatever it is\n"
		     "each but 'any' followed by 'transferred BYTES' if that matters. SRB statuses are:\n ");
	for (size_t i = 0, column = 1; i < SRB_STATUSES; i++) {
		column += strlen(srb_statuses[i].name) + 1;
		if (column > 78) {
			fprintf(out, "\n ");
			column = 2 + strlen(srb_statuses[i].name);
		}
		fprintf(out, " %s", srb_statuses[i].name);
	}
	fputc('\n', out);
}

/* ---- parsing ---- */

static int parse_sense(struct words *words, struct alternative *alternative)
{
	const char *word = words_next(words);
	unsigned key, asc, ascq;
	char rest;

	if (!word || strlen(word) != 8 || sscanf(word, "%2x/%2x/%2x%c", &key, &asc, &ascq, &rest) != 3 || key > 15)
		return words_fail(words, "sense is written as key and additional codes, as in 05/24/00%s%s%s",
				  word ? ", not '" : "", word ? word : "", word ? "'" : "");
	alternative->has_sense = true;
	alternative->key = (uint8_t)key;
	alternative->asc = (uint8_t)asc;
	alternative->ascq = (uint8_t)ascq;
	return 0;
}

static int parse_srb(struct words *words, struct alternative *alternative)
{
	const char *name = words_next(words);

	for (size_t i = 0; name && i < SRB_STATUSES; i++) {
		if (strcmp(srb_statuses[i].name, name))
			continue;
		alternative->has_srb = true;
		alternative->srb_status = srb_statuses[i].status;
		return 0;
	}
	return name ? words_fail(words, "there is no SRB status '%s'", name)
		    : words_fail(words, "the name of the SRB status is missing");
}

static int parse_transferred(struct words *words, struct alternative *alternative)
{
	uint64_t bytes;

	if (words_number(words, "the number of bytes transferred", 0, UINT32_MAX, &bytes))
		return -1;
	alternative->has_transferred = true;
	alternative->transferred = (uint32_t)bytes;
	return 0;
}

static int parse_alternative(struct words *words, struct alternative *alternative)
{
	const char *next;

	if (words_take(words, "any")) {
		alternative->any = true;
		return 0;
	}
	if (words_take(words, "good")) {
		alternative->has_srb = true;
		alternative->srb_status = SRB_STATUS_SUCCESS;
		next = words_peek(words);
		if (next && *next >= '0' && *next <= '9' && parse_transferred(words, alternative))
			return -1;
	} else if (words_take(words, "sense")) {
		if (parse_sense(words, alternative))
			return -1;
	} else if (words_take(words, "srb")) {
		if (parse_srb(words, alternative))
			return -1;
	} else {
		next = words_peek(words);
		return words_fail(words, "'good', 'sense', 'srb' or 'any' is expected%s%s%s", next ? ", not '" : "",
				  next ? next : "", next ? "'" : "");
	}
	return words_take(words, "transferred") ? parse_transferred(words, alternative) : 0;
}

int expect_parse(struct words *words, struct expect *expect)
{
	do {
		if (expect->count == ALTERNATIVES)
			return words_fail(words, "at most %u outcomes can be expected", ALTERNATIVES);
		if (parse_alternative(words, &expect->alternative[expect->count]))
			return -1;
		expect->count++;
	} while (words_take(words, "or"));
	return 0;
}

/* ---- checking ---- */

static bool has_sense(const struct port_request *request)
{
	return request->sense_length >= SENSE_BYTES && (request->sense[0] & 0x7e) == SENSE_FIXED;
}

static bool matches(const struct alternative *alternative, const struct port_request *request, bool whole)
{
	if (alternative->any)
		return true;
	if (alternative->has_transferred && alternative->transferred != request->transferred)
		return false;
	if (alternative->has_sense)
		return request->srb_status == SRB_STATUS_ERROR && request->scsi_status == SCSISTAT_CHECK_CONDITION &&
		       has_sense(request) && (request->sense[2] & 15) == alternative->key &&
		       request->sense[12] == alternative->asc && request->sense[13] == alternative->ascq;
	if (request->srb_status != alternative->srb_status)
		return false;
	if (request->srb_status != SRB_STATUS_SUCCESS || request->function != SRB_FUNCTION_EXECUTE_SCSI)
		return true;
	return request->scsi_status == SCSISTAT_GOOD &&
	       (!whole || alternative->has_transferred || request->transferred == request->length);
}

/*
 * What a request may honestly come to when something went wrong: a failure that says so. Which requests are wrong in
 * themselves depends on what went wrong.
 */
static bool is_honest(const struct port_request *request)
{
	uint8_t key = request->sense_length >= SENSE_BYTES ? request->sense[2] & 15 : 0;

	switch (request->srb_status) {
	case SRB_STATUS_ABORTED:
	case SRB_STATUS_BUSY:
	case SRB_STATUS_BUS_RESET:
		return true;
	case SRB_STATUS_NO_DEVICE:
		return strain_costs_disk();
	case SRB_STATUS_TIMEOUT:
		return inject_kind() == INJECT_REMOVE || port_is_dump(request->port);
	case SRB_STATUS_INVALID_REQUEST:
		return inject_kind() == INJECT_CALL;
	case SRB_STATUS_ERROR:
		break;
	default:
		return false;
	}
	switch (request->function) {
	case SRB_FUNCTION_EXECUTE_SCSI:
		break;
	case SRB_FUNCTION_RESET_LOGICAL_UNIT:
	case SRB_FUNCTION_RESET_DEVICE:
	case SRB_FUNCTION_RESET_BUS:
		return strain_costs_disk();
	default:
		return true;
	}
	if (request->scsi_status != SCSISTAT_CHECK_CONDITION || !has_sense(request))
		return false;
	switch (key) {
	case SCSI_SENSE_NOT_READY:
	case SCSI_SENSE_MEDIUM_ERROR:
	case SCSI_SENSE_HARDWARE_ERROR:
	case SCSI_SENSE_UNIT_ATTENTION:
	case SCSI_SENSE_ABORTED_COMMAND:
	case SCSI_SENSE_MISCOMPARE: /* with what a write that failed has left */
		return true;
	case SCSI_SENSE_ILLEGAL_REQUEST:
		return inject_kind() == INJECT_REQUEST_UNSUPPORTED || inject_kind() == INJECT_READ;
	case SCSI_SENSE_DATA_PROTECT:
		return inject_kind() == INJECT_READ;
	}
	return false;
}

/* An accident that the scenario has arranged did not happen to the request, since another one came before. */
static bool was_spared(const struct expect *expect, const struct port_request *request, bool whole)
{
	static const struct alternative good = { .has_srb = true, .srb_status = SRB_STATUS_SUCCESS };

	for (unsigned i = 0; i < expect->count; i++) {
		if (!expect->alternative[i].has_srb || expect->alternative[i].srb_status == SRB_STATUS_INVALID_REQUEST)
			return false;
	}
	return matches(&good, request, whole);
}

void expect_describe(const struct port_request *request, char *buf, size_t size)
{
	const char *name = srb_name(request->srb_status);
	int used;

	if (request->srb_status == SRB_STATUS_SUCCESS && !request->scsi_status)
		used = snprintf(buf, size, "good");
	else if (request->srb_status == SRB_STATUS_ERROR && has_sense(request))
		used = snprintf(buf, size, "sense %02x/%02x/%02x", request->sense[2] & 15, request->sense[12],
				request->sense[13]);
	else if (name)
		used = snprintf(buf, size, "srb %s, SCSI status %02x", name, request->scsi_status);
	else
		used = snprintf(buf, size, "SRB status 0x%02x", request->srb_status);
	if (request->length && used > 0 && (size_t)used < size)
		snprintf(buf + used, size - (size_t)used, ", %u bytes", request->transferred);
}

static void describe_alternative(const struct alternative *alternative, bool whole, uint32_t length, char *buf,
				 size_t size)
{
	int used;

	if (alternative->has_sense)
		used = snprintf(buf, size, "sense %02x/%02x/%02x", alternative->key, alternative->asc,
				alternative->ascq);
	else if (alternative->srb_status == SRB_STATUS_SUCCESS)
		used = snprintf(buf, size, "good");
	else
		used = snprintf(buf, size, "srb %s", srb_name(alternative->srb_status));
	if (used < 0 || (size_t)used >= size)
		return;
	if (alternative->has_transferred)
		snprintf(buf + used, size - (size_t)used, ", %u bytes", alternative->transferred);
	else if (whole && alternative->srb_status == SRB_STATUS_SUCCESS && length)
		snprintf(buf + used, size - (size_t)used, ", %u bytes", length);
}

int expect_judge(const struct expect *expect, const struct port_request *request, bool whole, struct error *err)
{
	static const struct expect good = { .alternative = { { .has_srb = true, .srb_status = SRB_STATUS_SUCCESS } },
					    .count = 1 };
	char wanted[200] = "", got[80];
	size_t used = 0;

	if (!expect->count)
		expect = &good;
	for (unsigned i = 0; i < expect->count; i++) {
		if (matches(&expect->alternative[i], request, whole))
			return 0;
	}
	if (inject_has_struck() && (is_honest(request) || was_spared(expect, request, whole)))
		return 0;
	for (unsigned i = 0; i < expect->count; i++) {
		if (i)
			used += (size_t)snprintf(wanted + used, sizeof(wanted) - used, " or ");
		describe_alternative(&expect->alternative[i], whole, request->length, wanted + used,
				     sizeof(wanted) - used);
		used += strlen(wanted + used);
	}
	expect_describe(request, got, sizeof(got));
	return error_set(err, "expected %s, got %s", wanted, got);
}
