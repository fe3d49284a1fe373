"""Tables on disk, CSV and parquet: whatever a file holds, reading it gives a DataFrame or one error that says what to
do."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.errors import RecordError
from scaling.files import machine_error

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What other programs put between cells instead of commas."""
FORMER_NAMES = {
    "writer_delta_coverage": "generator_delta_coverage",
    "writer_delta_noise": "generator_delta_noise",
}
"""Columns that stored tables and records may hold under the name of before, and what they are called today."""
LINE = "line"
IDS = ("run_id", "trunk_id", "text_id")
"""Columns of hashes: one in a hundred has digits alone, or those of 12345e6789, and is no number."""
FIRST_ROW_LINE = 2
"""The header is line 1."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of runs.

    Args:
        path: a .parquet file, or a comma-separated one with a header line.

    Returns:
        DataFrame; the index of a CSV is the line number in the file, the header being line 1.

    Raises:
        RecordError: absent, no regular file, or not a table.
        MachineError: if this machine cannot read it.
    """
    # A device or a pipe may never end.
    if not path.is_file():
        state = "is not a file" if path.exists() else "is not there"
        raise RecordError(f"{path}: {state} — give the path of a .csv file with a header line, or of a .parquet file")
    read = _parquet if path.suffix == ".parquet" else _csv
    try:
        return read(path).rename(columns=FORMER_NAMES)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error.__cause__
    except Exception as error:
        if machine := machine_error(error):
            raise machine from error
        # Readers raise what their libraries raise: whatever else it is, the file is at fault.
        kind = "a parquet table" if read is _parquet else "a comma-separated table with a header line"
        raise RecordError(
            f"{path}: not {kind} ({type(error).__name__}: {_first_line(error)}) — write it again, or give another file"
        ) from error


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    table = pd.read_parquet(path)
    # An imported table keeps the line numbers of the file that it came from.
    return table.set_index(LINE) if LINE in table.columns else table


def _csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    content = path.read_bytes()
    _no_null(content)
    text = _text(content)
    _header(text)
    with warnings.catch_warnings():
        # Rows longer than the header are a warning to pandas; here they would shift columns unseen.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        # Blank lines are read as rows so that the index counts the lines of the file.
        table = pd.read_csv(io.StringIO(text), skip_blank_lines=False, index_col=False, dtype=dict.fromkeys(IDS, "str"))
    table.index = pd.RangeIndex(FIRST_ROW_LINE, len(table) + FIRST_ROW_LINE, name=LINE)
    return table.dropna(how="all")


def _no_null(content: bytes) -> None:
    """Pandas ends a cell at a NUL byte, or takes it for a space."""
    if (at := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, at) + 1
        raise RecordError(f"line {line} holds a NUL byte — the file is damaged or not text (UTF-16?); save it as UTF-8")


def _text(content: bytes) -> str:
    """A table of Excel or of an old program is often in the character set of its country."""
    if not content.strip():
        raise RecordError("the file is empty — a table has a header line of column names, and a row a run")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecordError(
            f"line {line} holds byte 0x{content[error.start]:02x}, which is no UTF-8 — save it as UTF-8, as with "
            "iconv -f latin1 -t utf-8"
        ) from error


def _header(text: str) -> None:
    """Cells between other separators are one column whose name is the whole header; names must differ."""
    header = text.lstrip("\n").partition("\n")[0]
    names = next(csv.reader([header]), [])
    if len(names) > 1:
        # Pandas would call the second one loss.1, and the first one would be taken.
        if twice := sorted({name for name in names if name and names.count(name) > 1}):
            raise RecordError(f"two columns have the name {twice[0]!r}; give each its own, or leave one out")
        return
    for mark, word in SEPARATORS.items():
        if mark in header:
            raise RecordError(
                f"cells are separated by {word}, got the header {header[:80]!r}; allowed are commas (and decimal "
                f"points) — save it again, as with pandas.read_csv(FILE, sep={mark!r}).to_csv(FILE, index=False)"
            )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
