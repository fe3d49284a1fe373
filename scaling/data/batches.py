"""The one stream that training reads, whatever the text comes from.

A stream is an endless list of sequences of T tokens, each a function of the data specification and its own position
alone. So it seeks to any step in constant time, is the same in whatever chunks it is read, and a resumed run reads
what an uninterrupted one would have read. Every sequence is predicted from BOS (for text: the end-of-document token),
so that what a teacher generates from that token has the distribution of what it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.data.mixing import MarkedSequences, MixedSequences
from scaling.data.recut import MixedCut, RecutSequences, open_recut
from scaling.data.sequences import Sequences, TeacherSequences, TextSequences, WorldSequences
from scaling.data.shards import open_shards
from scaling.data.targets import ComputedTargets, StoredTargets, TargetReader, with_records
from scaling.data.tasks import TaskSequences, open_task
from scaling.data.text import open_text, targets_dir, teacher_text_dir
from scaling.data.worlds import MixtureGenerator, open_generator
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import RunSpec, SoftTargets, TaskSource, TextSource, VocabularyDistill, WorldSource


@dataclass(frozen=True)
class Batch:
    """What a step trains on: predict ``targets`` from ``inputs``.

    Attributes:
        inputs: int32[..., B, T], BOS and all tokens but the last.
        targets: int32[..., B, T], −1 where nothing is predicted; or records with a field ``token`` beside the
            teacher's distribution (``data/targets.py``).
    """

    inputs: np.ndarray
    targets: np.ndarray


class Stream:
    """Batches of one run, by step.

    Args:
        sequences: What is read, in order; step i reads the i-th ``batch_size`` of them.
        batch_size: B, of the whole batch.
        beside: Where what is told beside the tokens comes from; None where they are all that is learned.
        rows: Those of every batch that are read here.
    """

    def __init__(
        self,
        sequences: Sequences,
        batch_size: int,
        beside: TargetReader | None = None,
        *,
        rows: range | None = None,
    ):
        self.sequences = sequences
        self.batch_size = batch_size
        self.beside = beside
        self.rows = range(batch_size) if rows is None else rows

    def shard(self, index: int, count: int, *, parts: int = 1) -> Stream:
        """What is read by who has ``parts`` of the ``count`` equal parts of every batch, from part ``index`` on.

        All parts side by side are the batch, in the order that one process reads it in.

        Raises:
            DataError: if the batch cannot be shared equally.
        """
        if self.batch_size % count or not 0 <= index < index + parts <= count:
            raise DataError(
                f"a batch of {self.batch_size} sequences cannot be shared equally, as part {index} of {count}; "
                "set optim.batch_size to a multiple of the number of parts"
            )
        size = self.batch_size // count
        rows = range(index * size, (index + parts) * size)
        return Stream(self.sequences, self.batch_size, self.beside, rows=rows)

    def batches(self, start: int, count: int) -> Batch:
        """The batches of ``count`` steps from ``start`` on, or its rows of them: [count, B, T] each.

        Many at once are faster: worlds write 256 sequences at a time.
        """
        # Asked for by every process alike, so that no text ends for some of them while the others wait.
        self.sequences.require((start + count) * self.batch_size)
        places = np.arange(start, start + count)[:, None] * self.batch_size + np.array(self.rows)
        own = self.sequences.at(places.ravel()).reshape(*places.shape, self.sequences.context)
        return Batch(inputs=with_bos(own, self._first(start, count)), targets=self._targets(places[:, 0], own))

    def n_unique_tokens(self, steps: int) -> int:
        """Different tokens (by position in the source) among those of the first ``steps`` steps."""
        return self.sequences.n_unique(steps * self.batch_size) * self.sequences.context

    def _first(self, start: int, count: int) -> np.ndarray:
        """What the first token of each row is predicted from: int32[count, B]."""
        first = self.sequences.first(start * self.batch_size, count * self.batch_size)
        return first.reshape(count, self.batch_size)[:, self.rows]

    def _targets(self, places: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The rows of each step, which begin at ``places``, with what is told beside them."""
        if self.beside is None:
            return self.sequences.targets(own)
        steps = zip(places, own, strict=True)
        return np.stack([with_records(rows, self.beside.read(int(place), rows)) for place, rows in steps])


def with_bos(sequences: np.ndarray, bos: int | np.ndarray) -> np.ndarray:
    """What each token of the sequences is predicted from: BOS (one for all, or int[...]), then all but the last."""
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
    sequences = _sequences(spec, store)
    return Stream(sequences, spec.optim.batch_size, _beside(spec, sequences, store))


def _beside(spec: RunSpec, sequences: Sequences, store: RunStore) -> TargetReader | None:
    data, context = spec.data, spec.model.context
    if isinstance(spec.recipe, VocabularyDistill) and isinstance(sequences, RecutSequences):
        return MixedCut(sequences, spec.recipe.share, data.seed)
    if not isinstance(data.targets, SoftTargets):
        return None
    if isinstance(data.source, WorldSource):
        return ComputedTargets(open_generator(data.source, data.teacher), data.targets, data.seed)
    text = teacher_text_dir(store, data, seed=data.seed, split="train", context=context)
    return StoredTargets(TeacherSequences(open_shards(targets_dir(text, data.targets)), context))


def _sequences(spec: RunSpec, store: RunStore) -> Sequences:
    data, context = spec.data, spec.model.context
    check_fit(spec, context=data.source.sequence_tokens)
    if isinstance(data.source, WorldSource) and not data.is_stored:
        generator = open_generator(data.source, data.teacher)
        if data.source_token and isinstance(generator, MixtureGenerator):
            return MarkedSequences(generator, data.seed, data.source_token_id)
        return WorldSequences(generator, data.seed)
    if isinstance(data.source, TaskSource):
        return TaskSequences(open_task(data.source), data.seed)
    real = None
    if isinstance(data.source, TextSource) and data.real_share > 0:
        real = TextSequences(open_text(data.source, "train", store), context, data.seed)
        if data.real_share == 1:
            return real
    folder = teacher_text_dir(store, data, seed=data.seed, split="train", context=context)
    generated: Sequences = TeacherSequences(open_shards(folder), context)
    if data.is_recut:
        generated = RecutSequences(generated, open_recut(data, store))
    if real is None:
        return generated
    begin = (real.bos, data.source_token_id) if data.source_token else None
    return MixedSequences((real, generated), (data.real_share, 1 - data.real_share), data.seed, begin)


def check_fit(spec: RunSpec, *, context: int | None = None) -> None:
    """Raise where the model's vocabulary or context is not the source's."""
    model, label, vocab_size = spec.model, spec.data.source.label, spec.data.vocab_size
    if model.vocab_size != vocab_size:
        marked = ", that of what the teacher wrote included" if spec.data.source_token else ""
        raise DataError(
            f"model.vocab_size is {model.vocab_size}, but source {label} has {vocab_size} tokens{marked}; "
            f"set it to {vocab_size}"
        )
    if context is not None and model.context != context:
        raise DataError(
            f"model.context is {model.context}, but a sequence of source {label} has {context} tokens; "
            f"set it to {context}"
        )
