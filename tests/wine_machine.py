# SPDX-License-Identifier: MIT OR Apache-2.0
"""Wine as the Windows of a hosted driver: programs for Windows 7 find its disk, and talk to the shipped .sys.

The disk, the volume and the port are made by wine_disk.c, a driver for Wine, which a Relay connects with `storhost sg`.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
import tty

import hosting

WINE_DLLS = pathlib.Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")
WINE32 = hosting.REPOSITORY / "build" / "wine32"  # tools/install-wine32.sh
MINGW = pathlib.Path("/usr/share/mingw-w64/include")
LIBRARIES = pathlib.Path("/usr/x86_64-w64-mingw32/lib")
SELFTEST = {architecture: hosting.OUT / "selftest" / architecture / "aero-virtio-selftest.exe"
            for architecture in hosting.TARGETS}
LOG_FILE = "aero-virtio-selftest.log"
SERVICE = "wine_disk"
SERVICE_ATTEMPTS = 5
FUNCTION = r"PCI\VEN_1AF4&DEV_1042&SUBSYS_00021AF4&REV_01\3&1"
DISK = r"SCSI\Disk&Ven_AERO&Prod_VIRTIO\4&1"
DISK_CLASS = "{53f56307-b6bf-11d0-94f2-00a0c91efb8b}"
PARENT = r"Properties\{4340a6c5-93fa-4706-972c-7b648008a5a7}\0008"  # DEVPKEY_Device_Parent

# storhost/front/sg_wire.h
REQUEST = struct.Struct("<IIIBBBx16s")
REPLY = struct.Struct("<IIBBH256x")
MAGIC = 0x73672D31
COMMAND, IO_CONTROL, RESIZE = range(3)
NONE, IN, OUT = range(3)
READ_16, REPORT_LUNS = 0x88, 0xA0


def build_driver(directory):
    """wine_disk.sys. 64-bit, as Wine's device processes are, whatever the programs are."""
    source = pathlib.Path(__file__).with_name("wine_disk.c")
    include = [word for path in (hosting.REPOSITORY / "storhost", MINGW, MINGW / "ddk") for word in ("-isystem", path)]
    commands = [
        ["clang-19", "--target=x86_64-w64-mingw32", "-ffreestanding", "-O1", "-Wall", "-Wextra", "-Werror",
         "-Wno-#warnings", *include, "-c", source, "-o", "wine_disk.o"],
        ["lld-link-19", "/driver", "/subsystem:native", "/entry:DriverEntry", "/nodefaultlib", "/out:wine_disk.sys",
         "wine_disk.o", LIBRARIES / "libntoskrnl.a", LIBRARIES / "libws2_32.a"],
    ]
    for command in commands:
        result = subprocess.run([str(word) for word in command], cwd=directory, capture_output=True, text=True,
                                timeout=hosting.DEADLINE)
        assert result.returncode == 0, result.stderr
    return directory / "wine_disk.sys"


