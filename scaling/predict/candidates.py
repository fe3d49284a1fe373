"""The configurations to choose from: a sweep's own family of models, each with its forecast, bytes and speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.accounting import STORED_FORMATS, count_parameters, training_flops
from scaling.config.expand import expand
from scaling.config.sweep import SweepConfig
from scaling.dimensions import GGUF_BLOCK
from scaling.errors import SpecError
from scaling.fit.prediction import Prediction
from scaling.predict.devices import device
from scaling.predict.footprint import Footprint
from scaling.predict.measured import Measured, Measurements
from scaling.predict.quantization import QuantizationCost, Rounding, rounding_cost
from scaling.predict.question import Question
from scaling.predict.speed import Speed, decode_speed
from scaling.spec import DataSpec, ModelSpec, RunSpec

if TYPE_CHECKING:
    from scaling.fit.result import Fit

Measure = Callable[[ModelSpec], Footprint]
"""Bytes of a model on the phone."""

CONVENTIONS = ("n_params", "n_params_linear", "n_params_total")

BEYOND_MEMORY = 4
"""Candidates reach this many times the budget, so that an infeasible answer can say what the target would need."""

NO_ROUNDING = QuantizationCost(nats=0.0, low=0.0, high=0.0, source="")

_FOLLOWS_WIDTH = ("n_heads", "n_kv_heads", "hidden")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One configuration with what is forecast of it.

    Attributes:
        run: The configuration.
        n_params: N in the convention of the fit.
        prediction: Forecast of the loss, given the runs nearby, with its interval and how far beyond the data it
            reaches; for what was measured, what the law says alone.
        probability: P(loss ≤ target) of the stored student, from what was measured where there is something.
        footprint: Bytes on the phone.
        speed: Rate of writing on the device that was asked about; None without one.
        measured: The losses that decide, where runs of this configuration were trained; None for a forecast.
        rounding: Loss that its stored format adds, and where that was seen.
    """

    run: RunSpec
    n_params: int
    prediction: Prediction
    probability: float
    footprint: Footprint
    speed: Speed | None = None
    measured: Measured | None = None
    rounding: QuantizationCost = NO_ROUNDING

    @property
    def expected(self) -> Prediction:
        """The loss that decides: what was measured, or else what the law says, and what the stored format adds."""
        of_weights = self.prediction if self.measured is None else self.measured.prediction(self.prediction.level)
        value, low, high = (end + self.rounding.nats for end in (of_weights.value, of_weights.low, of_weights.high))
        return replace(of_weights, value=value, low=low, high=high)

    @property
    def reach(self) -> float:
        """Largest factor by which N or D exceeds the data behind the fit (1 inside, and for what was measured)."""
        if self.measured is not None:
            return 1.0
        return max(self.prediction.reach.values(), default=1.0)

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
            "width": self.run.model.width,
            "n_layers": self.run.model.n_layers,
            "n_params": self.n_params,
            "n_tokens": self.run.n_tokens,
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
        speed, measured, rounding = values["speed"], values.get("measured"), values.get("rounding", 0.0)
        # Files of before 2026-11-27 hold the added loss alone.
        if not isinstance(rounding, Mapping):
            rounding = {"nats": rounding, "low": rounding, "high": rounding, "source": ""}
        return cls(
            run=RunSpec.model_validate(values["run"]),
            n_params=values["n_params"],
            prediction=Prediction(**values["prediction"]),
            probability=values["probability"],
            footprint=Footprint(**values["footprint"]),
            speed=None if speed is None else Speed(**speed),
            measured=None if measured is None else Measured(**measured),
            rounding=QuantizationCost(**rounding),
        )


def size_of(model: ModelSpec, convention: str) -> int:
    """N of a model in the convention that a fit names (``n_params``, ``n_params_linear`` or ``n_params_total``)."""
    if convention not in CONVENTIONS:
        raise SpecError(
            f"the fit measures size by {convention!r}, which cannot be computed from a model; "
            f"refit with {', '.join(CONVENTIONS[:-1])} or {CONVENTIONS[-1]}"
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


def score(
    fit: Fit,
    runs: Sequence[RunSpec],
    question: Question,
    measure: Measure,
    measured: Measurements | None = None,
    *,
    rounding: Rounding = rounding_cost,
) -> list[Candidate]:
    """Forecast every configuration at once, smallest footprint first (then fewest tokens).

    A configuration that was trained is judged by what was measured of it.
    """
    texts = {text_name(fit, run.data): run.data.label for run in runs}
    if len(texts) != 1:
        said = ", ".join(sorted(texts.values()))
        raise SpecError(f"candidates read one text — got {said or 'no candidates'}")
    (text,) = texts
    n = np.array([size_of(run.model, fit.columns["n"]) for run in runs], float)
    d = np.array([run.n_tokens for run in runs], float)
    # What rounding adds is taken off the target: the law is of the weights as they were trained.
    costs = [rounding(run, question.stored_as) for run in runs]
    aim = np.maximum(question.target_loss - np.array([cost.nats for cost in costs]), TINY_LOSS)
    # However far they reach: who chooses among them refuses what lies too far.
    forecast = fit.predict(n, d, teacher=text, level=question.level, force=True)
    alone = fit.predict(n, d, teacher=text, level=question.level, given="law", force=True)
    chance = fit.probability(aim, n, d, teacher=text, force=True)
    bytes_of, speed_of = cache(measure), _speeds(question)
    # The law is asked once for all; what was measured is looked up one by one.
    candidates = []
    for i, run in enumerate(runs):
        known = None if measured is None else measured[run]
        candidates.append(
            Candidate(
                run=run,
                n_params=int(n[i]),
                prediction=_one(forecast if known is None else alone, i),
                probability=float(chance[i]) if known is None else known.probability(float(aim[i])),
                footprint=bytes_of(run.model),
                speed=speed_of(run.model),
                measured=known,
                rounding=costs[i],
            )
        )
    return sorted(candidates, key=lambda c: (c.footprint.total_bytes, c.run.n_tokens))


TINY_LOSS = 1e-9
"""Stands for a target that the rounding alone exceeds: a loss is positive."""


def _speeds(question: Question) -> Callable[[ModelSpec], Speed | None]:
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
    )


