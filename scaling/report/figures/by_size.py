"""Loss against size, tokens, and tokens a parameter: measured runs, the law, and the doubt of a forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from scaling.errors import RecordError
from scaling.fit.prediction import Prediction
from scaling.fit.result import Fit
from scaling.report.figures.points import run_points, text_of
from scaling.report.figures.style import (
    BEYOND,
    curve_points,
    few,
    figure,
    left_out,
    line,
    measured,
    shade_beyond,
    short,
)
from scaling.tables.observations import REAL
from scaling.tables.units import NATS, loss_unit, size_column

if TYPE_CHECKING:
    import pandas as pd


def loss_in(unit: str = NATS) -> str:
    """How an axis of losses is called."""
    return f"loss, {unit}"


@figure("loss by size")
def loss_by_size(
    fit: Fit,
    ax: Axes,
    *,
    runs: pd.DataFrame | None = None,
    teacher: str | None = None,
    level: float = 0.9,
) -> None:
    """Loss against N, one colour a D: runs, the law, the band of one new run, and what was left out.

    Args:
        fit: of n and d.
        runs: the table that it was made of, for what was left out; by default the runs that the fit keeps.
        teacher: whose text; by default real text, or else the first.
        level: of the band.
    """
    points = run_points(fit, runs)
    text = text_of(fit, points, teacher)
    points, inside = points.of(points.text == text), fit.ranges["n"]
    sizes = curve_points(inside)
    # Each volume has its curve, and around it what one new run may come out at.
    for tokens, rows in few(points.used.d):
        own = points.used.of(rows)
        band = fit.predict(sizes, tokens, given="law", level=level, force=True, **asked_text(fit, text))
        color = line(ax, sizes, band.value, inside)
        ax.fill_between(sizes, band.low, band.high, color=color, alpha=0.15, lw=0)
        measured(ax, own.n, own.loss, own.loss_se, color=color, label=f"D = {short(tokens)}")
    left_out(ax, points.n[points.out], points.loss[points.out])
    if fit.success and np.isfinite(floor := fit.floor(**asked_text(fit, text)).value):
        ax.axhline(floor, color="0.5", lw=0.8, ls=":", label="floor of the law")
    shade_beyond(ax, inside)
    ax.set(xscale="log", xlabel=f"N, parameters ({fit.columns['n']})", ylabel=loss_in(fit.unit), title=text)
    ax.set_xlim(inside[0] / 1.3, inside[1] * BEYOND)


@figure("loss by ratio")
def loss_by_ratio(fit: Fit, ax: Axes, *, runs: pd.DataFrame | None = None, teacher: str | None = None) -> None:
    """Loss against D/N, one colour a size: how far training beyond the usual ratio still pays."""
    points = run_points(fit, runs)
    text = text_of(fit, points, teacher)
    points = points.of(points.text == text)
    for size, rows in few(points.used.n):
        own = points.used.of(rows)
        inside = (float(own.d.min()), float(own.d.max()))
        tokens = curve_points(inside)
        color = line(
            ax, tokens / size, fit.loss(size, tokens, **asked_text(fit, text)), (inside[0] / size, inside[1] / size)
        )
        measured(ax, own.d / own.n, own.loss, own.loss_se, color=color, label=f"N = {short(size)}")
    left_out(ax, points.d[points.out] / points.n[points.out], points.loss[points.out])
    ax.set(xscale="log", xlabel="D/N, tokens per parameter", ylabel=loss_in(fit.unit), title=text)


@figure("forecast")
def forecast(prediction: Prediction, ax: Axes) -> None:
    """A forecast at many points against what varies among them, with its interval."""
    asked = {name: np.atleast_1d(values).ravel() for name, values in prediction.at.items()}
    axis = max(asked, key=lambda name: len(np.unique(asked[name])))
    x, order = asked[axis], np.argsort(asked[axis])
    value, low, high = (
        np.broadcast_to(np.ravel(ends), x.shape)[order] for ends in (prediction.value, prediction.low, prediction.high)
    )
    beyond = np.ones(x.shape)
    for factor in prediction.reach.values():
        beyond = np.maximum(beyond, np.broadcast_to(np.ravel(factor), x.shape))
    inside = x[beyond <= 1]
    line(ax, x[order], value, (inside.min(), inside.max()) if len(inside) else (np.inf, np.inf))
    # Of a teacher of whom a fit knows the loss alone, the ends are those of bounds, and no level.
    bounds = np.isnan(prediction.level)
    between = "bottleneck to additive bound" if bounds else f"{prediction.level:.0%} of new runs"
    ax.fill_between(x[order], low, high, alpha=0.15, lw=0, label=between)
    name = {"n": "N, parameters", "d": "D, tokens"}[axis]
    ax.set(xscale="log", xlabel=name, ylabel=loss_in(prediction.unit))


@figure("runs")
def runs(table: pd.DataFrame, ax: Axes, *, n: str | None = None, d: str = "n_tokens", loss: str = "loss") -> None:
    """A table of runs as it is: loss against size, one colour a volume.

    Args:
        table: any table of runs, a foreign one too.
        n, d, loss: its columns; the size by default the first that has a name of ours.

    Raises:
        RecordError: it has no such column.
    """
    size = n or size_column([str(name) for name in table])
    for role, name in (("n", size), ("d", d), ("loss", loss)):
        if name not in table:
            there = ", ".join(map(str, table))
            raise RecordError(f"no column {name!r} for {role}: the table has {there} — say which one it is, {role}=...")
    table = table[table[loss].notna()]
    for tokens, rows in few(table[d].to_numpy(float)):
        own = table[rows]
        measured(ax, own[size], own[loss], own.get("loss_se"), label=f"D = {short(tokens)}")
    ax.set(xscale="log", xlabel=f"N, parameters ({size})", ylabel=loss_in(loss_unit(loss)))


def asked_text(fit: Fit, text: str) -> dict[str, Any]:
    """The text in the words of `Fit.predict`; a fit of one text needs none."""
    return {"teacher": text} if text in fit.teachers and text != REAL else {}
