"""What compute buys: isoloss contours with the frontier, the best size of each budget, what a loss needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes

from scaling.fit.allocation.frontier import Frontier
from scaling.fit.allocation.optimal import Optima, optimal
from scaling.fit.backtest import Backtest
from scaling.fit.result import Fit
from scaling.report.figures.by_size import asked_text, loss_in
from scaling.report.figures.points import run_points, text_of
from scaling.report.figures.style import BEYOND, errors, figure, hue, line, measured

if TYPE_CHECKING:
    import pandas as pd

    from scaling.predict.ask import Inverse
    from scaling.predict.registered import Score


@figure("isoloss")
def isoloss(
    fit: Fit, ax: Axes, *, runs: pd.DataFrame | None = None, teacher: str | None = None, levels: int = 8
) -> None:
    """Contours of equal loss over N and D, the runs, the frontier of the best split, and where the runs end."""
    points = run_points(fit, runs).used
    text = text_of(fit, points, teacher)
    points = points.of(points.text == text)
    sizes, volumes = (np.geomspace(fit.ranges[a][0] / 2, fit.ranges[a][1] * BEYOND, 80) for a in ("n", "d"))
    surface = fit.loss(*np.meshgrid(sizes, volumes), **asked_text(fit, text))
    drawn = ax.contour(sizes, volumes, surface, levels=levels, cmap="viridis", linewidths=0.9)
    ax.clabel(drawn, fontsize=7, fmt="%.2f")
    measured(ax, points.n, points.d, fmt="o", color="black", ms=3, label="runs")
    _frontier(ax, fit, text, 6 * sizes[0] * volumes[0], 6 * sizes[-1] * volumes[-1])
    _range(ax, *fit.ranges["n"], *fit.ranges["d"])
    ax.set(xscale="log", yscale="log", xlabel=f"N, parameters ({fit.columns['n']})", ylabel="D, tokens", title=text)
    ax.set(xlim=(sizes[0], sizes[-1]), ylim=(volumes[0], volumes[-1]))


def _frontier(ax: Axes, fit: Fit, text: str, least: float, most: float) -> None:
    """The best split of budgets from corner to corner; where the law has none, there is no line."""
    best = optimal(fit, flops=np.geomspace(least, most, 9), **asked_text(fit, text))
    if best.each:
        table = best.frame()
        ax.plot(table["n"], table["d"], color=hue(1), lw=1.6, label="best split of compute")


def _range(ax: Axes, low: float, high: float, fewest: float, most: float) -> None:
    corners = [low, high, high, low, low], [fewest, fewest, most, most, fewest]
    ax.plot(*corners, ":", color="0.4", lw=0.9, label="range of the runs")


@figure("best size by compute")
def best_size_by_compute(
    optima: Optima,
    ax: Axes,
    *,
    of: Literal["n", "d"] = "n",
    inside: tuple[float, float] | None = None,
    beside: Mapping[str, Optima] | None = None,
) -> None:
    """N*(C) or D*(C) with the band of the fit's draws.

    Args:
        optima: of `scaling.optimal`, asked with several budgets.
        of: the size, or the tokens.
        inside: least and most FLOPs of the runs; outside the line is dashed.
        beside: other lines by name, as of a published law.
    """
    table = optima.frame()
    flops = table["flops"].to_numpy(float)
    color = line(ax, flops, table[of].to_numpy(float), inside or (flops.min(), flops.max()), label="this fit")
    # An end that the draws leave open has no place on the figure.
    band = table[np.isfinite(table[f"{of}_high"]) & (table[f"{of}_low"] > 0)]
    look = {"color": color, "alpha": 0.15, "lw": 0, "label": f"{optima.each[0].level:.0%} of its draws"}
    ax.fill_between(band["flops"], band[f"{of}_low"], band[f"{of}_high"], **look)
    for name, other in (beside or {}).items():
        ax.plot(other.frame()["flops"], other.frame()[of], ":", lw=1.4, label=name)
    what = {"n": "N*, parameters", "d": "D*, tokens"}[of]
    ax.set(xscale="log", yscale="log", xlabel="training compute, FLOPs", ylabel=what)


@figure("frontier")
def frontier(found: Frontier, ax: Axes) -> None:
    """N*(C) by each approach, with the intervals that it gives."""
    for name, rows in found.frame().groupby("approach", sort=False):
        bars = errors(rows["n_low"], rows["n"], rows["n_high"])
        ax.errorbar(rows["flops"], rows["n"], yerr=bars, fmt="o-", ms=4, capsize=2, elinewidth=0.8, label=name)
    ax.set(xscale="log", yscale="log", xlabel="training compute, FLOPs", ylabel="N*, parameters", title=found.text)


@figure("needed for a loss")
def needed_for_a_loss(inverse: Inverse, ax: Axes) -> None:
    """What reaches each loss, in parameters, one line a kind of training; losses out of reach are marked."""
    table = inverse.frame()
    for what, rows in table.groupby("what", sort=False):
        if what == "out of reach":
            for loss in rows["loss"]:
                ax.axvline(loss, color="0.5", lw=0.9, ls=":", label="_out of reach")
        else:
            ax.plot(rows["loss"], rows["n_params"], "o-", label=what)
    ax.set(yscale="log", xlabel=loss_in(inverse.unit), ylabel="N, parameters")


@figure("extrapolation")
def extrapolation(tested: Backtest | Score, ax: Axes) -> None:
    """Runs that a fit had not seen, against its forecasts of them with their intervals; hollow where they came out
    outside."""
    table = tested.frame()
    for inside, rows in table.groupby("inside"):
        bars = errors(rows["low"], rows["forecast"], rows["high"])
        look, label = (hue(0), "inside its interval") if inside else ("white", "outside")
        x, y = rows["measured"], rows["forecast"]
        ax.errorbar(x, y, yerr=bars, fmt="o", mfc=look, color=hue(0), capsize=2, elinewidth=0.8, label=label)
    ends = [table["measured"].min(), table["measured"].max()]
    ax.plot(ends, ends, color="0.4", lw=0.8, label="_agreement")
    ax.set(xlabel=f"measured {loss_in(tested.unit)}", ylabel=f"forecast, {tested.level:.0%} interval")
