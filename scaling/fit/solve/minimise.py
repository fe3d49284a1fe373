"""Many small fits at once: a damped Newton method over a batch of coefficient vectors, in plain NumPy.

Starts, bootstrap replicates and points of a profile are all rows of one batch. Derivatives are exact. Steps are limited
by how far they move the *predictions* (the metric is the Gauss-Newton matrix), so neither centring nor scaling of the
inputs matters: the ridge between A and alpha, fatal to a gradient method, is just another direction.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
        return np.array([c.log for c in self.law.coefficients])

    @cached_property
    def low(self) -> Array:
        """Lower bounds in search coordinates: float64[k]."""
        with np.errstate(divide="ignore"):
            ends = [np.clip(np.log(c.low), *LOG_RANGE) if c.log else c.low for c in self.law.coefficients]
        return np.array(ends, float)

    @cached_property
    def high(self) -> Array:
        """Upper bounds in search coordinates: float64[k]."""
        ends = [np.clip(np.log(c.high), *LOG_RANGE) if c.log else c.high for c in self.law.coefficients]
        return np.array(ends, float)

    @cached_property
    def free(self) -> Array:
        """Coefficients that are not held: bool[k]."""
        return np.array([c.name not in self.held for c in self.law.coefficients])

    def encode(self, theta: Array) -> Array:
        """Coefficients to search coordinates (logarithms where the coefficient says so), inside the bounds."""
        theta = np.asarray(theta, float)
        with np.errstate(divide="ignore"):
            u = np.where(self.is_log, np.log(np.where(self.is_log, theta, 1.0)), theta)
        return np.clip(u, self.low, self.high)

    def decode(self, u: Array) -> Array:
        """Search coordinates to coefficients. The exponential of a bound's logarithm may lie a rounding beyond it."""
        theta = np.where(self.is_log, np.exp(np.where(self.is_log, u, 0.0)), u)
        return np.clip(theta, *np.transpose([(c.low, c.high) for c in self.law.coefficients]))


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
    """Quadratic model of each problem at its current point."""

    value: Array
    gradient: Array
    hessian: Array
    metric: Array

    def take(self, index: Array) -> _Local:
        return _Local(self.value[index], self.gradient[index], self.hessian[index], self.metric[index])

    def put(self, mask: Array, other: _Local) -> None:
        for name in ("value", "gradient", "hessian", "metric"):
            getattr(self, name)[mask] = getattr(other, name)[mask]


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
    return Minima(
        np.concatenate([m.u for m in done]),
        np.concatenate([m.value for m in done]),
        np.concatenate([m.converged for m in done]),
    )


def _descend(problem: Problem, start: Array, runs: _Runs, steps: int, precision: float) -> Minima:
    """One chunk: all rows step together; rows that are done drop out."""
    u = np.clip(start, problem.low, problem.high)
    final_u, final_value = u.copy(), np.full(len(u), np.inf)
    converged = np.zeros(len(u), bool)
    rows = np.arange(len(u))
    damping = np.full(len(u), 1e-3)
    here = _model(problem, u, runs)
    for _ in range(steps):
        step, gain = _newton_step(problem, u, here, damping)
        trial = np.clip(u + step, problem.low, problem.high)
        there = _model(problem, trial, runs)
        better = there.value < here.value
        small = gain <= precision * np.abs(here.value) + 1e-300
        u = np.where(better[:, None], trial, u)
        here.put(better, there)
        # Steps that fail are tried again more cautiously; those that succeed become bolder.
        damping = np.where(better, np.maximum(damping * 0.1, 1e-12), np.minimum(damping * 8, 1e12))
        done = small | (damping >= 1e12)
        final_u[rows], final_value[rows] = u, here.value
        converged[rows[done]] = True
        if done.any():
            keep = ~done
            rows, u, damping, here, runs = rows[keep], u[keep], damping[keep], here.take(keep), runs.take(keep)
        if not len(rows):
            break
    return Minima(final_u, final_value, converged & np.isfinite(final_value))


