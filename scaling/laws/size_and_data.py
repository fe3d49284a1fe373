"""Loss as a function of model size and data: one small class a law.

Symbols: `n` model size (parameters, in the convention that the fit names), `d` tokens seen, `c` training compute
(FLOPs); E is the irreducible loss and A, B, alpha, beta the amplitudes and exponents of the two finite-size terms.
"""

from __future__ import annotations

import math

import numpy as np

from scaling.errors import SpecError
from scaling.laws.law import (
    AdditiveLaw,
    Coefficient,
    ScalingLaw,
    amplitude,
    exponent,
    floor_coefficient,
)
from scaling.registry import did_you_mean


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

    **Source:** Skaling 2026, arXiv 2608.07222; with A^(1/k) drawn inside it is the supervised law of Busbridge et
    al. 2025, arXiv 2502.08606.
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
        return start | {
            "E": amplitudes["E"],
            "A": amplitudes["A"],
            "R": ratio,
            "alpha": start["alpha"] / k,
            "beta": start["beta"] / k,
        }


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
    coefficients = (
        Coefficient("N_c", unit="parameters", log=True, start=(1e8, 1e16)),
        exponent("alpha_N", (0.02, 0.5)),
    )

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
    law.name: law
    for law in (Chinchilla, Tied, Skaling, TiedSkaling, Bounded, KaplanN, KaplanD, KaplanC, KaplanND, PowerLaw)
}


def base_law(name: str) -> ScalingLaw:
    """The form called `name`, without numbers.

    Raises:
        SpecError: no law has that name; says which do.
    """
    if name not in BASE_LAWS:
        raise SpecError(f"unknown law {name!r}: choose from {', '.join(BASE_LAWS)}{did_you_mean(name, BASE_LAWS)}")
    return BASE_LAWS[name]()
