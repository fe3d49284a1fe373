"""What a recipe is, and how one is found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax

from scaling.errors import TrainError
from scaling.registry import Registry
from scaling.spec import DistillSpec, Targets
from scaling.train.student.model import Student

Adapters = dict[str, Any]
"""What a recipe learns beside the student and throws away with the optimizer: arrays by name."""

ADAPTERS = "adapters"
"""Where they lie among a step's parameters."""


class Losses(NamedTuple):
    """What a recipe computes of a batch.

    Attributes:
        aim: float32 scalar, what is minimised.
        loss: float32 scalar, the loss on the tokens alone, nats/token: what is logged, whatever the recipe.
        logits_BTV: float32[B, T, V], of the student.
    """

    aim: jax.Array
    loss: jax.Array
    logits_BTV: jax.Array


class Moment(NamedTuple):
    """What else a step knows.

    Attributes:
        step: int32 scalar, steps taken before.
        adapters: Of `Recipe.adapters`.
        key: uint32[2] of the run, the same in all of its steps; None where nothing is drawn, and where the gradient's
            noise is probed.
    """

    step: jax.Array | int
    adapters: Adapters
    key: jax.Array | None = None

    def keys(self, count: int) -> jax.Array:
        """Keys of this step of this run, one a draw: no two draws may share one."""
        key = jax.random.key(0) if self.key is None else jax.random.wrap_key_data(self.key)
        return jax.random.split(jax.random.fold_in(key, self.step), count)


class Recipe(ABC):
    """How a student learns. One class a ``kind`` of DistillSpec.

    Args:
        spec: Its settings.
        targets: What is told beside the tokens.
        teacher: The network of who wrote the text, where the recipe looks into it.
    """

    draws: ClassVar[bool] = False
    """True where a step draws at random; the run's state then holds a key."""

    def __init__(self, spec: Any, targets: Targets, teacher: Student | None = None):
        self.spec, self.targets = spec, targets

    @abstractmethod
    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        """The losses of a batch.

        Args:
            student: With the parameters of the moment.
            inputs_BT: int32[B, T].
            targets_BT: int32[B, T], or for soft targets a dict of ``token``: int32[B, T], ``weights``:
                float32[B, T, k], and ``ids``: int32[B, T, k] where the weights are not of the whole vocabulary.
            moment: What else is known.
        """

    def start(self, student: Student) -> Student:
        """Who begins to learn, given a student of random weights."""
        return student

    def adapters(self, student: Student, key: jax.Array) -> Adapters:
        """First values of what is learned beside the student."""
        return {}


class NetworkRecipe(Recipe):
    """A recipe that looks into the network of the teacher; no gradient reaches it.

    Raises:
        TrainError: there is no network.
    """

    def __init__(self, spec: Any, targets: Targets, teacher: Student | None = None):
        super().__init__(spec, targets)
        if teacher is None:
            raise TrainError(f"recipe {spec.kind} needs its teacher's network; train the run with train_trunk")
        self.teacher = teacher


RECIPES: Registry[Callable[[Any, Targets, Student | None], Recipe]] = Registry(
    "distillation recipe", package="scaling.train.distill", group="scaling.recipes", error=TrainError
)
"""By ``kind`` of a DistillSpec."""


def recipe_of(spec: DistillSpec, targets: Targets, teacher: Student | None = None) -> Recipe:
    """The recipe of a run."""
    return RECIPES[spec.kind](spec, targets, teacher)
