"""What scheduling costs when training costs nothing: `python tests/benchmarks/bench_sweep.py`.

Prints seconds, peak memory of this process, and the bound that each figure is held to.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from scaling.config.expand import expand
from scaling.config.load import load_sweep
from scaling.records import Outcome, RunRecord, RunStore
from scaling.sweep.plan import plan
from scaling.sweep.run import run
from scaling.sweep.status import status
from scaling.sweep.trunks import group

SWEEP = """\
name: bench
base: {{model: {{context: 40}}, data: {{source: {{kind: w0}}}}}}
max_runs: 100000
grid:
  model.width: [32, 64, 96, 128]
  tokens: [{tokens}]
  seed: [{seeds}]
"""


class NoTraining:
    """Commits a result without computing one."""

    def prepare(self, specs, store, *, progress, should_stop):
        pass

    def train(self, specs, store, *, progress, should_stop):
        outcome = Outcome(status="done", loss=1.0, tokens_per_s=1e5)
        return [store.commit(RunRecord(spec=spec, outcome=outcome)) for spec in specs]


@contextmanager
def timed(name: str, bound_s: float):
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    verdict = "ok" if seconds < bound_s else "TOO SLOW"
    print(f"{name:55s} {seconds:7.2f} s  (bound {bound_s:g} s)  peak {peak:5.0f} MiB  {verdict}", flush=True)


def write_sweep(folder: Path, n_tokens: int, n_seeds: int) -> Path:
    path = folder / "bench.yaml"
    tokens = ", ".join(str(640 * (10 + n)) for n in range(n_tokens))
    path.write_text(SWEEP.format(tokens=tokens, seeds=", ".join(map(str, range(n_seeds)))))
    return path


def fill(store: RunStore, specs) -> None:
    """Finished runs, written without waiting for the disk."""
    for spec in specs:
        folder = store.run_dir(spec.run_id)
        folder.mkdir(parents=True)
        for name, text in (("config.json", spec.canonical_json()), ("env.json", "{}")):
            (folder / name).write_text(text)
        (folder / "result.json").write_text('{"schema_version": 1, "status": "done", "loss": 1.0, "tokens_per_s": 1e5}')


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = write_sweep(folder, n_tokens=25, n_seeds=100)
        with timed("load a sweep of 10,000 runs (every run is checked)", 10):
            config = load_sweep(large)
        with timed("expand and plan 10,000 runs, none finished", 10):
            specs = expand(config)
            made = plan(specs, RunStore(folder / "empty"))
        print(f"  {len(specs):,} runs, {len(made.trunks):,} trunks")
        store = RunStore(folder / "full").prepare()
        fill(store, specs)
        with timed("plan of 10,000 runs, all finished", 10):
            made = plan(specs, store)
        trunks = group(specs)
        with timed("status of 10,000 finished runs", 2):
            seen = status(trunks, store)
        print(f"  {seen.counts}")
        small = expand(load_sweep(write_sweep(folder, n_tokens=1, n_seeds=250)))
        work = RunStore(folder / "work")
        with timed("1,000 trunks without training, local, 2 jobs", 60):
            outcome = run(plan(small, work), work, jobs=2, trainer=NoTraining())
        print(f"  {outcome.counts}")


if __name__ == "__main__":
    sys.exit(main())
