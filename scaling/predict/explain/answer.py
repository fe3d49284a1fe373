"""Questions to a fit or to a published law by name: explain a forecast, or solve it for what is left open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import ExtrapolationError, InfeasibleError, SpecError
from scaling.fit.reach import MAX_REACH, far, in_words
from scaling.laws.batch import CriticalBatch
from scaling.laws.presets import preset
from scaling.numbers import one_number
from scaling.predict.explain.asked import Asked, asked_of, doubt_beside
from scaling.predict.explain.basis import Basis, at
from scaling.predict.explain.explanation import Explanation
from scaling.predict.explain.explanation import explain as explain_basis
from scaling.predict.explain.teacher import TeacherAsked
from scaling.predict.solve.budget import Solution, Training, trainings_for_budget, trainings_for_loss
from scaling.predict.solve.units import check_target

if TYPE_CHECKING:
    from scaling.fit.result import Fit

NOTABLE_REACH = 1.001
"""From this factor on, an answer of a published law says how far beyond its runs it lies."""


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
    question = asked_of(source, teacher=teacher, columns=columns)
    n, d, batch = one_number(n, "n"), one_number(d, "d"), _batch_law(batch)
    doubt = doubt_beside(question, n, d, table, level=level, force=force)
    found = explain_basis(
        question.basis,
        n,
        d,
        teacher=question.teacher,
        taught=question.surface if question.own_text else None,
        runs_term=0.0 if doubt is None else doubt.runs,
        batch=batch,
        bytes_per_token=bytes_per_token,
    )
    found = replace(found, text=question.text, notes=(*found.notes, *question.notes))
    if doubt is None:
        return found
    found = replace(found, low=doubt.low, high=doubt.high, level=doubt.level, error=doubt.error)
    return replace(found, basis=doubt.basis, measured=doubt.measured)


def solve(
    source: Fit | str,
    *,
    target_loss: float | str | None = None,
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
        target_loss: In the unit of the law; this or `flops`.
        flops: Training budget, 6 N D; this or `target_loss`.
        n: N, where it is given.
        d: D, where it is given.
        teacher: Whose text; None for real text.
        columns: What the law is a function of beside N, D and the teacher.
        inference_tokens: D_inf: adds the training that is cheapest with its use, 6 N D + 2 N D_inf.
        level: Of a fit's intervals.
        vocab_size: Of the tokenizer, to tell a target in another unit, where the source does not say it.
        force: Answer a fit even more than 10 × beyond its runs.

    Raises:
        SpecError: neither or both of loss and budget, or a loss in another unit.
        InfeasibleError: out of reach of this text.
        ExtrapolationError: every answer lies too far beyond a fit's runs; where some do, a note names them.

    **Source:** Hoffmann et al. 2022, arXiv 2203.15556, section 3.3; Sardana et al. 2023, arXiv 2401.00448, section 2.
    """
    given = {"target_loss": target_loss, "flops": flops, "n": n, "d": d}
    target_loss, flops, n, d = (None if x is None else one_number(x, name) for name, x in given.items())
    inference_tokens = one_number(inference_tokens, "inference_tokens")
    if (target_loss is None) == (flops is None):
        got = "neither" if flops is None else "both"
        raise SpecError(f"solve answers for one of a target loss and a budget — got {got}")
    question = asked_of(source, teacher=teacher, columns=columns)
    basis = question.basis
    _refuse_open(basis, n, d, inference_tokens)
    if target_loss is not None:
        _check_target(question, target_loss, vocab_size)
        answers = _reaching(question, target_loss, n, d, inference_tokens=inference_tokens, level=level)
    else:
        answers = trainings_for_budget(
            question.surface, flops or 0.0, n_params=n, n_tokens=d, inference_tokens=inference_tokens
        )
    # A fit has an interval, and does not answer far beyond its runs; a published law says how far that is.
    within = answers if force or basis.fit is None else _within(question, answers, target_loss)
    left_out = tuple(_left_out(basis, one) for one in answers if one not in within)
    return Solution(
        question=f"a loss of {target_loss:g}" if target_loss is not None else f"{flops:.3g} FLOPs of training",
        law=basis.name,
        formula=basis.formula,
        source=basis.source,
        text=question.text,
        floor=at(question.surface, math.inf, math.inf),
        inference_tokens=inference_tokens,
        trainings=tuple(_doubted(one, question, level=level) for one in within),
        level=level if basis.fit is not None and question.is_in_words else None,
        notes=(*basis.notes, *question.notes, *_far(basis, within), *left_out),
        unit=basis.unit,
    )


