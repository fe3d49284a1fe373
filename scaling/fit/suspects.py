"""Runs that do not belong to the law of the others: single rows, and whole model sizes or data volumes.

A robust fit hardly moves for one bad row, but its reader should know of it; a whole size that is off by one or two per
cent (a rung whose learning rate was never tuned) moves every forecast and shows in no single residual. Nothing is left
out here: suspects are named, with what to do, and the law without them is fitted beside.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from scaling.fit.doubt.covariance import weighted_jacobian
from scaling.fit.evidence import Suspect
from scaling.fit.identify import level_codes
from scaling.fit.solve.minimise import Problem, minimise
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import Optimum, robust_scale, search
from scaling.tables.finished import listed
from scaling.tables.observations import Observations

Array = np.ndarray
ROW_SCALES = 8.0
"""A row this many robust standard deviations off the law is named …"""
ROW_LEAST = 0.02
"""… if it is off by this much of its loss as well."""
LEVEL_ERRORS = 3.5
"""A level this many standard errors off the law through the others is named …"""
LEVEL_LEAST = 0.005
"""… if it is off by this much as well; seeds alone move a size by less."""
ROWS_OF_A_LEVEL = 3
LEVELS_NEEDED = 5
"""Four levels of the others leave one degree of freedom to see their own scatter with."""
MOST_LEVELS = 3
CANDIDATES = 3
COEFFICIENTS_OF_AN_AXIS = 3
PRECISION = 1e-9
"""Relative change of the objective that the law without suspects still moves for."""
PRIOR_SCATTER = 0.003
"""Log loss: runs of one size share their hyper-parameters and a seed, which moves them by .02 to .8 % …"""
PRIOR_LEVELS = 3
"""… and a handful of levels cannot show their scatter: before any is seen, it counts as that of so many."""
AXES = {"n": "model size", "d": "data volume"}


def suspects(problem: Problem, optimum: Optimum, data: Observations) -> tuple[Suspect, ...]:
    """Rows, then levels, that lie off the law of the others.

    Args:
        problem, optimum: a fit in log loss. One that is not robust is fitted robustly first, for in the others' sum of
            squares single bad rows hide themselves.
        data: its runs.

    Returns:
        Suspects, the largest shift first; none where residuals are not of log loss.
    """
    if not problem.objective.log:
        return ()
    if problem.objective.threshold > ROW_LEAST:
        problem = replace(problem, objective=Objective())
        held = {name: float(optimum.theta[problem.law.names.index(name)]) for name in problem.held}
        optimum = search(problem, starts=optimum.theta[None], held=held)
    jacobian, root = weighted_jacobian(problem, optimum)
    fitted = problem.law.evaluate(optimum.theta, problem.x)
    shift = -problem.objective.residual(fitted, problem.loss)
    rows = _rows(shift, fitted, data, free=jacobian.shape[1])
    keep = ~np.isin(np.arange(len(data)), [i for i, _ in rows])
    return tuple([suspect for _, suspect in rows] + _levels(jacobian, shift * root, root, keep, data))


def without(odd: Sequence[Suspect], problem: Problem, optimum: Optimum, data: Observations) -> dict[str, float]:
    """Coefficients of the law without its suspects' rows; empty where there are none, or too few runs are left."""
    doubtful = {row for suspect in odd for row in suspect.rows}
    keep = np.array([row not in doubtful for row in data.rows])
    if keep.all() or keep.sum() <= len(problem.law.names):
        return {}
    part = SimpleNamespace(**{name: values[keep] for name, values in vars(problem.x).items()})
    less = replace(problem, x=part, loss=problem.loss[keep], weights=problem.weights[keep])
    again = less.decode(minimise(less, optimum.u[None], precision=PRECISION).u[0])
    return dict(zip(problem.law.names, again.tolist(), strict=True))


def _rows(shift: Array, fitted: Array, data: Observations, free: int) -> list[tuple[int, Suspect]]:
    """Single rows far off the law, by the scatter of all."""
    scale = robust_scale(shift) * np.sqrt(len(shift) / max(len(shift) - free, 1))
    off = np.flatnonzero(np.abs(shift) > max(ROW_SCALES * scale, ROW_LEAST))
    return [(int(i), _row(i, shift[i], fitted[i], data)) for i in off[np.argsort(-np.abs(shift[off]))]]


