"""A trunk and its branches: one training at a constant rate, and from it a cooldown to each number of tokens asked for.

The trunk of D_1 < D_2 < … is trained once, to where the last cooldown begins. A branch copies the trunk's state,
optimizer included, reads on in the same stream, and cools down to its D; cooldown tokens count. So a branch is, bit for
bit, what a training of its D alone would have been, and all D of a model cost little more than the largest.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from scaling.accounting import training_flops
from scaling.data.batches import Stream, open_stream
from scaling.errors import TrainError
from scaling.files import write_bytes
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import RunSpec, trunk_steps
from scaling.train.checkpoint import TrainingCheckpoints, fill, save_student
from scaling.train.clock import Clock, Meter, now
from scaling.train.finished import started
from scaling.train.health import Diverged, count_spikes
from scaling.train.line import LOGS, Line, metrics
from scaling.train.measure import held_out, measure
from scaling.train.mesh import DataMesh
from scaling.train.noise import noise_scale, probed
from scaling.train.optimizer import branch_rates, trunk_rates
from scaling.train.runtime import environment
from scaling.train.step import Program, TrainState, program_of, with_params
from scaling.train.student.generator import teacher_network
from scaling.train.student.model import Student
from scaling.train.student.rounding import stored_as

log = logging.getLogger("scaling")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a trunk is.

    Attributes:
        trunk_id: Which trunk.
        step: Steps taken, branches included.
        steps: Steps to take in all, branches included.
        flops: Training FLOPs spent.
        flops_total: Training FLOPs to spend in all.
        loss: Training loss of the last step, nats/token.
        tokens_per_s: Training throughput of late.
    """

    trunk_id: str
    step: int
    steps: int
    flops: int
    flops_total: int
    loss: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Stretch:
    """Steps that are to be taken on a line before anything else is decided.

    Attributes:
        line: What is trained.
        spec: The run that needs it next.
        stop: Step to stop at.
        rates: Rates float32 of steps ``start`` to ``stop`` of a run.
        program: The step.
    """

    line: Line
    spec: RunSpec
    stop: int
    rates: Callable[[RunSpec, int, int], np.ndarray]
    program: Program

    @property
    def left(self) -> int:
        """Steps still to be taken; none where the line diverged."""
        return 0 if self.line.diverged is not None else self.stop - self.line.step

    def probed(self, count: int) -> list[int]:
        """Which of the next steps are probed, counted from the first: a batch of one sequence has no halves."""
        step = self.line.step
        return [at - step for at in probed(step, step + count)] if self.spec.optim.batch_size > 1 else []


