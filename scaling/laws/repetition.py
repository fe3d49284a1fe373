"""Repeated data: what a token is worth when it is read again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from scaling.laws.law import Coefficient
from scaling.laws.on_base import DEFAULT_BASE, OnBase
from scaling.laws.text import let


class Repeated(OnBase):
    """L = E + x(N', D'): repeated tokens, and parameters that the unique tokens cannot feed, are worth exponentially
    less.

    D' = U (1 + R_D (1 - e^(-r_d/R_D))), r_d = D/U - 1 repetitions of U = min(D, n_unique_tokens);
    N' = U_N (1 + R_N (1 - e^(-r_n/R_N))), r_n = N/U_N - 1, U_N = min(N, the size that is compute-optimal for U tokens).

    **Source:** Muennighoff et al. 2023, arXiv 2305.16264, eq. 5 and 6.
    """

    name = "repeated"
    title = "repeated data"
    adds = False
    columns = ("n", "d", "n_unique_tokens")
    source = "Muennighoff et al. 2023, arXiv 2305.16264"
    extra = (
        Coefficient("R_D", log=True, unit="epochs", start=(1.0, 60.0)),
        Coefficient("R_N", log=True, start=(1.0, 60.0)),
    )

    def __init__(self, base: str = DEFAULT_BASE, **values: float):
        super().__init__(base, **values)
        self.base.powers(SimpleNamespace(**dict.fromkeys(self.base.names, 1.0)))  # a base without them is refused

    def optimal_size(self, p: SimpleNamespace, tokens: Any) -> Any:
        """Compute-optimal N for `tokens`: G (G tokens)^(beta/alpha), G = (alpha A/(beta B))^(1/(alpha + beta))."""
        size, alpha, data, beta = self.base.powers(p)
        g = let("G", (alpha * size / (beta * data)) ** (1 / (alpha + beta)))
        return g * (g * tokens) ** (beta / alpha)

    def formula(self, p, x):
        """The base law at the size and data that repetition leaves."""
        unique = let("U", np.minimum(x.d, x.n_unique_tokens))
        fed = let("U_N", np.minimum(self.optimal_size(p, unique), x.n))
        return self.on(p, let("N'", _worth(x.n, fed, p.R_N)), let("D'", _worth(x.d, unique, p.R_D)))


def _worth(total: Any, fresh: Any, half_life: Any) -> Any:
    """What is worth its full weight once, and exponentially less with every repetition."""
    epochs = np.fmax(total / fresh, 1.0)  # what is unlimited and all fresh is read once: ∞/∞ is no number
    return fresh * (1 - half_life * np.expm1(-(epochs - 1) / half_life))
