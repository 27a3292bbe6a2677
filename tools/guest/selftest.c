/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The selftest's part in the small guest, where there is no Windows: the same tests on the hosted driver's disk, told by
 * the same lines (docs/windows7-virtio-driver-contract.md, "Selftest").
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ntddscsi.h>
#include <srb.h>

#include "aero_virtio_blk_ioctl.h"
#include "front/machine.h"
#include "nt/rng.h"

#define MARKER "AERO_VIRTIO_SELFTEST|"
#define CHUNK (1u << 18)
#define RESIZE_SECONDS 60u
#define RESIZE_POLL_US 100000u
#define TIMEOUT_S 60u

struct selftest {
	struct machine_options options;
	struct machine machine;
	bool expect_msi, test_resize, test_reset, failed;
	uint64_t bytes; /* to write and read */
	AEROVBLK_QUERY_INFO info;
	uint32_t info_length; /* 0: the driver has no such interface */
};

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- the driver's own interface ---- */

/* ReturnCode; or ~0 if the request did not come back well. */
static uint32_t control(struct selftest *test, uint32_t code, AEROVBLK_QUERY_INFO *info, uint32_t *length)
{
	SRB_IO_CONTROL head = { .HeaderLength = sizeof(head), .Timeout = TIMEOUT_S, .ControlCode = code };
	uint8_t buffer[sizeof(head) + sizeof(*info)]; /* the payload follows without a gap */
	struct port_request request = {
		.function = SRB_FUNCTION_IO_CONTROL,
		.direction = DIRECTION_IN,
		.data = buffer,
		.length = sizeof(buffer),
		.timeout = TIMEOUT_S,
	};

	memcpy(head.Signature, AEROVBLK_SIGNATURE, AEROVBLK_SIGNATURE_LENGTH);
	head.Length = sizeof(*info);
	memset(buffer, 0, sizeof(buffer));
	memcpy(buffer, &head, sizeof(head));
	if (!port_execute(test->machine.port, &request) || request.srb_status != SRB_STATUS_SUCCESS)
		return ~0u;
	memcpy(&head, buffer, sizeof(head));
	memcpy(info, buffer + sizeof(head), sizeof(*info));
	*length = head.Length;
	return head.ReturnCode;
}

static void query(struct selftest *test)
{
	if (control(test, AEROVBLK_IOCTL_QUERY, &test->info, &test->info_length))
		test->info_length = 0;
}

static const char *irq_mode(const struct selftest *test)
{
	if (test->info.InterruptMode == AEROVBLK_INTERRUPT_MODE_INTX)
		return "intx";
	return test->info.MsixConfigVector == AEROVBLK_NO_VECTOR && test->info.MsixQueue0Vector == AEROVBLK_NO_VECTOR
		       ? "msi"
		       : "msix";
}

static void tell_interrupts(const struct selftest *test)
{
	const AEROVBLK_QUERY_INFO *info = &test->info;
	bool msix = !strcmp(irq_mode(test), "msix");

	if (!test->info_length) {
		printf("virtio-blk-miniport-irq|INFO|mode=unknown|message_count=0|msix_config_vector=0xFFFF|"
		       "msix_queue0_vector=0xFFFF\n");
		return;
	}
	printf("virtio-blk-miniport-irq|INFO|mode=%s|message_count=%u|msix_config_vector=0x%04X|"
	       "msix_queue0_vector=0x%04X\n",
	       info->InterruptMode ? "msi" : "intx", info->MessageCount, info->MsixConfigVector,
	       info->MsixQueue0Vector);
	printf("virtio-blk-miniport-flags|INFO|raw=0x%08X|removed=%d|surprise_removed=%d|reset_in_progress=%d|"
	       "reset_pending=%d\n",
	       info->Flags, !!(info->Flags & AEROVBLK_FLAG_REMOVED), !!(info->Flags & AEROVBLK_FLAG_SURPRISE_REMOVED),
	       !!(info->Flags & AEROVBLK_FLAG_RESET_IN_PROGRESS), !!(info->Flags & AEROVBLK_FLAG_RESET_PENDING));
	printf(MARKER "TEST|virtio-blk-msix|%s|mode=%s|messages=%u|config_vector=0x%04X|queue_vector=0x%04X\n",
	       msix ? "PASS" : "SKIP", irq_mode(test), info->MessageCount, info->MsixConfigVector,
	       info->MsixQueue0Vector);
}

