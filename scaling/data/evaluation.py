"""What every run of a source is measured on: the same sequences, and in a world the exact distribution of every token.

In a world a loss is an expectation, ``Σ_x p(x)·(−ln f(x))`` at each scored position, over a fixed set of contexts:
labels add no noise, and differences between runs are exact on that set. Text is scored by the tokens that are there.

With p real, q teacher, f student, ``CE_p(f) = H(p) + KL(p‖q) + KL(q‖f) + Δ`` with ``Δ = Σ (p − q)·ln(q/f)`` holds
exactly on the real set, with ``entropy``, ``delta_coverage`` and ``delta_noise`` as given here: they are averages
over that set, which agree with the world's closed forms to within one record in n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from scaling.data.batches import check_fit, with_bos
from scaling.data.counter import permute, random_at
from scaling.data.recut import open_recut
from scaling.data.sequences import TeacherSequences
from scaling.data.shards import TokenShards, open_shards
from scaling.data.tasks import Task, open_task
from scaling.data.tasks.example import Paraphrase
from scaling.data.text import open_other_text, open_text, open_tokenizer, teacher_text_dir
from scaling.data.worlds import Divergence, Generator, open_generator
from scaling.data.worlds.generator import kl_divergence, split_divergence
from scaling.data.worlds.unlabelled import infer_divergence
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import CorpusSpec, DataSpec, MixtureTeacher, RealTeacher, RunSpec, TaskSource, TextSource, WorldSource

NextTokenProbs = Callable[[np.ndarray], np.ndarray]
"""Distributions of the next token given sequences: int32[b, T] to float64[b, T, V]."""

BATCH = 64
"""Sequences of one evaluation batch, at most."""


@dataclass(frozen=True)
class EvalBatch:
    """A part of an evaluation set; all parts of a set have one shape.

    Attributes:
        inputs: int32[b, T].
        targets: int32[b, T], the tokens that are there; a text's loss is scored on them.
        weights: float32[b, T], 1 where the loss counts and 0 elsewhere.
        p: float32[b, T, V], exact distribution of the next token in the real world; None for text.
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
        scored: bool[T], positions that count in every sequence, or bool[n_batches, b, T], those of each.
        p: Distribution of the next token given sequences, int32[b, T] to float64[b, T, V]; None for text.
        q: The teacher's, likewise.
    """

    sequences: np.ndarray
    bos: int
    scored: np.ndarray
    p: NextTokenProbs | None = None
    q: NextTokenProbs | None = None

    @property
    def n_sequences(self) -> int:
        return self.sequences.shape[0] * self.sequences.shape[1]

    @property
    def n_scored(self) -> int:
        """Tokens that count in the loss."""
        return int(np.broadcast_to(self.scored, self.sequences.shape).sum())

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[EvalBatch]:
        scored = np.broadcast_to(self.scored, self.sequences.shape).astype(np.float32)
        for sequences, weights in zip(self.sequences, scored, strict=True):
            yield EvalBatch(
                inputs=with_bos(sequences, self.bos),
                targets=sequences,
                weights=weights,
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
            and for a teacher that is a student of the world, where its distribution was not given.
        delta_noise: All other KL(p‖q); None likewise.
        generator_delta_coverage: ``delta_coverage`` of the teacher inside a mixture, else None.
        generator_delta_noise: ``delta_noise``, likewise.
        teacher_loss: ``H(p) + KL(p‖q)``, or the measured loss of a trained teacher; None where neither is known.
        bytes_per_token: Bytes of text behind a scored token of the real set; None for worlds.
        ood: What is of another kind than what was read: questions that a task keeps from training, or another text;
            None without either.
        ood_bytes_per_token: ``bytes_per_token`` of another text.
        unigram_loss: On the real set, of who knows how often each token comes in the source's training part and no
            more; known where there is another text.
        ood_unigram_loss: The same on the other text.
        task: What the questions are asked in; None without a task.
        exceptions: Questions that a task taught against its rule, as they were taught; None without any.
        paraphrases: Questions of a task, each beside another way to ask it.
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
    ood: EvalSet | None = None
    ood_bytes_per_token: float | None = None
    unigram_loss: float | None = None
    ood_unigram_loss: float | None = None
    task: Task | None = None
    exceptions: EvalSet | None = None
    paraphrases: tuple[Paraphrase, ...] = ()


def evaluation_sets(spec: RunSpec, store: RunStore, *, teacher_probs: NextTokenProbs | None = None) -> EvalSets:
    """What a run is measured on; a function of its source, teacher, context and evaluation settings alone.

    Args:
        spec: The run.
        store: Where prepared text lies (worlds need none).
        teacher_probs: Of a teacher that is a student of the world, which takes its weights to know; without them there
            is only the real set.

    Raises:
        DataError: if the source does not fit the model, or its text is absent, damaged or not prepared.
    """
    source = spec.data.source
    if isinstance(source, TextSource):
        return _text_sets(spec, source, store)
    if isinstance(source, TaskSource):
        return _task_sets(spec, source)
    if not isinstance(source, WorldSource):
        raise DataError(f"a source of kind {source.kind} is no world, no text and no task; make its class one of them")
    if spec.data.teacher.is_stored:
        return _student_teacher_sets(spec, source, store, teacher_probs)
    return _world_sets(spec, source)


def share_of(right: np.ndarray) -> tuple[float, float]:
    """Share of right answers and its standard error."""
    share = float(right.sum()) / len(right)
    return share, standard_error(share, len(right))


def standard_error(share: float, n: int) -> float:
    """Of a share r/n: ``se² = (r + ½)(n − r + ½) / (n + 1)³``, which is not zero where all or none are right."""
    return math.sqrt((n * share + 0.5) * (n - n * share + 0.5) / (n + 1) ** 3)


def _task_sets(spec: RunSpec, source: TaskSource) -> EvalSets:
    """Questions of the kind learned from and of the kind kept from it: as many of each as an evaluation has tokens."""
    check_fit(spec, context=source.sequence_tokens)
    task, wanted = open_task(source), -(-spec.evaluation.tokens // source.sequence_tokens)

    def chosen(n: int) -> np.ndarray:
        """Places of some of n, by batch."""
        shape = _batch_shape(wanted, n)
        return np.sort(permute(np.arange(shape[0] * shape[1]), n, seed=spec.evaluation.seed)).reshape(shape)

    def drawn(sequences: np.ndarray) -> EvalSet:
        own = sequences[chosen(len(sequences))]
        return EvalSet(own, task.bos, task.is_answer(own))

    asked_again = chosen(len(task.paraphrases)).ravel() if task.paraphrases else ()
    return EvalSets(
        real=drawn(task.asked),
        ood=drawn(task.test),
        task=task,
        exceptions=drawn(task.exceptions) if len(task.exceptions) else None,
        paraphrases=tuple(task.paraphrases[i] for i in asked_again),
    )


def _world_sets(spec: RunSpec, source: WorldSource) -> EvalSets:
    """With a source token the student is asked for real text, which is nothing but real; the teacher's lies apart."""
    data, marked = spec.data, spec.data.source_token
    # Where sequences say whether they are real, the teacher's distribution is asked for by its token, unmixed.
    p, q = open_generator(source), open_generator(source, data.generator if marked else data.teacher)
    check_fit(spec, context=p.context)
    shape = _batch_shape(-(-spec.evaluation.tokens // p.context))

    def draw(generator: Generator) -> np.ndarray:
        sequences = generator.evaluation_sequences(shape[0] * shape[1], spec.evaluation.seed)
        return sequences.reshape(*shape, generator.context)

    has_teacher = not isinstance(data.teacher, RealTeacher)
    # The token that marks a teacher's text is part of the vocabulary and never of a text: its probability is zero.
    p_probs, q_probs = (_over(one.next_token_probs, data.vocab_size) for one in (p, q))
    real = EvalSet(draw(p), p.bos, p.scored, p_probs, q_probs if has_teacher and not marked else None)
    begin = data.source_token_id if marked else q.bos
    teacher = EvalSet(draw(q), begin, q.scored, p_probs, q_probs) if has_teacher else None
    entropy, known = _known_terms(real, p_probs, q)
    is_mixture = isinstance(data.teacher, MixtureTeacher)
    inside = _generator_divergence(data, source, real, p_probs) if is_mixture else None
    return EvalSets(
        real=real,
        teacher=teacher,
        entropy=entropy,
        delta_coverage=known.coverage,
        delta_noise=known.noise,
        generator_delta_coverage=None if inside is None else inside.coverage,
        generator_delta_noise=None if inside is None else inside.noise,
        teacher_loss=entropy + known.total,
    )


def _generator_divergence(data: DataSpec, source: WorldSource, real: EvalSet, real_probs: NextTokenProbs) -> Divergence:
    """KL of the teacher inside a mixture, on the same set as that of the mixture."""
    inside = open_generator(source, data.generator)
    own = replace(real, q=_over(inside.next_token_probs, data.vocab_size))
    return _known_terms(own, real_probs, inside)[1]


def _over(probs: NextTokenProbs, vocab_size: int) -> NextTokenProbs:
    """Distributions over a vocabulary that may hold tokens which no text has."""

    def wider(sequences: np.ndarray) -> np.ndarray:
        p = probs(sequences)
        return p if p.shape[-1] == vocab_size else np.pad(p, [(0, 0), (0, 0), (0, vocab_size - p.shape[-1])])

    return wider


def _student_teacher_sets(
    spec: RunSpec, source: WorldSource, store: RunStore, probs: NextTokenProbs | None
) -> EvalSets:
    """The real set of the world, and what a student of it has generated, which only its own distribution can score."""
    real_data = spec.data.model_copy(update={"teacher": RealTeacher()})
    sets = _world_sets(spec.model_copy(update={"data": real_data}), source)
    if probs is None or sets.entropy is None:
        return replace(sets, delta_coverage=None, delta_noise=None, teacher_loss=None)
    real = replace(sets.real, q=probs)
    folder = teacher_text_dir(store, spec.data, seed=spec.evaluation.seed, split="held_out", context=spec.model.context)
    written = TeacherSequences(open_shards(folder), spec.model.context).read(0, real.n_sequences)
    known = infer_divergence(source, probs, real.sequences)
    return replace(
        sets,
        real=real,
        # The world has no distribution after all that a student may write (a cue where an answer belongs), so p is its
        # own.
        teacher=EvalSet(written.reshape(real.sequences.shape), real.bos, real.scored, p=probs),
        delta_coverage=known.coverage,
        delta_noise=known.noise,
        teacher_loss=sets.entropy + known.total,
    )


def _text_sets(spec: RunSpec, source: TextSource, store: RunStore) -> EvalSets:
    check_fit(spec)
    text = open_text(source, "held_out", store)
    real = _text_set(text, spec)
    sets = EvalSets(real=real, bytes_per_token=_bytes_per_token(real, source, store))
    if spec.evaluation.ood is not None:
        sets = _beside_other_text(sets, spec.evaluation.ood, spec, source, store)
    teacher = spec.data.teacher
    if isinstance(teacher, RealTeacher):
        return sets
    seed, context = spec.evaluation.seed, spec.model.context
    folder = teacher_text_dir(store, spec.data, seed=seed, split="held_out", context=context)
    written = open_shards(folder)
    own = _recut_set(written, spec, store) if spec.data.is_recut else _same_cut_set(written, text, spec)
    if spec.data.source_token:
        own = replace(own, bos=spec.data.source_token_id)
    elif isinstance(teacher, MixtureTeacher):
        own = _mixed(real, own, teacher.real, seed)
    # Of a mixture, what is known is the loss of the teacher inside alone; that on other tokens says nothing here.
    unknown = isinstance(teacher, MixtureTeacher) or spec.data.is_recut
    teacher_loss = None if unknown else written.card.teacher_loss
    return replace(sets, teacher=own, teacher_loss=teacher_loss)


def _recut_set(written: TokenShards, spec: RunSpec, store: RunStore) -> EvalSet:
    """What a teacher with more tokens wrote, in those of its student."""
    own, recut = _text_set(written, spec), open_recut(spec.data, store)
    rows = recut.rows(own.sequences.reshape(-1, spec.model.context))
    return replace(own, sequences=rows.reshape(own.sequences.shape), bos=recut.small.eos_id)


def _same_cut_set(written: TokenShards, text: TokenShards, spec: RunSpec) -> EvalSet:
    if written.card.tokenizer != text.card.tokenizer:
        raise DataError(
            f"{written.folder}: the teacher writes with tokenizer {written.card.tokenizer}, the source has "
            f"{text.card.tokenizer}; train the teacher on this source with this tokenizer"
        )
    return _text_set(written, spec)


def _beside_other_text(
    sets: EvalSets, other: CorpusSpec, spec: RunSpec, source: TextSource, store: RunStore
) -> EvalSets:
    """The sets with another text, and what both cost who knows the frequencies of tokens alone."""
    ood = _text_set(open_other_text(other, source, store), spec)
    counts = open_text(source, "train", store).counts()
    # Each token as if it had been seen once more, so that none is impossible.
    cost = np.log(counts.sum() + len(counts)) - np.log(counts + 1)
    unigram, ood_unigram = (float(cost[one.sequences].mean()) for one in (sets.real, ood))
    return replace(
        sets,
        ood=ood,
        ood_bytes_per_token=_bytes_per_token(ood, source, store),
        unigram_loss=unigram,
        ood_unigram_loss=ood_unigram,
    )


def _bytes_per_token(text: EvalSet, source: TextSource, store: RunStore) -> float:
    return float(open_tokenizer(source, store).n_bytes[text.sequences].mean())


def _mixed(real: EvalSet, teacher: EvalSet, share: float, seed: int) -> EvalSet:
    """As many sequences as the smaller set has, a share of them real."""
    flat = [one.sequences.reshape(-1, one.sequences.shape[-1]) for one in (real, teacher)]
    n = min(map(len, flat))
    n_batches, b = _batch_shape(n, n)
    is_real = random_at(seed, "mixture evaluation").permutation(n_batches * b) < round(share * n_batches * b)
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


def _known_terms(real: EvalSet, real_probs: NextTokenProbs, teacher: Generator) -> tuple[float, Divergence]:
    """H(p) and KL(p‖q), averaged over the scored positions of a set."""
    entropy, parts = 0.0, []
    for sequences in real.sequences:
        p = real_probs(sequences)[:, real.scored]
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
