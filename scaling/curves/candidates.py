"""What a curve may be: forms, each with how much of the past it looks at, fitted to the whole curve or a part of it.

All fits of one form are rows of one batch: whole curve and hidden tails, long memory and short, every start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling.curves.law import CURVES, CurveLaw
from scaling.curves.levenberg import Batch, levenberg_marquardt

Array = np.ndarray
OCTAVE = math.log(2.0)
STARTS = {"last": 1, "m1": 1, "m2": 16, "m3": 24, "m4": 32, "bnsl1": 48, "bnsl2": 96}
DEFAULT_STARTS = 48
FINALISTS = 10
"""Starts that are followed to the end; the others are left after a first descent."""


@dataclass(frozen=True)
class Candidate:
    """A form and how much of the past it looks at.

    Attributes:
        form: name of one of `CURVES`.
        memory: the weight of a point halves with every so many octaves of x before the last; 0 is the last point
            alone.
    """

    form: str
    memory: float = math.inf

    @property
    def law(self) -> CurveLaw:
        """The form without numbers."""
        return CURVES[self.form]()

    @property
    def needs(self) -> float:
        """Equally weighted points that determine it and leave some to judge it by; the last value needs none."""
        return 0.0 if self == LAST else len(self.law.coefficients) + 0.5

    def weights(self, u: Array) -> Array:
        """Weight of each point, summing to one: u float64[n], sorted."""
        age = (u[-1] - u) / OCTAVE
        raw = (age == 0).astype(float) if self.memory == 0 else 0.5 ** (age / self.memory)
        return raw / raw.sum()


LAST = Candidate("last", memory=0)
AUTO = (
    LAST,
    Candidate("m2", memory=1),
    Candidate("m4"),
    Candidate("m4", memory=2),
    Candidate("bnsl1"),
    Candidate("bnsl1", memory=2),
)
"""Whole-curve forms that bend, the same with an eye on the recent past, a local power law, and no fit at all."""
SHORT = (LAST, Candidate("m1"))
"""For curves too short to test a form with a floor."""


@dataclass(frozen=True)
class Task:
    """A candidate to be fitted to the first `kept` points of a curve."""

    candidate: Candidate
    kept: int


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A candidate fitted to some points.

    Attributes:
        law: the form with its numbers.
        variance: weighted mean square of the log-loss residuals, corrected for the coefficients spent.
        starts: share of the finalist starts that reached the optimum.
    """

    law: CurveLaw
    variance: float
    starts: float


def fit_tasks(tasks: Sequence[Task], u: Array, y: Array, rng: np.random.Generator) -> dict[Task, Fitted]:
    """Every task that its weighted points can carry, fitted; tasks of one form together.

    Args:
        tasks: what to fit.
        u, y: float64[n], sorted log x and log loss.
        rng: of the random starts.
    """
    fitted: dict[Task, Fitted] = {}
    for form in dict.fromkeys(task.candidate.form for task in tasks):
        alike = [task for task in tasks if task.candidate.form == form and _effective(task, u) >= task.candidate.needs]
        if alike:
            fitted |= _fit_form(CURVES[form](), alike, u, y, rng)
    return fitted


def _effective(task: Task, u: Array) -> float:
    """Number of equally weighted points that the weights are worth."""
    return float(1 / np.sum(task.candidate.weights(u[: task.kept]) ** 2))


def _fit_form(law: CurveLaw, tasks: list[Task], u: Array, y: Array, rng: np.random.Generator) -> dict[Task, Fitted]:
    """All tasks of one form in one batch: a first descent from every start, then the best few, then the best."""
    origin, count = u[-1], STARTS.get(law.name, DEFAULT_STARTS)
    u = u - origin
    # Points that a task does not see have no weight in its rows.
    weights = np.zeros((len(tasks), len(u)))
    boxes, starts = [], []
    for row, task in zip(weights, tasks, strict=True):
        seen = u[: task.kept], y[: task.kept]
        row[: task.kept] = task.candidate.weights(seen[0])
        boxes.append(law.search_box(*seen))
        starts.append(law.draw_starts(*seen, row[: task.kept], count, rng))
    owner = np.repeat(np.arange(len(tasks)), count)
    low, high = (np.array([box[end] for box in boxes]) for end in (0, 1))
    batch = Batch(law, u, y, np.concatenate(starts), weights[owner], low[owner], high[owner])
    theta, cost = levenberg_marquardt(batch, tolerance=1e-3, steps=20)
    # Most starts lead to the same few places: only the best so far go on.
    ahead = np.concatenate([_lowest(cost, owner == task, FINALISTS) for task in range(len(tasks))])
    batch, owner = batch.take(ahead, theta), owner[ahead]
    theta, cost = levenberg_marquardt(batch, tolerance=1e-5, steps=130)
    best = np.concatenate([_lowest(cost, owner == task, 1) for task in range(len(tasks))])
    found, least = levenberg_marquardt(batch.take(best, theta), tolerance=1e-10, steps=150)
    results = {}
    for i, task in enumerate(tasks):
        effective, k = _effective(task, u), len(law.coefficients)
        spent = effective / (effective - k) if task.candidate != LAST else 0.0
        results[task] = Fitted(
            law=law.with_values(law.from_search(law.moved(found[i], origin))),
            variance=float(least[i] * spent),
            starts=float(np.mean(cost[owner == i] <= least[i] * 1.01 + 1e-18)),
        )
    return results


def _lowest(cost: Array, mask: Array, count: int) -> Array:
    """Indices of the lowest costs among some."""
    rows = np.flatnonzero(mask)
    return rows[np.argsort(cost[rows])[:count]]
