#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Boots a Windows 7 image with a virtio disk in QEMU, follows the selftest in it, and says whether the driver works.

The image must have been prepared: driver, layout=any, and the selftest as a task at boot (README.md beside this file).
Nothing is written to it without --keep-changes.

exit status: 0 everything asked for passed; 1 something failed; 2 it could not be started as asked for; 3 the guest
said nothing more until a deadline; 4 the machine ended or reset (a blue screen) before the selftest's result;
130 interrupted
"""
import argparse
import functools
import os
import pathlib
import shlex
import shutil
import sys
import tempfile
import time

import checks
import qemu
import report

PASSED, FAILED, REFUSED, HUNG, ENDED, INTERRUPTED = 0, 1, 2, 3, 4, 130
MOST_VECTORS = 2048  # of an MSI-X table [PCI 6.8.2]


class Parser(argparse.ArgumentParser):
    """Wrong options are one sentence."""

    def error(self, message):
        self.exit(REFUSED, f"{self.prog}: {message} (see --help)\n")


def number(least, most):
    def convert(text):
        try:
            given = int(text, 10)
        except ValueError:
            given = least - 1
        if not least <= given <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number from {least} to {most}")
        return given
    return convert


def options():
    parser = Parser(prog="invoke_aero_virtio_win7_tests.py", description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter,
                    usage="%(prog)s (--disk-image FILE | --no-disk-image) [option]... [-- QEMU-ARGUMENT...]")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--disk-image", type=pathlib.Path, metavar="FILE", help="the Windows 7 image")
    machine.add_argument("--no-disk-image", action="store_true",
                         help="what boots comes with the arguments after --, as -kernel and -initrd; the disk is blank")
    machine.add_argument("--image-format", metavar="FORMAT",
                         help="as QEMU names it (default: qcow2 if it is one, else raw)")
    machine.add_argument("--boot-bus", choices=("virtio", "chipset"), default="virtio",
                         help="where the image is: it is the disk under test (virtio, the default), or it is on the "
                              "machine's own controller and the disk under test is a blank one")
    machine.add_argument("--blank-disk-mib", type=number(1, 1 << 20), default=1024, metavar="N",
                         help="size of the disk under test where it is a blank one (default: 1024)")
    machine.add_argument("--keep-changes", action="store_true",
                         help="let the guest write to its image, and shut it down")
    machine.add_argument("--qemu-system", default="qemu-system-x86_64", metavar="PROGRAM", help="default: %(default)s")
    machine.add_argument("--machine", default="q35", metavar="TYPE", help="default: %(default)s; pc is the older one")
    machine.add_argument("--accel", metavar="NAME", help="default: kvm where it works, else tcg; on Windows, whpx")
    machine.add_argument("--memory-mib", type=number(64, 1 << 20), default=2048, metavar="N", help="default: 2048")
    machine.add_argument("--smp", type=number(1, 255), default=2, metavar="N", help="processors (default: 2)")
    machine.add_argument("--virtio-msix-vectors", type=number(0, MOST_VECTORS), metavar="N",
                         help="MSI-X vectors of every virtio device; 0: no MSI-X (default: QEMU's)")
    machine.add_argument("--virtio-blk-vectors", type=number(0, MOST_VECTORS), metavar="N",
                         help="the same, of the disk, whatever the others have")
    test = parser.add_argument_group("what is asked for, beyond the selftest's own result")
    test.add_argument("--qemu-preflight-pci", action="store_true",
                      help="before the start: the disk has the identity that the driver's INF names")
    test.add_argument("--require-virtio-blk-msix", action="store_true",
                      help="MSI-X is on, by the host's own look at the device and by the guest's marker")
    test.add_argument("--with-blk-resize", action="store_true", help="the disk grows while the guest watches")
    test.add_argument("--blk-resize-delta-mib", type=number(1, 1 << 20), default=64, metavar="N",
                      help="by how much (default: 64)")
    test.add_argument("--with-blk-reset", action="store_true", help="the guest has the driver reset the device")
    run = parser.add_argument_group("run")
    run.add_argument("--boot-timeout", type=number(1, 1 << 20), default=900, metavar="SECONDS",
                     help="until the selftest starts (default: 900)")
    run.add_argument("--test-timeout", type=number(1, 1 << 20), default=900, metavar="SECONDS",
                     help="from there to its result (default: 900)")
    run.add_argument("--shutdown-timeout", type=number(1, 1 << 20), default=180, metavar="SECONDS",
                     help="with --keep-changes, from the result until Windows has shut down (default: 180)")
    run.add_argument("--output", type=pathlib.Path, default=pathlib.Path("aero-virtio-win7-results"),
                     metavar="DIRECTORY", help="for junit.xml, serial.log, qemu.log, screen.ppm (default: %(default)s)")
    run.add_argument("--dry-run", action="store_true", help="print QEMU's command line and end")
    words = sys.argv[1:]
    place = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:place])
    given.qemu_arguments = words[place + 1:]
    judge_options(parser, given)
    return given


def judge_options(parser, given):
    if bool(given.disk_image) == given.no_disk_image:
        parser.error("either --disk-image or --no-disk-image")
    if given.no_disk_image and not given.qemu_arguments:
        parser.error("--no-disk-image leaves nothing to boot from: the arguments after -- must bring it")
    if given.disk_image and not (given.disk_image.is_file() or given.disk_image.is_block_device()):
        parser.error(f"no such image: {given.disk_image}")
    if given.disk_image and not os.access(given.disk_image, os.R_OK | (os.W_OK if given.keep_changes else 0)):
        parser.error(f"the image may not be {'written' if given.keep_changes else 'read'}: {given.disk_image}")
    if given.virtio_blk_vectors is None:
        given.virtio_blk_vectors = given.virtio_msix_vectors
    if given.require_virtio_blk_msix and given.virtio_blk_vectors == 0:
        parser.error("--require-virtio-blk-msix, and no vectors for it")
    given.program = shutil.which(given.qemu_system)
    if not given.program:
        parser.error(f"no such program: {given.qemu_system}; --qemu-system says where QEMU is")


def image_format(given):
    if given.image_format:
        return given.image_format
    with given.disk_image.open("rb") as file:
        return "qcow2" if file.read(4) == b"QFI\xfb" else "raw"


def accelerators(given):
    """KVM where it may be used; QEMU itself goes on to the next if it does not work."""
    if given.accel:
        return ["-accel", given.accel]
    words = ["-accel", "kvm"] if os.access("/dev/kvm", os.R_OK | os.W_OK) else []
    return words + ["-accel", "tcg"]


def processors(given):
    """A machine with one processor could have two: otherwise TCG leaves out memory barriers, and now and then the driver
    and QEMU's device wait for each other."""
    return ["-smp", f"{given.smp},maxcpus={max(given.smp, 2)}"]


