"""Many small fits at once: a damped Newton method over a batch of coefficient vectors, in plain NumPy.

Starts, bootstrap replicates and points of a profile are all rows of one batch. Derivatives are exact. Steps are limited
by how far they move the *predictions* (the metric is the Gauss-Newton matrix), so neither centring nor scaling of the
inputs matters: the ridge between A and alpha, fatal to a gradient method, is just another direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from scaling.fit.solve.objective import Objective
from scaling.fit.solve.prior import Prior
from scaling.laws.jet import Jet
from scaling.laws.law import ScalingLaw

Array = np.ndarray
CHUNK_ELEMENTS = 30_000
"""Problems times runs in one pass: the working set of a pass then stays in the second-level cache."""
LOG_RANGE = (-200.0, 400.0)
BOLDER, CAUTIOUS = 0.3, 16.0
"""What a step that succeeds, or fails, does to the damping. A robust objective bends anew wherever a run enters or
leaves its threshold: damping that falls faster runs into failures, and one that rises slower repeats them."""


@dataclass(frozen=True)
class Problem:
    """A law to be fitted to runs.

    Attributes:
        law: the form.
        x: its columns, float64[n_runs] each.
        loss: float64[n_runs].
        weights: float64[n_runs].
        objective: what is summed.
        held: names of coefficients that stay where each start puts them.
        prior: what is known of the coefficients before the runs, or None.
    """

    law: ScalingLaw
    x: SimpleNamespace
    loss: Array
    weights: Array
    objective: Objective = Objective()
    held: tuple[str, ...] = ()
    prior: Prior | None = None

    @cached_property
    def is_log(self) -> Array:
        """Coefficients that are searched by their logarithm: bool[k]."""
        return self.law.is_log

    @cached_property
    def low(self) -> Array:
        """Lower bounds in search coordinates: float64[k]."""
        return self._ends([c.low for c in self.law.coefficients])

    @cached_property
    def high(self) -> Array:
        """Upper bounds in search coordinates: float64[k]."""
        return self._ends([c.high for c in self.law.coefficients])

    def _ends(self, values: list[float]) -> Array:
        """Bounds in search coordinates, those of logarithms where their exponential is still a number."""
        u = self.law.to_search(np.array(values, float))
        return np.where(self.is_log, np.clip(u, *LOG_RANGE), u)

    @cached_property
    def free(self) -> Array:
        """Coefficients that are not held: bool[k]."""
        return np.array([c.name not in self.held for c in self.law.coefficients])

    def take(self, rows: Array) -> Problem:
        """The same of some runs."""
        x = SimpleNamespace(**{name: values[rows] for name, values in vars(self.x).items()})
        return replace(self, x=x, loss=self.loss[rows], weights=self.weights[rows])

    def encode(self, theta: Array) -> Array:
        """Coefficients to search coordinates, inside the bounds."""
        return np.clip(self.law.to_search(np.asarray(theta, float)), self.low, self.high)

    def decode(self, u: Array) -> Array:
        """Search coordinates to coefficients. The exponential of a bound's logarithm may lie a rounding beyond it."""
        return np.clip(self.law.from_search(u), *np.transpose([(c.low, c.high) for c in self.law.coefficients]))


