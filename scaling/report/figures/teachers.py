"""Loss of students by the text that they read, and the floor that each text sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from scaling.fit.result import Fit
from scaling.report.figures.by_size import asked_text, loss_in
from scaling.report.figures.points import run_points
from scaling.report.figures.style import errors, few, figure, measured, short, texts_below

if TYPE_CHECKING:
    import pandas as pd


@figure("loss by teacher")
def loss_by_teacher(fit: Fit, ax: Axes, *, runs: pd.DataFrame | None = None, level: float = 0.9) -> None:
    """Every run over the text that it read, one colour a size, and the floor of an endless student of each text.

    Args:
        fit: of several texts.
        runs: the table that it was made of; by default the runs that the fit keeps.
        level: of the floors' intervals.
    """
    points = run_points(fit, runs).used
    texts = [text for text in fit.teachers if text in set(points.text)]
    place = {text: i for i, text in enumerate(texts)}
    groups = few(points.n)
    for i, (size, rows) in enumerate(groups):
        own = points.of(rows)
        x = np.array([place[text] for text in own.text]) + 0.5 * (i + 0.5) / len(groups) - 0.25
        measured(ax, x, own.loss, own.loss_se, label=f"N = {short(size)}")
    _floors(ax, np.array([_floor(fit, text, level) for text in texts]))
    texts_below(ax, texts)
    ax.set(ylabel=loss_in(fit.unit))


def _floors(ax: Axes, floors: np.ndarray) -> None:
    value, low, high = floors.T
    look: dict[str, Any] = {"fmt": "none", "ecolor": "0.2", "elinewidth": 1.2, "label": "floor of the law"}
    ax.errorbar(np.arange(len(value)), value, xerr=0.35, yerr=errors(low, value, high), **look)


def _floor(fit: Fit, text: str, level: float) -> tuple[float, float, float]:
    """Loss of an endless student of a text, and its interval over the draws of the leading law."""
    asked = asked_text(fit, text)
    return fit.loss(np.inf, np.inf, **asked), *fit.floor_interval(level=level, **asked)
