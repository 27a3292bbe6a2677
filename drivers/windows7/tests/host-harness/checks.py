# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the guest said and the host saw, as verdicts; and what the host does when the guest waits for it."""
import typing

import markers
import pci
import qemu

HOST = "AERO_VIRTIO_WIN7_HOST"
MIB = 1 << 20
IRQ_MODES = {"intx", "msi", "msix"}
LARGEST_BLOCK = 4096  # bytes; a guest sees no part of one at the end of a disk
MOST_MALFORMED = 20  # lines that are kept; a guest that prints nothing else must not fill the memory

LAYOUT = ("QEMU keeps this disk's registers in {layout}, not where contract 1.4 has them. A driver with the strict "
          "layout, which is its default, refuses the device: set DriverParameter to layout=any in the image, as the "
          "harness's README says.")
# What to do about a reason, for people.
REMEDIES = {
    "flag_not_set": "The selftest in the image was not asked to do this: its scheduled task has to pass the option, or "
                    "the machine's environment to have the variable.",
    "not_supported": "The driver in the image is a free build, which has no forced reset; install the checked one.",
    "not_asked_for": "The guest waits for a larger disk: give --with-blk-resize, or take the option from its task.",
    "msix_off": "Windows runs the disk without MSI-X; the causes are in "
                "docs/windows/virtio-pci-modern-interrupt-debugging.md.",
    "another_disk": "The guest watches a disk of another size than the one under test: is there a second one?",
}


class Check(typing.NamedTuple):
    """A verdict of the host; printed as one host marker."""
    name: str
    verdict: str  # PASS, FAIL, SKIP, INFO
    fields: dict

    @property
    def text(self):
        return "|".join([HOST, self.name, self.verdict] + [f"{name}={told}" for name, told in self.fields.items()])

    @property
    def remedy(self):
        return REMEDIES.get(self.fields.get("reason"))


def failed(name, reason, fields=None):
    return Check(name, "FAIL", {"reason": reason, **(fields or {})})


def renamed(marker, **names):
    """Those of a marker's fields that are there: renamed(marker, mode="irq_mode") has irq_mode."""
    return {new: marker.fields[old] for old, new in names.items() if old in marker.fields}


def same_size(guests, hosts):
    return guests is not None and guests // LARGEST_BLOCK == hosts // LARGEST_BLOCK