@dataclass(frozen=True)
class Minima:
    """Where a batch of searches ended.

    Attributes:
        u: float64[n_problems, k], search coordinates.
        value: float64[n_problems], weighted sum of rho.
        converged: bool[n_problems]: the next step would change the value by less than the precision asked for.
    """

    u: Array
    value: Array
    converged: Array

    def take(self, index: Array) -> Minima:
        """Those of some searches."""
        return Minima(self.u[index], self.value[index], self.converged[index])

    @classmethod
    def joined(cls, parts: Sequence[Minima]) -> Minima:
        """Those of several batches, one after the other."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("u", "value", "converged")))


@dataclass
class _Runs:
    """What differs between the rows of a batch besides the start: targets (losses on the scale of the residuals),
    weights, float64[n_problems, n_runs], thresholds float64[n_problems, 1], and priors."""

    target: Array
    weights: Array
    limit: Array
    prior: Prior | None

    def take(self, index: Array | slice) -> _Runs:
        prior = None if self.prior is None else self.prior.take(index)
        return _Runs(self.target[index], self.weights[index], self.limit[index], prior)


@dataclass
class _Local:
    """Quadratic model of each problem at its current point, along axes on which curvature and metric are diagonal.

    Attributes:
        slope, curvature: of the objective along the axes, float64[n_problems, k].
        axes: rows of float64[n_problems, k, k], in search coordinates.
        sound: bool[n_problems]: whether all derivatives are numbers.
    """

    slope: Array
    curvature: Array
    axes: Array
    sound: Array

    def step(self, damping: Array) -> tuple[Array, Array]:
        """Step against the slope with |curvature| + damping, and the gain that it promises."""
        along = self.slope / (np.abs(self.curvature) + damping[:, None])
        return -(along[:, None] @ self.axes)[:, 0], np.vecdot(along, self.slope)

    def take(self, index: Array) -> _Local:
        return _Local(self.slope[index], self.curvature[index], self.axes[index], self.sound[index])

    def put(self, index: Array, other: _Local) -> _Local:
        for name in ("slope", "curvature", "axes", "sound"):
            getattr(self, name)[index] = getattr(other, name)
        return self


def minimise(
    problem: Problem,
    u: Array,
    *,
    weights: Array | None = None,
    loss: Array | None = None,
    prior: Prior | None = None,
    steps: int = 200,
    threshold: float | Array | None = None,
    precision: float = 1e-13,
) -> Minima:
    """Minimise from every row of `u`.

    Args:
        problem: law, runs and objective.
        u: starts in search coordinates, float64[n_problems, k].
        weights: float64[n_problems, n_runs] instead of the problem's (bootstrap counts times run weights).
        loss: float64[n_problems, n_runs] instead of the problem's (simulated losses).
        prior: of every row, instead of the problem's.
        steps: most iterations.
        precision: relative change of the objective that the next step must promise, else the search has converged.
        threshold: Huber threshold, or one of each row, instead of the objective's (a search may descend through
            smoother objectives first).

    Returns:
        Minima, in the order of the starts.
    """
    rows = max(1, CHUNK_ELEMENTS // max(len(problem.loss), 1))
    limit = problem.objective.threshold if threshold is None else threshold
    limit = np.broadcast_to(limit, len(u))[:, None]
    weights = np.broadcast_to(problem.weights if weights is None else weights, (len(u), len(problem.loss)))
    target = problem.objective.measure(problem.loss if loss is None else loss)
    target = np.broadcast_to(target, (len(u), len(problem.loss)))
    # NumPy leaves the interpreter free, so chunks run side by side.
    parts = [slice(i, i + rows) for i in range(0, len(u), rows)]
    runs = _Runs(target, weights, limit, problem.prior if prior is None else prior)

    def work(part: slice) -> Minima:
        return _descend(problem, u[part], runs.take(part), steps, precision)

    if len(parts) == 1:
        done = [work(parts[0])]
    else:
        with ThreadPoolExecutor() as pool:
            done = list(pool.map(work, parts))
    return Minima.joined(done)


def _descend(problem: Problem, start: Array, runs: _Runs, steps: int, precision: float) -> Minima:
    """One chunk: all rows step together; rows that are done drop out."""
    u = np.clip(start, problem.low, problem.high)
    here = _model(problem, u, runs)
    value = np.where(here.sound, _value(problem, u, runs), np.inf)
    final_u, final_value, converged = u.copy(), value.copy(), np.zeros(len(u), bool)
    rows, damping = np.arange(len(u)), np.full(len(u), 1e-3)
    for _ in range(steps):
        step, gain = here.step(damping)
        trial = np.clip(u + step, problem.low, problem.high)
        there = _value(problem, trial, runs)
        small = gain <= precision * np.abs(value) + 1e-300
        better = there < value
        # Derivatives cost ten times the value: a step that failed, or was the last, goes without.
        moved = np.flatnonzero(better & ~small)
        if len(moved):
            whole = len(moved) == len(rows)
            found = _model(problem, trial[moved], runs if whole else runs.take(moved))
            better[moved] = found.sound
            here = found if whole and found.sound.all() else here.put(moved[found.sound], found.take(found.sound))
        u, value = np.where(better[:, None], trial, u), np.where(better, there, value)
        # Steps that fail are tried again more cautiously; those that succeed become bolder.
        damping = np.clip(damping * np.where(better, BOLDER, CAUTIOUS), 1e-12, 1e12)
        done = small | (damping >= 1e12)
        final_u[rows], final_value[rows] = u, value
        converged[rows[done]] = True
        if done.any():
            left = np.flatnonzero(~done)
            rows, u, value, damping = rows[left], u[left], value[left], damping[left]
            here, runs = here.take(left), runs.take(left)
        if not len(rows):
            break
    return Minima(final_u, final_value, converged & np.isfinite(final_value))


def _value(problem: Problem, u: Array, runs: _Runs) -> Array:
    """The objective, per row of `u`; infinite where it is not a number."""
    with np.errstate(all="ignore"):
        residual = problem.objective.measure(_predict(problem, u, order=0).value) - runs.target
        value = np.sum(runs.weights * problem.objective.rho(residual, runs.limit), axis=-1)
    if runs.prior is not None:
        value = value + runs.prior.pull(u)[0]
    return np.where(np.isfinite(value), value, np.inf)


def _model(problem: Problem, u: Array, runs: _Runs) -> _Local:
    """Gradient, exact Hessian and Gauss-Newton metric of the objective, per row of `u`, diagonalised together."""
    with np.errstate(all="ignore"):
        jet = _predict(problem, u)
        residual = problem.objective.measure(jet.value) - runs.target
        psi = np.minimum(np.maximum(residual, -runs.limit), runs.limit)
        push, square, inside = runs.weights * psi, runs.weights, psi == residual
        if problem.objective.log:
            # d residual / d predicted is 1/predicted; its own derivative takes psi off the curvature of every run.
            per_loss = 1.0 / jet.value
            push, square, inside = push * per_loss, square * per_loss * per_loss, inside - psi
        slopes = _stack(jet, u.shape)
        across = slopes.transpose(0, 2, 1)
        gradient = (slopes @ push[..., None])[..., 0]
        weighted = slopes * square[:, None]
        metric = weighted @ across
        hessian = np.multiply(slopes, (square * inside)[:, None], out=weighted) @ across
        hessian += jet.curvature(push, u.shape[1])
    if runs.prior is not None:
        gradient = gradient + runs.prior.pull(u)[1]
        hessian, metric = hessian + runs.prior.precision, metric + runs.prior.precision
    sound = np.isfinite(gradient).all(-1) & np.isfinite(hessian).all((-1, -2))
    if not sound.all():
        gradient[~sound], hessian[~sound], metric[~sound] = 0.0, np.eye(u.shape[1]), np.eye(u.shape[1])
    return _diagonal(problem, u, gradient, hessian, metric, sound)


def _diagonal(problem: Problem, u: Array, gradient: Array, hessian: Array, metric: Array, sound: Array) -> _Local:
    """The axes on which Hessian and metric are diagonal, of the coefficients that are neither held nor pressed against
    a bound."""
    outward = ((u <= problem.low) & (gradient > 0)) | ((u >= problem.high) & (gradient < 0))
    free = problem.free & ~outward
    scale = free / np.sqrt(np.maximum(metric.diagonal(axis1=1, axis2=2), 1e-30))
    outer = scale[:, :, None] * scale[:, None, :]
    # A coefficient that is not free has zeros there, and a unit of its own on the diagonal.
    metric = metric * outer
    metric.reshape(len(u), -1)[:, :: u.shape[1] + 1] += 1e-12 + ~free
    inverse_root = np.linalg.inv(np.linalg.cholesky(metric))
    curvature, axes = np.linalg.eigh(inverse_root @ (hessian * outer) @ inverse_root.transpose(0, 2, 1))
    axes = axes.transpose(0, 2, 1) @ inverse_root * scale[:, None, :]
    return _Local((axes @ gradient[..., None])[..., 0], curvature, axes, sound)


def _predict(problem: Problem, u: Array, order: int = 2) -> Jet:
    """Loss with derivatives in search coordinates, to second order or to none."""
    p = {}
    for i, name in enumerate(problem.law.names):
        variable = Jet.variable(u[:, i, None], i, order=order)
        p[name] = np.exp(variable) if problem.is_log[i] else variable
    return problem.law.formula(SimpleNamespace(**p), problem.x)


def _stack(jet: Jet, shape: tuple[int, int]) -> Array:
    """First derivatives as one array [n_problems, k, n_runs]."""
    out = np.zeros((*shape, jet.value.shape[-1]))
    for i, slope in jet.first.items():
        out[:, i] = slope
    return out
