/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The class driver's side of a disk. */
#include "disk/disk.h"

#include <errno.h>
#include <pthread.h>
#include <storport.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "disk/bytes.h"

#define TIMEOUT_S 60u /* Services\Disk\TimeOutValue as Windows 7 sets it up */
#define RETRIES 8u    /* classpnp's NUM_IO_RETRIES */
#define LUNS_LENGTH 16u

struct disk {
	struct port *port;
	struct disk_info info;
	unsigned next_cpu;
	bool long_commands; /* READ(16) and WRITE(16): the capacity needs them */
};

struct part {
	struct port_request request;
	struct transfer *transfer;
	unsigned attempts;
};

/* One transfer, cut into parts that are outstanding together. */
struct transfer {
	struct gate gate;
	struct disk *disk;
	unsigned left; /* parts not yet back, and one for the submitter */
	int result;
	struct error *err;
	pthread_mutex_t lock;
	struct part parts[];
};

static unsigned disk_cpu(struct disk *disk)
{
	return __atomic_fetch_add(&disk->next_cpu, 1, __ATOMIC_RELAXED) % cpu_count();
}

static const char *const sense_keys[16] = {
	"NO SENSE",       "RECOVERED ERROR", "NOT READY",   "MEDIUM ERROR",    "HARDWARE ERROR", "ILLEGAL REQUEST",
	"UNIT ATTENTION", "DATA PROTECT",    "BLANK CHECK", "VENDOR SPECIFIC", "COPY ABORTED",   "ABORTED COMMAND",
	"EQUAL",          "VOLUME OVERFLOW", "MISCOMPARE",  "COMPLETED",
};

void disk_describe(const struct port_request *request, char *buf, size_t size)
{
	if (request->sense_length >= 14)
		snprintf(buf, size, "%s (%02x/%02x/%02x)", sense_keys[request->sense[2] & 15], request->sense[2] & 15,
			 request->sense[12], request->sense[13]);
	else
		snprintf(buf, size, "SRB status 0x%02x, SCSI status 0x%02x", request->srb_status, request->scsi_status);
}

bool disk_worth_retrying(const struct port_request *request)
{
	uint8_t key = request->sense_length >= 3 ? request->sense[2] & 15 : 0;

	switch (request->srb_status) {
	case SRB_STATUS_BUS_RESET:
	case SRB_STATUS_ABORTED:
	case SRB_STATUS_TIMEOUT:
	case SRB_STATUS_COMMAND_TIMEOUT:
		return true;
	case SRB_STATUS_ERROR:
		return !request->sense_length || key == 6 || key == 0xb || key == 4 || key == 2;
	}
	return false;
}

/* ---- single commands ---- */

bool disk_command(struct disk *disk, const uint8_t *cdb, uint8_t cdb_length, enum request_direction direction,
		  void *data, uint32_t length, struct port_request *request)
{
	memset(request, 0, sizeof(*request));
	request->function = SRB_FUNCTION_EXECUTE_SCSI;
	memcpy(request->cdb, cdb, cdb_length);
	request->cdb_length = cdb_length;
	request->direction = direction;
	request->data = data;
	request->length = length;
	request->timeout = TIMEOUT_S;
	request->cpu = disk_cpu(disk);
	return port_execute(disk->port, request);
}

/* A command that must work, with retries; `what` names it in the sentence of a failure. */
static int command(struct disk *disk, const char *what, const uint8_t *cdb, uint8_t cdb_length, void *data,
		   uint32_t length, uint32_t *got, struct error *err)
{
	enum request_direction direction = length ? DIRECTION_IN : DIRECTION_NONE;
	struct port_request request;
	char text[80];

	for (unsigned attempt = 0; attempt <= RETRIES; attempt++) {
		if (!disk_command(disk, cdb, cdb_length, direction, data, length, &request))
			return error_set(err, "%s did not end: %s", what, cpu_death());
		if (request.srb_status == SRB_STATUS_SUCCESS) {
			if (got)
				*got = request.transferred;
			return 0;
		}
		if (!disk_worth_retrying(&request))
			break;
	}
	disk_describe(&request, text, sizeof(text));
	return error_set(err, "%s failed: %s", what, text);
}

/* ---- enumeration ---- */

static void copy_text(char *to, const uint8_t *from, size_t length)
{
	memcpy(to, from, length);
	while (length && (to[length - 1] == ' ' || !to[length - 1]))
		length--;
	to[length] = '\0';
}

