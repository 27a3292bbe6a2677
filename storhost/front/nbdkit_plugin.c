/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * nbdkit plugin: the hosted driver's disk as a network block device.
 *
 *   nbdkit nbdkit-storhost-plugin.so driver=FILE.sys disk=IMAGE [device=… interrupts=… cpus=… seed=… threads=… report=FILE]
 *
 * Requests of all connections reach the miniport in parallel, as far as its queue goes. `report` names a file that
 * gets counters and findings as JSON when the server ends.
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <stdlib.h>
#include <string.h>

#include "front/machine.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct machine_options options;
static struct machine machine;
static const char *report_path;

static void plugin_load(void)
{
	machine_defaults(&options);
	options.cpus.free_running = true;
}

static int plugin_config(const char *key, const char *value)
{
	struct error err;
	int known;

	if (!strcmp(key, "report") || !strcmp(key, "driver") || !strcmp(key, "disk")) {
		/* nbdkit changes its directory before it serves. */
		char *path = nbdkit_absolute_path(value);

		if (!path)
			return -1;
		if (!strcmp(key, "report")) {
			report_path = path;
			return 0;
		}
		return machine_option(&options, key, path, &err);
	}
	known = machine_option(&options, key, value, &err);
	if (known < 0 || known == MACHINE_CANNOT)
		nbdkit_error("%s", err.text);
	else if (known)
		nbdkit_error("there is no parameter %s", key);
	return known ? -1 : 0;
}

static int plugin_get_ready(void)
{
	struct error err;

	if (machine_check(&options, &err)) {
		nbdkit_error("%s", err.text);
		return -1;
	}
	return 0;
}

static int plugin_after_fork(void)
{
	struct error err;

	if (machine_start(&machine, &options, &err)) {
		nbdkit_error("%s", err.text);
		return -1;
	}
	return 0;
}

static void plugin_cleanup(void)
{
	struct error err;

	if (!machine.device)
		return;
	machine_stop(&machine);
	if (report_path && machine_report_file(&machine, report_path, &err))
		nbdkit_error("%s", err.text);
	machine_summary(&machine, stderr);
	machine_free(&machine);
}

static void plugin_dump(void)
{
	machine_help(stdout);
	virtio_blk_help(stdout);
}

static void *plugin_open(int readonly)
{
	(void)readonly;
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t plugin_get_size(void *handle)
{
	const struct disk_info *info = disk_info(machine.disk);

	(void)handle;
	return (int64_t)(info->blocks * info->block_size);
}

static int plugin_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	const struct disk_info *info = disk_info(machine.disk);

	(void)handle;
	*minimum = info->block_size;
	*preferred = info->physical_block_size > 4096 ? info->physical_block_size : 4096;
	*maximum = UINT32_MAX;
	return 0;
}

static int plugin_can_write(void *handle)
{
	(void)handle;
	return !disk_info(machine.disk)->read_only;
}

static int plugin_can_multi_conn(void *handle)
{
	(void)handle;
	return 1;
}

static int plugin_can_fua(void *handle)
{
	(void)handle;
	return NBDKIT_FUA_NATIVE;
}

static int failed(int result, const struct error *err)
{
	if (!result)
		return 0;
	nbdkit_error("%s", err->text);
	nbdkit_set_error(result);
	return -1;
}

static int plugin_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct error err;

	(void)handle;
	(void)flags;
	return failed(disk_transfer(machine.disk, DISK_READ, buf, count, offset, false, &err), &err);
}

static int plugin_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	bool fua = flags & NBDKIT_FLAG_FUA;
	struct error err;

	(void)handle;
	return failed(disk_transfer(machine.disk, DISK_WRITE, (void *)(uintptr_t)buf, count, offset, fua, &err), &err);
}

static int plugin_flush(void *handle, uint32_t flags)
{
	struct error err;

	(void)handle;
	(void)flags;
	return failed(disk_flush(machine.disk, &err), &err);
}

static struct nbdkit_plugin plugin = {
	.name = "storhost",
	.longname = "disk of a hosted Windows 7 StorPort driver",
	.description = "Runs a StorPort miniport's .sys and serves its disk.",
	.load = plugin_load,
	.config = plugin_config,
	.config_help = "driver=FILE.sys disk=IMAGE [device=SPEC] [interrupts=MODE] [cpus=N] [seed=N]\n"
		       "[threads=0|1] [parameter=TEXT] [debug=0|1] [report=FILE]",
	.dump_plugin = plugin_dump,
	.get_ready = plugin_get_ready,
	.after_fork = plugin_after_fork,
	.cleanup = plugin_cleanup,
	.open = plugin_open,
	.get_size = plugin_get_size,
	.block_size = plugin_block_size,
	.can_write = plugin_can_write,
	.can_multi_conn = plugin_can_multi_conn,
	.can_fua = plugin_can_fua,
	.pread = plugin_pread,
	.pwrite = plugin_pwrite,
	.flush = plugin_flush,
};

NBDKIT_REGISTER_PLUGIN(plugin)
