# SPDX-License-Identifier: MIT OR Apache-2.0
"""The selftest's line protocol: bytes of a serial port to lines, and lines to what they say."""
import re
import typing

SELFTEST = "AERO_VIRTIO_SELFTEST|"
# Lines about the miniport, which have no common prefix.
MINIPORT = ("virtio-blk-miniport-irq|", "virtio-blk-miniport-flags|")
VERDICTS = {"PASS", "FAIL", "SKIP", "INFO", "READY"}
VERSION = "1"
# Fields that are numbers wherever they are there.
NUMBERS = {"irq_message_count", "message_count", "messages", "msix_config_vector", "msix_queue_vector",
           "msix_queue0_vector", "old_bytes", "new_bytes", "counter_before", "counter_after"}
LONGEST_LINE = 4096  # bytes; what a machine prints without a line's end must not fill the memory


class Malformed(Exception):
    """A line that claims to be a marker and is none."""


def number(text):
    return int(text, 16 if text.lower().startswith("0x") else 10)


class Marker(typing.NamedTuple):
    kind: str  # START, CONFIG, TEST, RESULT
    name: str  # of a TEST, without the miniport lines' INFO; else empty
    verdict: str  # of a TEST or RESULT; else empty
    fields: dict  # a word without "=" is the reason: SKIP|flag_not_set is SKIP|reason=flag_not_set
    text: str

    def number(self, field):
        """The field as a number, decimal or 0x…; None where it is not there."""
        return number(self.fields[field]) if field in self.fields else None


def printable(data):
    """Bytes of a machine as text that does nothing to a terminal and can stand in a report."""
    return re.sub(r"[^ -~]", "?", data[-LONGEST_LINE:].decode("ascii", "replace"))


class OtherVersion(Malformed):
    """A protocol that is not read here: nothing after it can be believed."""


class Lines:
    """Complete lines out of whatever pieces arrive; what has no end yet is no line."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        *ended, self.rest = (self.rest + data).replace(b"\r", b"\n").split(b"\n")
        self.rest = self.rest[-LONGEST_LINE:]
        return [printable(line) for line in ended if line]


def fields_of(words, text):
    fields = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            fields.setdefault("reason", word)
            continue
        if name in fields:
            raise Malformed(f"{name} is there twice: {text}")
        fields[name] = value
    for name in NUMBERS.intersection(fields):
        try:
            number(fields[name])
        except ValueError:
            raise Malformed(f"{name} is no number: {text}") from None
    return fields


def selftest_marker(kind, words, text):
    if kind == "START":
        fields = fields_of(words, text)
        if fields.get("version") != VERSION:
            raise OtherVersion(f"not version {VERSION} of the protocol: {text}")
        return Marker(kind, "", "", fields, text)
    if kind == "CONFIG":
        return Marker(kind, "", "", fields_of(words, text), text)
    if kind == "TEST" and len(words) >= 2 and words[0] and words[1] in VERDICTS:
        return Marker(kind, words[0], words[1], fields_of(words[2:], text), text)
    if kind == "RESULT" and words and words[0] in {"PASS", "FAIL"}:
        return Marker(kind, "", words[0], fields_of(words[1:], text), text)
    raise Malformed(text)


def parse(line):
    """The marker in a line, or None. It may begin anywhere: firmware leaves escape sequences before it."""
    place = line.find(SELFTEST)
    if place >= 0:
        text = line[place:].strip()
        kind, *words = text[len(SELFTEST):].split("|")
        if SELFTEST in text[1:]:
            raise Malformed(f"two markers in a line: {text}")
        return selftest_marker(kind, words, text)
    for prefix in MINIPORT:
        place = line.find(prefix)
        if place >= 0:
            text = line[place:].strip()
            name, verdict, *words = text.split("|")
            if verdict not in VERDICTS:
                raise Malformed(text)
            return Marker("TEST", name, verdict, fields_of(words, text), text)
    return None
