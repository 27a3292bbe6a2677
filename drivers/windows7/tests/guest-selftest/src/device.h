/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which disks of this computer are virtio-blk's, and where on them the selftest may write.
 *
 * A disk is virtio-blk's if the device that it hangs on is a PCI function with the contract's ids: its own ids say only
 * what INQUIRY said.
 */
#ifndef SELFTEST_DEVICE_H
#define SELFTEST_DEVICE_H

#include <windows.h>

#define DEVICE_PATH_CHARS 512
#define DEVICE_DISKS_MAX 16

typedef struct _VIRTIO_DISK {
    DWORD Number; /* of \\.\PhysicalDriveN */
    WCHAR Path[DEVICE_PATH_CHARS];
} VIRTIO_DISK;

typedef struct _VIRTIO_DISKS {
    DWORD Functions; /* PCI functions with the contract's ids, with a driver or without */
    DWORD Count;
    VIRTIO_DISK Disk[DEVICE_DISKS_MAX];
} VIRTIO_DISKS;

typedef struct _TARGET {
    const VIRTIO_DISK *Disk;
    WCHAR Directory[DEVICE_PATH_CHARS]; /* ends with a backslash; empty: no file system, the disk itself */
} TARGET;

void FindVirtioDisks(VIRTIO_DISKS *Disks);

/*
 * Where to write: the directory Root, or without one (empty) the first virtio-blk volume with a drive letter that has
 * a file system with room enough, or else the first virtio-blk disk. NULL, or a reason in one word and a Windows error
 * code.
 */
const char *ChooseTarget(const VIRTIO_DISKS *Disks, const WCHAR *Root, ULONGLONG RoomBytes, TARGET *Target,
                         DWORD *Error);

#endif
