"""Healing: a student that was cut learns again what it was, from the distribution of the one it was cut from."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from scaling.compress.sparse import Sparsity, masks
from scaling.spec import OptimSpec
from scaling.stop import stoppable
from scaling.train.objective import soft_loss
from scaling.train.optimizer import make_optimizer
from scaling.train.step import params_of, with_params
from scaling.train.student.generator import Forward, as_trained
from scaling.train.student.model import Student


def heal(
    student: Student,
    teacher: Student,
    batches: Iterable[np.ndarray],
    *,
    optim: OptimSpec,
    steps: int,
    forward: Forward = as_trained,
    sparsity: Sparsity | None = None,
) -> Student:
    """Train a student on a teacher's distribution of the next token, ``CE(q, f)``, its rate falling as ``1 − √t``.

    Where weights become zero, the gradient is that at the thinned weights and moves all of them (straight through).

    Args:
        student: As it was cut; not changed.
        teacher: As it was before.
        batches: int32[B, T] each, at least ``steps`` of them.
        optim: Rate at the beginning, and AdamW.
        steps: How many.
        forward: The student's forward pass.
        sparsity: Weights that become zero on the way.

    **Source:** Muralidharan et al. 2024, arXiv 2407.14679 (distillation alone heals better than text).
    """
    model, transform = student.model, make_optimizer(optim, student.model)

    def loss_of(params, inputs_BT, teacher_params):
        q_BTV = jax.nn.softmax(with_params(teacher.model, teacher_params)(inputs_BT))
        logits_BTV = forward(with_params(model, params), inputs_BT)
        return jnp.mean(soft_loss(logits_BTV, jax.lax.stop_gradient(q_BTV), None))

    @jax.jit
    def step(params, opt_state, moved, kept, inputs_BT, teacher_params, rate):
        thinned = params if kept is None else jax.tree.map(jnp.multiply, params, kept)
        grads = jax.grad(loss_of)(thinned, inputs_BT, teacher_params)
        updates, opt_state = transform.update(grads, opt_state, params)
        if moved is not None:
            moved = jax.tree.map(lambda score, grad, param: score - grad * param, moved, grads, params)
        return jax.tree.map(lambda param, update: param - rate * update, params, updates), opt_state, moved

    params, teacher_params = params_of(student), params_of(teacher)
    opt_state, kept = transform.init(params), None
    by_movement = sparsity is not None and sparsity.by == "movement"
    moved = jax.tree.map(jnp.zeros_like, params) if by_movement else None
    for at, inputs in zip(range(steps), stoppable(batches), strict=False):
        # The last choice stays: what is left has the rest of the steps to make up for what is gone.
        if sparsity is not None and at in sparsity.choices(steps):
            scores = jax.tree.map(jnp.abs, params) if moved is None else moved
            kept = masks(jax.device_get(scores), sparsity.share(at / steps))
        rate = np.float32(optim.lr * (1 - np.sqrt(at / steps)))
        params, opt_state, moved = step(params, opt_state, moved, kept, inputs, teacher_params, rate)
    return with_params(model, params if kept is None else jax.tree.map(jnp.multiply, params, kept))
