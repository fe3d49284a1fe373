"""Laws for students of a teacher: how the text's divergence from real text enters the loss.

Two divergences travel with a run, both parts of KL(real text || text that it read) in nats/token: `delta_coverage`
(what the teacher never says) and `delta_noise` (what it says wrongly). Real text has both zero; those of a mixture are
of the mixed text, and those of the teacher inside it are columns beside them. Every form builds on a base law
E + x(n, d) and keeps that base's coefficients, so Q1 may stand on Chinchilla, on tied exponents, or on Skaling. Where
divergences are unknown, a form takes one free divergence for each teacher instead (`teachers=`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from scaling.errors import SpecError
from scaling.laws.distillation import Busbridge
from scaling.laws.law import AdditiveLaw, Coefficient, ScalingLaw, amplitude, exponent, floor_coefficient
from scaling.laws.size_and_data import BASE_LAWS, Chinchilla, base_law

TINY = 1e-12
"""A divergence of zero as far as a power of it is concerned, in nats/token."""

KAPPA = Coefficient("kappa", low=0.0, linear=True, start=(0.5, 1.5))
DISCOUNT = Coefficient("c", low=0.0, high=20.0, start=(0.0, 2.0))
SHARPNESS = Coefficient("nu", low=0.5, high=60.0, log=True, start=(1.0, 8.0))


def soft_maximum(left, right, nu):
    """(left^nu + right^nu)^(1/nu): the sum at nu = 1, the larger one as nu grows."""
    return np.exp(np.logaddexp(nu * np.log(left + TINY), nu * np.log(right + TINY)) / nu)


class TeacherLaw(ScalingLaw):
    """A base law E + x(n, d) with the divergence of the training text.

    Args:
        base: name of an additive base law.
        teachers: labels of teachers with unknown divergence; each gets the coefficient `delta[label]`. Empty:
            divergences are columns.
        **values: coefficients.

    Subclasses name their own coefficients in `extra`, those that a free divergence absorbs in `absorbed`, and say in
    `adds` whether the base's excess enters as a plain sum.
    """

    columns = ("n", "d", "delta_coverage", "delta_noise")
    extra: tuple[Coefficient, ...] = ()
    adds: bool = True
    absorbed: tuple[str, ...] = ("kappa",)

    def __init__(self, base: str = "chinchilla", teachers: tuple[str, ...] | list[str] = (), **values: float):
        form = base_law(base)
        if not isinstance(form, AdditiveLaw):
            allowed = ", ".join(name for name, law in BASE_LAWS.items() if issubclass(law, AdditiveLaw))
            raise SpecError(f"law {self.name!r}: base {base!r} has no additive floor; choose from {allowed}")
        own = self.extra
        if teachers:
            free = tuple(Coefficient(f"delta[{label}]", unit="nats/token", start=(0.01, 0.5)) for label in teachers)
            own = tuple(c for c in own if c.name not in self.absorbed) + free
            object.__setattr__(self, "columns", ("n", "d", "teacher"))
        object.__setattr__(self, "base", form)
        object.__setattr__(self, "is_linear", form.is_linear and self.adds)
        object.__setattr__(self, "teachers", tuple(teachers))
        object.__setattr__(self, "coefficients", form.coefficients + own)
        super().__init__(**values)

    def structure(self) -> dict[str, Any]:
        """Base law, and the teachers whose divergence is free."""
        return {"base": self.base.name} | ({"teachers": list(self.teachers)} if self.teachers else {})

    def divergence(self, p: SimpleNamespace, x: SimpleNamespace):
        """Total divergence of each run's text: measured, or free by teacher."""
        if not self.teachers:
            return x.delta_coverage + x.delta_noise
        return sum(
            getattr(p, f"delta[{label}]") * (x.teacher == i + 1).astype(float) for i, label in enumerate(self.teachers)
        )

    def weight(self, p: SimpleNamespace, name: str):
        """kappa or c; one where a free divergence has absorbed it."""
        return getattr(p, name, 1.0)

    def seed(self, start, amplitudes):
        """The base law's own start, and the drawn coefficients of the teacher term."""
        return start | amplitudes | self.base.seed(start, amplitudes)


class NoQuality(TeacherLaw):
    """Q0: L = E + x(n, d). The text's origin does not matter: the null hypothesis."""

    name = "q0"
    columns = ("n", "d")
    template = "E + x(N, D)"

    def __init__(self, base: str = "chinchilla", teachers=(), **values: float):
        super().__init__(base, (), **values)

    def formula(self, p, x):
        """E + x(n, d)."""
        return p.E + self.base.excess(p, x.n, x.d)


class AdditiveFloor(TeacherLaw):
    """Q1: L = E + kappa delta + x(n, d). Noise that the student learns; theory gives kappa = 1 when delta is the
    measured divergence."""

    name = "q1"
    template = "E + {kappa} delta + x(N, D)"
    extra = (KAPPA,)

    def formula(self, p, x):
        """E + kappa delta + x(n, d)."""
        return p.E + self.weight(p, "kappa") * self.divergence(p, x) + self.base.excess(p, x.n, x.d)


