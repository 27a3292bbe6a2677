/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Fuzz target: the text that says what a device is to be, and the device if it can be. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/virtio_blk.h"
#include "target.h"

#define DISK_BYTES 65536

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static int disk = -1;
	struct virtio_blk_options options, before;
	struct device *device;
	struct error err;
	char spec[1024], path[32];

	if (disk < 0 && ((disk = memfd_create("disk", MFD_CLOEXEC)) < 0 || ftruncate(disk, DISK_BYTES)))
		abort();
	size = size < sizeof(spec) - 1 ? size : sizeof(spec) - 1;
	memcpy(spec, bytes, size);
	spec[size] = '\0';
	memset(&options, 0, sizeof(options));
	virtio_blk_defaults(&options);
	before = options;
	if (virtio_blk_parse(&options, spec, &err)) {
		if (memcmp(&options, &before, sizeof(options)))
			abort(); /* what is not understood changes nothing */
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
	device = virtio_blk_create(&options, path, &err);
	if (device)
		device->ops->destroy(device);
	return 0;
}
