#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The small guest: a Linux that owns nothing but storhost and the drivers, and QEMU around it.

`guest.py` builds its kernel and initramfs under build/guest/ and prints their paths and the words that the kernel's
command line begins with. As a module it boots them with virtio-blk functions of any make, and does to these, from
outside, what storhost asks for (docs/qemu-guest.md).
"""
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
BUILT = REPOSITORY / "build" / "guest"
OUT = REPOSITORY / "out"
HARNESS = REPOSITORY / "drivers" / "windows7" / "tests" / "host-harness" / "invoke_aero_virtio_win7_tests.py"
QEMU = "qemu-system-x86_64"
MACHINE, IOMMU = "q35,kernel-irqchip=split", "intel-iommu,intremap=on,aw-bits=48"
MIB = 1 << 20

# One processor, in a machine that could have two: for one that cannot, QEMU's TCG leaves out what makes locked instructions
# and fences barriers, and then a doorbell that the device waits for is now and then not rung.
PROCESSORS = "1,maxcpus=2"

# The firmware leaves alone what it is not to boot from: a disk that it has started would still be at work when Linux
# switches the IOMMU on.
FIRMWARE = ("-boot", "strict=on")

# Debian's packages, which are unpacked and not installed: a kernel package sets up the boot of the machine it is on.
PACKAGES = ("linux-image-cloud-amd64", "busybox-static")
MODULES = ("irqbypass", "vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci")
PROGRAMS = ("storhost", "storhost-x86", "guest-selftest", "guest-selftest-x86")

# Physical memory that the guest's Linux leaves alone, for devices that no IOMMU holds: MiB, and a third at each address.
RESERVED_MIB = 96
RESERVED_AT = (0x10000000, 0x14000000, 0x100000000)
LOW_AT = (0x10000000, 0x14000000, 0x18000000)  # for a machine of less than 4 GiB
MEMORY_MIB = 3072  # so that there is some above 4 GiB; what is not touched costs nothing
PULL_DEADLINE, POLL, POLLS = 25, 0.1, 50  # seconds; storhost waits for 30
KVM_DEADLINE = 5  # seconds for what takes one
FIRST_SLOT = 2  # of pcie.0 for disks; below are the host bridge and the IOMMU


class Failed(Exception):
    """The sentence that says what went wrong."""


class NotFound(Failed):
    """QEMU has no device of that name."""


def run(*command, **keywords):
    result = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=300, **keywords)
    if result.returncode:
        raise Failed(f"{command[0]} failed: {(result.stderr or result.stdout).strip().splitlines()[-1:]}")
    return result.stdout


# ---- kernel and initramfs ----

def unpack_packages():
    """The directory with what is in PACKAGES."""
    root = BUILT / "packages"
    run(REPOSITORY / "tools" / "install-deps.sh", "unpack", root, *PACKAGES)
    return root


def libraries(program):
    """Shared libraries of a program and its loader, as absolute paths."""
    words = (line.split() for line in run("ldd", program).splitlines())
    return {word for line in words for word in line if word.startswith("/")}


def pack(tree, archive):
    """A directory as a cpio archive in which everything is root's."""
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    with archive.open("wb") as file:
        subprocess.run(["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0", "--reproducible"], cwd=tree,
                       input="\n".join(names), text=True, stdout=file, check=True, timeout=60)


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    shutil.copymode(source, target)


