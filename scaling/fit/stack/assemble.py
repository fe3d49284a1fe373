"""Members of a stack, weighed by their errors on runs that they had not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling.fit.neighbours import Influence
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.search import Optimum
from scaling.fit.stack.solve import Batch, forecast_scores
from scaling.fit.stack.validate import DROPPED, SHARPNESS, Cut, Validation, inner_members
from scaling.fit.stack.versions import Version, all_alike
from scaling.tables.observations import Observations

Array = np.ndarray


@dataclass(frozen=True)
class Weighed:
    """One form in one version.

    Attributes:
        problem, optimum: its fit.
        version: how it was fitted.
        weight: share in the average.
        covariance: float64[k, k], search coordinates.
        noise: scatter of one run about it, log loss.
    """

    problem: Problem
    optimum: Optimum
    version: Version
    weight: float
    covariance: Array
    noise: float


@dataclass(frozen=True)
class Stacked:
    """The members that count, and what validation says of all.

    Attributes:
        members: the heaviest first.
        validation: of every member that was weighed, those included that hardly weigh.
    """

    members: tuple[Weighed, ...]
    validation: Validation

    @property
    def noise(self) -> float:
        """Scatter of one run, log loss."""
        return sum(one.weight * one.noise for one in self.members)


def assemble(
    batches: Sequence[Batch], data: Observations, cuts: Sequence[Cut], given: Sequence[Influence] | None = None
) -> Stacked:
    """Members are the versions whose coefficients lie inside their bounds, weighed by their errors on larger runs;
    of a teacher form all are, and weigh the same.

    Args:
        batches: one a form.
        data: the runs that they were fitted to.
        cuts: of validation; without any, all members weigh the same.
        given: what the smaller runs of each cut add to its forecasts; None for the laws alone.
    """
    # Small students tell the bases of a teacher form apart by chance: the base of the lower AICc, or of the smaller
    # errors on larger runs, is at times far off where the plain mean is not (analysis/LOG.md). An E on its bound of
    # zero says that the runs show no floor, which the mean has to know.
    alike = all_alike(batch.problem.law for batch in batches)
    on_bound = np.concatenate([batch.on_bound for batch in batches])
    used = np.arange(len(on_bound)) if alike else inner_members(on_bound)
    scores = tuple(score.select(used) for score in forecast_scores(batches, data, cuts, given))
    validation = Validation(scores, 0 if alike else SHARPNESS)
    weights = validation.weights(len(used))
    order = np.argsort(-weights, kind="stable")
    kept = order[weights[order] >= DROPPED * weights.max()]
    every = [(batch, index) for batch in batches for index in range(len(batch.versions))]
    shares = (weights[kept] / weights[kept].sum()).tolist()
    picked = [every[i] for i in used[kept]]
    members = [_weighed(batch, index, share) for (batch, index), share in zip(picked, shares, strict=True)]
    return Stacked(tuple(members), validation)


def _weighed(batch: Batch, index: int, weight: float) -> Weighed:
    problem, optimum = batch.fit_of(index)
    spread, noise = batch.covariance[index, 0], float(batch.noise[index, 0])
    return Weighed(problem, optimum, batch.versions[index], weight, spread, noise)
