# SPDX-License-Identifier: MIT OR Apache-2.0
"""Builds miniports that are none of ours in shape: they use the kernel as drivers of other people do."""
import hosting
from broken import build

HERE = hosting.REPOSITORY / "tests" / "foreign"

# The sources of each driver.
SOURCES = {
    "ramdisk": [HERE / "ramdisk.c", HERE / "scsi.c"],
    "routines": [HERE / "routines.c"],
    "slots": [HERE / "slots.c", HERE / "scsi.c", build.HERE / "function.c"],
    "virtual": [HERE / "virtual.c"],
}

# What they import of each module, as definition files spell it: on x86 with the bytes of its parameters.
IMPORTS = {
    "x64": {
        "ntoskrnl.exe": ["DbgPrint", "DbgPrintEx", "ExAllocatePoolWithTag", "ExFreePoolWithTag", "KeAcquireSpinLockRaiseToDpc",
                         "KeBugCheckEx", "KeCancelTimer", "KeInitializeDpc", "KeInitializeTimer", "KeInsertQueueDpc",
                         "KeReleaseSpinLock", "KeSetTimer", "MmGetSystemRoutineAddress", "RtlInitUnicodeString"],
    },
    "x86": {
        "ntoskrnl.exe": ["DbgPrint", "DbgPrintEx", "ExAllocatePoolWithTag@12", "ExFreePoolWithTag@8", "KeBugCheckEx@20",
                         "KeCancelTimer@4", "KeInitializeDpc@12", "KeInitializeSpinLock@4", "KeInitializeTimer@4",
                         "KeInsertQueueDpc@12", "KeQuerySystemTime@4", "KeQueryTickCount@4", "KeSetTimer@16",
                         "MmGetSystemRoutineAddress@4", "RtlInitUnicodeString@8", "_alldiv"],
        "hal.dll": ["@KfAcquireSpinLock@4", "@KfLowerIrql@4", "@KfRaiseIrql@4", "@KfReleaseSpinLock@8", "KeGetCurrentIrql@0"],
    },
}


class Miniports:
    """The miniports of this directory for one architecture, each built when it is first asked for."""

    def __init__(self, directory, architecture):
        self._builder = build.Builder(directory, architecture)
        self._same = [self._builder.compile(build.WDK / "lib" / "memory.c", "memory"),
                      self._builder.import_library(build.WDK / "lib" / architecture / "storport.def")]
        self._same += [self._builder.imports(module, names) for module, names in IMPORTS[architecture].items()]
        self._built = {}

    def driver(self, which, *flags):
        """which: a name of SOURCES."""
        name = "".join([which, *flags]).replace("=", "").replace("-D", "-")
        if name not in self._built:
            objects = [self._builder.compile(source, f"{name}-{source.stem}", f"-I{build.HERE}", *flags)
                       for source in SOURCES[which]]
            self._built[name] = self._builder.link(name, *objects, *self._same)
        return self._built[name]