class EffectiveData(TeacherLaw):
    """Q2: L = E + x(n, d e^(-c delta)). Bad text is worth fewer tokens; it has no floor, so it must fail at large D.

    **Source:** Chang et al. 2024; Subramanyam et al. 2025, arXiv 2510.03313 (with Q = e^-delta).
    """

    name = "q2"
    template = "E + x(N, D e^(-{c} delta))"
    extra = (DISCOUNT,)
    absorbed = ("c",)

    def formula(self, p, x):
        """E + x(n, d e^(-c delta))."""
        return p.E + self.base.excess(p, x.n, x.d * np.exp(-self.weight(p, "c") * self.divergence(p, x)))


class FloorAndEffectiveData(TeacherLaw):
    """Q1 with Q2: L = E + kappa delta + x(n, d e^(-c delta))."""

    name = "q1q2"
    template = "E + {kappa} delta + x(N, D e^(-{c} delta))"
    extra = (KAPPA, DISCOUNT)

    def formula(self, p, x):
        """E + kappa delta + x(n, d e^(-c delta))."""
        delta = self.divergence(p, x)
        return p.E + self.weight(p, "kappa") * delta + self.base.excess(p, x.n, x.d * np.exp(-p.c * delta))


class SaturatingData(TeacherLaw):
    """Q3: L = E + A/N^alpha + B (D^-omega + D_q^-omega)^(beta/omega), D_q = (B/(kappa delta))^(1/beta) tokens.

    The teacher is worth at most D_q tokens of real text. omega = beta is Q1; omega -> infinity is a hard cap. Only
    on the Chinchilla base.

    **Source:** Dohmatob et al. 2024, arXiv 2402.07043 (the hard cap).
    """

    name = "q3"
    template = "E + A/N^alpha + [(B/D^beta)^m + ({kappa} delta)^m]^(1/m), m = {omega}/beta"
    adds = False
    extra = (
        Coefficient("kappa", log=True, start=(0.2, 2.0)),
        Coefficient("omega", low=0.01, high=50.0, log=True, start=(0.3, 3.0)),
    )

    def __init__(self, base: str = "chinchilla", teachers=(), **values: float):
        _only_chinchilla(self.name, base)
        super().__init__(base, teachers, **values)

    def formula(self, p, x):
        """E + A/n^alpha + soft maximum of B/d^beta and kappa delta with sharpness omega/beta."""
        floor = self.weight(p, "kappa") * self.divergence(p, x)
        return p.E + p.A * x.n**-p.alpha + soft_maximum(p.B * x.d**-p.beta, floor, p.omega / p.beta)


class QualityExponent(TeacherLaw):
    """Q4: L = E + A/N^alpha + B/D^(beta - c delta). Bad text is learned from more slowly. Only on the Chinchilla base.

    **Source:** Goyal et al. 2024, arXiv 2404.07177 (quality as an exponent).
    """

    name = "q4"
    template = "E + A/N^alpha + B/D^(beta - {c} delta)"
    extra = (Coefficient("c", low=0.0, high=20.0, start=(0.0, 0.3)),)
    absorbed = ("c",)

    def __init__(self, base: str = "chinchilla", teachers=(), **values: float):
        _only_chinchilla(self.name, base)
        super().__init__(base, teachers, **values)

    def formula(self, p, x):
        """E + A/n^alpha + B/d^(beta - c delta)."""
        return p.E + p.A * x.n**-p.alpha + p.B * x.d ** (self.weight(p, "c") * self.divergence(p, x) - p.beta)


class Bottleneck(TeacherLaw):
    """Q5: L = E + [x(n, d)^nu + (kappa delta)^nu]^(1/nu). What the teacher omits costs nothing until the student
    gets there.

    nu = 1 is Q1; nu -> infinity is the larger of the two.
    """

    name = "q5"
    template = "E + [x(N, D)^nu + ({kappa} delta)^nu]^(1/nu), nu = {nu}"
    adds = False
    extra = (Coefficient("kappa", log=True, start=(0.3, 1.5)), SHARPNESS)

    def formula(self, p, x):
        """E + soft maximum of x(n, d) and kappa delta."""
        floor = self.weight(p, "kappa") * self.divergence(p, x)
        return p.E + soft_maximum(self.base.excess(p, x.n, x.d), floor, p.nu)


class Composite(TeacherLaw):
    """Q7: L = E + kappa delta_noise + [x(n, d e^(-c delta_noise))^nu + delta_coverage^nu]^(1/nu).

    Noise adds and costs data; missing coverage is a bottleneck. Contains Q0, Q1, Q2 and Q5. Needs measured divergences.
    """

    name = "q7"
    template = "E + {kappa} delta_noise + [x(N, D e^(-{c} delta_noise))^nu + delta_coverage^nu]^(1/nu), nu = {nu}"
    adds = False
    extra = (KAPPA, DISCOUNT, SHARPNESS)

    def __init__(self, base: str = "chinchilla", teachers=(), **values: float):
        if teachers:
            raise SpecError(
                "law 'q7' tells coverage from noise, so it needs both divergences of every teacher: "
                "free ones are not identified"
            )
        super().__init__(base, (), **values)

    def formula(self, p, x):
        """E + kappa delta_noise + soft maximum of x(n, d e^(-c delta_noise)) and delta_coverage."""
        excess = self.base.excess(p, x.n, x.d * np.exp(-p.c * x.delta_noise))
        return p.E + p.kappa * x.delta_noise + soft_maximum(excess, x.delta_coverage, p.nu)


