"""Questions to a fit or to a published law by name: explain a forecast, or solve it for what is left open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import ExtrapolationError, FitError, SpecError
from scaling.laws.batch import CriticalBatch
from scaling.laws.presets import preset
from scaling.numbers import count
from scaling.predict.explain.basis import Basis, at, of_fit, published
from scaling.predict.explain.explanation import Explanation
from scaling.predict.explain.explanation import explain as explain_basis
from scaling.predict.explain.teacher import Teacher, TeacherAsked, own_surface
from scaling.predict.measured import law_and_measured
from scaling.predict.named.models import models
from scaling.predict.solve.budget import Solution, Training, trainings_for_budget, trainings_for_loss
from scaling.predict.solve.inverse import Surface
from scaling.predict.solve.units import check_target
from scaling.registry import did_you_mean
from scaling.tables.observations import REAL

if TYPE_CHECKING:
    from scaling.fit.prediction import Prediction
    from scaling.fit.result import Fit
    from scaling.predict.measured import Measured

NOTABLE_REACH = 1.001
"""From this factor on, an answer of a published law says how far beyond its runs it lies."""

MOST_REACH = 10.0
"""A fit is not asked further beyond its runs than this factor, unless forced."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked, and of whom.

    Attributes:
        basis: The law.
        teacher: Whose text; None for real text.
        surface: Loss of the students of that text.
        columns: What the law is a function of beside N, D and the teacher.
        own_text: Label or id of the text, where it is one of the fit's own; else empty.
    """

    basis: Basis
    teacher: Teacher | None
    surface: Surface
    columns: Mapping[str, float]
    own_text: str = ""

    @property
    def text_columns(self) -> dict[str, Any]:
        """The text in the words of `Fit.predict`."""
        if self.own_text:
            return {"teacher": self.own_text, **self.columns}
        if self.teacher is None or self.basis.of_teacher is None:
            return dict(self.columns)
        return {"delta_noise": self.teacher.delta, **self.columns}

    @property
    def text(self) -> str:
        """Whose text, in words."""
        return "real text" if self.teacher is None else f"text of {self.teacher.label}"


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
    given = dict(columns or {})
    basis = published(source, given) if isinstance(source, str) else of_fit(source, given)
    fit = basis.fit
    # A label of the fit comes before a name of the literature.
    if fit is not None and isinstance(teacher, str):
        if fit.texts.get(teacher, teacher) == REAL:
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
        _refuse_beyond(basis, found.n_params, found.n_tokens, f"the teacher ({found.label})")
    return Asked(basis=basis, teacher=found, surface=own_surface(basis, found), columns=given)


def _of_own_text(basis: Basis, fit: Fit, label: str, columns: Mapping[str, float]) -> Asked:
    """A text that students of the fit have read: its floor is the teacher's loss."""

    def surface(n: np.ndarray, d: np.ndarray) -> np.ndarray:
        return fit.loss(n, d, teacher=label, **columns)

    loss = at(surface, math.inf, math.inf)
    who = Teacher(label=fit.texts.get(label, label), loss=loss, delta=max(0.0, loss - basis.floor))
    return Asked(basis=basis, teacher=who, surface=surface, columns=columns, own_text=label)


def explain(
    source: Fit | str,
    n: float | str,
    d: float | str = math.inf,
    *,
    teacher: str | TeacherAsked | None = None,
    columns: Mapping[str, float] | None = None,
    level: float = 0.9,
    batch: str | CriticalBatch | None = None,
    bytes_per_token: float | None = None,
    table: Path | None = None,
    force: bool = False,
) -> Explanation:
    """Take one forecast apart: its terms, its teacher, what a doubling would bring, and what binds.

    ``loss = E + size term + data term + teacher term``, nats/token.

    >>> print(explain("besiroglu", "1B"))
    2.1744 nats/token by besiroglu; what limits it most: capacity

    Args:
        source: A fit, or the name of a published law.
        n: N, as the law counts it, also as people write it; may be infinite.
        d: Tokens; infinite asks for the limit.
        teacher: Whose text: a label of the fit, a model's name, or its size or loss; None for real text.
        columns: What the law is a function of beside N, D and the teacher, as {"bits": 8}.
        level: Of a fit's interval.
        batch: Law of the critical batch, or the name of a published one (kaplan-batch), for steps.
        bytes_per_token: Mean length of a token, for bits/byte.
        table: runs.parquet, where measured losses are looked up for a fit that was saved without its runs.
        force: Answer a fit even more than 10 × beyond its runs.

    Raises:
        SpecError: something that cannot be, or is not known.
        ExtrapolationError: too far beyond a fit's runs.
        FitError: the runs of a fit do not determine its floor, so that there are no terms.
    """
    # The law and the text first: what is wrong with either is said before anything is computed.
    return explain_asked(
        asked_of(source, teacher=teacher, columns=columns),
        count(n, "n"),
        count(d, "d"),
        level=level,
        batch=_batch_law(batch),
        bytes_per_token=bytes_per_token,
        table=table,
        force=force,
    )


