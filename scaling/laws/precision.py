"""Loss at low precision: weights rounded after training, and arithmetic in few bits during it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from scaling.laws.law import EXPONENT_MAX, Coefficient, ScalingLaw, exponent
from scaling.laws.on_base import OnBase
from scaling.laws.size_and_data import Chinchilla
from scaling.laws.text import let

KUMAR = "Kumar et al. 2024, arXiv 2411.04330"
DAMAGE_COEFFICIENTS = (
    Coefficient("C_T", log=True, start=(1e-3, 10.0)),
    exponent("gamma_D"),
    exponent("gamma_N"),
    Coefficient("gamma_post", low=0.02, high=20.0, log=True, unit="bits", start=(0.3, 2.0)),
)


def rounding_damage(p: SimpleNamespace, x: SimpleNamespace) -> Any:
    """C_T D^gamma_D N^-gamma_N e^(-P/gamma_post), nats/token: the more tokens a model has seen for its size, the more
    it has to lose.
    """
    return p.C_T * x.d**p.gamma_D * x.n**-p.gamma_N * np.exp(-x.bits / p.gamma_post)


class Quantized(OnBase):
    """L = E + x(N, D) + C_T D^gamma_D N^-gamma_N e^(-P/gamma_post): weights rounded to P bits after training.

    **Source:** Kumar et al. 2024, arXiv 2411.04330, eq. 3.
    """

    name = "quantized"
    title = "weights rounded after training"
    adds = False
    columns = ("n", "d", "bits")
    source = KUMAR
    extra = DAMAGE_COEFFICIENTS

    def formula(self, p, x):
        """The base law and the damage."""
        return self.on(p, x.n, x.d) + rounding_damage(p, x)


class KumarDamage(ScalingLaw):
    """Loss added by rounding to P bits: L = C_T D^gamma_D N^-gamma_N e^(-P/gamma_post).

    **Source:** Kumar et al. 2024, arXiv 2411.04330, eq. 3.
    """

    name = "damage-kumar"
    title = "loss added by rounding, Kumar"
    columns = ("n", "d", "bits")
    is_added = True
    source = KUMAR
    coefficients = DAMAGE_COEFFICIENTS

    def formula(self, p, x):
        """The damage alone."""
        return rounding_damage(p, x)


class OuyangDamage(ScalingLaw):
    """Loss added by rounding to P bits: L = k D^b/(N^a P^g).

    **Source:** Ouyang et al. 2024, arXiv 2411.17691.
    """

    name = "damage-ouyang"
    title = "loss added by rounding, Ouyang"
    columns = ("n", "d", "bits")
    is_added = True
    source = "Ouyang et al. 2024, arXiv 2411.17691"
    coefficients = (
        Coefficient("k", log=True, start=(1e-3, 10.0)),
        exponent("b"),
        exponent("a"),
        exponent("g", (1.0, 8.0)),
    )

    def formula(self, p, x):
        """A product of powers."""
        return p.k * x.d**p.b * x.n**-p.a * x.bits**-p.g


class RoundingNoise(ScalingLaw):
    """Loss added by rounding to P bits: L = k D^b/(N^a (2^P - 1)^2).

    Rounding adds noise of variance s^2/12 to a weight, with steps s of 1/(2^P - 1) of the range of a block; near a
    minimum the loss grows with that variance. What N and D leave to be measured is how sharp the minimum is. Unlike
    in the published forms b may be negative.

    **Source:** this project, analysis/LOG.md of 2026-11-26; the variance: Bennett 1948, Bell System Technical Journal
    27, 446.
    """

    name = "damage-noise"
    title = "loss added by rounding, as noise"
    columns = ("n", "d", "bits")
    is_added = True
    source = "this project, results/reference/damage.csv"
    coefficients = (
        Coefficient("k", log=True, start=(1.0, 1e5)),
        Coefficient("b", low=-EXPONENT_MAX, high=EXPONENT_MAX, start=(-0.5, 0.5)),
        exponent("a"),
    )

    def formula(self, p, x):
        """Variance of the rounding, times how sharply the loss curves."""
        return p.k * x.d**p.b * x.n**-p.a * (2.0**x.bits - 1) ** -2


class LowPrecision(ScalingLaw):
    """L = E + A/N_eff^alpha + B/D^beta + C_T D^gamma_D N^-gamma_N e^(-P/gamma_post), where
    N_eff = N (1 - e^(-P_w/g_w)) (1 - e^(-P_a/g_a)) (1 - e^(-P_kv/g_kv)) for the bits of weights, activations and
    key-value cache.

    Precision during training costs parameters; rounding after it costs the damage of `KumarDamage`. Infinite bits
    are exact arithmetic.

    **Source:** Kumar et al. 2024, arXiv 2411.04330, eq. 2 and 9.
    """

    name = "precision"
    title = "training at low precision"
    columns = ("n", "d", "bits_weights", "bits_activations", "bits_cache", "bits")
    source = KUMAR
    is_linear = False
    coefficients = (
        *Chinchilla.coefficients,
        *(Coefficient(name, low=1e-3, log=True, unit="bits", start=(0.5, 5.0)) for name in ("g_w", "g_a", "g_kv")),
        *DAMAGE_COEFFICIENTS,
    )

    def formula(self, p, x):
        """Chinchilla in the effective size, and the damage."""
        parts = ((x.bits_weights, p.g_w), (x.bits_activations, p.g_a), (x.bits_cache, p.g_kv))
        weights, activations, cache = (-np.expm1(-bits / scale) for bits, scale in parts)
        effective = let("N_eff", x.n * weights * activations * cache)
        return p.E + p.A * effective**-p.alpha + p.B * x.d**-p.beta + rounding_damage(p, x)
