"""Several laws as one forecast: partially pooled, weighted and calibrated by forecasts of larger runs from smaller
ones.

No form of scaling law wins everywhere, and no resampling of small runs shows how wrong a form is about large ones. So
the runs are ordered by size, the laws are fitted to the smaller part, and their errors on the larger part set both the
weights and the width of the intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scaling.errors import FitError
from scaling.fit.doubt.covariance import asymptotic_covariance, coordinate_jacobian, robust_information
from scaling.fit.identify import levels
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import FULL, REFIT, Effort, Optimum, make_problem, robust_scale, search
from scaling.fit.table import Observations
from scaling.laws.law import ScalingLaw
from scaling.laws.teacher import TeacherLaw

Array = np.ndarray
EXPONENT_SPREAD = 0.04
"""Published pairs of exponents differ by this much: Hoffmann .054, Besiroglu .018, Busbridge .023, Krajewski .032,
Sardana .03-.06."""
POWER_SPREAD = 0.3
"""Published powers of the sum lie around one on a logarithmic scale: 1 (Hoffmann), .76 and .45 (Busbridge), .3-.9
(Skaling)."""
CUTS = (0.5, 0.7, 0.85)
"""Fractions of the runs that a validation fit is given."""


def pooled(problem: Problem, data: Observations, information: float) -> Problem:
    """The same fit with exponents drawn towards each other, and the power of the sum towards one.

    The penalty is a prior: ((alpha - beta)/0.04)^2/2 + (log k/0.3)^2/2 in units of log likelihood. Runs of one size
    share their hyper-parameters and so their errors; the likelihood counts each level of the sparser axis once, not
    each run.

    Args:
        problem: fit without prior.
        data: its runs.
        information: objective per unit of log likelihood (`uncertainty.robust_information`).
    """
    names = problem.law.names
    precision = np.zeros((len(names), len(names)))
    if "alpha" in names and "beta" in names:
        apart = np.zeros(len(names))
        apart[names.index("alpha")], apart[names.index("beta")] = 1.0, -1.0
        precision += np.outer(apart, apart) / EXPONENT_SPREAD**2
    if "k" in names:
        index = names.index("k")
        precision[index, index] += 1 / POWER_SPREAD**2
    shared = len(data) / min(levels(data.columns[axis]) for axis in ("n", "d"))
    return replace(problem, centre=np.zeros(len(names)), precision=precision * information * shared)


@dataclass(frozen=True)
class Solved:
    """Laws fitted to the same runs.

    Attributes:
        problems, optima: one of each a law.
        noise: scatter of one run about the laws, log loss.
    """

    problems: tuple[Problem, ...]
    optima: tuple[Optimum, ...]
    noise: float

    def predict(self, data: Observations) -> tuple[Array, Array]:
        """Log loss and its standard error for other runs, by law: float64[n_laws, n_runs] each."""
        logs, doubts = [], []
        for problem, optimum in zip(self.problems, self.optima, strict=True):
            x = data.inputs(problem.law.columns)
            loss = problem.law.evaluate(optimum.theta, x)
            slope = coordinate_jacobian(replace(problem, x=x), optimum.u) / loss[:, None]
            logs.append(np.log(loss))
            doubts.append(np.sqrt(np.einsum("ni,ij,nj->n", slope, asymptotic_covariance(problem, optimum), slope)))
        return np.array(logs), np.array(doubts)


def solve(
    laws: Sequence[ScalingLaw],
    data: Observations,
    objective: Objective,
    *,
    held: Mapping[str, float] | None = None,
    starts: int = 32,
    seed: int = 0,
    near: Sequence[Array] | None = None,
    effort: Effort = FULL,
) -> Solved:
    """Fit every law; several base laws are pooled.

    Teacher forms are not: their sweeps of small worlds have exponents far apart, unlike the language models behind
    the prior.

    Args:
        laws: forms; the first has the fewest coefficients and sets the scale of the evidence.
        data, objective, held, starts, seed: as for a fit of one.
        near: coefficients of each law from a fit of more runs, as one more start.
        effort: how far each start is followed.
    """
    problems, optima, information = [], [], None
    for i, law in enumerate(laws):
        problem = make_problem(law, data, objective, held)
        if information is not None and not isinstance(law, TeacherLaw):
            problem = pooled(problem, data, information)
        extra = None if near is None else near[i]
        optimum = search(problem, held=held, count=starts, seed=seed, near=extra, effort=effort)
        if information is None and len(laws) > 1:
            information = robust_information(problem, optimum)
        problems.append(problem)
        optima.append(optimum)
    residuals = [
        p.objective.residual(p.law.evaluate(o.theta, p.x), data.loss) for p, o in zip(problems, optima, strict=True)
    ]
    noise = float(
        np.median(
            [
                robust_scale(r) * np.sqrt(len(r) / max(len(r) - len(o.theta), 1))
                for r, o in zip(residuals, optima, strict=True)
            ]
        )
    )
    return Solved(tuple(problems), tuple(optima), noise)


@dataclass(frozen=True)
class Score:
    """Forecasts of one validation fit.

    Attributes:
        error: log(forecast/measured) by law: float64[n_laws, n_test].
        doubt: standard error of each law's forecast: float64[n_laws, n_test].
        noise: scatter of the runs that the fit was given.
        rows: index of each test run.
    """

    error: Array
    doubt: Array
    noise: float
    rows: Array


def validate(
    solved: Solved,
    laws: Sequence[ScalingLaw],
    data: Observations,
    objective: Objective,
    *,
    held: Mapping[str, float] | None = None,
) -> list[Score]:
    """Forecast the larger runs from the smaller: ordered by n, then by d, cut at each of `CUTS`.

    Args:
        solved: the fit of all runs, whose coefficients are one start of each smaller fit.
        laws, data, objective, held: as there.

    Returns:
        One score for each cut that leaves enough smaller runs.
    """
    near = [optimum.theta for optimum in solved.optima]
    scores = []
    for small in size_ordered_masks(data, most=max(len(law.coefficients) for law in laws)):
        part, rest = data.select(small), data.select(~small)
        try:
            fitted = solve(laws, part, objective, held=held, starts=6, near=near, effort=REFIT)
        except FitError:
            continue
        logs, doubt = fitted.predict(rest)
        scores.append(Score(logs - np.log(rest.loss), doubt, fitted.noise, np.flatnonzero(~small)))
    return scores


def size_ordered_masks(data: Observations, most: int) -> list[Array]:
    """Masks of the smaller runs, each keeping three levels on both axes and more runs than coefficients."""
    masks: list[Array] = []
    for axis in ("n", "d"):
        values = data.columns[axis]
        for share in CUTS:
            small = values < np.quantile(values, share, method="higher")
            enough = small.sum() > most + 1 and all(levels(data.columns[name][small]) >= 3 for name in ("n", "d"))
            if enough and not any((small == other).all() for other in masks):
                masks.append(small)
    return masks


def stack_weights(scores: Sequence[Score], count: int) -> Array:
    """Weights in proportion to 1/mean squared forecast error, every cut counting the same; equal without scores.

    **Source:** Bates and Granger 1969.
    """
    if not scores:
        return np.full(count, 1 / count)
    squared = np.mean([np.mean(score.error**2, axis=1) for score in scores], axis=0)
    weights = 1 / np.maximum(squared, 1e-12)
    return weights / weights.sum()
