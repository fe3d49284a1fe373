"""DistilBERT's recipe: start from every k-th layer of the teacher, and learn from it in three ways at once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.spec import layer_step
from scaling.train.distill.features import features
from scaling.train.distill.recipe import RECIPES, Losses, Moment, NetworkRecipe
from scaling.train.distill.soft import distribution_loss
from scaling.train.objective import token_loss
from scaling.train.student.model import Student, from_tensors, to_tensors


@RECIPES.register("distilbert")
class Distilbert(NetworkRecipe):
    """``5·τ²·CE(q_τ, f_τ) + 2·CE(x, f) + (1 − cos(h_S, h_T))``; h is the residual stream after the last layer.

    CE(q, f) and KL(q‖f) differ by what no student can change. Source in ``DistilbertDistill``.
    """

    def start(self, student: Student) -> Student:
        """The teacher's tables, and its layers 0, k, 2k, …

        What a layer writes to the residual stream is not made larger where fewer write: the published recipe copies.
        """
        every = layer_step(self.spec.kind, student.model, self.teacher.model)
        kept = {}
        for name, tensor in to_tensors(self.teacher).items():
            block, _, rest = name.removeprefix("blk.").partition(".")
            if not name.startswith("blk."):
                kept[name] = tensor
            elif int(block) % every == 0:
                kept[f"blk.{int(block) // every}.{rest}"] = tensor
        return from_tensors(student.model, kept)

    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        own, taught = features(student, inputs_BT), jax.lax.stop_gradient(features(self.teacher, inputs_BT))
        loss = token_loss(own.logits_BTV, targets_BT)
        told = distribution_loss(taught.logits_BTV, own.logits_BTV, self.spec.temperature)
        aim = self.spec.soft_weight * told + self.spec.token_weight * loss
        aim += self.spec.cosine_weight * jnp.mean(1 - cosine(own.hidden_BTM[-1], taught.hidden_BTM[-1]))
        return Losses(aim, loss, own.logits_BTV)


def cosine(one_BTM: jax.Array, other_BTM: jax.Array) -> jax.Array:
    """Of the angle between two vectors at each position: float32[B, T]."""
    norms = jnp.linalg.norm(one_BTM, axis=-1) * jnp.linalg.norm(other_BTM, axis=-1)
    return jnp.sum(one_BTM * other_BTM, axis=-1) / norms
