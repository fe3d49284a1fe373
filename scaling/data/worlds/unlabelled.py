"""How far a teacher is from its world, and by what kind of error, where nothing is known of it but its law.

A teacher made by hand says itself what it lacks. Of any other, each context is judged by how much of the world's law is
in the teacher's: w of the least squares ``q ≈ w·p + v·backoff + u·uniform``, with backoff the law of who has not
learned the context. Noise leaves ``w = 1 − rate``, a context never learned 0, however far either is from p; so one
threshold serves all worlds, where one on KL(p‖q) takes strong noise for coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from scaling.data.worlds import open_language, w0, w2
from scaling.data.worlds.language import Divergence, kl_divergence
from scaling.spec import WorldSource

LEARNED = 0.15
"""Share of the world's law below which a context counts as never learned."""


def infer_divergence(
    source: WorldSource, q: Callable[[np.ndarray], np.ndarray], batches: Iterable[np.ndarray]
) -> Divergence:
    """KL(p‖q) averaged over real sequences, nats per scored token, with its standard error and inferred split.

    Args:
        source: The world p.
        q: Next-token law of the teacher given sequences, int[n, T] to float64[n, T, V].
        batches: Sequences of the world, int[n, T] each.
    """
    world, kl, coverage = open_language(source), [], []
    scored = world.scored
    for sequences in batches:
        laws = (law(sequences)[:, scored] for law in (world.next_token, q, lambda text: backoff(source, text)))
        true, believed, lacking = laws
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
        p: float64[..., V], law of the world in each context.
        q: float64[..., V], law of the teacher.
        lacking: float64[..., V], law of who has not learned the context; the uniform law is over what it allows.

    Returns:
        float64[...].
    """
    possible = lacking > 0
    uniform = possible / possible.sum(-1, keepdims=True)
    parts = np.stack(np.broadcast_arrays(p, lacking, uniform), axis=-2)
    inverse = np.linalg.pinv(parts @ parts.swapaxes(-1, -2), rcond=1e-9, hermitian=True)
    return (inverse @ (parts @ q[..., None]))[..., 0, 0]


def backoff(source: WorldSource, sequences: np.ndarray) -> np.ndarray:
    """Law of every token without what decides it: the key (W0), the symbol before the last (W1), the top level (W2).

    Args:
        source: The world.
        sequences: int[n, T].

    Returns:
        float64[n, T, V].
    """
    language = open_language(source)
    if source.kind == "w2":
        return w2.Speaker(language.world, language.world.depth - 1).next_token(sequences)
    out = np.zeros((*np.shape(sequences), language.vocab_size))
    if source.kind == "w1":
        out[:, 0, : language.bos] = language.world.symbols
        out[:, 1:, : language.bos] = language.world.backoff[sequences[:, :-1]]
    else:
        out[:, ~language.scored, : w0.BASE] = 1 / w0.BASE
        out[:, language.scored, w0.BASE : 2 * w0.BASE] = 1 / w0.BASE
    return out
