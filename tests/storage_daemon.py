# SPDX-License-Identifier: MIT OR Apache-2.0
"""qemu-storage-daemon: block devices that other people's code serves over vhost-user."""
import contextlib
import subprocess
import time

import hosting


class Daemon:
    """One that exports one block node, by QEMU's own description of it, and can be killed and started again."""

    def __init__(self, directory, *blockdevs, **export):
        self.socket = directory / "vhost.sock"
        self.device = f"vhost-user:{self.socket}"
        self._log_file = directory / "daemon.log"
        words = {"type": "vhost-user-blk", "id": "disk", "addr.type": "unix", "addr.path": self.socket,
                 "node-name": "disk", "writable": "on", **export}
        self._command = ["qemu-storage-daemon"]
        for blockdev in blockdevs:
            self._command += ["--blockdev", blockdev]
        self._command += ["--export", ",".join(f"{name}={value}" for name, value in words.items())]
        self._process = None

    @property
    def told(self):
        return self._log_file.read_text(errors="replace")[-4000:]

    def start(self):
        self.socket.unlink(missing_ok=True)
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + hosting.DEADLINE
        while not self.socket.exists():
            assert self._process.poll() is None, f"qemu-storage-daemon ended\n{self.told}"
            assert time.monotonic() < end, "qemu-storage-daemon does not listen"
            time.sleep(0.01)

    def kill(self):
        """With SIGKILL: whatever it holds is gone."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None

    def is_alive(self):
        return self._process is not None and self._process.poll() is None


@contextlib.contextmanager
def serve(directory, *blockdevs, **export):
    """A daemon as long as the block lasts; it must live until then."""
    daemon = Daemon(directory, *blockdevs, **export)
    daemon.start()
    try:
        yield daemon
        assert daemon.is_alive(), f"qemu-storage-daemon died\n{daemon.told}"
    except BaseException:
        print(daemon.told)
        raise
    finally:
        daemon.kill()


def file(image, **options):
    words = {"driver": "file", "node-name": "disk", "filename": image, **options}
    return ",".join(f"{name}={value}" for name, value in words.items())


def qcow2(image):
    return (f"driver=file,node-name=protocol,filename={image}", "driver=qcow2,node-name=disk,file=protocol")


def null(size):
    return f"driver=null-co,node-name=disk,size={size},read-zeroes=on"
