"""The configurations to choose from, each with its forecast, bytes and speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.accounting import STORED_FORMATS, count_parameters
from scaling.dimensions import Dimensions
from scaling.errors import SpecError
from scaling.fit.prediction import Prediction
from scaling.predict.draft import Draft
from scaling.predict.phones.devices import device
from scaling.predict.phones.footprint import Footprint
from scaling.predict.phones.speed import Speed, decode_speed
from scaling.predict.quantization import QUANTIZATION_COST, QuantizationCost, Rounding, rounding_cost
from scaling.predict.question import Question
from scaling.tables.observations import DELTAS
from scaling.tables.units import SIZE_COLUMNS

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.predict.measured import Measurements
    from scaling.predict.measurement import Measured
    from scaling.spec import DataSpec, RunSpec

Measure = Callable[[Dimensions], Footprint]
"""Bytes of a model on the phone."""

BEYOND_MEMORY = 4
"""Candidates reach this many times the budget, so that an infeasible answer can say what the target would need."""


NO_ROUNDING = QuantizationCost(nats=0.0, low=0.0, high=0.0, source="")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One configuration with what is forecast of it.

    Attributes:
        offered: The configuration, as it was offered; see `run`.
        n_params: N in the convention of the fit.
        prediction: Forecast of the loss, given the runs nearby, with its interval and how far beyond the data it
            reaches; for what was measured, what the law says alone.
        probability: P(loss ≤ target) of the stored student, from what was measured where there is something.
        footprint: Bytes on the phone.
        speed: Rate of writing on the device that was asked about; None without one.
        measured: The losses that decide, where runs of this configuration were trained; None for a forecast.
        rounding: Loss that its stored format adds, and where that was seen.
    """

    offered: RunSpec | Draft
    n_params: int
    prediction: Prediction
    probability: float
    footprint: Footprint
    speed: Speed | None = None
    measured: Measured | None = None
    rounding: QuantizationCost = NO_ROUNDING

    @property
    def run(self) -> RunSpec:
        """The configuration, written out."""
        return self.offered.written() if isinstance(self.offered, Draft) else self.offered

    @property
    def run_id(self) -> str | None:
        """Its name; a draft has none before its texts are named."""
        return None if isinstance(self.offered, Draft) else self.offered.run_id

    @property
    def reads(self) -> str:
        """Whose text it reads, in words."""
        real = isinstance(self.offered, Draft) or self.offered.data.label == "real"
        return "real text" if real else "this teacher's text"

    @property
    def model(self) -> Dimensions:
        """Its shape."""
        return self.offered.model

    @property
    def n_tokens(self) -> int:
        """D of its training."""
        return self.offered.n_tokens

    @cached_property
    def expected(self) -> Prediction:
        """The loss that decides: what was measured, or else what the law says, and what the stored format adds."""
        if self.measured is None and not self.rounding.nats:
            return self.prediction
        of_weights = self.prediction if self.measured is None else self.measured.beside(self.prediction)
        value, low, high = (end + self.rounding.nats for end in (of_weights.value, of_weights.low, of_weights.high))
        return replace(of_weights, value=value, low=low, high=high)

    @property
    def reach(self) -> float:
        """Largest factor by which N or D exceeds the data behind the fit (1 inside, and for what was measured)."""
        return 1.0 if self.measured is not None else float(self.prediction.farthest)

    def fits(self, question: Question) -> bool:
        """True within the budget of bytes and, where a speed is asked for, at that speed."""
        fast = question.tokens_per_s is None or (self.speed is not None and self.speed.low >= question.tokens_per_s)
        return fast and self.footprint.total_bytes <= question.budget_bytes

    def meets(self, question: Question) -> bool:
        """True if the target is met as surely as was asked."""
        return self.probability >= question.probability

    def row(self) -> dict[str, Any]:
        """One line of a table of candidates."""
        return {
            "width": self.model.width,
            "n_layers": self.model.n_layers,
            "n_params": self.n_params,
            "n_tokens": self.n_tokens,
            "loss": self.expected.value,
            "low": self.expected.low,
            "high": self.expected.high,
            "probability": self.probability,
            "total_bytes": self.footprint.total_bytes,
            "reach": self.reach,
        }

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "run": self.run.model_dump(mode="json"),
            "n_params": self.n_params,
            "prediction": {
                **vars(self.prediction),
                "reach": dict(self.prediction.reach),
                "at": dict(self.prediction.at),
            },
            "probability": self.probability,
            "footprint": vars(self.footprint),
            "speed": None if self.speed is None else vars(self.speed),
            "measured": None if self.measured is None else vars(self.measured),
            "rounding": vars(self.rounding),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Candidate:
        """From JSON values; raises KeyError, TypeError or ValidationError where they are not a candidate's."""
        from scaling.predict.measurement import Measured
        from scaling.spec import RunSpec

        speed, measured, rounding = values["speed"], values.get("measured"), values.get("rounding", 0.0)
        # Files of before 2026-11-27 hold the added loss alone.
        if not isinstance(rounding, Mapping):
            rounding = {"nats": rounding, "low": rounding, "high": rounding, "source": ""}
        return cls(
            offered=RunSpec.model_validate(values["run"]),
            n_params=values["n_params"],
            prediction=Prediction(**values["prediction"]),
            probability=values["probability"],
            footprint=Footprint(**values["footprint"]),
            speed=None if speed is None else Speed(**speed),
            measured=None if measured is None else Measured(**measured),
            rounding=QuantizationCost(**rounding),
        )


