"""Generalised knowledge distillation: the student writes, and its teacher says how it would have gone on."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from scaling.train.distill.recipe import RECIPES, Losses, Moment, NetworkRecipe
from scaling.train.objective import token_loss
from scaling.train.step import params_of, with_params
from scaling.train.student.decode import sample_sequences
from scaling.train.student.model import Student


@RECIPES.register("on_policy")
class OnPolicy(NetworkRecipe):
    """``D(q, f)`` on the data, and in a share λ of the steps on what the student has just written instead.

    D is the generalised Jensen–Shannon divergence of ``divergence``. No gradient flows through the writing. Source in
    ``OnPolicyDistill``.
    """

    draws: ClassVar[bool] = True

    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        logits_BTV = student(inputs_BT).astype(jnp.float32)
        choice, writing = moment.keys(2)
        is_own = jax.random.uniform(choice) < self.spec.own_share
        # Only one of the two texts is read by the teacher.
        aim = jax.lax.cond(
            is_own,
            lambda: self._apart(student, own_text(student, inputs_BT[:, 0], inputs_BT.shape[1], writing)),
            lambda: divergence(self.teacher(inputs_BT), logits_BTV, self.spec.beta),
        )
        return Losses(aim, token_loss(logits_BTV, targets_BT), logits_BTV)

    def _apart(self, student: Student, inputs_BT: jax.Array) -> jax.Array:
        return divergence(self.teacher(inputs_BT), student(inputs_BT), self.spec.beta)


def own_text(student: Student, bos_B: jax.Array, length: int, key: jax.Array) -> jax.Array:
    """What a student writes, as inputs: BOS and all tokens but the last, int32[B, T]."""
    still = with_params(student.model, jax.lax.stop_gradient(params_of(student)))
    tokens_BT = sample_sequences(still, key, n_sequences=len(bos_B), length=length, bos=bos_B)
    return jnp.concatenate([bos_B[:, None], tokens_BT[:, :-1]], axis=1)


def divergence(teacher_BTV: jax.Array, logits_BTV: jax.Array, beta: float) -> jax.Array:
    """``β·KL(q‖m) + (1 − β)·KL(f‖m)`` with ``m = β·q + (1 − β)·f``, averaged over the positions: scalar.

    At its ends what it tends to when divided by β or 1 − β: ``KL(q‖f)`` at 0, ``KL(f‖q)`` at 1.

    **Source:** Agarwal et al. 2023, arXiv 2306.13649, equation 1.
    """
    log_q = jax.nn.log_softmax(jax.lax.stop_gradient(teacher_BTV).astype(jnp.result_type(float)))
    log_f = jax.nn.log_softmax(logits_BTV.astype(log_q.dtype))
    if beta in (0, 1):
        return _kl(log_q, log_f) if beta == 0 else _kl(log_f, log_q)
    log_m = jnp.logaddexp(log_q + math.log(beta), log_f + math.log1p(-beta))
    return beta * _kl(log_q, log_m) + (1 - beta) * _kl(log_f, log_m)


def _kl(log_p_BTV: jax.Array, log_q_BTV: jax.Array) -> jax.Array:
    return jnp.mean(jnp.sum(jnp.exp(log_p_BTV) * (log_p_BTV - log_q_BTV), axis=-1))
