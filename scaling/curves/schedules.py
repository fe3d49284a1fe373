"""Fitting the multi-power law to trainings under different learning-rate schedules."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from scaling.errors import FitError
from scaling.laws.law import Coefficient
from scaling.laws.schedule import MultiPower, ScheduledRun

Array = np.ndarray
DROP_POINTS = 500
"""Rate changes kept in a fit: a smooth decay of 70,000 steps is a sum that needs no more terms than this."""


def fit_schedules(runs: Sequence[ScheduledRun], *, starts: int = 12, delta: float = 1e-3, seed: int = 0) -> MultiPower:
    """Fit the multi-power law to trainings under different schedules.

    Minimises the sum of Huber(log residual) with exact derivatives (SciPy trust region), from several starts.

    Args:
        runs: trainings with losses; at least one must change its rate after warmup, or B, C, beta and gamma are not
            determined.
        starts: random starts.
        delta: Huber threshold on log loss.
        seed: of the starts.

    Returns:
        The law with its numbers.

    Raises:
        FitError: no losses, fewer losses than coefficients, or no start that converged.
    """
    from scipy.optimize import OptimizeResult, least_squares

    if not runs or any(run.loss is None for run in runs):
        raise FitError("a schedule law is fitted to trainings with losses: every run needs its loss")
    law, target = MultiPower(), np.log(np.concatenate([run.loss for run in runs]))
    if len(target) <= len(law.names):
        raise FitError(
            f"{len(target)} losses cannot determine the {len(law.names)} coefficients of {law.name!r}: give more"
        )
    features = [run.features(DROP_POINTS) for run in runs]
    model = _Model(law, features, target)
    # Amplitudes are searched by their logarithms, exponents as they are.
    box = np.array([-20.0, -20.0, 1e-3, -20.0, -20.0, 1e-3, 1e-3]), np.array([3.0, 20.0, 5.0, 20.0, 20.0, 5.0, 5.0])
    best: OptimizeResult | None = None
    for start in _starts(law, float(np.exp(target.min())), starts, np.random.default_rng(seed)):
        found = least_squares(
            model.residual, start, model.jacobian, bounds=box, loss="huber", f_scale=delta, x_scale="jac", xtol=1e-10
        )
        if best is None or found.cost < best.cost:
            best = found
    if best is None or not best.success:
        reason = "no starts were asked for" if best is None else best.message
        raise FitError(
            f"no start of {law.name!r} converged ({reason}): add a run whose learning rate drops after warmup"
        )
    return law.with_values(_decode(law, best.x))


def _starts(law: MultiPower, lowest: float, count: int, rng: np.random.Generator):
    """Search vectors: L0 a little below the lowest loss, the rest drawn."""
    for _ in range(count):
        values = [
            rng.uniform(*c.start) if not c.log else np.exp(rng.uniform(*np.log(c.start))) for c in law.coefficients
        ]
        values[0] = lowest * rng.uniform(0.8, 0.99)
        yield np.array([np.log(v) if _is_log(c) else v for v, c in zip(values, law.coefficients, strict=True)])


def _is_log(coefficient: Coefficient) -> bool:
    return coefficient.log or coefficient.name == "L0"


def _decode(law: MultiPower, theta: Array) -> Array:
    logs = np.array([_is_log(c) for c in law.coefficients])
    return np.where(logs, np.exp(np.where(logs, theta, 0.0)), theta)


class _Model:
    """Residuals and Jacobian of all runs; both come from one evaluation."""

    def __init__(self, law: MultiPower, features: list[SimpleNamespace], target: Array):
        self.law, self.features, self.target = law, features, target
        self.at: Array | None = None

    def _evaluate(self, theta: Array) -> None:
        if self.at is not None and np.array_equal(self.at, theta):
            return
        values = _decode(self.law, theta)
        p = SimpleNamespace(**dict(zip(self.law.names, values, strict=True)))
        parts = [self.law.slopes(p, x) for x in self.features]
        loss = np.maximum(
            np.concatenate([value for value, _ in parts]), 1e-3
        )  # a bad start may predict a negative loss
        by_theta = np.where([_is_log(c) for c in self.law.coefficients], values, 1.0)
        slope = np.concatenate([slope for _, slope in parts]) * by_theta / loss[:, None]
        self.at, self.value, self.slope = theta.copy(), np.log(loss) - self.target, slope

    def residual(self, theta: Array) -> Array:
        """log predicted - log measured."""
        self._evaluate(theta)
        return self.value

    def jacobian(self, theta: Array) -> Array:
        """d residual / d theta."""
        self._evaluate(theta)
        return self.slope
