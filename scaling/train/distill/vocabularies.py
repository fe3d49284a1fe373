"""A teacher that learns the tokens of its student, for recipes with two vocabularies."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.spec import ModelSpec
from scaling.train.objective import token_loss
from scaling.train.optimizer import rate_factors
from scaling.train.step import Params, params_of, with_params
from scaling.train.student.model import Student


class LearningTeacher:
    """A teacher whose weights go on moving while a student of another width sets the rate.

    What is learned is ``moved`` in ``θ = θ_0 + c·moved``: under Adam a factor of a parameter is a factor of its rate,
    so c brings each tensor from the student's rate to that of a model of its own shape (``rate_factors``).

    Args:
        teacher: With the weights θ_0.
        student: The shape that the rate is meant for.
    """

    def __init__(self, teacher: Student, student: ModelSpec):
        self.model, self.params = teacher.model, params_of(teacher)
        own, others = rate_factors(teacher.model), rate_factors(student)
        # The rate of hidden matrices falls as 1/width.
        self._rates = {name: student.width / teacher.model.width * own[name] / others[name] for name in own}

    def unmoved(self) -> Params:
        """``moved`` to begin with: zeros, in the shape of the parameters."""
        return jax.tree.map(jnp.zeros_like, self.params)

    def at(self, moved: Params) -> Params:
        """The parameters of the moment."""
        return jax.tree_util.tree_map_with_path(self._moved, self.params, moved)

    def _moved(self, path: Any, value: jax.Array, moved: jax.Array) -> jax.Array:
        name = next(part.key for part in reversed(path) if getattr(part, "key", None) in self._rates)
        return value + self._rates[name] * moved

    def mixed_loss(self, params: Params, table_VM: jax.Array, mixed_BT: jax.Array, bos: int) -> jax.Array:
        """Loss on text of both vocabularies.

        Args:
            params: Of the teacher.
            table_VM: Its rows for the student's tokens, float32[V_S, M_T].
            mixed_BT: int32[B, T]; the student's tokens are counted on from the teacher's last.
            bos: What the first is predicted from, a token of the teacher.
        """
        both = jnp.concatenate([params["token_embd"], table_VM])
        wide = with_params(self.model.model_copy(update={"vocab_size": len(both)}), {**params, "token_embd": both})
        inputs_BT = jnp.concatenate([jnp.full_like(mixed_BT[:, :1], bos), mixed_BT[:, :-1]], axis=1)
        return loss_of_its_vocabulary(wide(inputs_BT).astype(jnp.float32), mixed_BT, self.model.vocab_size)


def loss_of_its_vocabulary(logits_BTV: jax.Array, tokens_BT: jax.Array, n_first: int) -> jax.Array:
    """``−ln f(x)`` among the tokens of the vocabulary that x is of, averaged: scalar, nats/token.

    Args:
        logits_BTV: Of both vocabularies side by side, float32[B, T, V_T + V_S].
        tokens_BT: int32[B, T].
        n_first: V_T, tokens of the first.
    """
    is_first_V = jnp.arange(logits_BTV.shape[-1]) < n_first
    is_of_same_BTV = is_first_V[None, None] == (tokens_BT < n_first)[..., None]
    return token_loss(jnp.where(is_of_same_BTV, logits_BTV, -jnp.inf), tokens_BT)