def explain_asked(
    question: Asked,
    n: float,
    d: float,
    *,
    level: float = 0.9,
    batch: CriticalBatch | None = None,
    bytes_per_token: float | None = None,
    table: Path | None = None,
    force: bool = False,
) -> Explanation:
    """`explain`, of a question whose law and text are found already."""
    doubt = _doubt_beside(question, n, d, table, level=level, force=force)
    taught = question.surface if question.own_text else None
    found = explain_basis(
        question.basis,
        n,
        d,
        teacher=question.teacher,
        taught=taught,
        runs_term=0.0 if doubt is None else doubt.runs,
        batch=batch,
        bytes_per_token=bytes_per_token,
    )
    if doubt is None:
        return found
    ends = {"low": doubt.low, "high": doubt.high, "level": level, "error": doubt.error}
    return replace(found, **ends, basis=doubt.basis, measured=doubt.measured)


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """What a fit adds to its law: runs nearby, and an interval.

    Attributes:
        low, high: Ends of the interval, nats/token.
        error: Standard deviation of log loss behind it.
        runs: By how much runs nearby lie off the law.
        basis: What the forecast rests on.
        measured: What was measured of this very size, volume and text, where the law is told beside it.
    """

    low: float
    high: float
    error: float
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
    return _doubt(fit, question, n, d, fit.predict(n, d, level=level, force=force, **question.text_columns))


def _doubt_beside(
    question: Asked, n: float, d: float, table: Path | None, *, level: float, force: bool
) -> Doubt | None:
    """`doubt_of`, the law's alone beside what was measured."""
    fit = _asked_within(question, n, d, force=force)
    if fit is None:
        return None
    said, measured = law_and_measured(fit, n, d, table=table, level=level, force=force, **question.text_columns)
    doubt = _doubt(fit, question, n, d, said)
    return doubt if measured is None else replace(doubt, basis="measured", measured=measured)


def _asked_within(question: Asked, n: float, d: float, *, force: bool) -> Fit | None:
    """The fit, where there is one; what it cannot say is refused."""
    fit = question.basis.fit
    if fit is not None and not force:
        _refuse_without_terms(fit)
        _refuse_beyond(question.basis, n, d, "this forecast")
    return fit


def _doubt(fit: Fit, question: Asked, n: float, d: float, said: Prediction) -> Doubt:
    """What is said of a text of the fit, in the terms of the text that is asked about."""
    of_law = float(fit.loss(n, d, **question.text_columns))
    # A form without divergences adds the teacher's error to what it says of real text.
    added = at(question.surface, n, d) - of_law
    return Doubt(
        low=said.low + added, high=said.high + added, error=said.scale, runs=said.value - of_law, basis=said.basis
    )


def solve(
    source: Fit | str,
    *,
    target_loss: float | None = None,
    flops: float | str | None = None,
    n: float | str | None = None,
    d: float | str | None = None,
    teacher: str | TeacherAsked | None = None,
    columns: Mapping[str, float] | None = None,
    inference_tokens: float | str = 0.0,
    level: float = 0.9,
    vocab_size: int | None = None,
    force: bool = False,
) -> Solution:
    """What is left open of size, data and loss: the least that reaches a loss, or the best of a training budget.

    >>> solve("besiroglu", target_loss=2.5).frame()["what"].tolist()
    ['smallest size, of unlimited tokens', 'compute-optimal']

    Args:
        source: A fit, or the name of a published law.
        target_loss: nats/token; this or `flops`.
        flops: Training budget, 6 N D; this or `target_loss`.
        n: N, where it is given.
        d: D, where it is given.
        teacher: Whose text; None for real text.
        columns: What the law is a function of beside N, D and the teacher.
        inference_tokens: D_inf: adds the training that is cheapest with its use, 6 N D + 2 N D_inf.
        level: Of a fit's intervals.
        vocab_size: Of the tokenizer, to tell a target in another unit.
        force: Answer a fit even more than 10 × beyond its runs.

    Raises:
        SpecError: neither or both of loss and budget, or a loss in another unit.
        InfeasibleError: out of reach of this text.
        ExtrapolationError: the answer lies too far beyond a fit's runs.

    **Source:** Hoffmann et al. 2022, arXiv 2203.15556, section 3.3; Sardana et al. 2023, arXiv 2401.00448, section 2.
    """
    n, d, flops = count(n, "n"), count(d, "d"), count(flops, "flops")
    inference_tokens = count(inference_tokens, "inference_tokens")
    if (target_loss is None) == (flops is None):
        raise SpecError("solve answers for one of a target loss and a budget — got both or neither")
    question = asked_of(source, teacher=teacher, columns=columns)
    basis = question.basis
    _refuse_open(basis, n, d, inference_tokens)
    if target_loss is not None:
        check_target(target_loss, basis.floor, vocab_size=vocab_size)
        answers = trainings_for_loss(
            question.surface, target_loss, n_params=n, n_tokens=d, inference_tokens=inference_tokens
        )
    else:
        answers = trainings_for_budget(
            question.surface, flops or math.nan, n_params=n, n_tokens=d, inference_tokens=inference_tokens
        )
    # A fit has an interval, and does not answer far beyond its runs; a published law says how far that is.
    notes = basis.notes
    if basis.fit is None:
        notes += _far(basis, answers)
    else:
        answers = tuple(_doubted(one, question, level=level, force=force) for one in answers)
    return Solution(
        question=f"a loss of {target_loss:g}" if target_loss is not None else f"{flops:.3g} FLOPs of training",
        law=basis.name,
        formula=basis.formula,
        source=basis.source,
        text=question.text,
        floor=at(question.surface, math.inf, math.inf),
        inference_tokens=inference_tokens,
        trainings=answers,
        level=None if basis.fit is None else level,
        notes=notes,
    )


