"""Compute-optimal sizes from the runs themselves and from a law, side by side, each with its doubt.

Approach 1 follows the lower envelope of the runs, approach 2 a parabola through each budget, approach 3 the law.

**Source:** Hoffmann et al. 2022, arXiv 2203.15556, section 3; the parabola's bias: arXiv 2603.22339.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling.errors import FitError
from scaling.fit.allocation.budgets import Parabola, parabolas
from scaling.fit.allocation.cost import SIX_ND, Cost
from scaling.fit.allocation.optimal import optimal
from scaling.fit.allocation.split import best_split
from scaling.fit.result import Fit
from scaling.laws.law import ScalingLaw
from scaling.numbers import check_level
from scaling.tables.finished import listed

Array = np.ndarray
OPTIMA_NEEDED = 3
BINS = 12
"""Of log compute, in which an envelope is read."""
DRAWS = 400
LEAST_SHARE = 0.9
"""Of the draws must give optima, or an exponent is not identified."""


@dataclass(frozen=True)
class Approach:
    """N* = G C^a from one of the approaches.

    Attributes:
        name: "envelope", "isoflop" or "law".
        budgets, n, d: the optima found, one each budget, float64[n_budgets].
        n_low, n_high: interval of each N* at `level`; NaN where the approach gives none.
        a: exponent of N*.
        a_interval: at `level`; NaN where it is not identified.
        level: of the intervals.
        left_out: a sentence for each budget that could not be used, with the size to add.
        note: known bias.
    """

    name: str
    budgets: Array
    n: Array
    d: Array
    n_low: Array
    n_high: Array
    a: float
    a_interval: tuple[float, float]
    level: float
    left_out: tuple[str, ...] = ()
    note: str = ""

    def rows(self) -> list[dict[str, float]]:
        """One line a budget."""
        names = ("flops", "n", "n_low", "n_high", "d")
        values = (self.budgets, self.n, self.n_low, self.n_high, self.d)
        return [dict(zip(names, map(float, one), strict=True)) for one in zip(*values, strict=True)]

    def at(self, flops: float) -> float:
        """N* at a budget, from the fitted power."""
        centre = np.log(self.budgets).mean()
        return float(np.exp(np.log(self.n).mean() + self.a * (math.log(flops) - centre)))

    def __str__(self) -> str:
        low, high = self.a_interval
        doubt = f"[{low:.3f}, {high:.3f}] at {self.level:.0%}" if math.isfinite(low) else "interval not identified"
        return f"{self.name}: N* = C^{self.a:.3f} {doubt}, from {len(self.budgets)} budgets"


def envelope(
    n: Array,
    d: Array,
    loss: Array,
    *,
    level: float = 0.9,
    cost: Cost = SIX_ND,
    cluster: Array | None = None,
    seed: int = 0,
) -> Approach:
    """Approach 1: the lowest loss in each bin of log compute, where no cheaper run did better; its interval from
    resampled runs.

    Args:
        n, d, loss: float64[n_runs].
        level: of the interval.
        cost: of a training.
        cluster: int[n_runs]: runs that share noise are drawn together; each alone by default.
        seed: of the resampling.

    Raises:
        FitError: fewer than three points on the envelope.
    """
    check_level(level)
    flops = cost(n, d)
    picked, empty = _lowest(flops, loss)
    left_out = [f"C = {budget:.3g}: its best run is beaten by a cheaper one, or there is none" for budget in empty]
    _enough("envelope", len(picked), left_out)
    # Whole trainings are drawn anew, because runs of one trunk rise and fall together.
    codes = np.unique(np.arange(len(n)) if cluster is None else cluster, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    exponents = []
    for _ in range(DRAWS):
        chosen = rng.integers(codes.max() + 1, size=codes.max() + 1)
        rows = np.concatenate([np.flatnonzero(codes == code) for code in chosen])
        again = rows[_lowest(flops[rows], loss[rows])[0]]
        exponents.append(_power(flops[again], n[again]) if len(np.unique(flops[again])) >= OPTIMA_NEEDED else np.nan)
    nothing = np.full(len(picked), np.nan)
    return Approach(
        "envelope",
        flops[picked],
        n[picked],
        d[picked],
        nothing,
        nothing,
        _power(flops[picked], n[picked]),
        _ends(np.array(exponents), level),
        level,
        tuple(left_out),
        "reads optima off single runs: only as fine as the grid of sizes",
    )


def isoflop(
    n: Array,
    d: Array,
    loss: Array,
    *,
    law: ScalingLaw | None = None,
    level: float = 0.9,
    cost: Cost = SIX_ND,
    seed: int = 0,
) -> Approach:
    """Approach 2: a parabola of loss in log n through the runs of each budget.

    Intervals are those of parabolas through losses that are drawn anew about the fitted ones, with the scatter of all
    budgets. The true curve is not symmetric when alpha and beta differ or the sweep is off centre, so the parabola's
    minimum is biased. With a law, the same parabolas are drawn through the law's own losses at these sizes, and the
    difference from its true optimum is reported.

    Args:
        n, d, loss: float64[n_runs].
        law: with numbers, to measure the bias.
        level: of the intervals.
        cost: of a training.
        seed: of the draws.

    Raises:
        FitError: fewer than three budgets with a minimum inside their sizes; names the sizes to add.
    """
    check_level(level)
    found, left_out = parabolas(n, d, loss, cost=cost)
    _enough("isoflop", len(found), left_out)
    draws = _vertices(found, np.random.default_rng(seed))
    # A budget whose minimum wanders out of its sizes says little, and would leave every exponent without an interval.
    sure = np.isfinite(draws).mean(axis=1) >= LEAST_SHARE
    if sure.sum() >= OPTIMA_NEEDED:
        left_out += [
            f"C = {one.budget:.3g}: its best size, near {one.vertex:.3g}, is not determined; repeat runs, or add sizes"
            for one, is_sure in zip(found, sure, strict=True)
            if not is_sure
        ]
        found, draws = [one for one, is_sure in zip(found, sure, strict=True) if is_sure], draws[sure]
    budgets, sizes = (np.array([getattr(one, name) for one in found]) for name in ("budget", "vertex"))
    exponents = np.array([_power(budgets, draw) if np.isfinite(draw).all() else np.nan for draw in draws.T])
    ends = np.array([_ends(row, level) for row in draws])
    return Approach(
        "isoflop",
        budgets,
        sizes,
        cost.tokens_each(sizes, budgets),
        ends[:, 0],
        ends[:, 1],
        _power(budgets, sizes),
        _ends(exponents, level),
        level,
        tuple(left_out),
        _bias(n, d, law, cost),
    )


def _vertices(found: Sequence[Parabola], rng: np.random.Generator) -> Array:
    """Best sizes of parabolas through losses drawn anew: float64[n_budgets, n_draws], NaN outside the sizes tried."""
    left = sum(len(one.x) - 3 for one in found)
    noise = math.sqrt(sum(one.squares for one in found) / max(left, 1))
    return np.array([one.redrawn(noise, DRAWS, rng) for one in found])


def _bias(n: Array, d: Array, law: ScalingLaw | None, cost: Cost) -> str:
    """How far parabolas through the law's own losses miss its optimum."""
    if law is None:
        return "the minimum of a parabola is biased where alpha and beta differ or sizes are off centre"
    own, _ = parabolas(n, d, law.loss(n=n, d=d), cost=cost)
    truth = [float(best_split(lambda n, d: law.loss(n=n, d=d), one.budget, cost=cost)) for one in own]
    off = [math.log(one.vertex / best) for one, best in zip(own, truth, strict=True) if 0 < best < math.inf]
    if not off:
        return "the law itself has no optimum at these budgets"
    return f"on the fitted law itself these parabolas misplace N* by {np.mean(off):+.1%} on average"


