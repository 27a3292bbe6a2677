#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Plays QEMU for the host harness: its options, its monitor, and a machine that does what a script says.

FAKE_QEMU names a JSON file. script is a list of steps for the machine:
["print", TEXT]  ["await", QMP-COMMAND]  ["msix", true]  ["event", NAME, DATA]  ["flood", TEXT]  ["exit", STATUS, TEXT]
["sleep", SECONDS]
After the last one it runs on and prints nothing. words is a file for the command line. What may be there, too:
properties, identity, layout, vectors, masked, endless and device (of the disk's function), mib or bytes (of the disk),
refuse (QMP commands that it does not have), mute (QMP commands that it never answers), stubborn (does not power down).
"""
import contextlib
import json
import os
import pathlib
import re
import select
import socket
import struct
import sys
import time

MIB = 1 << 20
GUESTS_ADDRESS = 0x80000010  # in the port of configuration addresses
# cfg_type: BAR, offset; QEMU's place for each, and the contract's
LAYOUTS = {"qemu": {1: (4, 0), 3: (4, 0x1000), 4: (4, 0x2000), 2: (4, 0x3000)},
           "contract": {1: (0, 0), 2: (0, 0x1000), 3: (0, 0x2000), 4: (0, 0x3000)}, "none": {1: (4, 0)}}


def configuration(play, msix):
    """256 bytes of a virtio disk's configuration space: identity, MSI-X, and the registers' places."""
    space = bytearray(256)
    vendor, device, revision = play.get("identity", (0x1AF4, 0x1042, 1))
    struct.pack_into("<HH4xB", space, 0, vendor, device, revision)
    struct.pack_into("<HH", space, 0x2C, 0x1AF4, 0x1100)
    place, before = 0x40, 0x34
    if play.get("vectors", 2):
        control = play.get("vectors", 2) - 1 | (0x8000 if msix else 0) | (0x4000 if play.get("masked") else 0)
        space[before] = place
        struct.pack_into("<BBH", space, place, 0x11, 0, control)
        place, before = place + 12, place + 1
    for kind, (bar, offset) in LAYOUTS[play.get("layout", "qemu")].items():
        space[before] = place
        struct.pack_into("<BBBBB3xIII", space, place, 9, 0, 20, kind, bar, offset, 0x1000, 4)
        place, before = place + 20, place + 1
    if play.get("endless"):
        space[before] = 0x40
    return bytes(space)


def chardev(name):
    for option in sys.argv:
        path = re.search(f"^socket,id={name},path=(.*)", option)
        if path:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path[1].replace(",,", ","))
            return connection
        port = re.search(rf"^socket,id={name},host=127.0.0.1,port=(\d+)", option)
        if port:
            return socket.create_connection(("127.0.0.1", int(port[1])))
    raise SystemExit(f"fake QEMU: no chardev {name}")


class Machine:
    def __init__(self, play):
        self.play = play
        self.serial, self.qmp = chardev("aero-serial"), chardev("aero-qmp")
        self.pending = b""
        self.running = self.msix = False
        self.address = GUESTS_ADDRESS
        self.size = play.get("bytes", play.get("mib", 64) * MIB)
        self.heard = []
        self.say({"QMP": {"version": {}, "capabilities": []}})

    def say(self, message):
        self.qmp.sendall(json.dumps(message).encode() + b"\r\n")

    def monitor(self, line):
        if line == "i /w 0xcf8":
            return f"portl[0x0cf8] = {self.address:#010x}\r\n"
        if line.startswith("o /w 0xcf8 "):
            self.address = int(line.split()[-1], 16)
            return ""
        if line == "i /w 0xcfc":
            assert not self.running, "configuration space is read while the guest may read it"
            slot, offset = self.address >> 11 & 31, self.address & 0xFC
            told = struct.unpack_from("<I", configuration(self.play, self.msix), offset)[0] if slot == 2 else 0xFFFFFFFF
            return f"portl[0x0cfc] = {told:#010x}\r\n"
        return f"unknown command: '{line}'\r\n"

    def answer(self, command, arguments):
        if command == "cont":
            assert self.address == GUESTS_ADDRESS, "the guest's address is not put back"
        if command in ("cont", "stop"):
            self.running = command == "cont"
        if command in ("block_resize", "blockdev-resize"):
            self.size = arguments["size"]
        if command == "screendump":
            pathlib.Path(arguments["filename"]).write_bytes(b"P6 1 1 255\n\0\0\0")
        answers = {
            "query-status": {"running": self.running},
            "query-pci": [{"bus": 0, "devices": [
                {"bus": 0, "slot": 1, "function": 0, "qdev_id": "", "pci_bridge": {"bus": {}, "devices": []}},
                {"bus": 0, "slot": 2, "function": 0, "qdev_id": self.play.get("device", "aero-blk")}]}],
            "query-block": [{"device": "aero-disk", "inserted": {"image": {"virtual-size": self.size}}}],
        }
        if command == "human-monitor-command":
            return self.monitor(arguments["command-line"])
        return answers.get(command, {})

    def serve(self, seconds):
        """Answers QMP commands for so long; quit ends the process."""
        if not select.select([self.qmp], [], [], seconds)[0]:
            return
        data = self.qmp.recv(65536)
        if not data:
            raise SystemExit(0)
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            command = said["execute"]
            self.heard.append(command)
            if command in self.play.get("mute", ()):
                continue
            if command in self.play.get("refuse", ("blockdev-resize",)):
                self.say({"id": said["id"], "error": {"class": "CommandNotFound",
                                                      "desc": f"The command {command} has not been found"}})
                continue
            self.say({"return": self.answer(command, said.get("arguments", {})), "id": said["id"]})
            if command == "quit":
                raise SystemExit(0)
            if command == "system_powerdown" and not self.play.get("stubborn"):
                self.say({"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}})

    def step(self, verb, *words):
        if verb == "print":
            self.serial.sendall(words[0].encode())
        elif verb == "await":
            while words[0] not in self.heard:
                self.serve(1)
            self.heard.remove(words[0])
        elif verb == "msix":
            self.msix = words[0]
        elif verb == "event":
            self.say({"event": words[0], "data": words[1]})
        elif verb == "flood":
            while True:
                self.serial.sendall(words[0].encode() * 1024)
                self.serve(0)
        elif verb == "sleep":
            end = time.monotonic() + words[0]
            while time.monotonic() < end:
                self.serve(0.05)
        elif verb == "exit":
            sys.stderr.write(words[1])
            sys.stderr.flush()
            os._exit(words[0])
        else:
            raise AssertionError(f"no such step: {verb}")

    def go(self):
        while not self.running:
            self.serve(1)
        for step in self.play["script"]:
            # A guest runs on while the host looks at it, but not while it is stopped.
            self.serve(0.02)
            while not self.running:
                self.serve(1)
            self.step(*step)
        while True:
            self.serve(1)


def main():
    play = json.loads(pathlib.Path(os.environ["FAKE_QEMU"]).read_text(encoding="utf-8"))
    if sys.argv[1:] == ["-device", "virtio-blk-pci,help"]:
        print("virtio-blk-pci options:")
        for name in play.get("properties", ["vectors=<uint32>", "disable-legacy=<OnOffAuto>"]):
            print(f"  {name}")
        return
    pathlib.Path(play["words"]).write_text(json.dumps(sys.argv), encoding="utf-8")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        Machine(play).go()


main()
