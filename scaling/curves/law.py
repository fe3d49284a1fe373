"""What every law of a one-dimensional curve has in common.

A curve law is written once, as the logarithm of its loss with the exact derivatives of that logarithm, for a whole
batch of coefficient vectors: so one kernel predicts, fits from many starts at once, and gives gradients. A positive
coefficient is searched on a logarithmic scale (`Coefficient.log`); "search vector" means the coefficients in order,
with the logarithm taken where that flag is set.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from types import SimpleNamespace

import numpy as np

from scaling.laws.law import Coefficient, ScalingLaw

Array = np.ndarray


class CurveLaw(ScalingLaw):
    """A law of one variable x, written as log loss over u = log x.

    Subclasses give `log_loss`, `search_box`, `draw_starts` and `moved`.
    """

    columns = ("x",)

    @abstractmethod
    def log_loss(self, theta: Array, u: Array) -> tuple[Array, Array]:
        """Log loss float64[s, n] and its slopes float64[s, k, n], for search vectors float64[s, k] and u float64[n]."""

    @abstractmethod
    def search_box(self, u: Array, y: Array) -> tuple[Array, Array]:
        """Bounds of the search vector for sorted u = log x and y = log loss: float64[k] each."""

    @abstractmethod
    def draw_starts(self, u: Array, y: Array, weights: Array, count: int, rng: np.random.Generator) -> Array:
        """Random search vectors that already pass near the data: float64[count, k]."""

    @abstractmethod
    def moved(self, theta: Array, origin: float) -> Array:
        """The search vector for u, from one that was fitted to u - origin."""

    def to_search(self, values: Array) -> Array:
        """Coefficients float64[..., k] as a search vector; a floor of zero becomes -inf."""
        logs = np.array([c.log for c in self.coefficients])
        with np.errstate(divide="ignore"):
            return np.where(logs, np.log(np.where(logs, values, 1.0)), values)

    def from_search(self, theta: Array) -> CurveLaw:
        """The law that a search vector float64[k] stands for."""
        logs = np.array([c.log for c in self.coefficients])
        return self.with_values(np.where(logs, np.exp(np.where(logs, theta, 0.0)), theta))

    def formula(self, p: SimpleNamespace, x: SimpleNamespace) -> Array:
        """exp(log_loss(u)); of whole vectors, which is how a curve is written."""
        return self.evaluate(np.array([getattr(p, c.name) for c in self.coefficients]), x)

    def evaluate(self, theta: Array, x) -> Array:
        """Loss for coefficient vectors float64[..., k] at x: float64[..., n_runs]."""
        theta, x = np.asarray(theta, float), np.asarray(x.x, float)
        rows = self.to_search(theta).reshape(-1, theta.shape[-1])
        with np.errstate(divide="ignore"):
            loss = np.exp(self.log_loss(rows, np.log(x).ravel())[0])
        return loss.reshape(theta.shape[:-1] + x.shape)

    def gradient(self, theta: Array, x) -> Array:
        """d loss / d coefficients, exact: float64[..., n_runs, k]."""
        theta, x = np.asarray(theta, float), np.asarray(x.x, float)
        log_loss, slope = self.log_loss(self.to_search(theta).reshape(-1, theta.shape[-1]), np.log(x))
        by_value = np.where([c.log for c in self.coefficients], 1 / np.where(theta == 0, np.inf, theta), 1.0)
        gradient = np.exp(log_loss)[:, :, None] * np.swapaxes(slope, 1, 2)
        return gradient.reshape(*theta.shape[:-1], len(x), -1) * by_value[..., None, :]


def positive(name: str, unit: str = "") -> Coefficient:
    return Coefficient(name, low=0.0, log=True, unit=unit)


def free_slope(name: str) -> Coefficient:
    return Coefficient(name, low=-math.inf)


def softplus_sigmoid(z: Array) -> tuple[Array, Array]:
    """log(1 + e^z) and its slope, from one exponential that cannot overflow."""
    small = np.exp(-np.abs(z))
    return np.maximum(z, 0) + np.log1p(small), np.where(z >= 0, 1.0, small) / (1 + small)


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
