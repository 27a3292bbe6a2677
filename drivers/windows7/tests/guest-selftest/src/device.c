/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* PCI functions and disks as SetupAPI has them, and volumes. */
#include "device.h"

#include <stdlib.h>
#include <string.h>
#include <initguid.h> /* and from here on, identifiers are defined */
#include <winioctl.h>
#include <devpropdef.h>
#include <devpkey.h>
#include <setupapi.h>

#define VIRTIO_BLK_ID L"PCI\\VEN_1AF4&DEV_1042" /* [contract 1.1] */

static BOOL IsVirtioBlk(const WCHAR *Id) {
    return _wcsnicmp(Id, VIRTIO_BLK_ID, sizeof(VIRTIO_BLK_ID) / sizeof(WCHAR) - 1) == 0;
}

static DWORD CountFunctions(void) {
    HDEVINFO set = SetupDiGetClassDevsW(NULL, L"PCI", NULL, DIGCF_ALLCLASSES | DIGCF_PRESENT);
    SP_DEVINFO_DATA info;
    WCHAR id[DEVICE_PATH_CHARS];
    DWORD i, count = 0;

    if (set == INVALID_HANDLE_VALUE) {
        return 0;
    }
    info.cbSize = sizeof(info);
    for (i = 0; SetupDiEnumDeviceInfo(set, i, &info); i++) {
        if (SetupDiGetDeviceInstanceIdW(set, &info, id, DEVICE_PATH_CHARS, NULL) && IsVirtioBlk(id)) {
            count++;
        }
    }
    SetupDiDestroyDeviceInfoList(set);
    return count;
}

