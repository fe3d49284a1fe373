"""How well a law fits: predicted beside actual, and what is left over; laws beside each other."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from scaling.errors import SpecError
from scaling.fit.result import Fit
from scaling.report.figures.by_size import asked_text, loss_in
from scaling.report.figures.points import RunPoints, run_points
from scaling.report.figures.style import figure, left_out, measured, shortened, texts_below

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.compare_laws import LawComparison

MARKERS = "osDv^P*X"
"""One a text, beside its colour, and again from the first."""


def said_by_law(fit: Fit, points: RunPoints) -> np.ndarray:
    """What the law says of every run: float64[n_runs]."""
    loss = np.empty(len(points.loss))
    for text in set(points.text):
        rows = points.text == text
        loss[rows] = fit.loss(points.n[rows], points.d[rows], **asked_text(fit, text))
    return loss


@figure("predicted and actual")
def predicted_and_actual(fit: Fit, ax: Axes, *, runs: pd.DataFrame | None = None) -> None:
    """What the law says of each run against what was measured, one marker a text; on the line they agree."""
    points = run_points(fit, runs)
    law = said_by_law(fit, points)
    for marker, text in zip(cycle(MARKERS), dict.fromkeys(points.text[~points.out]), strict=False):
        own = (points.text == text) & ~points.out
        measured(ax, points.loss[own], law[own], fmt=marker, label=shortened([text])[0])
    left_out(ax, points.loss[points.out], law[points.out])
    ends = [min(points.loss.min(), law.min()), max(points.loss.max(), law.max())]
    ax.plot(ends, ends, color="0.4", lw=0.8, label="_agreement")
    ax.set(xlabel=f"measured {loss_in(fit.unit)}", ylabel=f"said by the law, {fit.unit}")


@figure("residuals")
def residuals(fit: Fit, ax: Axes, *, runs: pd.DataFrame | None = None, by: str = "n") -> None:
    """log(measured/law) in per cent against size, tokens or text; one marker a text, the band is one run's scatter.

    Args:
        fit: of n and d.
        runs: the table that it was made of; by default the runs that the fit keeps.
        by: "n", "d" or "teacher".

    Raises:
        SpecError: it is by something else.
    """
    points = run_points(fit, runs).used
    off = 100 * np.log(points.loss / said_by_law(fit, points))
    x = _along(points, by)
    texts = list(dict.fromkeys(points.text))
    for marker, text in zip(cycle(MARKERS), texts, strict=False):
        own = points.text == text
        # Under their own names they need no legend.
        label = "_" if by == "teacher" else shortened([text])[0]
        measured(ax, x[own], off[own], 100 * points.loss_se[own] / points.loss[own], fmt=marker, label=label)
    noise = 100 * fit.calibration.noise
    ax.axhspan(-noise, noise, color="0.5", alpha=0.15, lw=0, label="scatter of one run")
    ax.axhline(0, color="0.4", lw=0.8)
    ax.set(ylabel="measured above the law, %")
    if by == "teacher":
        texts_below(ax, texts)
    else:
        ax.set(xscale="log", xlabel=f"N, parameters ({fit.columns['n']})" if by == "n" else "D, tokens")


def _along(points: RunPoints, by: str) -> np.ndarray:
    """Where residuals stand: of a text beside each other, by size."""
    if by in ("n", "d"):
        return np.asarray(getattr(points, by), float)
    if by != "teacher":
        raise SpecError(f"residuals: by: got {by!r}, allowed are 'n', 'd', 'teacher'")
    place = {text: i for i, text in enumerate(dict.fromkeys(points.text))}
    size = np.log(points.n / points.n.min())
    return np.array([place[text] for text in points.text]) + 0.6 * (size / max(size.max(), 1e-9) - 0.5)


@figure("laws")
def laws(comparison: LawComparison, ax: Axes) -> None:
    """Laws of a comparison: error on the runs that they were fitted to, and on larger runs that they foresaw."""
    table = comparison.frame()
    y = np.arange(len(table))
    ax.plot(100 * table["rms"], y, "o", label="rms, on the runs of the fit")
    ax.plot(100 * table["forecast_error"], y, "D", label="mean error of forecasts of the largest")
    names = [
        law if usable else f"{law} (not usable)" for law, usable in zip(table["law"], table["usable"], strict=True)
    ]
    ax.set_yticks(y, names)
    # Room above and below, so that no legend lies across a law.
    ax.set_ylim(len(table) - 0.4, -1.1)
    ax.set(xlabel="error of the loss, %", xlim=(0, None))


@figure("exponents")
def exponents(fit: Fit, ax: Axes, *, names: tuple[str, str] = ("alpha", "beta")) -> None:
    """Bootstrap replicates of two coefficients: what the runs cannot tell apart lies along a line."""
    draws = fit.leading.samples
    one, other = (fit.law.names.index(name) for name in names)
    ax.plot(draws[:, one], draws[:, other], ".", ms=2, alpha=0.4, label=f"{len(draws)} replicates")
    ax.plot(fit.params[names[0]], fit.params[names[1]], "k+", ms=9, label="fit")
    ax.set(xlabel=names[0], ylabel=names[1])
