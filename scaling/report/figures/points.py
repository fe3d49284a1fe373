"""The runs behind a fit as points of a figure, those that were left out among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import SpecError
from scaling.fit.result import Fit
from scaling.registry import one_begun
from scaling.report.texts import texts_read
from scaling.tables.expression import evaluate
from scaling.tables.observations import REAL

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray


@dataclass(frozen=True)
class RunPoints:
    """Runs, as a fit counts them.

    Attributes:
        n, d, loss: float64[n_runs].
        loss_se: its standard error; NaN where unknown.
        text: label of what each run read, as the fit knows it.
        out: bool[n_runs], those that are no part of the fit.
    """

    n: Array
    d: Array
    loss: Array
    loss_se: Array
    text: Array
    out: Array

    def of(self, rows: Array) -> RunPoints:
        """Some of them."""
        return RunPoints(*(values[rows] for values in vars(self).values()))

    @property
    def used(self) -> RunPoints:
        """Those that the fit was made of."""
        return self.of(~self.out)


def run_points(fit: Fit, runs: pd.DataFrame | None = None) -> RunPoints:
    """The runs of a fit; with the table that it was made of, also those that were left out.

    Raises:
        SpecError: the fit keeps no runs, and no table is given.
        RecordError: the table lacks a column of the fit.
    """
    if runs is not None:
        return _of_table(fit, runs)
    if fit.runs is None:
        raise SpecError("this fit was saved without its runs: give the table that it was made of, as runs=TABLE")
    kept, labels = fit.runs, list(fit.teachers) or [REAL]
    size = len(kept.loss)
    codes = kept.columns.get("teacher", np.zeros(size)).astype(int)
    n, d = (kept.columns.get(name, np.full(size, np.nan)) for name in ("n", "d"))
    loss_se = np.full(size, np.nan) if kept.loss_se is None else kept.loss_se
    return RunPoints(n, d, kept.loss, loss_se, np.array(labels, object)[codes], np.zeros(size, bool))


def _of_table(fit: Fit, runs: pd.DataFrame) -> RunPoints:
    """Any table whose columns the fit names, a foreign one too."""
    n, d, loss = (
        np.asarray(evaluate(runs, fit.columns[name]), float) if name in fit.columns else np.full(len(runs), np.nan)
        for name in ("n", "d", "loss")
    )
    loss_se = np.asarray(runs["loss_se"], float) if "loss_se" in runs else np.full(len(runs), np.nan)
    text = texts_read(fit, runs)
    excluded = {row["row"] for row in fit.excluded}
    out = np.array([row in excluded for row in runs.index], bool)
    if fit.made_of.where:
        out |= ~np.asarray(evaluate(runs, fit.made_of.where), bool)
    # A run that diverged has no loss to be drawn at.
    return RunPoints(n, d, loss, loss_se, text, out).of(np.isfinite(loss))


def text_of(fit: Fit, points: RunPoints, teacher: str | None) -> str:
    """The text that a figure is about: the one asked for, real text where there is some, else the first.

    Raises:
        SpecError: a text that neither the fit nor its runs know.
    """
    if teacher is None:
        return REAL if REAL in points.text else str(points.text[0])
    known = dict.fromkeys([*map(str, points.text), *fit.teachers])
    found = one_begun(fit.label_of(teacher), known)
    if found is None:
        raise SpecError(f"teacher: got {teacher!r}, no text of these runs — allowed are {', '.join(known)}")
    return found
