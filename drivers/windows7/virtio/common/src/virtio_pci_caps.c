/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The only reader of capability bytes: 256 bytes of configuration space in, four regions out, for any 256 bytes.
 */
#include "virtio_pci_modern_miniport.h"

#define CONFIG_BYTES 256
#define CONFIG_STATUS 0x06
#define CONFIG_STATUS_HAS_LIST 0x10
#define CONFIG_LIST 0x34
#define CONFIG_HEADER_BYTES 0x40

/* Capabilities are 4-byte aligned, so a longer walk has met one of them twice. */
#define CAPS_LIMIT ((CONFIG_BYTES - CONFIG_HEADER_BYTES) / 4)

#define CAPS_REGIONS 4
#define CAPS_BARS 6

#define CAP_FIELD(Field) offsetof(struct virtio_pci_cap, Field)

/* What a region must satisfy, in the order of cfg_type from 1 on.  [virtio 4.1.4.3 to 4.1.4.6] */
typedef struct _CAPS_RULE {
    ULONG CapLength;      /* least cap_len */
    ULONG Length;         /* least bytes of the region */
    ULONG Alignment;      /* of its offset */
    ULONG ContractOffset; /* [contract 1.4] */
    ULONG ContractLength;
} CAPS_RULE;

static const CAPS_RULE CapsRule[CAPS_REGIONS] = {
    {sizeof(struct virtio_pci_cap), sizeof(struct virtio_pci_common_cfg), 4, 0x0000, 0x0100},
    {sizeof(struct virtio_pci_notify_cap), sizeof(le16), 2, 0x1000, 0x0100},
    {sizeof(struct virtio_pci_cap), sizeof(u8), 1, 0x2000, 0x0020},
    {sizeof(struct virtio_pci_cap), sizeof(le32), 4, 0x3000, 0x0100},
};

#define CONTRACT_BAR 0
#define CONTRACT_BAR_LENGTH 0x4000
#define CONTRACT_NOTIFY_MULTIPLIER 4

C_ASSERT(VIRTIO_PCI_CAP_COMMON_CFG == 1 && VIRTIO_PCI_CAP_DEVICE_CFG == CAPS_REGIONS);

typedef struct _CAPS_FOUND {
    VIRTIO_PCI_CAPS_STATUS Status; /* Ok once Region is filled; until then what was wrong with the first candidate */
    VIRTIO_PCI_REGION Region;
    ULONG CapOffset;
} CAPS_FOUND;

static ULONG CapsRead32(const UCHAR *Bytes) {
    return Bytes[0] | (ULONG)Bytes[1] << 8 | (ULONG)Bytes[2] << 16 | (ULONG)Bytes[3] << 24;
}

static VIRTIO_PCI_CAPS_STATUS CapsExamine(const UCHAR *Config, ULONG CapOffset, const CAPS_RULE *Rule,
                                          const ULONG BarLength[CAPS_BARS], CAPS_FOUND *Found) {
    const UCHAR *cap = Config + CapOffset;
    ULONG capLength = cap[CAP_FIELD(cap_len)];
    ULONG bar, offset, length;

    if (capLength < Rule->CapLength || capLength > CONFIG_BYTES - CapOffset) {
        return VirtioPciCapsTruncated;
    }
    bar = cap[CAP_FIELD(bar)];
    offset = CapsRead32(cap + CAP_FIELD(offset));
    length = CapsRead32(cap + CAP_FIELD(length));
    if (bar >= CAPS_BARS) {
        return VirtioPciCapsMissing; /* reserved: as if it were not there */
    }
    if (length < Rule->Length) {
        return VirtioPciCapsTruncated;
    }
    if (length > BarLength[bar] || offset > BarLength[bar] - length || offset % Rule->Alignment != 0) {
        return VirtioPciCapsBarUnusable;
    }
    Found->Region.Bar = bar;
    Found->Region.Offset = offset;
    Found->Region.Length = length;
    Found->CapOffset = CapOffset;
    return VirtioPciCapsOk;
}

