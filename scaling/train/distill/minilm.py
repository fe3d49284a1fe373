"""MiniLM's recipe: how the tokens of the last layer relate, whatever the depth and width of the student."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from scaling.train.distill.features import features, relation_loss
from scaling.train.distill.recipe import RECIPES, Losses, Moment, NetworkRecipe
from scaling.train.distill.soft import distribution_loss
from scaling.train.objective import token_loss
from scaling.train.student.model import Student


@RECIPES.register("minilm")
class Minilm(NetworkRecipe):
    """``τ²·CE(q_τ, f_τ) + w·(KL(A_T‖A_S) + KL(VR_T‖VR_S))``, A and VR of the last layers.

    Source in ``MinilmDistill``.
    """

    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        own, taught = features(student, inputs_BT), jax.lax.stop_gradient(features(self.teacher, inputs_BT))
        attention = relation_loss(taught.scores_BHTS[-1], own.scores_BHTS[-1])
        values = relation_loss(value_relations(taught.values_BJTK[-1]), value_relations(own.values_BJTK[-1]))
        told = distribution_loss(taught.logits_BTV, own.logits_BTV, self.spec.temperature)
        aim = told + self.spec.relation_weight * (attention + values)
        return Losses(aim, token_loss(own.logits_BTV, targets_BT), own.logits_BTV)


def value_relations(values_BJTK: jax.Array) -> jax.Array:
    """``V·Vᵀ/√K``, float32[B, J, T, T], before its softmax."""
    products = jnp.einsum("bjtk,bjsk->bjts", values_BJTK, values_BJTK)
    return products / math.sqrt(values_BJTK.shape[-1])
