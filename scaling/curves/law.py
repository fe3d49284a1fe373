"""What every law of a one-dimensional curve has in common.

A curve is fitted on log loss over u = log x, from many starts at once; its slopes follow from the one formula. A
"search vector" is the coefficients in order, in search coordinates (`ScalingLaw.to_search`).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from scaling.formats.plain import plain
from scaling.laws.jet import Jet
from scaling.laws.law import Coefficient, ScalingLaw
from scaling.registry import Registry

Array = np.ndarray
CURVES: Registry[type[CurveLaw]] = Registry("curve", package="scaling.curves")
"""The forms of one-dimensional curves by name."""


class CurveLaw(ScalingLaw):
    """A law of one variable x.

    Subclasses give, besides what every law has, `search_box`, `draw_starts` and `moved`.
    """

    registry: ClassVar[Registry[Any]] = CURVES
    columns = ("x",)

    @abstractmethod
    def search_box(self, u: Array, y: Array) -> tuple[Array, Array]:
        """Bounds of the search vector for sorted u = log x and y = log loss: float64[k] each."""

    @abstractmethod
    def draw_starts(self, u: Array, y: Array, weights: Array, count: int, rng: np.random.Generator) -> Array:
        """Random search vectors that already pass near the data: float64[count, k]."""

    @abstractmethod
    def moved(self, theta: Array, origin: float) -> Array:
        """The search vector for u, from one that was fitted to u - origin."""

    def log_loss(self, theta: Array, u: Array) -> tuple[Array, Array]:
        """Log loss float64[s, n] and its slopes float64[s, k, n], for search vectors float64[s, k] and u float64[n]."""
        variables = [Jet.variable(theta[:, i, None], i, order=1) for i in range(theta.shape[1])]
        p = [np.exp(v) if c.log else v for v, c in zip(variables, self.coefficients, strict=True)]
        loss = self.formula(SimpleNamespace(**dict(zip(self.names, p, strict=True))), SimpleNamespace(x=np.exp(u)))
        slope = np.zeros((*theta.shape, len(u)))
        for i, by_theta in loss.first.items():
            slope[:, i] = by_theta / loss.value
        return np.log(loss.value), slope


@plain.register
def to_plain(law: CurveLaw) -> dict[str, Any]:
    """JSON values of a curve: its form and its numbers."""
    return {"form": law.name, "values": {name: plain(value) for name, value in (law.values or {}).items()}}


def positive(name: str, unit: str = "") -> Coefficient:
    """A coefficient above zero."""
    return Coefficient(name, low=0.0, log=True, unit=unit)


def free_slope(name: str) -> Coefficient:
    """An exponent of either sign."""
    return Coefficient(name, low=-math.inf)


def weighted_lines(design: Array, target: Array, weights: Array) -> Array:
    """Least squares for each start: design float64[s, k, n], target [s, n] -> [s, k]; a trace of ridge keeps it
    solvable.
    """
    weighted = design * weights
    normal = weighted @ np.swapaxes(design, 1, 2) + 1e-6 * np.eye(design.shape[1])
    return np.linalg.solve(normal, (weighted @ target[..., None]))[..., 0]


def floor_guesses(y: Array, count: int, rng: np.random.Generator) -> Array:
    """Candidate floors, from none to almost all of the lowest loss: float64[count]."""
    return np.exp(y.min()) * rng.choice([1e-3, 0.3, 0.6, 0.8, 0.9, 0.97], count)


def log_above(y: Array, floor: Array) -> Array:
    """log(loss - floor) for each start: float64[s, n]."""
    loss = np.exp(y)
    return np.log(np.maximum(loss - floor[:, None], 1e-4 * loss))
