"""One forecast, explained: the loss of a size on a volume of text, and what each part of it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.errors import SpecError
from scaling.fit.reach import farthest, in_words
from scaling.predict.solve.inverse import Surface, cheapest_training, tokens_for

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.predict.measured import Measured

ASYMPTOTE_MARGIN = 0.05
"""nats/token; how near "near the asymptote" is."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The loss that a model of N parameters reaches on D tokens, and its parts.

    ``loss = floor + size_term + data_term + runs_term``.

    Attributes:
        n_params: N, in the convention of the law.
        n_tokens: D; may be infinite.
        loss: Forecast, nats/token; where this very size, volume and text was measured, what the law says alone.
        low: Lower end of the interval; None where the law comes without evidence (a published preset).
        high: Upper end of the interval.
        level: Level of the interval.
        reach: Factor by which N or D exceeds the data behind the law; None for a preset whose data is not known.
        floor: Loss of an infinite model on infinite text; NaN, as all that follows from it, where the fit does not
            show it.
        size_term: ``L(N, ∞) − floor``: what this size costs.
        data_term: ``L(N, D) − L(N, ∞)``: what finite data costs.
        runs_term: By how much the runs nearby lie off the law; 0 far from all of them.
        basis: What the answer rests on: "measured", "law given 6 runs nearby", "law alone" or "published law".
        tokens_to_asymptote: D at which the data term is 0.05 nats/token.
        optimal_n_params: N of the cheapest training (least N·D) that reaches the same loss.
        optimal_n_tokens: D of that training.
        formula: The law with its numbers.
        source: Where the law comes from.
        notes: What a reader should know, as that a constant is unverified.
        text: What is read, in words, where the fit knows several texts; empty elsewhere.
        measured: What was measured of this very size, volume and text, which is then the answer; None without runs.
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
    _check_positive(n_params, n_tokens)
    for name, value in (("noise", delta_noise), ("coverage", delta_coverage)):
        if not 0 <= value < math.inf:
            raise SpecError(f"the {name} part of a divergence: got {value:g}, allowed is 0 or more nats/token")
    text: dict[str, Any] = {"teacher": teacher, "delta_noise": delta_noise, "delta_coverage": delta_coverage}
    prediction = fit.predict(n_params, n_tokens, level=level, of=of, force=force, **text)
    measured = None
    if prediction.measured or (fit.runs is None and table is not None and delta_noise == delta_coverage == 0):
        from scaling.predict.measured import measured_cell

        measured = measured_cell(fit, n_params, n_tokens, teacher, table)
    if measured is not None:
        # Beside the measurement stands what the law would have said.
        prediction = fit.predict(n_params, n_tokens, level=level, of=of, given="law", force=force, **text)
    found = explain(
        lambda n, d: fit.loss(n, d, **text),
        n_params,
        n_tokens,
        formula=repr(fit.law),
        source=_source(fit),
        low=prediction.low,
        high=prediction.high,
        level=level,
        reach=farthest(fit.points(n_params, n_tokens, **text), fit.ranges, fit.teachers),
        runs_term=prediction.value - fit.loss(n_params, n_tokens, **text),
        basis=prediction.basis if measured is None else "measured",
        notes=(*fit.status.notes, *_without_suspects(fit, n_params, n_tokens, level=level, **text)),
    )
    words = _text_in_words(fit, teacher=teacher, delta_noise=delta_noise, delta_coverage=delta_coverage)
    found = replace(found, measured=measured, text=words)
    return found if fit.success else _without_floor(found, fit)


def _source(fit: Fit) -> str:
    """The runs behind a fit; of an average, that its numbers are those of all its fits and the law that of one."""
    runs = f"{fit.n_runs} runs of {fit.n_clusters} trunks, N counted as {fit.columns['n']}"
    members = len(fit.members)
    return f"{runs}; numbers of the average of {members} fits, law of the weightiest" if members > 1 else runs


def _text_in_words(fit: Fit, *, teacher: str | None, delta_noise: float, delta_coverage: float) -> str:
    """Whose text the forecast is of, where it could be another's."""
    if teacher is not None:
        return f"text of {fit.texts.get(teacher, teacher)}"
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
        tokens_to_asymptote=unknown,
        optimal_n_params=unknown,
        optimal_n_tokens=unknown,
        notes=(note, *found.notes),
    )


def _without_suspects(fit: Fit, n_params: float, n_tokens: float, **text: Any) -> list[str]:
    """The forecast without rows that lie off the law of the others, where it is another one."""
    if not fit.without:
        return []
    from scaling.fit.describe import forecast_without_suspects

    sentence = forecast_without_suspects(fit, n_params, n_tokens, **text)
    return [sentence] if sentence else []


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
    from scaling.predict.explain.basis import published

    _check_positive(n_params, n_tokens)
    law = published(name, columns)
    reach = law.farthest(n_params, n_tokens) if law.ranges else None
    return explain(law.real, n_params, n_tokens, formula=law.formula, source=law.source, reach=reach, notes=law.notes)


def explain(
    surface: Surface,
    n_params: float,
    n_tokens: float,
    *,
    formula: str,
    source: str,
    low: float | None = None,
    high: float | None = None,
    level: float | None = None,
    reach: float | None = None,
    runs_term: float = 0.0,
    basis: str = "published law",
    notes: tuple[str, ...] = (),
) -> Forecast:
    """Evaluate a loss surface at one point and split the result into floor, size and data.

    Args:
        surface: The law.
        n_params: N > 0, may be infinite.
        n_tokens: D > 0, may be infinite.
        formula: Printed with the result.
        source: Printed with the result.
        low: Interval, where the law has evidence.
        high: Interval, where the law has evidence.
        level: Of the interval.
        reach: How far beyond the data.
        runs_term: What the runs nearby add to the law.
        basis: What the forecast rests on.
        notes: What a reader should know.

    Raises:
        SpecError: if N or D is not a positive number.
    """
    _check_positive(n_params, n_tokens)
    of_law, unlimited, floor = (
        float(value)
        for value in surface(np.array([n_params, n_params, math.inf]), np.array([n_tokens, math.inf, math.inf]))
    )
    # The same loss may be had with another share of size and data.
    best_n, best_d = cheapest_training(surface, of_law)
    return Forecast(
        n_params=n_params,
        n_tokens=n_tokens,
        loss=of_law + runs_term,
        low=low,
        high=high,
        level=level,
        reach=reach,
        floor=floor,
        size_term=unlimited - floor,
        data_term=of_law - unlimited,
        runs_term=runs_term,
        basis=basis,
        tokens_to_asymptote=float(tokens_for(surface, unlimited + ASYMPTOTE_MARGIN, np.array([n_params]))[0]),
        optimal_n_params=best_n,
        optimal_n_tokens=best_d,
        formula=formula,
        source=source,
        notes=notes,
    )


def _check_positive(n_params: float, n_tokens: float) -> None:
    for name, value in (("parameters", n_params), ("tokens", n_tokens)):
        if not value > 0:
            raise SpecError(f"{name}: got {value}, allowed is a positive number or inf — for example 1e6, 10M, inf")
