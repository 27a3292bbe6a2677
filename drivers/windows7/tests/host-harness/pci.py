# SPDX-License-Identifier: MIT OR Apache-2.0
"""The disk's PCI function as the host sees it: identity, register layout, and whether MSI-X is on."""
import re
import struct
import typing

ADDRESS, DATA = 0xCF8, 0xCFC  # configuration mechanism 1 [PCI 3.2.2.3.2]
ENABLE = 1 << 31
VENDOR, DEVICE, REVISION = 0x1AF4, 0x1042, 0x01  # [contract 1.1]
CAPABILITY_VENDOR, CAPABILITY_MSIX = 0x09, 0x11
# cfg_type: BAR, offset, least length [contract 1.4]
CONTRACT_LAYOUT = {1: (0, 0x0000, 0x100), 2: (0, 0x1000, 0x100), 3: (0, 0x2000, 0x20), 4: (0, 0x3000, 0x100)}
MULTIPLIER = 4


class NotThere(Exception):
    """The machine has no such function, or it cannot be looked at."""


class Msix(typing.NamedTuple):
    enabled: bool
    masked: bool
    vectors: int


def functions(buses):
    """Each function that query-pci told of, behind bridges too."""
    for bus in buses:
        for function in bus.get("devices", ()):
            yield function
            if "pci_bridge" in function:
                yield from functions([{"devices": function["pci_bridge"].get("devices", ())}])


def find(machine, name):
    """(bus, slot, function) of the device with that id."""
    found = [f for f in functions(machine.execute("query-pci")) if f.get("qdev_id") == name]
    if not found:
        raise NotThere(f"query-pci has no device {name}")
    return found[0]["bus"], found[0]["slot"], found[0]["function"]


def dword(machine, port):
    told = machine.monitor(f"i /w {port:#x}")
    match = re.search(r"=\s*(0x[0-9a-fA-F]+)", told)
    if not match:
        raise NotThere(f"QEMU's monitor does not read port {port:#x}: {told.strip() or 'no answer'}")
    return int(match[1], 16)


class Function:
    """The 256 bytes of a function's configuration space, and what they say. No QMP command tells of MSI-X or of the
    revision, so the bytes are read through the ports, while the machine stands still and with the guest's address
    put back: the guest cannot tell."""

    def __init__(self, machine, name):
        bus, slot, function = find(machine, name)
        self.machine = machine
        self.base = ENABLE | bus << 16 | slot << 11 | function << 8
        self.space = bytearray(256)
        self.read(range(0, 256, 4))

    def read(self, offsets):
        """Reads double words of the space anew."""
        with self.machine.paused():
            guests = dword(self.machine, ADDRESS)
            for offset in offsets:
                self.machine.monitor(f"o /w {ADDRESS:#x} {self.base | offset:#x}")
                struct.pack_into("<I", self.space, offset, dword(self.machine, DATA))
            self.machine.monitor(f"o /w {ADDRESS:#x} {guests:#x}")

    def read_msix(self):
        """Reads anew what a guest changes of MSI-X."""
        self.read([place for number, place in self.capabilities() if number == CAPABILITY_MSIX])

    def get(self, form, offset):
        size = struct.calcsize(form)
        return struct.unpack(form, self.space[offset:offset + size].ljust(size, b"\0"))[0]

    @property
    def identity(self):
        """Vendor, device, revision."""
        return self.get("<H", 0), self.get("<H", 2), self.get("<B", 8)

    @property
    def subsystem(self):
        """Vendor, id: for people who debug [contract 1.1]."""
        return self.get("<H", 0x2C), self.get("<H", 0x2E)

    def capabilities(self):
        """Offsets by id, in the order of the list, which ends for us even if it does not."""
        place, seen = self.get("<B", 0x34) & ~3, set()
        while place >= 0x40 and place not in seen:
            seen.add(place)
            yield self.get("<B", place), place
            place = self.get("<B", place + 1) & ~3

    @property
    def msix(self):
        """None for a function without MSI-X."""
        for number, place in self.capabilities():
            if number == CAPABILITY_MSIX:
                control = self.get("<H", place + 2)
                return Msix(bool(control & 0x8000), bool(control & 0x4000), (control & 0x7FF) + 1)
        return None

    @property
    def regions(self):
        """The first region of each type [virtio 4.1.4]: type: (BAR, offset, length); and the notify multiplier."""
        regions, multiplier = {}, None
        for number, place in self.capabilities():
            kind, bar = self.get("<B", place + 3), self.get("<B", place + 4)
            if number == CAPABILITY_VENDOR and kind in CONTRACT_LAYOUT and kind not in regions:
                regions[kind] = (bar, self.get("<I", place + 8), self.get("<I", place + 12))
                if kind == 2:
                    multiplier = self.get("<I", place + 16)
        return regions, multiplier

    @property
    def layout(self):
        """"contract" if a strict driver starts on it, else where its common registers are: "bar4"; or "none"."""
        regions, multiplier = self.regions
        if set(regions) != set(CONTRACT_LAYOUT):
            return "none"
        if multiplier == MULTIPLIER and all(
                regions[kind][:2] == wanted[:2] and regions[kind][2] >= wanted[2]
                for kind, wanted in CONTRACT_LAYOUT.items()):
            return "contract"
        return f"bar{regions[1][0]}" if regions[1][0] else "other"
