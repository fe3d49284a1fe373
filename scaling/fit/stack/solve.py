"""One form fitted in all its versions to all runs and to the smaller ones of every cut, as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import SimpleNamespace

import numpy as np

from scaling.fit.doubt.covariance import coordinate_jacobian, covariance, inner, robust_information
from scaling.fit.evidence import linear_doubt
from scaling.fit.neighbours import Influence
from scaling.fit.solve.minimise import Problem, minimise
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.prior import Prior
from scaling.fit.solve.search import Optimum, make_problem, search
from scaling.fit.solve.starts import draw_starts
from scaling.fit.stack.validate import Cut, Score
from scaling.fit.stack.versions import Version, better_trained, level_prior
from scaling.laws.law import ScalingLaw
from scaling.tables.observations import Observations

Array = np.ndarray
BASINS, RANDOM_STARTS = 2, 3
"""Every version starts from the lowest minima of the plain fit, and from a few random places."""
STEPS, PRECISION = 300, 1e-9
"""Of a version: a robust valley takes hundreds of steps, and a fit that stops on the way still knows where it began."""
APPROACH_STEPS = 100
"""From each place: only the lowest goes on."""
SEEKERS = 2_000
"""Runs that the way from each place is looked for with: of a large table they show every valley, and the fit that goes
on from the lowest ends at the optimum of all."""
WORTHLESS = 10.0
"""Log error of a forecast that is not a number."""


@dataclass(frozen=True)
class Batch:
    """One form, fitted in every version (v) to every subset of the runs (s): all of them, then the smaller of each cut.

    Attributes:
        problem: the fit of all runs without a prior.
        whole: its optimum, from the full search.
        versions: in order, the plain one first.
        u: optima in search coordinates, float64[v, s, k].
        value: objective, float64[v, s].
        converged: whether each ended because no step could improve it, bool[v, s].
        weights: of the runs, float64[v, s, n_runs].
        covariance: float64[v, s, k, k], search coordinates.
        noise: scatter of one run, log loss, float64[v, s].
        prior: of the informed versions, in units of the objective.
    """

    problem: Problem
    whole: Optimum
    versions: tuple[Version, ...]
    u: Array
    value: Array
    converged: Array
    weights: Array
    covariance: Array
    noise: Array
    prior: Prior

    @property
    def on_bound(self) -> Array:
        """Versions with a coefficient on a bound: bool[v]."""
        return (self.problem.free & ~inner(self.problem, self.u[:, 0])).any(-1)

    def fit_of(self, index: int) -> tuple[Problem, Optimum]:
        """The fit of all runs in one version, as a problem of its own and its optimum."""
        prior = self.prior if self.versions[index].prior == "level" else None
        problem = replace(self.problem, weights=self.weights[index, 0], prior=prior)
        u, value = self.u[index, 0], float(self.value[index, 0] / problem.objective.unit)
        if index == 0 and self.whole.value <= value:
            return problem, self.whole
        at_bound = tuple(np.array(problem.law.names)[problem.free & ~inner(problem, u)].tolist())
        own = {"u": u, "theta": problem.decode(u), "value": value, "at_bound": at_bound, "basins": u[None]}
        return problem, replace(self.whole, **own, converged=bool(self.converged[index, 0]))

    def forecast(self, subset: int, x: SimpleNamespace) -> tuple[Array, Array]:
        """Log loss and its standard error by every version, fitted to one subset: float64[v, n_points] each."""
        logs, slope = self._tangent(self.u[:, subset], x)
        return logs, linear_doubt(slope, self.covariance[:, subset])

    def forecast_runs(self, subset: int, rows: Array, given: Influence | None = None) -> tuple[Array, Array]:
        """The same at some of the runs, given others nearby.

        What the runs nearby add to a forecast moves with the law that they are held against, and so does its doubt.
        """
        every, every_slope = (part[:, subset] for part in self._at_runs)
        logs, slope = every[:, rows], every_slope[:, rows]
        if given is not None:
            with np.errstate(all="ignore"):
                logs = logs + given.weighed(np.log(self.problem.loss) - every)
                slope = slope - given.weighed_rows(every_slope)
        return logs, linear_doubt(slope, self.covariance[:, subset])

    @cached_property
    def _at_runs(self) -> tuple[Array, Array]:
        """Of every fit at every run: float64[v, s, n_runs] and [v, s, n_runs, k]."""
        return self._tangent(self.u, self.problem.x)

    def _tangent(self, u: Array, x: SimpleNamespace) -> tuple[Array, Array]:
        """Log loss and its slope over search coordinates: float64[..., n_points] and [..., n_points, k]."""
        elsewhere = replace(self.problem, x=x, objective=Objective("squared"))
        with np.errstate(all="ignore"):
            logs = np.log(np.maximum(self.problem.law.evaluate(self.problem.decode(u), x), 1e-300))
            return logs, coordinate_jacobian(elsewhere, u)


def fit_versions(
    form: ScalingLaw,
    data: Observations,
    objective: Objective,
    *,
    versions: Sequence[Version],
    cuts: Sequence[Cut] = (),
    held: Mapping[str, float] | None = None,
    starts: int = 32,
    seed: int = 0,
) -> Batch:
    """Fit one form in all its versions, to all runs and to the smaller runs of each cut.

    Args:
        form: law without numbers.
        data, objective, held, starts, seed: as for a fit of one.
        versions: the first is the plain one.
        cuts: of validation.
    """
    problem = make_problem(form, data, objective, held)
    whole = search(problem, held=held, count=starts, seed=seed, every=False)
    subsets = [np.ones(len(data), bool), *(cut.small for cut in cuts)]
    weights = np.array([[_weights(problem, data, version, subset) for subset in subsets] for version in versions])
    flat = weights.reshape(-1, len(data))

    # One row of the batch is one version on one subset; the uninformed ones have a prior of no weight.
    known, unit = level_prior(form), robust_information(problem, whole)
    strength = np.repeat([float(version.prior == "level") for version in versions], len(subsets))
    likelihood = Prior(np.tile(known.centre, (len(flat), 1)), known.precision * strength[:, None, None])
    own = replace(likelihood, precision=likelihood.precision * unit)
    # The search has found the plain version's optimum; the other versions look for theirs.
    ends = whole.u[None]
    if len(versions) > 1:
        first = np.arange(len(subsets), len(flat), len(subsets))
        places = _places(problem, whole, held, seed)
        ends = np.concatenate([ends, _of_all_runs(problem, places, flat[first], own.take(first))])
    u, value, converged = _solve(problem, ends, flat, own)
    spread, noise = covariance(problem, u.reshape(len(flat), -1), weights=flat, prior=likelihood, cluster=data.cluster)

    shape = value.shape
    relative = noise if objective.log else noise / float(np.median(np.abs(data.loss)))
    return Batch(
        problem=problem,
        whole=whole,
        versions=tuple(versions),
        u=u,
        value=value,
        converged=converged,
        weights=weights,
        covariance=spread.reshape(*shape, *spread.shape[1:]),
        noise=relative.reshape(shape),
        prior=replace(known, precision=known.precision * unit),
    )


def _weights(problem: Problem, data: Observations, version: Version, subset: Array) -> Array:
    """Of the runs, zero outside the subset and the version's window (which must leave a fit something to do)."""
    kept = better_trained(data.loss, data.teacher, subset, version.window)
    enough = kept.sum() > problem.free.sum() + 1
    return problem.weights * (kept if enough else subset)


