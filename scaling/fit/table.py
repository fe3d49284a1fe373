"""Tables of runs, with columns mapped and rows filtered, and the checked observations that a fit is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import RecordError
from scaling.fit.expression import evaluate
from scaling.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray


@dataclass(frozen=True)
class MadeOf:
    """Which rows of a table observations are made of.

    Attributes:
        n_rows: rows of the table.
        where: the filter, or None.
        n_filtered: rows that it left out.
    """

    n_rows: int = 0
    where: str | None = None
    n_filtered: int = 0


@dataclass(frozen=True)
class Observations:
    """Checked runs, as arrays.

    Attributes:
        columns: float64[n_runs] by the law's name of it (n, d, delta_noise, …).
        loss: float64[n_runs], nats/token.
        loss_se: float64[n_runs], or None where no standard error was measured.
        cluster: int[n_runs]: runs that share a trunk, and so their noise.
        teacher: int[n_runs]: index into `teachers`.
        teachers: a label for each text, "real" first where present; no two texts have the same one.
        rows: the table's own row labels.
        excluded: ({"row": label, "reason": sentence}, …).
        names: {"n": column or expression it came from, …}.
        texts: {text_id: label in `teachers`}; empty for a table without that column, whose labels tell texts apart.
        notes: what a reader should know of the table, as that its loss seems to be in bits.
        made_of: which rows of the table these are, before `excluded`.
    """

    columns: Mapping[str, Array]
    loss: Array
    loss_se: Array | None
    cluster: Array
    teacher: Array
    teachers: tuple[str, ...]
    rows: tuple[Any, ...]
    excluded: tuple[dict[str, Any], ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made_of: MadeOf = MadeOf()
    texts: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def n_clusters(self) -> int:
        """Number of independent trainings."""
        return len(np.unique(self.cluster))

    def select(self, mask: Array) -> Observations:
        """Only the rows where the mask is true."""
        return replace(
            self,
            columns={name: values[mask] for name, values in self.columns.items()},
            loss=self.loss[mask],
            loss_se=None if self.loss_se is None else self.loss_se[mask],
            cluster=self.cluster[mask],
            teacher=self.teacher[mask],
            rows=tuple(row for row, keep in zip(self.rows, mask, strict=True) if keep),
        )

    def inputs(self, names: tuple[str, ...]) -> SimpleNamespace:
        """The named columns as a law reads them; `teacher` is the code of the teacher."""
        every = {**self.columns, "teacher": self.teacher.astype(float)}
        missing = [name for name in names if name not in every]
        if missing:
            raise RecordError(
                f"the law needs the columns {', '.join(missing)}, which the table does not give for every run: map "
                f"them with columns={{{', '.join(f'{name!r}: COLUMN' for name in missing)}}}, or choose a law "
                f"of {', '.join(every)}"
            )
        return SimpleNamespace(**{name: every[name] for name in names})


def read_runs(path: str | Path, *, map: Mapping[str, str] | None = None, where: str | None = None) -> pd.DataFrame:
    """Read a table of runs, add mapped columns, keep the rows of interest.

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
        raise RecordError(f"the filter {where!r} gives numbers, not true or false: write a comparison, as 'n > 1e7'")
    return table[mask]
