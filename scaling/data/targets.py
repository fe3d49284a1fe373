"""Soft targets as records beside the tokens: the teacher's law of the next token at each position, or a part of it.

A record holds probabilities ``weights`` and, where they are not of the whole vocabulary, the ``ids`` they belong to.
The student's loss on it is ``Σ_i weights_i·(−ln f(ids_i))``; how good a part stands for the whole is the difference
between the kinds:

- ``topk``: the k likeliest tokens, normalised. Biased: it says that the rest cannot happen, so that the student's
  logarithms come out too high by ``−ln(mass of the k)``, most where the law is flat.
- ``sampled``: n draws with importance weights. Whatever n, the expected loss and gradient are those on the whole law.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scaling.data.counter import hash64
from scaling.data.sequences import TeacherSequences
from scaling.data.worlds import Language
from scaling.spec import SoftTargets

ROWS = 16
"""Sequences whose whole laws are in memory at once."""


class Laws(Protocol):
    """Where a stream's soft targets come from."""

    def read(self, start: int, sequences: np.ndarray) -> np.ndarray:
        """Records of the sequences ``start … start+count``, which are int32[count, T]: record[count, T]."""
        ...


@dataclass(frozen=True)
class WorldLaws:
    """Computed as they are needed, from a world or a world's teacher."""

    language: Language
    targets: SoftTargets
    seed: int

    def read(self, start: int, sequences: np.ndarray) -> np.ndarray:
        parts = []
        for first in range(0, len(sequences), ROWS):
            law = self.language.next_token(sequences[first : first + ROWS])
            place = (start + first) * law.shape[1] + np.arange(law.shape[0] * law.shape[1]).reshape(law.shape[:2])
            parts.append(soft_records(law, self.targets, place=place, seed=self.seed))
        return np.concatenate(parts)


@dataclass(frozen=True)
class StoredLaws:
    """Read from where a teacher has left them, beside its text."""

    records: TeacherSequences

    def read(self, start: int, sequences: np.ndarray) -> np.ndarray:
        return self.records.read(start, len(sequences))


def record_type(targets: SoftTargets, vocab_size: int) -> np.dtype:
    """How one position's record is stored: ids as narrow as the vocabulary allows, weights as float32."""
    if targets.kind == "exact":
        return np.dtype([("weights", "<f4", (vocab_size,))])
    size = targets.k if targets.kind == "topk" else targets.n
    return np.dtype([("ids", "<u2" if vocab_size <= 1 << 16 else "<u4", (size,)), ("weights", "<f4", (size,))])


def soft_records(law: np.ndarray, targets: SoftTargets, *, place: np.ndarray, seed: int) -> np.ndarray:
    """Records of positions whose whole law is known.

    Args:
        law: float64[..., V], of the next token.
        targets: What to keep of it.
        place: int64[...], a number of its own for each position; with the seed it decides the draws.
        seed: Any integer.

    Returns:
        record[...], of :func:`record_type`.
    """
    law = tempered(law, targets.temperature)
    out = np.empty(law.shape[:-1], record_type(targets, law.shape[-1]))
    if targets.kind == "exact":
        out["weights"] = law
    elif targets.kind == "topk":
        out["ids"], out["weights"] = top_k(law, targets.k)
    else:
        draws = np.asarray(place, np.uint64)[..., None] * np.uint64(targets.n) + np.arange(targets.n, dtype=np.uint64)
        uniform = (hash64(draws, seed) >> np.uint64(11)) * 2.0**-53
        out["ids"], out["weights"] = draw(law, uniform, targets.exponent)
    return out


def tempered(law: np.ndarray, temperature: float) -> np.ndarray:
    """``law^(1/temperature)``, normalised."""
    if temperature == 1:
        return law
    powered = law ** (1 / temperature)
    return powered / powered.sum(-1, keepdims=True)


def top_k(law: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and normalised probabilities of the k likeliest tokens, likeliest first; where V < k, the rest weighs 0."""
    ids = np.argsort(-law, axis=-1, kind="stable")[..., :k]
    weights = np.take_along_axis(law, ids, axis=-1)
    room = [(0, 0)] * (law.ndim - 1) + [(0, k - ids.shape[-1])]
    return np.pad(ids, room), np.pad(weights / weights.sum(-1, keepdims=True), room)


def draw(law: np.ndarray, uniform: np.ndarray, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Draws from ``law^exponent``, normalised, and their importance weights ``law/(n·proposal)``.

    Args:
        law: float64[..., V].
        uniform: float64[..., n] in [0, 1), one a draw.
        exponent: 1 draws from the law itself, and every weight is 1/n.

    Returns:
        Ids int64[..., n] and weights float64[..., n], whose sum is 1 on average but not each time.
    """
    proposal = law**exponent
    proposal /= proposal.sum(-1, keepdims=True)
    cumulative = np.cumsum(proposal, axis=-1)
    aimed = uniform * cumulative[..., -1:]
    ids = np.stack([(cumulative <= aimed[..., i, None]).sum(-1) for i in range(uniform.shape[-1])], axis=-1)
    chosen = (np.take_along_axis(part, ids, axis=-1) for part in (law, proposal))
    p, drawn = chosen
    return ids, p / (drawn * uniform.shape[-1])


def with_records(tokens: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Tokens and their records as one array, so that whatever cuts a batch cuts both: fields token, (ids,) weights."""
    fields = [("token", "<i4")]
    for name in records.dtype.names:
        kind, shape = records.dtype[name].subdtype
        fields.append((name, "<i4" if name == "ids" else kind, shape))
    out = np.empty(tokens.shape, np.dtype(fields))
    out["token"] = tokens
    for name in records.dtype.names:
        out[name] = records[name]
    return out
