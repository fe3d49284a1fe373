"""Tables of what a sweep wrote: training logs of all its runs, and runs that other people measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.errors import RecordError
from scaling.records import RunStore, write_parquet

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("n_params", "n_tokens", "loss")
"""Columns without which a table of runs cannot be fitted."""


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
        map: ``{new column: column or expression}``, as ``{"n_params": "N", "n_tokens": "C / (6 * N)"}``.
        where: Expression that is true for the rows to keep.

    Raises:
        RecordError: if the file cannot be read, lacks a column, or a table exists there already.
    """
    from scaling.fit.table import read_runs

    table = read_runs(path, map=map, where=where)
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise RecordError(
            f"{path}: no column {', '.join(missing)} — it has {', '.join(table.columns)}; "
            f"say which one it is with --map {missing[0]}=COLUMN"
        )
    target = Path(folder) / "runs.parquet"
    if target.exists():
        raise RecordError(f"{target}: exists already, nothing was changed — choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    # What a fit looks at where it is there: every row counts as a finished run, and as a trunk of its own.
    lines = [f"line-{line}" for line in table.index]
    for name, value in (("run_id", lines), ("trunk_id", lines), ("status", "done"), ("teacher", "real")):
        if name not in table:
            table[name] = value
    write_parquet(target, table)
    return table


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            # A log that is being written ends in a torn line; anywhere else it is damage.
            if number < len(lines):
                raise RecordError(f"{folder / 'metrics.jsonl'}:{number}: not JSON — the log is damaged") from error
