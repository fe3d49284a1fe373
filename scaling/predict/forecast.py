"""One forecast, explained: the loss of a size on a volume of text, and what each part of it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scaling.errors import SpecError
from scaling.fit.reach import farthest, in_words
from scaling.predict.explain.basis import Basis, of_fit, published
from scaling.predict.explain.explanation import terms_of, tokens_to_asymptote
from scaling.predict.solve.inverse import Surface, cheapest_training
from scaling.registry import one_begun
from scaling.tables.observations import REAL
from scaling.tables.units import NATS

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.predict.measurement import Measured


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The loss that a model of N parameters reaches on D tokens, and its parts, which are those of an explanation.

    ``loss = floor + size_term + data_term + precision_term + teacher_term + runs_term``.

    Attributes:
        n_params: N, in the convention of the law.
        n_tokens: D; may be infinite.
        loss: Forecast; where this very size, volume and text was measured, what the law says alone.
        low: Lower end of the interval; None where the law comes without evidence (a published preset).
        high: Upper end of the interval.
        level: Level of the interval.
        reach: Factor by which N or D exceeds the data behind the law; None for a preset whose data is not known.
        floor: E, loss of an infinite model on infinite real text; NaN, as all that follows from it, where the fit does
            not show it.
        size_term: ``L(N, ∞) − E`` on real text: what this size costs.
        data_term: ``L(N, D) − L(N, ∞)`` on real text: what finite data costs.
        precision_term: What few bits add, for a law of them; else 0.
        teacher_term: What the text of a teacher adds at this N and D; 0 for real text.
        runs_term: By how much the runs nearby lie off the law; 0 far from all of them.
        basis: What the answer rests on: "measured", "law given 6 runs nearby", "law alone" or "published law".
        tokens_to_asymptote: D of this text at which its data term is 0.05 nats/token.
        optimal_n_params: N of the cheapest training (least N·D) on this text that reaches the same loss.
        optimal_n_tokens: D of that training.
        formula: The law with its numbers.
        source: Where the law comes from.
        notes: What a reader should know, as that a constant is unverified.
        text: What is read, in words, where the fit knows several texts; empty elsewhere.
        measured: What was measured of this very size, volume and text, which is then the answer; None without runs.
        unit: Of all losses.
    """

    n_params: float
    n_tokens: float
    loss: float
    low: float | None
    high: float | None
    level: float | None
    reach: float | None
    floor: float
    size_term: float
    data_term: float
    precision_term: float
    teacher_term: float
    tokens_to_asymptote: float
    optimal_n_params: float
    optimal_n_tokens: float
    formula: str
    source: str
    runs_term: float = 0.0
    basis: str = "published law"
    notes: tuple[str, ...] = ()
    text: str = ""
    measured: Measured | None = None
    unit: str = NATS


def from_fit(
    fit: Fit,
    n_params: float,
    n_tokens: float,
    *,
    teacher: str | None = None,
    delta_noise: float = 0.0,
    delta_coverage: float = 0.0,
    level: float = 0.9,
    of: Literal["run", "mean"] = "run",
    force: bool = False,
    table: Path | None = None,
) -> Forecast:
    """Forecast from a fit and its runs, with its interval; of what was measured, the measurement.

    Args:
        fit: The fit.
        n_params: N in the convention that the fit names.
        n_tokens: D; infinite asks for the limit.
        teacher: Label of one of the fit's teachers; None is real text unless divergences are given.
        delta_noise: Noise part of the text's divergence, nats/token.
        delta_coverage: Coverage part.
        level: Of the interval.
        of: "run", the interval of one new run; "mean", that of the mean over many.
        force: Answer however far beyond the data.
        table: runs.parquet, where measured losses are looked up for a fit that was saved without its runs.

    Raises:
        ExtrapolationError: N, a finite D or the text lies too far beyond the data.
        SpecError: N, D, the teacher or the level is impossible.
    """
    from scaling.predict.measured import law_and_measured

    _check_positive(n_params, n_tokens)
    for name, value in (("noise", delta_noise), ("coverage", delta_coverage)):
        if not 0 <= value < math.inf:
            raise SpecError(f"the {name} part of a divergence: got {value:g}, allowed is 0 or more nats/token")
    text: dict[str, Any] = {"teacher": teacher, "delta_noise": delta_noise, "delta_coverage": delta_coverage}
    # Of a student that was measured the law is told beside the measurement.
    asked: dict[str, Any] = {"level": level, "of": of, "force": force}
    said, measured = law_and_measured(fit, n_params, n_tokens, table=table, **asked, **text)
    found = explain(
        of_fit(fit, {} if fit.knows_real_text else {"teacher": teacher}),
        n_params,
        n_tokens,
        surface=lambda n, d: fit.loss(n, d, **text),
        low=said.low,
        high=said.high,
        level=level,
        reach=farthest(fit.points(n_params, n_tokens, **text), fit.ranges, fit.teachers),
        runs_term=said.value - fit.loss(n_params, n_tokens, **text),
        basis="measured" if measured is not None else said.basis,
        notes=_without_suspects(fit, n_params, n_tokens, level=level, **text),
    )
    words = _text_in_words(fit, teacher=teacher, delta_noise=delta_noise, delta_coverage=delta_coverage)
    found = replace(found, measured=measured, text=words)
    return found if fit.success else _without_floor(found, fit)