def build():
    """(kernel, initramfs): the paths."""
    packages = unpack_packages()
    kernels = sorted((packages / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise Failed(f"there is no kernel in {packages}")
    modules = packages / "lib" / "modules" / kernels[-1].name.removeprefix("vmlinuz-")
    tree = BUILT / "root"
    shutil.rmtree(tree, ignore_errors=True)
    copy(REPOSITORY / "tools" / "guest" / "init", tree / "init")
    copy(packages / "bin" / "busybox", tree / "bin" / "busybox")
    for name in MODULES:
        copy(next(modules.rglob(f"{name}.ko")), tree / "modules" / f"{name}.ko")
    (tree / "modules" / "order").write_text("\n".join(MODULES))
    for name in PROGRAMS:
        program = tree / "bin" / name
        copy(OUT / "bin" / name, program)
        run("strip", "--strip-debug", program)
        for library in libraries(OUT / "bin" / name):
            copy(library, tree / library[1:])
    for path in (OUT / "drivers" / "windows7" / "virtio-blk").rglob("*.sys"):
        copy(path, tree / "drivers" / path.relative_to(OUT / "drivers" / "windows7" / "virtio-blk"))
    for folder in ("scenarios", "qemu"):
        for path in (REPOSITORY / "storhost" / "tests" / folder).glob("*.scn"):
            copy(path, tree / folder / path.name)
    initramfs = BUILT / "initramfs.cpio"
    pack(tree, initramfs)
    return kernels[-1], initramfs


def physical_memory(places):
    """As storhost's --memory."""
    return f"{RESERVED_MIB}@" + ",".join(hex(place) for place in places)


def command_line(places):
    """What the kernel has to be told, with physical memory that it leaves alone there."""
    reserved = ",".join(f"{RESERVED_MIB // 3}M${place:#x}" for place in places)
    return (f"console=ttyS0 quiet loglevel=3 panic=-1 no_timer_check intel_iommu=on memmap={reserved} "
            f"aero.memory={physical_memory(places)}")


# ---- QEMU ----

class Monitor:
    """QMP: one command at a time, and the events in between. Any thread."""

    def __init__(self, path, deadline=20):
        self._lock = threading.Lock()
        self._socket = connect(path, deadline)
        self._socket.settimeout(deadline)
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self.events = []
        self._next()
        self.do("qmp_capabilities")

    def _next(self):
        line = self._file.readline()
        if not line:
            raise Failed("QEMU ended")
        return json.loads(line)

    def do(self, command, arguments=None):
        with self._lock:
            self._file.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
            self._file.flush()
            while True:
                answer = self._next()
                if "event" in answer:
                    self.events.append(answer)
                elif "error" in answer:
                    raise (NotFound if answer["error"]["class"] == "DeviceNotFound" else Failed)(f"{command}: {answer['error']['desc']}")
                else:
                    return answer["return"]


def connect(path, deadline):
    end = time.monotonic() + deadline
    while True:
        attempt = socket.socket(socket.AF_UNIX)
        try:
            attempt.connect(str(path))
            return attempt
        except OSError as error:
            attempt.close()
            if time.monotonic() > end:
                raise Failed(f"{path}: {error}") from None
            time.sleep(0.02)


@dataclasses.dataclass
class Disk:
    """A virtio-blk function: what it is made of, and where."""
    size: int = 64 * MIB
    properties: dict = dataclasses.field(default_factory=dict)  # of -device
    block: dict = dataclasses.field(default_factory=dict)  # of its node
    bad_sectors: tuple = ()  # that give EIO
    iops: int = 0  # requests a second at most; 0: any
    on_root_complex: bool = False  # no port before it, which also means that it cannot be pulled out
    watched: bool = False  # its interrupts are looked at from outside
    number: int = 0

    @property
    def name(self):
        return f"disk{self.number}"

    @property
    def slot(self):
        """As storhost and sysfs write it."""
        return f"{FIRST_SLOT + self.number:02x}"

    def device(self):
        place = ({"bus": "pcie.0", "addr": f"{FIRST_SLOT + self.number:#x}"} if self.on_root_complex else
                 {"bus": f"port{self.number}"})
        return {"driver": "virtio-blk-pci", "id": self.name, "drive": f"medium{self.number}", "disable-legacy": "on",
                **place, **self.properties}

    def node(self, path):
        options = {"discard": "unmap", **self.block}
        file = {"driver": "file", "filename": str(path), "locking": "off", **options}
        if self.bad_sectors:
            rules = [{"event": "none", "iotype": kind, "sector": sector, "errno": 5}
                     for sector in self.bad_sectors for kind in ("read", "write")]
            file = {"driver": "blkdebug", "image": file, "inject-error": rules, **options}
        if self.iops:
            return {"driver": "throttle", "node-name": f"medium{self.number}", "throttle-group": f"group{self.number}",
                    "file": {"driver": "raw", "file": file, **options}}
        return {"driver": "raw", "node-name": f"medium{self.number}", "file": file, **options}

    def words(self, path):
        port = [] if self.on_root_complex else [
            "-device", f"pcie-root-port,id=port{self.number},chassis={self.number + 1},bus=pcie.0,"
            f"addr={FIRST_SLOT + self.number:#x}"]
        limit = ["-object", f"throttle-group,id=group{self.number},x-iops-total={self.iops}"] if self.iops else []
        return [*limit, "-blockdev", json.dumps(self.node(path)), *port, "-device", json.dumps(self.device())]


def accelerator(kernel):
    """"kvm" where this kernel comes up by it, which only an attempt can tell; else "tcg". Asked once per build tree."""
    known = BUILT / "accelerator"
    if not known.exists():
        known.write_text("kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and boots_by_kvm(kernel) else "tcg")
    return known.read_text()


def boots_by_kvm(kernel):
    """Without a root the kernel panics, and says so: then it has come up."""
    try:
        said = subprocess.run([QEMU, "-display", "none", "-nodefaults", "-no-reboot", "-machine", "q35", "-accel", "kvm",
                               "-m", "512", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1", "-serial",
                               "stdio"], stdin=subprocess.DEVNULL, capture_output=True, timeout=KVM_DEADLINE)
    except subprocess.TimeoutExpired:
        return False
    return b"Kernel panic" in said.stdout


class Guest:
    """A boot, from the start of QEMU to its end. `job` is a shell script, run by the guest's init."""

    def __init__(self, image, directory, disks, job, *, files=(), append="", deadline=120):
        self.directory, self.disks, self.deadline = directory, list(disks), deadline
        for number, disk in enumerate(self.disks):
            disk.number = number
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self.serial = directory / "serial.log"
        kernel, initramfs = image
        self.accelerator = accelerator(kernel)
        self.begin = time.monotonic()
        self._places = None
        self._process = subprocess.Popen(self._command(kernel, self._initramfs(initramfs, job, files), append),
                                         stdin=subprocess.DEVNULL, stdout=(directory / "qemu.log").open("wb"),
                                         stderr=subprocess.STDOUT)
        try:
            self.monitor = Monitor(self._path("qmp"))
            threading.Thread(target=self._serve, args=(connect(self._path("control"), 20),), daemon=True).start()
        except (Failed, OSError) as error:
            self.kill()
            raise Failed(f"{error}: {(directory / 'qemu.log').read_text(errors='replace').strip()[-500:]}") from None

    def _path(self, name):
        """A socket's, which may not be long."""
        return pathlib.Path(os.path.relpath(self.directory / name))

    def _image(self, disk):
        return self.directory / f"{disk.name}.img"

    def _initramfs(self, initramfs, job, files):
        """The kernel takes archives one behind the other."""
        tree = self.directory / "job"
        tree.mkdir()
        if job is not None:
            (tree / "job").write_text(job)
        for path in files:
            copy(path, tree / path.name)
        pack(tree, self.directory / "job.cpio")
        whole = self.directory / "initramfs.cpio"
        whole.write_bytes(initramfs.read_bytes() + (self.directory / "job.cpio").read_bytes())
        return whole

    def _command(self, kernel, initramfs, append):
        words = [QEMU, "-display", "none", "-nodefaults", "-no-reboot", "-machine", MACHINE,
                 "-accel", self.accelerator, "-smp", PROCESSORS, "-m", str(MEMORY_MIB), *FIRMWARE,
                 "-kernel", str(kernel), "-initrd", str(initramfs),
                 "-append", f"{command_line(RESERVED_AT)} {append}",
                 "-device", IOMMU,
                 "-chardev", f"file,id=serial,path={self.serial}", "-serial", "chardev:serial",
                 "-chardev", f"socket,id=control,path={self._path('control')},server=on,wait=off",
                 "-serial", "chardev:control",
                 "-qmp", f"unix:{self._path('qmp')},server=on,wait=off"]
        for disk in self.disks:
            with self._image(disk).open("wb") as file:
                file.truncate(disk.size)
            words += disk.words(self._image(disk))
        return words

    def disk_at(self, place):
        """The disk whose function has that address, which is handed out when the guest is up."""
        if self._places is None:
            functions = [function for bus in self.monitor.do("query-pci") for function in all_functions(bus["devices"])]
            names = {disk.name: disk for disk in self.disks}
            self._places = {f"0000:{one['bus']:02x}:{one['slot']:02x}.{one['function']:x}": names[one["qdev_id"]]
                            for one in functions if one["qdev_id"] in names}
        return self._places[place]

    # What storhost asks for over the second serial line (storhost/device/vfio.h).

    def _serve(self, line):
        with line, line.makefile("rw", encoding="ascii") as file:
            try:
                for request in file:
                    file.write(self._answer(request) + "\n")
                    file.flush()
            except (OSError, ValueError):
                pass  # QEMU ended

    def _answer(self, request):
        try:
            verb, place, number = request.split()
            {"resize": self.resize, "fresh": self.fresh, "pull": self.pull, "plug": self.plug}[verb](self.disk_at(place), int(number))
        except (Failed, KeyError, ValueError) as error:
            return f"no: {error}"
        return "ok"

    def resize(self, disk, size):
        self.monitor.do("block_resize", {"node-name": f"medium{disk.number}", "size": size})

    def fresh(self, disk, size):
        """Another medium, of zeroes; nobody uses the function."""
        os.truncate(self._image(disk), 0)
        self.resize(disk, size)

    def pull(self, disk, _=0):
        """Linux may miss the first request; QEMU lets it be repeated, as long as the device has its name: without it, it
        has left its slot, and is deleted when nobody in QEMU looks at it any more."""
        end = time.monotonic() + PULL_DEADLINE
        with contextlib.suppress(NotFound):
            while time.monotonic() < end:
                self.monitor.do("device_del", {"id": disk.name})
                for _ in range(POLLS):
                    self.monitor.do("qom-get", {"path": f"/machine/peripheral/{disk.name}", "property": "type"})
                    time.sleep(POLL)
            raise Failed(f"{disk.name} was not let go")

    def plug(self, disk, _=0):
        end = time.monotonic() + PULL_DEADLINE
        while True:
            try:
                self.monitor.do("device_add", disk.device())
                return
            except Failed:
                if time.monotonic() > end:
                    raise
            time.sleep(POLL)

    def text(self):
        return self.serial.read_text(errors="replace") if self.serial.exists() else ""

    def wait(self):
        """What the guest said, once it has switched itself off."""
        try:
            self._process.wait(max(1, self.begin + self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"the guest did not end within {self.deadline} s:\n{self.text()[-2000:]}") from None
        return self.text()

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def all_functions(devices):
    for device in devices:
        yield device
        yield from all_functions(device.get("pci_bridge", {}).get("devices", ()))


def harness_words(image, settings, *options):
    """The host harness (drivers/windows7/tests/host-harness) on the guest's own selftest: settings are the latter's."""
    kernel, initramfs = image
    words = [HARNESS, "--no-disk-image", "--machine", MACHINE, "--accel", accelerator(kernel), "--memory-mib", 1024,
             "--smp", 1, "--blank-disk-mib", 64, *options,
             "--", "-kernel", kernel, "-initrd", initramfs, "-append", f"{command_line(LOW_AT)} {settings}",
             "-device", IOMMU]
    return [str(word) for word in words]


def main():
    try:
        kernel, initramfs = build()
        print(f"kernel={kernel}\ninitramfs={initramfs}\nappend={command_line(LOW_AT)}")
    except Failed as error:
        print(f"guest.py: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
