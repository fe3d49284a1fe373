"""Tables of runs with columns mapped and rows filtered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.errors import RecordError
from scaling.tables.expression import evaluate, no_condition
from scaling.tables.files import read_table

if TYPE_CHECKING:
    import pandas as pd


def read_runs(path: str | Path, *, map: Mapping[str, str] | None = None, where: str | None = None) -> pd.DataFrame:
    """Read a table of runs, add mapped columns, keep the rows of interest.

    >>> table = read_runs("results/reference/grid.csv", map={"C": "6 * n_params * n_tokens"}, where="teacher == 'real'")
    >>> len(table)
    12

    Args:
        path: CSV file with a header, or parquet.
        map: {new column: column or expression}, as `{"d": "C / (6 * n)", "loss": "val_loss"}`; later entries may use
            earlier ones.
        where: expression that is true for the rows to keep, as `"dataset == 'c4' and n > 1e7"`. Put odd column names
            in backticks.

    Returns:
        DataFrame with the file's columns and the mapped ones; the index of a CSV is the line number in the file, the
        header being line 1.

    Raises:
        RecordError: unreadable file, unknown column, or an expression outside arithmetic and comparisons.
    """
    return select_rows(map_columns(read_table(Path(path)), map or {}), where)


def map_columns(table: pd.DataFrame, map: Mapping[str, str]) -> pd.DataFrame:
    """The table with further columns, each a column or an expression over columns, in order."""
    for name, expression in map.items():
        table = table.assign(**{name: evaluate(table, expression)})
    return table


def select_rows(table: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """Rows of a table for which an expression is true (all, for None)."""
    if where is None:
        return table
    mask = evaluate(table, where)
    if mask.dtype != bool:
        raise RecordError(no_condition(where))
    return table[mask]
