"""Laws E + x(N, D) in which size and data do not act apart: what data are worth depends on the size of the model."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import AdditiveLaw, Coefficient, exponent, floor_coefficient, no_closed_form
from scaling.laws.size_and_data import Chinchilla
from scaling.laws.text import let

REFERENCE_SIZE = 1e8
"""Parameters at which the coefficients of Farseer's data term are given; any other choice is the same law."""
LARGEST_SIZE = 1e15
"""Parameters beyond which the data term no longer changes, so that an infinite model has a limit."""


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

    def powers(self, p):
        """The sum inside the bracket."""
        return 1.0, p.alpha, p.R, p.beta

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

    def powers(self, p):
        """The sum inside the bracket."""
        return 1.0, p.alpha, p.R, p.alpha

    def excess(self, p, n, d):
        """A power of a sum of powers with the same exponent."""
        return p.A * (n**-p.alpha + p.R * d**-p.alpha) ** p.k


class Product(AdditiveLaw):
    """L = E + A/N^alpha + B/D^beta + C/(N^alpha D^beta): Chinchilla with the product of both terms, of either sign.

    The same as E' + (a + A'/N^alpha) (b + B'/D^beta). C = 0 is Chinchilla; where C > 0 data matter more to small
    models, where C < 0 to large ones.

    **Source:** the multiplicative form of the package simple-scaling-laws, with separate amplitudes.
    """

    name = "product"
    title = "Chinchilla with a product term"
    coefficients = (
        *Chinchilla.coefficients,
        Coefficient("C", low=-np.inf, linear=True),
    )

    def excess(self, p, n, d):
        """Two powers and their product."""
        size, data = n**-p.alpha, d**-p.beta
        return p.A * size + p.B * data + p.C * size * data

    def powers(self, p):
        """The product moves the compute-optimal size away from a power."""
        raise no_closed_form(self)


class Farseer(AdditiveLaw):
    """L = E + A/N^alpha + B m^zeta D^-(beta m^-eta), m = N/1e8: amplitude and exponent of the data term move with size.

    The published form, exp(a3 N^g + b3) + exp(a2 N^b + b2) D^(-exp(a1 N^a + b1)), has nine coefficients, which the
    public run tables do not determine: starts end in different places, and forecasts go astray. Its powers a and b
    are near zero as published, where exp(a1 N^a + b1) becomes the power beta m^-eta; its first term is a power above a
    floor here. beta is the exponent of data at 100M parameters; zeta = eta = 0 is Chinchilla. An infinite model is one
    of 1e15 parameters to the data term.

    **Source:** Farseer 2025, arXiv 2506.10972; the limit of small a and b, and the floor, are this project's.
    """

    name = "farseer"
    title = "Farseer"
    source = "Farseer 2025, arXiv 2506.10972"
    coefficients = (
        *Chinchilla.coefficients,
        Coefficient("zeta", low=-5.0, high=5.0, start=(-0.5, 0.5)),
        Coefficient("eta", low=-1.0, high=1.0, start=(-0.1, 0.1)),
    )

    def excess(self, p, n, d):
        """A power of size, and a power of data whose exponent is a power of size."""
        m = let("m", np.fmin(n, LARGEST_SIZE) / REFERENCE_SIZE)
        return p.A * n**-p.alpha + p.B * m**p.zeta * d ** -(p.beta * m**-p.eta)

    def powers(self, p):
        """The exponents move with size."""
        raise no_closed_form(self)