/* Visits the whole list, so that a broken link is found wherever it is. */
static VIRTIO_PCI_CAPS_STATUS CapsWalk(const UCHAR *Config, const ULONG BarLength[CAPS_BARS],
                                       CAPS_FOUND Found[CAPS_REGIONS]) {
    ULONG offset = Config[CONFIG_LIST];
    ULONG visited, type;
    CAPS_FOUND *found;
    VIRTIO_PCI_CAPS_STATUS status;

    if ((Config[CONFIG_STATUS] & CONFIG_STATUS_HAS_LIST) == 0 || offset == 0) {
        return VirtioPciCapsNoList;
    }
    for (visited = 0; offset != 0; visited++) {
        if (offset < CONFIG_HEADER_BYTES || offset % 4 != 0) {
            return VirtioPciCapsBadPointer;
        }
        if (visited == CAPS_LIMIT) {
            return VirtioPciCapsLoop;
        }
        type = Config[offset + CAP_FIELD(cfg_type)];
        if (Config[offset + CAP_FIELD(cap_vndr)] == VIRTIO_PCI_CAP_VNDR && type >= 1 && type <= CAPS_REGIONS) {
            found = &Found[type - 1];
            if (found->Status != VirtioPciCapsOk) {
                status = CapsExamine(Config, offset, &CapsRule[type - 1], BarLength, found);
                if (status == VirtioPciCapsOk || found->Status == VirtioPciCapsMissing) {
                    found->Status = status;
                }
            }
        }
        offset = Config[offset + CAP_FIELD(cap_next)];
    }
    return VirtioPciCapsOk;
}

static BOOLEAN CapsIsContract(const CAPS_FOUND Found[CAPS_REGIONS], ULONG NotifyMultiplier,
                              const ULONG BarLength[CAPS_BARS]) {
    ULONG i;

    for (i = 0; i < CAPS_REGIONS; i++) {
        if (Found[i].Region.Bar != CONTRACT_BAR || Found[i].Region.Offset != CapsRule[i].ContractOffset ||
            Found[i].Region.Length < CapsRule[i].ContractLength) {
            return FALSE;
        }
    }
    return BarLength[CONTRACT_BAR] >= CONTRACT_BAR_LENGTH && NotifyMultiplier == CONTRACT_NOTIFY_MULTIPLIER;
}

VIRTIO_PCI_CAPS_STATUS VirtioPciParseCaps(const UCHAR *Config, const ULONG BarLength[CAPS_BARS], BOOLEAN FixedLayout,
                                          PVIRTIO_PCI_CAPS Caps) {
    CAPS_FOUND found[CAPS_REGIONS];
    VIRTIO_PCI_CAPS_STATUS status;
    ULONG i, multiplier;

    for (i = 0; i < CAPS_REGIONS; i++) {
        found[i].Status = VirtioPciCapsMissing;
    }
    status = CapsWalk(Config, BarLength, found);
    for (i = 0; i < CAPS_REGIONS && status == VirtioPciCapsOk; i++) {
        status = found[i].Status;
    }
    if (status != VirtioPciCapsOk) {
        return status;
    }
    multiplier = CapsRead32(Config + found[VIRTIO_PCI_CAP_NOTIFY_CFG - 1].CapOffset +
                            offsetof(struct virtio_pci_notify_cap, notify_off_multiplier));
    if (FixedLayout && !CapsIsContract(found, multiplier, BarLength)) {
        return VirtioPciCapsNotContract;
    }
    Caps->Common = found[VIRTIO_PCI_CAP_COMMON_CFG - 1].Region;
    Caps->Notify = found[VIRTIO_PCI_CAP_NOTIFY_CFG - 1].Region;
    Caps->Isr = found[VIRTIO_PCI_CAP_ISR_CFG - 1].Region;
    Caps->Device = found[VIRTIO_PCI_CAP_DEVICE_CFG - 1].Region;
    Caps->NotifyMultiplier = multiplier;
    return VirtioPciCapsOk;
}
