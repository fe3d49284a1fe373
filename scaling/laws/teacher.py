"""Laws for students of a teacher: how the text's divergence from real text enters the loss.

Two divergences travel with a run, both parts of KL(real text || text that it read) in nats/token: `delta_coverage`
(what the teacher never says) and `delta_noise` (what it says wrongly). Real text has both zero; those of a mixture are
of the mixed text, and those of the teacher inside it are columns beside them. Every form builds on a base law
E + x(n, d) and keeps that base's coefficients, so Q1 may stand on Chinchilla, on tied exponents, or on Skaling. Where
divergences are unknown, a form takes one free divergence for each text instead, but for one that the others are told
by (`teachers=`, `reference=`): that is real text, unless another text teaches better, for no divergence is below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from scaling.errors import SpecError
from scaling.laws.law import Coefficient
from scaling.laws.on_base import DEFAULT_BASE, OnBase
from scaling.laws.text import indicator, let

TINY = 1e-12
"""A divergence of zero as far as a power of it is concerned, in nats/token."""

KAPPA = Coefficient("kappa", low=0.0, linear=True, start=(0.5, 1.5))
DISCOUNT = Coefficient("c", low=0.0, high=20.0, start=(0.0, 2.0))
SHARPNESS = Coefficient("nu", low=0.5, high=60.0, log=True, start=(1.0, 8.0))


def soft_maximum(left: Any, right: Any, nu: Any) -> Any:
    """(left^nu + right^nu)^(1/nu): the sum at nu = 1, the larger one as nu grows."""
    return np.exp(np.logaddexp(nu * np.log(left + TINY), nu * np.log(right + TINY)) / nu)


class TeacherLaw(OnBase):
    """A base law E + x(n, d) with the divergence of the training text.

    Subclasses name those of their coefficients that a free divergence absorbs in `absorbed`; where it names nothing,
    divergences must be measured. `numbers_a_text` is how many coefficients each text of unknown divergence has.

    Args:
        base: name of an additive base law.
        teachers: labels of texts with unknown divergence; each gets the coefficient `delta[label]`. Empty: divergences
            are columns.
        reference: code of the text that has none; the other codes are those of `teachers`, in order. 0 is real text.
        **values: coefficients.

    Raises:
        SpecError: the form cannot do without measured divergences; or the reference is not one of the texts.
    """

    columns: tuple[str, ...] = ("n", "d", "delta_coverage", "delta_noise")
    absorbed: tuple[str, ...] = ("kappa",)
    numbers_a_text: int = 1
    teachers: tuple[str, ...]
    reference: int

    def __init__(self, base: str = DEFAULT_BASE, teachers: Sequence[str] = (), reference: int = 0, **values: float):
        if teachers and not self.absorbed:
            raise SpecError(
                f"law {self.name!r} is a function of {', '.join(self.columns)} and takes no free divergences, got "
                f"those of {', '.join(teachers)}: give the columns, or choose another form"
            )
        if not 0 <= reference <= len(teachers):
            raise SpecError(
                f"law {self.name!r}: reference {reference} is not the code of one of {1 + len(teachers)} texts"
            )
        object.__setattr__(self, "teachers", tuple(teachers))
        object.__setattr__(self, "reference", reference)
        if teachers:
            object.__setattr__(self, "columns", ("n", "d", "teacher"))
        super().__init__(base, **values)

    def own_coefficients(self):
        """The form's own; a free divergence of each teacher instead of what it would be multiplied by."""
        if not self.teachers:
            return self.extra
        free = tuple(Coefficient(f"delta[{label}]", unit="nats/token", start=(0.01, 0.5)) for label in self.teachers)
        return tuple(c for c in self.extra if c.name not in self.absorbed) + free

    def structure(self) -> dict[str, Any]:
        """Base law, and the texts whose divergence is free."""
        free = {"teachers": list(self.teachers)} if self.teachers else {}
        return super().structure() | free | ({"reference": self.reference} if self.reference else {})

    def divergence(self, p: SimpleNamespace, x: SimpleNamespace) -> Any:
        """Total divergence of each run's text: measured, or free by text."""
        return let("delta", self.of_each(p, x, "delta") if self.teachers else x.delta_coverage + x.delta_noise)

    def of_each(self, p: SimpleNamespace, x: SimpleNamespace, name: str) -> Any:
        """The coefficient `name` of each run's text, zero of the one that the others are told by."""
        codes = (code for code in range(len(self.teachers) + 1) if code != self.reference)
        own = zip(codes, self.teachers, strict=True)
        return sum(getattr(p, f"{name}[{q}]") * indicator(x.teacher, code, q) for code, q in own)

    def weight(self, p: SimpleNamespace, name: str) -> Any:
        """kappa or c; one where a free divergence has absorbed it."""
        return getattr(p, name, 1.0)


