"""The runs table: all records as one pandas table, and what else is read as one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.errors import RecordError
from scaling.files import write_bytes
from scaling.records.outcome import Outcome, RunRecord
from scaling.records.store import RunStore
from scaling.spec import text_labels
from scaling.tables.files import read_table

if TYPE_CHECKING:
    import pandas as pd


def runs_table(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The runs table: one row a run, flat snake_case columns in a fixed order."""
    import pandas as pd

    records = list(records)
    labels = text_labels(text for record in records for text in record.texts)
    frame = pd.DataFrame([record.row(labels) for record in records])
    numbers = [f.name for f in fields(Outcome) if str(f.type).startswith("float") and f.name in frame]
    return frame.astype({name: "float64" for name in numbers})


def load_runs(path: str | os.PathLike[str] = "results") -> pd.DataFrame:
    """Read runs as a table: a results folder, one sweep's folder, or a .parquet or .csv file.

    >>> len(load_runs("results/reference/grid.csv"))
    36

    Raises:
        RecordError: if there is nothing to read there.
    """
    path = Path(path)
    if path.is_dir() and (path / "runs.parquet").exists():
        path = path / "runs.parquet"
    if path.suffix in (".parquet", ".csv") and path.exists():
        return read_table(path)
    if (path / "runs").is_dir():
        return runs_table(RunStore(path).records())
    if path.suffix in (".yaml", ".yml"):
        raise RecordError(f"{path}: is a sweep file — name the folder of its results, as results/{path.stem}")
    state = "no runs here" if path.exists() else "is not there"
    raise RecordError(f"{path}: {state} — expected a results folder, a sweep's folder, a .parquet or a .csv file")


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table so that a reader sees the old one or the new, never a part."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as text, likewise."""
    text = io.StringIO()
    table.to_csv(text, index=False)
    write_bytes(path, text.getvalue().encode())


def with_rows_of_before(
    table: pd.DataFrame, before: pd.DataFrame | None, keys: Callable[[pd.DataFrame], Iterable[Hashable]]
) -> pd.DataFrame:
    """A table, and below it what an earlier one holds beside it: what was measured once is not lost.

    Args:
        table: Measured now; of two rows with one key its own stands.
        before: None for no earlier one.
        keys: The key of each row of a table.
    """
    import pandas as pd

    if before is None or not len(before):
        return table
    own = set(keys(table))
    return pd.concat([table, before[[key not in own for key in keys(before)]]], ignore_index=True)
