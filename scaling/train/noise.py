"""Gradient noise scale: how many tokens a batch needs until its gradient is as much signal as noise.

Every fiftieth step of a training the gradients of the two halves of its batch are compared before the step is taken. A
step is probed or not by its number alone, so a branch is probed where a run of its own would be.

**Source:** McCandlish et al. 2018, arXiv 1812.06162, appendix A.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

EVERY = 50
"""Steps from one probe to the next. A probe costs about what a step does: 2 % of a training."""

FIRST = EVERY // 2
"""Steps before the first probe."""


class GradientNoise(NamedTuple):
    """What one probe found; unbiased, so its average over probes is as good as there are probes.

    Attributes:
        signal: |G|², squared length of the true gradient; may come out negative.
        noise: tr Σ, trace of the covariance of one sequence's gradient.
    """

    signal: jax.Array
    noise: jax.Array


@dataclass(frozen=True, kw_only=True)
class NoiseScale:
    """A noise scale with its standard error, in tokens; None where the probes do not determine it."""

    tokens: float | None = None
    se: float | None = None


def probed(start: int, stop: int) -> range:
    """The steps from ``start`` to ``stop`` that are probed."""
    return range(start + (FIRST - start) % EVERY, stop, EVERY)


def gradient_noise(first: Any, second: Any, sequences: int) -> GradientNoise:
    """Signal and noise from the gradients of the two halves of a batch.

    ``|G|² = g₁·g₂`` and ``tr Σ = B/4·|g₁ − g₂|²``. With the small batch b = B/2 and the large one B these are
    ``(B·|G_B|² − b·|G_b|²)/(B − b)`` and ``(|G_b|² − |G_B|²)/(1/b − 1/B)``, where |G_b|² is the mean of both halves.

    Args:
        first: Gradient of the mean loss of one half, any tree of arrays.
        second: That of the other half.
        sequences: B, sequences of both halves together.
    """
    difference = jax.tree.map(lambda one, other: one - other, first, second)
    return GradientNoise(optax.tree.vdot(first, second), sequences / 4 * optax.tree.norm(difference, squared=True))


def probe_of(objective: Callable[[Any, Any, Any], tuple[jax.Array, Any]]) -> Callable[[Any, Any, Any], GradientNoise]:
    """What compares the halves of a batch; of an odd batch the last sequence is left out.

    Args:
        objective: ``(params, inputs, targets)`` to the mean loss that is trained, and anything beside it.

    Returns:
        ``(params, inputs, targets)`` to a GradientNoise, for batches of two sequences or more.
    """

    def probe(params: Any, inputs_BT: Any, targets_BT: Any) -> GradientNoise:
        half = inputs_BT.shape[0] // 2

        def halves(part: jax.Array) -> jax.Array:
            return part[: 2 * half].reshape(2, half, *part.shape[1:])

        # Both halves in one pass: unrolled, the program takes twice as long to compile.
        gradient = jax.vmap(jax.grad(lambda *batch: objective(*batch)[0]), in_axes=(None, 0, 0))
        both = gradient(params, *jax.tree.map(halves, (inputs_BT, targets_BT)))
        first, second = (jax.tree.map(lambda leaf, one=one: leaf[one], both) for one in (0, 1))
        return gradient_noise(first, second, 2 * half)

    return probe


def noise_scale(signal: np.ndarray, noise: np.ndarray, context: int) -> NoiseScale:
    """B_simple = tr Σ / |G|² in tokens over the later half of a training's probes.

    Numerator and denominator are averaged apart, because the ratio of single probes has no useful mean. The standard
    error leaves out one probe at a time.

    Args:
        signal: float32[n_probes], of all probes in order.
        noise: float32[n_probes].
        context: T, tokens of a sequence.
    """
    signal, noise = (np.asarray(part[len(part) // 2 :], np.float64) for part in (signal, noise))
    n = len(signal)
    if not n or not np.isfinite(signal.sum() + noise.sum()) or signal.sum() <= 0:
        return NoiseScale()
    scale = context * float(noise.sum() / signal.sum())
    left_out = signal.sum() - signal
    if n < 2 or left_out.min() <= 0:
        return NoiseScale(tokens=scale)
    others = context * (noise.sum() - noise) / left_out
    return NoiseScale(tokens=scale, se=math.sqrt((n - 1) * float(others.var())))