def drive(name, path, image, writable):
    snapshot = "off" if writable else "on"
    return ["-drive", f"if=none,id={name},file={qemu.value(path)},format={image},snapshot={snapshot}"]


def disks(given, blank):
    """The options of the image and of the blank disk."""
    device = qemu.device_options(qemu.disk_properties(given.program), given.virtio_blk_vectors)
    if given.no_disk_image:
        return drive(qemu.DISK, blank, "raw", True) + ["-device", ",".join(device)]
    image = (given.disk_image.absolute(), image_format(given), given.keep_changes)
    if given.boot_bus == "virtio":
        return drive(qemu.DISK, *image) + ["-device", ",".join(device + ["bootindex=0"])]
    words = drive("aero-boot", *image) + drive(qemu.DISK, blank, "raw", True) + ["-device", ",".join(device)]
    return words + ["-device", "ide-hd,drive=aero-boot,bus=ide.0,bootindex=0"]


def command_line(given, blank, qmp, serial):
    """QEMU's, given where the two sockets are.

    The machine stands still until it is told to go, and does not go away when the guest ends or resets it: the screen
    then still shows why. The user's own arguments come before the disks, so that an IOMMU is there before its devices.
    """
    return [given.program, "-name", "aero-virtio-win7", "-nodefaults", "-machine", given.machine, *accelerators(given),
            "-m", str(given.memory_mib), *processors(given), "-rtc", "base=localtime",
            "-vga", "std", "-display", "none", "-no-reboot", "-no-shutdown", "-S",
            "-chardev", f"socket,id=aero-qmp,{qmp}", "-mon", "chardev=aero-qmp,mode=control",
            "-chardev", f"socket,id=aero-serial,{serial}", "-serial", "chardev:aero-serial",
            *given.qemu_arguments, *disks(given, blank)]