class NoQuality(TeacherLaw):
    """Q0: L = E + x(n, d). The text's origin does not matter: the null hypothesis."""

    name = "q0"
    title = "no effect of the text"
    columns = ("n", "d")
    absorbed = ()

    def formula(self, p, x):
        """The base law."""
        return self.on(p, x.n, x.d)


class AdditiveFloor(TeacherLaw):
    """Q1: L = E + kappa delta + x(n, d). Noise that the student learns; theory gives kappa = 1 when delta is the
    measured divergence."""

    name = "q1"
    title = "floor"
    extra = (KAPPA,)

    def formula(self, p, x):
        """The base law, raised."""
        return p.E + self.weight(p, "kappa") * self.divergence(p, x) + self.base.excess(p, x.n, x.d)


class EffectiveData(TeacherLaw):
    """Q2: L = E + x(n, d e^(-c delta)). Bad text is worth fewer tokens; it has no floor, so it must fail at large D.

    **Source:** Chang et al. 2024; Subramanyam et al. 2025, arXiv 2510.03313 (with Q = e^-delta).
    """

    name = "q2"
    title = "effective data"
    extra = (DISCOUNT,)
    absorbed = ("c",)

    def formula(self, p, x):
        """The base law at fewer tokens."""
        return self.on(p, x.n, let("D'", x.d * np.exp(-self.weight(p, "c") * self.divergence(p, x))))


class FloorAndEffectiveData(TeacherLaw):
    """Q1 with Q2: L = E + kappa delta + x(n, d e^(-c delta))."""

    name = "q1q2"
    title = "floor and effective data"
    extra = (KAPPA, DISCOUNT)

    def formula(self, p, x):
        """The base law, raised, at fewer tokens."""
        delta = self.divergence(p, x)
        fewer = let("D'", x.d * np.exp(-p.c * delta))
        return p.E + self.weight(p, "kappa") * delta + self.base.excess(p, x.n, fewer)


class OwnFloorAndData(TeacherLaw):
    """Q8: L = E + delta_q + x(n, d e^(-c_q)). The text of each teacher q has a floor of its own and is worth tokens of
    its own, and neither follows from the other: one text may be simple, learned fast and soon learned (c_q below zero),
    another slow and good. Where divergences are measured it is Q1 with Q2.
    """

    name = "q8"
    title = "floor and effective data of each text"
    extra = (KAPPA, DISCOUNT)
    absorbed = ("kappa", "c")
    numbers_a_text = 2

    def own_coefficients(self):
        """A floor and a discount of each text."""
        return (
            *super().own_coefficients(),
            *(Coefficient(f"c[{q}]", low=-5.0, high=20.0, start=(0.0, 1.0)) for q in self.teachers),
        )

    def formula(self, p, x):
        """The base law, raised, at fewer tokens."""
        delta = self.divergence(p, x)
        discount = self.of_each(p, x, "c") if self.teachers else p.c * delta
        return p.E + self.weight(p, "kappa") * delta + self.base.excess(p, x.n, let("D'", x.d * np.exp(-discount)))


class SaturatingData(TeacherLaw):
    """Q3: L = E + A/N^alpha + B (D^-omega + D_q^-omega)^(beta/omega), D_q = (B/(kappa delta))^(1/beta) tokens.

    The teacher is worth at most D_q tokens of real text. omega = beta is Q1; omega -> infinity is a hard cap. Only
    on the Chinchilla base.

    **Source:** Dohmatob et al. 2024, arXiv 2402.07043 (the hard cap).
    """

    name = "q3"
    title = "saturating data"
    adds = False
    only_on = "chinchilla"
    extra = (
        Coefficient("kappa", log=True, start=(0.2, 2.0)),
        Coefficient("omega", low=0.01, high=50.0, log=True, start=(0.3, 3.0)),
    )

    def formula(self, p, x):
        """The data term and the floor, joined with sharpness omega/beta."""
        floor = self.weight(p, "kappa") * self.divergence(p, x)
        sharpness = let("m", p.omega / p.beta)
        return p.E + p.A * x.n**-p.alpha + soft_maximum(p.B * x.d**-p.beta, floor, sharpness)


