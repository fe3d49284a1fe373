"""How long a training takes: from a calibration, from any run that this machine has finished, or from a guess."""

from __future__ import annotations

import math
import platform
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scaling.errors import RecordError
from scaling.files import read_json, write_json
from scaling.records import RunRecord, RunStore
from scaling.records.compute import asked_flops, student_flops
from scaling.spec import RunSpec, teacher_run

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
            return "pace: three steps of each shape were timed here"
        if self.source == "earlier runs":
            return f"pace: of {self.n_runs} runs that this machine has finished"
        return (
            f"a guess before any run here: {GUESSED_FLOPS_PER_S / 1e9:g} GFLOP/s a core, as on a server with AVX-512; "
            "--calibrate times this machine"
        )


def known_pace(specs: Iterable[RunSpec], store: RunStore) -> Pace:
    """The best pace that the results folder knows: its calibration, else all runs that this machine has finished."""
    file = store.root / "calibration.json"
    calibrated: dict[str, float] = read_json(file)["step_s"] if file.exists() else {}
    # A calibration times students without their recipes.
    flops = {shape_of(one): step_flops(one) for spec in specs for one in (spec, alone(spec))}
    seen: dict[str, list[float]] = defaultdict(list)
    compiled: list[float] = []
    n_runs = 0
    for record in _finished_here(store):
        spec, outcome = record.spec, record.outcome
        if outcome.tokens_per_s:
            n_runs += 1
            seen[shape_of(spec)].append(spec.step_tokens / outcome.tokens_per_s)
            flops[shape_of(spec)] = step_flops(spec)
            compiled.append(outcome.compile_s or 0.0)
    # The median run was as disturbed as the next one will be.
    learned = {shape: statistics.median(seconds) for shape, seconds in seen.items()}
    source: PaceSource = "calibrated" if calibrated else "earlier runs" if learned else "guess"
    # The first branch that a worker trains of a shape compiles; the others find it compiled.
    slow = [seconds for seconds in compiled if seconds > COMPILES_S]
    compile_s = statistics.median(slow) if slow else GUESSED_COMPILE_S
    return _pace(learned | calibrated, flops, source, compile_s=compile_s, n_runs=n_runs)


COMPILES_S = 0.3
"""A branch that spent more than this on compiling was the first of its shape in its worker."""


def calibrate(specs: Sequence[RunSpec], store: RunStore, time_steps: Callable[[RunSpec, int], float]) -> Pace:
    """Time three steps of every student's shape, without its recipe, and keep the result in the results folder.

    Args:
        specs: Runs whose shapes are timed, each shape once.
        store: Where ``calibration.json`` is written.
        time_steps: Seconds of a number of steps of a run, compilation left out.
    """
    file = store.root / "calibration.json"
    step_s = dict(read_json(file)["step_s"]) if file.exists() else {}
    shapes = {shape_of(one): one for one in map(alone, specs)}
    step_s |= {shape: time_steps(spec, 3) / 3 for shape, spec in shapes.items()}
    write_json(file, {"step_s": step_s})
    return known_pace(specs, store)


def _finished_here(store: RunStore) -> Iterator[RunRecord]:
    """The newest finished runs of this machine; those that cannot be read are the plan's to show."""
    written = sorted((store.root / "runs").glob("*/result.json"), key=lambda path: -path.stat().st_mtime)
    for path in written[:NEWEST]:
        try:
            record = store.load(path.parent.name)
        except RecordError:
            continue
        if record.outcome.env.get("host", platform.platform()) == platform.platform():
            yield record


def _pace(
    step_s: dict[str, float], flops: dict[str, float], source: PaceSource, *, compile_s: float, n_runs: int
) -> Pace:
    known = {shape: flops[shape] for shape, seconds in step_s.items() if shape in flops and seconds > 0}
    return Pace(step_s=step_s, flops=known, source=source, compile_s=compile_s, n_runs=n_runs)
