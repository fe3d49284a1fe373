"""How long a training takes: from a calibration, from earlier runs, or from a careful guess."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from scaling.accounting import forward_flops
from scaling.files import read_json, write_json
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.sweep.outcomes import look

GUESSED_FLOPS_PER_S = 4e10
"""One core on models this small: measured 3.5–5.8·10¹⁰ for widths 32–128 (exact FLOPs, batch 16 × 40 tokens)."""

GUESSED_STEP_S = 0.7e-3
"""What a step costs however small it is: dispatch, input, bookkeeping."""

PaceSource = Literal["calibrated", "earlier runs", "guess"]


def shape_of(spec: RunSpec) -> str:
    """What the time of a step depends on, as text."""
    m = spec.model
    return (
        f"V{m.vocab_size} M{m.width} L{m.n_layers} H{m.n_heads}x{m.head_width} KV{m.n_kv_heads} F{m.hidden} "
        f"T{m.context} B{spec.optim.batch_size}"
    )


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds of a step by shape; other shapes are scaled by their FLOPs.

    Attributes:
        step_s: Seconds of one step of each shape that is known.
        flops_per_s: Median rate over the known shapes; None where nothing is known.
        source: Where it comes from.
    """

    step_s: dict[str, float]
    flops_per_s: float | None
    source: PaceSource

    def seconds(self, spec: RunSpec, steps: int) -> float:
        """Estimated seconds of some steps of a run."""
        known = self.step_s.get(shape_of(spec))
        if known is not None:
            return known * steps
        flops = 3.0 * forward_flops(spec.model) * spec.step_tokens
        if self.flops_per_s is not None:
            return steps * flops / self.flops_per_s
        return steps * (GUESSED_STEP_S + flops / GUESSED_FLOPS_PER_S)


def known_pace(specs: Iterable[RunSpec], store: RunStore) -> Pace:
    """The best pace that the results folder knows: its calibration, else finished runs of the sweep."""
    file = store.root / "calibration.json"
    calibrated = read_json(file)["step_s"] if file.exists() else {}
    if calibrated:
        return _pace(calibrated, specs, "calibrated")
    measured: dict[str, list[float]] = {}
    for spec in specs:
        outcome = look(store, spec.run_id).outcome
        if outcome and outcome.tokens_per_s:
            measured.setdefault(shape_of(spec), []).append(spec.step_tokens / outcome.tokens_per_s)
    # The fastest run of a shape says what its steps cost; slower ones compiled, or shared the machine.
    return _pace({shape: min(seconds) for shape, seconds in measured.items()}, specs, "earlier runs")


def calibrate(specs: Sequence[RunSpec], store: RunStore, time_steps: Callable[[RunSpec, int], float]) -> Pace:
    """Time three steps of every shape, and keep the result in the results folder.

    Args:
        specs: Runs whose shapes are timed, each shape once.
        store: Where ``calibration.json`` is written.
        time_steps: Seconds of a number of steps of a run, compilation left out.
    """
    file = store.root / "calibration.json"
    step_s = dict(read_json(file)["step_s"]) if file.exists() else {}
    shapes = {shape_of(spec): spec for spec in specs}
    step_s |= {shape: time_steps(spec, 3) / 3 for shape, spec in shapes.items()}
    write_json(file, {"step_s": step_s})
    return _pace(step_s, specs, "calibrated")


def _pace(step_s: dict[str, float], specs: Iterable[RunSpec], source: PaceSource) -> Pace:
    flops = {shape_of(spec): 3.0 * forward_flops(spec.model) * spec.step_tokens for spec in specs}
    rates = [flops[shape] / seconds for shape, seconds in step_s.items() if shape in flops and seconds > 0]
    return Pace(
        step_s=step_s, flops_per_s=statistics.median(rates) if rates else None, source=source if rates else "guess"
    )