class Mixture(TeacherLaw):
    """Real and synthetic text mixed by document: L = E + x(n, d) + kappa delta + harmonic(u, v), where
    u = kappa [(1 - rho) delta_w - delta] and v = B/(rho D)^beta.

    `real_share` rho is the fraction of real documents. Two divergences of a mixture count: delta_w of the teacher
    inside it (`generator_delta_coverage` + `generator_delta_noise`), and delta of the mixed text itself
    (`delta_coverage` + `delta_noise`). A student that cannot yet tell who writes loses (1 - rho) delta_w, a plateau;
    once its rho D real tokens teach more than that, a second descent follows, to the floor delta that even a reader who
    weighs both writers by all it has read cannot pass. In documents of T tokens delta is at most ln(1/rho)/T, so any
    share of real text removes the floor where documents are long. rho = 1 is Q0; rho = 0, where both divergences are
    one, is Q1. The harmonic sum 1/(1/u + 1/v) is the smooth smaller one. Writers that are told apart by a source token
    leave no plateau: their runs are not of this law.

    **Source:** the limits from Dohmatob et al. 2024, arXiv 2402.07043, theorem 3.2; the join between them, and the
    floor of documents of finite length, are this project's.
    """

    name = "mixture"
    template = (
        "E + x(N, D) + {kappa} delta + 1/(1/({kappa} [(1 - rho) delta_w - delta]) + (rho D)^beta/B), "
        "delta_w of the teacher inside"
    )
    adds = False
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

    def __init__(self, base: str = "chinchilla", teachers=(), **values: float):
        _only_chinchilla(self.name, base)
        if teachers:
            raise SpecError(
                "law 'mixture' needs measured divergences, of the mixed text and of the teacher inside it: give "
                "delta_coverage, delta_noise, generator_delta_coverage and generator_delta_noise"
            )
        super().__init__(base, (), **values)

    def formula(self, p, x):
        """E + x(n, d) + kappa delta + u v/(u + v), u = kappa [(1 - rho) delta_w - delta], v = B/(rho d)^beta."""
        floor = self.divergence(p, x)
        unaware = (1 - x.real_share) * (x.generator_delta_coverage + x.generator_delta_noise)
        plateau = p.kappa * (np.maximum(unaware - floor, 0.0) + TINY)
        real = np.where(x.real_share > 0, x.real_share, 1e-300) * np.where(x.real_share > 0, x.d, 1.0)
        return p.E + self.base.excess(p, x.n, x.d) + p.kappa * floor + 1.0 / (1.0 / plateau + real**p.beta / p.B)


class SeparateTeachers(ScalingLaw):
    """QM: each teacher its own E, A and B, exponents shared: the saturated reference that no form can beat in fit.

    Args:
        teachers: every label, real text included.
    """

    name = "qm"
    template = "E_q + A_q/N^alpha + B_q/D^beta for each teacher q"
    columns = ("n", "d", "teacher")

    def __init__(self, teachers: tuple[str, ...] | list[str] = ("real",), **values: float):
        object.__setattr__(self, "teachers", tuple(teachers))
        own = [
            make(f"{letter}[{q}]")
            for q in teachers
            for letter, make in (("E", floor_coefficient), ("A", amplitude), ("B", amplitude))
        ]
        object.__setattr__(self, "coefficients", (exponent("alpha"), exponent("beta"), *own))
        super().__init__(**values)

    def structure(self) -> dict[str, Any]:
        """All teachers."""
        return {"teachers": list(self.teachers)}

    def formula(self, p, x):
        """E_q + A_q/n^alpha + B_q/d^beta."""
        size, data = x.n**-p.alpha, x.d**-p.beta
        total = 0.0
        for code, q in enumerate(self.teachers):
            one = getattr(p, f"E[{q}]") + getattr(p, f"A[{q}]") * size + getattr(p, f"B[{q}]") * data
            total = total + one * (x.teacher == code).astype(float)
        return total


def _only_chinchilla(name: str, base: str) -> None:
    if base != Chinchilla.name:
        raise SpecError(
            f"law {name!r} changes the data term B/D^beta itself, so it stands on 'chinchilla' alone, got base {base!r}"
        )


QUALITY_LAWS: dict[str, type[ScalingLaw]] = {
    law.name: law
    for law in (
        NoQuality,
        AdditiveFloor,
        EffectiveData,
        FloorAndEffectiveData,
        SaturatingData,
        QualityExponent,
        Bottleneck,
        Composite,
        Mixture,
        SeparateTeachers,
        Busbridge,
    )
}
