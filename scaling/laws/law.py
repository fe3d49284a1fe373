"""What a law is: named coefficients, a formula, its gradient, its inverse.

A law is its formula, written once in `formula` with NumPy operators; gradients follow from the formula
(`gradient.Jet`). With numbers it predicts, inverts and prints itself; without numbers it is the form that a fit fills
in. Only NumPy is imported here, so that a forecast starts at once.

Symbols: `n` model size (parameters, in the convention that the fit names), `d` tokens seen, `c` training compute
(FLOPs); E is the irreducible loss and A, B, alpha, beta the amplitudes and exponents of the two finite-size terms.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.laws.jet import Jet

Array = np.ndarray
EXPONENT_MAX = 10.0
"""No exponent of a loss law is anywhere near this; a fit that arrives here has lost the term."""


@dataclass(frozen=True)
class Coefficient:
    """One number of a law: its name, its bounds, its unit, and where a search for it starts.

    Attributes:
        name: identifier, as in the formula.
        low, high: bounds; a fit that ends on one is not interior.
        unit: for reports.
        log: whether it is searched, and its interval formed, on a logarithmic scale.
        linear: whether the loss is linear in it, so that a fit can solve for it.
        start: range from which starts are drawn (ignored for linear coefficients).
    """

    name: str
    low: float = 0.0
    high: float = math.inf
    unit: str = ""
    log: bool = False
    linear: bool = False
    start: tuple[float, float] = (0.0, 1.0)


def floor_coefficient(name: str = "E") -> Coefficient:
    """The irreducible loss: non-negative and linear."""
    return Coefficient(name, low=0.0, unit="nats/token", linear=True)


def amplitude(name: str) -> Coefficient:
    """A positive prefactor that the loss is linear in."""
    return Coefficient(name, low=0.0, log=True, linear=True)


def exponent(name: str, start: tuple[float, float] = (0.05, 1.2)) -> Coefficient:
    """A power of n, d or c."""
    return Coefficient(name, low=0.0, high=EXPONENT_MAX, start=start)


class ScalingLaw(ABC):
    """A form, and its numbers where it has them. Immutable.

    Subclasses give `name`, `template`, `columns`, `coefficients`, `source` and `formula`.

    Args:
        **values: one number for each coefficient; none at all for a form without numbers.

    Raises:
        SpecError: a coefficient is missing, unknown, not a number, or outside its bounds.
    """

    name: ClassVar[str]
    template: ClassVar[str]
    columns: ClassVar[tuple[str, ...]] = ("n", "d")
    source: ClassVar[str] = ""
    is_linear: bool = True
    """Whether the loss is jointly linear in the coefficients marked `linear`, the others given."""
    coefficients: tuple[Coefficient, ...] = ()

    def __init__(self, **values: float):
        object.__setattr__(self, "values", _checked(self, values) if values else None)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a law is immutable: use {type(self).__name__}.with_values to change {name!r}")

    def __getattr__(self, name: str) -> float:
        values = self.__dict__.get("values")
        if values and name in values:
            return values[name]
        raise AttributeError(f"{type(self).__name__} has no coefficient or attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((self.name, tuple((self.values or {}).items())))

    def __reduce__(self):
        return _rebuild, (type(self), dict(self.__dict__))

    @abstractmethod
    def formula(self, p: SimpleNamespace, x: SimpleNamespace):
        """Loss from coefficients `p.E, p.A, …` and columns `x.n, x.d, …`, in operators and NumPy ufuncs only."""

    def structure(self) -> dict[str, Any]:
        """What besides its numbers defines the law, as JSON values and as keyword arguments of its class."""
        return {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients, in order."""
        return tuple(c.name for c in self.coefficients)

    @property
    def vector(self) -> Array:
        """The numbers in the order of `coefficients`: float64[k]."""
        if self.values is None:
            raise FitError(f"the law {self.name!r} has no numbers yet: fit it, or give {', '.join(self.names)}")
        return np.array([self.values[name] for name in self.names])

    def with_values(self, values: Mapping[str, float] | Array) -> ScalingLaw:
        """The same form with other numbers (a mapping, or a vector in the order of `coefficients`)."""
        if not isinstance(values, Mapping):
            values = dict(zip(self.names, np.asarray(values, float).tolist(), strict=True))
        return type(self)(**self.structure(), **values)

    def loss(self, **columns: Any) -> Array:
        """Loss at the given columns.

        Args:
            **columns: one array (or number) for each name in `columns`; infinite values give the limit.

        Returns:
            float64[...], nats/token, in the broadcast shape of the columns.

        Raises:
            SpecError: a column is missing or unknown.
        """
        return self.evaluate(self.vector, self.prepare(columns))

    def prepare(self, columns: Mapping[str, Any]) -> SimpleNamespace:
        """The named columns as float64 arrays of one shape."""
        missing = [name for name in self.columns if name not in columns]
        unknown = [name for name in columns if name not in self.columns]
        if missing or unknown:
            what = f"missing {', '.join(missing)}" if missing else f"unknown {', '.join(unknown)}"
            raise SpecError(f"law {self.name!r}: {what}; it is a function of {', '.join(self.columns)}")
        arrays = np.broadcast_arrays(*(np.asarray(columns[name], float) for name in self.columns))
        return SimpleNamespace(**dict(zip(self.columns, arrays, strict=True)))

    def evaluate(self, theta: Array, x: SimpleNamespace) -> Array:
        """Loss for a batch of coefficient vectors: theta float64[..., k], columns [n_runs] -> float64[..., n_runs]."""
        theta = np.asarray(theta, float)
        p = SimpleNamespace(**{name: theta[..., i, None] for i, name in enumerate(self.names)})
        rows = np.ndim(getattr(x, self.columns[0])) if self.columns else 0
        if theta.ndim == 1 and rows != 1:
            p = SimpleNamespace(**{name: theta[i] for i, name in enumerate(self.names)})
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(self.formula(p, x))

    def jet(self, theta: Array, x: SimpleNamespace) -> Jet:
        """Loss with exact derivatives with respect to the coefficients: theta float64[..., k] -> value [...,
        n_runs]."""
        theta = np.asarray(theta, float)
        p = {name: Jet.variable(theta[..., i, None], i) for i, name in enumerate(self.names)}
        return self.formula(SimpleNamespace(**p), x)

    def gradient(self, theta: Array, x: SimpleNamespace) -> Array:
        """d loss / d coefficients: float64[..., n_runs, k]."""
        jet = self.jet(theta, x)
        zero = np.zeros_like(jet.value)
        return np.stack([zero + jet.first.get(i, 0.0) for i in range(len(self.coefficients))], axis=-1)

    def seed(self, start: dict[str, Array], amplitudes: dict[str, Array]) -> dict[str, Array]:
        """Coefficients of a start, from the drawn exponents and the solved E, A, B of the additive form they imply."""
        return start | amplitudes

    def inverse(self, column: str, loss: Any, **columns: Any) -> Array:
        """Value of one column (as "n" or "d") at which the loss is `loss`, the others given.

        Args:
            column: the unknown; the loss must fall as it grows.
            loss: float64[...], nats/token.
            **columns: all the other columns.

        Returns:
            float64[...]; inf where even an infinite value does not reach that loss.

        Raises:
            SpecError: unknown column.
        """
        if column not in self.columns:
            raise SpecError(
                f"law {self.name!r} cannot be solved for {column!r}: it is a function of {', '.join(self.columns)}"
            )
        shape = np.broadcast_shapes(np.shape(loss), *(np.shape(v) for v in columns.values()))
        target = np.broadcast_to(np.asarray(loss, float), shape)
        low, high = np.full(shape, -30.0), np.full(shape, 200.0)  # exponents of e: from 1e-13 to 7e86
        for _ in range(80):
            middle = (low + high) / 2
            above = self.loss(**columns, **{column: np.exp(middle)}) > target
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        reachable = self.loss(**columns, **{column: np.full(shape, np.inf)}) < target
        return np.where(reachable, np.exp((low + high) / 2), np.inf)

    def __repr__(self) -> str:
        if self.values is None:
            text = self.template.format_map(_Shown({name: name for name in self.names}))
        else:
            text = self.template.format_map(_Shown({name: f"{value:.4g}" for name, value in self.values.items()}))
        return f"{type(self).__name__}: L = {text}"


