# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compiles and links small drivers for tests, as cmake/windows7.cmake does with the one that ships."""
import hosting

HERE = hosting.REPOSITORY / "tests" / "broken"
WDK = hosting.REPOSITORY / "wdk7"
VIRTIO = hosting.REPOSITORY / "drivers" / "windows7" / "virtio"

SAME = [HERE / "miniport.c", HERE / "function.c", WDK / "lib" / "memory.c"]
MISTAKE = HERE / "mistake.c"
INCLUDES = [WDK / "include", VIRTIO / "common" / "include", VIRTIO / "platform" / "storport"]
COMPILE = ["clang-19", "-std=gnu89", "-ffreestanding", "-fno-stack-protector", "-fms-extensions", "-O1", "-g",
           "-gcodeview", "-DDBG=0", "-Wall", "-Wextra", "-Wdeclaration-after-statement", "-Werror", *(f"-I{path}" for path in INCLUDES)]
COMPILE_FOR = {"x64": ["--target=x86_64-pc-windows-msvc", "-mno-red-zone"],
               "x86": ["--target=i686-pc-windows-msvc", "-march=i686", "-mno-sse", "-mno-mmx", "-mno-x87"]}
LINK = ["lld-link-19", "/nologo", "/driver", "/subsystem:native,6.01", "/osversion:6.1", "/entry:DriverEntry",
        "/nodefaultlib", "/release", "/Brepro", "/debug", "/pdbaltpath:%_PDB%"]
DLLTOOL = "llvm-dlltool-19"
DLLTOOL_FOR = {"x64": ["-m", "i386:x86-64"], "x86": ["-m", "i386", "-k"]}

# What miniport.c imports from the kernel, as a definition file spells it: on x86 with the bytes of its parameters.
KERNEL_ROUTINE = {"x64": "IoCreateDevice", "x86": "IoCreateDevice@28"}


def tool(*command):
    result = hosting.run(*command)
    assert result.returncode == 0, result.told


class Builder:
    """The tools for one architecture, working in one directory."""

    def __init__(self, directory, architecture):
        self.directory = directory
        self.architecture = architecture

    def import_library(self, definition):
        library = self.directory / f"{definition.stem}.lib"
        tool(DLLTOOL, *DLLTOOL_FOR[self.architecture], "-d", definition, "-l", library)
        return library

    def imports(self, module, names):
        """An import library that says that `module` exports those names."""
        definition = self.directory / f"{module}.def"
        definition.write_text("\n".join([f"LIBRARY {module}", "EXPORTS", *names, ""]))
        return self.import_library(definition)

    def compile(self, source, name, *flags):
        output = self.directory / f"{name}.obj"
        tool(*COMPILE, *COMPILE_FOR[self.architecture], *flags, "-c", source, "-o", output)
        return output

    def link(self, name, *inputs):
        output = self.directory / f"{name}.sys"
        tool(*LINK, f"/machine:{self.architecture}", f"/out:{output}", *inputs)
        return output


class Miniports:
    """The miniports of this directory, each built when it is first asked for."""

    def __init__(self, directory, architecture):
        self._builder = Builder(directory, architecture)
        self._same = [self._builder.compile(source, source.stem) for source in SAME]
        self._same.append(self._builder.import_library(WDK / "lib" / architecture / "storport.def"))
        self._same.append(self._builder.imports("ntoskrnl.exe", [KERNEL_ROUTINE[architecture]]))
        self._built = {}

    def driver(self, mistake):
        """mistake: a name of the enumeration in miniport.h."""
        if mistake not in self._built:
            mistaken = self._builder.compile(MISTAKE, mistake, f"-DMISTAKE={mistake}")
            self._built[mistake] = self._builder.link(mistake, mistaken, *self._same)
        return self._built[mistake]
