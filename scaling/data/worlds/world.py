"""What a world is: text of known entropy, as it is and as teachers tell it. Each has a file here, found by its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from scaling.data.worlds.generator import Generator
from scaling.data.worlds.mixture import MixtureGenerator
from scaling.errors import DataError
from scaling.registry import Registry
from scaling.spec import RealTeacher, Teacher


class World(ABC):
    """A made language whose entropy is known exactly."""

    @property
    @abstractmethod
    def entropy(self) -> float:
        """Nats per scored token."""

    @abstractmethod
    def generator(self, teacher: Teacher) -> Generator:
        """Who generates text as a teacher tells it; :class:`RealTeacher` is the world itself.

        Raises:
            DataError: if this world has no such teacher.
        """

    @abstractmethod
    def backoff_probs(self, sequences: np.ndarray) -> np.ndarray:
        """Distribution of every token for who has not learned what decides it: int[n, T] to float64[n, T, V]."""

    def mixture(self, teacher: Generator, share: float) -> MixtureGenerator:
        """A share of real sequences among a teacher's."""
        return MixtureGenerator(self.generator(RealTeacher()), teacher, share)


WORLDS: Registry[Callable[[Any], World]] = Registry(
    "world", package="scaling.data.worlds", group="scaling.worlds", error=DataError
)
"""What opens the world of a source of each kind."""


def no_generator(source: str, teacher: Teacher) -> DataError:
    """What a world says of a teacher that it does not have."""
    return DataError(
        f"{source} has no generator of a {teacher.kind} teacher; a student of it, or a model of text, is opened "
        "with its weights (scaling/teach/)"
    )
