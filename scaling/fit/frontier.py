"""Compute-optimal size and data: the three approaches side by side, with what each is known to get wrong.

Compute is 6 n d FLOPs unless another rule is given. Approach 1 follows the lower envelope of the runs, approach 2 a
parabola through each budget, approach 3 the fitted law.

**Source:** Hoffmann et al. 2022, arXiv 2203.15556, section 3; the parabola's bias: arXiv 2603.22339.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.fit.result import Fit
from scaling.laws.kaplan import KaplanC, KaplanD
from scaling.laws.law import ScalingLaw

Array = np.ndarray
FLOPS_PER = 6.0
"""Training FLOPs for each parameter and token: two for the forward pass, four for the backward pass."""
GRID = 241
SAME_BUDGET = 0.1
"""Runs whose log compute differs by less belong to one budget."""


@dataclass(frozen=True)
class Optimal:
    """Best split of a budget, with intervals.

    Attributes:
        flops: the budget.
        n, d: compute-optimal size and tokens.
        n_interval, d_interval: at `level`, over the bootstrap of every law.
        loss: forecast there.
        tokens_per_parameter: d/n.
        level: of the intervals.
    """

    flops: float
    n: float
    d: float
    n_interval: tuple[float, float]
    d_interval: tuple[float, float]
    loss: Any
    tokens_per_parameter: float
    level: float


@dataclass(frozen=True)
class Approach:
    """N* = G_n C^a and D* = G_d C^b from one of the approaches.

    Attributes:
        name: "envelope", "isoflop" or "law".
        budgets, n, d: the optima found, one each budget.
        a, b: exponents of N* and D*.
        note: known bias, or how many budgets could not be used.
    """

    name: str
    budgets: Array
    n: Array
    d: Array
    a: float
    b: float
    note: str = ""

    def at(self, flops: float) -> tuple[float, float]:
        """(N*, D*) at a budget, from the fitted powers."""
        centre = np.log(self.budgets).mean()
        return tuple(
            float(np.exp(np.log(values).mean() + power * (math.log(flops) - centre)))
            for values, power in ((self.n, self.a), (self.d, self.b))
        )


def best_split(loss: Callable[[Array, Array], Array], flops: float, low: float = 1e3, high: float = 1e15) -> Array:
    """Size that minimises loss(n, flops/(6 n)): grid, then golden sections at once for every replicate.

    Args:
        loss: from n, d float64[n_points] to float64[..., n_points].
        flops: budget.
        low, high: range of sizes.

    Returns:
        float64[...]: the optimal n; `low` or `high` where the optimum lies outside.
    """
    left, right = math.log(low), math.log(high)
    grid = np.linspace(left, right, GRID)
    values = loss(np.exp(grid), flops / (FLOPS_PER * np.exp(grid)))
    i = np.clip(values.argmin(-1), 1, GRID - 2)
    y = np.stack([np.take_along_axis(values, (i + s)[..., None], -1)[..., 0] for s in (-1, 0, 1)])
    with np.errstate(over="ignore", invalid="ignore"):
        bend = y[0] - 2 * y[1] + y[2]
        shift = np.where(bend > 0, 0.5 * (y[0] - y[2]) / np.where(bend > 0, bend, 1.0), 0.0)
    return np.exp(grid[i] + np.clip(shift, -1, 1) * (grid[1] - grid[0]))


def optimal(fit: Fit, *, flops: float, teacher: str | None = None, level: float = 0.9, **columns: Any) -> Optimal:
    """Compute-optimal size and data of a fit.

    Args:
        fit: with laws of n and d.
        flops: training budget, 6 n d.
        teacher: of the text; None is real text.
        level: of the intervals.
        **columns: further columns of the law.

    Returns:
        Optimal.

    Raises:
        SpecError: no positive budget, or a law without n and d.
    """
    if not flops > 0 or math.isinf(flops):
        raise SpecError(f"flops is a finite training budget above zero, got {flops:g}")
    if not {"n", "d"} <= set(fit.law.columns):
        raise SpecError(f"law {fit.law.name!r} is not a function of both n and d: it has no optimal split")
    centre = float(best_split(lambda n, d: fit.loss(n, d, teacher=teacher, **columns), flops))
    draws, shares = [], []
    for member in fit.members:
        samples = member.draws(200)
        if len(samples):
            draws.append(
                best_split(
                    lambda n, d, m=member, s=samples: m.law.evaluate(
                        s, m.columns(fit.points(n, d, teacher=teacher, **columns).columns)
                    ),
                    flops,
                )
            )
            shares.append(np.full(len(draws[-1]), member.weight / len(draws[-1])))
    low, high = (
        _weighted_quantiles(np.concatenate(draws), np.concatenate(shares), level) if draws else (math.nan, math.nan)
    )
    d = flops / (FLOPS_PER * centre)
    ends = (flops / (FLOPS_PER * high), flops / (FLOPS_PER * low))
    return Optimal(
        flops,
        centre,
        d,
        (low, high),
        ends,
        fit.predict(centre, d, teacher=teacher, level=level, **columns),
        d / centre,
        level,
    )


def _weighted_quantiles(values: Array, weights: Array, level: float) -> tuple[float, float]:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return tuple(
        float(values[order][min(np.searchsorted(cumulative, q), len(values) - 1)])
        for q in ((1 - level) / 2, (1 + level) / 2)
    )


def envelope(n: Array, d: Array, loss: Array, *, bins: int = 12) -> Approach:
    """Approach 1: the lowest loss in each bin of compute.

    Args:
        n, d, loss: float64[n_runs].
        bins: of log compute; a bin's best run counts only if no cheaper run did better.

    Raises:
        FitError: fewer than three points on the envelope.
    """
    flops = FLOPS_PER * n * d
    edges = np.geomspace(flops.min(), flops.max() * (1 + 1e-9), bins + 1)
    best = [np.flatnonzero((flops >= a) & (flops < b)) for a, b in zip(edges, edges[1:], strict=False)]
    picked = [rows[loss[rows].argmin()] for rows in best if len(rows)]
    picked = [i for i in picked if not np.any((flops < flops[i]) & (loss < loss[i]))]
    return _powers(
        "envelope",
        flops[picked],
        n[picked],
        d[picked],
        "reads optima off single runs: only as fine as the grid of sizes",
    )


def isoflop(n: Array, d: Array, loss: Array, *, law: ScalingLaw | None = None) -> Approach:
    """Approach 2: a parabola of loss in log n through the runs of each budget.

    The true curve is not symmetric when alpha and beta differ or the sweep is off centre, so the parabola's minimum is
    biased. With a law, the same parabolas are drawn through the law's own losses at these sizes, and the difference
    from its true optimum is reported.

    Args:
        n, d, loss: float64[n_runs].
        law: with numbers, to measure the bias.

    Raises:
        FitError: fewer than three budgets with a minimum inside their sizes.
    """
    budgets, sizes = _parabolas(n, d, loss)
    note = "the minimum of a parabola is biased where alpha and beta differ or sizes are off centre"
    if law is not None:
        own, centres = _parabolas(n, d, law.loss(n=n, d=d))
        truth = np.array([float(best_split(lambda n, d: law.loss(n=n, d=d), c)) for c in own])
        note = (
            "on the fitted law itself these parabolas misplace N* by "
            f"{np.mean(np.log(centres / truth)):+.1%} on average"
        )
    return _powers("isoflop", budgets, sizes, budgets / (FLOPS_PER * sizes), note)


def _parabolas(n: Array, d: Array, loss: Array) -> tuple[Array, Array]:
    """Budgets, and the size at the minimum of each one's parabola, where it lies inside the sizes tried."""
    logs = np.log(FLOPS_PER * n * d)
    order = np.argsort(logs)
    groups = np.split(order, np.flatnonzero(np.diff(logs[order]) > SAME_BUDGET) + 1)
    budgets, sizes = [], []
    for rows in groups:
        if len(np.unique(n[rows])) < 4:
            continue
        x = np.log(n[rows])
        middle = x.mean()
        bend, slope, _ = np.polyfit(x - middle, loss[rows], 2)
        vertex = middle - slope / (2 * bend) if bend > 0 else np.inf
        if x.min() < vertex < x.max():
            budgets.append(math.exp(logs[rows].mean()))
            sizes.append(math.exp(vertex))
    return np.array(budgets), np.array(sizes)


