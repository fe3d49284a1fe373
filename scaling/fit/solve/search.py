"""The best fit of one law to one set of runs, from many starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.fit.solve.minimise import Minima, Problem, minimise
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
FIRST_ROUND = 8
"""Starts whose agreement spares the others."""
LAST_STEPS = 3_000
"""Of the lowest way, where it has not ended: those of one way are few beside those of all."""
APPROACH_STEPS, APPROACH_PRECISION = 80, 1e-9
"""How far the approach through the sum of squares is followed: its ends are only places to start from."""


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
        SpecError: a coefficient that the law does not have.
    """
    for name in held or {}:
        if name not in law.names:
            known = f"the coefficients of {law.name!r} are {', '.join(law.names)}"
            raise SpecError(f"cannot hold {name!r}: {known} — name one of them, or the law that has it")
    free = len(law.coefficients) - len(held or {})
    if (missing := free + 1 - len(data)) > 0:
        raise FitError(
            f"{len(data)} runs cannot determine the {free} coefficients of {law.name!r} ({', '.join(law.names)}): "
            f"add {missing} run{'s' if missing > 1 else ''} at least, or choose a law with fewer coefficients"
        )
    x = data.inputs(law.columns)
    even = np.ones(len(data)) if data.relative_noise is None else data.relative_noise**-2
    problem = Problem(law, x, data.loss, even, objective, tuple(held or ()))
    # Where seeds show the noise of each size, the error of measuring is part of it.
    if data.loss_se is None or data.relative_noise is not None or not objective.log:
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
    every: bool = True,
) -> Optimum:
    """Minimise from `count` random starts, first the smooth sum of squares, then the objective asked for.

    Args:
        problem: what to fit.
        count: random starts (none are drawn if `starts` is given).
        seed: of the draws.
        held: {coefficient: value} of the problem's held coefficients.
        starts: float64[n_starts, k], own starts in coefficients.
        every: False spares the others where the first `FIRST_ROUND` starts, or the first quarter if that is more, all
            end in one minimum.

    Returns:
        Optimum.

    Raises:
        FitError: no start led anywhere finite.
    """
    if starts is None:
        rng = np.random.default_rng(seed)
        starts = draw_starts(problem.law, problem.x, problem.loss, problem.weights, count, rng)
    starts = np.array(starts, float)
    for name, value in (held or {}).items():
        starts[:, problem.law.names.index(name)] = value

    # A robust objective has minima that the sum of squares does not lead to, so some starts also descend directly.
    begin, limit = problem.encode(starts), problem.objective.threshold
    smooth = np.arange(len(begin))
    direct = smooth[: len(begin) // DIRECT_SHARE if np.isfinite(limit) else 0]
    start, threshold = np.concatenate([smooth, direct]), np.repeat([np.inf, limit], [len(smooth), len(direct)])
    # Most tables have one minimum, and once the first starts agree on it the others would only say so again.
    first = len(begin) if every else min(max(FIRST_ROUND, len(begin) // 4), len(begin))
    early = np.concatenate([smooth < first, direct < first // DIRECT_SHARE])
    ends, of = _descended(problem, begin[start[early]], threshold[early]), start[early]
    if not early.all() and not _same(ends.value).all():
        ends = Minima.joined([ends, _descended(problem, begin[start[~early]], threshold[~early])])
        of = np.concatenate([of, start[~early]])
    if not np.isfinite(ends.value).any():
        raise FitError(
            f"no start of the law {problem.law.name!r} gives finite losses on these runs: check the "
            "units of its columns"
        )
    return _lowest(problem, _finished(problem, ends), of)


def _finished(problem: Problem, ends: Minima) -> Minima:
    """The same, the lowest of them followed to its end: a valley without a floor takes thousands of steps, and only the
    best way need go them."""
    best = int(np.argmin(ends.value))
    if ends.converged[best]:
        return ends
    last = minimise(problem, ends.u[[best]], steps=LAST_STEPS)
    if last.value[0] > ends.value[best]:
        return ends
    u, value, converged = ends.u.copy(), ends.value.copy(), ends.converged.copy()
    u[best], value[best], converged[best] = last.u[0], last.value[0], last.converged[0]
    return Minima(u, value, converged)


def _descended(problem: Problem, begin: Array, threshold: Array) -> Minima:
    """Where ways from some places end: first under their own threshold, then under the objective asked for."""
    approached = minimise(problem, begin, threshold=threshold, steps=APPROACH_STEPS, precision=APPROACH_PRECISION)
    places, owner = _distinct(np.where(np.isfinite(approached.value)[:, None], approached.u, begin))
    return minimise(problem, places).take(owner)


def _same(value: Array) -> Array:
    """Which ends have the lowest value: bool[n_ways]; none without a number."""
    return np.isfinite(value) & (value <= value.min() * (1 + SAME_VALUE) + 1e-300)


def _lowest(problem: Problem, ends: Minima, start: Array) -> Optimum:
    """The lowest of the minima found; a start has reached it if either of its ways has."""
    order = np.argsort(ends.value)
    best = order[0]
    u = ends.u[best]
    edge = ((u <= problem.low + 1e-9) | (u >= problem.high - 1e-9)) & problem.free
    return Optimum(
        u=u,
        theta=problem.decode(u),
        value=float(ends.value[best] / problem.objective.unit),
        tried=len(np.unique(start)),
        reached=len(np.unique(start[_same(ends.value)])),
        converged=bool(ends.converged[best]),
        at_bound=tuple(name for name, on in zip(problem.law.names, edge, strict=True) if on),
        basins=_distinct(ends.u[order])[0],
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