static int identify(struct disk *disk, struct error *err)
{
	static const uint8_t report_luns[12] = { SCSIOP_REPORT_LUNS, [9] = LUNS_LENGTH };
	static const uint8_t inquiry[6] = { SCSIOP_INQUIRY, [4] = sizeof(disk->info.inquiry) };
	static const uint8_t pages[6] = { SCSIOP_INQUIRY, 1, 0, [4] = 255 };
	uint8_t luns[LUNS_LENGTH], vpd[255];
	struct disk_info *info = &disk->info;
	struct port_request ignored;

	if (command(disk, "REPORT LUNS", report_luns, 12, luns, sizeof(luns), NULL, err) ||
	    command(disk, "INQUIRY", inquiry, 6, info->inquiry, sizeof(info->inquiry), NULL, err))
		return -1;
	if (info->inquiry[0])
		return error_set(err, "the logical unit is not a connected disk (INQUIRY byte 0 is 0x%02x)",
				 info->inquiry[0]);
	/* StorPort asks for the list and for the pages 80 and 83 that it names; it lives without. */
	if (disk_command(disk, pages, 6, DIRECTION_IN, vpd, sizeof(vpd), &ignored) &&
	    ignored.srb_status == SRB_STATUS_SUCCESS) {
		uint32_t listed = ignored.transferred;

		for (uint8_t i = 4; i < 4 + vpd[3] && i < listed; i++) {
			uint8_t page[6] = { SCSIOP_INQUIRY, 1, vpd[i], 0, 255, 0 }, answer[255];

			if (vpd[i] == 0x80 || vpd[i] == 0x83)
				disk_command(disk, page, 6, DIRECTION_IN, answer, sizeof(answer), &ignored);
		}
	}
	copy_text(info->vendor, info->inquiry + 8, 8);
	copy_text(info->product, info->inquiry + 16, 16);
	copy_text(info->revision, info->inquiry + 32, 4);
	return 0;
}

static int read_capacity(struct disk *disk, struct error *err)
{
	static const uint8_t short_form[10] = { SCSIOP_READ_CAPACITY };
	static const uint8_t long_form[16] = { SCSIOP_SERVICE_ACTION_IN16, SERVICE_ACTION_READ_CAPACITY16, [13] = 32 };
	struct disk_info *info = &disk->info;
	uint8_t data[32] = { 0 };
	uint32_t got = 0;

	if (command(disk, "READ CAPACITY(10)", short_form, 10, data, 8, &got, err))
		return -1;
	if (got < 8)
		return error_set(err, "READ CAPACITY(10) returned %u bytes", got);
	info->blocks = (uint64_t)get_be32(data) + 1;
	info->block_size = get_be32(data + 4);
	info->physical_block_size = info->block_size;
	disk->long_commands = info->blocks > UINT32_MAX;
	memset(data, 0, sizeof(data));
	if (command(disk, "READ CAPACITY(16)", long_form, 16, data, 32, &got, err))
		return disk->long_commands ? -1 : 0;
	if (disk->long_commands)
		info->blocks = get_be64(data) + 1;
	if (got >= 14)
		info->physical_block_size = info->block_size << (data[13] & 15);
	return 0;
}

static int read_modes(struct disk *disk, struct error *err)
{
	static const uint8_t caching[6] = { SCSIOP_MODE_SENSE, 0, 8, 0, 192, 0 };
	uint8_t data[192] = { 0 };
	uint32_t got = 0, page;

	if (command(disk, "MODE SENSE(6) of the caching page", caching, 6, data, sizeof(data), &got, err))
		return -1;
	page = 4u + data[3];
	disk->info.read_only = got > 2 && (data[2] & 0x80);
	disk->info.fua = got > 2 && (data[2] & 0x10);
	disk->info.write_cache = got > page + 2 && (data[page] & 0x3f) == 8 && (data[page + 2] & 4);
	return 0;
}

int disk_attach(struct port *port, struct disk **out, struct error *err)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	uint32_t size;

	if (!disk)
		return error_set(err, "no memory");
	disk->port = port;
	if (identify(disk, err) || read_capacity(disk, err) || read_modes(disk, err)) {
		free(disk);
		return -1;
	}
	size = disk->info.block_size;
	if (size < 512 || size > 65536 || (size & (size - 1))) {
		free(disk);
		return error_set(err, "the disk claims blocks of %u bytes", size);
	}
	*out = disk;
	return 0;
}

void disk_free(struct disk *disk)
{
	free(disk);
}

int disk_refresh(struct disk *disk, struct error *err)
{
	return read_capacity(disk, err);
}

const struct disk_info *disk_info(const struct disk *disk)
{
	return &disk->info;
}

/* ---- transfers ---- */

