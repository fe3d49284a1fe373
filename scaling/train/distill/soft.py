"""Learn the teacher's whole distribution of the next token, asked for in every step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.train.distill.recipe import RECIPES, Losses, Moment, NetworkRecipe
from scaling.train.objective import soft_loss, token_loss
from scaling.train.student.model import Student


@RECIPES.register("soft")
class Soft(NetworkRecipe):
    """``(1 − λ)·CE(x, f) + λ·τ²·CE(q_τ, f_τ)``; source in ``SoftDistill``."""

    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        logits_BTV = student(inputs_BT).astype(jnp.float32)
        loss = token_loss(logits_BTV, targets_BT)
        told = distribution_loss(self.teacher(inputs_BT), logits_BTV, self.spec.temperature)
        return Losses((1 - self.spec.weight) * loss + self.spec.weight * told, loss, logits_BTV)


def distribution_loss(teacher_BTV: jax.Array, logits_BTV: jax.Array, temperature: float) -> jax.Array:
    """``τ²·CE(q_τ, f_τ)``, averaged over the positions; τ² keeps the size of the gradient."""
    told_BTV = jax.nn.softmax(jax.lax.stop_gradient(teacher_BTV) / temperature)
    return temperature**2 * jnp.mean(soft_loss(logits_BTV / temperature, told_BTV, None))
