"""The runs that a fit was made of: what was measured at a cell, and what the runs nearby say of one between them.

The law misses neighbours in the same direction. So log(loss/law) is taken for a Gaussian process over ln N and ln D,

    covariance = noise² · (share · c(r / LENGTH) · (1, or OTHER_TEXT between texts) + (1 - share) · [the same run]),
    c(r) = (1 + √3 r) exp(-√3 r),    r² = (Δ ln N)² + (Δ ln D)²,

with the scatter of the law for its whole variance: far from the runs a forecast is the law's own, with its own doubt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaling.fit.doubt.scatter import settings_of, variance_within
from scaling.tables.observations import DELTAS, TEXT_COLUMNS, Observations

Array = np.ndarray
LENGTH = 0.7
"""A factor of two in N or D. Half of it gives away half of the gain on public tables; with twice as much, forecasts
of larger runs are too sure of themselves (coverage .84 of .90)."""
SHARES = (0.0, 0.5, 0.8)
"""Of the scatter that neighbours may have in common, which the runs themselves choose from; 0 is the law alone."""
OTHER_TEXT = 0.5
"""Correlation of the residuals of one size and volume on two texts: W0 shows .5 to .9, a mixture 0 to .5."""
MOST_NEIGHBOURS = 24
"""Runs that one forecast is given; those behind them are screened off."""
MOST_RUNS = 2000
"""With more runs than so many a fit keeps none: the law is then what they say together."""
MOST_TRIED = 192
"""Runs on which the share is chosen, evenly over the table."""
ONE_THREAD = 96
"""A larger system OpenBLAS spreads over threads, which wait for each other on a busy machine, and when they are done
keep their cores spinning for ten times as long as the sum took."""
NEARBY = 0.5
"""Correlation from which a run is counted as nearby: at .7 in ln N and ln D on the same text."""
SAME_CELL = 1e-3
"""ln N and ln D that differ by so little are meant to be the same: 221.7k is how 221,664 is printed."""
READ = frozenset({"n", "d", "teacher", *TEXT_COLUMNS})
"""Columns of a law whose neighbours can be told; of any other, nobody knows how far a unit of it is."""


@dataclass(frozen=True)
class Influence:
    """What the runs nearby add to a forecast, per unit of their residuals.

    Attributes:
        nearest: int[n_points, n_neighbours], the runs.
        weights: float64[n_points, n_neighbours].
        left: float64[n_points], share of the variance of one run about the law that stays unknown.
        near: int[n_points], runs nearby.
    """

    nearest: Array
    weights: Array
    left: Array
    near: Array

    def weighed(self, values: Array) -> Array:
        """Sum over the runs of weight times value: float64[..., n_runs] -> float64[..., n_points]."""
        return np.vecdot(values[..., self.nearest], self.weights)

    def weighed_rows(self, rows: Array) -> Array:
        """The same of a row for each run: float64[..., n_runs, k] -> float64[..., n_points, k]."""
        return self.weighed(rows.swapaxes(-1, -2)).swapaxes(-1, -2)


@dataclass(frozen=True)
class Runs:
    """The runs that a fit was made of, as far as its forecasts read them.

    Attributes:
        columns: float64[n_runs] by the law's name of it; `teacher` is the code of the text.
        loss: float64[n_runs], nats/token.
        loss_se: float64[n_runs], its standard error; None where none was measured.
        off: bool[n_runs]: rows far off the law of the others, which say nothing of their neighbours.
        share: of the law's scatter that neighbours have in common; 0 leaves forecasts to the law alone.
    """

    columns: Mapping[str, Array]
    loss: Array
    off: Array
    loss_se: Array | None = None
    share: float = 0.0

    def at(self, points: Mapping[str, Array]) -> Array:
        """Which runs were measured at each point, on the text that is asked about: bool[n_points, n_runs]."""
        near = [np.abs(_log_apart(points, self.columns, axis)) < SAME_CELL for axis in ("n", "d")]
        return near[0] & near[1] & _same_text(points, self.columns)

    def lowest(self, points: Mapping[str, Array]) -> Array:
        """Lowest loss measured on the text that is asked about at each point, float64[n_points]; inf without a run."""
        own = _same_text(points, self.columns) & ~self.off
        return np.min(np.where(own, self.loss, math.inf), axis=-1, initial=math.inf)

    def seed_scatter(self, noise: float) -> float:
        """Standard deviation of log loss between runs of one cell, pooled over cells; `noise` without two of any."""
        cells = settings_of(self.columns["teacher"], *(np.round(np.log(self.columns[axis]), 4) for axis in ("n", "d")))
        variance, repeats = variance_within(np.log(self.loss), cells)
        return math.sqrt(variance) if repeats else noise

    def influence(self, points: Mapping[str, Array]) -> Influence:
        """What the runs add at each point."""
        return influence(points, self.columns, self.share, ~self.off)


def kept_runs(data: Observations, columns: set[str], off: Sequence[int] = ()) -> Runs | None:
    """What a fit keeps of its runs; None where its law is of other columns than N, D and the text, or they are many.

    Args:
        data: the runs.
        columns: that its laws read.
        off: places of the rows that lie off the law of the others.
    """
    if not columns <= READ or not {"n", "d"} <= columns or len(data) > MOST_RUNS:
        return None
    every = {**data.columns, "teacher": data.teacher.astype(float)}
    wanted = columns | {"teacher", *DELTAS}
    kept = {name: values for name, values in every.items() if name in wanted}
    return Runs(kept, data.loss, np.isin(np.arange(len(data)), off), data.loss_se)


def influence(points: Mapping[str, Array], runs: Mapping[str, Array], share: float, among: Array | None) -> Influence:
    """Weights of simple kriging from the nearest runs, in units of the law's variance."""
    shared = _correlation(points, runs)
    # Runs that may not speak count as infinitely far.
    shared = shared if among is None else np.where(among, shared, 0.0)
    nearest = _nearest(shared)
    picked = {name: values[nearest] for name, values in runs.items()}
    return _kriged(shared, nearest, _correlation(picked, picked), share)


