"""A trunk and its branches: one training at a constant rate, and from it a cooldown to each number of tokens asked for.

The trunk of D_1 < D_2 < … is trained once, to where the last cooldown begins. A branch copies the trunk's state,
optimizer included, reads on in the same stream, and cools down to its D; cooldown tokens count. So a branch is, bit for
bit, what a training of its D alone would have been, and all D of a model cost little more than the largest.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import jax
import jax.numpy as jnp
import numpy as np

from scaling.accounting import training_flops
from scaling.data.batches import Stream, open_stream
from scaling.errors import Preempted, TrainError
from scaling.records import Outcome, RunRecord, RunStore, write_bytes
from scaling.spec import RunSpec
from scaling.train.checkpoint import TrainingCheckpoints, fill, save_student
from scaling.train.evaluate import held_out, measure
from scaling.train.mesh import DataMesh, data_mesh
from scaling.train.optimizer import branch_rates, trunk_rates
from scaling.train.runtime import environment, prepare_process
from scaling.train.step import TrainState, program, with_params

BLOCK_S = 0.5
"""Seconds of training between two looks at the loss, the clock, and whether to stop."""


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


@dataclass
class Line:
    """A sequence of steps in progress: the trunk's, or a branch's from where it left the trunk.

    Attributes:
        state: Parameters and optimizer after ``step`` steps.
        step: Steps since the beginning of the run.
        losses: float32, training loss of each step since the beginning of the run.
        grad_norms: float32, likewise, before clipping.
    """

    state: TrainState
    step: int = 0
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    grad_norms: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def copy(self) -> Line:
        """A line that goes its own way; the step uses up the state it is given, so arrays are copied."""
        return Line(jax.tree.map(jnp.copy, self.state), self.step, self.losses, self.grad_norms)

    @property
    def diverged_at(self) -> int | None:
        """First step whose loss is not finite."""
        bad = np.flatnonzero(~np.isfinite(self.losses))
        return int(bad[0]) if len(bad) else None


@dataclass
class Clock:
    """Time since the last record: what the next one is charged with."""

    started_at: str = ""
    wall_s: float = 0.0
    train_s: float = 0.0
    train_steps: int = 0

    @classmethod
    def start(cls) -> Clock:
        return cls(started_at=_now())


def train_trunk(
    specs: Sequence[RunSpec],
    store: RunStore,
    *,
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint_s: float = 30.0,
) -> list[RunRecord]:
    """Train what is missing of a trunk's runs, and commit each as soon as it is measured.

    A training that was stopped or killed goes on from its last checkpoint; the result does not depend on it. It uses
    all devices; where several processes were joined (``mesh.join_processes``), all of them call this with the same
    specs, and the leading one writes.

    Args:
        specs: Runs of one trunk (they differ in ``tokens`` alone); those in the store are not trained again.
        store: Where records, checkpoints and prepared text lie.
        progress: Called about twice a second.
        should_stop: Asked as often; once true, the state is saved and Preempted raised.
        checkpoint_s: Seconds of training between checkpoints.

    Returns:
        The records, in order of ``specs``.

    Raises:
        TrainError: if the specs are of several trunks, a batch cannot be shared by the devices, or state cannot be
            written.
        DataError: if the source cannot be read.
        Preempted: after ``should_stop``.
    """
    if len({spec.trunk_id for spec in specs}) > 1:
        raise TrainError("runs of several trunks were given together; train each trunk by itself")
    prepare_process()
    mesh = data_mesh()
    missing = sorted((spec for spec in specs if not store.has(spec.run_id)), key=lambda spec: spec.steps)
    missing = mesh.broadcast(missing)
    if missing:
        training = _Training(missing, store.prepare(), mesh, progress, should_stop, checkpoint_s)
        with mesh.led(), closing(training.checkpoints):
            training.run()
    return mesh.broadcast([store.load(spec.run_id) for spec in specs] if mesh.leads else None)


class _Training:
    """The state of :func:`train_trunk` while it works."""

    def __init__(self, specs: list[RunSpec], store: RunStore, mesh: DataMesh, progress, should_stop, checkpoint_s):
        spec = specs[0]
        self.specs, self.store, self.mesh = specs, store, mesh
        self.progress = progress or (lambda report: None)
        self.should_stop = should_stop or (lambda: False)
        self.checkpoint_s = checkpoint_s
        self.checkpoints = TrainingCheckpoints(store.trunk_dir(spec.trunk_id))
        self.branch: Line | None = None
        self.branch_id: str | None = None
        self.clock = Clock.start()
        self.saved_at = self.told_at = time.monotonic()
        self.steps_per_block = 1
        self.compiled = False
        with mesh.all_or_none():
            mesh.check_batch(spec.optim.batch_size)
            self.stream: Stream = open_stream(spec, store)
            self.program = program(spec.model, spec.optim, mesh)
            self.trunk = Line(self.program.init(spec.seed))
            if mesh.leads:
                self._restore()
        self._share()
        self.steps = max(_branch_step(last) for last in specs) + sum(s.cooldown_steps for s in specs)

    def run(self) -> None:
        for spec in self.specs:
            if self.branch_id != spec.run_id:
                self._advance(self.trunk, _branch_step(spec), trunk_rates, spec)
                if self.trunk.diverged_at is not None:
                    self._commit_diverged(spec, self.trunk)
                    continue
                self.branch, self.branch_id = self.trunk.copy(), spec.run_id
            self._advance(self.branch, spec.steps, branch_rates, spec)
            if self.branch.diverged_at is None:
                self._commit_done(spec, self.branch)
            else:
                self._commit_diverged(spec, self.branch)
            self.branch = self.branch_id = None
        self._save()

    def _advance(self, line: Line, stop: int, rates, spec: RunSpec) -> None:
        """Train a line up to a step, looking up every half second; stops early where it diverges."""
        while line.step < stop and line.diverged_at is None:
            begun = time.monotonic()
            count = self.mesh.broadcast(min(self.steps_per_block, stop - line.step))
            self._train_block(line, count, rates(spec, line.step, line.step + count))
            took = time.monotonic() - begun
            if self.compiled:
                self.clock.train_s += took
                self.clock.train_steps += count
            self.compiled = True
            self.steps_per_block = max(1, min(2 * self.steps_per_block, int(count * BLOCK_S / max(took, 1e-6))))
            self._look_up(spec, line, count * spec.step_tokens / took)

    def _train_block(self, line: Line, count: int, rates: np.ndarray) -> None:
        batches = self.stream.batches(line.step, count)
        logs = []
        for inputs, targets, rate in zip(batches.inputs, batches.targets, rates, strict=True):
            share = self.mesh.shard(inputs), self.mesh.shard(targets)
            line.state, step_log = self.program.step(line.state, *share, rate)
            logs.append(step_log)
        logs = jax.device_get(logs)
        line.step += count
        line.losses = np.append(line.losses, np.array([one.loss for one in logs], np.float32))
        line.grad_norms = np.append(line.grad_norms, np.array([one.grad_norm for one in logs], np.float32))

    def _look_up(self, spec: RunSpec, line: Line, tokens_per_s: float) -> None:
        now = time.monotonic()
        self.clock.wall_s += now - self.told_at
        self.told_at = now
        step = self._steps_taken(spec)
        flops = training_flops(spec.model, spec.step_tokens)
        loss = float(line.losses[-1])
        self.progress(
            Progress(
                trunk_id=spec.trunk_id,
                step=step,
                steps=self.steps,
                flops=step * flops,
                flops_total=self.steps * flops,
                loss=loss if math.isfinite(loss) else None,
                tokens_per_s=tokens_per_s,
            )
        )
        if not self.mesh.leads:
            return
        if self.should_stop():
            self._save()
            raise Preempted(f"trunk {spec.trunk_id} stopped at step {step} of {self.steps}; its state is saved")
        if now - self.saved_at > self.checkpoint_s:
            self._save()

    def _steps_taken(self, spec: RunSpec) -> int:
        finished = sum(other.cooldown_steps for other in self.specs if other.steps < spec.steps)
        return self.trunk.step + finished + (self.branch.step - self.trunk.step if self.branch else 0)

    def _commit_done(self, spec: RunSpec, line: Line) -> None:
        if not self.mesh.leads:
            return
        student = with_params(spec.model, self.mesh.local(line.state.params))
        measured = measure(student, held_out(spec, self.store))
        if not math.isfinite(measured.loss):
            self._commit(spec, line, status="diverged", error="the loss on held-out data is not finite")
            return
        save_student(self.store.student_dir(spec.run_id), student)
        tail = line.losses[-max(1, spec.steps // 20) :]
        self._commit(spec, line, status="done", train_loss=float(tail.mean(dtype=np.float64)), **asdict(measured))

    def _commit_diverged(self, spec: RunSpec, line: Line) -> None:
        step = line.diverged_at + 1
        sentence = f"the training loss became non-finite at step {step} of {spec.steps}; try a lower optim.lr"
        self._commit(spec, line, status="diverged", error=sentence)

    def _commit(self, spec: RunSpec, line: Line, **found) -> None:
        if not self.mesh.leads:
            return
        clock, now = self.clock, time.monotonic()
        folder = self.store.run_dir(spec.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / "metrics.jsonl", _metrics(spec, line))
        outcome = Outcome(
            n_unique_tokens=self.stream.n_unique_tokens(spec.steps),
            wall_s=clock.wall_s + now - self.told_at,
            tokens_per_s=clock.train_steps * spec.step_tokens / clock.train_s if clock.train_s else None,
            started_at=clock.started_at,
            finished_at=_now(),
            env=environment(),
            **found,
        )
        self.store.commit(RunRecord(spec=spec, outcome=outcome))
        self.clock, self.told_at = Clock.start(), now

    def _save(self) -> None:
        if not self.mesh.leads:
            return
        lines = {"trunk": self.trunk} | ({"branch": self.branch} if self.branch else {})
        arrays = {
            name: {"state": line.state, "losses": line.losses, "grad_norms": line.grad_norms}
            for name, line in lines.items()
        }
        steps = {name: line.step for name, line in lines.items()}
        self.checkpoints.save(arrays, {"steps": steps, "branch_id": self.branch_id, "clock": asdict(self.clock)})
        self.saved_at = time.monotonic()

    def _restore(self) -> None:
        """Go on from the newest checkpoint that is not beyond the first missing branch."""
        for description, arrays in self.checkpoints.newest_first():
            steps, branch_id = description["steps"], description["branch_id"]
            if steps["trunk"] > _branch_step(self.specs[0]):
                continue
            template = self.trunk.state
            self.trunk = _line("trunk", template, steps, arrays)
            if branch_id == self.specs[0].run_id:
                self.branch, self.branch_id = _line("branch", template, steps, arrays), branch_id
                self.clock = Clock(**description["clock"])
            return

    def _share(self) -> None:
        """Put the state on every device; followers go on from where the leading process does."""
        shared = self.mesh.broadcast((self.trunk, self.branch, self.branch_id))
        self.trunk, self.branch, self.branch_id = shared
        for line in filter(None, shared[:2]):
            line.state = self.mesh.replicate(line.state)


def _line(name: str, template: TrainState, steps: dict[str, int], arrays: dict[str, np.ndarray]) -> Line:
    state = fill(template, arrays, f"{name}.state.")
    return Line(state, steps[name], arrays[f"{name}.losses"], arrays[f"{name}.grad_norms"])


def _branch_step(spec: RunSpec) -> int:
    """Step at which a run leaves the trunk."""
    return spec.steps - spec.cooldown_steps


def _metrics(spec: RunSpec, line: Line) -> bytes:
    """The training log: about two hundred evenly spaced steps, each the mean since the line before."""
    rates = branch_rates(spec, 0, line.step)
    edges = np.unique(np.linspace(0, line.step, min(200, line.step) + 1).astype(int))
    lines = []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        loss, grad_norm = (float(part[start:stop].mean(dtype=np.float64)) for part in (line.losses, line.grad_norms))
        entry = {"step": int(stop), "tokens": int(stop) * spec.step_tokens, "loss": loss, "grad_norm": grad_norm}
        finite = {key: value if math.isfinite(value) else None for key, value in entry.items()}
        lines.append(json.dumps({**finite, "rate": float(rates[stop - 1])}, allow_nan=False))
    return ("\n".join(lines) + "\n").encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
