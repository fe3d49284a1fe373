"""What every run of a source is measured on: the same sequences, and in a world the exact law of every token.

In a world a loss is an expectation, ``Σ_x p(x)·(−ln f(x))`` at each scored position, over a fixed set of contexts:
labels add no noise, and differences between runs are exact on that set. Text is scored by the tokens that are there.

With p real, q teacher, f student, ``CE_p(f) = H(p) + KL(p‖q) + KL(q‖f) + Δ`` with ``Δ = Σ (p − q)·ln(q/f)`` holds
exactly on the real set, with ``entropy``, ``delta_coverage`` and ``delta_noise`` as given here: they are averages
over that set, which agree with the world's closed forms to within one record in n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from scaling.data.batches import check_fit, with_bos
from scaling.data.counter import generator, permute
from scaling.data.sequences import TeacherSequences
from scaling.data.shards import TokenShards, open_shards
from scaling.data.text import open_text, open_tokenizer, teacher_text_dir
from scaling.data.worlds import Language, open_language
from scaling.data.worlds.language import Divergence, kl_divergence, split_divergence
from scaling.data.worlds.unlabelled import infer_divergence
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import DataSpec, RealTeacher, RunSpec

Law = Callable[[np.ndarray], np.ndarray]
"""Next-token laws given sequences: int32[b, T] to float64[b, T, V]."""

BATCH = 64
"""Sequences of one evaluation batch, at most."""


@dataclass(frozen=True)
class EvalBatch:
    """A part of an evaluation set; all parts of a set have one shape.

    Attributes:
        inputs: int32[b, T].
        targets: int32[b, T], the tokens that are there; a text's loss is scored on them.
        weights: float32[b, T], 1 where the loss counts and 0 elsewhere.
        p: float32[b, T, V], exact law of the next token in the real world; None for text.
        q: the same of the teacher; None for text and where there is no teacher.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    p: np.ndarray | None = None
    q: np.ndarray | None = None


@dataclass(frozen=True)
class EvalSet:
    """Sequences to be measured on, in batches of equal shape.

    Attributes:
        sequences: int32[n_batches, b, T].
        bos: Token that every sequence is predicted from.
        scored: bool[T], positions that count.
        p: Law of the next token given sequences, int32[b, T] to float64[b, T, V]; None for text.
        q: The teacher's, likewise.
    """

    sequences: np.ndarray
    bos: int
    scored: np.ndarray
    p: Law | None = None
    q: Law | None = None

    @property
    def n_sequences(self) -> int:
        return self.sequences.shape[0] * self.sequences.shape[1]

    @property
    def n_scored(self) -> int:
        """Tokens that count in the loss."""
        return self.n_sequences * int(self.scored.sum())

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[EvalBatch]:
        for sequences in self.sequences:
            yield EvalBatch(
                inputs=with_bos(sequences, self.bos),
                targets=sequences,
                weights=np.broadcast_to(self.scored.astype(np.float32), sequences.shape),
                p=None if self.p is None else self.p(sequences).astype(np.float32),
                q=None if self.q is None else self.q(sequences).astype(np.float32),
            )


@dataclass(frozen=True, kw_only=True)
class EvalSets:
    """All that a run of one source is measured on, and what is known of it beforehand. Nats per scored token.

    Attributes:
        real: Held-out real text.
        teacher: Held-out text of the teacher; None where the student reads the real world.
        entropy: H(p) on the real set; None for text.
        delta_coverage: Part of KL(p‖q) on the real set from contexts that the teacher never learned; None for text,
            and for a ``net`` teacher whose law was not given.
        delta_noise: All other KL(p‖q); None likewise.
        generator_delta_coverage: ``delta_coverage`` of the teacher inside a mixture, else None.
        generator_delta_noise: ``delta_noise``, likewise.
        teacher_loss: ``H(p) + KL(p‖q)``, or the measured loss of a trained teacher; None where neither is known.
        bytes_per_token: Bytes of text behind a scored token of the real set; None for worlds.
    """

    real: EvalSet
    teacher: EvalSet | None = None
    entropy: float | None = None
    delta_coverage: float | None = None
    delta_noise: float | None = None
    generator_delta_coverage: float | None = None
    generator_delta_noise: float | None = None
    teacher_loss: float | None = None
    bytes_per_token: float | None = None


