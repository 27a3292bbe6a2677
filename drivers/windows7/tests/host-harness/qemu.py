# SPDX-License-Identifier: MIT OR Apache-2.0
"""One QEMU process: its options, its two sockets (QMP and the serial port), and the end of every wait for it."""
import collections
import contextlib
import json
import pathlib
import select
import socket
import subprocess
import tempfile
import time

import markers

START_SECONDS = 30  # for QEMU to connect to both sockets
ANSWER_SECONDS = 30  # for one QMP command
END_SECONDS = 5  # for QEMU to go when told
SLICE_SECONDS = 1  # of a wait: on Windows nothing else, not even Ctrl-C, ends it
SILENCE_SECONDS = 1  # after the machine's end, until what it had printed has arrived
DISK, DEVICE = "aero-disk", "aero-blk"


class Refused(Exception):
    """What cannot be started as asked for, as a sentence for whoever asked."""


class Hung(Exception):
    """QEMU does not answer."""


class Silent(Exception):
    """The guest printed no further line until the deadline."""


class Ended(Exception):
    """The machine is gone before it was to go."""


class CommandFailed(Exception):
    """QEMU's answer to a QMP command was an error."""


def last_line(data):
    lines = [line for line in data.splitlines() if line.strip()]
    return markers.printable(lines[-1]).strip() if lines else ""


