"""The best fit of one law to one set of runs, from many starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling.errors import FitError
from scaling.fit.solve.minimise import Problem, minimise
from scaling.fit.solve.objective import Objective, run_weights
from scaling.fit.solve.starts import draw_starts
from scaling.laws.law import ScalingLaw
from scaling.tables.observations import Observations

Array = np.ndarray
SAME_VALUE = 1e-9
"""Relative difference below which two objectives are the same optimum."""
SAME_PLACE = 1e-3
DIRECT_SHARE = 8
"""One start in so many also descends the robust objective directly."""


@dataclass(frozen=True)
class Effort:
    """How far each start is followed.

    Attributes:
        approach: most steps through the sum of squares.
        finalists: so many of the lowest places reached there go on to the objective asked for.
        precision: relative change of that objective that counts as none.
    """

    approach: int = 80
    finalists: int = 1_000_000
    precision: float = 1e-13


FULL = Effort()
REFIT = Effort(approach=16, finalists=2, precision=1e-8)
"""For a part of the runs once all of them are fitted: that optimum is one of the starts, and nobody asks how many
starts agree. Starts that still creep along the ridge between A and alpha when others have arrived cost most of a
search."""


@dataclass(frozen=True)
class Optimum:
    """The lowest minimum found, and how surely.

    Attributes:
        u: float64[k], search coordinates.
        theta: float64[k], coefficients.
        value: objective as reported.
        tried: starts.
        reached: starts that ended in this minimum.
        converged: whether the search ended because no step could improve it.
        at_bound: names of coefficients on a bound.
        basins: float64[n_minima, k]: all distinct minima, lowest first.
    """

    u: Array
    theta: Array
    value: float
    tried: int
    reached: int
    converged: bool
    at_bound: tuple[str, ...]
    basins: Array


def make_problem(
    law: ScalingLaw, data: Observations, objective: Objective, held: Mapping[str, float] | None = None
) -> Problem:
    """The fit of a law to observations; weights follow from the measured standard errors.

    Raises:
        FitError: fewer runs than coefficients to fit.
    """
    free = len(law.coefficients) - len(held or {})
    if len(data) <= free:
        raise FitError(
            f"{len(data)} runs cannot determine the {free} coefficients of {law.name!r} ({', '.join(law.names)}): "
            f"add at least {free + 1 - len(data)} runs, or choose a law with fewer coefficients"
        )
    x = data.inputs(law.columns)
    problem = Problem(law, x, data.loss, np.ones(len(data)), objective, tuple(held or ()))
    if data.loss_se is None or not objective.log:
        return problem
    first = search(problem, held=held, count=8)
    spread = robust_scale(objective.residual(law.evaluate(first.theta, x), data.loss))
    return Problem(
        law, x, data.loss, run_weights(data.loss, data.loss_se, max(spread, 1e-6)), objective, tuple(held or ())
    )


def search(
    problem: Problem,
    *,
    count: int = 32,
    seed: int = 0,
    held: Mapping[str, float] | None = None,
    starts: Array | None = None,
    near: Array | None = None,
    effort: Effort = FULL,
) -> Optimum:
    """Minimise from `count` random starts, first the smooth sum of squares, then the objective asked for.

    Args:
        problem: what to fit.
        count: random starts (none are drawn if `starts` is given).
        seed: of the draws.
        held: {coefficient: value} of the problem's held coefficients.
        starts: float64[n_starts, k], own starts in coefficients.
        near: float64[k], one more start.
        effort: how far each start is followed.

    Returns:
        Optimum.

    Raises:
        FitError: no start led anywhere finite.
    """
    if starts is None:
        rng = np.random.default_rng(seed)
        starts = draw_starts(problem.law, problem.x, problem.loss, problem.weights, count, rng)
    starts = np.array(starts, float) if near is None else np.vstack([starts, near])
    for name, value in (held or {}).items():
        starts[:, problem.law.names.index(name)] = value
    first = problem.encode(starts)
    smooth = minimise(problem, first, threshold=np.inf, steps=effort.approach, precision=max(1e-9, effort.precision))
    places, owner = _distinct(np.where(np.isfinite(smooth.value)[:, None], smooth.u, first))
    if not np.isfinite(smooth.value).any():
        raise FitError(
            f"no start of the law {problem.law.name!r} gives finite losses on these runs: check the "
            "units of its columns"
        )
    # A robust objective has minima that the sum of squares does not lead to, so some starts also descend directly.
    direct_starts = first[: len(first) // DIRECT_SHARE] if np.isfinite(problem.objective.threshold) else first[:0]
    lowest = np.full(len(places), np.inf)
    np.minimum.at(lowest, owner, smooth.value)
    finalists = np.sort(np.argsort(lowest)[: effort.finalists])
    ended = minimise(problem, np.concatenate([places[finalists], direct_starts]), precision=effort.precision)
    arrived = np.full(len(places), np.inf)
    arrived[finalists], direct = np.split(ended.value, [len(finalists)])
    per_start = arrived[owner]
    per_start[: len(direct)] = np.minimum(per_start[: len(direct)], direct)
    order = np.argsort(ended.value)
    best = order[0]
    same = per_start <= ended.value[best] * (1 + SAME_VALUE) + 1e-300
    u = ended.u[best]
    edge = ((u <= problem.low + 1e-9) | (u >= problem.high - 1e-9)) & problem.free
    return Optimum(
        u=u,
        theta=problem.decode(u),
        value=float(ended.value[best] / problem.objective.unit),
        tried=len(starts),
        reached=int(same.sum()),
        converged=bool(ended.converged[best]),
        at_bound=tuple(name for name, on in zip(problem.law.names, edge, strict=True) if on),
        basins=_distinct(ended.u[order])[0],
    )


def _distinct(u: Array) -> tuple[Array, Array]:
    """Rows that differ, in order of first appearance, and the index of each row among them."""
    _, first, inverse = np.unique(np.round(u / SAME_PLACE), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return u[first[order]], rank[inverse.ravel()]


def robust_scale(residual: Array) -> float:
    """Standard deviation from the median absolute residual: blind to a few outliers."""
    return float(1.4826 * np.median(np.abs(residual)))
