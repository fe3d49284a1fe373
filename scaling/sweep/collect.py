"""Tables of what a sweep wrote: training logs of all its runs, and runs that other people measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.errors import RecordError
from scaling.files import make_folder
from scaling.records import RunStore, write_parquet
from scaling.tables.units import SIZE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("n_tokens", "loss")
"""Columns without which a table of runs cannot be fitted, beside one of `SIZE_COLUMNS`."""


def metrics_table(store: RunStore, run_ids: Iterable[str]) -> pd.DataFrame:
    """The training logs of some runs, one row a logged step; runs without a log are passed over."""
    import pandas as pd

    rows = [{"run_id": run_id, **entry} for run_id in run_ids for entry in _entries(store.run_dir(run_id))]
    return pd.DataFrame(rows)


def import_runs(
    path: str | Path, folder: str | Path, *, map: Mapping[str, str] | None = None, where: str | None = None
) -> pd.DataFrame:
    """Make other people's runs ready to be fitted: write them as ``runs.parquet`` of a folder.

    Args:
        path: CSV file with a header.
        folder: Where ``runs.parquet`` is written, as ``results/<name>``.
        map: ``{new column: column or expression}``, as ``{"n_params_total": "N", "n_tokens": "C / (6 * N)"}``. The name
            that N is given says what it counts (`scaling.tables.units.SIZE_COLUMNS`), and the fit carries it on.
        where: Expression that is true for the rows to keep.

    Raises:
        RecordError: if the file cannot be read, lacks a column, or a table exists there already.
    """
    from scaling.tables.read import read_runs

    table = read_runs(path, map=map, where=where)
    missing = [name for name in NEEDED if name not in table]
    there = ", ".join(table.columns.astype(str))
    if not any(name in table for name in SIZE_COLUMNS):
        conventions = "; ".join(f"{name}: {meaning}" for name, meaning in SIZE_COLUMNS.items())
        raise RecordError(
            f"{path}: no column of model size — it has {there}; allowed are {conventions}; say what "
            "N counts with --map, as n_params_total=COLUMN"
        )
    if missing:
        raise RecordError(
            f"{path}: no column {', '.join(missing)} — it has {there}; "
            f"say which one it is with --map {missing[0]}=COLUMN"
        )
    target = Path(folder) / "runs.parquet"
    if target.exists():
        raise RecordError(f"{target}: exists already, nothing was changed — choose another name")
    make_folder(target.parent)
    # Rows keep the number of their line, by which every later message names them.
    table = table.reset_index()
    write_parquet(target, table)
    return table


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    log = folder / "metrics.jsonl"
    try:
        lines = log.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        try:
            yield _entry(line)
        except ValueError as error:
            # A log that is being written ends in a torn line; anywhere else it is damage.
            if number < len(lines):
                what = f"{log}:{number}: {error} — the log is damaged"
                raise RecordError(f"{what}; move the run's folder away and it will be trained again") from error


def _entry(line: bytes) -> dict[str, Any]:
    """A logged step.

    Raises:
        ValueError: the line is none.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("not JSON") from error
    if not isinstance(found, dict):
        raise ValueError(f"got {str(found)[:40]!r}, allowed is a JSON object")
    return found