class Run:
    """One boot, to its verdict."""

    def __init__(self, given, machine):
        self.given = given
        self.machine = machine
        self.judge = checks.Judge(given, machine)
        self.checks = []
        self.status = PASSED
        self.reasons = []  # sentences, once something is wrong

    def fail(self, status, reason):
        self.status = self.status or status
        self.reasons.append(reason)

    def go(self):
        try:
            self._boot()
        except qemu.Silent as error:
            begun = f"; an unfinished line: {error}" if str(error).strip() else ""
            seconds = self.given.test_timeout if self.judge.started else self.given.boot_timeout
            self.fail(HUNG, f"the selftest's {self._awaited} did not come within {seconds} s{begun}")
        except qemu.Hung as error:
            self.fail(HUNG, f"QEMU hangs: {error}")
        except qemu.Ended as error:
            self.fail(ENDED, f"{error} before the selftest's {self._awaited}")
        if self.status in {HUNG, ENDED}:
            self.machine.photograph(self.given.output.absolute() / "screen.ppm")
        self._judge()

    @property
    def _awaited(self):
        return "result" if self.judge.started else "start"

    def _boot(self):
        self.judge.look()
        if self.given.qemu_preflight_pci:
            self.checks.append(self.judge.preflight())
            print(self.checks[0].text, flush=True)
            if self.checks[0].verdict == "FAIL":
                self.fail(FAILED, f"the disk is not what the driver's INF names: {self.checks[0].text}")
                return
        self.machine.cont()
        self._follow()
        if self.given.keep_changes:
            self._shut_down()

    def _judge(self):
        for reason in self.judge.complaints():
            self.fail(FAILED, reason)
        for check in self.judge.checks() if self.judge.started else []:
            print(check.text, flush=True)
            self.checks.append(check)
            if check.verdict == "FAIL":
                self.fail(FAILED, f"{check.name}: {check.fields['reason'] if 'reason' in check.fields else 'FAIL'}")
            if check.verdict == "FAIL" and check.remedy:
                self.reasons.append(check.remedy)
        if self.judge.explanation() and self.status:
            self.reasons.append(self.judge.explanation())

    def _follow(self):
        deadline = time.monotonic() + self.given.boot_timeout
        while not self.judge.result and not self.judge.unreadable:
            marker = self.judge.take(self.machine.line(deadline))
            if marker:
                print(marker.text, flush=True)
            if marker and marker.kind == "START":
                deadline = time.monotonic() + self.given.test_timeout

    def _shut_down(self):
        deadline = time.monotonic() + self.given.shutdown_timeout
        try:
            self.machine.execute("system_powerdown")
            while True:
                self.machine.line(deadline)
        except qemu.Ended:
            return
        except (qemu.Silent, qemu.Hung):
            self.fail(FAILED, f"the guest did not shut down within {self.given.shutdown_timeout} s: its image may be "
                              "damaged")


def say(text):
    print(f"invoke_aero_virtio_win7_tests.py: {text}", file=sys.stderr, flush=True)


def perform(given, scratch):
    given.output.mkdir(parents=True, exist_ok=True)
    for name in ("junit.xml", "serial.log", "qemu.log", "screen.ppm"):
        (given.output / name).unlink(missing_ok=True)
    blank = scratch / "blank.img"
    with blank.open("wb") as file:
        file.truncate(given.blank_disk_mib * checks.MIB)
    begun = time.monotonic()
    words = functools.partial(command_line, given, blank)
    with qemu.Qemu(words, given.output / "qemu.log", given.output / "serial.log") as machine:
        run = Run(given, machine)
        run.go()
    verdict = {PASSED: "PASS", FAILED: "FAIL"}.get(run.status, "ERROR")
    outcome = (verdict, "; ".join(run.reasons) or "everything asked for passed")
    report.write(given.output / "junit.xml", outcome, run.judge, run.checks, time.monotonic() - begun)
    for reason in run.reasons:
        say(reason)
    reason = {HUNG: "|reason=hung", ENDED: "|reason=ended"}.get(run.status, "")
    print(f"{checks.HOST}|RESULT|{'FAIL' if run.status else 'PASS'}{reason}", flush=True)
    return run.status


def main():
    given = options()
    try:
        if given.dry_run:
            print(shlex.join(command_line(given, "blank.img", qmp="path=qmp.sock", serial="path=serial.sock")))
            return PASSED
        with tempfile.TemporaryDirectory(prefix="aero-win7-") as scratch:
            return perform(given, pathlib.Path(scratch))
    except qemu.Refused as error:
        say(error)
        return REFUSED
    except OSError as error:
        say(f"{error.strerror}: {error.filename}")
        return REFUSED
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
