"""What a sweep would teach, before any run of it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import SpecError
from scaling.fit.doubt.covariance import coordinate_jacobian
from scaling.fit.identify import CONDITION_MAX, design_faults
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.objective import Objective
from scaling.laws.law import ScalingLaw
from scaling.numbers import shortly
from scaling.records.given import table_given
from scaling.shown import Shown
from scaling.tables.observe import observe

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray


@dataclass(frozen=True)
class Design(Shown):
    """Expected precision of a planned sweep.

    Attributes:
        errors: {coefficient: expected standard error}; infinite where the plan cannot determine it.
        forecasts: {name: expected standard error of log loss there, noise of a new run left out}.
        condition: condition number of the scaled Jacobian.
        faults: sentences on what the plan cannot tell, and which runs to add; empty if it can.
        n_runs, n_trunks: planned.
    """

    errors: Mapping[str, float]
    forecasts: Mapping[str, float]
    condition: float
    faults: tuple[str, ...]
    n_runs: int
    n_trunks: int

    def frame(self) -> pd.DataFrame:
        """One row a coefficient, and one a forecast: its expected standard error."""
        import pandas as pd

        told = {"coefficient": self.errors, "forecast": self.forecasts}
        rows = [{"what": what, "name": name, "error": error} for what, of in told.items() for name, error in of.items()]
        return pd.DataFrame(rows)


def design(
    plan: pd.DataFrame,
    *,
    law: ScalingLaw,
    forecast: Mapping[str, Mapping[str, float]] | None = None,
    noise: float = 0.005,
    trunk_noise: float = 0.003,
    n: str = "n_params",
    d: str = "n_tokens",
    clusters: str = "trunk_id",
) -> Design:
    """Expected standard errors of a planned sweep under a guessed law.

    >>> real = runs[runs["teacher"] == "real"]
    >>> design(real, law=scaling.preset("besiroglu").law, forecast={"phone": {"n": 1e8, "d": 1e10}}).faults
    ()

    covariance = (J' V^-1 J)^-1, with J the derivatives of log loss and V the noise: independent by run, shared
    within a trunk.

    Args:
        plan: one row a planned run; sizes, tokens, and `teacher`, `delta_coverage`, `delta_noise`, `trunk_id` where
            they matter.
        law: a guess with numbers (a published preset, or an earlier fit's law).
        forecast: {name: columns} of points to forecast, as {"phone": {"n": 1e8, "d": 1e10}}; teacher divergences
            default to zero.
        noise: standard deviation of log loss from run to run.
        trunk_noise: the part shared by the runs of one trunk.
        n, d, clusters: columns of the plan.

    Returns:
        Design. With fewer runs than coefficients every error is infinite.

    Raises:
        RecordError: the plan lacks a column or has impossible values.
        SpecError: a noise below zero.
    """
    if noise <= 0 or trunk_noise < 0:
        raise SpecError(f"noise must be above zero and trunk_noise not below it, got {noise:g} and {trunk_noise:g}")
    plan = table_given(plan, name="plan")
    if not isinstance(law, ScalingLaw):
        raise SpecError(f"law: got {shortly(law)}, needed is a law with numbers, as fit.law")
    sizes = {name: column for name, column in {"n": n, "d": d}.items() if name in law.columns}
    runs = (
        plan.drop(columns=["status"], errors="ignore")
        .reset_index(drop=True)
        .assign(_planned_loss=1.0, _row=range(len(plan)))
    )
    data = observe(runs, columns=sizes, loss="_planned_loss", clusters=clusters)
    problem = Problem(law, data.inputs(law.columns), data.loss, np.ones(len(data)), Objective("squared"))
    u = problem.encode(law.vector)
    # Noise shared within a trunk adds a block to the covariance of its runs.
    jacobian = coordinate_jacobian(problem, u)
    shared = (data.cluster[:, None] == data.cluster[None, :]) * trunk_noise**2
    information = jacobian.T @ np.linalg.solve(shared + noise**2 * np.eye(len(data)), jacobian)
    covariance, condition = _invert(information)
    scale = law.per_search(law.vector)
    errors = {name: float(np.sqrt(covariance[i, i]) * scale[i]) for i, name in enumerate(law.names)}
    forecasts = {name: _forecast_error(law, point, u, covariance) for name, point in (forecast or {}).items()}
    faults = design_faults(data, law.columns)
    if not faults and condition > CONDITION_MAX:
        faults = [
            f"The plan cannot tell {', '.join(law.names)} apart (condition number {condition:.2g}): "
            "widen the range of N and D."
        ]
    return Design(errors, forecasts, condition, tuple(faults), len(data), data.n_clusters)


def _invert(information: Array) -> tuple[Array, float]:
    """Covariance, and the condition number in units of each coefficient's own information; infinite where singular."""
    size = np.sqrt(np.diag(information))
    if not (size > 0).all():
        return np.full_like(information, np.inf), np.inf
    scaled = information / np.outer(size, size)
    values = np.linalg.eigvalsh(scaled)
    condition = float(np.sqrt(values[-1] / values[0])) if values[0] > 0 else np.inf
    if not np.isfinite(condition) or condition > 1e8:
        return np.full_like(information, np.inf), condition
    return np.linalg.inv(scaled) / np.outer(size, size), condition


def _forecast_error(law: ScalingLaw, point: Mapping[str, Any], u: Array, covariance: Array) -> float:
    """Standard error of log loss at one point."""
    filled = dict.fromkeys(law.columns, 0.0) | dict(point)
    missing = [name for name in ("n", "d") if name in law.columns and name not in point]
    if missing:
        raise SpecError(f"a forecast needs {', '.join(missing)}: give them as {{'n': …, 'd': …}}")
    x = SimpleNamespace(**{name: np.array([float(filled[name])]) for name in law.columns})
    slope = coordinate_jacobian(Problem(law, x, np.ones(1), np.ones(1)), u)[0]
    if not np.isfinite(covariance).all():
        return float("inf")
    return float(np.sqrt(slope @ covariance @ slope))
