"""Kill and pause workers at random moments, tear files, set clocks wrong: does every run still end once, and alike?

    python tests/attacks/worker_storm.py [--kills 100] [--pauses 50] [--torn 20] [--seed 0]

One sweep is trained undisturbed by one worker. The same sweep is trained again by several worker processes that each
believe to be on a machine of their own, so that a death can only be noticed by a lease that stops changing. While they
work, processes are killed and replaced, others are stopped until long after their leases were taken over and then wake,
time stamps of leases are set an hour off, leases are deleted, and files are cut short. In the end every record must be
there, committed by one worker, whole, and equal to the undisturbed one bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sweep"))

from quick_trainer import QuickTrainer, spec
from summary import print_summary

from scaling.records import RunStore
from scaling.records.store import damage_of
from scaling.sweep.lease import Claims, read_lease
from scaling.sweep.trunks import group
from scaling.sweep.work import work
from scaling.sweep.worker import WorkerOptions

STALE_AFTER_S = 1.0

_TORN = ("claims/*/lease.*", "runs/*/result.json", "trunks/*/checkpoint.json", "runs/*/config.json")


@dataclass
class Report:
    """What was done to a sweep, and what became of it."""

    trunks: int
    runs: int
    kills: int = 0
    pauses: int = 0
    torn: int = 0
    deleted: int = 0
    skewed: int = 0
    set_aside: int = 0
    healed: int = 0
    missing: int = 0
    different: int = 0
    damaged: int = 0
    lost: int = 0
    seconds: float = 0.0

    @property
    def tried(self) -> int:
        return self.kills + self.pauses + self.torn + self.deleted + self.skewed

    @property
    def violations(self) -> int:
        """Runs that are not there, not whole or not what they should be, and whole records that were moved away."""
        return self.missing + self.different + self.damaged + self.lost


@dataclass(frozen=True)
class Dose:
    """How much harm is done, at least."""

    kills: int = 100
    pauses: int = 50
    torn: int = 20
    deleted: int = 20


def sweep(trunks: int):
    """Three branches a trunk, of different lengths."""
    return [spec(32 * (1 + index % 4), 640 * steps, seed=index) for index in range(trunks) for steps in (20, 40, 80)]


def attack(dose: Dose, *, trunks: int = 60, workers: int = 6, limit_s: float = 300, seed: int = 0) -> Report:
    """Run the experiment; see the top of this file."""
    chance, began = random.Random(seed), time.monotonic()
    specs = sweep(trunks)
    report = Report(trunks=trunks, runs=len(specs))
    with tempfile.TemporaryDirectory() as folder:
        calm, stormy = RunStore(f"{folder}/calm").prepare(), RunStore(f"{folder}/stormy").prepare()
        work(group(specs), calm, trainer=QuickTrainer())
        storm = _Storm(stormy, trunks, workers, chance, report)
        try:
            storm.blow(dose, until=began + limit_s)
        finally:
            storm.end()
        # Files torn after their trunk was left by everybody are healed by whoever runs the sweep next.
        options = WorkerOptions(stale_after_s=STALE_AFTER_S, poll_s=0.05)
        report.healed = len(work(group(specs), stormy, trainer=QuickTrainer(), options=options).trained)
        _compare(specs, calm, stormy, report)
    report.seconds = time.monotonic() - began
    return report


class _Storm:
    def __init__(self, store: RunStore, trunks: int, workers: int, chance: random.Random, report: Report):
        self.store, self.trunks, self.chance, self.report = store, trunks, chance, report
        self.n_started = 0
        self.asleep: dict[int, float] = {}
        self.processes = [self._start() for _ in range(workers)]

    def blow(self, dose: Dose, *, until: float) -> None:
        """Do damage until there was enough of it and nobody has work left, or time is up."""
        n_runs = 3 * self.trunks
        while time.monotonic() < until:
            time.sleep(self.chance.uniform(0.02, 0.1))
            finished = len(list(self.store.root.glob("runs/*/result.json")))
            short = [name for name in vars(dose) if getattr(self.report, name) < getattr(dose, name)]
            if not short and not self.asleep and finished == n_runs:
                return
            # The kind of harm that lags most behind, so that all are spread over the sweep.
            if short:
                least = min(short, key=lambda name: getattr(self.report, name) / getattr(dose, name))
                {"kills": self._kill, "pauses": self._pause, "torn": self._tear, "deleted": self._delete}[least]()
            self._skew()
            self._wake()
            self._replace()

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen:
        self.n_started += 1
        command = [sys.executable, __file__, "--worker", f"w{self.n_started}", str(self.store.root), str(self.trunks)]
        return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def _kill(self) -> None:
        """Kill a worker that is in the middle of a trunk; one that only starts up proves nothing."""
        if victim := self._victim():
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            self.report.kills += 1

    def _pause(self) -> None:
        """Stop a worker in the middle of a trunk, for long enough that another takes its place."""
        if victim := self._victim():
            victim.send_signal(signal.SIGSTOP)
            self.asleep[victim.pid] = time.monotonic() + STALE_AFTER_S * self.chance.uniform(1.2, 3.0)
            self.report.pauses += 1

    def _wake(self) -> None:
        """Let those go on who slept long enough, whatever the others did meanwhile."""
        for pid in [pid for pid, due in self.asleep.items() if time.monotonic() > due]:
            os.kill(pid, signal.SIGCONT)
            del self.asleep[pid]

    def _victim(self) -> subprocess.Popen | None:
        states = [read_lease(folder) for folder in self.store.root.glob("claims/*")]
        at_work = {state.owner for state in states if state and not state.released}
        awake = [process for process in self.processes if process.poll() is None and process.pid not in self.asleep]
        victims = [process for process in awake if process.args[3] in at_work]
        return self.chance.choice(victims) if victims else None

    def _replace(self) -> None:
        for index, process in enumerate(self.processes):
            if process.poll() is not None:
                process.wait()
                self.processes[index] = self._start()

    def _skew(self) -> None:
        """Set the time stamp of a lease an hour off, as a machine with a wrong clock does with every beat."""
        leases = list(self.store.root.glob("claims/*/lease.*"))
        if leases:
            stamp = time.time() + self.chance.choice([-3600, 3600])
            with contextlib.suppress(OSError):
                os.utime(self.chance.choice(leases), (stamp, stamp))
                self.report.skewed += 1

    def _delete(self) -> None:
        """Delete a lease, as somebody does who tidies up."""
        leases = list(self.store.root.glob("claims/*/lease.*"))
        if leases:
            self.chance.choice(leases).unlink(missing_ok=True)
            self.report.deleted += 1

    def _tear(self) -> None:
        """Cut a file short: in turn a lease, a checkpoint, and the parts of a record."""
        files = list(self.store.root.glob(_TORN[self.report.torn % len(_TORN)]))
        if files:
            path = self.chance.choice(files)
            with contextlib.suppress(OSError):
                os.truncate(path, path.stat().st_size // 2)
                self.report.torn += 1


def _compare(specs, calm: RunStore, stormy: RunStore, report: Report) -> None:
    for one in specs:
        if not stormy.has(one.run_id):
            report.missing += 1
        elif stormy.damage(one.run_id):
            report.damaged += 1
        else:
            same_result = (
                len({(store.run_dir(one.run_id) / "result.json").read_bytes() for store in (calm, stormy)}) == 1
            )
            report.different += not same_result or stormy.load(one.run_id) != calm.load(one.run_id)
    for folder in stormy.root.glob("superseded/*"):
        report.set_aside += 1
        # Moved away is only what was torn, never a whole record.
        report.lost += (folder / "result.json").exists() and damage_of(folder) is None


def _worker(name: str, root: str, trunks: str) -> None:
    store = RunStore(root)
    claims = Claims(store.root / "claims", name, stale_after_s=STALE_AFTER_S, machine=name)
    options = WorkerOptions(stale_after_s=STALE_AFTER_S, poll_s=0.05, max_crashes=10_000)
    work(group(sweep(int(trunks))), store, trainer=QuickTrainer(step_s=0.01), claims=claims, options=options)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", nargs=3, metavar=("NAME", "ROOT", "TRUNKS"))
    for name, count in vars(Dose()).items():
        parser.add_argument(f"--{name}", type=int, default=count)
    for name, count in {"trunks": 60, "workers": 6, "limit-s": 300, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    arguments = vars(parser.parse_args())
    if worker := arguments.pop("worker"):
        _worker(*worker)
        return 0
    dose = Dose(**{name: arguments.pop(name) for name in vars(Dose())})
    report = attack(dose, **arguments)
    short = [name for name, wanted in vars(dose).items() if getattr(report, name) < wanted]
    print(vars(report) | ({"too few": short} if short else {}))
    print_summary("worker storm", tried=report.tried, violations=report.violations, slowest_s=report.seconds)
    return int(report.violations > 0 or bool(short))


if __name__ == "__main__":
    sys.exit(main())