def ask(program, *arguments):
    """What QEMU prints about itself."""
    try:
        result = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                                timeout=START_SECONDS)
    except OSError as error:
        raise Refused(f"QEMU cannot be run: {program}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"QEMU does not answer '{' '.join(arguments)}' within {START_SECONDS} s: {program}") from None
    if result.returncode:
        why = last_line(result.stderr) or f"exit status {result.returncode}"
        raise Refused(f"QEMU refuses '{' '.join(arguments)}': {why}")
    return result.stdout.decode("utf-8", "replace")


def disk_properties(program):
    """Names of the properties that this QEMU's virtio disk has."""
    text = ask(program, "-device", "virtio-blk-pci,help")
    return {line.split("=")[0].strip() for line in text.splitlines() if "=" in line}


def value(text):
    """A value of an option with several: commas in it are doubled."""
    return str(text).replace(",", ",,")


def device_options(properties, vectors):
    """The disk, with the contract's identity [contract 1.1]; vectors None: as many as QEMU gives by itself."""
    words = ["virtio-blk-pci", f"id={DEVICE}", f"drive={DISK}", "disable-legacy=on"]
    if "x-pci-revision" in properties:
        words.append("x-pci-revision=0x01")
    if vectors is not None:
        words.append(f"vectors={vectors}")
    return words


def listen(directory, name):
    """A socket that QEMU connects to, and the option that has it do so. Windows' Python has no UNIX sockets."""
    if hasattr(socket, "AF_UNIX"):
        path = pathlib.Path(directory) / f"{name}.sock"
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        where = f"path={value(path)}"
    else:
        server = socket.socket(socket.AF_INET)
        server.bind(("127.0.0.1", 0))
        where = f"host=127.0.0.1,port={server.getsockname()[1]}"
    server.listen(1)
    return server, where


class Qemu:
    """A machine that was made but not started: with Qemu(words, log, serial_log) as machine: machine.cont().

    words(qmp, serial) is the command line, given the places of the two sockets; log and serial_log are files for what
    QEMU and the guest print. QEMU's own log of a serial port repeats what a socket did not take at once: it is kept here.
    """

    def __init__(self, words, log, serial_log):
        self._words = words
        self._log, self._serial_log = log, serial_log
        self._lines = collections.deque()
        self._serial_text, self._qmp_text = markers.Lines(), b""
        self._replies, self._number = {}, 0
        self._stack = contextlib.ExitStack()
        self._process = self._serial = self._qmp = None
        self.ended = None  # why, once it is
        self._gone = False  # and no answer can come any more

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def _start(self, stack):
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="aero-win7-"))
        servers, places = {}, {}
        for name in ("qmp", "serial"):
            servers[name], places[name] = listen(directory, name)
            stack.callback(servers[name].close)
        words = self._words(**places)
        errors = stack.enter_context(open(self._log, "wb"))
        self._printed = stack.enter_context(open(self._serial_log, "wb"))
        try:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        except OSError as error:
            raise Refused(f"QEMU cannot be run: {words[0]}: {error.strerror}") from None
        stack.callback(self._end)
        deadline = time.monotonic() + START_SECONDS
        self._serial = self._accept(stack, servers["serial"], deadline)
        self._qmp = self._accept(stack, servers["qmp"], deadline)
        try:
            self.execute("qmp_capabilities")
        except (Ended, CommandFailed, Hung) as error:
            raise Refused(self._why_not(f"does not speak QMP: {error}")) from None

    def _accept(self, stack, server, deadline):
        while time.monotonic() < deadline:
            if select.select([server], [], [], 0.05)[0]:
                connection = server.accept()[0]
                stack.callback(connection.close)
                return connection
            if self._process.poll() is not None:
                raise Refused(self._why_not(f"exit status {self._process.returncode}"))
        raise Refused(self._why_not(f"no connection within {START_SECONDS} s"))

    def _why_not(self, otherwise):
        return f"QEMU did not start: {self.told() or otherwise}"

    def told(self):
        """What QEMU itself printed last."""
        return last_line(pathlib.Path(self._log).read_bytes())

    def _end(self):
        """Ends the process, politely first."""
        if self._qmp:
            with contextlib.suppress(Ended, Hung, CommandFailed, subprocess.TimeoutExpired):
                self.execute("quit", seconds=END_SECONDS)
                self._process.wait(END_SECONDS)
        for signal in (self._process.terminate, self._process.kill):
            if self._process.poll() is None:
                signal()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(END_SECONDS)

    def _take(self, connection):
        """Takes in what arrived at one socket; an end of the machine is noted, not raised."""
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._gone = True
            self.ended = self.ended or f"QEMU went away ({self.told() or 'without a word'})"
            return False
        if connection is self._serial:
            self._printed.write(data)
            self._lines.extend(self._serial_text.feed(data))
            return True
        *messages, self._qmp_text = (self._qmp_text + data).split(b"\n")
        for message in messages:
            if message.strip():
                self._take_message(message)
        return True

    def _take_message(self, message):
        try:
            said = json.loads(message)
        except ValueError:
            self.ended = self.ended or f"QEMU's monitor said what is no JSON: {message[:80]!r}"
            return
        if "id" in said:
            self._replies[said["id"]] = said
        event = said.get("event")
        if event == "SHUTDOWN":
            self.ended = self.ended or f"the machine ended ({said.get('data', {}).get('reason', 'no reason given')})"
        if event == "GUEST_PANICKED":
            self.ended = "the guest panicked"

    def _wait(self, deadline):
        """Waits for either socket; False if nothing came for a while or until the deadline, or nothing more can come."""
        sources = [source for source in (self._serial, self._qmp) if source and source.fileno() >= 0]
        seconds = min(SLICE_SECONDS, max(0.0, deadline - time.monotonic()))
        ready = select.select(sources, [], [], seconds)[0]
        return any([self._take(source) for source in ready])

    def line(self, deadline):
        """The next line of the serial port. What was printed before the machine ended is still told."""
        while not self._lines:
            if self.ended:
                last = min(deadline, time.monotonic() + 10 * SILENCE_SECONDS)
                while time.monotonic() < last and self._wait(min(last, time.monotonic() + SILENCE_SECONDS)):
                    pass
                if not self._lines:
                    raise Ended(self.ended)
            else:
                self._wait(deadline)
            # Also while lines come: a guest may print without end.
            if time.monotonic() >= deadline:
                raise Silent(markers.printable(self._serial_text.rest))
        return self._lines.popleft()

    def execute(self, command, seconds=None, **arguments):
        """One QMP command; underscores of the arguments' names are dashes."""
        self._number += 1
        said = {"execute": command, "id": self._number,
                "arguments": {name.replace("_", "-"): given for name, given in arguments.items()}}
        try:
            self._qmp.sendall(json.dumps(said).encode() + b"\r\n")
        except OSError:
            raise Ended(self.ended or "QEMU went away") from None
        seconds = seconds or ANSWER_SECONDS
        deadline = time.monotonic() + seconds
        while self._number not in self._replies:
            if time.monotonic() >= deadline:
                raise Hung(f"no answer to {command} within {seconds} s")
            if not self._wait(deadline) and self._gone:
                raise Ended(self.ended)
        reply = self._replies.pop(self._number)
        if "error" in reply:
            raise CommandFailed(f"{command}: {markers.printable(str(reply['error'].get('desc')).encode())}")
        return reply["return"]

    def cont(self):
        self.execute("cont")

    @contextlib.contextmanager
    def paused(self):
        """Nothing in the machine moves meanwhile."""
        running = self.execute("query-status").get("running")
        if running:
            self.execute("stop")
        try:
            yield
        finally:
            if running:
                self.execute("cont")

    def monitor(self, line):
        return self.execute("human-monitor-command", command_line=line)

    def disk_bytes(self):
        for block in self.execute("query-block"):
            if block.get("device") == DISK:
                return block["inserted"]["image"]["virtual-size"]
        raise CommandFailed(f"query-block: no {DISK}")

    def resize_disk(self, size):
        """Gives the disk another size, by whichever of its names and commands this QEMU has."""
        attempts = [("blockdev-resize", {"node_name": DISK}), ("block_resize", {"device": DISK}),
                    ("block_resize", {"node_name": DISK})]
        errors = []
        for command, names in attempts:
            try:
                return self.execute(command, size=size, **names)
            except CommandFailed as error:
                errors.append(str(error))
        raise CommandFailed("; ".join(errors))

    def photograph(self, path):
        """The screen, as far as there is one, as a PPM file."""
        with contextlib.suppress(CommandFailed, Ended, Hung, OSError):
            self.execute("screendump", filename=str(path))
