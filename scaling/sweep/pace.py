"""How long a training takes: from a calibration, from any run that this machine has finished, or from a guess."""

from __future__ import annotations

import math
import platform
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scaling.errors import RecordError
from scaling.files import read_json, write_json
from scaling.machine import cores
from scaling.records import RunRecord, RunStore
from scaling.records.compute import asked_flops, student_flops
from scaling.spec import RunSpec, teacher_run
from scaling.sweep.accelerators import accelerators

GUESSED_FLOPS_PER_S = 4e10
"""One core on models this small: measured 3.5–5.8·10¹⁰ for widths 32–128 (exact FLOPs, batch 16 × 40 tokens)."""

GUESSED_STEP_S = 0.7e-3
"""What a step costs however small it is: dispatch, input, bookkeeping."""

GUESSED_COMPILE_S = 8.0
"""Compiling the programs of one shape in one worker; 1 s where the machine compiled that shape before."""

START_S = 4.0
"""Loading jax."""

SLOWER, FASTER = 3.0, 0.7
"""Factors of a guess: a core without AVX-512, or shared with others, took 2.6 times the time; an idle one .7."""

NEWEST = 300
"""Finished runs that are looked at, at most: enough to know every shape in use, and read in .2 s."""

PaceSource = Literal["calibrated", "earlier runs", "guess"]


def shape_of(spec: RunSpec) -> str:
    """What the time of a step depends on, as text: where the recipe asks the teacher's network, its shape as well."""
    m = spec.model
    shape = (
        f"V{m.vocab_size} M{m.width} L{m.n_layers} H{m.n_heads}x{m.head_width} KV{m.n_kv_heads} F{m.hidden} "
        f"T{m.context} B{spec.optim.batch_size}"
    )
    teacher = teacher_run(spec.data)
    asks = teacher is not None and spec.recipe.teacher_passes(spec.n_tokens) > 0
    return f"{shape} {spec.recipe.kind} of {shape_of(teacher)}" if asks and teacher else shape


def alone(spec: RunSpec) -> RunSpec:
    """The same student without its recipe, whose step is the student's work alone."""
    return spec.model_copy(update={"distill": None})


def step_flops(spec: RunSpec) -> float:
    """FLOPs of one optimizer step, with what the recipe asks of the teacher's network in it."""
    whole = student_flops(spec, spec.n_tokens) + asked_flops(spec, spec.n_tokens)
    return whole * spec.step_tokens / spec.n_tokens


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds of a step by shape; another shape takes its FLOPs at the rate of the nearest one.

    Attributes:
        step_s: Seconds of one step of each shape that is known.
        flops: FLOPs of that step, of those shapes whose model is known.
        compile_s: Seconds that a worker compiles for each shape.
        start_s: Until a worker has loaded what trains.
        source: Where it comes from.
        n_runs: Finished runs that were looked at.
    """

    step_s: dict[str, float]
    flops: dict[str, float] = field(default_factory=dict)
    compile_s: float = GUESSED_COMPILE_S
    start_s: float = START_S
    source: PaceSource
    n_runs: int = 0

    def seconds(self, spec: RunSpec, steps: int) -> float:
        """Estimated seconds of some steps of a run."""
        known = self.step_s.get(shape_of(spec))
        if known is not None:
            return known * steps
        flops = step_flops(spec)
        rates = [(abs(math.log(self.flops[s] / flops)), self.flops[s] / self.step_s[s]) for s in self.flops]
        if rates:
            return steps * flops / min(rates)[1]
        return steps * (GUESSED_STEP_S + flops / GUESSED_FLOPS_PER_S)

    def evaluation_s(self, spec: RunSpec) -> float:
        """Estimated seconds of measuring one run: on real text, its teacher's where it has one, and another one."""
        sets = 1 + (spec.data.real_share != 1) + (spec.evaluation.ood is not None)
        # Without gradients a token costs a third of what it costs in training.
        return sets * self.seconds(spec, 1) / 3 * spec.evaluation.tokens / spec.step_tokens

    def generation_s(self, spec: RunSpec, n_tokens: int) -> float:
        """Estimated seconds in which the teacher of a run, itself a trained run, generates so many tokens; else 0.

        Many sequences at once, a token costs what it costs in a forward pass: .8 of it were measured (.7M parameters).
        """
        teacher = teacher_run(spec.data)
        return self.seconds(teacher, 1) / 3 * n_tokens / teacher.step_tokens if teacher else 0.0

    @property
    def basis(self) -> str:
        """Where it comes from, in words."""
        if self.source == "calibrated":
            return "pace: three steps of each shape were timed on this machine"
        if self.source == "earlier runs":
            return f"pace: of {self.n_runs} runs that this machine has finished"
        if self.step_s:
            return "pace: of other shapes, whose steps were timed on this machine; --calibrate times these"
        return (
            f"a guess before any run here: {GUESSED_FLOPS_PER_S / 1e9:g} GFLOP/s a core, as on a server with AVX-512; "
            "--calibrate times this machine"
        )