class _Shown(dict):
    """Coefficients as text; one that a free divergence has absorbed is a factor of one."""

    def __missing__(self, name: str) -> str:
        return "1"


def _checked(law: ScalingLaw, values: Mapping[str, float]) -> dict[str, float]:
    """The numbers in order, each a finite float within its bounds."""
    missing = [name for name in law.names if name not in values]
    unknown = [name for name in values if name not in law.names]
    if missing or unknown:
        what = f"missing {', '.join(missing)}" if missing else f"unknown {', '.join(unknown)}"
        raise SpecError(f"law {law.name!r}: {what}; its coefficients are {', '.join(law.names)}")
    for c in law.coefficients:
        value = float(values[c.name])
        if not (math.isfinite(value) and c.low <= value <= c.high):
            raise SpecError(f"law {law.name!r}: {c.name} = {value:g} must be finite and within [{c.low:g}, {c.high:g}]")
    return {name: float(values[name]) for name in law.names}


def _rebuild(cls: type[ScalingLaw], state: dict[str, Any]) -> ScalingLaw:
    """Unpickle past the immutable __setattr__."""
    law = object.__new__(cls)
    law.__dict__.update(state)
    return law


class AdditiveLaw(ScalingLaw):
    """E plus an excess that finite size and finite data cause; teacher forms build on the excess."""

    @abstractmethod
    def excess(self, p: SimpleNamespace, n: Array, d: Array):
        """Loss above E at size n and data d."""

    def formula(self, p: SimpleNamespace, x: SimpleNamespace):
        """E + excess(n, d)."""
        return p.E + self.excess(p, x.n, x.d)
