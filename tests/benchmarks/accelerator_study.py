"""The study on an accelerator, as tables of `bench_accelerator.py`: a pretrained teacher, its students, a forecast.

- generation: tokens/s of the teacher writing ever more sequences at once.
- grid: losses of its students by size and volume, trained in cohorts by `scaling sweep`, which writes the text first.
- forecast: what a fit of the grid says of a larger student before it is trained, and what it then lost.

Everything lies in a results folder, so a machine that is taken away goes on where it was. On a processor students read
little and are small; speeches are in a Python package, so no network is needed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_PREEMPTED, ScalingError

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How large everything is, by machine.

    Attributes:
        batches: Sequences that the teacher writes at once, one try each.
        widths: Of the students of the grid.
        tokens: That these read.
        larger: Width and tokens of the student that is forecast.
        model: What all students share.
        prompt_tokens: Real text that the teacher goes on from.
        evaluated: Tokens that losses are measured on.
    """

    batches: tuple[int, ...]
    widths: tuple[int, ...]
    tokens: tuple[int, ...]
    larger: tuple[int, int]
    model: Row
    batch_size: int
    prompt_tokens: int
    evaluated: int


SMALL = Sizes(
    batches=(4, 16, 64),
    widths=(32, 64, 96),
    tokens=(2_000, 4_000, 8_000),
    larger=(160, 12_000),
    model={"n_layers": 2, "head_width": 32, "context": 32},
    batch_size=2,
    prompt_tokens=16,
    evaluated=4_000,
)
LARGE = Sizes(
    batches=(16, 64, 256, 1024),
    widths=(32, 64, 128, 256),
    tokens=(1_000_000, 2_500_000, 5_000_000, 10_000_000),
    # A hundred times the FLOPs of a student of width 128 that reads a million tokens, the largest of the study on CPUs.
    larger=(512, 10_000_000),
    model={"n_layers": 2, "head_width": 32, "context": 128},
    batch_size=16,
    prompt_tokens=64,
    evaluated=60_000,
)
LENGTH = {True: 16, False: 128}
"""Tokens of a sequence in the table of generation, by whether sizes are small."""


def generation(is_small: bool, teacher: str) -> Iterator[Row]:
    """Tokens/s of the teacher, by sequences at once; compiling is timed apart."""
    import jax

    from scaling.data.pretrained import GgufTokenizer, model_file
    from scaling.formats.gguf import read_gguf
    from scaling.train.decode import sample_sequences
    from scaling.train.model import from_tensors

    file, length = read_gguf(model_file(teacher)), LENGTH[is_small]
    bos = GgufTokenizer(file.tokenizer).eos_id
    student = from_tensors(file.model.model_copy(update={"context": length}), file.tensors)
    for batch in (SMALL if is_small else LARGE).batches:

        def write(seed: int, batch: int = batch) -> float:
            began = time.perf_counter()
            key = jax.random.key(seed)
            sample_sequences(student, key, n_sequences=batch, length=length, bos=bos).block_until_ready()
            return time.perf_counter() - began

        first, took = write(0), write(1)
        yield {"at_once": batch, "tokens_per_s": batch * length / took, "compile_s": first - took}


@dataclass(frozen=True)
class Study:
    """The grid and the forecast, in a folder, each command stopped when its seconds are over."""

    folder: Path
    teacher: str
    sizes: Sizes
    seconds: float

    def grid(self) -> Iterator[Row]:
        """Students by size and volume, as far as they were trained in time."""
        sweep = self._written("accelerator_grid", {"model.width": self.sizes.widths, "tokens": self.sizes.tokens})
        self._scaling("sweep", sweep)
        yield from self._runs()

    def forecast(self) -> Iterator[Row]:
        """A larger student: forecast, trained, scored."""
        width, tokens = self.sizes.larger
        grid = self._written("accelerator_grid", {"model.width": self.sizes.widths, "tokens": self.sizes.tokens})
        larger = self._written("accelerator_larger", {"model.width": (width,), "tokens": (tokens,)})
        forecasts, fit = str(self.folder / "forecasts"), str(self.folder / "results" / "accelerator_grid" / "fit.json")
        self._scaling("fit", grid)
        self._scaling("register", larger, "--fit", fit, "--out", forecasts, "--force")
        self._scaling("sweep", larger)
        scored = json.loads(self._scaling("score", forecasts, "--json"))
        for row in scored["rows"]:
            said = {key: row["forecast"][key] for key in ("n_params", "n_tokens", "reach", "loss", "low", "high")}
            yield said | {"measured": row["measured"]}

    def _runs(self) -> Iterator[Row]:
        from scaling import load_runs

        runs = load_runs(self.folder / "results")
        columns = ["width", "n_params", "n_tokens", "loss", "teacher_loss", "tokens_per_s"]
        yield from runs.sort_values(["width", "n_tokens"])[columns].to_dict("records")

    def _written(self, name: str, grid: Row) -> str:
        """A sweep file, which is JSON here."""
        sizes = self.sizes
        tokenizer = {"kind": "bpe", "vocab_size": 1024}
        base = {
            "model": sizes.model,
            "data": {
                "source": {"kind": "text", "corpus": "sotu", "tokenizer": tokenizer},
                "teacher": {"kind": "pretrained", "file": self.teacher, "prompt_tokens": sizes.prompt_tokens},
            },
            "optim": {"batch_size": sizes.batch_size, "warmup_tokens": sizes.tokens[0] // 10, "cooldown": 0.2},
            "evaluation": {"tokens": sizes.evaluated},
        }
        rate = {"rule": "width_power", "base": 5e-3, "base_width": 32, "power": 1.0}
        sweep = {"name": name, "base": base, "grid": grid, "derive": {"optim.lr": rate}}
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(sweep, indent=1), "utf-8")
        return str(path)

    def _scaling(self, *arguments: str) -> str:
        """What a command prints; it is asked to stop, as by Ctrl-C, when its time is over, and keeps what it has."""
        command = [sys.executable, "-m", "scaling", *arguments, "--results", str(self.folder / "results")]
        print(f"  scaling {' '.join(arguments)}", flush=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                said, _ = process.communicate(timeout=self.seconds)
            except subprocess.TimeoutExpired:
                print(f"  stopped after {self.seconds:.0f} s", flush=True)
                process.send_signal(signal.SIGINT)
                said, _ = process.communicate()
        if process.returncode not in (EXIT_OK, EXIT_INTERRUPTED, EXIT_PREEMPTED):
            raise ScalingError(f"scaling {arguments[0]} ended with {process.returncode}; what it said is above")
        return said
