"""Plain text in columns: what a command prints that must start at once, without a library for tables."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence


def pairs(title: str, rows: Mapping[str, str]) -> str:
    """A title, and names beside values; long values go on below themselves."""
    width = max(map(len, rows), default=0)
    room = max(40, _columns() - width - 2)
    lines = [title]
    for name, value in rows.items():
        first, *rest = textwrap.wrap(value, room, break_long_words=False, break_on_hyphens=False) or [""]
        lines.append(f"{name:<{width}}  {first}")
        lines += [" " * (width + 2) + line for line in rest]
    return "\n".join(line.rstrip() for line in lines)


def wrapped(text: str) -> str:
    """A sentence at the width of the terminal; it goes on two columns further in than it begins."""
    indent = " " * (len(text) - len(text.lstrip()))
    wrapper = textwrap.TextWrapper(_columns(), break_long_words=False, break_on_hyphens=False)
    wrapper.initial_indent, wrapper.subsequent_indent = indent, indent + "  "
    return wrapper.fill(text.strip())


def _columns() -> int:
    """Of the terminal, and 120 into a pipe; a wider line is hard to read."""
    return max(40, min(shutil.get_terminal_size((120, 24)).columns, 160))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Rows under a header; the first `left` columns flush left, the others flush right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(map(line, (header, *rows)))
