# SPDX-License-Identifier: MIT OR Apache-2.0
"""Reads an INF as SetupAPI does, as far as ours goes: no continued lines, no includes, one language."""
import re


def split(text, separator):
    """Fields of a line, trimmed. Separators in quotes do not count."""
    return [field.strip() for field in re.split(separator + r'(?=(?:[^"]*"[^"]*")*[^"]*$)', text)]


def without_comment(line):
    return "" if line.lstrip().startswith(";") else split(line, ";")[0]


def unquote(field):
    return field[1:-1].replace('""', '"') if len(field) > 1 and field[0] == field[-1] == '"' else field


class Inf:
    """Sections, by name in lower case, of lines: (number, key or None, unquoted fields). Complaints: (number, text)."""

    def __init__(self, text):
        self.sections = {}
        self.complaints = []
        lines = None
        for number, line in enumerate(text.split("\n"), 1):
            line = without_comment(line)
            header = re.fullmatch(r"\[([^\]]*)\]", line)
            if header:
                if header[1].lower() in self.sections:
                    self.complaints.append((number, f"[{header[1]}] is there twice"))
                lines = self.sections.setdefault(header[1].lower(), [])
            elif line and lines is None:
                self.complaints.append((number, "stands before the first section"))
            elif line:
                key, *value = split(line, "=")
                fields = [unquote(field) for field in split(value[0] if value else key, ",")]
                lines.append((number, unquote(key) if value else None, fields))

    def keys(self, name):
        """The lines of a section that have keys, these in lower case, as a dictionary."""
        return {key.lower(): fields for _, key, fields in self.sections.get(name.lower(), []) if key}

    def expand(self, field, **known):
        """A field with its %tokens% replaced, by [Strings] and by what else is known. %% is a percent sign."""
        strings = {**known, **{key: fields[0] for key, fields in self.keys("Strings").items()}}
        return re.sub(r"%([^%]*)%", lambda token: strings[token[1].lower()] if token[1] else "%", field)
