"""Laws in which every text, or every kind of target, has coefficients of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from scaling.laws.law import Coefficient, ScalingLaw, amplitude, exponent, floor_coefficient
from scaling.laws.teacher import KAPPA
from scaling.laws.text import indicator, let


class EachText(ScalingLaw):
    """A law with coefficients of its own for every text.

    Args:
        teachers: the label of every text, real text included.
    """

    teachers: tuple[str, ...]

    def __init__(self, teachers: Sequence[str] = ("real",), **values: float):
        object.__setattr__(self, "teachers", tuple(teachers))
        object.__setattr__(self, "coefficients", (*self.coefficients, *self.own_coefficients()))
        super().__init__(**values)

    @abstractmethod
    def own_coefficients(self) -> list[Coefficient]:
        """Those of each text."""

    def structure(self) -> dict[str, Any]:
        """All texts."""
        return {"teachers": list(self.teachers)}

    def each(self, x: SimpleNamespace, value: Callable[[str], Any]) -> Any:
        """What `value` says of the text that each run read."""
        return sum(value(q) * indicator(x.teacher, code, q) for code, q in enumerate(self.teachers))


class SeparateTeachers(EachText):
    """QM: L = E_q + A_q/N^alpha + B_q/D^beta: each teacher q its own E, A and B, exponents shared: the saturated
    reference that no form can beat in fit."""

    name = "qm"
    title = "each teacher apart"
    columns = ("n", "d", "teacher")
    coefficients = (exponent("alpha"), exponent("beta"))

    def own_coefficients(self):
        """E, A and B."""
        makers = (("E", floor_coefficient), ("A", amplitude), ("B", amplitude))
        return [make(f"{letter}[{q}]") for q in self.teachers for letter, make in makers]

    def formula(self, p, x):
        """A Chinchilla law for each teacher."""
        size, data = x.n**-p.alpha, x.d**-p.beta
        return self.each(
            x, lambda q: getattr(p, f"E[{q}]") + getattr(p, f"A[{q}]") * size + getattr(p, f"B[{q}]") * data
        )


class SeparateSpeeds(EachText):
    """QT: L = E + kappa delta + A/N^alpha + B_q/D^beta_q: what is read decides how fast a student learns, and nothing
    else but the floor delta. For kinds of targets of one text, as tokens and whole distributions, which are to lead
    to one loss. On the table a kind is told by the label of its text."""

    name = "qt"
    title = "each text at a speed of its own"
    columns = ("n", "d", "delta_coverage", "delta_noise", "teacher")
    coefficients = (floor_coefficient(), KAPPA, amplitude("A"), exponent("alpha"))

    def own_coefficients(self):
        """B and beta."""
        return [make(f"{name}[{q}]") for q in self.teachers for name, make in (("B", amplitude), ("beta", exponent))]

    def formula(self, p, x):
        """One floor and size term, the data term of each text."""
        floor = p.E + p.kappa * let("delta", x.delta_coverage + x.delta_noise)
        data = self.each(x, lambda q: getattr(p, f"B[{q}]") * x.d ** -getattr(p, f"beta[{q}]"))
        return floor + p.A * x.n**-p.alpha + data


class CoupledSpeeds(EachText):
    """QTK: L = E + kappa delta + (A/N^alpha + B_q/D^beta_q)^k: QT whose size and data interact where k differs from 1,
    as in the law that Busbridge et al. 2025 (arXiv 2502.08606) give students of soft targets."""

    name = "qtk"
    title = "each text at a speed of its own, coupled with size"
    columns = SeparateSpeeds.columns
    is_linear = False
    coefficients = (
        floor_coefficient(),
        KAPPA,
        Coefficient("A", log=True),
        exponent("alpha", (0.1, 0.5)),
        Coefficient("k", low=0.02, high=20.0, log=True, start=(0.5, 5.0)),
    )

    def own_coefficients(self):
        """B and beta."""
        return [
            one for q in self.teachers for one in (Coefficient(f"B[{q}]", log=True), exponent(f"beta[{q}]", (0.1, 0.8)))
        ]

    def formula(self, p, x):
        """The floor, and a power of the sum of both terms."""
        floor = p.E + p.kappa * let("delta", x.delta_coverage + x.delta_noise)
        data = self.each(x, lambda q: getattr(p, f"B[{q}]") * x.d ** -getattr(p, f"beta[{q}]"))
        return floor + (p.A * x.n**-p.alpha + data) ** p.k

    def seed(self, start, amplitudes):
        """Far from the crossing either term alone is a power: each is drawn to 1/k, exponents and all."""
        drawn = {name: value / start["k"] for name, value in start.items() if name.startswith(("alpha", "beta"))}
        own = {f"B[{q}]": amplitudes["B"] ** (1 / start["k"]) for q in self.teachers}
        return start | drawn | own | {"E": amplitudes["E"], "A": amplitudes["A"] ** (1 / start["k"])}