def from_law(law: ScalingLaw, budgets: Sequence[float]) -> Approach:
    """Approach 3: minimise the law along each budget."""
    sizes = np.array([float(best_split(lambda n, d: law.loss(n=n, d=d), c)) for c in budgets])
    flops = np.asarray(budgets, float)
    return _powers("law", flops, sizes, flops / (FLOPS_PER * sizes), "as good as the law's form")


def _powers(name: str, flops: Array, n: Array, d: Array, note: str) -> Approach:
    if len(flops) < 3:
        raise FitError(
            f"approach {name!r} found {len(flops)} optima and needs 3: add budgets whose best size "
            "lies inside the sizes tried"
        )
    a, b = (float(np.polyfit(np.log(flops), np.log(values), 1)[0]) for values in (n, d))
    return Approach(name, np.asarray(flops), np.asarray(n), np.asarray(d), a, b, note)


@dataclass(frozen=True)
class Meeting:
    """Where Kaplan's trends meet: the compute at which L(C) would fall below L(D(C)).

    Attributes:
        flops, loss: of the point.
        d: tokens that compute-efficient training would use there.
    """

    flops: float
    loss: float
    d: float


def meeting_point(by_compute: KaplanC, by_data: KaplanD, *, tokens: Callable[[float], float]) -> Meeting:
    """Compute at which the loss that efficient training promises is lower than its own data allows.

    Args:
        by_compute: L(C).
        by_data: L(D).
        tokens: D used by compute-efficient training at C FLOPs.

    Returns:
        Meeting.

    Raises:
        FitError: the two trends do not meet below 1e60 FLOPs.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, section 6.3.
    """

    def gap(log_c: float) -> float:
        flops = math.exp(log_c)
        return float(by_data.loss(d=tokens(flops)) - by_compute.loss(c=flops))

    low, high = math.log(1e15), math.log(1e60)
    if gap(low) > 0 or gap(high) < 0:
        raise FitError("the trends of compute and of data do not cross between 1e15 and 1e60 FLOPs")
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) < 0 else (low, middle)
    flops = math.exp(low)
    return Meeting(flops, float(by_compute.loss(c=flops)), float(tokens(flops)))
