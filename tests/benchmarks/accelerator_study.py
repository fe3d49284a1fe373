"""The study on an accelerator, as tables of `bench_accelerator.py`: a pretrained teacher, its students, forecasts.

- text: what the teacher writes for them, by `sweeps/prose_accelerator.yaml`.
- grid: losses of students by size, volume and teacher, each shape in a cohort.
- forecast: what a fit of the grid says of larger students (`sweeps/registered_accelerator.yaml`) before they are
  trained, and what these then lost. Forecasts that lie in the folder already, committed before, are kept.

Everything lies in a results folder, so a machine that is taken away goes on where it was.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

from scaling.config.load import open_sweep
from scaling.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_PREEMPTED, Preempted, ScalingError
from scaling.records import RunStore

Row = dict[str, Any]

SWEEPS = Path(__file__).resolve().parents[2] / "sweeps"
GRID, LARGER = (str(SWEEPS / f"{name}_accelerator.yaml") for name in ("prose", "registered"))

SMALL = (
    "base.data.source.corpus=sotu",
    "base.model.context=32",
    "base.optim.warmup_tokens=200",
    "base.evaluation.tokens=4k",
    "grid.data.teacher=[{kind: real}, {kind: pretrained, file: smollm2, prompt_tokens: 16}]",
)
"""What a processor changes of the sweeps: speeches are in a Python package, and students read and are little."""
SMALL_GRID = ("grid.model.width=[32, 64, 96]", "zip.tokens=[2k, 4k, 8k, 12k]")
SMALL_LARGER = ("grid.model.width=[160]", "grid.tokens=[24k]")
QUICK_COMPILER = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"
"""A training compiles in 7 – 9 s so, and in minutes with the search for the fastest kernels (one H200)."""
STAGGER_S = 4.0
"""Between the starts of two processes: each looks through the texts before it trains, and only one may at a time."""


@dataclass(frozen=True)
class Study:
    """The stages, in a folder, each command of theirs stopped when its seconds are over.

    Attributes:
        folder: Where results lie.
        seconds: Of a command.
        is_small: True on a processor.
        overrides: Of both sweeps, as of `scaling sweep --set`.
    """

    folder: Path
    seconds: float
    is_small: bool
    overrides: tuple[str, ...]

    def text(self) -> Iterator[Row]:
        """Tokens and seconds of each teacher's text."""
        # What follows needs jax, and the processes of the other stages do not need it in this one.
        from scaling.teach.teachers import prepare

        runs, end = open_sweep(GRID, self._of_grid).runs, time.monotonic() + self.seconds
        store, teachers = RunStore(self.results).prepare(), {run.data.teacher for run in runs}

        def until_the_end(said: Any) -> None:
            if time.monotonic() > end:
                raise Preempted(f"stopped after {self.seconds:.0f} s; what is written is kept")

        for teacher in sorted(teachers, key=lambda teacher: teacher.label):
            began, readers = time.monotonic(), [run for run in runs if run.data.teacher == teacher]
            prepare(readers, store, until_the_end)
            yield {"teacher": teacher.label, "tokens": max(run.n_tokens for run in readers)} | {
                "seconds": time.monotonic() - began
            }

    def grid(self) -> Iterator[Row]:
        """Students by size, volume and teacher, as far as they were trained in time."""
        widths = sorted({run.model.width for run in open_sweep(GRID, self._of_grid).runs})
        # A process a width: the trunks of one shape are then one cohort, and programs are compiled side by side.
        sweep = ("sweep", GRID, "--jobs", "1", *self._set(*self._of_grid))
        self._together([(*sweep, *self._set(f"grid.model.width=[{width}]")) for width in widths])
        self._scaling(*sweep)
        yield from self._runs("prose_accelerator")

    def forecast(self) -> Iterator[Row]:
        """Larger students: forecast, trained, scored."""
        forecasts, fit = self.folder / "forecasts", self.results / "prose_accelerator" / "fit.json"
        if not forecasts.exists():
            self._scaling("fit", GRID, *self._set(*self._of_grid))
            self._scaling("register", LARGER, *self._set(*self._of_larger), "--fit", str(fit), "--out", str(forecasts))
        self._scaling("sweep", LARGER, *self._set(*self._of_larger), "--jobs", "1")
        scored = json.loads(self._scaling("score", str(forecasts), "--json"))
        for row in scored["rows"]:
            said = {key: row["forecast"][key] for key in ("n_params", "n_tokens", "reach", "loss", "low", "high")}
            yield {"text": row["forecast"]["text"]} | said | {"measured": row["measured"]}

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def _of_grid(self) -> tuple[str, ...]:
        return (*(SMALL + SMALL_GRID if self.is_small else ()), *self.overrides)

    @property
    def _of_larger(self) -> tuple[str, ...]:
        return (*(SMALL + SMALL_LARGER if self.is_small else ()), *self.overrides)

    @staticmethod
    def _set(*overrides: str) -> list[str]:
        return [part for one in overrides for part in ("--set", one)]

    def _runs(self, sweep: str) -> Iterator[Row]:
        from scaling import load_runs

        runs = load_runs(self.results / sweep)
        columns = ["teacher", "width", "n_params", "n_tokens", "loss", "teacher_loss", "tokens_per_s"]
        yield from runs.sort_values(columns[:4])[columns].to_dict("records")

    def _scaling(self, *arguments: str) -> str:
        return self._together([arguments])[0]

    def _together(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """What commands print, run side by side; they are asked to stop, as by Ctrl-C, when the time is over."""
        flags = {} if self.is_small else {"XLA_FLAGS": os.environ.get("XLA_FLAGS", QUICK_COMPILER)}
        processes: list[subprocess.Popen[str]] = []
        with ExitStack() as running:
            stop = Timer(self.seconds, self._stop, [processes])
            stop.start()
            running.callback(stop.cancel)
            for i, arguments in enumerate(commands):
                print(f"  scaling {shlex.join(arguments)}", flush=True)
                time.sleep(STAGGER_S if i else 0)
                command = [sys.executable, "-m", "scaling", *arguments, "--results", str(self.results)]
                process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | flags)
                processes.append(running.enter_context(process))
                # One that is still there when another could not be started, or this one is stopped, is not left behind.
                running.callback(process.terminate)
            said = [process.communicate()[0] for process in processes]
        for process, arguments in zip(processes, commands, strict=True):
            if process.returncode not in (EXIT_OK, EXIT_INTERRUPTED, EXIT_PREEMPTED):
                raise ScalingError(f"scaling {arguments[0]} ended with {process.returncode}; what it said is above")
        return said

    def _stop(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        print(f"  stopped after {self.seconds:.0f} s", flush=True)
        for process in processes:
            process.send_signal(signal.SIGINT)