class TrunkTraining:
    """One trunk with its branches, as the stretches that somebody trains for it: alone, or together with others.

    Args:
        specs: Its missing runs, shortest first.
        store: Where everything is written.
        meter: What the machine spends; shared by the trunks that are trained together.
        mesh: The devices.
        progress: Called at every look.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        store: RunStore,
        meter: Meter,
        *,
        mesh: DataMesh,
        progress: Callable[[Progress], None] | None = None,
    ):
        spec = specs[0]
        self.specs, self.store, self.mesh, self.meter = specs, store, mesh, meter
        self.progress = progress or (lambda report: None)
        self.checkpoints = TrainingCheckpoints(store.trunk_dir(spec.trunk_id), fence=store.fence)
        self.branch: Line | None = None
        self.branch_id: str | None = None
        self.charged_id = spec.run_id
        self.clock = Clock()
        self.saved_at = time.monotonic()
        # A batch that cannot be shared or a text that cannot be read must end all processes, not leave some waiting.
        with mesh.all_or_none():
            mesh.check_batch(spec.optim.batch_size)
            own = mesh.own_devices
            self.stream: Stream = open_stream(spec, store).shard(own.start, mesh.n_devices, parts=len(own))
            teacher = teacher_network(spec, store)
            self.program, self.cooldown = (
                program_of(spec, mesh, cooldown=last, teacher=teacher) for last in (False, True)
            )
            state = started(self.program.init(spec.seed), spec, store)
            self.trunk = Line(state, spec.model.vocab_size, spec.recipe.stage_steps(spec.step_tokens))
            if mesh.leads:
                self._restore()
        self._share()
        self.steps = trunk_steps(specs)

    def stretches(self) -> Iterator[Stretch]:
        """What is to be trained, in order; each is trained to its end before the next is asked for."""
        for spec in self.specs:
            self.charged_id = spec.run_id
            if self.branch is None or self.branch_id != spec.run_id:
                yield Stretch(self.trunk, spec, spec.branch_step, trunk_rates, self.program)
                if (found := self.trunk.diverged) is not None:
                    self._commit_diverged(spec, self.trunk, found)
                    continue
                self.branch, self.branch_id = self.trunk.copy(), spec.run_id
            branch = self.branch
            yield Stretch(branch, spec, spec.steps, branch_rates, self.cooldown)
            if (found := branch.diverged) is None:
                self._commit_done(spec, branch)
            else:
                self._commit_diverged(spec, branch, found)
            self.branch = self.branch_id = None
        self.save()

    def look_up(self, stretch: Stretch, count: int, seconds: float) -> None:
        """Take notice of a block of steps and of the seconds that it took, compiling left out."""
        self.clock.train_s += seconds
        self.clock.train_steps += count
        spec, step = stretch.spec, self._steps_taken(stretch.spec)
        flops = training_flops(spec.model, spec.step_tokens)
        loss = float(stretch.line.losses[-1])
        self.progress(
            Progress(
                trunk_id=spec.trunk_id,
                step=step,
                steps=self.steps,
                flops=step * flops,
                flops_total=self.steps * flops,
                loss=loss if math.isfinite(loss) else None,
                tokens_per_s=count * spec.step_tokens / seconds,
            )
        )

    def stopped_at(self, spec: RunSpec) -> str:
        """A sentence for who asked this training to stop."""
        step = self._steps_taken(spec)
        return f"trunk {spec.trunk_id} stopped at step {step} of {self.steps}; its state is saved"

    def save(self) -> None:
        """Write a checkpoint."""
        if not self.mesh.leads:
            return
        lines = {"trunk": self.trunk} | ({"branch": self.branch} if self.branch else {})
        arrays = {name: {"state": line.state, **line.logs} for name, line in lines.items()}
        steps = {name: line.step for name, line in lines.items()}
        told = {"branch_id": self.branch_id, "charged_id": self.charged_id, "clock": asdict(self.clock)}
        self.checkpoints.save(arrays, {"steps": steps, **told})
        self.saved_at = time.monotonic()

    def _steps_taken(self, spec: RunSpec) -> int:
        finished = sum(other.cooldown_steps for other in self.specs if other.steps < spec.steps)
        return self.trunk.step + finished + (self.branch.step - self.trunk.step if self.branch else 0)

    def _commit_done(self, spec: RunSpec, line: Line) -> None:
        if not self.mesh.leads:
            return
        student = with_params(spec.model, self.mesh.local(line.state.params))
        if spec.optim.qat is not None:
            student = stored_as(student, spec.optim.qat)
        measured = measure(student, held_out(spec, self.store))
        if not math.isfinite(measured.loss):
            self._commit(spec, line, status="diverged", error="the loss on held-out data is not finite")
            return
        tail = line.losses[-max(1, spec.steps // 20) :]
        train_loss = float(tail.mean(dtype=np.float64))
        self._commit(spec, line, student=student, status="done", train_loss=train_loss, **asdict(measured))

    def _commit_diverged(self, spec: RunSpec, line: Line, found: Diverged) -> None:
        # A block goes on to its end, wherever that is; the record does not.
        line = line.up_to(found.step + 1)
        sentence = f"{found.reason}, at step {line.step} of {spec.steps}; try a lower optim.lr"
        self._commit(spec, line, status="diverged", error=sentence)

    def _commit(self, spec: RunSpec, line: Line, *, student: Student | None = None, **found: Any) -> None:
        if not self.mesh.leads:
            return
        # Beside the record: a process that sleeps here, and wakes when the run is another's, harms nothing of its.
        draft = self.store.draft(spec.run_id)
        if student is not None:
            save_student(draft / "student", student)
        write_bytes(draft / "metrics.jsonl", metrics(spec, line))
        noise = noise_scale(line.signals, line.noises, spec.model.context)
        self.clock.charge(self.meter.read())
        outcome = Outcome(
            n_unique_tokens=self.stream.n_unique_tokens(spec.steps),
            loss_spikes=count_spikes(line.losses),
            noise_scale=noise.tokens,
            noise_scale_se=noise.se,
            **self._spent(spec),
            finished_at=now(),
            env=environment(),
            **found,
        )
        self.store.commit(RunRecord(spec=spec, outcome=outcome), draft)
        self.clock = Clock()

    def _spent(self, spec: RunSpec) -> dict[str, Any]:
        clock, settings = self.clock, self.meter.settings
        kwh = settings.kwh(clock.joules)
        return {
            "wall_s": clock.wall_s,
            "compile_s": clock.compile_s,
            "tokens_per_s": clock.train_steps * spec.step_tokens / clock.train_s if clock.train_s else None,
            "kwh": kwh,
            "energy_source": ", ".join(clock.sources),
            "co2e_kg": settings.co2e_kg(kwh),
            "started_at": clock.started_at,
        }

    def _restore(self) -> None:
        """Go on from the newest checkpoint that is not beyond the first missing branch."""
        for description, arrays in self.checkpoints.newest_first():
            steps, branch_id = description["steps"], description["branch_id"]
            if steps["trunk"] > self.specs[0].branch_step:
                continue
            try:
                lines = {name: _line(name, self.trunk, steps, arrays) for name in steps}
                clock = Clock(**description["clock"])
            except (KeyError, ValueError, TypeError) as error:
                log.warning(
                    "%s: a checkpoint is not of this version of the program (%s); it is passed over",
                    self.checkpoints.folder,
                    error,
                )
                continue
            self.trunk = lines["trunk"]
            if branch_id == self.specs[0].run_id:
                self.branch, self.branch_id = lines["branch"], branch_id
            # What was spent up to a record that is there by now was charged to it.
            charged_id = description.get("charged_id")
            is_charged = charged_id is not None and self.store.has(charged_id)
            if branch_id in (None, self.specs[0].run_id) and clock.wall_s and not is_charged:
                self.clock = clock
            return

    def _share(self) -> None:
        """Put the state on every device; followers go on from where the leading process does."""
        shared = self.mesh.broadcast((self.trunk, self.branch, self.branch_id))
        self.trunk, self.branch, self.branch_id = shared
        for line in filter(None, shared[:2]):
            line.state = self.mesh.replicate(line.state)


def _line(name: str, template: Line, steps: dict[str, int], arrays: dict[str, np.ndarray]) -> Line:
    state: TrainState = fill(template.state, arrays, f"{name}.state.")
    logs: dict[str, Any] = {one: arrays[f"{name}.{one}"] for one in LOGS}
    return replace(template, state=state, step=steps[name], **logs)


def missing_runs(specs: Sequence[RunSpec], store: RunStore) -> list[RunSpec]:
    """The runs of a trunk that are not in the store, shortest first.

    Raises:
        TrainError: if they are of several trunks.
    """
    if len({spec.trunk_id for spec in specs}) > 1:
        raise TrainError("runs of several trunks were given together; train each trunk by itself")
    return sorted((spec for spec in specs if not store.has(spec.run_id)), key=lambda spec: spec.steps)
