"""Checked runs as arrays: what a fit is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from scaling.errors import RecordError

Array = np.ndarray
REAL = "real"
DELTAS = ("delta_coverage", "delta_noise")
GENERATOR_DELTAS = ("generator_delta_coverage", "generator_delta_noise")
TEXT_COLUMNS = (*DELTAS, *GENERATOR_DELTAS, "real_share", "teacher_loss")
"""Columns that describe what a run read: the same for all runs of one text."""


def text_name(value: Any) -> str:
    """The label or id of a text as it is written: without blanks around it, a whole number without decimals, for a
    column of numbers has those of fractions where one of its cells is empty."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


@dataclass(frozen=True)
class MadeOf:
    """Which rows of a table observations are made of.

    Attributes:
        n_rows: rows of the table.
        where: the filter, or None.
        n_filtered: rows that it left out.
        run_ids: the ids of the rows that it kept, of a table that has them: whose runs they are is known without it.
            Fits saved before 2026-11-27 name none; some of that day name those that were left out too.
        vocab_size: V of the tokens that its losses are of; None where the table does not say it, or of several.
        bytes_per_token: mean length of such a token; None likewise.
    """

    n_rows: int = 0
    where: str | None = None
    n_filtered: int = 0
    run_ids: tuple[str, ...] = ()
    vocab_size: int | None = None
    bytes_per_token: float | None = None


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
        written: the same, as an expression writes them: a column of an odd name in backticks.
        texts: {text_id: label in `teachers`}; empty for a table without that column, whose labels tell texts apart.
        notes: what a reader should know of the table, as that its loss seems to be in bits.
        made_of: which rows of the table these are, before `excluded`.
        relative_noise: float64[n_runs], standard deviation of each run relative to the others'; None where all are
            alike.
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
    written: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made_of: MadeOf = MadeOf()
    texts: Mapping[str, str] = field(default_factory=dict)
    relative_noise: Array | None = None

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def n_clusters(self) -> int:
        """Number of independent trainings."""
        return len(np.unique(self.cluster))

    def as_written(self, name: str) -> str:
        """The column of a law's name, as an expression that filters rows writes it."""
        return self.written.get(name, self.names.get(name, name))

    def select(self, mask: Array) -> Observations:
        """Only the rows where the mask is true."""
        return replace(
            self,
            columns={name: values[mask] for name, values in self.columns.items()},
            loss=self.loss[mask],
            loss_se=None if self.loss_se is None else self.loss_se[mask],
            cluster=self.cluster[mask],
            teacher=self.teacher[mask],
            relative_noise=None if self.relative_noise is None else self.relative_noise[mask],
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
