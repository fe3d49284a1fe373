"""How far a teacher is from its world, and by what kind of error, where nothing is known of it but its distribution.

A teacher made by hand says itself what it lacks. Of any other, each context is judged by how much of the world's
distribution is in the teacher's: w of the least squares ``q ≈ w·p + v·backoff + u·uniform``, with backoff the
distribution of who has not learned the context. Noise leaves ``w = 1 − rate``, a context never learned 0, however far
either is from p; so one threshold serves all worlds, where one on KL(p‖q) takes strong noise for coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from scaling.data.worlds import open_generator, open_world
from scaling.data.worlds.generator import Divergence, kl_divergence
from scaling.spec import WorldSource

LEARNED = 0.15
"""Share of the world's distribution below which a context counts as never learned."""


def infer_divergence(
    source: WorldSource, q: Callable[[np.ndarray], np.ndarray], batches: Iterable[np.ndarray]
) -> Divergence:
    """KL(p‖q) averaged over real sequences, nats per scored token, with its standard error and inferred split.

    Args:
        source: The world p.
        q: Next-token distribution of the teacher given sequences, int[n, T] to float64[n, T, V].
        batches: Sequences of the world, int[n, T] each.
    """
    world, kl, coverage = open_generator(source), [], []
    scored = world.scored
    for sequences in batches:
        asked = (world.next_token_probs, q, open_world(source).backoff_probs)
        true, believed, lacking = (probs(sequences)[:, scored] for probs in asked)
        kl.append(kl_divergence(true, believed))
        coverage.append(kl[-1] * (learned_share(true, believed, lacking) < LEARNED))
    per_sequence, missing = np.concatenate(kl).mean(1), float(np.concatenate(coverage).mean())
    return Divergence(
        coverage=missing,
        noise=float(per_sequence.mean()) - missing,
        se=float(per_sequence.std(ddof=1) / len(per_sequence) ** 0.5),
    )


def learned_share(p: np.ndarray, q: np.ndarray, lacking: np.ndarray) -> np.ndarray:
    """The weight w of p in the least squares ``q ≈ w·p + v·lacking + u·uniform``.

    Args:
        p: float64[..., V], distribution of the world in each context.
        q: float64[..., V], distribution of the teacher.
        lacking: float64[..., V], distribution of who has not learned the context; the uniform distribution is over what
            it allows.

    Returns:
        float64[...].
    """
    possible = lacking > 0
    uniform = possible / possible.sum(-1, keepdims=True)
    parts = np.stack(np.broadcast_arrays(p, lacking, uniform), axis=-2)
    inverse = np.linalg.pinv(parts @ parts.swapaxes(-1, -2), rcond=1e-9, hermitian=True)
    return (inverse @ (parts @ q[..., None]))[..., 0, 0]