def known_pace(specs: Iterable[RunSpec], store: RunStore, *, due: Iterable[RunSpec] | None = None) -> Pace:
    """The best pace that the results folder knows: what was timed here, else all runs that this machine has finished.

    Args:
        specs: Runs of a sweep.
        store: The results folder; it is only read.
        due: Those that are to be trained; by default all.
    """
    specs = list(specs)
    timed, earlier = _timed_here(store), _Earlier.of(store)
    # A calibration times students without their recipes.
    flops = {shape_of(one): step_flops(one) for spec in specs for one in (spec, alone(spec))} | earlier.flops
    step_s = earlier.step_s | timed
    # One shape that was not timed makes the whole an estimate.
    every = bool(timed) and all(shape_of(alone(spec)) in timed for spec in (specs if due is None else due))
    return Pace(
        step_s=step_s,
        flops={shape: flops[shape] for shape, seconds in step_s.items() if shape in flops and seconds > 0},
        compile_s=earlier.compile_s,
        source="calibrated" if every else "earlier runs" if earlier.step_s else "guess",
        n_runs=earlier.n_runs,
    )


@dataclass(frozen=True, kw_only=True)
class _Earlier:
    """What the runs tell that this machine has finished: seconds and FLOPs of a step by shape, and of compiling."""

    step_s: dict[str, float]
    flops: dict[str, float]
    compile_s: float
    n_runs: int

    @classmethod
    def of(cls, store: RunStore) -> _Earlier:
        found = [(one.spec, one.outcome) for one in _finished_here(store) if one.outcome.tokens_per_s]
        seen: dict[str, list[float]] = defaultdict(list)
        for spec, outcome in found:
            seen[shape_of(spec)].append(spec.step_tokens / (outcome.tokens_per_s or math.inf))
        # The first branch that a worker trains of a shape compiles; the others find it compiled.
        slow = [taken for _, outcome in found if (taken := outcome.compile_s or 0.0) > COMPILES_S]
        return cls(
            # The median run was as disturbed as the next one will be.
            step_s={shape: statistics.median(seconds) for shape, seconds in seen.items()},
            flops={shape_of(spec): step_flops(spec) for spec, _ in found},
            compile_s=statistics.median(slow) if slow else GUESSED_COMPILE_S,
            n_runs=len(found),
        )


COMPILES_S = 0.3
"""A branch that spent more than this on compiling was the first of its shape in its worker."""


def calibrate(specs: Sequence[RunSpec], store: RunStore, time_steps: Callable[[RunSpec, int], float]) -> Pace:
    """Time three steps of every shape, without its recipe, and keep the result in the results folder.

    Args:
        specs: Runs whose shapes are timed, each shape once.
        store: Where ``calibration.json`` is written.
        time_steps: Seconds of a number of steps of a run, compilation left out.
    """
    shapes = {shape_of(one): one for one in map(alone, specs)}
    timed = {shape: {"machine": _machine(), "step_s": time_steps(one, 3) / 3} for shape, one in shapes.items()}
    # Several machines share a folder: each keeps its own.
    others = [entry for entry in _timings(store) if entry["machine"] != _machine() or entry["shape"] not in timed]
    write_json(_file(store), {"timed": others + [{"shape": shape, **entry} for shape, entry in timed.items()]})
    return known_pace(specs, store)


def _file(store: RunStore) -> Path:
    return store.root / "calibration.json"


def _machine() -> dict[str, str]:
    """What a time is true of: a host, and what jax runs on there, told without loading it."""
    found = accelerators()
    return {"host": platform.node(), "device": f"{len(found)} x gpu" if found else f"{cores()} cores"}


def _timed_here(store: RunStore) -> dict[str, float]:
    return {entry["shape"]: entry["step_s"] for entry in _timings(store) if entry["machine"] == _machine()}


def _timings(store: RunStore) -> list[dict[str, Any]]:
    """What was timed, on any machine; none of the files of before, which did not say where.

    Raises:
        RecordError: if the file is damaged.
    """
    file = _file(store)
    if not file.exists():
        return []
    found = read_json(file)
    if isinstance(found, dict) and isinstance(found.get("step_s"), dict):
        return []
    entries = found.get("timed") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not all(map(_is_timing, entries)):
        raise RecordError(f"{file}: damaged, no list of timed steps; move it away, and --calibrate times them again")
    return entries


def _is_timing(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"shape", "machine", "step_s"}:
        return False
    seconds = entry["step_s"]
    is_time = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < math.inf
    return isinstance(entry["shape"], str) and isinstance(entry["machine"], dict) and is_time


def _finished_here(store: RunStore) -> Iterator[RunRecord]:
    """The newest finished runs of this machine; those that cannot be read are the plan's to show."""
    written = sorted((store.root / "runs").glob("*/result.json"), key=_newest_first)
    for path in written[:NEWEST]:
        try:
            record = store.load(path.parent.name)
        except RecordError:
            continue
        if record.outcome.env.get("host", platform.platform()) == platform.platform():
            yield record


def _newest_first(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        # Set aside by a worker since it was listed.
        return 0.0
