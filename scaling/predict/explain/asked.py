"""Whom a question is put to, of whose text, and how sure the answer is: a published law has no interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import ExtrapolationError, FitError, SpecError
from scaling.fit.prediction import Prediction
from scaling.fit.reach import MAX_REACH, far, in_words
from scaling.fit.result import check_fit
from scaling.predict.explain.basis import Basis, at, of_fit, published
from scaling.predict.explain.teacher import Teacher, TeacherAsked, ends_about, like_own_text, measured_loss, own_surface
from scaling.predict.named.models import models
from scaling.predict.solve.inverse import Surface
from scaling.registry import did_you_mean, one_begun
from scaling.tables.observations import REAL
from scaling.tables.units import NATS

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.predict.measurement import Measured


@dataclass(frozen=True)
class Bounded(Prediction):
    """The additive bound of a teacher of whom a fit knows the loss alone, from the bottleneck to that bound.

    The ends are those of the fit's intervals of real text, moved by what the teacher's error costs at least and at
    most; no share of runs lies between them, and the level is no number.
    """

    def __str__(self) -> str:
        if np.size(self.value) != 1:
            return super().__str__()
        return f"{self.low:.4f} (bottleneck) – {self.high:.4f} (additive bound) {self.unit} ({self.basis})"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked, and of whom.

    Attributes:
        basis: The law.
        teacher: Whose text; None for real text, and for any text of a fit that has no real one to hold it against.
        surface: Loss of the students of that text.
        columns: What the law is a function of beside N, D and the teacher.
        own_text: Label or id of the text, where it is one of the fit's own; else empty.
        notes: What a reader should know of the text, beside what the law's own notes say.
    """

    basis: Basis
    teacher: Teacher | None
    surface: Surface
    columns: Mapping[str, float]
    own_text: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_in_words(self) -> bool:
        """Whether `Fit.predict` has words for the text. A law without divergences has none for a teacher that is told
        by its loss: it tells real text, and that teacher's error costs a student all of itself at most."""
        return bool(self.own_text) or self.teacher is None or self.basis.of_teacher is not None

    @property
    def text_columns(self) -> dict[str, Any]:
        """The text in the words of `Fit.predict`; real text where there are none."""
        if self.own_text:
            return {"teacher": self.own_text, **self.columns}
        if self.teacher is None or self.basis.of_teacher is None:
            return dict(self.columns)
        return {"delta_noise": self.teacher.delta, **self.columns}

    def predict(self, n: Any, d: Any, **asked: Any) -> Prediction:
        """`Fit.predict` of the text that is asked about, by the fit that the question is put to; without words for it,
        the additive bound, between the ends of what a teacher's error may cost."""
        said = self._fit.predict(n, d, **asked, **self.text_columns)
        if self.teacher is None or self.is_in_words:
            return said
        low, high = ends_about(self.basis, self.teacher, said.low, said.high)
        # Runs of this size and volume read real text: they are nearby, not a measurement of what is asked about.
        return Bounded(
            said.value + self.teacher.delta,
            low,
            high,
            math.nan,
            np.full(np.shape(said.scale), np.nan)[()],
            said.reach,
            said.near + said.measured,
            0 * said.measured,
            said.at,
            said.unit,
        )

    def probability(self, target: float, n: float, d: float, **asked: Any) -> float | None:
        """`Fit.probability` of the text that is asked about; None where the fit has no more than bounds for it."""
        if not self.is_in_words:
            return None
        return float(self._fit.probability(target, n, d, **asked, **self.text_columns)) if target > 0 else 0.0

    @property
    def _fit(self) -> Fit:
        assert self.basis.fit is not None, "a published law has no interval"
        return self.basis.fit

    @property
    def text(self) -> str:
        """Whose text, in words."""
        if self.teacher is not None:
            return f"text of {self.teacher.label}"
        fit = self.basis.fit
        # A fit of one text answers for that text, whatever it is called.
        texts = [self.own_text] if self.own_text else [] if fit is None else [*fit.teachers]
        label = REAL if fit is None or len(texts) != 1 else fit.label_of(texts[0])
        return "real text" if label == REAL else f"text of {label}"


def check_source(source: Any) -> None:
    """Refuse what is neither a fit nor a name.

    Raises:
        SpecError: says what was got.
    """
    if not isinstance(source, str):
        check_fit(source, "or the name of a published law, as 'besiroglu'; scaling.load_fit reads a saved fit")


def asked_of(
    source: Fit | str, *, teacher: str | TeacherAsked | None = None, columns: Mapping[str, float] | None = None
) -> Asked:
    """The law and the text of a question.

    Args:
        source: A fit, or the name of a published law.
        teacher: A label or text of the fit, the name of a model of the literature, or its size or loss; None for real
            text.
        columns: What the law is a function of beside N, D and the teacher.

    Raises:
        SpecError: unknown law, teacher or column.
        ExtrapolationError: a teacher further beyond a fit's runs than it can say.
    """
    check_source(source)
    given = dict(columns or {})
    fit = None if isinstance(source, str) else source
    # A label of the fit comes before a name of the literature.
    if fit is not None and isinstance(teacher, str) and teacher not in models():
        teacher = one_begun(teacher, fit.teachers) or teacher
    alone = {} if fit is None or fit.knows_real_text else {"teacher": teacher}
    basis = published(source, given) if isinstance(source, str) else of_fit(source, given | alone)
    if fit is not None and isinstance(teacher, str):
        if fit.label_of(teacher) == REAL:
            return Asked(basis=basis, teacher=None, surface=basis.real, columns=given)
        if teacher in fit.teachers or teacher in fit.texts:
            return _of_own_text(basis, fit, teacher, given)
        if teacher not in models():
            raise SpecError(f"unknown teacher {teacher!r}{did_you_mean(teacher, (*fit.teachers, *models()))}")
    who = TeacherAsked(name=teacher) if isinstance(teacher, str) else teacher
    if who is None:
        return Asked(basis=basis, teacher=None, surface=basis.real, columns=given)
    found = who.on(basis)
    if fit is not None and found.n_params is not None and found.n_tokens is not None:
        refuse_beyond(basis, found.n_params, found.n_tokens, f"the teacher ({found.label})")
    told = Asked(basis=basis, teacher=found, surface=own_surface(basis, found), columns=given)
    return told if told.is_in_words else replace(told, notes=like_own_text(basis, found))


