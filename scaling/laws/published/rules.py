"""Published rules for a setting rather than a loss: optimal size, tokens, batch, learning rate, transferred data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scaling.errors import SpecError

Array = np.ndarray


@dataclass(frozen=True)
class Rule:
    """A published power rule for a setting, y = factor x^power: optimal size, tokens, batch or learning rate from
    compute.

    Attributes:
        gives: what y is, with its unit.
        of: what x is: "c" (FLOPs, or the unit in `per`), "n" or "d".
        factor, power: the rule.
        per: how many FLOPs (or parameters, tokens) one unit of x is.
    """

    gives: str
    of: str
    factor: float
    power: float
    per: float = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column it reads."""
        return (self.of,)

    def value(self, x: Array) -> Array:
        """y at x (in FLOPs, parameters or tokens): float64[...]."""
        return self.factor * (np.asarray(x, float) / self.per) ** self.power

    def loss(self, **columns: Array) -> Array:
        """Refused: a rule gives a setting, not a loss.

        Raises:
            SpecError: always; says what the rule gives.
        """
        raise SpecError(f"this rule gives {self.gives} from {self.of}, not a loss: call .value({self.of})")

    def __repr__(self) -> str:
        unit = f"({self.of.upper()}/{self.per:.4g})" if self.per != 1 else self.of.upper()
        return f"Rule: {self.gives} = {self.factor:.4g} {unit}^{self.power:.4g}"


@dataclass(frozen=True)
class TransferredData:
    """D_T = k D_F^alpha N^beta: characters that pretraining is worth to a model fine-tuned on D_F characters.

    Tokens, where it was fitted in tokens (`scaling.fit.measures.transfer`). It holds while D_F is at most a tenth of
    what the model would need from scratch.

    **Source:** Hernandez et al. 2021, arXiv 2102.01293.
    """

    k: float
    alpha: float
    beta: float
    columns: ClassVar[tuple[str, ...]] = ("n", "finetuning_characters")

    def value(self, n: Array, finetuning_characters: Array) -> Array:
        """Effective characters transferred: float64[...]."""
        characters = np.asarray(finetuning_characters, float)
        return self.k * characters**self.alpha * np.asarray(n, float) ** self.beta

    def loss(self, **columns: Array) -> Array:
        """Refused: it gives data, not a loss.

        Raises:
            SpecError: always.
        """
        raise SpecError("this rule gives transferred characters, not a loss: call .value(n, finetuning_characters)")

    def __repr__(self) -> str:
        return f"TransferredData: D_T = {self.k:.4g} D_F^{self.alpha:.4g} N^{self.beta:.4g}"
