"""What a recipe is, and how one is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from scaling.errors import TrainError
from scaling.registry import Registry
from scaling.spec import DistillSpec, Targets
from scaling.train.model import Student


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


Recipe = Callable[[Student, jax.Array, Any], Losses]
"""``(student, inputs_BT, targets)``: inputs are int32[B, T]; targets are int32[B, T], or for soft targets a dict of
``token``: int32[B, T], ``weights``: float32[B, T, k], and ``ids``: int32[B, T, k] where the weights are not of the
whole vocabulary."""

RECIPES: Registry[Callable[[Any, Any], Recipe]] = Registry(
    "distillation recipe", package="scaling.train.distill", group="scaling.recipes", error=TrainError
)
"""By ``kind`` of a DistillSpec: what makes the recipe of that specification and of a run's targets."""


def recipe_of(spec: DistillSpec, targets: Targets) -> Recipe:
    """The recipe of a run."""
    return RECIPES[spec.kind](spec, targets)
