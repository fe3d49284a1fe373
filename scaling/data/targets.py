"""Soft targets as records beside the tokens: the teacher's distribution of the next token at each position, or a part
of it.

A record holds probabilities ``weights`` and, where they are not of the whole vocabulary, the ``ids`` they belong to.
The student's loss on it is ``Σ_i weights_i·(−ln f(ids_i))``; how good a part stands for the whole is the difference
between the kinds:

- ``topk``: the k likeliest tokens, normalised. Biased: it says that the rest cannot happen, so that the student's
  logarithms come out too high by ``−ln(mass of the k)``, most where the distribution is flat.
- ``sampled``: n draws with importance weights. Whatever n, the expected loss and gradient are those on the whole
  distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from scaling.data.counter import hash64
from scaling.data.sequences import TeacherSequences
from scaling.data.worlds import Generator
from scaling.errors import DataError
from scaling.registry import Registry
from scaling.spec import SampledTargets, SoftTargets, TopKTargets

ROWS = 16
"""Sequences whose whole distributions are in memory at once."""

Keep = Callable[[np.ndarray, Any, np.ndarray, int], tuple[np.ndarray | None, np.ndarray]]
"""What a kind of targets keeps of float64[..., V]: ids (None for all tokens) and weights, given targets, place, seed.
"""

KEPT: Registry[Keep] = Registry("kind of soft targets", error=DataError)


class TargetReader(Protocol):
    """Where what a stream tells beside the tokens comes from."""

    def read(self, start: int, sequences: np.ndarray) -> np.ndarray:
        """Records of the sequences ``start … start+count``, which are int32[count, T]: record[count, T]."""
        ...


@dataclass(frozen=True)
class ComputedTargets:
    """Computed as they are needed, from a world or a world's teacher."""

    generator: Generator
    targets: SoftTargets
    seed: int

    def read(self, start: int, sequences: np.ndarray) -> np.ndarray:
        parts = []
        for first in range(0, len(sequences), ROWS):
            probs = self.generator.next_token_probs(sequences[first : first + ROWS])
            place = (start + first) * probs.shape[1] + np.arange(probs.shape[0] * probs.shape[1])
            parts.append(soft_records(probs, self.targets, place=place.reshape(probs.shape[:2]), seed=self.seed))
        return np.concatenate(parts)


@dataclass(frozen=True)
class StoredTargets:
    """Read from where a teacher has left them, beside its text."""

    records: TeacherSequences

    def read(self, start: int, sequences: np.ndarray) -> np.ndarray:
        return self.records.read(start, len(sequences))


def record_type(targets: SoftTargets, vocab_size: int) -> np.dtype:
    """How one position's record is stored: ids as narrow as the vocabulary allows, weights as float32."""
    if targets.size is None:
        return np.dtype([("weights", "<f4", (vocab_size,))])
    ids = "<u2" if vocab_size <= 1 << 16 else "<u4"
    return np.dtype([("ids", ids, (targets.size,)), ("weights", "<f4", (targets.size,))])


def soft_records(probs: np.ndarray, targets: SoftTargets, *, place: np.ndarray, seed: int) -> np.ndarray:
    """Records of positions whose whole distribution is known.

    Args:
        probs: float64[..., V], of the next token.
        targets: What to keep of it.
        place: int64[...], a number of its own for each position; with the seed it decides the draws.
        seed: Any integer.

    Returns:
        record[...], of :func:`record_type`.

    Raises:
        DataError: if nothing is known of this kind of targets.
    """
    ids, weights = KEPT[targets.kind](tempered(probs, targets.temperature), targets, place, seed)
    out = np.empty(probs.shape[:-1], record_type(targets, probs.shape[-1]))
    out["weights"] = weights
    if ids is not None:
        out["ids"] = ids
    return out


@KEPT.register("exact")
def _keep_all(probs: np.ndarray, targets: SoftTargets, place: np.ndarray, seed: int) -> tuple[None, np.ndarray]:
    return None, probs


@KEPT.register("topk")
def _keep_likeliest(
    probs: np.ndarray, targets: TopKTargets, place: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    return top_k(probs, targets.k)


@KEPT.register("sampled")
def _keep_draws(
    probs: np.ndarray, targets: SampledTargets, place: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    draws = np.asarray(place, np.uint64)[..., None] * np.uint64(targets.n) + np.arange(targets.n, dtype=np.uint64)
    return draw(probs, (hash64(draws, seed) >> np.uint64(11)) * 2.0**-53, targets.exponent)


def tempered(probs: np.ndarray, temperature: float) -> np.ndarray:
    """``probs^(1/temperature)``, normalised."""
    if temperature == 1:
        return probs
    powered = probs ** (1 / temperature)
    return powered / powered.sum(-1, keepdims=True)


def top_k(probs: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and normalised probabilities of the k likeliest tokens, likeliest first; where V < k, the rest weighs 0."""
    ids = np.argsort(-probs, axis=-1, kind="stable")[..., :k]
    weights = np.take_along_axis(probs, ids, axis=-1)
    room = [(0, 0)] * (probs.ndim - 1) + [(0, k - ids.shape[-1])]
    return np.pad(ids, room), np.pad(weights / weights.sum(-1, keepdims=True), room)


def draw(probs: np.ndarray, uniform: np.ndarray, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Draws from ``probs^exponent``, normalised, and their importance weights ``probs/(n·proposal)``.

    Args:
        probs: float64[..., V].
        uniform: float64[..., n] in [0, 1), one a draw.
        exponent: 1 draws from the distribution itself, and every weight is 1/n.

    Returns:
        Ids int64[..., n] and weights float64[..., n], whose sum is 1 on average but not each time.
    """
    proposal = probs**exponent
    proposal /= proposal.sum(-1, keepdims=True)
    cumulative = np.cumsum(proposal, axis=-1)
    aimed = uniform * cumulative[..., -1:]
    ids = np.stack([(cumulative <= aimed[..., i, None]).sum(-1) for i in range(uniform.shape[-1])], axis=-1)
    p, drawn = (np.take_along_axis(part, ids, axis=-1) for part in (probs, proposal))
    return ids, p / (drawn * uniform.shape[-1])


def with_records(tokens: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Tokens and their records as one array, so that whatever cuts a batch cuts both: a field token, and theirs."""
    names = records.dtype.names or ()
    parts = [(name, _wide(records.dtype[name]), records.dtype[name].shape) for name in names]
    out = np.empty(tokens.shape, np.dtype([("token", "<i4"), *parts]))
    out["token"] = tokens
    for name in names:
        out[name] = records[name]
    return out


def _wide(field: np.dtype) -> str:
    """What a device takes of a field that is stored in as few bytes as it needs."""
    return "<f4" if field.base.kind == "f" else "<i4"
