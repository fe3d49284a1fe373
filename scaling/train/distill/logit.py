"""Learn the teacher's distribution of the next token beside the token."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.train.distill.recipe import RECIPES, Losses, Moment, Recipe
from scaling.train.objective import soft_loss, token_loss
from scaling.train.student.model import Student


@RECIPES.register("logit")
class Logit(Recipe):
    """``(1 − λ)·CE(x, f) + λ·τ²·CE(q_τ, f_τ)`` with λ = ``targets.weight`` and τ = ``targets.temperature``.

    **Source:** Hinton et al. 2015, arXiv 1503.02531.
    """

    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        targets: Any = self.targets
        logits_BTV = student(inputs_BT).astype(jnp.float32)
        loss = token_loss(logits_BTV, targets_BT["token"])
        soft = jnp.mean(soft_loss(logits_BTV / targets.temperature, targets_BT["weights"], targets_BT.get("ids")))
        aim = (1 - targets.weight) * loss + targets.weight * targets.temperature**2 * soft
        return Losses(aim, loss, logits_BTV)
