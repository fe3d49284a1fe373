"""What a record says of a student: its losses on held-out data, and the answers to what it is asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from scaling.data.eval_sets import EvalSet, EvalSets, share_of
from scaling.data.evaluation import evaluation_sets
from scaling.data.tasks.consistency import consistent
from scaling.data.text import open_tokenizer
from scaling.records import RunStore
from scaling.spec import RunSpec, StudentTeacher, TextSource
from scaling.train.evaluate import Scored, evaluate, exact_match
from scaling.train.probe import probe, shares_of
from scaling.train.student.answers import answerer
from scaling.train.student.generator import open_student
from scaling.train.student.model import Student


@dataclass(frozen=True)
class HeldOut:
    """What the runs of one source are measured on, made once for all of them.

    Attributes:
        sets: Where it comes from, and what is known of it beforehand.
        real: The real set.
        teacher: The teacher's set; None where the student reads the real text.
        ood: The set of another kind than what was read; None where there is none.
        exceptions: What a task taught against its rule; None without.
        probe: Asks a student minimal pairs and gives its shares; None where none are asked.
    """

    sets: EvalSets
    real: list[Scored]
    teacher: list[Scored] | None
    ood: list[Scored] | None
    exceptions: list[Scored] | None
    probe: Callable[[Student], dict[str, float]] | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The part of an Outcome that evaluation fills; fields as there."""

    loss: float
    loss_se: float
    bits_per_byte: float | None
    loss_teacher: float | None
    loss_teacher_se: float | None
    teacher_loss: float | None
    entropy: float | None
    delta_coverage: float | None
    delta_noise: float | None
    generator_delta_coverage: float | None
    generator_delta_noise: float | None
    kl_student: float | None
    cross_term: float | None
    exact_match: float | None = None
    exact_match_se: float | None = None
    ood_loss: float | None = None
    ood_loss_se: float | None = None
    ood_bits_per_byte: float | None = None
    unigram_loss: float | None = None
    ood_unigram_loss: float | None = None
    ood_exact_match: float | None = None
    ood_exact_match_se: float | None = None
    consistency: float | None = None
    consistency_se: float | None = None
    memorised: float | None = None
    memorised_se: float | None = None
    pairs: dict[str, float] = field(default_factory=dict)


_HELD: dict[str, HeldOut] = {}
_MOST_HELD = 3


def held_out(spec: RunSpec, store: RunStore) -> HeldOut:
    """The evaluation sets of a run; trunks of the same source and teacher share them within a process."""
    parts = (spec.data, spec.evaluation, spec.model.context, spec.model.vocab_size, str(store.root))
    key = repr(parts)
    if key not in _HELD:
        while len(_HELD) >= _MOST_HELD:
            _HELD.pop(next(iter(_HELD)))
        is_student = isinstance(spec.data.teacher, StudentTeacher)
        probs = open_student(spec, store).next_token_probs if is_student else None
        sets = evaluation_sets(spec, store, teacher_probs=probs)
        _HELD[key] = HeldOut(
            sets,
            real=[Scored.of(batch) for batch in sets.real],
            teacher=_scored(sets.teacher),
            ood=_scored(sets.ood),
            exceptions=_scored(sets.exceptions),
            probe=_probe_of(spec, store),
        )
    return _HELD[key]


def _probe_of(spec: RunSpec, store: RunStore) -> Callable[[Student], dict[str, float]] | None:
    source, n_pairs = spec.data.source, spec.evaluation.pairs
    if n_pairs is None or not isinstance(source, TextSource):
        return None
    tokenizer = open_tokenizer(source, store)
    return lambda student: shares_of(probe(student, tokenizer, n_pairs=n_pairs))


def _scored(batches: EvalSet | None) -> list[Scored] | None:
    return None if batches is None else [Scored.of(batch) for batch in batches]


def measure(student: Student, held: HeldOut) -> Measured:
    """Everything that a record says about a student's loss and answers."""
    sets = held.sets
    real = evaluate(student, held.real)
    teacher = None if held.teacher is None else evaluate(student, held.teacher, under="teacher")
    return Measured(
        loss=real.loss,
        loss_se=real.loss_se,
        bits_per_byte=None if sets.bytes_per_token is None else real.loss / math.log(2.0) / sets.bytes_per_token,
        loss_teacher=None if teacher is None else teacher.loss,
        loss_teacher_se=None if teacher is None else teacher.loss_se,
        teacher_loss=sets.teacher_loss,
        entropy=sets.entropy,
        delta_coverage=sets.delta_coverage,
        delta_noise=sets.delta_noise,
        generator_delta_coverage=sets.generator_delta_coverage,
        generator_delta_noise=sets.generator_delta_noise,
        kl_student=real.kl_student,
        cross_term=real.cross_term,
        pairs={} if held.probe is None else held.probe(student),
        **_elsewhere(student, held),
        **_answered(student, held),
    )


def _elsewhere(student: Student, held: HeldOut) -> dict[str, float | None]:
    """The loss on another kind than what was read; of a text beside that of who knows its tokens' frequencies alone."""
    if held.ood is None:
        return {}
    other, bytes_per_token = evaluate(student, held.ood), held.sets.ood_bytes_per_token
    return {
        "ood_loss": other.loss,
        "ood_loss_se": other.loss_se,
        "ood_bits_per_byte": None if bytes_per_token is None else other.loss / math.log(2.0) / bytes_per_token,
        "unigram_loss": held.sets.unigram_loss,
        "ood_unigram_loss": held.sets.ood_unigram_loss,
    }


def _answered(student: Student, held: HeldOut) -> dict[str, float]:
    """Right answers to a task's questions of each kind, and answers that are the same however a question is asked."""
    task = held.sets.task
    if task is None:
        return {}
    sets = {"exact_match": held.real, "ood_exact_match": held.ood, "memorised": held.exceptions}
    shares = {name: exact_match(student, one) for name, one in sets.items() if one is not None}
    if held.sets.paraphrases:
        shares["consistency"] = share_of(consistent(held.sets.paraphrases, answerer(student, task)))
    return {key: value for name, (share, se) in shares.items() for key, value in ((name, share), (f"{name}_se", se))}
