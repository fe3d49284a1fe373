"""Conditions over cells that may be missing: true, false or unknown (Kleene 1938), of which only true keeps a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Truth:
    """What is known of a condition; it is unknown where it is possibly but not surely true.

    Attributes:
        surely, possibly: bool[...].
    """

    surely: Array
    possibly: Array

    @classmethod
    def of(cls, holds: Array, known: Array | bool = True) -> Truth:
        """A condition that holds or not where it is known."""
        return cls(np.asarray(holds & known), np.asarray(holds | np.logical_not(known)))

    def where(self, known: Array) -> Truth:
        """The same where it is known, and unknown elsewhere."""
        return Truth(self.surely & known, self.possibly | ~known)

    def __invert__(self) -> Truth:
        return Truth(~self.possibly, ~self.surely)

    def __and__(self, other: Truth) -> Truth:
        return Truth(self.surely & other.surely, self.possibly & other.possibly)

    def __or__(self, other: Truth) -> Truth:
        return Truth(self.surely | other.surely, self.possibly | other.possibly)

    @property
    def numbers(self) -> Array:
        """1, 0, and NaN where it is unknown: float64[...]."""
        return np.where(self.surely == self.possibly, self.surely.astype(float), np.nan)


def all_of(parts: list[Truth]) -> Truth:
    """True where every part is."""
    return reduce(Truth.__and__, parts)


def any_of(parts: list[Truth]) -> Truth:
    """True where some part is."""
    return reduce(Truth.__or__, parts)
