"""Learn the tokens that are there."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.train.distill.recipe import RECIPES, Losses, Moment, Recipe
from scaling.train.objective import token_loss
from scaling.train.student.model import Student


@RECIPES.register("sequence")
class Sequence(Recipe):
    """``CE(x, f)``: the student f predicts the next token x of what the teacher wrote."""

    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        logits_BTV = student(inputs_BT).astype(jnp.float32)
        loss = token_loss(logits_BTV, targets_BT)
        return Losses(loss, loss, logits_BTV)
