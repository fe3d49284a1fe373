"""A trainer of a few microseconds a step: everything that a sweep needs of a real one, and no neural network.

It integrates a noisy recursion that depends on every step's data, so a step that is skipped, repeated or taken in
another order changes the result; it saves checkpoints, branches into cooldowns, writes students and logs, commits
records, and stops when asked.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scaling.errors import Preempted
from scaling.files import make_folder, write_bytes, write_json
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import RunSpec


@dataclass(frozen=True)
class QuickStep:
    step: int
    steps: int
    loss: float
    tokens_per_s: float = 1000.0


@dataclass(frozen=True)
class QuickTrainer:
    """Parameters of the trainer; plain values, so that it can be sent to another process.

    Attributes:
        checkpoint_every: Steps between checkpoints.
        step_s: Seconds that a step takes.
        student_kib: Size of a student.
        errors: ``run_id`` of runs that fail, with the attempts that do so.
        diverging: ``run_id`` of runs whose loss becomes non-finite.
        full_disk: Fail as on a full disk.
        journal: Folder where each call leaves a file; empty for none.
    """

    checkpoint_every: int = 5
    step_s: float = 0.0
    student_kib: int = 1
    errors: dict[str, int] = field(default_factory=dict)
    diverging: tuple[str, ...] = ()
    full_disk: bool = False
    journal: str = ""

    def prepare(self, specs: Sequence[RunSpec], store: RunStore, *, progress, should_stop) -> None:
        self._note("prepare", specs)

    def train(self, specs, store, *, progress, should_stop) -> list[RunRecord]:
        self._note("train", specs)
        folder = store.trunk_dir(specs[0].trunk_id)
        make_folder(folder)
        if self.full_disk:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        self._fail_perhaps(specs, folder)
        step, state = self._load(folder, specs[0])
        branches = sorted(specs, key=lambda spec: spec.steps)
        last = max(spec.steps - spec.cooldown_steps for spec in branches)
        states = {}
        for spec in branches:
            fork = spec.steps - spec.cooldown_steps
            while step < fork:
                state = advance(state, specs[0], step)
                step += 1
                if step % self.checkpoint_every == 0 or step == fork:
                    _save(folder, step, state, store)
                progress(QuickStep(step, last, float(state.mean())))
                time.sleep(self.step_s)
                if should_stop():
                    _save(folder, step, state, store)
                    raise Preempted("state is saved")
            states[spec.run_id] = self._commit(spec, state, store)
        return list(states.values())

    def _load(self, folder, spec) -> tuple[int, np.ndarray]:
        # A checkpoint that is torn, or ahead of a branch that is still missing, is of no use.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            saved = json.loads((folder / "checkpoint.json").read_text())
            if saved["step"] <= spec.steps - spec.cooldown_steps:
                return saved["step"], np.array(saved["state"])
        return 0, np.random.default_rng(spec.seed).normal(size=4)

    def _commit(self, spec, state, store) -> RunRecord:
        for step in range(spec.steps - spec.cooldown_steps, spec.steps):
            state = advance(state, spec, step)
        if spec.run_id in self.diverging:
            return store.commit(RunRecord(spec=spec, outcome=Outcome(status="diverged", error="loss is not finite")))
        loss = float(np.abs(state).mean())
        draft = store.draft(spec.run_id)
        write_bytes(make_folder(draft / "student") / "weights", state.tobytes() * self.student_kib * 32)
        write_bytes(draft / "metrics.jsonl", json.dumps({"step": spec.steps, "loss": loss}).encode())
        outcome = Outcome(status="done", loss=loss, tokens_per_s=1000.0)
        return store.commit(RunRecord(spec=spec, outcome=outcome), draft)

    def _fail_perhaps(self, specs, folder) -> None:
        for spec in specs:
            for attempt in range(self.errors.get(spec.run_id, 0)):
                mark = folder / f"failed.{attempt}"
                if not mark.exists():
                    mark.touch()
                    raise RuntimeError(f"made to fail, attempt {attempt + 1}")

    def _note(self, verb: str, specs) -> None:
        if self.journal:
            name = f"{verb}-{specs[0].trunk_id}-{os.getpid()}-{time.monotonic_ns()}"
            with open(os.path.join(self.journal, name), "w") as file:
                file.write("\n".join(spec.run_id for spec in specs))


class DeadlyTrainer(QuickTrainer):
    """Ends its process at the first step of a trunk, as a lack of memory does."""

    def train(self, specs, store, *, progress, should_stop):
        os._exit(11)


class StillbornTrainer(QuickTrainer):
    """Ends every process that it is sent to, before anything is claimed."""

    def __reduce__(self):
        return os._exit, (3,)


def _save(folder, step: int, state: np.ndarray, store: RunStore) -> None:
    store.fence()
    write_json(folder / "checkpoint.json", {"step": step, "state": state.tolist()})


def spec(width=32, tokens=6400, seed=0, **data):
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 65, "width": width, "context": 40},
            "data": {"source": {"kind": "w0"}, **data},
            "tokens": tokens,
            "seed": seed,
        }
    )


def advance(state: np.ndarray, spec: RunSpec, step: int) -> np.ndarray:
    """One step: depends on the seed of the data, the step's number and all steps before."""
    noise = np.random.default_rng((spec.data.seed, step)).normal(size=state.shape)
    return np.tanh(1.5 * state + 0.1 * noise)