def _of_own_text(basis: Basis, fit: Fit, label: str, columns: Mapping[str, float]) -> Asked:
    """A text that students of the fit have read, and its teacher, where there is real text to tell."""

    def surface(n: np.ndarray, d: np.ndarray) -> np.ndarray:
        return fit.loss(n, d, teacher=label, **columns)

    if not fit.knows_real_text:
        return Asked(basis=basis, teacher=None, surface=surface, columns=columns, own_text=label)
    who = _own_teacher(basis, fit, fit.label_of(label), at(surface, math.inf, math.inf))
    return Asked(basis=basis, teacher=who, surface=surface, columns=columns, own_text=label, notes=who.notes)


def _own_teacher(basis: Basis, fit: Fit, label: str, limit: float) -> Teacher:
    """The teacher of a text of the fit: of a world exactly, else by its measured loss, else by the law's limit."""
    facts = fit.teachers.get(label, {})
    if basis.entropy is not None and {"delta_noise", "delta_coverage"} <= facts.keys():
        delta = facts["delta_noise"] + facts["delta_coverage"]
        return Teacher(label=label, loss=basis.entropy + delta, delta=delta, loss_from="exact")
    # What is measured is of the teacher alone, and in nats; of a text that is partly real it says little.
    measured = measured_loss(facts) if basis.unit == NATS and not facts.get("real_share") else None
    if measured is None:
        delta = max(0.0, limit - basis.floor)
        return Teacher(label=label, loss=limit, delta=delta, loss_from="limit", limit=limit)
    delta = max(0.0, measured - basis.floor)
    return Teacher(label=label, loss=measured, delta=delta, loss_from="measured", limit=limit)


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """What a fit adds to its law: runs nearby, and an interval.

    Attributes:
        low, high: Ends of the interval, nats/token; of a teacher of whom the fit knows the loss alone, of its bounds.
        level: Of the interval; None where the ends are bounds.
        error: Standard deviation of log loss behind it; None likewise.
        runs: By how much runs nearby lie off the law.
        basis: What the forecast rests on.
        measured: What was measured of this very size, volume and text, where the law is told beside it.
    """

    low: float
    high: float
    level: float | None
    error: float | None
    runs: float
    basis: str
    measured: Measured | None = None


def doubt_of(question: Asked, n: float, d: float, *, level: float, force: bool = False) -> Doubt | None:
    """A fit's interval and what its runs nearby say, or those of this very size; None for a published law.

    Raises:
        ExtrapolationError: too far beyond the fit's runs, unless forced.
        FitError: the runs do not determine the floor, unless forced.
    """
    fit = _asked_within(question, n, d, force=force)
    if fit is None:
        return None
    return _doubt(question, n, d, question.predict(n, d, level=level, force=force))


def doubt_beside(question: Asked, n: float, d: float, table: Path | None, *, level: float, force: bool) -> Doubt | None:
    """`doubt_of`, the law's alone beside what was measured."""
    from scaling.predict.measured import law_and_measured

    fit = _asked_within(question, n, d, force=force)
    if fit is None or not question.is_in_words:
        return doubt_of(question, n, d, level=level, force=force)
    said, measured = law_and_measured(fit, n, d, table=table, level=level, force=force, **question.text_columns)
    doubt = _doubt(question, n, d, said)
    return doubt if measured is None else replace(doubt, basis="measured", measured=measured)


def _asked_within(question: Asked, n: float, d: float, *, force: bool) -> Fit | None:
    """The fit, where there is one; what it cannot say is refused."""
    fit = question.basis.fit
    if fit is not None and not force:
        _refuse_without_terms(fit)
        refuse_beyond(question.basis, n, d, "this forecast")
    return fit


def _doubt(question: Asked, n: float, d: float, said: Prediction) -> Doubt:
    runs = float(said.value) - at(question.surface, n, d)
    level, error = (said.level, said.scale) if question.is_in_words else (None, None)
    return Doubt(low=said.low, high=said.high, level=level, error=error, runs=runs, basis=said.basis)


def _refuse_without_terms(fit: Fit) -> None:
    if not fit.success:
        reasons = " ".join(fit.status.reasons)
        raise FitError(f"the runs behind this fit do not determine its terms: {reasons}", fit=fit)


def refuse_beyond(basis: Basis, n: float, d: float, what: str) -> None:
    """Refuse a size or volume that lies too far from the runs behind a fit.

    Raises:
        ExtrapolationError: more than `MAX_REACH` beyond them.
    """
    reach = basis.farthest(n, d)
    if reach > MAX_REACH:
        raise ExtrapolationError(far(what, reach, in_words(basis.ranges)))
