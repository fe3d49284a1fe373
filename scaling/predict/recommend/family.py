"""The models that a sweep's recommendation chooses from: those of its own family, at every width."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from scaling.config.expand import expand
from scaling.config.sweep import SweepConfig
from scaling.dimensions import GGUF_BLOCK, Dimensions
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import BEYOND_MEMORY, Measure
from scaling.records.compute import paid_flops
from scaling.spec import ModelSpec, RunSpec

_FOLLOWS_WIDTH = ("n_heads", "n_kv_heads", "hidden")


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


def shape_of(model: Dimensions) -> tuple[int, int, int, bool]:
    """All of a model's form but its width: layers, width of a head, queries that share a key, tied embeddings."""
    return model.n_layers, model.head_width, model.n_heads // model.n_kv_heads, model.tied_embeddings


def within_flops(run: RunSpec, flops: float) -> RunSpec:
    """The run, on as many tokens as a budget of FLOPs allows, at most its own; its teacher is paid from it too."""
    if paid_flops(run) <= flops:
        return run

    def paid(steps: int) -> float:
        return paid_flops(run.model_copy(update={"tokens": steps * run.step_tokens}))

    # What a recipe asks of the teacher need not be even over the tokens.
    steps = bisect_right(range(1, run.n_tokens // run.step_tokens + 1), flops, key=paid)
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