class QualityExponent(TeacherLaw):
    """Q4: L = E + A/N^alpha + B/D^(beta - c delta). Bad text is learned from more slowly. Only on the Chinchilla base.

    **Source:** Goyal et al. 2024, arXiv 2404.07177 (quality as an exponent).
    """

    name = "q4"
    title = "slower learning"
    only_on = "chinchilla"
    extra = (Coefficient("c", low=0.0, high=20.0, start=(0.0, 0.3)),)
    absorbed = ("c",)

    def formula(self, p, x):
        """A smaller exponent of data."""
        return p.E + p.A * x.n**-p.alpha + p.B * x.d ** -(p.beta - self.weight(p, "c") * self.divergence(p, x))


class Bottleneck(TeacherLaw):
    """Q5: L = E + [x(n, d)^nu + (kappa delta)^nu]^(1/nu). What the teacher omits costs nothing until the student
    gets there.

    nu = 1 is Q1; nu -> infinity is the larger of the two.
    """

    name = "q5"
    title = "bottleneck"
    adds = False
    extra = (Coefficient("kappa", log=True, start=(0.3, 1.5)), SHARPNESS)

    def formula(self, p, x):
        """The excess and the floor, the larger one in the limit."""
        floor = self.weight(p, "kappa") * self.divergence(p, x)
        return p.E + soft_maximum(self.base.excess(p, x.n, x.d), floor, p.nu)


class Composite(TeacherLaw):
    """Q7: L = E + kappa delta_noise + [x(n, d e^(-c delta_noise))^nu + delta_coverage^nu]^(1/nu).

    Noise adds and costs data; missing coverage is a bottleneck. Contains Q0, Q1, Q2 and Q5. Needs measured divergences.
    """

    name = "q7"
    title = "floor and effective data of noise, bottleneck of coverage"
    adds = False
    extra = (KAPPA, DISCOUNT, SHARPNESS)
    absorbed = ()

    def formula(self, p, x):
        """Noise as in Q1 with Q2, coverage as in Q5."""
        excess = self.base.excess(p, x.n, let("D'", x.d * np.exp(-p.c * x.delta_noise)))
        return p.E + p.kappa * x.delta_noise + soft_maximum(excess, x.delta_coverage, p.nu)


class Mixture(TeacherLaw):
    """Real and synthetic text mixed by document: L = E + x(n, d) + kappa delta + 1/(1/u + 1/v), where
    u = kappa [(1 - rho) delta_w - delta] and v = B/(rho D)^beta.

    `real_share` rho is the fraction of real documents. Two divergences of a mixture count: delta_w of the teacher
    inside it (`generator_delta_coverage` + `generator_delta_noise`), and delta of the mixed text itself
    (`delta_coverage` + `delta_noise`). A student that cannot yet tell who writes loses (1 - rho) delta_w, a plateau;
    once its rho D real tokens teach more than that, a second descent follows, to the floor delta that even a reader who
    weighs both kinds by all it has read cannot pass. In documents of T tokens delta is at most ln(1/rho)/T, so any
    share of real text removes the floor where documents are long. rho = 1 is Q0; rho = 0, where both divergences are
    one, is Q1. The harmonic sum 1/(1/u + 1/v) is the smooth smaller one. Kinds that are told apart by a source token
    leave no plateau: their runs are not of this law.

    **Source:** the limits from Dohmatob et al. 2024, arXiv 2402.07043, theorem 3.2; the join between them, and the
    floor of documents of finite length, are this project's.
    """

    name = "mixture"
    title = "mixture of real and generated text"
    adds = False
    only_on = "chinchilla"
    columns = (
        "n",
        "d",
        "delta_coverage",
        "delta_noise",
        "generator_delta_coverage",
        "generator_delta_noise",
        "real_share",
    )
    extra = (Coefficient("kappa", log=True, start=(0.3, 1.5)),)
    absorbed = ()

    def formula(self, p, x):
        """The base law, the floor, and what is lost until the real documents are told apart."""
        floor = self.divergence(p, x)
        unaware = (1 - x.real_share) * (x.generator_delta_coverage + x.generator_delta_noise)
        plateau = p.kappa * (np.maximum(unaware - floor, 0.0) + TINY)
        real = np.fmax(x.real_share, 1e-300) * x.d
        return self.on(p, x.n, x.d) + p.kappa * floor + 1 / (1 / let("u", plateau) + real**p.beta / p.B)
