"""How students were trained: loss against compute with its envelope, learning-rate basins, isoFLOP parabolas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from scaling.fit.allocation.budgets import parabolas
from scaling.report.figures.by_size import loss_in
from scaling.report.figures.style import curve_points, errors, few, figure, hue, line, measured, shade_beyond, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from scaling.curves.forecast import CurveFit
    from scaling.fit.tuning.critical_batch import BatchTradeoff
    from scaling.laws.batch import CriticalBatch


PARTS = 12
"""Points of a training curve in a decade of compute."""


@figure("loss by compute")
def loss_by_compute(table: pd.DataFrame, ax: Axes, *, n: str = "n_params", d: str = "n_tokens") -> None:
    """Loss against the compute of each run, 6 N D, one line a size, and the envelope of the best so far.

    Args:
        table: runs of one text.
        n, d: columns of size and tokens.
    """
    table = table[table["loss"].notna()].assign(flops=6 * table[n] * table[d]).sort_values("flops")
    for size, rows in few(table[n].to_numpy(float)):
        own = table[rows].groupby("flops")["loss"].mean()
        measured(ax, own.index, own, fmt="o-", label=f"N = {short(size)}")
    best = table["loss"].cummin()
    ax.step(table["flops"], best, where="post", color="0.3", lw=1, label="best so far")
    ax.set(xscale="log", xlabel="training compute 6ND, FLOPs", ylabel=loss_in())


@figure("training curves")
def training_curves(metrics: pd.DataFrame, ax: Axes, *, runs: pd.DataFrame, n: str = "n_params") -> None:
    """Loss in training against the compute spent so far, 6 N D, one colour a size, and the least of all so far.

    Args:
        metrics: training logs, as ``metrics.parquet`` of a sweep holds them: `run_id`, `tokens`, `loss`.
        runs: the runs table of one text; of each trunk the longest run is drawn, of which the others are branches.
        n: column of the size.
    """
    longest = runs.sort_values("n_tokens").groupby("trunk_id").tail(1)
    logged = metrics[metrics["loss"].notna()].merge(longest[["run_id", n]], on="run_id")
    logged = logged.assign(flops=6 * logged[n] * logged["tokens"])
    # One batch says little: means over equal ratios of compute, as many in every decade.
    logged["part"] = np.floor(PARTS * np.log10(logged["flops"]))
    smooth = logged.groupby(["run_id", "part"])[[n, "flops", "loss"]].mean().reset_index()
    for i, (size, rows) in enumerate(few(smooth[n].to_numpy(float))):
        for j, (_, own) in enumerate(smooth[rows].groupby("run_id")):
            ax.plot(own["flops"], own["loss"], lw=0.9, color=hue(i), label=f"{'_' if j else ''}N = {short(size)}")
    least = smooth.sort_values("flops")
    ax.step(least["flops"], least["loss"].cummin(), where="post", color="0.2", ls="--", label="least so far")
    ax.set(xscale="log", xlabel="training compute so far 6ND, FLOPs", ylabel=f"{loss_in()}, of what is read")


@figure("isoflop")
def isoflop(table: pd.DataFrame, ax: Axes, *, n: str = "n_params", d: str = "n_tokens") -> None:
    """Runs of equal compute over size, a parabola in log N through each budget, and its minimum.

    Args:
        table: runs of one text, of a few budgets.
        n, d: columns of size and tokens.
    """
    table = table[table["loss"].notna()]
    sizes, volumes, losses = (table[name].to_numpy(float) for name in (n, d, "loss"))
    found, _ = parabolas(sizes, volumes, losses)
    ax.plot(sizes, losses, "o", color="0.6", ms=3, label="runs")
    for i, one in enumerate(found):
        x = np.linspace(one.x.min(), one.x.max(), 60)
        lowest = np.polyval(one.coefficients, np.log(one.vertex) - one.middle)
        ax.plot(np.exp(one.middle + x), np.polyval(one.coefficients, x), color=hue(i), label=f"C = {one.budget:.2g}")
        ax.plot(one.vertex, lowest, "D", color=hue(i), label="_lowest")
    ax.set(xscale="log", xlabel=f"N, parameters ({n})", ylabel=loss_in())


@figure("curve")
def curve(fit: CurveFit, ax: Axes, *, level: float = 0.9, x: Sequence[float] = (), loss: Sequence[float] = ()) -> None:
    """A curve and its continuation as far as it is trusted, with the interval of a point.

    Args:
        fit: of `scaling.fit_curve`.
        level: of the interval.
        x, loss: the points that it was fitted to, which the fit does not keep.
    """
    points = curve_points(fit.x_range, fit.max_reach)
    said = fit.predict(points, level=level)
    color = line(ax, points, said.value, fit.x_range, label=f"{fit.parts[0].candidate.form} and others")
    ax.fill_between(points, said.low, said.high, color=color, alpha=0.15, lw=0, label=f"{level:.0%} of new points")
    if len(x):
        measured(ax, x, loss, color="0.4", ms=3, label="measured")
    shade_beyond(ax, fit.x_range, fit.max_reach)
    ax.set(xscale="log", xlabel="x", ylabel="loss")


@figure("learning rates")
def learning_rates(table: pd.DataFrame, ax: Axes, *, by: str = "width") -> None:
    """Basins of the learning rate: mean loss over seeds with its standard error, one line a width.

    Args:
        table: runs that differ in `lr`, `by` and seed.
        by: column of the lines.
    """
    for value, rows in table[table["loss"].notna()].groupby(by):
        cell = rows.groupby("lr")["loss"].agg(["mean", "sem"])
        measured(ax, cell.index, cell["mean"], cell["sem"], fmt="o-", label=f"{by} {value:g}")
        best = cell[cell["mean"] == cell["mean"].min()]
        ax.plot(best.index, best["mean"], "o", ms=9, mfc="none", color="0.2", label="_best")
    ax.set(xscale="log", xlabel="peak learning rate", ylabel=loss_in())


@figure("critical batch")
def critical_batch(tradeoffs: Sequence[BatchTradeoff], ax: Axes, *, law: CriticalBatch | None = None) -> None:
    """Critical batch against the loss that it was measured at, and its law.

    Args:
        tradeoffs: one a loss.
        law: of the critical batch, with its numbers.
    """
    loss = np.array([one.loss for one in tradeoffs])
    crit, error = np.array([(one.b_crit, one.b_crit_log_se) for one in tradeoffs]).T
    bars = errors(crit * np.exp(-error), crit, crit * np.exp(error))
    measured(ax, loss, crit, label="measured", yerr=bars)
    if law is not None:
        x = np.linspace(loss.min(), loss.max(), 60)
        ax.plot(x, law.tokens(x), label="law")
    ax.set(yscale="log", xlabel=loss_in(), ylabel="critical batch, tokens")
