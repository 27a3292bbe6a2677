/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a scenario asks of the machine, and scenario files. */
#include "front/hosted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20) /* a longer file is refused by the parser */

/* What the device has not, in a scenario's words. */
static int told(int failed)
{
	return failed == MACHINE_CANNOT ? SCENARIO_CANNOT : failed;
}

static int host_option(void *opaque, const char *name, const char *value, struct error *err)
{
	struct hosted *hosted = opaque;
	int known = machine_option(&hosted->options, name, value, err);

	if (known == MACHINE_CANNOT)
		return SCENARIO_CANNOT;
	return known > 0 ? error_set(err, "there is no option '%s'", name) : known;
}

static bool host_is(void *opaque, const char *word)
{
	const struct hosted *hosted = opaque;

	if (word[0] == 'x')
		return !strcmp(word, sizeof(void *) == 8 ? "x64" : "x86");
	return !strcmp(word, hosted->checked ? "chk" : "fre");
}

static uint64_t host_seed(void *opaque)
{
	return ((struct hosted *)opaque)->options.cpus.seed;
}

static int host_start(void *opaque, const char *disk, struct error *err)
{
	struct hosted *hosted = opaque;

	if (hosted->started) {
		machine_disable(&hosted->machine);
		return machine_enable(&hosted->machine, &hosted->options, err);
	}
	hosted->started = true;
	hosted->options.disk = disk;
	return told(machine_start(&hosted->machine, &hosted->options, err));
}

static int host_dump(void *opaque, const char *disk, bool crash, struct error *err)
{
	struct hosted *hosted = opaque;
	int failed;

	if (!hosted->started) {
		hosted->started = true;
		hosted->options.disk = disk;
		failed = machine_power_on(&hosted->machine, &hosted->options, err);
		if (failed)
			return told(failed);
	}
	hosted->dumping = !machine_dump(&hosted->machine, &hosted->options, crash, err);
	return hosted->dumping ? 0 : -1;
}

static int host_dump_end(void *opaque, struct error *err)
{
	struct hosted *hosted = opaque;

	hosted->dumping = false;
	return machine_dump_end(&hosted->machine, err);
}

static struct port *host_dump_port(void *opaque)
{
	struct hosted *hosted = opaque;

	return hosted->dumping ? hosted->machine.dump : NULL;
}

static struct port *host_port(void *opaque)
{
	return ((struct hosted *)opaque)->machine.port;
}

static struct disk *host_attached(void *opaque)
{
	return ((struct hosted *)opaque)->machine.disk;
}

static void host_stop(void *opaque)
{
	machine_disable(&((struct hosted *)opaque)->machine);
}

static void host_end(void *opaque)
{
	struct hosted *hosted = opaque;

	machine_stop(&hosted->machine);
	machine_free(&hosted->machine);
}

static void host_quit(void *opaque)
{
	machine_abandon(&((struct hosted *)opaque)->machine);
}

static int host_fault(void *opaque, const char *spec, struct error *err)
{
	return told(machine_fault(&((struct hosted *)opaque)->machine, spec, err));
}

static int host_resize(void *opaque, uint64_t bytes, struct error *err)
{
	return told(machine_resize(&((struct hosted *)opaque)->machine, bytes, err));
}

static bool host_forgets(void *opaque)
{
	return device_forgets(&((struct hosted *)opaque)->options.device);
}

static int host_counter(void *opaque, const char *name, uint64_t *value, struct error *err)
{
	return told(machine_counter(&((struct hosted *)opaque)->machine, name, value, err));
}

static bool host_every_fault(void *opaque)
{
	const struct device *device = ((struct hosted *)opaque)->machine.device;

	return device->ops->every_fault && device->ops->resize;
}

void hosted_init(struct hosted *hosted, const struct machine_options *options, bool checked)
{
	memset(hosted, 0, sizeof(*hosted));
	hosted->options = *options;
	hosted->checked = checked;
	hosted->host = (struct scenario_host){
		.opaque = hosted,
		.option = host_option,
		.is = host_is,
		.seed = host_seed,
		.disk = options->disk,
		.own_disk = options->device.kind->own_disk,
		.start = host_start,
		.port = host_port,
		.attached = host_attached,
		.dump = host_dump,
		.dump_end = host_dump_end,
		.dump_port = host_dump_port,
		.stop = host_stop,
		.end = host_end,
		.quit = host_quit,
		.fault = host_fault,
		.resize = host_resize,
		.forgets = host_forgets,
		.every_fault = host_every_fault,
		.counter = host_counter,
	};
}

struct scenario *hosted_load(const struct machine_options *options, const char *path, struct error *err)
{
	FILE *file = fopen(path, "rb");
	char *text = malloc(FILE_MAX + 1);
	struct scenario *scenario = NULL;
	struct hosted hosted;
	size_t size;

	if (!file || !text) {
		error_set(err, "%s: %s", path, strerror(errno));
	} else {
		size = fread(text, 1, FILE_MAX + 1, file);
		if (ferror(file))
			error_set(err, "%s: %s", path, strerror(errno));
		else
			scenario = scenario_parse(path, text, size, err);
	}
	if (file)
		fclose(file);
	free(text);
	hosted_init(&hosted, options, false);
	if (!scenario || !scenario_check(scenario, &hosted.host, err))
		return scenario;
	scenario_free(scenario);
	return NULL;
}
