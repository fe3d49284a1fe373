"""What a page knows: a fit's laws with their doubt, the sizes that can be chosen, phones, runs, and the ledger."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaling.accounting import (
    LAYOUTS,
    WEIGHT_FORMATS,
    Storage,
    TokenizerLayout,
    count_parameters,
    decode_bytes,
)
from scaling.fit.neighbours import LENGTH, MOST_NEIGHBOURS, OTHER_TEXT, SAME_CELL, Runs
from scaling.fit.prediction import APART
from scaling.predict.explain.basis import published
from scaling.predict.explain.teacher import SHARPNESS, TeacherAsked
from scaling.predict.named.models import models
from scaling.predict.phones.devices import APP_SHARE, devices
from scaling.predict.phones.footprint import footprint
from scaling.predict.quantization import IN_A_WORLD, QUANTIZATION_COST, SAID_BY_LAW
from scaling.predict.recommend.candidates import size_of
from scaling.report.page.script import formula_of
from scaling.report.texts import texts_read
from scaling.spec import ModelSpec
from scaling.tables.observations import REAL

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.evidence import Member
    from scaling.fit.result import Fit
    from scaling.predict.question import Question

Facts = dict[str, Any]
"""JSON values."""

CONTEXTS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Lengths of the cache that can be chosen, beside the one that was trained."""

MOST_SHAPES = 64
"""Sizes that can be chosen, at most: a slider has no use for more."""

FORMATS = ("f32", "f16", "q8_0", "q4_0")
"""Formats of weights that can be chosen, by what a person calls them."""


def law_facts(fit: Fit) -> Facts:
    """All that a forecast takes, as `Fit.predict` computes it.

    Raises:
        SpecError: a law of the fit cannot be written as a page.
    """
    calibration = fit.calibration
    # A fit of one text has no names for it; its columns are those of real text.
    labels: list[str | None] = [*fit.teachers] or [None]
    return {
        "members": [_member(member) for member in fit.members if member.weight > 0],
        "apart": APART,
        "calibration": {
            "levels": list(calibration.levels),
            "quantiles": list(calibration.quantiles),
            "noise": calibration.noise,
            "factors": dict(calibration.factors),
            "inside": calibration.inside,
            "trend": None if calibration.trend is None else vars(calibration.trend),
        },
        "known": None if fit.runs is None else _known(fit.runs, calibration.noise),
        "ranges": {name: list(ends) for name, ends in fit.ranges.items()},
        "texts": [_text(fit, label) for label in labels],
        "columns": dict(fit.columns),
        "unit": fit.unit,
        "has_doubt": bool(fit.ranges),
        "identified": fit.success,
        "formula": repr(fit.law),
        "said_by": f"{fit.n_runs} runs of {fit.n_clusters} trunks" if fit.n_runs else "; ".join(fit.status.notes[:1]),
    }


def _member(member: Member) -> Facts:
    covariance = member.covariance
    return {
        "formula": formula_of(member.law),
        "p": member.law.vector.tolist(),
        "weight": member.weight,
        "coordinates": member.coordinates.tolist(),
        "covariance": None if covariance is None else covariance.tolist(),
    }


def _known(runs: Runs, noise: float) -> Facts:
    """The runs that a forecast is given, and how far they speak."""
    return {
        "columns": {name: values.tolist() for name, values in runs.columns.items()},
        "loss": runs.loss.tolist(),
        "off": runs.off.tolist(),
        "share": runs.share,
        "seeds": runs.seed_scatter(noise),
        "length": LENGTH,
        "other_text": OTHER_TEXT,
        "most": MOST_NEIGHBOURS,
        "same_cell": SAME_CELL,
    }


def _text(fit: Fit, label: str | None) -> Facts:
    at = fit.points(1.0, 1.0, teacher=label).columns
    columns = {name: float(values[0]) for name, values in at.items() if name not in ("n", "d")}
    told: Facts = {"label": label or "real text", "asked": label, "columns": columns, "floor": None}
    if fit.success and math.isfinite((floor := fit.floor(label)).value):
        told |= {"floor": float(floor.value), "floor_ends": [_plain(end) for end in fit.floor_interval(label)]}
    return told


def teacher_facts(law: str) -> list[Facts]:
    """Text of large models by a published law: what it misses of real text. None where the law has no floor."""
    basis = published(law)
    if not basis.floor > 0:
        return []
    named = [one for one in models().values() if one.objective == "next" and one.n_tokens]
    taught = {one.name: TeacherAsked(name=one.name).on(basis) for one in named}
    return [
        {"label": f"text of {one.label}", "asked": name, "columns": {}, "floor": one.loss, "delta": one.delta}
        | {"sharpness": SHARPNESS}
        for name, one in taught.items()
    ]