def _text_in_words(fit: Fit, *, teacher: str | None, delta_noise: float, delta_coverage: float) -> str:
    """Whose text the forecast is of, where it could be another's."""
    teacher = REAL if teacher is None else one_begun(teacher, fit.teachers) or teacher
    label = fit.label_of(teacher)
    if label != REAL:
        return f"text of {label}"
    if delta_noise or delta_coverage:
        return f"text with delta = {delta_coverage:g} (coverage) + {delta_noise:g} (noise)"
    return "real text" if len(fit.teachers) > 1 else ""


def _without_floor(found: Forecast, fit: Fit) -> Forecast:
    """A forecast inside the runs, without the parts that need the floor."""
    note = f"The floor is not identified: this holds inside {in_words(fit.ranges)} only. {' '.join(fit.status.reasons)}"
    unknown = math.nan
    return replace(
        found,
        floor=unknown,
        size_term=unknown,
        data_term=unknown,
        precision_term=unknown,
        teacher_term=unknown,
        tokens_to_asymptote=unknown,
        optimal_n_params=unknown,
        optimal_n_tokens=unknown,
        notes=(note, *found.notes),
    )


def _without_suspects(fit: Fit, n_params: float, n_tokens: float, **text: Any) -> tuple[str, ...]:
    """The forecast without rows that lie off the law of the others, where it is another one."""
    if not fit.without:
        return ()
    from scaling.fit.describe import forecast_without_suspects

    sentence = forecast_without_suspects(fit, n_params, n_tokens, **text)
    return (sentence,) if sentence else ()


def from_preset(name: str, n_params: float, n_tokens: float, *, columns: Mapping[str, float] | None = None) -> Forecast:
    """Forecast from a published law; it comes without an interval.

    Args:
        name: Of the law.
        n_params: N, as the law counts it.
        n_tokens: D; infinite asks for the limit.
        columns: What the law is a function of beside N and D.

    Raises:
        SpecError: no preset has that name, or a column is missing or unknown.
    """
    _check_positive(n_params, n_tokens)
    law = published(name, columns)
    return explain(law, n_params, n_tokens, reach=law.farthest(n_params, n_tokens) if law.ranges else None)


def explain(
    law: Basis,
    n_params: float,
    n_tokens: float,
    *,
    surface: Surface | None = None,
    low: float | None = None,
    high: float | None = None,
    level: float | None = None,
    reach: float | None = None,
    runs_term: float = 0.0,
    basis: str = "published law",
    notes: tuple[str, ...] = (),
) -> Forecast:
    """Evaluate a law at one point and split the result into its terms.

    Args:
        law: The law.
        n_params: N > 0, may be infinite.
        n_tokens: D > 0, may be infinite.
        surface: Loss on the text that is read; by default on real text.
        low: Interval, where the law has evidence.
        high: Interval, where the law has evidence.
        level: Of the interval.
        reach: How far beyond the data.
        runs_term: What the runs nearby add to the law.
        basis: What the forecast rests on.
        notes: What a reader should know beside what the law's own notes say.

    Raises:
        SpecError: if N or D is not a positive number.
    """
    _check_positive(n_params, n_tokens)
    surface = surface or law.real
    terms = terms_of(law, surface, n_params, n_tokens)
    loss = terms.loss + runs_term
    # The same loss may be had with another share of size and data; a law of one of them alone has no such choice.
    best_n, best_d = cheapest_training(surface, loss) if law.of_both else (math.nan, math.nan)
    return Forecast(
        n_params=n_params,
        n_tokens=n_tokens,
        loss=loss,
        low=low,
        high=high,
        level=level,
        reach=reach,
        floor=terms.floor,
        size_term=terms.size,
        data_term=terms.data,
        precision_term=terms.precision,
        teacher_term=terms.teacher,
        runs_term=runs_term,
        basis=basis,
        tokens_to_asymptote=tokens_to_asymptote(law, surface, n_params),
        optimal_n_params=best_n,
        optimal_n_tokens=best_d,
        formula=law.formula,
        source=law.source,
        notes=(*law.notes, *notes),
        unit=law.unit,
    )


def _check_positive(n_params: float, n_tokens: float) -> None:
    for name, value in (("parameters", n_params), ("tokens", n_tokens)):
        if not value > 0:
            raise SpecError(f"{name}: got {value}, allowed is a positive number or inf — for example 1e6, 10M, inf")