static void tell_counters(const struct selftest *test)
{
	const AEROVBLK_QUERY_INFO *info = &test->info;

	if (!test->info_length)
		printf(MARKER "TEST|virtio-blk-counters|SKIP|reason=no_miniport_info\n");
	else if (test->info_length < sizeof(*info))
		printf(MARKER "TEST|virtio-blk-counters|SKIP|reason=ioctl_payload_truncated|returned_len=%u\n",
		       test->info_length);
	else
		printf(MARKER
		       "TEST|virtio-blk-counters|INFO|abort=%u|reset_device=%u|reset_bus=%u|pnp=%u|ioctl_reset=%u|"
		       "capacity_change_events=%u\n" MARKER
		       "TEST|virtio-blk-reset-recovery|INFO|reset_detected=%u|hw_reset_bus=%u\n",
		       info->AbortSrbCount, info->ResetDeviceSrbCount, info->ResetBusSrbCount, info->PnpSrbCount,
		       info->IoctlResetCount, info->CapacityChangeEvents, info->ResetDetectedCount,
		       info->HwResetBusCount);
}

/* ---- the tests ---- */

struct transfer {
	bool ok;
	uint64_t bytes;
	double began, took;
};

static void fill(uint8_t *data, uint64_t offset)
{
	struct rng rng = { offset };

	for (uint32_t at = 0; at < CHUNK; at += 8) {
		uint64_t word = rng_next(&rng);

		memcpy(data + at, &word, sizeof(word));
	}
}

/* Writes, or reads and compares. */
static struct transfer transfer(struct selftest *test, enum disk_operation operation)
{
	struct transfer result = { .ok = true, .began = seconds() };
	uint8_t *data = malloc(CHUNK), *wanted = malloc(CHUNK);
	struct error err;

	while (data && wanted && result.ok && result.bytes < test->bytes) {
		fill(operation == DISK_WRITE ? data : wanted, result.bytes);
		result.ok = !disk_transfer(test->machine.disk, operation, data, CHUNK, result.bytes, false, &err) &&
			    (operation == DISK_WRITE || !memcmp(data, wanted, CHUNK));
		result.bytes += result.ok ? CHUNK : 0;
	}
	result.took = seconds() - result.began;
	free(data);
	free(wanted);
	return result;
}

static double mib_per_second(const struct transfer *transfer)
{
	return transfer->took > 0 ? (double)transfer->bytes / (1 << 20) / transfer->took : 0;
}

static void test_disk(struct selftest *test)
{
	struct transfer written = transfer(test, DISK_WRITE), was_read;
	struct error err;
	bool flushed = !disk_flush(test->machine.disk, &err), ok;

	was_read = transfer(test, DISK_READ);
	ok = written.ok && flushed && was_read.ok && test->info_length &&
	     !(test->expect_msi && test->info.InterruptMode == AEROVBLK_INTERRUPT_MODE_INTX);
	test->failed |= !ok;
	printf(MARKER "TEST|virtio-blk|%s|irq_mode=%s|irq_message_count=%u|msix_config_vector=0x%04X|"
		      "msix_queue_vector=0x%04X|write_ok=%d|write_bytes=%" PRIu64 "|write_mbps=%.2f|flush_ok=%d|"
		      "read_ok=%d|read_bytes=%" PRIu64 "|read_mbps=%.2f\n",
	       ok ? "PASS" : "FAIL", irq_mode(test), test->info.MessageCount, test->info.MsixConfigVector,
	       test->info.MsixQueue0Vector, written.ok, written.bytes, mib_per_second(&written), flushed, was_read.ok,
	       was_read.bytes, mib_per_second(&was_read));
}

