"""TinyBERT's recipe: what lies below the logits first, layer by layer, then the distribution of the next token."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.spec import layer_step
from scaling.train.distill.features import Features, causal_mean, features, relative_error
from scaling.train.distill.recipe import RECIPES, Adapters, Losses, Moment, NetworkRecipe
from scaling.train.distill.soft import distribution_loss
from scaling.train.objective import token_loss
from scaling.train.student.model import Student


@RECIPES.register("tinybert")
class Tinybert(NetworkRecipe):
    """``L_embd + Σ_m (L_hidn + L_attn)`` up to the first stage's tokens, ``τ²·CE(q_τ, f_τ)`` from then on.

    ``L_hidn = MSE(H_S·W, H_T)`` and ``L_embd`` likewise, each over the mean square of what is wanted (a decoder's
    residual stream grows from layer to layer, and the sum would be its last layer's); ``L_attn`` is the MSE of the
    attention scores of each head before softmax, over the pairs that a causal model sees. W are learned, and thrown
    away. Equations 6 – 11 of the source in ``TinybertDistill``.
    """

    def adapters(self, student: Student, key: jax.Array) -> Adapters:
        """``W``: float32[M_S, M_T] of the embedding and of each of the student's layers."""
        shape = (student.model.width, self.teacher.model.width)
        names = ["embedding", *(f"hidden_{i}" for i in range(student.model.n_layers))]
        keys = jax.random.split(key, len(names))
        draw = shape[0] ** -0.5
        return {name: draw * jax.random.normal(one, shape) for name, one in zip(names, keys, strict=True)}

    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        own = features(student, inputs_BT)
        taught = jax.lax.stop_gradient(features(self.teacher, inputs_BT))
        below = self._below(own, taught, moment.adapters, layer_step(self.spec.kind, student.model, self.teacher.model))
        above = distribution_loss(taught.logits_BTV, own.logits_BTV, self.spec.temperature)
        # Steps are compared, as tokens are more than 32 bits can count.
        is_first = moment.step < self.spec.stage_steps(inputs_BT.size)
        return Losses(jnp.where(is_first, below, above), token_loss(own.logits_BTV, targets_BT), own.logits_BTV)

    @staticmethod
    def _below(own: Features, taught: Features, w: Adapters, every: int) -> jax.Array:
        """The first stage: embeddings, then states and scores of each layer against those of its teacher's layer."""
        loss = relative_error(own.embedding_BTM @ w["embedding"], taught.embedding_BTM)
        for i, (hidden_BTM, scores_BHTS) in enumerate(zip(own.hidden_BTM, own.scores_BHTS, strict=True)):
            layer = (i + 1) * every - 1
            loss += relative_error(hidden_BTM @ w[f"hidden_{i}"], taught.hidden_BTM[layer])
            loss += causal_mean((scores_BHTS - taught.scores_BHTS[layer]) ** 2)
        return loss