def receive(connection, length):
    data = b""
    while len(data) < length:
        chunk = connection.recv(length - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


class Relay:
    """Between Wine's sockets, which are TCP's, and storhost's.

    spoil: the operation code of a command whose data have one wrong bit: a read's at byte 5 MiB of the disk, any
    other's in the last byte but six, where REPORT LUNS has the number of its last unit.
    """

    def __init__(self, path, spoil=None):
        self.path = path
        self.spoil = spoil
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def connect(self):
        server = socket.socket(socket.AF_UNIX)
        server.settimeout(hosting.DEADLINE)
        server.connect(str(self.path))
        return server

    def resize(self, size):
        """As the host of a virtual machine does it: the driver is told by its device."""
        with self.connect() as server:
            server.sendall(REQUEST.pack(MAGIC, 0, 30, NONE, 8, RESIZE, struct.pack("<Q", size)))
            error, *_ = REPLY.unpack(receive(server, REPLY.size))
        assert error == 0, f"storhost did not resize the disk to {size}"

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with client, self.connect() as server, contextlib.suppress(EOFError, OSError):
                    while True:
                        self._pass_one_on(client, server)

    def _pass_one_on(self, client, server):
        header = receive(client, REQUEST.size)
        _, length, _, direction, _, kind, cdb = REQUEST.unpack(header)
        sent = receive(client, length) if direction == OUT or kind == IO_CONTROL else b""
        server.sendall(header + sent)
        header = receive(server, REPLY.size)
        error, transferred, *_ = REPLY.unpack(header)
        data = bytearray(receive(server, transferred) if not error and direction == IN else b"")
        if kind == COMMAND and cdb[0] == self.spoil:
            place = 5 * hosting.MIB - int.from_bytes(cdb[2:10], "big") * 512 if cdb[0] == READ_16 else len(data) - 7
            if 0 <= place < len(data) and (any(data) or cdb[0] != READ_16):  # a blank disk stays one
                data[place] ^= 1
        client.sendall(header + data)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(hosting.DEADLINE)


class Host:
    """`storhost sg` with a disk behind a shipped driver, from its start to its report."""

    def __init__(self, build, image, directory, **keywords):
        self.socket = directory / "sg.sock"
        self.report_file = directory / "report.json"
        self.log = (directory / "sg.log").open("wb")
        command = [build.program, "sg", build.driver,
                   *hosting.options(disk=image, socket=self.socket, report=self.report_file, seed=1, **keywords)]
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        end = time.monotonic() + hosting.DEADLINE
        while not self.socket.exists():
            assert self.process.poll() is None and time.monotonic() < end, "storhost sg does not serve"
            time.sleep(0.01)

    def stop(self):
        """Its exit status: 0, or 1 with findings."""
        self.process.terminate()
        try:
            return self.process.wait(hosting.DEADLINE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.log.close()


def registry_file(function, service):
    """What Windows' Plug and Play would have written of a PCI function and its disk, as a file for regedit."""
    root = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet"
    lines = ["REGEDIT4", ""]

    def key(path, *values):
        lines.extend([f"[{root}\\{path}]", *values, ""])

    def escaped(text):
        return text.replace("\\", "\\\\")

    key(rf"Services\{SERVICE}", *(f'"{name}"=dword:{value:x}' for name, value in service.items()))
    if function:
        key(rf"Enum\{function}", '"ClassGUID"="{4D36E97B-E325-11CE-BFC1-08002BE10318}"')
        key(rf"Enum\{DISK}", '"ClassGUID"="{4D36E967-E325-11CE-BFC1-08002BE10318}"')
        parent = (function + "\0").encode("utf-16-le")
        key(rf"Enum\{DISK}\{PARENT}", "@=hex(ffff0012):" + ",".join(f"{byte:02x}" for byte in parent))
        name = rf"{DISK.replace(chr(92), '#')}#{DISK_CLASS}"
        path = rf"Control\DeviceClasses\{DISK_CLASS}\##?#{name}"
        key(path, f'"DeviceInstance"="{escaped(DISK)}"')
        key(path + r"\#", f'"SymbolicLink"="{escaped(chr(92) * 2 + "?" + chr(92) + name)}"')
        key(path + r"\#\Control", '"Linked"=dword:1')
    return "\n".join(lines).replace("\n", "\r\n")


class Serial:
    """COM1 of a prefix: a terminal whose other end is read all the time."""

    def __init__(self):
        self.main, self.line = os.openpty()
        tty.setraw(self.line)
        self.received = b""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    @property
    def name(self):
        return os.ttyname(self.line)

    def _read(self):
        with contextlib.suppress(OSError):
            while True:
                self.received += os.read(self.main, 4096)

    def stop(self):
        """What came. The last writer is gone, so that reading ends when everything has been read."""
        os.close(self.line)
        self.thread.join(hosting.DEADLINE)
        os.close(self.main)
        return self.received


class Machine:
    """A Windows directory and a registry of its own, and in them the disk of one hosted driver, if there is one."""

    def __init__(self, directory, driver, architecture, relay=None, volume=False, payload=None,
                 function=FUNCTION):
        assert (WINE32 / "i386-windows").is_dir(), "32-bit Wine is missing: tools/install-wine32.sh"
        self.directory = directory
        self.serial = Serial()
        self.drive = directory / "wine" / "drive_c"
        windows = self.drive / "windows"
        for name, dlls in (("system32", WINE_DLLS), ("syswow64", WINE32 / "i386-windows")):
            (windows / name).mkdir(parents=True)
            for file in dlls.iterdir():
                (windows / name / file.name).symlink_to(file)
        devices = self.drive.parent / "dosdevices"
        devices.mkdir()
        links = {"c:": "../drive_c", "z:": "/", "com1": self.serial.name}
        for letter in "tuv" if volume else "":
            (directory / letter).mkdir()
            links[letter + ":"] = directory / letter
        for name, target in links.items():
            (devices / name).symlink_to(target)
        (self.drive.parent / ".update-timestamp").write_text("disable\n")
        self.program = self.drive / "selftest.exe"
        shutil.copy(SELFTEST[architecture], self.program)
        self.environment = {**os.environ, "WINEPREFIX": str(self.drive.parent), "WINEDEBUG": "-all",
                            "WINEDLLOVERRIDES": "mscoree,mshtml=", "WINEDLLPATH": str(WINE32)}
        self.environment.pop("DISPLAY", None)
        try:
            self._start(driver, relay, payload, function)
        except BaseException:
            self.stop()
            raise

    def _start(self, driver, relay, payload, function):
        # Stays when the last program ends, and so do devices.
        subprocess.run(["wineserver", "--persistent"], env=self.environment, check=True, timeout=hosting.DEADLINE)
        service = {"Connection": relay.port if relay else 0, **({"Payload": payload} if payload is not None else {})}
        (self.drive / "machine.reg").write_text(registry_file(function if relay else None, service), newline="")
        self.wine("regedit", "/S", r"C:\machine.reg")
        if relay is not None:
            shutil.copy(driver, self.drive)
            self.create_service(rf"C:\{driver.name}")
            self.wine("net", "start", SERVICE)

    def create_service(self, path):
        """Wine's service manager is started by the first who asks for it, and on a busy machine comes too late for him."""
        for attempt in range(SERVICE_ATTEMPTS):
            try:
                return self.wine("sc", "create", SERVICE, "type=", "kernel", "start=", "demand", "binPath=", path)
            except subprocess.CalledProcessError:
                if attempt == SERVICE_ATTEMPTS - 1:
                    raise
                time.sleep(1)

    def wine(self, *words):
        """No pipes: the first program's are also those of the services, which stay."""
        with (self.directory / "wine.log").open("ab") as log:
            subprocess.run(["wine", *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                           check=True, timeout=hosting.DEADLINE)

    def run(self, arguments, variables, on_line):
        """Runs the selftest; on_line(line) sees each line as it comes. (exit status, lines)"""
        process = subprocess.Popen(["wine", r"C:\selftest.exe", *arguments], env={**self.environment, **variables},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        killer = threading.Timer(hosting.DEADLINE, process.kill)
        killer.start()
        lines = []
        try:
            with process.stdout:
                for line in process.stdout:
                    lines.append(line)
                    on_line(line.decode().rstrip("\r\n"))
            return process.wait(), lines
        finally:
            killer.cancel()

    def stop(self):
        """What came over the serial line, and the log file if there is one."""
        subprocess.run(["wineserver", "--kill"], env=self.environment, capture_output=True, timeout=hosting.DEADLINE)
        log = self.drive / LOG_FILE
        told = self.serial.stop(), log.read_bytes() if log.exists() else b""
        shutil.rmtree(self.drive.parent)
        return told


class Transcript:
    """One run of the selftest: status, lines, and what the driver's machine reports (None without one)."""

    def __init__(self, status, lines, report):
        self.status = status
        self.lines = lines
        self.report = report

    @property
    def told(self):
        return f"status {self.status}\n" + "\n".join(self.lines)

    def field(self, marker, name):
        """Of the first line that has the marker and the field."""
        for line in self.lines:
            match = re.search(rf"(?:^|\|){re.escape(marker)}\|.*?\b{name}=([^|]*)", line)
            if match:
                return match[1]
        raise AssertionError(f"no field {name} of {marker}\n{self.told}")


def run_selftest(directory, driver, build, image=None, *, arguments=(), variables=None, volume=False, payload=None,
                 spoil=None, function=FUNCTION, resize_to=None, **options):
    """The selftest against the image behind a driver, or in a machine without one. All lines came by all three ways."""
    with contextlib.ExitStack() as stack:
        host = relay = None
        if image is not None:
            host = Host(build, image, directory, **options)
            stack.callback(host.stop)
            relay = Relay(host.socket, spoil)
            stack.callback(relay.stop)
        machine = Machine(directory, driver, build.architecture, relay, volume, payload, function)

        def on_line(line):
            if resize_to is not None and "|virtio-blk-resize|READY|" in line:
                relay.resize(resize_to)

        try:
            status, lines = machine.run(arguments, variables or {}, on_line)
        finally:
            serial, log = machine.stop()
    assert b"".join(lines) == serial == log, f"stdout {lines}\nCOM1 {serial}\nlog {log}"
    assert all(line.endswith(b"\r\n") for line in lines), lines
    report = None
    if host is not None:
        report = json.loads(host.report_file.read_text())
        assert report["findings"] == 0, report
    return Transcript(status, [line.decode().rstrip("\r\n") for line in lines], report)