/* The number of the disk that a disk or a volume is on. CD-ROMs have numbers of their own, the same ones. */
static BOOL ReadDiskNumber(const WCHAR *Device, DWORD *Number, DWORD *Error) {
    HANDLE handle = CreateFileW(Device, 0, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    STORAGE_DEVICE_NUMBER number;
    DWORD returned;
    BOOL known;

    *Error = ERROR_SUCCESS;
    if (handle == INVALID_HANDLE_VALUE) {
        *Error = GetLastError();
        return FALSE;
    }
    known = DeviceIoControl(handle, IOCTL_STORAGE_GET_DEVICE_NUMBER, NULL, 0, &number, sizeof(number), &returned, NULL);
    if (!known) {
        *Error = GetLastError();
    }
    CloseHandle(handle);
    if (known && number.DeviceType != FILE_DEVICE_DISK) {
        *Error = ERROR_NOT_SUPPORTED;
        return FALSE;
    }
    if (known) {
        *Number = number.DeviceNumber;
    }
    return known;
}

/*
 * The path of the Index-th interface of a class, and the device behind it; FALSE past the last. A path that is too long
 * is empty.
 */
static BOOL ReadInterface(HDEVINFO Set, const GUID *Class, DWORD Index, WCHAR *Path, SP_DEVINFO_DATA *Device) {
    union {
        SP_DEVICE_INTERFACE_DETAIL_DATA_W Detail;
        BYTE Room[sizeof(SP_DEVICE_INTERFACE_DETAIL_DATA_W) + DEVICE_PATH_CHARS * sizeof(WCHAR)];
    } buffer;
    SP_DEVICE_INTERFACE_DATA interfaceData;

    interfaceData.cbSize = sizeof(interfaceData);
    if (!SetupDiEnumDeviceInterfaces(Set, NULL, Class, Index, &interfaceData)) {
        return FALSE;
    }
    buffer.Detail.cbSize = sizeof(buffer.Detail);
    Device->cbSize = sizeof(*Device);
    Path[0] = L'\0';
    if (SetupDiGetDeviceInterfaceDetailW(Set, &interfaceData, &buffer.Detail, sizeof(buffer), NULL, Device) &&
        wcslen(buffer.Detail.DevicePath) < DEVICE_PATH_CHARS - 1) {
        wcscpy(Path, buffer.Detail.DevicePath);
    }
    return TRUE;
}

static BOOL HangsOnVirtioBlk(HDEVINFO Set, SP_DEVINFO_DATA *Device) {
    WCHAR parent[DEVICE_PATH_CHARS];
    DEVPROPTYPE type;

    return SetupDiGetDevicePropertyW(Set, Device, &DEVPKEY_Device_Parent, &type, (PBYTE)parent, sizeof(parent), NULL,
                                     0) &&
           type == DEVPROP_TYPE_STRING && IsVirtioBlk(parent);
}

void FindVirtioDisks(VIRTIO_DISKS *Disks) {
    HDEVINFO set;
    DWORD i;

    memset(Disks, 0, sizeof(*Disks));
    Disks->Functions = CountFunctions();
    set = SetupDiGetClassDevsW(&GUID_DEVINTERFACE_DISK, NULL, NULL, DIGCF_PRESENT | DIGCF_DEVICEINTERFACE);
    if (set == INVALID_HANDLE_VALUE) {
        return;
    }
    for (i = 0; Disks->Count < DEVICE_DISKS_MAX; i++) {
        VIRTIO_DISK *disk = &Disks->Disk[Disks->Count];
        SP_DEVINFO_DATA device;
        DWORD error;

        if (!ReadInterface(set, &GUID_DEVINTERFACE_DISK, i, disk->Path, &device)) {
            break;
        }
        if (HangsOnVirtioBlk(set, &device) && ReadDiskNumber(disk->Path, &disk->Number, &error)) {
            Disks->Count++;
        }
    }
    SetupDiDestroyDeviceInfoList(set);
}

static const VIRTIO_DISK *DiskOfVolume(const VIRTIO_DISKS *Disks, const WCHAR *Volume, DWORD *Error) {
    DWORD i, number;

    if (ReadDiskNumber(Volume, &number, Error)) {
        for (i = 0; i < Disks->Count; i++) {
            if (Disks->Disk[i].Number == number) {
                return &Disks->Disk[i];
            }
        }
    }
    return NULL;
}

/*
 * The device of the volume that a directory is in. \\?\NAME\… names it itself; anything else is found by its mount
 * point.
 */
static BOOL ReadVolumeOfDirectory(const WCHAR *Directory, WCHAR *Volume) {
    WCHAR mountPoint[DEVICE_PATH_CHARS];
    size_t length;

    if (wcsncmp(Directory, L"\\\\?\\", 4) == 0 && Directory[4] != L'\0' && Directory[5] != L':') {
        length = wcscspn(Directory + 4, L"\\") + 4;
        memcpy(Volume, Directory, length * sizeof(WCHAR));
        Volume[length] = L'\0';
        return TRUE;
    }
    if (!GetVolumePathNameW(Directory, mountPoint, DEVICE_PATH_CHARS)) {
        return FALSE;
    }
    if (mountPoint[0] != L'\0' && wcscmp(mountPoint + 1, L":\\") == 0) {
        wcscpy(Volume, L"\\\\.\\");
        wcscat(Volume, mountPoint);
    } else if (!GetVolumeNameForVolumeMountPointW(mountPoint, Volume, DEVICE_PATH_CHARS)) {
        return FALSE;
    }
    length = wcslen(Volume);
    if (length != 0 && Volume[length - 1] == L'\\') {
        Volume[length - 1] = L'\0'; /* with it, it would be the root directory and no device */
    }
    return TRUE;
}

static const char *ChooseRoot(const VIRTIO_DISKS *Disks, const WCHAR *Root, TARGET *Target, DWORD *Error) {
    WCHAR volume[DEVICE_PATH_CHARS];
    size_t length = wcslen(Root);

    if (length > MAX_PATH) {
        *Error = ERROR_FILENAME_EXCED_RANGE;
        return "blk_root_too_long";
    }
    wcscpy(Target->Directory, Root);
    if (Root[length - 1] != L'\\' && Root[length - 1] != L'/') {
        wcscat(Target->Directory, L"\\");
    }
    if (!ReadVolumeOfDirectory(Target->Directory, volume)) {
        *Error = GetLastError();
        return "blk_root_not_found";
    }
    Target->Disk = DiskOfVolume(Disks, volume, Error);
    return Target->Disk != NULL ? NULL : "blk_root_not_virtio";
}

/* Volumes without a drive letter are Windows' own, and full. */
static BOOL ChooseVolume(const VIRTIO_DISKS *Disks, ULONGLONG RoomBytes, TARGET *Target) {
    DWORD drives = GetLogicalDrives();
    DWORD error;
    WCHAR letter;

    for (letter = L'A'; letter <= L'Z'; letter++, drives >>= 1) {
        WCHAR volume[] = L"\\\\.\\?:";
        WCHAR root[] = L"?:\\";
        ULARGE_INTEGER room;

        volume[4] = root[0] = letter;
        if ((drives & 1) == 0) {
            continue;
        }
        Target->Disk = DiskOfVolume(Disks, volume, &error);
        if (Target->Disk != NULL && GetDiskFreeSpaceExW(root, &room, NULL, NULL) && room.QuadPart >= RoomBytes) {
            wcscpy(Target->Directory, root);
            return TRUE;
        }
    }
    return FALSE;
}

const char *ChooseTarget(const VIRTIO_DISKS *Disks, const WCHAR *Root, ULONGLONG RoomBytes, TARGET *Target,
                         DWORD *Error) {
    memset(Target, 0, sizeof(*Target));
    *Error = ERROR_SUCCESS;
    if (Disks->Count == 0) {
        *Error = ERROR_FILE_NOT_FOUND;
        return Disks->Functions == 0 ? "device_not_found" : "disk_not_found";
    }
    if (Root[0] != L'\0') {
        return ChooseRoot(Disks, Root, Target, Error);
    }
    if (!ChooseVolume(Disks, RoomBytes, Target)) {
        Target->Disk = &Disks->Disk[0];
    }
    return NULL;
}
