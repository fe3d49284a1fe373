"""What runs say of a law's coefficients when there are few of them: draws from a weak prior that they narrow.

A fit needs more runs than coefficients; a plan of what to train next starts with fewer. The prior is wide (a factor of
e^2 for either term) and centred on published exponents, and where runs are many it no longer matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from scaling.errors import SpecError
from scaling.laws.law import Coefficient, ScalingLaw
from scaling.tables.observations import Observations

Array = np.ndarray

NOISE, TRUNK_NOISE = 0.006, 0.004
"""Standard deviations of log loss: of a run alone, and what the runs of a trunk share (analysis/seeds.py)."""

DRIFT = 0.004
"""Standard deviation by which a law is off for each doubling of D between a run and the volume that is asked about:
laws fitted to the smallest volumes of the quickstart miss its largest by about so much (analysis/next_runs.py)."""

EXPONENTS = {"alpha": (0.35, 0.45), "beta": (0.45, 0.5)}
"""Centre, and standard deviation of the logarithm: between the published .28 – .37 and the .3 – .7 of small worlds."""

FLOOR_SHARE, TERM_SHARE = (0.8, 0.3), (0.15, 2.0)
"""Of the lowest measured loss: the floor, and either term at the middle of the runs; with deviations as above. A
teacher that never learned what a larger student could leaves a term of size of .004 (analysis/next_runs.py)."""

WALKERS, STEPS, THIN = 80, 450, 30
"""Of the search for draws: a third of the steps is left out, and of the rest every so-manieth kept."""

FARTHEST = 5.0
"""Standard deviations of the prior, beyond which no coefficient is looked for."""


@dataclass(frozen=True)
class Belief:
    """A law that is known as far as some runs tell.

    Attributes:
        law: at the most likely coefficients.
        draws: float64[n_draws, k], coefficients that the runs allow, each as likely as any other.
        volume: tokens that are asked about: the law holds best there.
    """

    law: ScalingLaw
    draws: Array
    volume: float

    def logs(self, columns: Mapping[str, Array]) -> Array:
        """Log loss at each point under each draw: float64[n_draws, n_points]."""
        x = SimpleNamespace(**{name: np.asarray(columns[name], float) for name in self.law.columns})
        return np.log(np.maximum(self.law.evaluate(self.draws, x), 1e-300))


def run_covariance(d: Array, trunk: Array, volume: float) -> Array:
    """Covariance of log losses about a law: float64[n_runs, n_runs].

    Noise of each run, noise of its trunk, and how far off a law is that is asked about another volume.

    Args:
        d: float64[n_runs], tokens.
        trunk: [n_runs], equal for runs of one trunk.
        volume: tokens that are asked about.
    """
    far = np.abs(np.log2(np.asarray(d, float) / volume))
    shared = trunk[:, None] == trunk[None, :]
    return shared * TRUNK_NOISE**2 + np.diag(NOISE**2 + (DRIFT * far) ** 2)


def believe(
    data: Observations, form: ScalingLaw, *, volume: float | None = None, count: int = 400, seed: int = 0
) -> Belief:
    """Draws of a law's coefficients, given runs.

    The most likely coefficients are searched for, and the posterior is walked from there.

    Args:
        data: runs; one is enough.
        form: a law of N and D with the coefficients E, A, B, alpha and beta, and others that have a range to start in.
        volume: tokens that are asked about; by default the most of the runs.
        count: of draws.
        seed: of draws.

    Raises:
        SpecError: a law without those coefficients.
    """
    from scipy.optimize import least_squares

    missing = [name for name in ("E", "A", "B", "alpha", "beta") if name not in form.names]
    if missing:
        raise SpecError(
            f"next runs need a law with a floor and two terms: {form.name!r} has no {', '.join(missing)}; "
            "take chinchilla, or a teacher form on it, as q1q2"
        )
    coordinates = _Coordinates.of(form, data)
    x = form.prepare({name: data.columns[name] for name in form.columns})
    # Runs of a trunk share noise: residuals are made independent by the root of the inverse covariance.
    volume = volume or float(data.columns["d"].max())
    whiten = np.linalg.inv(np.linalg.cholesky(run_covariance(data.columns["d"], data.cluster, volume)))
    measured = np.log(data.loss)

    def residuals(v: Array) -> Array:
        logs = np.log(np.maximum(form.evaluate(coordinates.theta(v), x), 1e-300))
        off = (logs - measured) @ whiten.T
        return np.concatenate([off, (v - coordinates.centre) / coordinates.spread], axis=-1)

    found = least_squares(residuals, coordinates.centre, x_scale=coordinates.spread)
    jacobian: Array = np.asarray(found.jac)
    root = np.linalg.cholesky(np.linalg.inv(jacobian.T @ jacobian))
    chosen = _walked(residuals, found.x, root, count, seed)
    best = form.with_values(coordinates.theta(found.x))
    return Belief(best, coordinates.theta(chosen), volume)


def _walked(residuals: Callable[[Array], Array], centre: Array, root: Array, count: int, seed: int) -> Array:
    """Draws of the posterior exp(-residuals^2/2), by walkers that start around its centre: float64[count, k].

    A walker moves along the line to another one, by a factor z of their distance, z^(k-1) p(new)/p(old) times as likely
    as to stay. With few runs the posterior is a bent ridge, which draws around its centre miss.

    **Source:** Goodman and Weare 2010, Comm. App. Math. Comp. Sci. 5, 65.
    """
    rng, k = np.random.default_rng(seed), len(centre)
    walkers = centre + 0.5 * rng.standard_normal((WALKERS, k)) @ root.T
    height = -0.5 * np.sum(residuals(walkers) ** 2, axis=1)
    kept = []
    for step in range(STEPS):
        # One half moves relative to the other, in turn.
        for side in (0, 1):
            moving = slice(side, None, 2)
            others = walkers[1 - side :: 2][rng.integers(0, WALKERS // 2, WALKERS // 2)]
            z = (1 + rng.random(WALKERS // 2)) ** 2 / 2
            proposed = others + z[:, None] * (walkers[moving] - others)
            reached = -0.5 * np.sum(residuals(proposed) ** 2, axis=1)
            goes = np.log(rng.random(WALKERS // 2)) < (k - 1) * np.log(z) + reached - height[moving]
            walkers[moving] = np.where(goes[:, None], proposed, walkers[moving])
            height[moving] = np.where(goes, reached, height[moving])
        if step >= STEPS // 3 and step % THIN == 0:
            kept.append(walkers.copy())
    found = np.concatenate(kept)
    return found[rng.permutation(len(found))[:count]]


@dataclass(frozen=True)
class _Coordinates:
    """Coefficients in numbers that a person can guess: the floor, and both terms in the middle of the runs.

    Attributes:
        coefficients: of the law.
        n, d: the middle of the runs.
        centre: float64[k] of the prior.
        spread: float64[k], its standard deviations.
    """

    coefficients: tuple[Coefficient, ...]
    n: float
    d: float
    centre: Array
    spread: Array

    @classmethod
    def of(cls, form: ScalingLaw, data: Observations) -> _Coordinates:
        lowest = float(data.loss.min())
        centre, spread = np.array([_prior(one, lowest) for one in form.coefficients]).T
        n, d = (float(np.exp(np.log(data.columns[name]).mean())) for name in ("n", "d"))
        return cls(tuple(form.coefficients), n, d, centre, spread)

    def theta(self, v: Array) -> Array:
        """Coefficients of coordinates: float64[..., k]."""
        # A heavy tail may propose what no number holds; the prior rules it out in any case.
        v = np.clip(v, self.centre - FARTHEST * self.spread, self.centre + FARTHEST * self.spread)
        by_name = {one.name: v[..., i] for i, one in enumerate(self.coefficients)}
        values = {name: np.exp(value) if _is_log(name) else value for name, value in by_name.items()}
        # A = (term at the middle) N^alpha.
        values["A"] = values["A"] * self.n ** values["alpha"]
        values["B"] = values["B"] * self.d ** values["beta"]
        theta = np.stack([values[one.name] for one in self.coefficients], axis=-1)
        return np.clip(theta, [one.low for one in self.coefficients], [one.high for one in self.coefficients])


def _is_log(name: str) -> bool:
    return name in ("E", "A", "B", "alpha", "beta")


def _prior(one: Coefficient, lowest: float) -> tuple[float, float]:
    """Centre and standard deviation of a coefficient's coordinate."""
    if one.name in EXPONENTS:
        centre, spread = EXPONENTS[one.name]
        return math.log(centre), spread
    if _is_log(one.name):
        share, spread = FLOOR_SHARE if one.name == "E" else TERM_SHARE
        return math.log(share * lowest), spread
    # Where a search would start is where a coefficient is expected.
    low, high = one.start
    return (low + high) / 2, (high - low) / 2