def _reaching(
    question: Asked, target: float, n: float | None, d: float | None, *, inference_tokens: float, level: float
) -> tuple[Training, ...]:
    """`trainings_for_loss`; of a fit whose end is not known that well, the refusal says so."""
    try:
        return trainings_for_loss(question.surface, target, n_params=n, n_tokens=d, inference_tokens=inference_tokens)
    except InfeasibleError as error:
        if question.basis.fit is None or not question.is_in_words:
            raise
        end = (math.inf if n is None else n, math.inf if d is None else d)
        said = question.predict(*end, level=level, given="law", force=True)
        if target < said.low:
            raise
        chance = question.probability(target, *end, given="law", force=True)
        raise InfeasibleError(
            f"{error}; that is the middle of what this fit forecasts there, {level:.0%} lie in {said.low:.4g} – "
            f"{said.high:.4g} and P(loss ≤ {target:g}) is {chance:.2f}: larger runs would narrow it down",
            best_loss=error.best_loss,
            floor=error.floor,
        ) from error


def _check_target(question: Asked, loss: float, said: int | None) -> None:
    """Refuse a target in another unit, by the tokens behind the law: as it knows them, else as they are said."""
    basis = question.basis
    vocab = basis.vocab_size or said
    if said not in (None, vocab):
        raise SpecError(
            f"--vocab: got {said:,}, the losses of this law are of tokens of a vocabulary of {vocab:,} — leave it out"
        )
    # A text of a fit may teach better than real text.
    floor = min(basis.floor, at(question.surface, math.inf, math.inf))
    check_target(loss, floor, vocab_size=vocab, bytes_per_token=basis.bytes_per_token, unit=basis.unit)


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
    if basis.fit is not None:
        return ()
    reach = max(basis.farthest(one.n_params, one.n_tokens) for one in trainings)
    return (f"up to {reach:.3g}× beyond the runs behind the law",) if reach > NOTABLE_REACH else ()


def _within(question: Asked, answers: tuple[Training, ...], target: float | None) -> tuple[Training, ...]:
    """Those of which a fit may speak.

    Raises:
        ExtrapolationError: of none.
    """
    basis = question.basis
    within = tuple(one for one in answers if basis.farthest(one.n_params, one.n_tokens) <= MAX_REACH)
    if not within:
        one = answers[0]
        reach = basis.farthest(one.n_params, one.n_tokens)
        told = far(f"the answer ({_said(one)})", reach, in_words(basis.ranges))
        raise ExtrapolationError(told + _met_inside(question, one, target))
    return within


def _met_inside(question: Asked, one: Training, target: float | None) -> str:
    """What the nearest size and volume of the runs reach, where that is the target already."""
    ranges = question.basis.ranges
    n, d = (float(np.clip(x, *ranges.get(name, (x, x)))) for name, x in (("n", one.n_params), ("d", one.n_tokens)))
    loss = at(question.surface, n, d)
    if target is None or loss > target:
        return ""
    return f"; among the runs N = {n:.3g} on D = {d:.3g} reaches {loss:.4g} already: ask for a lower loss"


def _left_out(basis: Basis, one: Training) -> str:
    reach = basis.farthest(one.n_params, one.n_tokens)
    return f"left out: {_said(one)}, {reach:.3g}× beyond the runs behind the fit; --force tells it"


def _said(one: Training) -> str:
    finite = {"N": one.n_params, "D": one.n_tokens}
    return f"{one.what}: {', '.join(f'{name} = {x:.3g}' for name, x in finite.items() if math.isfinite(x))}"


def _doubted(one: Training, question: Asked, *, level: float) -> Training:
    """The training, by a fit with its interval."""
    if question.basis.fit is None or not (math.isfinite(one.n_params) or math.isfinite(one.n_tokens)):
        return one
    doubt = question.predict(one.n_params, one.n_tokens, level=level, given="law", force=True)
    return replace(one, low=doubt.low, high=doubt.high)


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
