"""What a sweep's ``recommend`` section asks, answered: which candidates there are, and which one to train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from scaling.accounting import TokenizerLayout, symbol_layout
from scaling.config.expand import expand, recommended_teacher
from scaling.config.sweep import SweepConfig
from scaling.data.text import open_tokenizer
from scaling.errors import ConfigError
from scaling.predict.footprint import Footprint, footprint
from scaling.predict.recommend import Recommendation, recommend
from scaling.records import RunStore
from scaling.spec import GGUF_BLOCK, DataSpec, ModelSpec, RunSpec

if TYPE_CHECKING:
    from scaling.fit.result import Fit

BEYOND_MEMORY = 4
"""Candidates reach this many times the budget, so that an infeasible answer can say what the target would need."""


def choose(
    config: SweepConfig,
    fit: Fit,
    store: RunStore,
    *,
    target_loss: float | None = None,
    memory_bytes: int | None = None,
    tokens: int | None = None,
    confidence: float | None = None,
    force: bool = False,
) -> Recommendation:
    """Recommend from a sweep's own family of models.

    Candidates are the sweep's configuration at every width that is a multiple of 32 (or at those listed), on the
    largest volume of the sweep (or the one asked for), with the learning rate that the sweep derives for each width.

    Args:
        config: The sweep; its ``recommend`` section gives whatever is not given here.
        fit: Of that sweep's runs.
        store: Where the sweep's tokenizer lies; it is stored in the exported file, and so part of its bytes.
        target_loss: nats/token.
        memory_bytes: Budget.
        tokens: D of the recommended training.
        confidence: Least P(loss ≤ target).
        force: Accept forecasts far beyond the data.

    Raises:
        ConfigError: neither the file nor the caller gives a target and a memory.
        InfeasibleError: nothing meets the target within the memory.
        ExtrapolationError: only what lies too far beyond the data does.
    """
    asked = config.recommend
    target_loss = target_loss or (asked and asked.target_loss)
    memory_bytes = memory_bytes or (asked and asked.memory)
    if target_loss is None or memory_bytes is None:
        raise ConfigError(
            [f"{config.path}:1:1: recommend: missing — give target_loss and memory here, or --target-loss and --memory"]
        )
    runs = expand(config)
    teacher = recommended_teacher(config, runs)
    template = next(run for run in runs if run.data.teacher == teacher)
    volume = tokens or (asked and asked.tokens) or max(run.tokens for run in runs)
    context = (asked and asked.context) or template.model.context
    tokenizer = tokenizer_layout(template.data, store)

    def measure(model: ModelSpec) -> Footprint:
        return footprint(model, context=context, tokenizer=tokenizer)

    limit = BEYOND_MEMORY * memory_bytes
    widths = (asked and asked.widths) or list(_widths(template.model, measure, limit))
    candidates = family(config, template, widths=widths, tokens=volume)
    return recommend(
        fit,
        candidates,
        target_loss=target_loss,
        memory_bytes=memory_bytes,
        teacher=template.data.label,
        footprint=measure,
        confidence=confidence or (asked.confidence if asked else 0.5),
        level=asked.level if asked else 0.9,
        force=force,
    )


def tokenizer_layout(data: DataSpec, store: RunStore) -> TokenizerLayout:
    """What an exported file says about the tokens of a run: its tokenizer, or placeholders for a world's symbols.

    A source token comes last, as a control token: what the file is asked for begins as real text does.
    """
    if data.source.kind != "text":
        return symbol_layout(data.vocab_size, bos_id=data.source.vocab_size - 1)
    layout = open_tokenizer(data.source, store).to_gguf()
    if not data.source_token:
        return layout
    return replace(layout, tokens=(*layout.tokens, "<|written|>"), token_types=(*layout.token_types, 3))


def family(config: SweepConfig, template: RunSpec, *, widths: list[int], tokens: int) -> list[RunSpec]:
    """One run of a sweep at other widths and another volume, its derived values derived anew."""
    values = template.model_dump(mode="json")
    # What follows from the width is left out, so that it follows from the new one.
    kept = {k: v for k, v in values["model"].items() if k not in ("width", "n_heads", "n_kv_heads", "hidden")}
    written = config.base.get("model", {})
    kept |= {k: written[k] for k in ("n_heads", "n_kv_heads", "hidden") if isinstance(written, dict) and k in written}
    other = SweepConfig.model_validate(
        {
            "name": config.name,
            "base": {**values, "model": kept, "tokens": tokens},
            "grid": {"model.width": widths},
            "derive": {path: rule.model_dump() for path, rule in config.derive.items() if path != "tokens"},
            "set": {path: value for path, value in config.overrides.items() if path not in ("model.width", "tokens")},
            "max_runs": len(widths),
        }
    )
    return expand(other)


def _widths(model: ModelSpec, measure, limit: int) -> Iterator[int]:
    """Multiples of 32, up to the first one beyond the limit."""
    width = GGUF_BLOCK
    while True:
        yield width
        fields = model.model_dump(exclude={"width", "n_heads", "n_kv_heads", "hidden"})
        if measure(ModelSpec(**fields, width=width)).total_bytes > limit:
            return
        width += GGUF_BLOCK