def influence_on_runs(correlation: Array, share: float, rows: Array, among: Array) -> Influence:
    """`influence` at some of the runs themselves.

    Args:
        correlation: of all runs, from `correlation_of`.
        share: of the scatter that neighbours have in common.
        rows: int[n_points], the runs asked about.
        among: bool[n_runs] or bool[n_points, n_runs]: those that may speak.
    """
    shared = np.where(among, correlation[rows], 0.0)
    nearest = _nearest(shared)
    return _kriged(shared, nearest, correlation[nearest[:, :, None], nearest[:, None, :]], share)


def correlation_of(columns: Mapping[str, Array]) -> Array:
    """Of the residuals of every two runs: float64[n_runs, n_runs]."""
    return _correlation(columns, columns)


def _nearest(shared: Array) -> Array:
    """The runs that a forecast is given: int[n_points, count]."""
    count = min(MOST_NEIGHBOURS, shared.shape[1])
    return np.argpartition(-shared, count - 1, axis=1)[:, :count]


def _kriged(shared: Array, nearest: Array, between: Array, share: float) -> Influence:
    """One small system a point: its neighbours among each other, and a diagonal of what each has for itself."""
    if share == 0:
        return Influence(
            nearest[:, :0], np.empty((len(nearest), 0)), np.ones(len(nearest)), np.zeros(len(nearest), int)
        )
    own = share * np.take_along_axis(shared, nearest, axis=1)
    eye, silent = np.eye(nearest.shape[1]), own == 0
    system = share * between + (1 - share) * eye
    if silent.any():
        system = np.where(silent[:, :, None] | silent[:, None, :], eye, system)
    weights = np.linalg.solve(system, own[..., None])[..., 0]
    return Influence(nearest, weights, 1 - np.sum(weights * own, axis=1), np.sum(shared >= NEARBY, axis=1))