def _row(i: int, shift: float, fitted: float, data: Observations) -> Suspect:
    size = f"{np.exp(abs(shift)):.3g} times" if abs(shift) > np.log(1.5) else f"{abs(np.expm1(shift)):.1%}"
    side = "above" if shift > 0 else "below"
    others = f"{data.as_written('loss')} != {float(data.loss[i])!r}"
    return Suspect(
        (data.rows[i],),
        float(shift),
        f"row {data.rows[i]}: loss {data.loss[i]:.4g} lies {size} {side} the law of the other runs ({fitted:.4g}): "
        "diverged, barely trained, in other units or mistyped? Look at its log; leave it out with where "
        f"{shlex.quote(others)}",
    )


def _levels(jacobian: Array, shift: Array, root: Array, keep: Array, data: Observations) -> list[Suspect]:
    """Whole levels of an axis off the law through the others, one after the other, each left out once it is named."""
    found: list[Suspect] = []
    while len(found) < MOST_LEVELS:
        seen = [
            (errors, axis, level, size)
            for axis in AXES
            if axis in data.columns
            for errors, level, size in _shifts(jacobian, shift, root, keep, data.columns[axis])
        ]
        if not seen or (worst := max(seen, key=lambda one: one[0]))[0] < LEVEL_ERRORS:
            break
        errors, axis, level, size = worst
        found.append(_level(axis, size, errors, level, data))
        keep = keep & ~level
    return found


def _level(axis: str, shift: float, errors: float, level: Array, data: Observations) -> Suspect:
    name, values = data.names.get(axis, axis), data.columns[axis][level]
    low, high = float(values.min()), float(values.max())
    # A run asked for 80k tokens ends at a whole step: what leaves a level out has to name all of it.
    written = data.as_written(axis)
    of, others = f"{low:.4g}", f"{written} != {low!r}"
    if high > low:
        of, others = f"{low:.4g} to {high:.4g}", f"{written} < {low!r} or {written} > {high!r}"
    labels = tuple(row for row, inside in zip(data.rows, level, strict=True) if inside)
    side = "above" if shift > 0 else "below"
    return Suspect(
        labels,
        float(shift),
        f"{AXES[axis]} {name} = {of} (rows {listed(labels, 4)}) lies {abs(shift):.1%} {side} the law through "
        f"the others ({errors:.0f} standard errors): trained or tuned unlike them? Train it again, or leave it out "
        f"with where {shlex.quote(others)}",
    )


def _shifts(jacobian: Array, shift: Array, root: Array, keep: Array, axis: Array) -> list[tuple[float, Array, float]]:
    """Of the levels that are furthest off: how many standard errors, their rows, their common shift.

    The model is shift = J delta + u_level + s 1_level + noise: each level has an effect of its own with variance tau^2,
    estimated by moments from the other levels, and s is what one level has beyond that.
    """
    code = level_codes(axis)
    counts = np.bincount(code[keep], minlength=code.max() + 1)
    enough = np.flatnonzero(counts >= ROWS_OF_A_LEVEL)
    if len(enough) < LEVELS_NEEDED:
        return []
    # The scatter of the others is worth its cost only for levels that stand out by the scatter of all.
    order = np.argsort(code, kind="stable")
    runs, kept = _Levels(jacobian[order], shift[order], root[order], code[order]), keep[order]
    (errors,), _ = runs.shifts(kept[None], enough[None], *runs.components(kept[None]))
    picked = enough[np.argsort(-errors, kind="stable")][:CANDIDATES, None]
    errors, sizes = runs.shifts(np.tile(kept, (len(picked), 1)), picked, *runs.components(kept & (runs.code != picked)))
    return [
        (float(error) if abs(size) > LEVEL_LEAST else 0.0, keep & (code == level), float(size))
        for error, size, level in zip(errors.ravel(), sizes.ravel(), picked.ravel(), strict=True)
    ]


