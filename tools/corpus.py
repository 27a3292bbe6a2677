#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fuzz corpora as text: tests/corpus/TARGET.hex holds an input per line, in hexadecimal.

TARGET-found.hex has those that once showed a finding; they are added by hand and stay.

corpus.py unpack TARGET DIRECTORY   writes each input to a file of its own
corpus.py pack TARGET DIRECTORY     makes the .hex of a directory's files, which a fuzzer has merged
"""
import hashlib
import pathlib
import sys

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "corpus"
HEAD = "# SPDX-License-Identifier: MIT OR Apache-2.0\n# Inputs of the fuzz target {}, in hexadecimal. tools/corpus.py unpacks and packs them.\n"
TARGETS = ("device", "options", "pe", "rings", "scenario", "windows")


def inputs(target):
    files = [CORPUS / f"{target}.hex", CORPUS / f"{target}-found.hex"]
    lines = [line for file in files if file.exists() for line in file.read_text(encoding="ascii").splitlines()]
    return [bytes.fromhex(line) for line in lines if not line.startswith("#")]


def unpack(target, directory):
    """The files' paths. A file is named after what is in it, as libFuzzer names its own."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for data in inputs(target):
        paths.append(directory / hashlib.sha1(data).hexdigest())
        paths[-1].write_bytes(data)
    return paths


def pack(target, directory):
    found = CORPUS / f"{target}-found.hex"
    known = found.read_text(encoding="ascii").split() if found.exists() else []
    data = {path.read_bytes() for path in pathlib.Path(directory).iterdir() if path.is_file()} - {b""}
    data = {one for one in data if one.hex() not in known}
    text = HEAD.format(target) + "".join(f"{one.hex()}\n" for one in sorted(data, key=lambda one: (len(one), one)))
    (CORPUS / f"{target}.hex").write_text(text, encoding="ascii")


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("pack", "unpack") or sys.argv[2] not in TARGETS:
        sys.exit(__doc__)
    {"pack": pack, "unpack": unpack}[sys.argv[1]](sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    main()
