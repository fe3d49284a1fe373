"""What generates stored text: blocks of independent sequences, each a function of seed, split and number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from scaling.data.shards import Card
from scaling.data.text import Split
from scaling.errors import DataError
from scaling.spec import SoftTargets

PURPOSES: dict[str, int] = {"train": 0, "held_out": 1, "targets": 2}
"""What random numbers are for."""


class BlockGenerator(ABC):
    """A teacher at work."""

    rows: int
    """Sequences of one block."""
    context: int
    """Tokens of one sequence."""

    @property
    def loss(self) -> float | None:
        """Loss on the real text that the run is measured on, nats/token; None where nobody can tell."""
        return None

    @property
    def at_once(self) -> int:
        """Blocks that this machine makes faster together than one after the other: the same draws, up to rounding."""
        return 1

    @abstractmethod
    def block(self, seed: int, split: Split, number: int) -> np.ndarray:
        """One block of text: int32[rows, context]."""

    def blocks(self, seed: int, split: Split, numbers: Sequence[int]) -> Iterable[np.ndarray]:
        """Several blocks, in order."""
        return (self.block(seed, split, number) for number in numbers)

    @abstractmethod
    def card(self, split: Split) -> Card:
        """What is known of the text before it is generated."""

    def soft_targets(self, sequences: np.ndarray, targets: SoftTargets, seed: int, number: int) -> np.ndarray:
        """What the teacher's distribution says at each position of a block of its own: record[rows, context].

        Raises:
            DataError: if nobody can ask for its distribution.
        """
        raise DataError(f"this teacher tells no {targets.kind} targets; leave out data.targets")
