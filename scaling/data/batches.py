"""The one stream that training reads, whatever the text comes from.

A stream is an endless list of sequences of T tokens, each a function of the data specification and its own position
alone. So it seeks to any step in constant time, is the same in whatever chunks it is read, and a resumed run reads
what an uninterrupted one would have read. Every sequence is predicted from BOS (for text: the end-of-document token),
so that what a teacher generates from that token has the distribution of what it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.data.sequences import Sequences, TeacherSequences, TextSequences, WorldSequences
from scaling.data.shards import open_shards
from scaling.data.text import open_text, teacher_text_dir
from scaling.data.worlds import open_language
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import RunSpec

CHUNK = 1024
"""Sequences made ahead when single steps are read; speed only, never content."""


@dataclass(frozen=True)
class Batch:
    """What a step trains on: predict ``targets`` from ``inputs``, at every position.

    Attributes:
        inputs: int32[..., B, T], BOS and all tokens but the last.
        targets: int32[..., B, T].
    """

    inputs: np.ndarray
    targets: np.ndarray


class Stream:
    """Batches of one run, by step."""

    def __init__(self, sequences: Sequences, batch_size: int):
        self.sequences = sequences
        self.batch_size = batch_size
        self._ahead: tuple[int, np.ndarray] | None = None

    def batch(self, step: int) -> Batch:
        """The batch of one step: int32[B, T] each."""
        rows = range(step * self.batch_size, (step + 1) * self.batch_size)
        first, last = rows[0] // CHUNK, rows[-1] // CHUNK
        parts = [self._chunk(chunk) for chunk in range(first, last + 1)]
        return self._pair(np.concatenate(parts)[rows[0] - first * CHUNK :][: self.batch_size])

    def batches(self, start: int, count: int) -> Batch:
        """The batches of ``count`` steps from ``start`` on: int32[count, B, T] each."""
        read = self.sequences.read(start * self.batch_size, count * self.batch_size)
        return self._pair(read.reshape(count, self.batch_size, self.sequences.context))

    def n_unique_tokens(self, steps: int) -> int:
        """Different tokens (by position in the source) among those of the first ``steps`` steps."""
        read = steps * self.batch_size
        distinct = self.sequences.n_distinct
        return (read if distinct is None else min(read, distinct)) * self.sequences.context

    def _chunk(self, chunk: int) -> np.ndarray:
        if self._ahead is None or self._ahead[0] != chunk:
            self._ahead = (chunk, self.sequences.read(chunk * CHUNK, CHUNK))
        return self._ahead[1]

    def _pair(self, sequences: np.ndarray) -> Batch:
        return Batch(inputs=with_bos(sequences, self.sequences.bos), targets=sequences)


def with_bos(sequences: np.ndarray, bos: int) -> np.ndarray:
    """What each token of the sequences is predicted from: BOS, then all but the last."""
    inputs = np.empty_like(sequences)
    inputs[..., 0] = bos
    inputs[..., 1:] = sequences[..., :-1]
    return inputs


def open_stream(spec: RunSpec, store: RunStore) -> Stream:
    """The training stream of a run.

    Args:
        spec: The run; two runs with equal ``data`` and ``model.context`` read the same sequences in the same order.
        store: Where prepared text lies (worlds need none).

    Raises:
        DataError: if the source does not fit the model, or its text is absent, damaged or not prepared.
    """
    return Stream(_sequences(spec, store), spec.optim.batch_size)


def _sequences(spec: RunSpec, store: RunStore) -> Sequences:
    data, context = spec.data, spec.model.context
    check_fit(spec, context=data.source.sequence_tokens)
    if not data.is_written:
        return WorldSequences(open_language(data.source, data.teacher), data.seed)
    if data.teacher.kind == "real":
        return TextSequences(open_text(data.source, "train", store), context, data.seed)
    folder = teacher_text_dir(store, data, seed=data.seed, split="train", context=context)
    return TeacherSequences(open_shards(folder), context)


def check_fit(spec: RunSpec, *, context: int | None = None) -> None:
    """Raise where the model's vocabulary or context is not the source's."""
    model, label, vocab_size = spec.model, spec.data.source.label, spec.data.source.vocab_size
    if model.vocab_size != vocab_size:
        raise DataError(
            f"model.vocab_size is {model.vocab_size}, but source {label} has {vocab_size} tokens; "
            f"set it to {vocab_size}"
        )
    if context is not None and model.context != context:
        raise DataError(
            f"model.context is {model.context}, but a sequence of source {label} has {context} tokens; "
            f"set it to {context}"
        )
