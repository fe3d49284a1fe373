"""Several models beside each other under one law or several, and whether each is as good as a named one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from scaling.errors import SpecError
from scaling.laws.presets import preset
from scaling.numbers import count, positive
from scaling.predict.explain.asked import Asked, asked_of, check_source, doubt_of
from scaling.predict.explain.basis import UNIQUE, Basis, in_sample_note
from scaling.predict.explain.explanation import Binding, bounds, terms_of
from scaling.predict.explain.teacher import TeacherAsked, best_teacher
from scaling.predict.named.models import NamedModel, named_model
from scaling.shown import Shown
from scaling.tables.units import NATS

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.result import Fit

Answer = Literal["yes", "no", "open"]
SURE = 0.9
"""P from which a fit's verdict is "yes", and below whose complement it is "no"."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model that is asked about.

    Attributes:
        label: For people.
        n_params: N where it was given as a number; None for a named model, whose count depends on the law.
        n_tokens: D where it was given beside N.
        model: The named model.
    """

    label: str
    n_params: float | None = None
    n_tokens: float | None = None
    model: NamedModel | None = None

    def size(self, basis: Basis) -> float:
        """N as the law counts it."""
        if self.model is not None:
            return self.model.size(embeddings=basis.embeddings)
        if self.n_params is None:
            raise SpecError(f"{self.label}: has neither a name nor a size")
        return self.n_params

    def tokens(self, asked: float | None) -> float:
        """D: of its own, or as asked for all, or what the named model read, or without limit for a size alone.

        Raises:
            SpecError: nobody published what the named model read.
        """
        if self.n_tokens is not None:
            return self.n_tokens
        if asked is not None or self.model is None:
            return math.inf if asked is None else asked
        if self.model.n_tokens is None:
            raise SpecError(f"{self.label}: what it read was not published — give --tokens D, or --tokens inf")
        return self.model.n_tokens

    def text(self, source: Fit | str) -> dict[str, float]:
        """What is known of its own text, as far as a law reads it."""
        unique = None if self.model is None else self.model.n_unique_tokens
        columns = preset(source).law.columns if isinstance(source, str) else source.law.columns
        return {UNIQUE: unique} if unique is not None and UNIQUE in columns else {}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a model is as good as a reference.

    Attributes:
        reference: Label of the reference.
        loss: Its loss by the same law, from its own size and data.
        margin_low: The model's loss at least, minus the reference's: below zero it is better.
        margin_high: The same at most.
        probability: P(loss ≤ the reference's) by a fit's distribution; None for a published law, and where a fit has
            no more than bounds.
        answer: "yes" or "no" where both margins agree (a fit: P of 0.9 or more, or 0.1 or less), else "open".
    """

    reference: str
    loss: float
    margin_low: float
    margin_high: float
    probability: float | None
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model under one law.

    Attributes:
        law: Name of the law.
        label: The model.
        n_params: N, as the law counts it.
        n_tokens: D.
        real: Loss on real text, in the unit of the law.
        low: Least loss of what was asked: the bottleneck of a teacher, the lower end of a fit's interval, else `real`.
        loss: Of what was asked: on the teacher's text, or on real text.
        high: Most: the additive bound, or the upper end.
        best_teacher_gives: Loss with the teacher that would serve this student best, under a law with a capacity gap.
        binds: The largest term.
        reach: Largest factor by which N or D lies outside the runs behind the law; None where those are unknown.
        verdict: Beside a reference; None where none was asked.
    """

    law: str
    label: str
    n_params: float
    n_tokens: float
    real: float
    low: float
    loss: float
    high: float
    best_teacher_gives: float | None
    binds: Binding
    reach: float | None
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison(Shown):
    """Rows by law and model.

    Attributes:
        rows: In the order asked, law by law.
        teacher: Label of the teacher; empty for real text.
        tokens: D of all rows; None where each has its own.
        as_good_as: Label of the reference; empty without one.
        teacher_losses: Loss of the teacher by each law, as far as it is known.
        teacher_limits: Where each law ends students of unlimited text of a teacher whose loss is not known.
        level: Of a fit's intervals; None where all ends are bounds, as of published laws.
        unit: Of all losses.
        text: What `Row.real` is of: real text, or of a fit without any the text that is asked about.
        notes: What a reader should know.
    """

    rows: tuple[Row, ...]
    teacher: str
    tokens: float | None
    as_good_as: str
    teacher_losses: Mapping[str, float]
    level: float | None
    unit: str = NATS
    text: str = "real text"
    notes: tuple[str, ...] = ()
    teacher_limits: Mapping[str, float] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """One row a law and model."""
        import pandas as pd

        return pd.DataFrame([{**vars(row), "verdict": row.verdict and row.verdict.answer} for row in self.rows])


def compare_models(
    sources: Sequence[Fit | str] | Fit | str,
    subjects: Sequence[Subject | str] | Subject | str,
    *,
    n_tokens: float | str | None = None,
    teacher: str | TeacherAsked | None = None,
    columns: Mapping[str, float] | None = None,
    as_good_as: Subject | str | None = None,
    level: float = 0.9,
    force: bool = False,
) -> Comparison:
    """Every model under every law.

    >>> compare_models("besiroglu", ["bert-base", "1B"], n_tokens="inf").frame()["real"].round(3).tolist()
    [2.587, 2.174]

    Args:
        sources: Fits, or names of published laws; one or several.
        subjects: The models, one or several: their names, or sizes as people write them, ``1B:20B`` with tokens.
        n_tokens: D of all; None for each named model's own, and no limit for a size alone.
        teacher: Whose text all of them read; None for real text.
        columns: What the laws are a function of beside N, D and the teacher.
        as_good_as: The reference, of its own size, its own data and real text.
        level: Of the intervals of a fit.
        force: Ask a fit even more than 10 × beyond its runs.

    Raises:
        SpecError: a size, a volume or a teacher that is not known, or laws of different units.
        ExtrapolationError: a model too far beyond a fit's runs.
    """
    rows: list[Row] = []
    questions: list[Asked] = []
    unit = _one_unit(_several(sources))
    n_tokens = count(n_tokens, "n_tokens")
    losses: dict[str, float] = {}
    limits: dict[str, float] = {}
    label, text = "", "real text"
    reference = named_subject(as_good_as) if isinstance(as_good_as, str) else as_good_as
    # A law may read more of a named model's text than its length, so each pair is a question of its own.
    for source in _several(sources):
        for one in _several(subjects):
            subject = named_subject(one) if isinstance(one, str) else one
            known = subject.text(source) if n_tokens is None else {}
            question = asked_of(source, teacher=teacher, columns=known | dict(columns or {}))
            if question.teacher is not None:
                label = question.teacher.label
                told = limits if question.teacher.loss_from == "limit" else losses
                told[question.basis.name] = question.teacher.loss
            elif question.basis.fit is not None:
                text = question.text
            row = _row(question, subject, subject.tokens(n_tokens), level, force=force)
            if reference is not None:
                own = asked_of(source, columns=reference.text(source) | dict(columns or {}))
                row = replace(row, verdict=_verdict(row, question, own, reference, level, force=force))
            rows.append(row)
            questions.append(question)
    return Comparison(
        rows=tuple(rows),
        teacher=label,
        tokens=n_tokens,
        as_good_as="" if reference is None else reference.label,
        teacher_losses=losses,
        teacher_limits=limits,
        level=level if any(one.basis.fit is not None and one.is_in_words for one in questions) else None,
        notes=tuple(dict.fromkeys(note for one in questions for note in _notes(one))),
        unit=unit,
        text=text,
    )


def _one_unit(sources: Sequence[Fit | str]) -> str:
    """The unit of all laws, as losses of different units say nothing beside each other."""
    for one in sources:
        check_source(one)
    units = sorted({NATS if isinstance(source, str) else source.unit for source in sources})
    if len(units) > 1:
        raise SpecError(f"laws beside each other: got losses in {' and in '.join(units)} — compare laws of one unit")
    return units[0] if units else NATS


def _notes(question: Asked) -> tuple[str, ...]:
    """What a reader must know of a text, and of a fit's intervals."""
    fit = question.basis.fit
    return question.notes if fit is None else (*question.notes, *in_sample_note(fit))


