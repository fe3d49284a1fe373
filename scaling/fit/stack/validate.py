"""Forecasts of larger runs from smaller ones, and what they say about the weights of the members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scaling.fit.identify import levels
from scaling.fit.stack.versions import better_trained
from scaling.tables.observations import Observations

Array = np.ndarray
SHARES = (0.5, 0.7, 0.85)
"""Fractions of the runs that a validation fit is given."""
SCORED = 0.5
"""Share of the runs held out that is scored, those with the lowest losses: nobody asks for the loss of a run that is
barely trained."""
SHARPNESS = 4
"""Weights fall with this power of the mean squared error. Members of one stack share most of their error, so that small
differences between them say much."""
DROPPED = 0.01
"""A member with a smaller weight changes no forecast and is left out."""


@dataclass(frozen=True)
class Cut:
    """Runs that are small along one axis.

    Attributes:
        axis: "n", "d" or "c" (n times d).
        small: bool[n_runs]: the runs to fit.
        scored: int[n_test]: the larger runs to forecast.
    """

    axis: str
    small: Array
    scored: Array


@dataclass(frozen=True)
class Score:
    """Forecasts of one validation fit by every member.

    Attributes:
        axis: along which the runs forecast are larger.
        error: log(forecast/measured), float64[n_members, n_test].
        doubt: standard error of each member's forecast, float64[n_members, n_test].
        noise: scatter of each run forecast that each member expects, float64[n_members, n_test].
        left: share of its variance that is not known from the runs nearby, float64[n_test].
    """

    axis: str
    error: Array
    doubt: Array
    noise: Array
    left: Array

    def select(self, members: Array) -> Score:
        """The forecasts of some members."""
        return Score(self.axis, self.error[members], self.doubt[members], self.noise[members], self.left)


def size_ordered_cuts(data: Observations, most: int) -> list[Cut]:
    """The runs ordered by n, by d and by n d, cut at each of `SHARES`.

    Args:
        data: runs with n and d.
        most: coefficients of the largest law; a cut leaves at least two runs more, and three levels on both axes.
    """
    n, d = data.columns["n"], data.columns["d"]
    cuts: list[Cut] = []
    for axis, values in (("n", n), ("d", d), ("c", n * d)):
        for limit in np.quantile(values, SHARES, method="higher"):
            small = values < limit
            enough = small.sum() > most + 1 and all(levels(x[small]) >= 3 for x in (n, d))
            if enough and not any((small == cut.small).all() for cut in cuts):
                # Of a text with large runs alone the small ones say nothing: its coefficient would be anything.
                known = np.isin(data.teacher, data.teacher[small])
                scored = np.flatnonzero(better_trained(data.loss, data.teacher, ~small & known, SCORED))
                cuts += [Cut(axis, small, scored)] * bool(len(scored))
    return cuts


@dataclass(frozen=True)
class Validation:
    """Forecasts of larger runs from smaller ones by all members.

    Attributes:
        scores: one a cut.
        sharpness: power by which the weights of the members fall with their squared errors; 0 weighs all the same.
    """

    scores: tuple[Score, ...] = ()
    sharpness: float = SHARPNESS

    def but(self, cut: int) -> Validation:
        """What the other cuts say."""
        return replace(self, scores=self.scores[:cut] + self.scores[cut + 1 :])

    def weights(self, count: int) -> Array:
        """Of `count` members: float64[count], sum one."""
        return stack_weights(self.scores, count, self.sharpness)

    def forecast_by_others(self) -> Iterator[tuple[Score, Array]]:
        """Every cut, with weights from the other cuts: weights flatter the cut that they were learned from."""
        for cut, score in enumerate(self.scores):
            yield score, self.but(cut).weights(len(score.error))


def stack_weights(scores: Sequence[Score], count: int, sharpness: float = SHARPNESS) -> Array:
    """Weights in proportion to 1/(mean squared forecast error)^sharpness, every cut counting the same; equal without
    scores.

    Errors of one cut are taken relative to those of its median member, or the hardest cut would decide alone.

    Args:
        scores: of validation.
        count: of members.
        sharpness: the power.

    Returns:
        float64[count], sum one.

    **Source:** Bates and Granger 1969 (weights by squared error); the power and the scale by cut are chosen on public
    tables, see `make bench`.
    """
    if not scores or count == 1:
        return np.full(count, 1 / count)
    squared = [np.mean(score.error**2, axis=1) for score in scores]
    relative = np.mean([each / max(np.median(each), 1e-300) for each in squared], axis=0)
    weights = (max(relative.min(), 1e-12) / np.maximum(relative, 1e-12)) ** sharpness
    return weights / weights.sum()


def inner_members(on_bound: Array) -> Array:
    """Members with no coefficient on a bound; all, where every one has: int[n_inner]."""
    return np.flatnonzero(~on_bound | on_bound.all())
