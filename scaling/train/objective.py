"""Losses that recipes are made of."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def token_loss(logits_BTV: jax.Array, tokens_BT: jax.Array) -> jax.Array:
    """``−ln f(x)``, averaged over the positions that have a token (−1 is none): float32 scalar, nats/token."""
    log_z_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    # A comparison instead of a gather: its gradient is no scatter, which is slow on every device.
    is_target_BTV = jax.lax.broadcasted_iota(jnp.int32, logits_BTV.shape, 2) == tokens_BT[..., None]
    loss_BT = log_z_BT - jnp.sum(jnp.where(is_target_BTV, logits_BTV, 0.0), axis=-1)
    counts_BT = tokens_BT >= 0
    return jnp.sum(jnp.where(counts_BT, loss_BT, 0.0)) / jnp.maximum(jnp.sum(counts_BT), 1)


def soft_loss(logits_BTV: jax.Array, weights_BTK: jax.Array, ids_BTK: jax.Array | None) -> jax.Array:
    """``Σ_i weights_i·(−ln f(ids_i))`` at every position, float32[B, T]; without ids the weights are of all tokens."""
    log_z_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    logits_BTK = logits_BTV if ids_BTK is None else jnp.take_along_axis(logits_BTV, ids_BTK, axis=-1)
    return jnp.sum(weights_BTK * (log_z_BT[..., None] - logits_BTK), axis=-1)


def z_loss(logits_BTV: jax.Array) -> jax.Array:
    """``log² Z``, averaged over the positions: keeps the logits' normaliser Z from drifting.

    **Source:** Chowdhery et al. 2022, arXiv 2204.02311, section 5.
    """
    return jnp.mean(jax.nn.logsumexp(logits_BTV, axis=-1) ** 2)
