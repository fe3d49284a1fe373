"""Where a student comes from: what it read and who wrote that, which fit asked for it, and under which terms.

It goes with the student to other machines, so no folder of this one is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from scaling.accounting import count_parameters
from scaling.data.text import open_text
from scaling.export.format import About
from scaling.numbers import number
from scaling.predict.recommend.recommendation import Recommendation
from scaling.records import RunRecord, RunStore
from scaling.spec import TextSource
from scaling.tables.units import BITS, PER_BYTE

if TYPE_CHECKING:
    from scaling.fit.result import Fit

UNSAID = "unspecified"
"""Licence of a student whose maker named none."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is known of a student beside its weights. Losses are nats/token, but for those that were asked and forecast.

    Attributes:
        spec: All inputs of its training; files by name and fingerprint, without their folders.
        n_params: N without embedding.
        n_tokens: D.
        text: What it reads.
        terms: Where that text comes from and under which terms.
        teacher: Who wrote it.
        teacher_loss: Of the teacher on real text; None where it is not known.
        loss: Measured of the float student.
        loss_se: Its standard error.
        license: Of the student, as its maker says.
        pruned: What was left out of the student of that training, in words; empty for the whole one.
        asked: What the recommendation was asked for; empty without one.
        forecast: What it forecast: loss with its interval, its name as a field of Outcome and its unit, probability,
            bytes. Of before 2026-11-28 it names no loss: then that is ``loss``, nats/token.
        measured: The loss of that name as it was measured, and its standard error; empty without a forecast.
        fit: What it forecast from: id, law, numbers of runs and trunks.
    """

    spec: Mapping[str, Any]
    n_params: int
    n_tokens: int
    text: str
    terms: str
    teacher: str
    teacher_loss: float | None
    loss: float | None
    loss_se: float | None
    license: str = UNSAID
    pruned: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)
    forecast: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, float | None] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)


def provenance_of(
    record: RunRecord,
    store: RunStore,
    *,
    recommendation: Recommendation | None = None,
    fit: Fit | None = None,
    license: str = UNSAID,
) -> Provenance:
    """Everything that is known of a run's student.

    Args:
        record: The run.
        store: Where it and its text lie.
        recommendation: What asked for it.
        fit: What that forecast from.
        license: Of the student, an SPDX name.
    """
    run, outcome, data = record.spec, record.outcome, record.spec.data
    forecast = {} if recommendation is None else _forecast(recommendation, fit)
    name = forecast.get("loss_name")
    # Labels and specifications may be paths of this machine: of each only the last part goes along.
    return Provenance(
        spec=_without_folders(run.model_dump(mode="json")),
        n_params=count_parameters(run.model).n_params,
        n_tokens=run.n_tokens,
        text=_name_of(data.source.label),
        terms=_terms(data.source, store),
        teacher=_name_of(data.label),
        teacher_loss=outcome.teacher_loss,
        loss=outcome.loss,
        loss_se=outcome.loss_se,
        license=license,
        asked={} if recommendation is None else _asked(recommendation),
        forecast=forecast,
        measured={"loss": getattr(outcome, name, None), "loss_se": outcome.standard_error(name)} if name else {},
        fit=_fit(recommendation, fit),
    )


def said_anew(found: Provenance, before: Provenance | None) -> Provenance:
    """What is known now of a student that was exported before; what nobody says now is what was said then."""
    if before is None:
        return found
    kept: dict[str, Any] = {"license": before.license} if found.license == UNSAID else {}
    if not found.asked:
        kept |= {"asked": before.asked, "forecast": before.forecast, "measured": before.measured}
    return replace(found, **kept, fit=found.fit or before.fit)


def about(run_id: str, found: Provenance) -> About:
    """What a file says of its student for people."""
    measured = "" if found.loss is None else f" It measured {found.loss:.4f} nats/token on held-out text."
    n_params, n_tokens = (number(count, digits=3) for count in (found.n_params, found.n_tokens))
    return About(
        run_id=run_id,
        name=_short(f"student {n_params} of {found.text}, {found.teacher}", 96),
        description=_short(
            f"{n_params} parameters without embeddings, trained on {n_tokens} tokens of {found.text} "
            f"({found.teacher}).{measured}",
            320,
        ),
        license=_short(found.license, 64),
        text=_short(found.text, 96),
    )


def _asked(recommendation: Recommendation) -> dict[str, Any]:
    question = recommendation.question
    names = ("target_loss", "probability", "memory_bytes", "device", "tokens_per_s", "context", "format")
    return {name: value for name in names if (value := getattr(question, name)) is not None}


def _forecast(recommendation: Recommendation, fit: Fit | None) -> dict[str, Any]:
    # Without the fit the unit tells which loss it was, but for that on a teacher's text.
    by_unit = PER_BYTE if recommendation.unit == BITS else "loss"
    said, memory = recommendation.prediction, recommendation.footprint
    return {
        "loss": said.value,
        "low": said.low,
        "high": said.high,
        "level": said.level,
        "loss_name": by_unit if fit is None else fit.columns["loss"],
        "unit": recommendation.unit,
        "probability": recommendation.probability,
        "file_bytes": memory.weights_bytes,
        "peak_bytes": memory.total_bytes,
    }


def _fit(recommendation: Recommendation | None, fit: Fit | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if recommendation is not None and recommendation.fit_id:
        found["fit_id"] = recommendation.fit_id
    if fit is not None:
        found |= {"law": repr(fit.law), "n_runs": fit.n_runs, "n_trunks": fit.n_clusters}
    return found


def _terms(source: Any, store: RunStore) -> str:
    if not isinstance(source, TextSource):
        return "A made language: nobody's text."
    notice = open_text(source, "held_out", store).card.notice
    return notice.replace(source.corpus, _name_of(source.corpus))


_FILES = ("corpus", "file")
"""Fields of a specification that may hold the path of a file or a glob of them."""


def _without_folders(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one, name) for one in value]
    return _name_of(value) if name in _FILES and isinstance(value, str) else value


def _name_of(label: str) -> str:
    """The last part of a path; what is none stays as it is."""
    return PurePath(label).name if "/" in label else label


def _short(text: str, most: int) -> str:
    """The beginning of a text, in at most so many bytes of UTF-8."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[: most - 3].decode(errors="ignore") + "…"
