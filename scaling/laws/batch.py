"""Batch size and step count: the critical batch, and what a run would have cost at other batch sizes.

Training to a given loss takes S steps and E = B S examples. Between the fewest steps S_min (huge batches) and the
fewest examples E_min (tiny batches) lies (S/S_min - 1)(E/E_min - 1) = 1; the critical batch B_crit = E_min/S_min
depends on the loss alone.

**Source:** McCandlish et al. 2018, arXiv 1812.06162; Kaplan et al. 2020, arXiv 2001.08361, section 5.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scaling.errors import SpecError

Array = np.ndarray


@dataclass(frozen=True)
class CriticalBatch:
    """B_crit(L) = B_star / (L - E)^(1/alpha_B), in tokens.

    Attributes:
        B_star: tokens at a loss of one nat/token above E.
        alpha_B: exponent.
        E: entropy of the text, nats/token; 0 is the law as published. Without it the critical batch stays finite at
            a loss that nobody can reach.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.4.
    """

    B_star: float
    alpha_B: float
    E: float = 0.0
    columns: ClassVar[tuple[str, ...]] = ("loss",)

    def __post_init__(self):
        if not (self.B_star > 0 and self.alpha_B > 0):
            raise SpecError(
                f"a critical batch needs B_star > 0 and alpha_B > 0: got {self.B_star:g} and {self.alpha_B:g}"
            )

    def tokens(self, loss: Array) -> Array:
        """Critical batch at a loss: float64[...], tokens."""
        excess = np.asarray(loss, float) - self.E
        if np.any(excess <= 0):
            raise SpecError(f"a loss of {np.min(loss):g} is at or below the entropy {self.E:g}: give losses above it")
        return self.B_star * excess ** (-1 / self.alpha_B)

    def s_min(self, steps: Array, *, batch_tokens: Array, loss: Array) -> Array:
        """Fewest steps to the same loss: S_min = S/(1 + B_crit/B)."""
        return np.asarray(steps, float) / (1 + self.tokens(loss) / np.asarray(batch_tokens, float))

    def e_min(self, tokens: Array, *, batch_tokens: Array, loss: Array) -> Array:
        """Fewest tokens to the same loss: E_min = E/(1 + B/B_crit); of FLOPs, which go with the tokens, the least."""
        return np.asarray(tokens, float) / (1 + np.asarray(batch_tokens, float) / self.tokens(loss))

    def __repr__(self) -> str:
        excess = f"(L - {self.E:.4g})" if self.E else "L"
        return f"CriticalBatch: B_crit = {self.B_star:.4g} tokens / {excess}^{1 / self.alpha_B:.4g}"
