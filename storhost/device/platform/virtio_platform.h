/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the layouts in virtio_spec.h and virtio_blk_spec.h need of a device model: the types, and nothing that acts. */
#ifndef VIRTIO_PLATFORM_H
#define VIRTIO_PLATFORM_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define C_ASSERT(expression) _Static_assert(expression, #expression)

typedef uint8_t u8;
typedef uint16_t le16;
typedef uint32_t le32;
typedef uint64_t le64;

#endif
