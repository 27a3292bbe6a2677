# SPDX-License-Identifier: MIT OR Apache-2.0
"""The files that the source checks look at, and how a check reports."""
import argparse
import pathlib
import subprocess
import sys

NOT_SOURCE = {".git", "build", "out", "__pycache__", ".pytest_cache"}
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


class Tree:
    """A source tree: its files as paths relative to its root, and the findings of one check about them."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.findings = []
        self.files = sorted(self._list())

    def _list(self):
        if (self.root / ".git").exists():
            names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                   cwd=self.root, check=True, capture_output=True, text=True).stdout.split("\0")
            return [pathlib.PurePosixPath(name) for name in names if name and (self.root / name).is_file()]
        paths = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return [pathlib.PurePosixPath(path) for path in paths if not NOT_SOURCE.intersection(path.parts)]

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8", errors="replace")

    def under(self, *directories, suffixes=(".c", ".h")):
        """Files below any of the directories (strings ending in / or file names) with one of the suffixes."""
        return [name for name in self.files if name.suffix in suffixes and str(name).startswith(tuple(directories))]

    def blame(self, name, line, text):
        self.findings.append(f"{name}:{line}: {text}")

    def finish(self):
        for finding in self.findings:
            print(finding)
        sys.exit(1 if self.findings else 0)


def open_tree(description):
    """The tree that the command line names; this repository if it names none."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("root", nargs="?", default=REPOSITORY, help="source tree (default: this one)")
    return Tree(parser.parse_args().root)
