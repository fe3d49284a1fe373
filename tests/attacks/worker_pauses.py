"""Stop a worker at a random line of its code, let another take over, wake it: is anything lost, or not as it should be?

    python tests/attacks/worker_pauses.py [--count 60] [--real 10] [--seed 0]

A worker stops itself (SIGSTOP) before a line of the program that was drawn among all that it executes: of the worker,
its lease, the records, the files, the checkpoints. A second worker, which believes to be on another machine, waits
until the lease is stale, takes over and trains the sweep to its end. Then the first wakes, and goes on from where it
was. What the second left must be there as it left it, and equal to an undisturbed sweep bit for bit. Most rounds train
with the quick trainer, ``--real`` of them students.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sweep"))

from quick_trainer import QuickTrainer, spec
from summary import print_summary

import scaling
from scaling.files import file_hash
from scaling.records import Outcome, RunStore
from scaling.spec import EvalSpec, RunSpec
from scaling.sweep.lease import Claims
from scaling.sweep.trainer import Trainer
from scaling.sweep.trunk_trainer import TrunkTrainer
from scaling.sweep.trunks import group
from scaling.sweep.work import work
from scaling.sweep.worker import WorkerOptions

STALE_AFTER_S = 0.3

PACKAGE = Path(scaling.__file__).parent

WATCHED = tuple(
    str(PACKAGE / part) for part in ("sweep", "records", "files.py", "train/trunk.py", "train/checkpoint.py")
)
"""Code at whose lines a worker may be stopped."""

MEASURED = ("status", "loss", "train_loss", "bits_per_byte", "n_unique_tokens", "error")
"""What a run of the real trainer measures and that does not depend on the clock."""


def sweep(kind: str) -> list[RunSpec]:
    """Two trunks of two branches, small enough to be trained in a moment."""
    runs = [spec(32, 640 * steps, seed=seed) for seed in (0, 1) for steps in (10, 20)]
    if kind == "quick":
        return runs
    small = {"evaluation": EvalSpec(tokens=400), "model": runs[0].model.model_copy(update={"n_layers": 1})}
    return [run.model_copy(update=small) for run in runs]


def trainer_of(kind: str) -> Trainer:
    """The trainer of a round; both save a checkpoint at every occasion."""
    return QuickTrainer() if kind == "quick" else _EagerTrainer()


class _EagerTrainer(TrunkTrainer):
    """The real trainer, saving a checkpoint after every block of steps."""

    def train(self, specs, store, *, progress, should_stop):
        from scaling.train.loop import train_trunk

        return train_trunk(specs, store, progress=progress, should_stop=should_stop, checkpoint_s=0.0)

    cohort_size = None  # so that it is not taken for a trainer of cohorts


def attack(count: int, *, kind: str = "quick", seed: int = 0) -> tuple[int, float]:
    """Run so many rounds; gives the violations and the seconds of the longest round."""
    chance, violations, slowest = random.Random(seed), 0, 0.0
    with tempfile.TemporaryDirectory() as name:
        calm, counted = RunStore(f"{name}/calm"), Path(name) / "lines"
        subprocess.run(_command("first", kind, calm.root, "--count-lines", counted), check=True)
        n_lines = int(counted.read_text())
        number = 0
        while number < count:
            began, line = time.perf_counter(), chance.randint(1, n_lines)
            found = _round(RunStore(f"{name}/{number}-{line}"), calm, kind, line)
            if found is None:
                # How often a worker looks up depends on the clock, so that it may end before the line.
                continue
            number += 1
            for sentence in found:
                print(f"round {number} of seed {seed}, stopped at line {line}: {sentence}", file=sys.stderr)
            violations += bool(found)
            slowest = max(slowest, time.perf_counter() - began)
    return violations, slowest


def _round(store: RunStore, calm: RunStore, kind: str, line: int) -> list[str] | None:
    """One pause; gives a sentence for everything that is not as it should be. None where the line never came."""
    first = subprocess.Popen(_command("first", kind, store.root, "--stop-at", line))
    try:
        _, status = os.waitpid(first.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            first.returncode = os.waitstatus_to_exitcode(status)
            return [f"the first worker ended with {first.returncode}"] if first.returncode else None
        subprocess.run(_command("second", kind, store.root), check=True)
        after_second = _content(store)
        first.send_signal(signal.SIGCONT)
        first.wait(timeout=300)
    finally:
        if first.returncode is None:
            first.kill()
            first.wait()
    found = [] if first.returncode == 0 else [f"the first worker ended with {first.returncode}"]
    if _content(store) != after_second:
        found.append("records changed after the second worker had finished")
    for run in sweep(kind):
        if (damage := store.damage(run.run_id)) or not store.has(run.run_id):
            found.append(damage or f"run {run.run_id} is missing")
        elif _measured(store, run, kind) != _measured(calm, run, kind):
            found.append(f"run {run.run_id} is not what it is undisturbed")
    return found


def _content(store: RunStore) -> dict[str, str]:
    """Every file of every record, by its hash."""
    files = sorted(path for path in (store.root / "runs").rglob("*") if path.is_file())
    return {path.relative_to(store.root).as_posix(): file_hash(path) for path in files}


def _measured(store: RunStore, run: RunSpec, kind: str) -> object:
    outcome: Outcome = store.load(run.run_id).outcome
    if kind == "quick":
        return outcome
    from scaling.train.checkpoint import load_student
    from scaling.train.student.model import to_tensors

    student = to_tensors(load_student(store.student_dir(run.run_id), run.model))
    return [getattr(outcome, name) for name in MEASURED], {name: part.tobytes() for name, part in student.items()}


def _command(name: str, kind: str, root: Path, *more: object) -> list[str]:
    return [sys.executable, __file__, "--worker", name, "--kind", kind, "--root", str(root), *map(str, more)]


def _work(name: str, kind: str, root: str, stop_at: int | None, count_lines: str | None) -> None:
    """One worker in this process, which believes to be on a machine of its own."""
    seen = 0

    def trace(frame, event, _argument):
        nonlocal seen
        if event == "call":
            return trace if frame.f_code.co_filename.startswith(WATCHED) else None
        if event == "line":
            seen += 1
            if seen == stop_at:
                os.kill(os.getpid(), signal.SIGSTOP)
        return trace

    store = RunStore(root)
    claims = Claims(store.root / "claims", name, stale_after_s=STALE_AFTER_S, machine=name)
    options = WorkerOptions(stale_after_s=STALE_AFTER_S, poll_s=0.02)
    if name == "first":
        assert threading.current_thread() is threading.main_thread()
        sys.settrace(trace)
    report = work(group(sweep(kind)), store, trainer=trainer_of(kind), claims=claims, options=options)
    sys.settrace(None)
    if count_lines:
        Path(count_lines).write_text(str(seen))
    # Failed runs would be a fault of the pause booked as one of the run.
    sys.exit(1 if report.failed or report.obstacle else 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--real", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    for name in ("worker", "kind", "root", "count-lines"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--stop-at", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        _work(asked.worker, asked.kind, asked.root, asked.stop_at, asked.count_lines)
    quick, slowest = attack(asked.count, seed=asked.seed)
    real, slowest_real = attack(asked.real, kind="real", seed=asked.seed) if asked.real else (0, 0.0)
    tried, slowest = asked.count + asked.real, max(slowest, slowest_real)
    print_summary("worker pauses", tried=tried, violations=quick + real, slowest_s=slowest)
    return int(quick + real > 0)


if __name__ == "__main__":
    sys.exit(main())