def size_of(model: Dimensions, convention: str) -> int:
    """N of a model in the convention that a fit names (``n_params``, ``n_params_linear`` or ``n_params_total``)."""
    if convention not in SIZE_COLUMNS:
        *others, last = SIZE_COLUMNS
        raise SpecError(
            f"the fit measures size by {convention!r}, which cannot be computed from a model; "
            f"refit with {', '.join(others)} or {last}"
        )
    return getattr(count_parameters(model), convention)


def text_name(fit: Fit, data: DataSpec) -> str:
    """The name by which a fit knows a text: its id, or the label where the fit's table had no ids.

    Raises:
        SpecError: the fit has no runs on this text.
    """
    if not fit.texts:
        return data.label
    if data.text_id not in fit.texts:
        raise SpecError(
            f"the fit has no runs on this text of the teacher {data.label!r} — it knows "
            f"{', '.join(sorted(fit.texts.values()))}; fit again with runs that read it"
        )
    return data.text_id


def text_columns(fit: Fit, data: DataSpec) -> dict[str, Any]:
    """What `Fit.predict` is told of a text: its name, or what divides it from its world where no run has read it.

    A law of divergences holds for any teacher whose divergences are known: those of a world's are exact.

    Raises:
        SpecError: the fit has no runs on this text, and its law or the teacher is of another kind.
    """
    from scaling.data.worlds import divergence
    from scaling.spec.sources import WorldSource
    from scaling.spec.teachers import WorldTeacher

    is_known = data.text_id in fit.texts if fit.texts else data.label in {"real", *fit.teachers}
    of_divergences = all(set(member.law.columns) == {"n", "d", *DELTAS} for member in fit.members)
    source, teacher = data.source, data.teacher
    if of_divergences and not is_known and isinstance(source, WorldSource) and isinstance(teacher, WorldTeacher):
        known = divergence(source, teacher)
        return {"delta_coverage": known.coverage, "delta_noise": known.noise}
    return {"teacher": text_name(fit, data)}


def text_of(fit: Fit, offered: RunSpec | Draft) -> str:
    """The name by which a fit knows what a configuration reads; a draft reads real text."""
    return "real" if isinstance(offered, Draft) else text_name(fit, offered.data)


def score(
    fit: Fit,
    runs: Sequence[RunSpec | Draft],
    question: Question,
    measure: Measure,
    measured: Measurements | None = None,
    *,
    rounding: Rounding = rounding_cost,
) -> list[Candidate]:
    """Forecast every configuration at once, smallest footprint first (then fewest tokens).

    A configuration that was trained is judged by what was measured of it.
    """
    texts = {text_of(fit, run) for run in runs}
    if len(texts) != 1:
        said = ", ".join(sorted(fit.label_of(text) for text in texts))
        raise SpecError(f"candidates read one text — got {said or 'no candidates'}")
    (text,) = texts
    n = np.array([size_of(run.model, fit.columns["n"]) for run in runs], float)
    d = np.array([run.n_tokens for run in runs], float)
    # What rounding adds is taken off the target: the law is of the weights as they were trained.
    # A draft is of some text, and may not be asked what it was trained for.
    storage = question.stored_as
    costs = [QUANTIZATION_COST[storage] if isinstance(run, Draft) else rounding(run, storage) for run in runs]
    aim = np.maximum(question.target_loss - np.array([cost.nats for cost in costs]), TINY_LOSS)
    # However far they reach: who chooses among them refuses what lies too far.
    forecast = fit.predict(n, d, teacher=text, level=question.level, force=True)
    alone = None if measured is None else fit.predict(n, d, teacher=text, level=question.level, given="law", force=True)
    chance = fit.probability(aim, n, d, teacher=text, force=True)
    bytes_of, speed_of = cache(measure), _speeds(question)
    # The law is asked once for all; what was measured is looked up one by one.
    candidates = []
    for i, run in enumerate(runs):
        known = None if measured is None or isinstance(run, Draft) else measured[run]
        candidates.append(
            Candidate(
                offered=run,
                n_params=int(n[i]),
                prediction=_one(forecast if known is None or alone is None else alone, i),
                probability=(
                    float(chance[i]) if known is None else known.probability(float(aim[i]), question.target_savings)
                ),
                footprint=bytes_of(run.model),
                speed=speed_of(run.model),
                measured=known,
                rounding=costs[i],
            )
        )
    return sorted(candidates, key=lambda c: (c.footprint.total_bytes, c.n_tokens))


TINY_LOSS = 1e-9
"""Stands for a target that the rounding alone exceeds: a loss is positive."""


def _speeds(question: Question) -> Callable[[Dimensions], Speed | None]:
    """The speed of each model on the device that is asked about, worked out once.

    It is that of the format's own engine where that is known there, else that of the engine that is; it says whose.
    """
    if question.device is None:
        return lambda model: None
    phone, storage = device(question.device), question.stored_as
    engine = phone.speed_for(STORED_FORMATS[question.format].engine).engine
    return cache(lambda model: decode_speed(model, phone, storage=storage, engine=engine))


def _one(many: Prediction, i: int) -> Prediction:
    """The prediction of one run, out of a prediction of several."""
    return Prediction(
        value=float(many.value[i]),
        low=float(many.low[i]),
        high=float(many.high[i]),
        level=many.level,
        scale=float(many.scale[i]),
        reach={name: float(factor[i]) for name, factor in many.reach.items()},
        near=int(many.near[i]),
        measured=int(many.measured[i]),
        unit=many.unit,
    )
