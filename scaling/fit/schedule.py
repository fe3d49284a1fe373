"""Loss along a training under any learning-rate schedule: the multi-power law.

A constant rate follows a power law in the sum of learning rates; every reduction of the rate adds a loss drop of its
own, which saturates as a power of the sum of rates that follows it. Fitted on two or three schedules, it predicts
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from scaling.errors import FitError, RecordError
from scaling.fit.laws import Coefficient, ScalingLaw, exponent

Array = np.ndarray
DROP_POINTS = 500
"""Rate changes kept in a fit: a smooth decay of 70,000 steps is a sum that needs no more terms than this."""


@dataclass(frozen=True)
class ScheduledRun:
    """One training with its schedule.

    Attributes:
        lr: float64[n_steps], learning rate of every step, warmup included.
        step: int[n_losses], steps at which the loss was measured (0 is the first).
        loss: float64[n_losses], nats/token; None for a run that is only to be predicted.
    """

    lr: Array
    step: Array
    loss: Array | None = None

    def __post_init__(self):
        lr, step = np.asarray(self.lr, float), np.asarray(self.step)
        if lr.ndim != 1 or not np.all(np.isfinite(lr) & (lr >= 0)):
            raise RecordError("lr must be a list of the learning rate of every step, finite and not negative")
        if step.size and not (step.min() >= 0 and step.max() < len(lr)):
            raise RecordError(
                f"losses were measured up to step {step.max()}, but lr has {len(lr)} steps: give the rate of every step"
            )
        object.__setattr__(self, "lr", lr)
        object.__setattr__(self, "step", step.astype(int))
        if self.loss is not None:
            loss = np.asarray(self.loss, float)
            if loss.shape != step.shape or not np.all(np.isfinite(loss) & (loss > 0)):
                raise RecordError("loss must be finite, above zero, and as long as step")
            object.__setattr__(self, "loss", loss)

    def features(self, most: int | None = None) -> SimpleNamespace:
        """What the law needs: sums of rates at the measured steps, rate drops, rates after them, and sums of rates
        since each.

        Args:
            most: merge the smooth rate changes into at most about so many.

        Returns:
            total [n_losses], drop [n_drops], lr [n_drops], since [n_losses, n_drops] (0 where the drop is still to
            come).
        """
        total = np.cumsum(self.lr)
        change = np.flatnonzero(np.diff(self.lr)) + 1
        change = change[self.lr[change] > 0]
        size = np.diff(self.lr, prepend=self.lr[:1])[change]
        if most and len(change) > most:
            first = _group_starts(change, size, -(-len(change) // most))
            size = np.add.reduceat(size, first)
            change = change[(first + np.append(first[1:], len(change)) - 1) // 2]
        before = (total - self.lr)[change]
        since = np.where(change <= self.step[:, None], total[self.step][:, None] - before, 0.0)
        return SimpleNamespace(total=total[self.step], drop=-size, lr=self.lr[change], since=since)


def _group_starts(change: Array, size: Array, width: int) -> Array:
    """First member of each group of up to `width` changes on consecutive steps; a sudden change stays alone."""
    sudden = np.abs(size) > 10 * np.median(np.abs(size))
    breaks = np.diff(change, prepend=-1) > 1
    breaks |= sudden | np.concatenate([[True], sudden[:-1]])
    run_start = np.maximum.accumulate(np.where(breaks, np.arange(len(change)), 0))
    return np.flatnonzero((np.arange(len(change)) - run_start) % width == 0)


class MultiPower(ScalingLaw):
    """L(t) = L0 + A S(t)^-alpha - B sum_k (lr_{k-1} - lr_k) (1 - (1 + C lr_k^-gamma S_k(t))^-beta).

    S(t) is the sum of learning rates up to step t, S_k(t) the sum from step k to t; warmup counts in both (its rates
    rise, so its terms are negative drops).

    **Source:** Luo et al. 2025, arXiv 2503.12811.
    """

    name = "multi-power"
    template = "{L0} + {A} S^-{alpha} - {B} sum_k drop_k (1 - (1 + {C} lr_k^-{gamma} S_k)^-{beta})"
    columns = ("run",)
    source = "Luo et al. 2025, arXiv 2503.12811"
    is_linear = False
    coefficients = (
        Coefficient("L0", low=0.0, unit="nats/token", start=(1.0, 4.0)),
        Coefficient("A", log=True, start=(0.1, 2.0)),
        exponent("alpha", (0.2, 0.9)),
        Coefficient("B", log=True, start=(50.0, 1000.0)),
        Coefficient("C", log=True, start=(0.3, 5.0)),
        exponent("beta", (0.2, 1.0)),
        exponent("gamma", (0.2, 1.0)),
    )

    def formula(self, p, x):
        """The law over the features of one run."""
        spent = 1.0 + p.C * x.lr**-p.gamma * x.since
        return p.L0 + p.A * x.total**-p.alpha - p.B * ((1.0 - spent**-p.beta) @ x.drop)

    def slopes(self, p: SimpleNamespace, x: SimpleNamespace) -> tuple[Array, Array]:
        """Loss float64[n_losses] and its derivatives float64[n_losses, 7] with respect to the coefficients, in
        order.
        """
        spent = 1.0 + p.C * x.lr**-p.gamma * x.since
        log_spent = np.log(spent)
        rest = np.exp(-p.beta * log_spent)
        rate = p.beta * rest * (spent - 1.0) / spent
        power, gain = x.total**-p.alpha, (1.0 - rest) @ x.drop
        columns = [
            np.ones_like(power),
            power,
            -p.A * np.log(x.total) * power,
            -gain,
            -p.B / p.C * (rate @ x.drop),
            -p.B * ((rest * log_spent) @ x.drop),
            p.B * (rate @ (x.drop * np.log(x.lr))),
        ]
        return p.L0 + p.A * power - p.B * gain, np.stack(columns, axis=1)

    def loss(self, *, run: ScheduledRun) -> Array:
        """Loss at the measured steps of a run.

        Args:
            run: the schedule and the steps asked for.

        Returns:
            float64[n_losses], nats/token.
        """
        p = SimpleNamespace(**dict(zip(self.names, self.vector, strict=True)))
        blocks = np.array_split(run.step, max(1, len(run.step) * len(run.lr) // 4_000_000))
        return np.concatenate([self.formula(p, ScheduledRun(run.lr, block).features()) for block in blocks])


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
    from scipy.optimize import least_squares

    if not runs or any(run.loss is None for run in runs):
        raise FitError("a schedule law is fitted to trainings with losses: every run needs its loss")
    law, target = MultiPower(), np.log(np.concatenate([run.loss for run in runs]))
    if len(target) <= len(law.names):
        raise FitError(
            f"{len(target)} losses cannot determine the {len(law.names)} coefficients of {law.name!r}: give more"
        )
    features = [run.features(DROP_POINTS) for run in runs]
    model = _Model(law, features, target)
    box = np.array([-20.0, -20.0, 1e-3, -20.0, -20.0, 1e-3, 1e-3]), np.array([3.0, 20.0, 5.0, 20.0, 20.0, 5.0, 5.0])
    best = None
    for start in _starts(law, float(np.exp(target.min())), starts, np.random.default_rng(seed)):
        found = least_squares(
            model.residual, start, model.jacobian, bounds=box, loss="huber", f_scale=delta, x_scale="jac", xtol=1e-10
        )
        if best is None or found.cost < best.cost:
            best = found
    if not best.success:
        raise FitError(
            f"no start of {law.name!r} converged ({best.message}): add a run whose learning rate drops after warmup"
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
        self.law, self.features, self.target, self.at = law, features, target, None

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
