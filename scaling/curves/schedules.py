"""Fitting the multi-power law to trainings under different learning-rate schedules."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import FitError, RecordError
from scaling.laws.schedule import MultiPower, ScheduledRun

if TYPE_CHECKING:
    import pandas as pd

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
    return law.with_values(law.from_search(best.x))


def held_out_error(runs: Sequence[ScheduledRun], *, starts: int = 4, seed: int = 0) -> float | None:
    """How far the last loss of a training is from its forecast by the others: rms of log loss.

    Args:
        runs: trainings with losses.
        starts, seed: as for a fit.

    Returns:
        None with fewer than three trainings, or where the others never determine the law.
    """
    errors = []
    for i, held_out in enumerate(runs if len(runs) >= 3 else ()):
        try:
            law = fit_schedules([run for j, run in enumerate(runs) if j != i], starts=starts, seed=seed)
        except FitError:  # it was the only one whose rate changes: nothing can forecast it
            continue
        measured = np.asarray(held_out.loss, float)
        errors.append(float(np.log(law.loss(run=held_out)[-1] / measured[-1])))
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else None


def scheduled_runs(table: pd.DataFrame) -> dict[str, ScheduledRun]:
    """Trainings of a table, by name.

    Args:
        table: columns `step`, `lr` and, where losses are known, `loss`; `run` tells trainings apart. The rate between
            two steps of the table lies on the line between theirs, so a sudden change needs a row on both sides.

    Returns:
        {run: ScheduledRun}; a training without any loss is one to be forecast at its steps.

    Raises:
        RecordError: a column is missing, or a step or rate is not a number.
    """
    missing = [name for name in ("step", "lr") if name not in table]
    if missing:
        raise RecordError(
            f"a table of schedules needs the columns step and lr, but has no {' and no '.join(missing)}: it has "
            f"{', '.join(map(str, table))}"
        )
    names = table["run"].astype(str) if "run" in table else np.full(len(table), "run")
    runs = {}
    for name, rows in table.groupby(names, sort=False):
        # A tracker that was resumed logs some steps twice: the later entry is of the weights that went on.
        rows = rows.sort_values("step", kind="stable").drop_duplicates("step", keep="last")
        step, lr = rows["step"].to_numpy(float), rows["lr"].to_numpy(float)
        if not (np.isfinite(step).all() and np.isfinite(lr).all() and (step >= 0).all()):
            raise RecordError(f"run {name!r}: every row needs a step (0 or more) and a learning rate: drop the others")
        every = np.interp(np.arange(int(step[-1]) + 1), step, lr)
        known = rows["loss"].notna().to_numpy() if "loss" in rows else np.zeros(len(rows), bool)
        if known.any():
            runs[str(name)] = ScheduledRun(every, step[known].astype(int), rows["loss"].to_numpy(float)[known])
        else:
            runs[str(name)] = ScheduledRun(every, step.astype(int))
    return runs


def _starts(law: MultiPower, lowest: float, count: int, rng: np.random.Generator):
    """Search vectors: L0 a little below the lowest loss, the rest drawn."""
    for _ in range(count):
        values = [
            rng.uniform(*c.start) if not c.log else np.exp(rng.uniform(*np.log(c.start))) for c in law.coefficients
        ]
        values[0] = lowest * rng.uniform(0.8, 0.99)
        yield law.to_search(np.array(values))


class _Model:
    """Residuals and Jacobian of all runs; both come from one evaluation."""

    def __init__(self, law: MultiPower, features: list[SimpleNamespace], target: Array):
        self.law, self.features, self.target = law, features, target
        self.at: Array | None = None

    def _evaluate(self, theta: Array) -> None:
        if self.at is not None and np.array_equal(self.at, theta):
            return
        values = self.law.from_search(theta)
        jets = [self.law.jet(values, x, order=1) for x in self.features]
        # A bad start may predict a negative loss, which has no logarithm.
        loss = np.maximum(np.concatenate([jet.value for jet in jets]), 1e-3)
        by_value = [np.stack([jet.first[i] + 0 * jet.value for i in range(len(values))], axis=1) for jet in jets]
        slope = np.concatenate(by_value) * self.law.per_search(values) / loss[:, None]
        self.at, self.value, self.slope = theta.copy(), np.log(loss) - self.target, slope

    def residual(self, theta: Array) -> Array:
        """log predicted - log measured."""
        self._evaluate(theta)
        return self.value

    def jacobian(self, theta: Array) -> Array:
        """d residual / d theta."""
        self._evaluate(theta)
        return self.slope
