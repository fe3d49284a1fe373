"""Several models beside each other under one law or several, and whether each is as good as a named one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scaling.errors import SpecError
from scaling.predict.explain.basis import UNIQUE, Basis
from scaling.predict.explain.explanation import Binding, explain
from scaling.predict.explain.teacher import TeacherAsked
from scaling.predict.named.models import NamedModel

Answer = Literal["yes", "no", "open"]
BasisFor = Callable[[Mapping[str, float]], Basis]
"""A law, given what is known of a text beside N and D (as how much of it is unique)."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model that is asked about.

    Attributes:
        label: For people.
        n_params: N where it was given as a number; None for a named model, whose count depends on the law.
        model: The named model.
    """

    label: str
    n_params: float | None = None
    model: NamedModel | None = None

    def size(self, basis: Basis) -> float:
        """N as the law counts it."""
        if self.model is not None:
            return self.model.size(embeddings=basis.embeddings)
        if self.n_params is None:
            raise SpecError(f"{self.label}: has neither a name nor a size")
        return self.n_params

    def tokens(self, asked: float | None) -> float:
        """D: as asked for all, or what the named model read, or without limit for a size alone.

        Raises:
            SpecError: nobody published what the named model read.
        """
        if asked is not None or self.model is None:
            return math.inf if asked is None else asked
        if self.model.n_tokens is None:
            raise SpecError(f"{self.label}: what it read was not published — give --tokens D, or --tokens inf")
        return self.model.n_tokens

    def text(self) -> dict[str, float]:
        """What is known of its own text."""
        unique = None if self.model is None else self.model.n_unique_tokens
        return {} if unique is None else {UNIQUE: unique}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a model is as good as a reference.

    Attributes:
        reference: Label of the reference.
        loss: Its loss by the same law, from its own size and data.
        margin_low: The model's loss at least, minus the reference's: below zero it is better.
        margin_high: The same at most.
        probability: P(loss ≤ the reference's) by a fit's distribution; None for a published law.
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
        real: Loss on real text, nats/token.
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
class Comparison:
    """Rows by law and model.

    Attributes:
        rows: In the order asked, law by law.
        teacher: Label of the teacher; empty for real text.
        tokens: D of all rows; None where each has its own.
        as_good_as: Label of the reference; empty without one.
        teacher_losses: Loss of the teacher by each law.
        level: Of a fit's intervals; None for published laws.
    """

    rows: tuple[Row, ...]
    teacher: str
    tokens: float | None
    as_good_as: str
    teacher_losses: Mapping[str, float]
    level: float | None


def compare_models(
    bases: Sequence[BasisFor],
    subjects: Sequence[Subject],
    *,
    n_tokens: float | None = None,
    teacher: TeacherAsked | None = None,
    as_good_as: Subject | None = None,
    level: float = 0.9,
) -> Comparison:
    """Every model under every law.

    Args:
        bases: The laws.
        subjects: The models.
        n_tokens: D of all; None for each named model's own, and no limit for a size alone.
        teacher: Whose text all of them read; None for real text.
        as_good_as: The reference, of its own size, its own data and real text.
        level: Of the intervals of a fit.

    Raises:
        SpecError: a size, a volume or a teacher that is not known.
    """
    rows, losses = [], {}
    label = ""
    for basis_for in bases:
        for subject in subjects:
            basis = basis_for(subject.text() if n_tokens is None else {})
            who = None if teacher is None else teacher.on(basis)
            row = _row(basis, subject, subject.tokens(n_tokens), teacher, level)
            if who is not None:
                losses[basis.name], label = who.loss, who.label
            if as_good_as is not None:
                own = basis_for(as_good_as.text())
                reference = own.loss(as_good_as.size(own), as_good_as.tokens(None))
                row = _judged(row, basis, as_good_as.label, reference)
            rows.append(row)
    return Comparison(
        rows=tuple(rows),
        teacher=label,
        tokens=n_tokens,
        as_good_as="" if as_good_as is None else as_good_as.label,
        teacher_losses=losses,
        level=None if all(row.law != "fit" for row in rows) else level,
    )


def _row(basis: Basis, subject: Subject, d: float, asked: TeacherAsked | None, level: float) -> Row:
    n = subject.size(basis)
    teacher = None if asked is None else asked.on(basis)
    found = explain(basis, n, d, teacher=teacher)
    low, high = found.loss, found.loss
    # A law that has a form of its own for teachers needs no bounds; a fit has an interval.
    if basis.fit is not None:
        delta = 0.0 if teacher is None else teacher.delta
        doubt = basis.fit.predict(n, d, level=level, delta_noise=delta)
        low, high = doubt.low, doubt.high
    elif basis.of_teacher is None and found.bottleneck is not None and found.additive_bound is not None:
        low, high = found.bottleneck, found.additive_bound
    return Row(
        law=basis.name,
        label=subject.label,
        n_params=n,
        n_tokens=d,
        real=basis.loss(n, d),
        low=low,
        loss=found.loss,
        high=high,
        best_teacher_gives=found.best_teacher_gives,
        binds=found.binds,
        reach=max(found.reach.values(), default=1.0) if basis.ranges else None,
    )


def _judged(row: Row, basis: Basis, label: str, reference: float) -> Row:
    """The row with its verdict."""
    chance = None if basis.fit is None else float(basis.fit.probability(reference, row.n_params, row.n_tokens))
    if chance is None:
        answer: Answer = "yes" if row.high <= reference else "no" if row.low > reference else "open"
    else:
        answer = "yes" if chance >= 0.9 else "no" if chance <= 0.1 else "open"
    return replace(
        row,
        verdict=Verdict(
            reference=label,
            loss=reference,
            margin_low=row.low - reference,
            margin_high=row.high - reference,
            probability=chance,
            answer=answer,
        ),
    )
