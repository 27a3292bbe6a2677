# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compiles and links small drivers for tests, as cmake/windows7.cmake does with the one that ships."""
import hosting

HERE = hosting.REPOSITORY / "tests" / "broken"
WDK = hosting.REPOSITORY / "wdk7"
DRIVERS = hosting.REPOSITORY / "drivers" / "windows7" / "virtio"

SAME = [HERE / "miniport.c", HERE / "function.c", WDK / "lib" / "memory.c"]
MISTAKE = HERE / "mistake.c"
INCLUDES = [WDK / "include", DRIVERS / "common" / "include", DRIVERS / "platform" / "storport"]
COMPILE = ["clang-19", "--target=x86_64-pc-windows-msvc", "-std=gnu89", "-ffreestanding", "-fno-stack-protector",
           "-fms-extensions", "-mno-red-zone", "-O1", "-DDBG=0", "-Wall", "-Wextra", "-Wdeclaration-after-statement",
           "-Werror", *(f"-I{directory}" for directory in INCLUDES)]
LINK = ["lld-link-19", "/nologo", "/driver", "/subsystem:native,6.01", "/osversion:6.1", "/entry:DriverEntry",
        "/nodefaultlib", "/machine:x64", "/release", "/Brepro"]


def tool(*command):
    result = hosting.run(*command)
    assert result.returncode == 0, result.told


def import_library(directory, module, names):
    """An import library that says that `module` exports those names."""
    definition = directory / f"{module}.def"
    library = directory / f"{module}.lib"
    definition.write_text("\n".join([f"LIBRARY {module}", "EXPORTS", *names, ""]))
    tool("llvm-dlltool-19", "-m", "i386:x86-64", "-d", definition, "-l", library)
    return library


def compile_source(source, output, *flags):
    tool(*COMPILE, *flags, "-c", source, "-o", output)
    return output


def link(output, *inputs):
    tool(*LINK, f"/out:{output}", *inputs)
    return output


def storport_library(directory):
    """The one that the shipped driver is linked with."""
    library = directory / "storport.lib"
    tool("llvm-dlltool-19", "-m", "i386:x86-64", "-d", WDK / "lib" / "x64" / "storport.def", "-l", library)
    return library


class Parts:
    """The miniports of this directory, each built when it is first asked for."""

    def __init__(self, directory):
        self._directory = directory
        self._same = [compile_source(source, directory / f"{source.stem}.obj") for source in SAME]
        self._same += [storport_library(directory), import_library(directory, "ntoskrnl.exe", ["IoCreateDevice"])]

    def miniport(self, mistake):
        """mistake: a name of the enumeration in miniport.h."""
        driver = self._directory / f"{mistake}.sys"
        if not driver.exists():
            mistaken = compile_source(MISTAKE, self._directory / f"{mistake}.obj", f"-DMISTAKE={mistake}")
            link(driver, mistaken, *self._same)
        return driver
