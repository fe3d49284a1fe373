"""Loss as a function of model size and data, a term each: the laws E + x(N, D) that others can stand on.

Laws whose terms depend on both at once are in `coupled`.

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

    def powers(self, p):
        """One exponent for both."""
        return p.A, p.alpha, p.B, p.alpha


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
