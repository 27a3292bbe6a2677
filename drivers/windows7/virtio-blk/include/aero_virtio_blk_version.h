/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The version, for the resource compiler, the driver and the build. Stated nowhere else. */
#ifndef AERO_VIRTIO_BLK_VERSION_H
#define AERO_VIRTIO_BLK_VERSION_H

#define AERO_VIRTIO_BLK_VERSION_MAJOR 0
#define AERO_VIRTIO_BLK_VERSION_MINOR 1
#define AERO_VIRTIO_BLK_VERSION_PATCH 0

#endif
