"""What a student minimises: the loss on the tokens, on its teacher's law of the next token, or on both."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.spec import Targets


def objective(logits_BTV: jax.Array, targets: Any, spec: Targets, z_loss: float = 0.0) -> tuple[jax.Array, jax.Array]:
    """What is minimised, and the loss on the tokens alone.

    ``(1 − λ)·CE(x, f) + λ·τ²·CE(q_τ, f_τ) + z_loss·mean(log² Z)`` with λ = ``spec.weight`` and τ =
    ``spec.temperature``; for plain tokens λ is 0.

    Args:
        logits_BTV: float32[B, T, V].
        targets: int32[B, T]; for soft targets a dict of ``token``: int32[B, T], ``weights``: float32[B, T, k], and
            ``ids``: int32[B, T, k] where the weights are not of the whole vocabulary.
        spec: What the targets are.
        z_loss: Weight of the square of the logits' normaliser.

    Returns:
        Two float32 scalars, nats/token.

    **Source:** distillation: Hinton et al. 2015, arXiv 1503.02531; z-loss: Chowdhery et al. 2022, arXiv 2204.02311,
    section 5.
    """
    tokens_BT = targets if spec.kind == "tokens" else targets["token"]
    log_z_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    # A comparison instead of a gather: its gradient is no scatter, which is slow on every device.
    is_target_BTV = jax.lax.broadcasted_iota(jnp.int32, logits_BTV.shape, 2) == tokens_BT[..., None]
    loss = jnp.mean(log_z_BT - jnp.sum(jnp.where(is_target_BTV, logits_BTV, 0.0), axis=-1))
    aim = loss
    if spec.kind != "tokens":
        soft = jnp.mean(law_loss(logits_BTV / spec.temperature, targets["weights"], targets.get("ids")))
        aim = (1 - spec.weight) * loss + spec.weight * spec.temperature**2 * soft
    return aim + z_loss * jnp.mean(log_z_BT**2), loss


def law_loss(logits_BTV: jax.Array, weights_BTK: jax.Array, ids_BTK: jax.Array | None) -> jax.Array:
    """``Σ_i weights_i·(−ln f(ids_i))`` at every position, float32[B, T]; without ids the weights are of all tokens."""
    log_z_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    logits_BTK = logits_BTV if ids_BTK is None else jnp.take_along_axis(logits_BTV, ids_BTK, axis=-1)
    return jnp.sum(weights_BTK * (log_z_BT[..., None] - logits_BTK), axis=-1)