static void test_resize(struct selftest *test)
{
	const struct disk_info *info = disk_info(test->machine.disk);
	uint64_t old = info->blocks * info->block_size, bytes = old;
	double began = seconds();
	struct error err;

	if (!test->test_resize) {
		printf(MARKER "TEST|virtio-blk-resize|SKIP|flag_not_set\n");
		return;
	}
	printf(MARKER "TEST|virtio-blk-resize|READY|disk=0|old_bytes=%" PRIu64 "\n", old);
	fflush(stdout);
	while (bytes == old && seconds() < began + RESIZE_SECONDS) {
		usleep(RESIZE_POLL_US);
		if (!disk_refresh(test->machine.disk, &err))
			bytes = info->blocks * info->block_size;
	}
	test->failed |= bytes == old;
	if (bytes == old)
		printf(MARKER "TEST|virtio-blk-resize|FAIL|reason=timeout|disk=0|old_bytes=%" PRIu64 "\n", old);
	else
		printf(MARKER "TEST|virtio-blk-resize|PASS|disk=0|old_bytes=%" PRIu64 "|new_bytes=%" PRIu64
			      "|elapsed_ms=%.0f\n",
		       old, bytes, 1000 * (seconds() - began));
}

static void test_reset(struct selftest *test)
{
	AEROVBLK_QUERY_INFO ignored;
	uint32_t length, before = test->info.IoctlResetCount, code;

	if (!test->test_reset) {
		printf(MARKER "TEST|virtio-blk-reset|SKIP|reason=flag_not_set\n");
		return;
	}
	code = control(test, AEROVBLK_IOCTL_FORCE_RESET, &ignored, &length);
	query(test);
	if (code == 0xC00000BBu) {
		printf(MARKER "TEST|virtio-blk-reset|SKIP|reason=not_supported\n");
	} else if (code || test->info.IoctlResetCount <= before) {
		test->failed = true;
		printf(MARKER "TEST|virtio-blk-reset|FAIL|reason=%s|err=%u\n", code ? "ioctl_failed" : "not_counted",
		       code);
	} else {
		printf(MARKER "TEST|virtio-blk-reset|PASS|performed=1|counter_before=%u|counter_after=%u\n", before,
		       test->info.IoctlResetCount);
	}
}

/* ---- the command line ---- */

static int take_argument(struct selftest *test, const char *name, const char *value, struct error *err)
{
	int known;

	if (!strcmp(name, "expect-blk-msi"))
		test->expect_msi = atoi(value);
	else if (!strcmp(name, "test-blk-resize"))
		test->test_resize = atoi(value);
	else if (!strcmp(name, "test-blk-reset"))
		test->test_reset = atoi(value);
	else if (!strcmp(name, "mib"))
		test->bytes = strtoull(value, NULL, 10) << 20;
	else {
		known = machine_option(&test->options, name, value, err);
		return known > 0 ? error_set(err, "there is no option --%s", name) : known;
	}
	return 0;
}

static int parse(struct selftest *test, int argc, char **argv, struct error *err)
{
	machine_defaults(&test->options);
	test->bytes = (uint64_t)8 << 20;
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--", 2))
			test->options.driver = argv[i];
		else if (i + 1 == argc)
			return error_set(err, "%s needs a value", argv[i]);
		else if (take_argument(test, argv[i] + 2, argv[i + 1], err))
			return -1;
		else
			i++;
	}
	return machine_check(&test->options, err);
}

static void run(struct selftest *test)
{
	query(test);
	tell_interrupts(test);
	test_disk(test);
	test_resize(test);
	test_reset(test);
	query(test);
	tell_counters(test);
}

int main(int argc, char **argv)
{
	static struct selftest test;
	struct error err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (parse(&test, argc, argv, &err)) {
		fprintf(stderr, "guest-selftest: %s\n", err.text);
		return 2;
	}
	printf(MARKER "START|version=1\n" MARKER "CONFIG|blk_root=(none)|expect_blk_msi=%d|test_blk_resize=%d|"
		      "test_blk_reset=%d|mib=%" PRIu64 "\n",
	       test.expect_msi, test.test_resize, test.test_reset, test.bytes >> 20);
	if (machine_start(&test.machine, &test.options, &err)) {
		fprintf(stderr, "guest-selftest: %s\n", err.text);
		printf(MARKER "TEST|virtio-blk|FAIL|reason=no_disk\n");
		test.failed = true;
	} else {
		run(&test);
	}
	machine_stop(&test.machine);
	test.failed |= verify_findings() != 0;
	printf(MARKER "RESULT|%s\n", test.failed ? "FAIL" : "PASS");
	machine_free(&test.machine);
	return test.failed;
}