static void transfer_put(struct transfer *transfer)
{
	if (!__atomic_sub_fetch(&transfer->left, 1, __ATOMIC_ACQ_REL))
		gate_open(&transfer->gate);
}

static void part_done(struct port_request *request)
{
	struct part *part = container_of(request, struct part, request);
	struct transfer *transfer = part->transfer;
	char text[80];

	if (request->srb_status != SRB_STATUS_SUCCESS && part->attempts++ < RETRIES && disk_worth_retrying(request)) {
		request->cpu = cpu_self()->index;
		port_submit(transfer->disk->port, request);
		return;
	}
	if (request->srb_status != SRB_STATUS_SUCCESS || request->transferred != request->length) {
		disk_describe(request, text, sizeof(text));
		pthread_mutex_lock(&transfer->lock);
		if (!transfer->result)
			error_set(transfer->err, "opcode 0x%02x, %u bytes (%u transferred): %s", request->cdb[0],
				  request->length, request->transferred, text);
		transfer->result = EIO;
		pthread_mutex_unlock(&transfer->lock);
	}
	transfer_put(transfer);
}

static void part_build(struct disk *disk, struct part *part, enum disk_operation operation, uint64_t lba,
		       uint32_t blocks, bool fua)
{
	struct port_request *request = &part->request;
	uint8_t *cdb = request->cdb;
	bool write = operation == DISK_WRITE;

	request->function = SRB_FUNCTION_EXECUTE_SCSI;
	request->direction = write ? DIRECTION_OUT : DIRECTION_IN;
	request->timeout = TIMEOUT_S;
	request->cpu = disk_cpu(disk);
	request->done = part_done;
	cdb[1] = fua ? 8 : 0;
	if (disk->long_commands) {
		cdb[0] = write ? SCSIOP_WRITE16 : SCSIOP_READ16;
		put_be64(cdb + 2, lba);
		put_be32(cdb + 10, blocks);
		request->cdb_length = 16;
	} else {
		cdb[0] = write ? SCSIOP_WRITE : SCSIOP_READ;
		put_be32(cdb + 2, (uint32_t)lba);
		put_be16(cdb + 7, (uint16_t)blocks);
		request->cdb_length = 10;
	}
}

/* Bytes of one part: what the miniport takes, in whole blocks, within READ(10)'s count. */
static uint32_t part_bytes(const struct disk *disk)
{
	uint32_t most = port_limits(disk->port)->max_transfer, counted = 65535u * disk->info.block_size;

	if (most > counted)
		most = counted;
	return most < disk->info.block_size ? disk->info.block_size : most & ~(disk->info.block_size - 1);
}

static int transfer_wait(struct transfer *transfer)
{
	int result;

	transfer_put(transfer);
	if (!cpu_wait(&transfer->gate)) {
		/* A dead machine may still point to it: it stays. */
		error_set(transfer->err, "%s", cpu_death());
		return EIO;
	}
	result = transfer->result;
	pthread_mutex_destroy(&transfer->lock);
	free(transfer);
	return result;
}

int disk_transfer(struct disk *disk, enum disk_operation operation, void *data, uint32_t length, uint64_t offset,
		  bool fua, struct error *err)
{
	uint32_t size = disk->info.block_size, step = part_bytes(disk), count = (length + step - 1) / step;
	struct transfer *transfer;

	if (!length)
		return 0;
	if (length % size || offset % size || offset / size > disk->info.blocks ||
	    length / size > disk->info.blocks - offset / size) {
		error_set(err, "%u bytes at %llu are not whole blocks of the disk", length, (unsigned long long)offset);
		return EINVAL;
	}
	transfer = calloc(1, sizeof(*transfer) + count * sizeof(transfer->parts[0]));
	if (!transfer) {
		error_set(err, "no memory");
		return ENOMEM;
	}
	transfer->disk = disk;
	transfer->left = count + 1;
	transfer->err = err;
	pthread_mutex_init(&transfer->lock, NULL);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t done = i * step, now = length - done < step ? length - done : step;
		struct part *part = &transfer->parts[i];

		part_build(disk, part, operation, (offset + done) / size, now / size, fua);
		part->transfer = transfer;
		part->request.data = (uint8_t *)data + done;
		part->request.length = now;
		port_submit(disk->port, &part->request);
	}
	return transfer_wait(transfer);
}

int disk_flush(struct disk *disk, struct error *err)
{
	static const uint8_t synchronize[10] = { SCSIOP_SYNCHRONIZE_CACHE };

	if (!disk->info.write_cache)
		return 0;
	return command(disk, "SYNCHRONIZE CACHE(10)", synchronize, 10, NULL, 0, NULL, err) ? EIO : 0;
}