class Judge:
    """Takes the serial port's lines one by one, acts on them, and has the verdicts at the end."""

    def __init__(self, wanted, machine):
        self.wanted = wanted
        self.machine = machine
        self.started = False
        self.result = None  # the RESULT marker
        self.tests = {}  # by name the marker that counts; a FAIL is not taken back
        self.malformed = []
        self.unreadable = False  # a selftest of another version
        self.function = self.unseen = None  # the device as the host sees it, or why it does not
        self.msix = None  # as last seen; kept once it was on
        self._resized = None  # what became of the guest's READY: a reason, or (old, new) in bytes

    # -- while the guest runs

    def take(self, line):
        """The marker in the line, or None; a malformed one is noted, and fails the run at the end."""
        try:
            marker = markers.parse(line)
            if marker:
                self._note(marker)
            return marker
        except markers.Malformed as error:
            self.unreadable |= isinstance(error, markers.OtherVersion)
            if len(self.malformed) < MOST_MALFORMED:
                self.malformed.append(str(error))
            return None

    def _note(self, marker):
        if marker.kind == "START":
            if self.started:
                raise markers.Malformed(f"the selftest started a second time: {marker.text}")
            self.started = True
        elif not self.started:
            raise markers.Malformed(f"before START: {marker.text}")
        elif marker.kind == "RESULT":
            self.result = marker
        elif marker.kind == "TEST":
            self._note_test(marker)
        if marker.kind != "START" and not (self.msix and self.msix.enabled and not self.msix.masked):
            self.look()

    def _note_test(self, marker):
        before = self.tests.get(marker.name)
        if not before or before.verdict != "FAIL":
            self.tests[marker.name] = marker
        if marker.name == "virtio-blk-resize" and marker.verdict == "READY":
            self._resized = self._resize(marker)

    def look(self):
        """Looks at the device's configuration space."""
        try:
            if self.function:
                self.function.read_msix()
            else:
                self.function = pci.Function(self.machine, qemu.DEVICE)
            self.msix = self.function.msix
        except (pci.NotThere, qemu.CommandFailed) as error:
            self.unseen = f"not_there ({error})".replace("|", "/")

    def _resize(self, marker):
        if not self.wanted.with_blk_resize:
            return "not_asked_for"
        try:
            old = self.machine.disk_bytes()
            if not same_size(marker.number("old_bytes"), old):
                return "another_disk"
            new = old + self.wanted.blk_resize_delta_mib * MIB
            self.machine.resize_disk(new)
            return old, new
        except qemu.CommandFailed as error:
            return f"qemu_refused ({error})".replace("|", "/")

    # -- verdicts

    def preflight(self):
        """Whether the device is one that the driver's INF names, before anything runs."""
        name = "QEMU_PREFLIGHT_PCI"
        function = self.function
        if not function:
            return failed(name, self.unseen)
        (vendor, device, revision), (subsystem_vendor, subsystem) = function.identity, function.subsystem
        fields = {"vendor": f"{vendor:04x}", "device": f"{device:04x}", "revision": f"{revision:02x}",
                  "subsystem_vendor": f"{subsystem_vendor:04x}", "subsystem": f"{subsystem:04x}",
                  "layout": function.layout, "msix_vectors": function.msix.vectors if function.msix else 0}
        if function.identity != (pci.VENDOR, pci.DEVICE, pci.REVISION):
            return failed(name, "identity", fields)
        if function.layout == "none":
            return failed(name, "capabilities", fields)
        return Check(name, "PASS", fields)

    def checks(self):
        """All host checks of a run that got as far as the selftest."""
        return [self._irq(), self._msix(), self._counters(), self._resize_verdict(), self._reset()]

    def _irq(self):
        name = "VIRTIO_BLK_IRQ"
        test, line = self.tests.get("virtio-blk"), self.tests.get("virtio-blk-miniport-irq")
        names = ("irq_mode", "irq_message_count", "msix_config_vector", "msix_queue_vector")
        told = renamed(test, **{field: field for field in names}) if test else {}
        driver = renamed(line, mode=names[0], message_count=names[1], msix_config_vector=names[2],
                         msix_queue0_vector=names[3]) if line else {}
        fields = {**driver, **told}
        if fields.get("irq_mode") not in IRQ_MODES:
            return failed(name, "not_told", fields)
        by_message = fields["irq_mode"] != "intx"
        vectors = self.msix.vectors if self.msix else 0
        messages = markers.number(fields.get("irq_message_count", "0"))
        if self.function and fields["irq_mode"] == "msix" and messages > vectors:
            return failed(name, "more_messages_than_vectors", {**fields, "host_vectors": vectors})
        if told and driver:
            # The miniport is granted messages and does not know of which kind.
            if driver.get("irq_mode") in IRQ_MODES and (driver["irq_mode"] != "intx") != by_message:
                return failed(name, "contradiction", {**fields, "miniport_mode": driver["irq_mode"]})
            for field in names[1:]:
                if field in told and field in driver and markers.number(told[field]) != markers.number(driver[field]):
                    return failed(name, "contradiction", {**fields, f"miniport_{field}": driver[field]})
            return Check(name, "PASS", fields)
        return Check(name, "INFO", fields)

    def _msix(self):
        name, guest = "VIRTIO_BLK_MSIX", self.tests.get("virtio-blk-msix")
        fields = dict(guest.fields) if guest else {}
        on = bool(self.msix and self.msix.enabled)
        if self.msix:
            fields.update(host_enabled=int(on), host_masked=int(self.msix.masked), host_vectors=self.msix.vectors)
        else:
            fields["host_enabled"] = 0 if self.function else "unknown"
        claimed = guest and guest.verdict == "PASS" and guest.fields.get("mode") == "msix"
        if guest and guest.verdict == "FAIL":
            return failed(name, "guest_failed", fields)
        required = self.wanted.require_virtio_blk_msix
        if required and not self.function:
            return failed(name, self.unseen, fields)
        if self.function and (required or claimed):
            if not on:
                return failed(name, "msix_off", fields)
            if self.msix.masked:
                return failed(name, "msix_masked", fields)
            if not claimed:
                return failed(name, "guest_does_not_say_msix", fields)
        return Check(name, guest.verdict if guest else "SKIP", fields if guest else {"reason": "no_marker", **fields})

    def _counters(self):
        guest = self.tests.get("virtio-blk-counters")
        if not guest:
            return Check("VIRTIO_BLK_COUNTERS", "SKIP", {"reason": "no_marker"})
        return Check("VIRTIO_BLK_COUNTERS", guest.verdict, guest.fields)

    def _done_or_why_not(self, name, test, wanted):
        """A check of a test that is only made on request: its PASS marker, or the Check that says why there is none."""
        guest = self.tests.get(test)
        if not guest:
            return failed(name, "no_marker") if wanted else Check(name, "SKIP", {"reason": "not_asked_for"})
        if guest.verdict == "PASS":
            return guest
        if guest.verdict == "SKIP":
            return Check(name, "FAIL" if wanted else "SKIP", {"reason": "flag_not_set", **guest.fields})
        return failed(name, "not_finished" if guest.verdict == "READY" else "guest_failed", guest.fields)

    def _resize_verdict(self):
        name = "VIRTIO_BLK_RESIZE"
        guest = self._done_or_why_not(name, "virtio-blk-resize", self.wanted.with_blk_resize)
        if isinstance(self._resized, str):
            return failed(name, self._resized, self.tests["virtio-blk-resize"].fields)
        if isinstance(guest, Check):
            return guest
        if not self._resized:
            return failed(name, "never_ready", guest.fields)
        old, new = self._resized
        if not (same_size(guest.number("old_bytes"), old) and same_size(guest.number("new_bytes"), new)):
            return failed(name, "sizes_differ", {**guest.fields, "host_old_bytes": old, "host_new_bytes": new})
        return Check(name, "PASS", guest.fields)

    def _reset(self):
        name = "VIRTIO_BLK_RESET"
        guest = self._done_or_why_not(name, "virtio-blk-reset", self.wanted.with_blk_reset)
        if isinstance(guest, Check):
            return guest
        before, after = guest.number("counter_before"), guest.number("counter_after")
        if guest.fields.get("performed") != "1" or before is None or after is None or after <= before:
            return failed(name, "not_performed", guest.fields)
        return Check(name, "PASS", guest.fields)

    def complaints(self):
        """Why the run failed, apart from host checks, as sentences; none if the guest is content and believable."""
        said = []
        if self.malformed:
            said.append(f"a marker is malformed: {self.malformed[0]}")
        bad = sorted(name for name, marker in self.tests.items() if marker.verdict in {"FAIL", "READY"})
        if bad:
            said.append(f"the guest did not pass: {', '.join(bad)}")
        if self.result and self.result.verdict == "FAIL" and not bad:
            said.append("the guest's result is FAIL, and no test of it says why")
        if self.result and self.result.verdict == "PASS" and bad:
            said.append("the guest contradicts itself: its result is PASS")
        if self.result and "virtio-blk" not in self.tests:
            said.append("the guest did not test the disk: no marker of virtio-blk")
        elif self.result and self.tests["virtio-blk"].verdict not in {"PASS", "FAIL"}:
            said.append("the guest did not test the disk: virtio-blk is neither PASS nor FAIL")
        return said

    def explanation(self):
        """Why the driver may not have started at all, if it never said anything."""
        irq_mode = self.tests["virtio-blk"].fields.get("irq_mode") if "virtio-blk" in self.tests else None
        if not self.function or self.function.layout == "contract" or irq_mode in IRQ_MODES:
            return None
        return LAYOUT.format(layout=self.function.layout.upper())
