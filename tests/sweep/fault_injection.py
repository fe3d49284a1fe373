"""Kill workers at random moments, tear files, set clocks wrong: does every run still end exactly once, and alike?

    python tests/sweep/fault_injection.py            # 60 trunks, 6 workers, at least 100 SIGKILLs, 20 torn files

One sweep is trained undisturbed by one worker. The same sweep is trained again by several worker processes that each
believe to be on a machine of their own, so that a death can only be noticed by a lease that stops changing. While they
work, processes are killed and replaced, time stamps of leases are set an hour off, and files are cut short. In the end
every record must be there, committed by one worker, and equal to the undisturbed one bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conftest import spec
from quick_trainer import QuickTrainer

from scaling.records import RunStore
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
    torn: int = 0
    skewed: int = 0
    set_aside: int = 0
    healed: int = 0
    missing: int = 0
    different: int = 0
    committed_twice: int = 0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not (self.missing or self.different or self.committed_twice)


def sweep(trunks: int):
    """Three branches a trunk, of different lengths."""
    return [spec(32 * (1 + index % 4), 640 * steps, seed=index) for index in range(trunks) for steps in (20, 40, 80)]


def inject(
    *, trunks: int = 60, workers: int = 6, kills: int = 100, torn: int = 20, limit_s: float = 300, seed: int = 0
):
    """Run the experiment; see the top of this file."""
    chance, began = random.Random(seed), time.monotonic()
    specs = sweep(trunks)
    report = Report(trunks=trunks, runs=len(specs))
    with tempfile.TemporaryDirectory() as folder:
        calm, stormy = RunStore(f"{folder}/calm").prepare(), RunStore(f"{folder}/stormy").prepare()
        work(group(specs), calm, trainer=QuickTrainer())
        storm = _Storm(stormy, trunks, workers, chance, report)
        try:
            storm.blow(kills, torn, until=began + limit_s)
        finally:
            storm.end()
        # Files torn after their trunk was left by everybody are healed by whoever runs the sweep next.
        healing = work(group(specs), stormy, trainer=QuickTrainer(), options=WorkerOptions(stale_after_s=STALE_AFTER_S))
        report.healed = len(healing.trained)
        report.set_aside = len(list(stormy.root.glob("superseded/*")))
        _compare(specs, calm, stormy, report)
    report.seconds = time.monotonic() - began
    return report


class _Storm:
    def __init__(self, store: RunStore, trunks: int, workers: int, chance: random.Random, report: Report):
        self.store, self.trunks, self.chance, self.report = store, trunks, chance, report
        self.n_started = 0
        self.processes = [self._start() for _ in range(workers)]

    def blow(self, kills: int, torn: int, *, until: float) -> None:
        """Do damage until there was enough of it and nobody has work left, or time is up."""
        n_runs = 3 * self.trunks
        while time.monotonic() < until:
            time.sleep(self.chance.uniform(0.02, 0.1))
            finished = len(list(self.store.root.glob("runs/*/result.json")))
            enough = self.report.kills >= kills and self.report.torn >= torn
            if enough and finished == n_runs:
                return
            if self.report.kills < kills and finished < n_runs:
                self._kill()
            self._skew()
            if self.report.torn < torn and self.report.kills * torn >= self.report.torn * kills:
                self._tear()
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
        states = [read_lease(folder) for folder in self.store.root.glob("claims/*")]
        at_work = {state.owner for state in states if state and not state.released}
        victims = [process for process in self.processes if process.args[3] in at_work and process.poll() is None]
        if victims:
            victim = self.chance.choice(victims)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            self.report.kills += 1

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
        expected, found = (store.run_dir(one.run_id) / "result.json" for store in (calm, stormy))
        if not found.exists():
            report.missing += 1
        elif found.read_bytes() != expected.read_bytes() or stormy.load(one.run_id) != calm.load(one.run_id):
            report.different += 1
        report.committed_twice += len(_commits(stormy, one.run_id)) > 1


def _commits(store: RunStore, run_id: str) -> list[str]:
    """Lines in which a worker says that it committed this run, in the record that stands."""
    log = store.log_path(run_id)
    return [line for line in log.read_text().splitlines() if line.endswith(": done")]


def _worker(name: str, root: str, trunks: str) -> None:
    store = RunStore(root)
    claims = Claims(store.root / "claims", name, stale_after_s=STALE_AFTER_S, machine=name)
    options = WorkerOptions(stale_after_s=STALE_AFTER_S, poll_s=0.05, max_crashes=10_000)
    work(group(sweep(int(trunks))), store, trainer=QuickTrainer(step_s=0.01), claims=claims, options=options)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", nargs=3, metavar=("NAME", "ROOT", "TRUNKS"))
    parser.add_argument("--trunks", type=int, default=60)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--torn", type=int, default=20)
    parser.add_argument("--limit-s", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = vars(parser.parse_args())
    if worker := arguments.pop("worker"):
        _worker(*worker)
        return 0
    report = inject(**arguments)
    print(json.dumps({**vars(report), "passed": report.passed}, indent=1))
    return 0 if report.passed and report.kills >= arguments["kills"] and report.torn >= arguments["torn"] else 1


if __name__ == "__main__":
    sys.exit(main())