def _refuse_open(basis: Basis, n: float | None, d: float | None, inference_tokens: float) -> None:
    """Refuse what leaves a size or a volume open for ever."""
    if not basis.of_both and n is None and d is None:
        raise SpecError(
            f"{basis.name}: this law knows one of size and data alone, which leaves the other open — give --tokens inf "
            "to ask for the size, or --params inf for the tokens"
        )
    if not 0 <= inference_tokens < math.inf:
        raise SpecError(f"--inference-tokens: got {inference_tokens:g}, allowed is a finite number — for example 2T")


def _far(basis: Basis, trainings: tuple[Training, ...]) -> tuple[str, ...]:
    """How far the farthest of the trainings lies beyond the runs behind a published law, where that is known."""
    reach = max(basis.farthest(one.n_params, one.n_tokens) for one in trainings)
    return (f"up to {reach:.3g}× beyond the runs behind the law",) if reach > NOTABLE_REACH else ()


def _doubted(one: Training, question: Asked, *, level: float, force: bool) -> Training:
    """The training with a fit's interval, if the fit may speak of it."""
    fit = question.basis.fit
    if fit is None or not (math.isfinite(one.n_params) or math.isfinite(one.n_tokens)):
        return one
    if not force:
        _refuse_beyond(question.basis, one.n_params, one.n_tokens, f"the answer ({one.what})")
    doubt = fit.predict(one.n_params, one.n_tokens, level=level, given="law", force=True, **question.text_columns)
    return replace(one, low=doubt.low, high=doubt.high)


def _refuse_without_terms(fit: Fit) -> None:
    if not fit.success:
        reasons = " ".join(fit.status.reasons)
        raise FitError(f"the runs behind this fit do not determine its terms: {reasons}", fit=fit)


def _refuse_beyond(basis: Basis, n: float, d: float, what: str) -> None:
    reach = basis.farthest(n, d)
    if reach > MOST_REACH:
        ranges = ", ".join(f"{name.upper()} from {low:.3g} to {high:.3g}" for name, (low, high) in basis.ranges.items())
        raise ExtrapolationError(
            f"{what} lies {reach:.3g}× beyond the runs behind this fit ({ranges}); at most {MOST_REACH:g}× is "
            "trusted — train nearer runs, or repeat with --force"
        )


def _batch_law(batch: str | CriticalBatch | None) -> CriticalBatch | None:
    """The law of the critical batch: itself, a published one, or the numbers that a sweep measured."""
    if not isinstance(batch, str):
        return batch
    if "=" in batch:
        return _measured_batch(batch)
    found = preset(batch).law
    if not isinstance(found, CriticalBatch):
        raise SpecError(f"--batch-law {batch}: {found!r} is no critical batch — name kaplan-batch or shehper-batch")
    return found


def _measured_batch(text: str) -> CriticalBatch:
    """``B_star=2e4,alpha_B=0.3,E=1.4``."""
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return CriticalBatch(**{name.strip(): float(value) for name, _, value in pairs})
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"--batch-law: got {text!r}, allowed are a name or numbers, as B_star=2e4,alpha_B=0.3,E=1.4"
        ) from error
