"""Loss as a function of model size and data: one small class a law.

A law is its formula, written once in `formula` with NumPy operators; gradients follow from the formula (`gradient.Jet`). With numbers it
predicts, inverts and prints itself; without numbers it is the form that a fit fills in. Only NumPy is imported here, so that a forecast
starts at once.

Symbols: `n` model size (parameters, in the convention that the fit names), `d` tokens seen, `c` training compute (FLOPs); E is the
irreducible loss and A, B, alpha, beta the amplitudes and exponents of the two finite-size terms.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.fit.gradient import Jet

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


class ScalingLaw:
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

    def formula(self, p: SimpleNamespace, x: SimpleNamespace):
        """Loss from coefficients `p.E, p.A, …` and columns `x.n, x.d, …`, in operators and NumPy ufuncs only."""
        raise NotImplementedError

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
        """Loss with exact derivatives with respect to the coefficients: theta float64[..., k] -> value [..., n_runs]."""
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
            raise SpecError(f"law {self.name!r} cannot be solved for {column!r}: it is a function of {', '.join(self.columns)}")
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
            text = self.template.format(**{name: name for name in self.names})
        else:
            text = self.template.format(**{name: f"{value:.4g}" for name, value in self.values.items()})
        return f"{type(self).__name__}: L = {text}"


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

    def excess(self, p: SimpleNamespace, n: Array, d: Array):
        """Loss above E at size n and data d."""
        raise NotImplementedError

    def formula(self, p: SimpleNamespace, x: SimpleNamespace):
        """E + excess(n, d)."""
        return p.E + self.excess(p, x.n, x.d)


class Chinchilla(AdditiveLaw):
    """L = E + A/N^alpha + B/D^beta.

    **Source:** Hoffmann et al. 2022, arXiv 2203.15556, eq. 2.
    """

    name = "chinchilla"
    template = "{E} + {A}/N^{alpha} + {B}/D^{beta}"
    source = "Hoffmann et al. 2022, arXiv 2203.15556"
    coefficients = (floor_coefficient(), amplitude("A"), amplitude("B"), exponent("alpha"), exponent("beta"))

    def excess(self, p, n, d):
        """A/N^alpha + B/D^beta."""
        return p.A * n**-p.alpha + p.B * d**-p.beta


class Tied(AdditiveLaw):
    """L = E + A/N^alpha + B/D^alpha: one exponent for both terms.

    **Source:** Gadre et al. 2024, arXiv 2403.08540; Muennighoff et al. 2023, arXiv 2305.16264.
    """

    name = "tied"
    template = "{E} + {A}/N^{alpha} + {B}/D^{alpha}"
    source = "Gadre et al. 2024, arXiv 2403.08540"
    coefficients = (floor_coefficient(), amplitude("A"), amplitude("B"), exponent("alpha"))

    def excess(self, p, n, d):
        """A/N^alpha + B/D^alpha."""
        return p.A * n**-p.alpha + p.B * d**-p.alpha


class Skaling(AdditiveLaw):
    """L = E + A (N^-alpha + R D^-beta)^k: the two terms interact when k differs from 1.

    **Source:** Skaling 2026, arXiv 2608.07222; with A^(1/k) drawn inside it is the supervised law of Busbridge et al. 2025, arXiv 2502.08606.
    """

    name = "skaling"
    template = "{E} + {A} (N^-{alpha} + {R} D^-{beta})^{k}"
    source = "Skaling 2026, arXiv 2608.07222"
    is_linear = False
    coefficients = (
        floor_coefficient(),
        Coefficient("A", log=True),
        Coefficient("R", log=True),
        exponent("alpha"),
        exponent("beta"),
        Coefficient("k", low=0.02, high=5.0, log=True, start=(0.3, 1.0)),
    )

    def excess(self, p, n, d):
        """A (N^-alpha + R D^-beta)^k."""
        return p.A * (n**-p.alpha + p.R * d**-p.beta) ** p.k

    def seed(self, start, amplitudes):
        """Far from the crossing either law is a plain power, so alpha k and beta k play the additive exponents."""
        k = start["k"]
        ratio = (amplitudes["B"] / amplitudes["A"]) ** (1 / k)
        return start | {"E": amplitudes["E"], "A": amplitudes["A"], "R": ratio, "alpha": start["alpha"] / k, "beta": start["beta"] / k}


class TiedSkaling(AdditiveLaw):
    """L = E + A (N^-alpha + R D^-alpha)^k: interacting terms with one exponent.

    **Source:** Skaling 2026, arXiv 2608.07222, with beta = alpha.
    """

    name = "tied-skaling"
    template = "{E} + {A} (N^-{alpha} + {R} D^-{alpha})^{k}"
    source = "Skaling 2026, arXiv 2608.07222"
    is_linear = False
    coefficients = tuple(c for c in Skaling.coefficients if c.name != "beta")

    def excess(self, p, n, d):
        """A (N^-alpha + R D^-alpha)^k."""
        return p.A * (n**-p.alpha + p.R * d**-p.alpha) ** p.k

    def seed(self, start, amplitudes):
        """As for Skaling."""
        k = start["k"]
        ratio = (amplitudes["B"] / amplitudes["A"]) ** (1 / k)
        return start | {"E": amplitudes["E"], "A": amplitudes["A"], "R": ratio, "alpha": start["alpha"] / k}


class Bounded(AdditiveLaw):
    """L = E + (L0 - E) h/(1 + h), h = A/N^alpha + B/D^beta: cannot exceed the loss of a uniform guess.

    **Source:** arXiv 2605.09189 (without its overfitting term c N^gamma/D^delta).

    Args:
        ceiling: L0, the loss of an untrained model: ln(vocabulary size) in nats/token.
    """

    name = "bounded"
    template = "{E} + (L0 - {E}) h/(1 + h), h = {A}/N^{alpha} + {B}/D^{beta}"
    source = "arXiv 2605.09189"
    is_linear = False
    coefficients = (
        floor_coefficient(),
        Coefficient("A", log=True),
        Coefficient("B", log=True),
        exponent("alpha"),
        exponent("beta"),
    )

    def __init__(self, ceiling: float = math.log(50257), **values: float):
        object.__setattr__(self, "ceiling", float(ceiling))
        super().__init__(**values)

    def structure(self):
        """The ceiling L0."""
        return {"ceiling": self.ceiling}

    def excess(self, p, n, d):
        """(L0 - E) h/(1 + h)."""
        h = p.A * n**-p.alpha + p.B * d**-p.beta
        return (self.ceiling - p.E) * h / (1 + h)

    def seed(self, start, amplitudes):
        """Near the floor h is the additive excess in units of L0 - E."""
        room = np.maximum(self.ceiling - amplitudes["E"], 0.1)
        return start | amplitudes | {"A": amplitudes["A"] / room, "B": amplitudes["B"] / room}


class KaplanN(ScalingLaw):
    """L = (N_c/N)^alpha_N: size alone, data and compute ample.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.1.
    """

    name = "kaplan-n"
    template = "({N_c}/N)^{alpha_N}"
    columns = ("n",)
    source = "Kaplan et al. 2020, arXiv 2001.08361"
    coefficients = (Coefficient("N_c", unit="parameters", log=True, start=(1e8, 1e16)), exponent("alpha_N", (0.02, 0.5)))

    def formula(self, p, x):
        """(N_c/N)^alpha_N."""
        return (p.N_c / x.n) ** p.alpha_N


class KaplanD(ScalingLaw):
    """L = (D_c/D)^alpha_D: data alone, a fixed set with early stopping.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.2.
    """

    name = "kaplan-d"
    template = "({D_c}/D)^{alpha_D}"
    columns = ("d",)
    source = "Kaplan et al. 2020, arXiv 2001.08361"
    coefficients = (Coefficient("D_c", unit="tokens", log=True, start=(1e8, 1e16)), exponent("alpha_D", (0.02, 0.5)))

    def formula(self, p, x):
        """(D_c/D)^alpha_D."""
        return (p.D_c / x.d) ** p.alpha_D


class KaplanC(ScalingLaw):
    """L = (C_c/C)^alpha_C: compute alone, in FLOPs (one PF-day is 8.64e19).

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.3.
    """

    name = "kaplan-c"
    template = "({C_c}/C)^{alpha_C}"
    columns = ("c",)
    source = "Kaplan et al. 2020, arXiv 2001.08361"
    coefficients = (Coefficient("C_c", unit="FLOPs", log=True, start=(1e18, 1e34)), exponent("alpha_C", (0.01, 0.3)))

    def formula(self, p, x):
        """(C_c/C)^alpha_C."""
        return (p.C_c / x.c) ** p.alpha_C


class KaplanND(ScalingLaw):
    """L = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.5.
    """

    name = "kaplan-nd"
    template = "[({N_c}/N)^({alpha_N}/{alpha_D}) + {D_c}/D]^{alpha_D}"
    source = "Kaplan et al. 2020, arXiv 2001.08361"
    coefficients = (
        Coefficient("N_c", unit="parameters", log=True, start=(1e8, 1e16)),
        Coefficient("D_c", unit="tokens", log=True, start=(1e8, 1e16)),
        exponent("alpha_N", (0.02, 0.5)),
        exponent("alpha_D", (0.02, 0.5)),
    )

    def formula(self, p, x):
        """[(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D."""
        return ((p.N_c / x.n) ** (p.alpha_N / p.alpha_D) + p.D_c / x.d) ** p.alpha_D


class PowerLaw(ScalingLaw):
    """L = E + A/X^alpha in one variable x (compute, size, data or steps).

    **Source:** Hestness et al. 2017, arXiv 1712.00409; Henighan et al. 2020, arXiv 2010.14701.
    """

    name = "power"
    template = "{E} + {A}/X^{alpha}"
    columns = ("x",)
    source = "Hestness et al. 2017, arXiv 1712.00409"
    coefficients = (floor_coefficient(), amplitude("A"), exponent("alpha"))

    def formula(self, p, x):
        """E + A/X^alpha."""
        return p.E + p.A * x.x**-p.alpha


BASE_LAWS: dict[str, type[ScalingLaw]] = {
    law.name: law for law in (Chinchilla, Tied, Skaling, TiedSkaling, Bounded, KaplanN, KaplanD, KaplanC, KaplanND, PowerLaw)
}


def base_law(name: str) -> ScalingLaw:
    """The form called `name`, without numbers.

    Raises:
        SpecError: no law has that name; says which do.
    """
    if name not in BASE_LAWS:
        close = difflib.get_close_matches(name, BASE_LAWS, 1)
        hint = f" — did you mean {close[0]!r}?" if close else ""
        raise SpecError(f"unknown law {name!r}: choose from {', '.join(BASE_LAWS)}{hint}")
    return BASE_LAWS[name]()
