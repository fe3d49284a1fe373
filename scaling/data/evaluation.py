"""What every run of a source is measured on: the same sequences, and in a world the exact distribution of every token.

In a world a loss is an expectation, ``Σ_x p(x)·(−ln f(x))`` at each scored position, over a fixed set of contexts:
labels add no noise, and differences between runs are exact on that set. Text is scored by the tokens that are there.

With p real, q teacher, f student, ``CE_p(f) = H(p) + KL(p‖q) + KL(q‖f) + Δ`` with ``Δ = Σ (p − q)·ln(q/f)`` holds
exactly on the real set, with ``entropy``, ``delta_coverage`` and ``delta_noise`` as given here: they are averages
over that set, which agree with the world's closed forms to within one record in n.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scaling.data.batches import check_fit
from scaling.data.counter import permute
from scaling.data.eval_sets import EvalSet, EvalSets, NextTokenProbs, batch_shape
from scaling.data.sequences import TeacherSequences
from scaling.data.shards import open_shards
from scaling.data.tasks import open_task
from scaling.data.text import teacher_text_dir
from scaling.data.text_evaluation import text_sets
from scaling.data.worlds import Divergence, Generator, open_generator
from scaling.data.worlds.generator import kl_divergence, split_divergence
from scaling.data.worlds.unlabelled import infer_divergence
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import DataSpec, MixtureTeacher, RealTeacher, RunSpec, TaskSource, TextSource, WorldSource


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
        return text_sets(spec, source, store)
    if isinstance(source, TaskSource):
        return _task_sets(spec, source)
    if not isinstance(source, WorldSource):
        raise DataError(f"a source of kind {source.kind} is no world, no text and no task; make its class one of them")
    if spec.data.teacher.is_stored:
        return _student_teacher_sets(spec, source, store, teacher_probs)
    return _world_sets(spec, source)


def _task_sets(spec: RunSpec, source: TaskSource) -> EvalSets:
    """Questions of the kind learned from and of the kind kept from it: as many of each as an evaluation has tokens."""
    check_fit(spec, context=source.sequence_tokens)
    task, wanted = open_task(source), -(-spec.evaluation.tokens // source.sequence_tokens)

    def chosen(n: int) -> np.ndarray:
        """Places of some of n, by batch."""
        shape = batch_shape(wanted, n)
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
    shape = batch_shape(-(-spec.evaluation.tokens // p.context))

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
