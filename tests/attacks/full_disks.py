"""Fill the disk, or make it read-only, while a worker trains: is the machine's fault ever booked as a run's?

    python tests/attacks/full_disks.py [--count 60] [--real 4] [--seed 0]

A worker trains on a small disk of its own (tmpfs, which root alone may mount; without, only the part with a limit on
file sizes is tried). In each round so many bytes are free as were drawn, or the disk becomes read-only at a step that
was drawn. The worker must end by saying what is wrong, with exit code 75 and no failed run; once there is room again,
the sweep must end as an undisturbed one does, bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sweep"))

from quick_trainer import QuickTrainer, spec
from summary import print_summary

from scaling.errors import EXIT_OK, EXIT_PREEMPTED
from scaling.records import RunStore
from scaling.sweep.plan import plan
from scaling.sweep.run import SweepOutcome, run
from scaling.sweep.trunk_trainer import TrunkTrainer

DISK_KIB = 4096
STUDENT_KIB = 96


def sweep():
    """Three trunks of two branches, 600 KiB of students in all."""
    return [spec(32, 640 * steps, seed=seed) for seed in range(3) for steps in (10, 20)]


class NoDisk(Exception):
    """A disk of one's own cannot be had here."""


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 4 MiB.

    Raises:
        NoDisk: if it cannot be mounted.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        raise NoDisk("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def attack(count: int, *, seed: int = 0, real: int = 0) -> tuple[int, int, float]:
    """Run so many rounds, half of them on full disks; gives rounds, violations and the seconds of the longest."""
    chance, tried, violations, slowest = random.Random(seed), 0, 0, 0.0
    with tempfile.TemporaryDirectory() as name:
        calm = RunStore(Path(name) / "calm")
        run(plan(sweep(), calm), calm, trainer=QuickTrainer(student_kib=STUDENT_KIB))
        rounds = [_full if number % 2 else _read_only for number in range(count)] + [_full_for_students] * real
        for number, one in enumerate(rounds):
            began = time.perf_counter()
            with small_disk(Path(name) / f"disk{number}") as disk:
                found = one(disk, calm, chance)
            for sentence in found:
                print(f"round {number} of seed {seed}, {one.__name__}: {sentence}", file=sys.stderr)
            tried, violations = tried + 1, violations + bool(found)
            slowest = max(slowest, time.perf_counter() - began)
    return tried, violations, slowest


def _full(disk: Path, calm: RunStore, chance: random.Random) -> list[str]:
    """So little is free that the sweep may stop anywhere: at its first claim, in a checkpoint, in a student."""
    ballast, free_kib = disk / "ballast", chance.randint(0, 12 * STUDENT_KIB)
    ballast.write_bytes(b"x" * (DISK_KIB - free_kib) * 1024)
    store = RunStore(disk / "results")
    outcome = _outcome_of(store, QuickTrainer(student_kib=STUDENT_KIB))
    ballast.unlink()
    return _stopped_well(outcome, "disk is full") + _ends_alike(store, calm)


def _read_only(disk: Path, calm: RunStore, chance: random.Random) -> list[str]:
    """The disk becomes read-only at some step, as a disk does that has errors."""
    left = chance.randint(0, 40)

    def on_event(_event) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            _remount(disk, "ro")

    store = RunStore(disk / "results")
    outcome = _outcome_of(store, QuickTrainer(student_kib=STUDENT_KIB), progress=on_event)
    _remount(disk, "rw")
    return _stopped_well(outcome, "file system is read-only") + _ends_alike(store, calm)


def _full_for_students(disk: Path, _calm: RunStore, chance: random.Random) -> list[str]:
    """The same with real students, whose weights and checkpoints another library writes."""
    ballast, runs = disk / "ballast", sweep()[:2]
    ballast.write_bytes(b"x" * (DISK_KIB - chance.randint(100, 900)) * 1024)
    store = RunStore(disk / "results")
    outcome = _outcome_of(store, TrunkTrainer(), runs=runs)
    ballast.unlink()
    found = _stopped_well(outcome, "disk is full")
    again = run(plan(runs, store), store)
    return found if again.counts["done"] == len(runs) else [*found, f"not finished with room: {again.counts}"]


def _remount(disk: Path, mode: str) -> None:
    # A file that is open for writing keeps a disk from becoming read-only; a lease is.
    for flags in (f"remount,{mode}", f"remount,{mode},bind"):
        if not subprocess.run(["mount", "-o", flags, str(disk)], capture_output=True).returncode:
            return


def _outcome_of(store: RunStore, trainer, runs=None, **options) -> SweepOutcome | str:
    """How the sweep ended, or the sentence of the error by which it could not begin."""
    from scaling.errors import MachineError

    try:
        return run(plan(runs or sweep(), store), store, trainer=trainer, **options)
    except MachineError as error:
        return str(error)


def _stopped_well(outcome: SweepOutcome | str, reason: str) -> list[str]:
    if isinstance(outcome, str):
        return [] if reason in outcome else [f"it says {outcome!r}, not that the {reason}"]
    found = []
    if outcome.counts["failed"] or outcome.counts["damaged"]:
        found.append(f"runs were booked as failed or damaged: {outcome.counts}")
    if outcome.exit_code not in (EXIT_OK, EXIT_PREEMPTED):
        found.append(f"exit code {outcome.exit_code}")
    if outcome.exit_code == EXIT_PREEMPTED and reason not in outcome.obstacle:
        found.append(f"it says {outcome.obstacle!r}, not that the {reason}")
    return found


def _ends_alike(store: RunStore, calm: RunStore) -> list[str]:
    outcome = run(plan(sweep(), store), store, trainer=QuickTrainer(student_kib=STUDENT_KIB))
    if outcome.counts["done"] != len(sweep()):
        return [f"not finished once there was room: {outcome.counts}, {outcome.obstacle}"]
    alike = [store.load(one.run_id) == calm.load(one.run_id) for one in sweep()]
    whole = [store.damage(one.run_id) is None for one in sweep()]
    return [] if all(alike) and all(whole) else ["runs differ from undisturbed ones"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, count in {"count": 60, "real": 4, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    asked = parser.parse_args()
    try:
        tried, violations, slowest = attack(asked.count, seed=asked.seed, real=asked.real)
    except NoDisk as error:
        print(f"full disks: skipped, {error}", file=sys.stderr)
        tried, violations, slowest = 0, 0, 0.0
    print_summary("full disks", tried=tried, violations=violations, slowest_s=slowest)
    return int(violations > 0)


if __name__ == "__main__":
    sys.exit(main())