def _newton_step(problem: Problem, u: Array, here: _Local, damping: Array) -> tuple[Array, Array]:
    """Step against the gradient with |curvature| + damping, both measured in the metric of the predictions."""
    outward = ((u <= problem.low) & (here.gradient > 0)) | ((u >= problem.high) & (here.gradient < 0))
    free = problem.free & ~outward
    gradient = np.where(free, here.gradient, 0.0)
    both = free[:, :, None] & free[:, None, :]
    eye = np.eye(u.shape[1])
    scale = 1 / np.sqrt(np.maximum(np.einsum("pii->pi", here.metric), 1e-30))
    outer = scale[:, :, None] * scale[:, None, :]
    metric = np.where(both, here.metric * outer, eye) + 1e-12 * eye
    hessian = np.where(both, here.hessian * outer, 0.0)
    inverse_root = np.linalg.inv(np.linalg.cholesky(metric))
    curvature, axes = np.linalg.eigh(inverse_root @ hessian @ inverse_root.transpose(0, 2, 1))
    slope = np.einsum("pij,pj->pi", inverse_root, gradient * scale)
    along = np.einsum("pji,pj->pi", axes, slope) / (np.abs(curvature) + damping[:, None])
    step = -scale * np.einsum("pji,pj->pi", inverse_root, np.einsum("pij,pj->pi", axes, along))
    return np.where(free, step, 0.0), -np.einsum("pi,pi->p", gradient, step)


def _model(problem: Problem, u: Array, runs: _Runs) -> _Local:
    """Value, gradient, exact Hessian and Gauss-Newton metric of the objective, per row of `u`."""
    weights, limit = runs.weights, runs.limit
    with np.errstate(all="ignore"):
        jet = _predict(problem, u)
        predicted = jet.value
        residual = problem.objective.measure(predicted) - runs.target
        # d residual / d predicted is 1/predicted on log loss, else 1; its derivative folds into the first-order
        # weights below.
        per_loss = 1.0 / predicted if problem.objective.log else 1.0
        bend = 1.0 if problem.objective.log else 0.0
        psi = np.clip(residual, -limit, limit)
        inside = np.abs(residual) <= limit
        value = np.sum(weights * problem.objective.rho(residual, limit), axis=-1)
        push = weights * psi * per_loss
        slopes = _stack(jet, u.shape)
        gradient = (slopes @ push[..., None])[..., 0]
        square = weights * per_loss * per_loss * np.ones_like(predicted)
        metric = (slopes * square[:, None]) @ slopes.transpose(0, 2, 1)
        hessian = (slopes * (square * (inside - bend * psi))[:, None]) @ slopes.transpose(0, 2, 1)
        hessian += jet.curvature(push, u.shape[1])
    if runs.prior is not None:
        penalty, slope = runs.prior.pull(u)
        value, gradient = value + penalty, gradient + slope
        hessian, metric = hessian + runs.prior.precision, metric + runs.prior.precision
    bad = ~(np.isfinite(value) & np.isfinite(gradient).all(-1) & np.isfinite(hessian).all((-1, -2)))
    value[bad] = np.inf
    gradient[bad], hessian[bad], metric[bad] = 0.0, np.eye(u.shape[1]), np.eye(u.shape[1])
    return _Local(value, gradient, hessian, metric)


def _predict(problem: Problem, u: Array) -> Jet:
    """Loss with derivatives in search coordinates."""
    p = {}
    for i, name in enumerate(problem.law.names):
        variable = Jet.variable(u[:, i, None], i)
        p[name] = np.exp(variable) if problem.is_log[i] else variable
    return problem.law.formula(SimpleNamespace(**p), problem.x)


def _stack(jet: Jet, shape: tuple[int, int]) -> Array:
    """First derivatives as one array [n_problems, k, n_runs]."""
    out = np.zeros((*shape, jet.value.shape[-1]))
    for i, slope in jet.first.items():
        out[:, i] = slope
    return out