def shared_scatter(runs: Runs, residual: Array, slope: Array, cluster: Array, correlation: Array) -> float:
    """The share of the scatter that neighbours have in common: that by which each run is told best from the runs of
    other cells and trunks.

    Args:
        runs: of which those off the law neither speak nor count.
        residual: float64[n_runs], log(loss/law).
        slope: float64[n_runs, k], of the law over its coefficients.
        cluster: int[n_runs]: runs that share a trunk, and so their noise.
        correlation: of all runs, from `correlation_of`.

    Returns:
        One of `SHARES`; 0, the law alone, unless another misses less.
    """
    sound = np.flatnonzero(~runs.off)
    some = sound[np.unique(np.linspace(0, len(sound) - 1, MOST_TRIED).astype(int))]
    columns = {name: values[some] for name, values in runs.columns.items()}
    together, shared, eye = ~elsewhere(columns, cluster[some]), correlation[np.ix_(some, some)], np.eye(len(some))
    groups = _by_size(together)
    missed = []
    for share in SHARES:
        inverse = _inverse(share * shared + (1 - share) * eye) if share else eye
        missed.append(np.mean(np.abs(_left_out(residual[some], slope[some], inverse, groups))))
    return SHARES[int(np.argmin(missed))]


def _by_size(together: Array) -> list[tuple[Array, Array]]:
    """Runs that stand together with equally many, and those that each stands with: int[n_rows], int[n_rows, size]."""
    sizes = together.sum(axis=1)
    groups = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
    return [(rows, np.nonzero(together[rows])[1].reshape(len(rows), -1)) for rows in groups]


def _inverse(matrix: Array) -> Array:
    """Of a positive definite matrix, by halves that are small enough for one thread (Schur's complement)."""
    half = len(matrix) // 2
    if len(matrix) <= ONE_THREAD:
        return np.linalg.inv(matrix)
    first = _inverse(matrix[:half, :half])
    across = first @ matrix[:half, half:]
    # A product with a transposed matrix would be spread over threads sooner.
    below = across.T.copy()
    rest = _inverse(matrix[half:, half:] - below @ matrix[:half, half:])
    side = across @ rest
    return np.block([[first + side @ below, -side], [-side.T, rest]])


def _left_out(residual: Array, slope: Array, inverse: Array, groups: Sequence[tuple[Array, Array]]) -> Array:
    """Error of each run once those that stand together with it are left out and the law is fitted anew, to first order:
    float64[n_runs].

    Args:
        residual, slope: as for `shared_scatter`.
        inverse: of the covariance of all runs.
        groups: of every run, those that stand together with it (`_by_size`).

    **Source:** Dubrule 1983, cross-validation of kriging in a unique neighbourhood.
    """
    along = inverse @ slope
    # What is left of the precision when the coefficients follow the runs.
    precision = inverse - along @ np.linalg.pinv(slope.T @ along) @ along.T
    pulled, errors = precision @ residual, np.empty(len(residual))
    for rows, group in groups:
        # A group that alone determines a coefficient leaves a singular block.
        block = np.linalg.pinv(precision[group[:, :, None], group[:, None, :]], hermitian=True)
        errors[rows] = np.vecdot(block[group == rows[:, None]], pulled[group])
    return errors


def elsewhere(columns: Mapping[str, Array], cluster: Array) -> Array:
    """Runs of another cell, whatever their text, and of another trunk: bool[n_runs, n_runs]."""
    apart = [np.abs(_log_apart(columns, columns, axis)) >= SAME_CELL for axis in ("n", "d")]
    return (apart[0] | apart[1]) & (cluster[:, None] != cluster)


def _correlation(a: Mapping[str, Array], b: Mapping[str, Array]) -> Array:
    """Of the residuals of two runs: float64[..., n_a, n_b]."""
    apart = np.square(_log_apart(a, b, "n")) + np.square(_log_apart(a, b, "d"))
    r = np.minimum(math.sqrt(3) / LENGTH * np.sqrt(apart), 1e3)
    near = (1 + r) * np.exp(-r)
    return near * np.where(_same_text(a, b), 1.0, OTHER_TEXT)


def _log_apart(a: Mapping[str, Array], b: Mapping[str, Array], axis: str) -> Array:
    """Difference of logarithms, infinite from an infinite size or volume: float64[..., n_a, n_b]."""
    return np.log(a[axis])[..., :, None] - np.log(b[axis])[..., None, :]


def _same_text(a: Mapping[str, Array], b: Mapping[str, Array]) -> Array:
    """bool[..., n_a, n_b]; a text that is told by its divergences alone has the code of real text, but not its own."""
    zero = np.zeros(1)
    same = a["teacher"][..., :, None] == b["teacher"][..., None, :]
    for name in DELTAS:
        same = same & (np.abs(a.get(name, zero)[..., :, None] - b.get(name, zero)[..., None, :]) < 1e-6)
    return same
