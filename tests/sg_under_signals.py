#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Reads an SG_IO device (argument 1) many times while signals come all the time; prints how many came meanwhile."""
import ctypes
import fcntl
import signal
import sys

SG_IO = 0x2285
FROM_DEVICE = -3
BLOCKS, BLOCK = 512, 512
READS = 300
TIMEOUT = 20_000  # milliseconds


class Header(ctypes.Structure):
    """struct sg_io_hdr. [linux scsi/sg.h]"""
    _fields_ = [("interface", ctypes.c_int), ("direction", ctypes.c_int), ("cdb_length", ctypes.c_ubyte),
                ("sense_room", ctypes.c_ubyte), ("vectors", ctypes.c_ushort), ("length", ctypes.c_uint),
                ("data", ctypes.c_void_p), ("cdb", ctypes.c_char_p), ("sense", ctypes.c_void_p),
                ("timeout", ctypes.c_uint), ("flags", ctypes.c_uint), ("pack_id", ctypes.c_int),
                ("user", ctypes.c_void_p), ("status", ctypes.c_ubyte), ("masked", ctypes.c_ubyte),
                ("message", ctypes.c_ubyte), ("sense_length", ctypes.c_ubyte), ("host_status", ctypes.c_ushort),
                ("driver_status", ctypes.c_ushort), ("residue", ctypes.c_int), ("duration", ctypes.c_uint),
                ("info", ctypes.c_uint)]


def main():
    came = 0

    def count(_number, _frame):
        nonlocal came
        came += 1

    data = ctypes.create_string_buffer(BLOCKS * BLOCK)
    with open(sys.argv[1], "rb+", buffering=0) as device:
        signal.signal(signal.SIGALRM, count)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for _ in range(READS):
            header = Header(interface=ord("S"), direction=FROM_DEVICE, cdb_length=10, length=len(data),
                            data=ctypes.addressof(data), timeout=TIMEOUT,
                            cdb=b"\x28\0\0\0\0\0\0" + BLOCKS.to_bytes(2, "big") + b"\0")
            fcntl.ioctl(device, SG_IO, header)
            if header.status or header.host_status or header.residue:
                sys.exit(f"status {header.status}, host status {header.host_status}, {header.residue} bytes missing")
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(came)


main()
