/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What is expected of a request, held against how requests come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <scsi.h>
#include <srb.h>

#include "scenario/internal.h"

static struct port_request good(uint32_t length, uint32_t transferred)
{
	return (struct port_request){ .srb_status = SRB_STATUS_SUCCESS, .length = length, .transferred = transferred };
}

static struct port_request checked(uint8_t key, uint8_t asc, uint8_t ascq)
{
	return (struct port_request){ .srb_status = SRB_STATUS_ERROR,
				      .scsi_status = SCSISTAT_CHECK_CONDITION,
				      .length = 512,
				      .sense = { 0x70, 0, key, [12] = asc, [13] = ascq },
				      .sense_length = 18 };
}

/* "" if the request is as the text expects it, else the sentence. */
static const char *verdict(const char *expected, struct port_request request, bool whole)
{
	static struct error err;
	char text[200];
	struct scenario *scenario;

	snprintf(text, sizeof(text), "# c\nflush%s%s", *expected ? " -> " : "", expected);
	scenario = scenario_parse("x", text, strlen(text), &err);
	if (!scenario)
		fail_msg("%s", err.text);
	if (!expect_judge(&scenario->steps[0].expect, &request, whole, &err))
		err.text[0] = '\0';
	scenario_free(scenario);
	return err.text;
}

static void test_good_is_success_with_a_good_scsi_status(void **state)
{
	struct port_request busy = good(512, 512);

	(void)state;
	busy.scsi_status = SCSISTAT_BUSY;
	assert_string_equal(verdict("good", good(512, 512), true), "");
	assert_string_equal(verdict("", good(512, 512), true), "");
	assert_string_equal(verdict("good", busy, true),
			    "expected good, 512 bytes, got srb SUCCESS, SCSI status 08, 512 bytes");
	assert_string_equal(verdict("", checked(5, 0x24, 0), true),
			    "expected good, 512 bytes, got sense 05/24/00, 0 bytes");
}

static void test_good_is_all_of_a_transfer(void **state)
{
	(void)state;
	assert_string_equal(verdict("good", good(512, 511), false), "");
	assert_string_equal(verdict("good", good(512, 511), true), "expected good, 512 bytes, got good, 511 bytes");
	assert_string_equal(verdict("good 511", good(512, 511), true), "");
	assert_string_equal(verdict("good 36", good(512, 8), false), "expected good, 36 bytes, got good, 8 bytes");
}

static void test_sense_is_compared_in_all_three_parts(void **state)
{
	struct port_request request = checked(5, 0x24, 1);

	(void)state;
	assert_string_equal(verdict("sense 05/24/01", request, true), "");
	assert_string_not_equal(verdict("sense 04/24/01", request, true), "");
	assert_string_not_equal(verdict("sense 05/25/01", request, true), "");
	assert_string_not_equal(verdict("sense 05/24/00", request, true), "");
	assert_string_not_equal(verdict("sense 05/24/01 transferred 8", request, true), "");
	assert_string_equal(verdict("sense 05/24/01 transferred 0", request, true), "");
}

static void test_sense_needs_check_condition_and_enough_bytes(void **state)
{
	struct port_request request = checked(5, 0x24, 0);

	(void)state;
	request.sense_length = 13;
	assert_string_not_equal(verdict("sense 05/24/00", request, true), "");
	request = checked(5, 0x24, 0);
	request.scsi_status = SCSISTAT_GOOD;
	assert_string_not_equal(verdict("sense 05/24/00", request, true), "");
	request = checked(5, 0x24, 0);
	request.srb_status = SRB_STATUS_ABORTED;
	assert_string_not_equal(verdict("sense 05/24/00", request, true), "");
	request = checked(5, 0x24, 0);
	request.sense[0] = 0x72;
	assert_string_not_equal(verdict("sense 05/24/00", request, true), "");
}

static void test_an_srb_status_goes_by_its_name(void **state)
{
	struct port_request reset = { .srb_status = SRB_STATUS_BUS_RESET, .length = 512 };

	(void)state;
	assert_string_equal(verdict("srb BUS_RESET", reset, true), "");
	assert_string_equal(verdict("srb BUS_RESET transferred 0", reset, true), "");
	assert_string_equal(verdict("srb TIMEOUT", reset, true),
			    "expected srb TIMEOUT, got srb BUS_RESET, SCSI status 00, 0 bytes");
	reset.srb_status = 0x3f;
	assert_string_equal(verdict("srb TIMEOUT", reset, true), "expected srb TIMEOUT, got SRB status 0x3f, 0 bytes");
}

static void test_one_of_several_is_enough(void **state)
{
	struct port_request reset = { .srb_status = SRB_STATUS_BUS_RESET };

	(void)state;
	assert_string_equal(verdict("good or sense 05/24/00 or srb BUS_RESET", reset, true), "");
	assert_string_equal(verdict("good or sense 05/24/00 or srb ABORTED", reset, true),
			    "expected good or sense 05/24/00 or srb ABORTED, got srb BUS_RESET, SCSI status 00");
	assert_string_equal(verdict("any", reset, true), "");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_is_success_with_a_good_scsi_status),
		cmocka_unit_test(test_good_is_all_of_a_transfer),
		cmocka_unit_test(test_sense_is_compared_in_all_three_parts),
		cmocka_unit_test(test_sense_needs_check_condition_and_enough_bytes),
		cmocka_unit_test(test_an_srb_status_goes_by_its_name),
		cmocka_unit_test(test_one_of_several_is_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