@dataclass(frozen=True)
class _Levels:
    """The runs of a fit in the levels of one axis, any of them left out.

    Attributes:
        jacobian: float64[n_runs, k], of the law over its coefficients.
        shift: float64[n_runs], log(measured/law); like the Jacobian times the root of the weights.
        root: float64[n_runs], of the weights.
        code: int[n_runs], level, in ascending order.
    """

    jacobian: Array
    shift: Array
    root: Array
    code: Array

    def shifts(self, among: Array, asked: Array, tau: Array, noise: Array) -> tuple[Array, Array]:
        """Standard errors that each of some levels is off, and by how much: float64[n_cases, n_asked]; generalised
        least squares.

        Args:
            among: bool[n_cases, n_runs], the runs that there are.
            asked: int[n_cases, n_asked], levels.
            tau, noise: float64[n_cases], of the levels and inside them.
        """
        counts, k = self._sums(among[..., None])[..., 0], self.jacobian.shape[1]
        noise = np.where(noise > 0, noise, np.inf)[:, None]
        # Random effects are whitened by taking part of each level's mean away (Swamy and Arora 1972).
        part = 1 - 1 / np.sqrt(1 + counts * (tau[:, None] / noise) ** 2)
        columns = np.where(self.code[:, None] == asked[:, None], self.root[:, None], 0.0)
        every = np.concatenate([self._of(among), columns * among[..., None]], axis=-1)
        white = self._demeaned(every, among, part, counts) / noise[..., None]
        design, target, own = white[..., :k], white[..., k : k + 1], white[..., k + 1 :]
        fixed = np.linalg.qr(design)[0]
        alone = own - fixed @ (fixed.mT @ own)
        information = np.sum(alone**2, axis=1)
        # A level that the law's own coefficients can follow anywhere says nothing.
        tells = information > 1e-6 * np.sum(own**2, axis=1)
        size = np.where(tells, np.sum(target * alone, axis=1) / np.where(tells, information, 1.0), 0.0)
        return np.abs(size) * np.sqrt(information), size

    def components(self, among: Array) -> tuple[Array, Array]:
        """Standard deviations of the levels' effects and of the noise inside levels, by moments: float64[n_cases] each.

        With M the membership of runs in levels and P the projection beside the law's coefficients, E[|M'P shift|^2] is
        noise^2 tr(M'PM) + tau^2 |M'PM|^2. M'PM is a diagonal less a product of few columns, so no large matrix is
        built.
        """
        every, counts = self._of(among), self._sums(among[..., None])[..., 0]
        # Inside levels: both sides less their level's mean.
        inside = self._demeaned(every, among, np.ones_like(counts), counts)
        basis, size, _ = np.linalg.svd(inside[..., :-1], full_matrices=False)
        known = size > size[:, :1] * len(self.code) * np.finfo(float).eps
        beside = _beside(basis * known[:, None], inside[..., -1])
        left = among.sum(axis=1) - np.sum(counts > 0, axis=1) - known.sum(axis=1)
        noise = np.where(left > 0, np.sum(beside**2, axis=1) / np.maximum(left, 1), 0.0)
        # Between levels.
        fixed = np.linalg.qr(every[..., :-1])[0]
        share, total = self._sums(fixed), self._sums(_beside(fixed, every[..., -1])[..., None])
        trace = counts.sum(axis=1) - np.sum(share**2, axis=(1, 2))
        square = np.sum(counts**2, axis=1) - 2 * np.sum(counts[..., None] * share**2, axis=(1, 2))
        square += np.sum((share.mT @ share) ** 2, axis=(1, 2))
        excess = np.sum(total**2, axis=(1, 2)) - noise * trace
        # Where the law's coefficients move all levels as they like, no shift of one can be seen.
        between = np.divide(excess, square, out=np.zeros_like(excess), where=square > 0)
        seen = np.maximum(np.sum(counts > 0, axis=1) - COEFFICIENTS_OF_AN_AXIS, 1)
        variance = (seen * np.maximum(between, 0.0) + PRIOR_LEVELS * PRIOR_SCATTER**2) / (seen + PRIOR_LEVELS)
        return np.where(left > 0, np.sqrt(variance), 0.0), np.sqrt(noise)

    def _of(self, among: Array) -> Array:
        """Jacobian and shift, zero where a run is left out: float64[n_cases, n_runs, k + 1]."""
        return np.column_stack([self.jacobian, self.shift]) * among[..., None]

    def _demeaned(self, values: Array, among: Array, part: Array, counts: Array) -> Array:
        """Rows less a part of their level's mean."""
        means = (part / np.maximum(counts, 1))[..., None] * self._sums(values)
        return values - means[:, self.code] * among[..., None]

    def _sums(self, values: Array) -> Array:
        """Of every column over the rows of each level: float64[n_cases, n_levels, n_columns]."""
        return np.add.reduceat(values, self.starts, axis=1)

    @cached_property
    def starts(self) -> Array:
        """First row of each level."""
        return np.flatnonzero(np.diff(self.code, prepend=-1))


def _beside(basis: Array, values: Array) -> Array:
    """What is left of a vector outside the span of an orthonormal basis: [..., n, k] and [..., n] -> [..., n]."""
    return values - (basis @ (basis.mT @ values[..., None]))[..., 0]
