"""Loss along a training under any learning-rate schedule: the multi-power law.

A constant rate follows a power law in the sum of learning rates; every reduction of the rate adds a loss drop of its
own, which saturates as a power of the sum of rates that follows it. Fitted on two or three schedules, it predicts
others.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from scaling.errors import RecordError
from scaling.laws.law import Coefficient, ScalingLaw, exponent

Array = np.ndarray


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
    title = "learning-rate schedule"
    columns = ("run",)
    source = "Luo et al. 2025, arXiv 2503.12811"
    coefficients = (
        Coefficient("L0", low=0.0, log=True, unit="nats/token", start=(1.0, 4.0)),
        Coefficient("A", log=True, start=(0.1, 2.0)),
        exponent("alpha", (0.2, 0.9)),
        Coefficient("B", log=True, start=(50.0, 1000.0)),
        Coefficient("C", log=True, start=(0.3, 5.0)),
        exponent("beta", (0.2, 1.0)),
        exponent("gamma", (0.2, 1.0)),
    )

    @property
    def symbols(self):
        """The features of a run, rather than the run."""
        return {"total": "S", "since": "S_k", "lr": "lr_k", "drop": "drop_k"}

    def formula(self, p, x):
        """The law over the features of one run."""
        spent = 1.0 + p.C * x.lr**-p.gamma * x.since
        return p.L0 + p.A * x.total**-p.alpha - p.B * ((1.0 - spent**-p.beta) @ x.drop)

    def loss(self, **columns: Any) -> Array:
        """Loss at the measured steps of a run.

        Args:
            **columns: `run`, a `ScheduledRun`: the schedule and the steps asked for.

        Returns:
            float64[n_losses], nats/token.
        """
        self.check_columns(columns)
        run: ScheduledRun = columns["run"]
        # Steps times rate changes may be a large table: a block of steps at a time.
        p = SimpleNamespace(**dict(zip(self.names, self.vector, strict=True)))
        blocks = np.array_split(run.step, max(1, len(run.step) * len(run.lr) // 4_000_000))
        return np.concatenate([self.formula(p, ScheduledRun(run.lr, block).features()) for block in blocks])
