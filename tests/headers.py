"""The comment that opens a sweep file of the repository, and what it must say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scaling.errors import ConfigError

HEADER = ("QUESTION", "COMMAND", "COST", "EXPECT")


@dataclass(frozen=True, kw_only=True)
class Header:
    """The comment that opens a sweep file: why it exists, how it is run, what it costs, what it should show."""

    question: str
    command: str
    cost: str
    expect: str


def read_header(path: str | Path) -> Header:
    """The header of a sweep file.

    Raises:
        ConfigError: if one of QUESTION, COMMAND, COST, EXPECT is missing from the comment that opens the file.
    """
    said, last = dict[str, str](), None
    for line in Path(path).read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").rstrip()
        if match := re.match(rf"({'|'.join(HEADER)}):\s*(.*)", text):
            last = match[1]
            said[last] = match[2]
        elif last:
            said[last] = f"{said[last]} {text}".strip()
    missing = [word for word in HEADER if not said.get(word)]
    if missing:
        raise ConfigError([f"{path}:1:1: {word}: missing from the comment that opens the file" for word in missing])
    return Header(**{word.lower(): said[word] for word in HEADER})
