"""Loss as a function of model size and data: the laws E + x(N, D) that others can stand on.

Symbols: `n` model size (parameters, in the convention that the fit names), `d` tokens seen; E is the irreducible loss
and A, B, alpha, beta the amplitudes and exponents of the two finite-size terms.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scaling.laws.law import AdditiveLaw, Coefficient, amplitude, exponent, floor_coefficient
from scaling.laws.text import let


class Chinchilla(AdditiveLaw):
    """L = E + A/N^alpha + B/D^beta.

    **Source:** Hoffmann et al. 2022, arXiv 2203.15556, eq. 2.
    """

    name = "chinchilla"
    title = "Chinchilla"
    source = "Hoffmann et al. 2022, arXiv 2203.15556"
    coefficients = (floor_coefficient(), amplitude("A"), amplitude("B"), exponent("alpha"), exponent("beta"))

    def excess(self, p, n, d):
        """One power of size, one of data."""
        return p.A * n**-p.alpha + p.B * d**-p.beta


class Tied(AdditiveLaw):
    """L = E + A/N^alpha + B/D^alpha: one exponent for both terms.

    **Source:** Gadre et al. 2024, arXiv 2403.08540; Muennighoff et al. 2023, arXiv 2305.16264.
    """

    name = "tied"
    title = "Chinchilla with one exponent"
    source = "Gadre et al. 2024, arXiv 2403.08540"
    coefficients = (floor_coefficient(), amplitude("A"), amplitude("B"), exponent("alpha"))

    def excess(self, p, n, d):
        """Two powers with the same exponent."""
        return p.A * n**-p.alpha + p.B * d**-p.alpha


class Skaling(AdditiveLaw):
    """L = E + A (N^-alpha + R D^-beta)^k: the two terms interact when k differs from 1.

    **Source:** Skaling 2026, arXiv 2608.07222; with A^(1/k) drawn inside it is the supervised law of Busbridge et
    al. 2025, arXiv 2502.08606.
    """

    name = "skaling"
    title = "Skaling"
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
        """A power of a sum of powers."""
        return p.A * (n**-p.alpha + p.R * d**-p.beta) ** p.k

    def seed(self, start, amplitudes):
        """Far from the crossing either law is a plain power, so alpha k and beta k play the additive exponents."""
        powers = {name: start[name] / start["k"] for name in ("alpha", "beta") if name in start}
        ratio = (amplitudes["B"] / amplitudes["A"]) ** (1 / start["k"])
        return start | powers | {"E": amplitudes["E"], "A": amplitudes["A"], "R": ratio}


class TiedSkaling(AdditiveLaw):
    """L = E + A (N^-alpha + R D^-alpha)^k: interacting terms with one exponent.

    **Source:** Skaling 2026, arXiv 2608.07222, with beta = alpha.
    """

    name = "tied-skaling"
    title = "Skaling with one exponent"
    source = "Skaling 2026, arXiv 2608.07222"
    is_linear = False
    coefficients = tuple(c for c in Skaling.coefficients if c.name != "beta")
    seed = Skaling.seed

    def excess(self, p, n, d):
        """A power of a sum of powers with the same exponent."""
        return p.A * (n**-p.alpha + p.R * d**-p.alpha) ** p.k


class Bounded(AdditiveLaw):
    """L = E + (L0 - E) h/(1 + h), h = A/N^alpha + B/D^beta: cannot exceed the loss of a uniform guess.

    **Source:** arXiv 2605.09189 (without its overfitting term c N^gamma/D^delta).

    Args:
        ceiling: L0, the loss of an untrained model: ln(vocabulary size) in nats/token.
    """

    name = "bounded"
    title = "Chinchilla below the uniform guess"
    source = "arXiv 2605.09189"
    is_linear = False
    coefficients = (
        floor_coefficient(),
        Coefficient("A", log=True),
        Coefficient("B", log=True),
        exponent("alpha"),
        exponent("beta"),
    )
    ceiling: float

    def __init__(self, ceiling: float = math.log(50257), **values: float):
        object.__setattr__(self, "ceiling", float(ceiling))
        super().__init__(**values)

    def structure(self) -> dict[str, Any]:
        """The ceiling L0."""
        return {"ceiling": self.ceiling}

    def excess(self, p, n, d):
        """The additive excess h, saturating at the distance from the floor to the ceiling."""
        h = let("h", p.A * n**-p.alpha + p.B * d**-p.beta)
        return (self.ceiling - p.E) * h / (1 + h)

    def seed(self, start, amplitudes):
        """Near the floor h is the additive excess in units of L0 - E."""
        room = np.maximum(self.ceiling - amplitudes["E"], 0.1)
        return start | amplitudes | {"A": amplitudes["A"] / room, "B": amplitudes["B"] / room}
