"""What a law is: named coefficients, a formula, its gradient, its inverse.

A law is one class and one formula, written once in `formula` with NumPy operators. Its gradient is that formula
evaluated on `jet.Jet` operands, its printed form the same on `text.Text` operands. With numbers a law predicts and
inverts itself; without numbers it is the form that a fit fills in. Defining the class adds it to `LAWS`, so nothing
else names it. Only NumPy is imported here, so that a forecast starts at once.

Symbols: `n` model size (parameters, in the convention that the fit names), `d` tokens seen, `c` training compute
(FLOPs); E is the irreducible loss and A, B, alpha, beta the amplitudes and exponents of the two finite-size terms.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.laws.inverse import where_it_falls_to
from scaling.laws.jet import Jet
from scaling.laws.text import Text, written_out
from scaling.registry import Registry
from scaling.tables.roles import LAW_COLUMNS

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


LAWS: Registry[type[ScalingLaw]] = Registry("law", package="scaling.laws", group="scaling.laws")
"""Every form of law by its short name; other packages add theirs through the entry point group `scaling.laws`."""

SYMBOLS = {
    "n": "N",
    "d": "D",
    "c": "C",
    "x": "x",
    "n_unique_tokens": "U_D",
    "n_vocab_params": "N_v",
    "s_min": "S_min",
    "granularity": "G",
    "experts": "X",
    "tokens_per_parameter": "M",
    "bits": "P",
    "bits_weights": "P_w",
    "bits_activations": "P_a",
    "bits_cache": "P_kv",
    "teacher_loss": "L_T",
    "real_share": "rho",
}
"""Columns that are printed under a mathematical symbol; the others are printed under their own name."""


class ScalingLaw(ABC):
    """A form, and its numbers where it has them. Immutable.

    Subclasses give `name`, `title`, `columns`, `coefficients`, `source` and `formula`.

    Args:
        **values: one number for each coefficient; none at all for a form without numbers.

    Attributes:
        name: short id, unique among laws: what a command line and a saved fit call the form.
        title: the form in plain words: what a person reads.
        columns: what the loss is a function of.
        source: authors, year, arXiv id.
        coefficients: in order.
        is_linear: whether the loss is jointly linear in the coefficients marked `linear`, the others given.
        is_added: whether it gives what something adds to a loss, which has no floor and no parts.

    Raises:
        SpecError: a coefficient is missing, unknown, not a number, or outside its bounds.
    """

    registry: ClassVar[Registry[Any]] = LAWS
    name: str
    title: str
    columns: tuple[str, ...] = ("n", "d")
    source: str = ""
    coefficients: tuple[Coefficient, ...] = ()
    is_linear: bool = True
    is_added: bool = False
    values: dict[str, float] | None

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls):
            cls.registry.add(cls.name, cls)
            LAW_COLUMNS.update(getattr(cls, "columns", ()))

    def __init__(self, **values: float):
        object.__setattr__(self, "values", _checked(self, values) if values else None)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a law is immutable: use {type(self).__name__}.with_values to change {name!r}")

    def __getattr__(self, name: str) -> float:
        values: dict[str, float] = self.__dict__.get("values") or {}
        if name in values:
            return values[name]
        raise AttributeError(f"{type(self).__name__} has no coefficient or attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((self.name, tuple((self.values or {}).items())))

    def __reduce__(self):
        return _rebuild, (type(self), dict(self.__dict__))

    @abstractmethod
    def formula(self, p: SimpleNamespace, x: SimpleNamespace) -> Any:
        """Loss from coefficients `p.E, p.A, …` and columns `x.n, x.d, …`: the only place where it is written.

        It knows operators, NumPy's ufuncs and `np.where`; `text.let` names a part of it.
        """

    def structure(self) -> dict[str, Any]:
        """What besides its numbers defines the law, as JSON values and as keyword arguments of its class."""
        return {}

    @property
    def label(self) -> str:
        """Short name, with the base that the law stands on: "tied+q1"."""
        return self.name

    @property
    def heading(self) -> str:
        """Title, with the base that the law stands on."""
        return self.title

    @property
    def symbols(self) -> dict[str, str]:
        """How each column is printed."""
        return {column: SYMBOLS.get(column, column) for column in self.columns}

    def written(self) -> str:
        """The formula, with four significant digits for each number, or the names of the coefficients."""
        values = {name: Text.symbol(name) for name in self.names}
        if self.values is not None:
            values = {name: Text.number(value) for name, value in self.values.items()}
        columns = {column: Text.symbol(symbol) for column, symbol in self.symbols.items()}
        return "L = " + written_out(self.formula(SimpleNamespace(**values), SimpleNamespace(**columns)))

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

    @property
    def is_log(self) -> Array:
        """Coefficients that are searched by their logarithm: bool[k]."""
        return np.array([c.log for c in self.coefficients], bool)

    def to_search(self, theta: Array) -> Array:
        """Coefficients float64[..., k] in search coordinates: logarithms where `is_log`; of zero, -inf."""
        is_log = self.is_log
        with np.errstate(divide="ignore"):
            return np.where(is_log, np.log(np.where(is_log, theta, 1.0)), theta)

    def from_search(self, u: Array) -> Array:
        """Coefficients of search coordinates: float64[..., k]."""
        is_log = self.is_log
        return np.where(is_log, np.exp(np.where(is_log, u, 0.0)), u)

    def per_search(self, theta: Array) -> Array:
        """d coefficient / d search coordinate: float64[..., k]."""
        return np.where(self.is_log, theta, 1.0)

    def with_values(self, values: Mapping[str, float] | Array) -> Self:
        """The same form with other numbers (a mapping, or a vector in the order of `coefficients`)."""
        if not isinstance(values, Mapping):
            values = dict(zip(self.names, np.asarray(values, float).tolist(), strict=True))
        return type(self)(**self.structure(), **values)

    def unfitted(self, **structure: Any) -> Self:
        """The form without numbers; where said of another structure, as ``base="skaling"``."""
        return type(self)(**(self.structure() | structure))

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
        self.check_columns(columns)
        arrays = np.broadcast_arrays(*(np.asarray(columns[name], float) for name in self.columns))
        return SimpleNamespace(**dict(zip(self.columns, arrays, strict=True)))

    def check_columns(self, columns: Mapping[str, Any]) -> None:
        """Refuse columns that are missing or unknown."""
        missing = [name for name in self.columns if name not in columns]
        unknown = [name for name in columns if name not in self.columns]
        if missing or unknown:
            what = f"missing {', '.join(missing)}" if missing else f"unknown {', '.join(unknown)}"
            raise SpecError(f"law {self.name!r}: {what}; it is a function of {', '.join(self.columns)}")

    def evaluate(self, theta: Array, x: SimpleNamespace) -> Array:
        """Loss for a batch of coefficient vectors: theta float64[..., k], columns [n_runs] -> float64[..., n_runs]."""
        theta = np.asarray(theta, float)
        p = SimpleNamespace(**{name: theta[..., i, None] for i, name in enumerate(self.names)})
        rows = np.ndim(next(iter(vars(x).values())))
        if theta.ndim == 1 and rows != 1:
            p = SimpleNamespace(**{name: theta[i] for i, name in enumerate(self.names)})
        # In a limit a part of a formula may be ∞/∞: the formula guards it, or the loss has no limit and is no number.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            return np.asarray(self.formula(p, x))

    def jet(self, theta: Array, x: SimpleNamespace, *, order: int = 2) -> Jet:
        """Loss with exact derivatives by coefficient, to first or second order: theta float64[..., k] -> value
        float64[..., n_runs].
        """
        theta = np.asarray(theta, float)
        p = {name: Jet.variable(theta[..., i, None], i, order=order) for i, name in enumerate(self.names)}
        return self.formula(SimpleNamespace(**p), x)

    def gradient(self, theta: Array, x: SimpleNamespace) -> Array:
        """d loss / d coefficients: float64[..., n_runs, k]."""
        jet = self.jet(theta, x, order=1)
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
            float64[...]; inf where even an infinite value does not reach that loss, 0 where every value does.

        Raises:
            SpecError: unknown column.
        """
        if column not in self.columns:
            raise SpecError(
                f"law {self.name!r} cannot be solved for {column!r}: it is a function of {', '.join(self.columns)}"
            )
        shape = np.broadcast_shapes(np.shape(loss), *(np.shape(v) for v in columns.values()))
        return where_it_falls_to(loss, lambda values: self.loss(**columns, **{column: values}), shape)

    def __repr__(self) -> str:
        return f"{self.heading}: {self.written()}"


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
    def excess(self, p: SimpleNamespace, n: Any, d: Any) -> Any:
        """Loss above E at size n and data d."""

    def powers(self, p: SimpleNamespace) -> tuple[Any, Any, Any, Any]:
        """(A, alpha, B, beta) such that A/N^alpha + B/D^beta is least, at given N D, where the excess is.

        Raises:
            SpecError: the law has no such powers.
        """
        return p.A, p.alpha, p.B, p.beta

    def formula(self, p, x):
        """The floor E, and the excess."""
        return p.E + self.excess(p, x.n, x.d)


def no_closed_form(law: AdditiveLaw) -> SpecError:
    """What a law without `powers` says."""
    return SpecError(f"law {law.name!r} has no closed form of the compute-optimal size: choose another base")
