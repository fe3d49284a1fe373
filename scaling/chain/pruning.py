"""The stage that leaves parts of a student out, heals what is left, and holds it against one that was born so small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.stop import interruptible

if TYPE_CHECKING:
    from scaling.compress.student import QuantizedStudent
    from scaling.fit.result import Fit
    from scaling.spec import ModelSpec

HEALING = 0.1
"""Tokens of a healing, by default, of those that the whole student was trained on."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A student with parts left out, before and after healing. Losses are nats/token on held-out real text.

    Attributes:
        run_id: Of the whole student.
        kept: What is left of each part.
        scheme: How its matrices are stored.
        n_params_before: N without embeddings of the whole student.
        n_params: Of what is left, zeros not counted.
        bytes_before: The whole student as stored.
        n_bytes: What is left as stored: a zero takes as many bytes as any other weight.
        loss_before: Of the whole student.
        loss_cut: Of what is left.
        loss: After healing.
        loss_stored: After healing, as stored.
        healing_tokens: Read while it healed, from the whole student's distribution.
        born: Loss by the sweep's law of a student born with that N: on as much text, and for all the compute that was
            spent on this one. Empty without a fit.
        folder: The bundle that was written; None where none was asked for.
    """

    run_id: str
    kept: Mapping[str, float]
    scheme: str
    n_params_before: int
    n_params: int
    bytes_before: int
    n_bytes: int
    loss_before: float
    loss_cut: float
    loss: float
    loss_stored: float
    healing_tokens: int
    born: Mapping[str, float] = field(default_factory=dict)
    folder: Path | None = None


@interruptible()
def prune_stage(
    store: RunStore,
    run: RunSpec,
    kept: Mapping[str, float],
    *,
    scheme: str = "q8_0",
    healing_tokens: int | None = None,
    fit: Fit | None = None,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Pruned:
    """Leave parts of a trained student out, heal what is left by distillation from the whole one, and store it.

    Args:
        store: Where the run lies.
        run: Of the whole student.
        kept: What is left of each part, as ``{"heads": 4}``.
        scheme: How the result is stored.
        healing_tokens: By default a tenth of those of the run.
        fit: Forecasts a student born at the size of what is left.
        folder: Where a bundle of the result is written; it needs a scheme of GGUF.
        say: Called with one line a step.

    Raises:
        SpecError: a part is not known, no student has so many, or nothing would be left out.
        ExportError: the result cannot be stored so.
    """
    from scaling.compress.pruning import WEIGHTS, Pruning
    from scaling.compress.student import quantize
    from scaling.train.evaluate import evaluate
    from scaling.train.measure import held_out
    from scaling.train.student.model import from_tensors, to_tensors

    format = None if folder is None else _format_for(scheme, folder)
    pruning, real = Pruning(run, store), held_out(run, store).real
    cut = pruning.cut(kept)
    # Healing begins from what is left; which weights are to be zero it chooses anew on its way.
    zeros, parts = 1 - kept.get(WEIGHTS, 1.0), {part: value for part, value in kept.items() if part != WEIGHTS}
    tokens = healing_tokens or max(run.step_tokens, round(HEALING * run.n_tokens))
    say(f"{_said(kept)} kept; healing on {tokens:,} tokens")
    healed = pruning.healed(pruning.cut(parts), tokens, zeros=zeros)
    stored = quantize(to_tensors(healed), scheme)
    as_stored = from_tensors(healed.model, stored.dequantize())
    before, at_once, after, rounded = (evaluate(one, real).loss for one in (pruning.student, cut, healed, as_stored))
    n_params = _left(cut.model, zeros)
    found = Pruned(
        run_id=run.run_id,
        kept=dict(kept),
        scheme=scheme,
        n_params_before=_left(run.model, 0.0),
        n_params=n_params,
        bytes_before=quantize(to_tensors(pruning.student), scheme).n_bytes,
        n_bytes=stored.n_bytes,
        loss_before=before,
        loss_cut=at_once,
        loss=after,
        loss_stored=rounded,
        healing_tokens=tokens,
        born={} if fit is None else _born(fit, run, cut.model, n_params, tokens),
        folder=folder,
    )
    if format is not None:
        _write(store, run, found, stored.with_loss(after, rounded), cut.model, format)
    return found


def _born(fit: Fit, run: RunSpec, left: ModelSpec, n_params: int, healing_tokens: int) -> dict[str, float]:
    """By the law alone: what was measured of the whole student says nothing of one born smaller."""
    from scaling.accounting import count_parameters, training_flops
    from scaling.compress.pruning import healing_flops, tokens_for
    from scaling.predict.recommend.candidates import size_of, text_columns

    spent = training_flops(run.model, run.n_tokens) + healing_flops(run.model, left, healing_tokens)
    n = size_of(left, fit.columns["n"]) - (count_parameters(left).n_params - n_params)
    text = text_columns(fit, run.data)
    volumes = {"on as much text": float(run.n_tokens), "for as much compute": tokens_for(left, spent)}
    return {said: float(fit.predict(n, d, given="law", force=True, **text).value) for said, d in volumes.items()}


def _left(model: ModelSpec, zeros: float) -> int:
    """N without embeddings, without the share of the blocks' matrices that is zero."""
    from scaling.accounting import count_parameters

    counts = count_parameters(model)
    return counts.n_params - round(zeros * (counts.attention + counts.mlp))


def _format_for(scheme: str, folder: Path) -> str:
    """The export format of a bundle, asked before anything is computed."""
    from scaling.accounting import STORED_FORMATS
    from scaling.errors import ExportError
    from scaling.export.format import EXPORT_FORMATS

    if folder.exists():
        raise ExportError(f"{folder}: something is there, which is not overwritten; name another folder")
    formats = [name for name in STORED_FORMATS if EXPORT_FORMATS[name].scheme == scheme]
    if not formats:
        raise ExportError(f"no export format stores matrices as {scheme} — leave --out away, or take q8_0")
    return formats[0]


def _write(
    store: RunStore, run: RunSpec, found: Pruned, student: QuantizedStudent, model: ModelSpec, format: str
) -> None:
    """A bundle whose provenance says what was left out."""
    from scaling.export.bundle.files import write_bundle
    from scaling.export.bundle.provenance import provenance_of
    from scaling.predict.phones.footprint import tokenizer_layout

    origin = provenance_of(store.load(run.run_id), store)
    # Where it comes from is the whole student's story, but for what it is now.
    origin = replace(
        origin,
        n_params=found.n_params,
        loss=found.loss,
        loss_se=None,
        pruned=f"{_said(found.kept)} kept, healed on {found.healing_tokens:,} tokens from the whole student",
    )
    write_bundle(
        str(found.folder),
        student,
        model,
        run_id=run.run_id,
        format=format,
        tokenizer=tokenizer_layout(run.data, store),
        provenance=origin,
        on_conflict="refuse",
    )


def _said(kept: Mapping[str, float]) -> str:
    return ", ".join(f"{part}={value:g}" for part, value in kept.items())