def by_law(
    fit: Fit, budgets: Sequence[float], *, level: float = 0.9, cost: Cost = SIX_ND, teacher: str | None = None
) -> Approach:
    """Approach 3: minimise the law along each budget.

    Raises:
        FitError: fewer than three budgets at which the law has an optimum.
    """
    found, left_out = [], []
    for budget in budgets:
        try:
            found.append(optimal(fit, flops=float(budget), level=level, cost=cost, teacher=teacher))
        except FitError as error:
            left_out.append(f"C = {budget:.3g}: {error}")
    _enough("law", len(found), left_out)
    flops, sizes = np.array([one.flops for one in found]), np.array([one.n for one in found])
    # The exponent drifts where the law is no pure power; the interval is told in the middle of the budgets.
    middle = found[len(found) // 2]
    return Approach(
        "law",
        flops,
        sizes,
        np.array([one.d for one in found]),
        np.array([one.n_interval[0] for one in found]),
        np.array([one.n_interval[1] for one in found]),
        _power(flops, sizes),
        middle.exponent_interval,
        level,
        tuple(left_out),
        "as good as the law's form",
    )


def difference(one: Approach, other: Approach, flops: float) -> str:
    """A sentence on whether two approaches agree: the ratio of their N* at a budget, and their exponents."""
    ratio = one.at(flops) / other.at(flops)
    apart = one.a_interval[0] > other.a_interval[1] or other.a_interval[0] > one.a_interval[1]
    known = all(math.isfinite(end) for end in (*one.a_interval, *other.a_interval))
    verdict = "their exponents differ" if apart else "their exponents agree within their intervals" if known else ""
    return f"{one.name} puts N* at {ratio:.2f} × that of the {other.name} at C = {flops:.3g}" + (
        f"; {verdict} ({one.a:.3f} and {other.a:.3f})" if verdict else "; one of them has no interval"
    )


def _lowest(flops: Array, loss: Array) -> tuple[Array, list[float]]:
    """Rows on the lower envelope, and the middle of each bin that has none."""
    edges = np.geomspace(flops.min(), flops.max() * (1 + 1e-9), BINS + 1)
    picked, empty = [], []
    for low, high in zip(edges, edges[1:], strict=False):
        rows = np.flatnonzero((flops >= low) & (flops < high))
        best = rows[loss[rows].argmin()] if len(rows) else None
        if best is not None and not np.any((flops < flops[best]) & (loss < loss[best])):
            picked.append(best)
        else:
            empty.append(math.sqrt(low * high))
    return np.array(picked, int), empty


def _power(flops: Array, n: Array) -> float:
    """Exponent of n over compute, by least squares of logarithms."""
    return float(np.polyfit(np.log(flops), np.log(n), 1)[0])


def _ends(draws: Array, level: float) -> tuple[float, float]:
    """Central interval of the draws; NaN where too many have no optimum."""
    known = np.isfinite(draws)
    if known.mean() < LEAST_SHARE:
        return math.nan, math.nan
    low, high = np.quantile(draws[known], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _enough(name: str, count: int, left_out: Sequence[str]) -> None:
    if count < OPTIMA_NEEDED:
        raise FitError(
            f"approach {name!r} found {count} optima and needs {OPTIMA_NEEDED}. Left out: "
            + (listed(left_out, most=3, between="; ") or "no budget has enough sizes")
        )