def _several(given: Any) -> Sequence[Any]:
    return given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)


def named_subject(text: str) -> Subject:
    """``bert-base``, ``1B`` or ``1B:20B``: what begins with a digit, or is inf, is a size, and tokens after a colon.

    Raises:
        SpecError: neither a model of the literature nor a size.
    """
    size, colon, tokens = text.partition(":")
    if text[:1] in "0123456789.+-" or size.lower() == "inf":
        return Subject(label=text, n_params=_positive(size), n_tokens=_positive(tokens) if colon else None)
    known = named_model(text)
    return Subject(label=known.label, model=known)


def _positive(text: str) -> float:
    return positive(text, "a model's size or tokens", example="100M, or 1B:20B")


def _row(question: Asked, subject: Subject, d: float, level: float, *, force: bool) -> Row:
    basis, n = question.basis, subject.size(question.basis)
    terms = terms_of(basis, question.surface, n, d)
    doubt = doubt_of(question, n, d, level=level, force=force)
    low, high = bounds(basis, question.teacher, n, d) if doubt is None else (doubt.low, doubt.high)
    loss = terms.loss + (0.0 if doubt is None else doubt.runs)
    best = None if question.teacher is None else best_teacher(basis, n, d)
    return Row(
        law=basis.name,
        label=subject.label,
        n_params=n,
        n_tokens=d,
        real=basis.loss(n, d),
        low=loss if low is None else low,
        loss=loss,
        high=loss if high is None else high,
        best_teacher_gives=None if best is None else best[1],
        binds=terms.binds,
        reach=max(basis.reach(n, d).values(), default=1.0) if basis.ranges else None,
    )


def _verdict(row: Row, question: Asked, own: Asked, by: Subject, level: float, *, force: bool) -> Verdict:
    """The row beside the reference, which read its own text."""
    n, d = by.size(own.basis), by.tokens(None)
    of_reference = doubt_of(own, n, d, level=level, force=force)
    reference = own.basis.loss(n, d) + (0.0 if of_reference is None else of_reference.runs)
    is_fit, asked = question.basis.fit is not None, (row.n_params, row.n_tokens)
    chance = question.probability(reference, *asked, force=force) if is_fit else None
    return Verdict(
        reference=by.label,
        loss=reference,
        margin_low=row.low - reference,
        margin_high=row.high - reference,
        probability=chance,
        answer=_answer(row.low - reference, row.high - reference, chance),
    )


def _answer(margin_low: float, margin_high: float, chance: float | None) -> Answer:
    """By both margins, or by the chance where a fit gives one."""
    if chance is None:
        return "yes" if margin_high <= 0 else "no" if margin_low > 0 else "open"
    return "yes" if chance >= SURE else "no" if chance <= 1 - SURE else "open"