def shape_facts(
    models: Iterable[ModelSpec], *, convention: str, contexts: Sequence[int], tokenizer: TokenizerLayout | None
) -> list[Facts]:
    """Sizes that can be chosen, smallest first, each with its bytes by part."""
    found: dict[ModelSpec, Facts] = {}
    for model in models:
        if model not in found:
            found[model] = _shape(model, convention, contexts, tokenizer)
    shapes = sorted(found.values(), key=lambda shape: (shape["n"], shape["weights"]["q8_0"]))
    if len(shapes) <= MOST_SHAPES:
        return shapes
    return [shapes[round(i * (len(shapes) - 1) / (MOST_SHAPES - 1))] for i in range(MOST_SHAPES)]


def _shape(model: ModelSpec, convention: str, contexts: Sequence[int], tokenizer: TokenizerLayout | None) -> Facts:
    def bytes_at(context: int, storage: Storage) -> Any:
        return footprint(model, context=context, tokenizer=tokenizer, storage=storage)

    stored = {name: bytes_at(contexts[0], WEIGHT_FORMATS[name]) for name in FORMATS}
    lengths = {context: bytes_at(context, "Q8_0") for context in contexts}
    return {
        "width": model.width,
        "layers": model.n_layers,
        "n": size_of(model, convention),
        "n_body": count_parameters(model).n_params,
        "weights": {name: one.weights_bytes for name, one in stored.items()},
        "repacked": {name: one.repacked_bytes for name, one in stored.items()},
        "read": {name: decode_bytes(model, WEIGHT_FORMATS[name], position=model.context // 2) for name in FORMATS},
        "at": {str(c): [one.kv_cache_bytes, one.compute_bytes, one.engine_bytes] for c, one in lengths.items()},
    }


def format_facts(*, in_world: bool, nat: float) -> list[Facts]:
    """Formats with what each adds to the loss, a nat of which counts `nat`: by law in a world, one number for text."""
    found = []
    for name in FORMATS:
        storage = WEIGHT_FORMATS[name]
        bits = LAYOUTS[storage].bits
        has_law = in_world and bits < SAID_BY_LAW
        law = {name: getattr(IN_A_WORLD, name) for name in ("k", "b", "a")} if has_law else None
        found.append({"name": name, "bits": bits, "added": nat * QUANTIZATION_COST[storage].nats, "law": law})
    return found


def device_facts() -> list[Facts]:
    """Phones with what an app may take of their memory, and their constants of speed."""
    found = []
    for name, phone in sorted(devices().items(), key=lambda item: (item[1].year, item[1].memory.value)):
        speed = phone.speed(None, None)
        ranges = {part: getattr(speed, part) for part in ("token_s", "layer_s", "bandwidth")}
        found.append(
            {"name": name, "label": phone.label, "year": phone.year, "budget": phone.memory.value * APP_SHARE}
            | {part: [one.value, one.low, one.high] for part, one in ranges.items()}
        )
    return found


def run_facts(fit: Fit, runs: pd.DataFrame) -> list[Facts]:
    """The measured runs that the fit knows the text of."""
    # In the order of the texts of `law_facts`, of which the page knows a run's by its place.
    names = [*fit.teachers] or [REAL]
    n, d, loss = (fit.columns[name] for name in ("n", "d", "loss"))
    found = []
    for row, label in zip(runs.to_dict("records"), texts_read(fit, runs), strict=True):
        if row.get("status", "done") != "done" or label not in names or not math.isfinite(float(row[loss])):
            continue
        values = {
            "n": row[n],
            "d": row[d],
            "loss": row[loss],
            "se": row.get(f"{loss}_se") or 0,
            "seed": row.get("seed"),
        }
        about = {"text": names.index(label), "width": row.get("width"), "run": str(row.get("run_id", ""))}
        found.append({name: _plain(value) for name, value in (values | about).items()})
    return found


def ledger_facts(rows: Iterable[Mapping[str, Any]]) -> list[Facts]:
    """Asked, forecast and measured of every verified recommendation."""
    wanted = (
        *("recorded_at", "sweep", "run_id", "teacher", "n_params", "n_tokens", "target_loss", "probability"),
        *("loss_forecast", "loss_low", "loss_high", "loss_measured", "target_met", "loss_in_interval", "seen_before"),
    )
    return [{name: _plain(row.get(name)) for name in wanted} for row in rows]


def question_facts(question: Question) -> Facts:
    """What the page asks when it is opened."""
    names = {storage: name for name, storage in WEIGHT_FORMATS.items()}
    return {
        "target": question.target_loss,
        "probability": question.probability,
        "budget": question.budget_bytes,
        "device": question.device,
        "context": question.context,
        "format": names.get(question.stored_as, "q8_0"),
        "tokens": question.tokens,
    }


def _plain(value: Any) -> Any:
    """A JSON value; what is not a number is none."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