def offered(config: SweepConfig, trained: Sequence[RunSpec], question: Question, measure: Measure) -> list[RunSpec]:
    """The sweep's configurations at every width that is asked about, by default at every multiple of 32.

    A law of N alone is blind to shape, so no shape is offered but those that the sweep trained: its depths, its ways
    of sharing keys and values, its heads. Width is what N is made of, and goes as far as the memory.

    Args:
        config: The sweep; what it derives from the width is derived anew.
        trained: Its runs on the text that is asked about; candidates take after them.
        question: Widths, memory, tokens and FLOPs.
        measure: Bytes of a model on the phone.
    """
    tokens = question.tokens or max(run.tokens for run in trained)
    limit = BEYOND_MEMORY * question.budget_bytes
    runs = []
    for template in {shape_of(run.model): run for run in reversed(trained)}.values():
        widths = list(question.widths or _widths(template.model, measure, limit))
        runs += family(config, template, widths=widths, tokens=tokens)
    flops = question.max_training_flops
    return runs if flops is None else [within_flops(run, flops) for run in runs]


def shape_of(model: ModelSpec) -> tuple[int, int, int, bool]:
    """All of a model's form but its width: layers, width of a head, queries that share a key, tied embeddings."""
    return model.n_layers, model.head_width, model.n_heads // model.n_kv_heads, model.tied_embeddings


def within_flops(run: RunSpec, flops: float) -> RunSpec:
    """The run, on as many tokens as a budget of training FLOPs allows, at most its own."""
    if training_flops(run.model, run.n_tokens) <= flops:
        return run
    steps = int(flops / training_flops(run.model, run.step_tokens))
    return RunSpec.model_validate(run.model_dump(mode="json") | {"tokens": max(steps, 1) * run.step_tokens})


def family(config: SweepConfig, template: RunSpec, *, widths: list[int], tokens: int) -> list[RunSpec]:
    """One run of a sweep at other widths and another volume, its derived values derived anew."""
    values = template.model_dump(mode="json")
    # What follows from the width is left out, so that it follows from the new one.
    kept = {key: value for key, value in values["model"].items() if key not in ("width", *_FOLLOWS_WIDTH)}
    written = config.base.get("model", {})
    kept |= {key: written[key] for key in _FOLLOWS_WIDTH if isinstance(written, dict) and key in written}
    start = values.get("start_from")
    while start:
        start["model"] = {"context": start["model"]["context"]}
        start = start.get("start_from")
    models = [at_width(template.model, width, **kept) for width in widths]
    other = SweepConfig.model_validate(
        {
            "name": config.name,
            "base": {**values, "tokens": tokens},
            "grid": {"model": [model.model_dump(mode="json") for model in models]},
            "derive": {path: rule.model_dump() for path, rule in config.derive.items() if path != "tokens"},
            "set": {path: value for path, value in config.overrides.items() if path not in _CHOSEN},
            "max_runs": len(widths),
        }
    )
    return expand(other)


_CHOSEN = ("model", "model.width", "model.n_layers", "model.n_kv_heads", "model.head_width", "tokens")


def _widths(model: ModelSpec, measure: Measure, limit: int) -> Iterator[int]:
    """Multiples of 32, up to the first one beyond the limit."""
    width = GGUF_BLOCK
    while True:
        yield width
        if measure(at_width(model, width)).total_bytes > limit:
            return
        width += GGUF_BLOCK


def at_width(model: ModelSpec, width: int, **written: Any) -> ModelSpec:
    """The same shape at another width; what follows from the width follows from the new one.

    Args:
        model: Of any width.
        width: The other one.
        **written: What a person fixed, whatever the width.
    """
    shared = model.n_heads // model.n_kv_heads
    values = model.model_dump(exclude={"width", *_FOLLOWS_WIDTH}) | written | {"width": width}
    if shared > 1 and "n_kv_heads" not in written:
        heads = values.get("n_heads") or max(1, width // model.head_width)
        values["n_kv_heads"] = next(k for k in range(max(1, heads // shared), 0, -1) if heads % k == 0)
    return ModelSpec(**values)