def evaluation_sets(spec: RunSpec, store: RunStore, *, net_law: Law | None = None) -> EvalSets:
    """What a run is measured on; a function of its source, teacher, context and evaluation settings alone.

    Args:
        spec: The run.
        store: Where prepared text lies (worlds need none).
        net_law: Law of a ``net`` teacher, which takes its weights to know; without it there is only the real set.

    Raises:
        DataError: if the source does not fit the model, or its text is absent, damaged or not prepared.
    """
    if spec.data.source.kind == "text":
        return _text_sets(spec, store)
    if spec.data.teacher.kind == "net":
        return _net_sets(spec, store, net_law)
    return _world_sets(spec)


def _world_sets(spec: RunSpec) -> EvalSets:
    """With a source token the student is asked for real text, which is nothing but real; the teacher's lies apart."""
    data, marked = spec.data, spec.data.source_token
    p, q = open_language(data.source), open_language(data.source, data.generator if marked else data.teacher)
    check_fit(spec, context=p.context)
    shape = _batch_shape(-(-spec.evaluation.tokens // p.context))

    def draw(speaker: Language) -> np.ndarray:
        sequences = speaker.evaluation_sequences(shape[0] * shape[1], spec.evaluation.seed)
        return sequences.reshape(*shape, speaker.context)

    has_teacher = data.teacher.kind != "real"
    p_law, q_law = (_over(speaker.next_token, data.vocab_size) for speaker in (p, q))
    real = EvalSet(draw(p), p.bos, p.scored, p_law, q_law if has_teacher and not marked else None)
    teacher = EvalSet(draw(q), q.bos + marked, q.scored, p_law, q_law) if has_teacher else None
    entropy, known = _known_terms(real, q)
    writer = _writer_divergence(data, real) if data.teacher.kind == "mixture" else None
    return EvalSets(
        real=real,
        teacher=teacher,
        entropy=entropy,
        delta_coverage=known.coverage,
        delta_noise=known.noise,
        generator_delta_coverage=None if writer is None else writer.coverage,
        generator_delta_noise=None if writer is None else writer.noise,
        teacher_loss=entropy + known.total,
    )


def _writer_divergence(data: DataSpec, real: EvalSet) -> Divergence:
    """KL of the teacher inside a mixture, on the same set as that of the mixture."""
    writer = open_language(data.source, data.generator)
    return _known_terms(replace(real, q=_over(writer.next_token, data.vocab_size)), writer)[1]


def _over(law: Law, vocab_size: int) -> Law:
    """A law over a vocabulary that may hold tokens which no text has."""

    def wider(sequences: np.ndarray) -> np.ndarray:
        p = law(sequences)
        return p if p.shape[-1] == vocab_size else np.pad(p, [(0, 0), (0, 0), (0, vocab_size - p.shape[-1])])

    return wider


def _net_sets(spec: RunSpec, store: RunStore, law: Law | None) -> EvalSets:
    """The real set of the world, and what a net teacher has written, which only its own law can score."""
    real_data = spec.data.model_copy(update={"teacher": RealTeacher()})
    sets = _world_sets(spec.model_copy(update={"data": real_data}))
    if law is None:
        return replace(sets, delta_coverage=None, delta_noise=None, teacher_loss=None)
    real = replace(sets.real, q=law)
    folder = teacher_text_dir(store, spec.data, seed=spec.evaluation.seed, split="held_out", context=spec.model.context)
    written = TeacherSequences(open_shards(folder), spec.model.context).read(0, real.n_sequences)
    known = infer_divergence(spec.data.source, law, real.sequences)
    return replace(
        sets,
        real=real,
        # The world has no law for everything that a net may write (a cue where an answer belongs), so p is the net's.
        teacher=EvalSet(written.reshape(real.sequences.shape), real.bos, real.scored, p=law),
        delta_coverage=known.coverage,
        delta_noise=known.noise,
        teacher_loss=sets.entropy + known.total,
    )


def _text_sets(spec: RunSpec, store: RunStore) -> EvalSets:
    check_fit(spec)
    source, teacher = spec.data.source, spec.data.teacher
    text = open_text(source, "held_out", store)
    real = _text_set(text, spec)
    bytes_per_token = float(open_tokenizer(source, store).n_bytes[real.sequences].mean())
    if teacher.kind == "real":
        return EvalSets(real=real, bytes_per_token=bytes_per_token)
    seed, context = spec.evaluation.seed, spec.model.context
    folder = teacher_text_dir(store, spec.data, seed=seed, split="held_out", context=context)
    written = open_shards(folder)
    if written.card.tokenizer != text.card.tokenizer:
        raise DataError(
            f"{folder}: the teacher writes with tokenizer {written.card.tokenizer}, the source has "
            f"{text.card.tokenizer}; train the teacher on this source with this tokenizer"
        )
    own = _text_set(written, spec)
    if spec.data.source_token:
        own = replace(own, bos=spec.data.vocab_size - 1)
    elif teacher.kind == "mixture":
        own = _mixed(real, own, teacher.real, seed)
    return EvalSets(
        real=real,
        teacher=own,
        # Of the law of a mixture, what is known is the teacher's alone.
        teacher_loss=None if teacher.kind == "mixture" else written.card.teacher_loss,
        bytes_per_token=bytes_per_token,
    )


def _mixed(real: EvalSet, teacher: EvalSet, share: float, seed: int) -> EvalSet:
    """As many sequences as the smaller set has, a share of them real."""
    flat = [one.sequences.reshape(-1, one.sequences.shape[-1]) for one in (real, teacher)]
    n = min(map(len, flat))
    n_batches, b = _batch_shape(n, n)
    is_real = generator(seed, "mixture evaluation").permutation(n_batches * b) < round(share * n_batches * b)
    sequences = np.where(is_real[:, None], flat[0][: len(is_real)], flat[1][: len(is_real)])
    return replace(teacher, sequences=sequences.reshape(n_batches, b, -1))


def _text_set(shards: TokenShards, spec: RunSpec) -> EvalSet:
    """Windows spread over a held-out text by a permutation that depends on the evaluation seed alone."""
    context = spec.model.context
    per_sequence = shards.card.sequence_tokens
    lengths = [(shard.tokens, per_sequence or shard.tokens) for shard in shards.card.shards]
    per_shard = [total // piece * (piece // context) for total, piece in lengths]
    available = sum(per_shard)
    if available == 0:
        raise DataError(
            f"{shards.folder}: the held-out text is shorter than one context of {context} tokens; "
            "use more text, a larger held_out share, or a smaller model.context"
        )
    n_batches, b = _batch_shape(-(-spec.evaluation.tokens // context), available)
    chosen = np.sort(permute(np.arange(n_batches * b), available, seed=spec.evaluation.seed))
    shard = np.searchsorted(np.cumsum(per_shard), chosen, side="right")
    within = chosen - np.concatenate([[0], np.cumsum(per_shard)])[shard]
    piece = np.array([piece for _, piece in lengths])[shard]
    offset = within // (piece // context) * piece + within % (piece // context) * context
    sequences = shards.windows(shard, offset, context).reshape(n_batches, b, context)
    return EvalSet(sequences, shards.card.bos, np.ones(context, bool))


def _batch_shape(n_sequences: int, available: int | None = None) -> tuple[int, int]:
    """Batches of equal shape that hold at least so many sequences, or all there are but a remainder: (n_batches, b)."""
    wanted = n_sequences if available is None else min(n_sequences, available)
    n_batches = -(-wanted // BATCH)
    b = -(-wanted // n_batches)
    return n_batches, b if available is None or n_batches * b <= available else available // n_batches


def _known_terms(real: EvalSet, teacher: Language) -> tuple[float, Divergence]:
    """H(p) and KL(p‖q), averaged over the scored positions of a set."""
    entropy, parts = 0.0, []
    for sequences in real.sequences:
        p = real.p(sequences)[:, real.scored]
        entropy += float(_entropy(p).sum()) / real.n_scored
        if real.q is not None:
            kl = kl_divergence(p, real.q(sequences)[:, real.scored])
            mass = np.full(kl.shape, 1 / real.n_scored)
            parts.append(split_divergence(mass, kl, teacher.gain(sequences)[:, real.scored]))
    return entropy, Divergence(
        coverage=sum((part.coverage for part in parts), 0.0), noise=sum((part.noise for part in parts), 0.0)
    )


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)
