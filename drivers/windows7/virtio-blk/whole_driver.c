/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver as one translation unit, for the kit that sources is for and for no other build.
 *
 * BUILD compiles only files beside sources or in the directory above, which is where none of these are.
 * [ddi SOURCES macro] So no two of them may define the same static name or macro.
 */
#include "src/adapter.c"
#include "src/aero_virtio_blk.c"
#include "src/cdb.c"
#include "src/completion.c"
#include "src/dump.c"
#include "src/finish.c"
#include "src/inflight.c"
#include "src/ioctl.c"
#include "src/lifecycle.c"
#include "src/limits.c"
#include "src/medium.c"
#include "src/mode.c"
#include "src/request.c"
#include "src/scsi.c"
#include "src/steps.c"
#include "src/unmap.c"
#include "src/vpd.c"
#include "virtio/common/src/virtio_pci_caps.c"
#include "virtio/common/src/virtio_pci_modern_miniport.c"
#include "virtio/common/src/virtqueue_split_legacy.c"