def _places(problem: Problem, whole: Optimum, held: Mapping[str, float] | None, seed: int) -> Array:
    """Where versions start: float64[n_places, k]."""
    rng = np.random.default_rng(seed)
    drawn = draw_starts(problem.law, problem.x, problem.loss, problem.weights, RANDOM_STARTS, rng)
    for name, value in (held or {}).items():
        drawn[:, problem.law.names.index(name)] = value
    return np.concatenate([whole.basins[:BASINS], problem.encode(drawn)])


def _solve(problem: Problem, own: Array, weights: Array, prior: Prior) -> tuple[Array, Array, Array]:
    """Optimum of every version (v) on every subset (s), from the version's own optimum on all runs: float64[v, s, k],
    its objective float64[v, s], and whether it is one, bool[v, s].

    Every fit must end at its own optimum: one that stopped on the way would still know of the runs held out.
    """
    count = len(weights) // len(own)
    start = np.repeat(own, count, axis=0)
    ended = minimise(problem, start, weights=weights, prior=prior, steps=STEPS, precision=PRECISION)
    each = (len(own), count)
    return ended.u.reshape(*each, -1), ended.value.reshape(each), ended.converged.reshape(each)


def _of_all_runs(problem: Problem, places: Array, weights: Array, prior: Prior) -> Array:
    """Lowest optimum of every version on all runs, looked for from every place: float64[v, k]."""
    if len(problem.loss) > 2 * SEEKERS:
        # Evenly over the losses, so that each version keeps its share of them; together they weigh as much as all.
        few = np.argsort(problem.loss)[:: len(problem.loss) // SEEKERS]
        problem, weights = problem.take(few), weights[:, few] * (len(problem.loss) / len(few))
    rows = np.repeat(np.arange(len(weights)), len(places))
    start, weights, prior = np.tile(places, (len(weights), 1)), weights[rows], prior.take(rows)
    approach = partial(minimise, problem, weights=weights, prior=prior, steps=APPROACH_STEPS, precision=PRECISION)
    smooth = approach(start, threshold=np.inf)
    ended = approach(np.where(np.isfinite(smooth.value)[:, None], smooth.u, start))
    value = ended.value.reshape(-1, len(places))
    return ended.u.reshape(*value.shape, -1)[np.arange(len(value)), value.argmin(axis=1)]


def forecast_scores(
    batches: Sequence[Batch], data: Observations, cuts: Sequence[Cut], given: Sequence[Influence] | None = None
) -> list[Score]:
    """How every version of every form forecasts the larger runs of each cut, given the smaller ones nearby."""
    scores = []
    for i, cut in enumerate(cuts, start=1):
        near, rows = given[i - 1] if given else None, cut.scored
        each = [batch.forecast_runs(i, rows, near) for batch in batches]
        logs, doubt = (np.concatenate(parts) for parts in zip(*each, strict=True))
        error = np.nan_to_num(logs - np.log(data.loss[rows]), nan=WORTHLESS, posinf=WORTHLESS, neginf=-WORTHLESS)
        noise = np.concatenate([batch.noise[:, i] for batch in batches])
        relative = np.ones(len(rows)) if data.relative_noise is None else data.relative_noise[rows]
        left = np.ones(len(rows)) if near is None else near.left
        scores.append(Score(cut.axis, error, doubt, noise[:, None] * relative, left))
    return scores
