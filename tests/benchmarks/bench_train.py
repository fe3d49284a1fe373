"""Our training step beside PyTorch's: `python tests/benchmarks/bench_train.py [--head-width K] [--shapes I …]`.

The same llama, AdamW, clipping, float32, batch 16, at five shapes. Ours is the compiled program that `train/loop.py`
calls, called as it does; theirs is `torch_llama.py`, eager and through torch.compile. Each lives in a process of its
own with the same cores, and they take turns (A B C A B C …), one working at a time; figures are medians over the turns,
ratios medians of the ratios within a turn. A second table compares layouts: one process with all cores, or one a core.

PyTorch is looked for in this Python, or in the one that BENCH_TORCH_PYTHON names. Without it our half is printed alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

SHAPES = [(256, 32, 2, 128), (256, 64, 4, 128), (256, 128, 4, 128), (1024, 128, 6, 256), (1024, 256, 8, 256)]
"""Vocabulary, width, layers, context."""

BATCH, TURNS, BLOCK_S, MOST_CORES = 16, 5, 1.0, 8

WARM_UP = 5
"""Steps before any is timed: a process that keeps freed memory still grows in its first few."""

PEAK_SHAPES = [(1024, 1024, 1024), (2048, 2048, 2048), (4096, 256, 1408)]
HINT = "PyTorch is not installed: `.venv/bin/python -m pip install -e '.[bench]'` (its CPU build is enough) adds it"


class Worker:
    """A process that holds one implementation and does one thing at a time on request."""

    def __init__(self, python: str, role: str, threads: int):
        self.role = role
        limits = {
            name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
        }
        environment = os.environ | limits | {"OMP_WAIT_POLICY": "PASSIVE", "JAX_PLATFORMS": "cpu"}
        if threads == 1:  # as the local executor starts its workers
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        command = [python, __file__, "--worker", role]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, bufsize=1, **pipes)

    def send(self, **request) -> Worker:
        self.process.stdin.write(json.dumps(request) + "\n")
        return self

    def answer(self) -> float:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the {self.role} process ended with code {self.process.wait()}; its output says why")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def serve(role: str) -> None:
    """What a worker does: `load` a shape (seconds a step), take `steps` (seconds in all), measure its `peak`."""
    take, answers = None, os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if role == "ours":  # before anything runs in jax, as in a worker of a sweep
        from scaling.train.runtime import prepare_process

        prepare_process()
    for line in sys.stdin:
        request = json.loads(line)
        if "load" in request:
            take = (our_steps if role == "ours" else torch_steps)(role, **request["load"])
            take(WARM_UP)
            found = take(1)
        elif "peak" in request:
            found = max((our_peak if role == "ours" else torch_peak)(shape) for shape in PEAK_SHAPES)
        else:
            found = take(request["steps"])
        answers.write(json.dumps(found) + "\n")


def our_steps(role: str, *, vocab_size: int, width: int, n_layers: int, context: int, head_width: int):
    import jax
    import numpy as np

    from scaling.spec import ModelSpec, OptimSpec
    from scaling.train.step import program

    sizes = {"vocab_size": vocab_size, "width": width, "n_layers": n_layers, "context": context}
    model = ModelSpec(**sizes, head_width=head_width)
    made = program(model, OptimSpec(batch_size=BATCH))
    inputs, targets = batch(vocab_size, context)
    state = made.init(0)

    def take(count: int) -> float:
        nonlocal state
        began, logs = time.perf_counter(), []
        for _ in range(count):
            state, log = made.step(state, inputs, targets, np.float32(1e-3))
            logs.append(log)
        jax.block_until_ready((state, jax.device_get(logs)))
        return time.perf_counter() - began

    return take


def torch_steps(role: str, *, vocab_size: int, width: int, n_layers: int, context: int, head_width: int):
    from torch_llama import make_step

    hidden = -(-8 * width // 96) * 32
    heads = {"n_heads": width // head_width, "n_kv_heads": width // head_width, "head_width": head_width}
    sizes = {"vocab_size": vocab_size, "width": width, "hidden": hidden, "n_layers": n_layers, "context": context}
    step = make_step(sizes | heads, *batch(vocab_size, context), compiled=role == "compiled")

    def take(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            loss = step()
        loss.item()
        return time.perf_counter() - began

    return take


def batch(vocab_size: int, context: int):
    import numpy as np

    tokens = np.random.default_rng(0).integers(vocab_size, size=(BATCH, context + 1), dtype=np.int32)
    return tokens[:, :-1].copy(), tokens[:, 1:].copy()


def our_peak(shape: tuple[int, int, int]) -> float:
    import jax
    import jax.numpy as jnp

    m, k, n = shape
    return best_rate(jax.jit(jnp.matmul), jnp.ones((m, k)), jnp.ones((k, n)), jax.block_until_ready)


def torch_peak(shape: tuple[int, int, int]) -> float:
    import torch

    m, k, n = shape
    return best_rate(torch.matmul, torch.ones(m, k), torch.ones(k, n), lambda product: product)


def best_rate(multiply, left, right, wait, seconds: float = 1.0) -> float:
    """FLOP/s of the fastest of a second's products."""
    wait(multiply(left, right))
    best, until = float("inf"), time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        wait(multiply(left, right))
        best = min(best, time.perf_counter() - began)
    return 2.0 * left.shape[0] * left.shape[1] * right.shape[1] / best


def torch_python() -> str | None:
    """A Python that has torch: the one named, else this one."""
    python = os.environ.get("BENCH_TORCH_PYTHON", sys.executable)
    asked = subprocess.run([python, "-c", "import torch, numpy"], capture_output=True, check=False)
    return python if asked.returncode == 0 else None


def compare(shape: dict[str, int], teams: dict[str, list[Worker]]) -> dict[str, list[float]]:
    """Tokens/s of each team in each turn; the workers of a team work at once, the teams one after another."""
    tokens = BATCH * shape["context"]
    counts = {}
    for name, team in teams.items():
        steps_s = [worker.send(load=shape) and worker.answer() for worker in team]
        counts[name] = max(1, round(BLOCK_S / max(steps_s)))
    found = {name: [] for name in teams}
    for _ in range(TURNS):
        for name, team in teams.items():
            began = time.perf_counter()
            for worker in team:
                worker.send(steps=counts[name])
            for worker in team:
                worker.answer()
            found[name].append(len(team) * counts[name] * tokens / (time.perf_counter() - began))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--head-width", type=int, default=32)
    parser.add_argument("--shapes", type=int, nargs="*", default=range(len(SHAPES)), help="which, from 0")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        serve(asked.worker)
    else:
        run(asked.head_width, [SHAPES[i] for i in asked.shapes])


def run(head_width: int, shapes: list[tuple[int, int, int, int]]) -> None:
    """Start the workers, print both tables."""
    cores = sorted(os.sched_getaffinity(0))[:MOST_CORES]
    os.sched_setaffinity(0, cores)
    n, peer = len(cores), torch_python()
    if peer is None:
        print(HINT)
    teams = {"ours": [Worker(sys.executable, "ours", n)], f"ours, {n} x 1": several(sys.executable, "ours", n)}
    if peer:
        teams |= {"eager": [Worker(peer, "eager", n)], f"eager, {n} x 1": several(peer, "eager", n)}
        if shutil.which(os.environ.get("CXX", "g++")):
            teams["compiled"] = [Worker(peer, "compiled", n)]
        else:
            print("torch.compile is left out: it wants a C++ compiler (g++, or what CXX names)")
    peak = max(teams[name][0].send(peak=True).answer() for name in ("ours", "eager") if name in teams)
    print(f"batch {BATCH}, heads of {head_width}, {n} cores, matmul peak {peak / 1e9:.0f} GFLOP/s\n")
    rows = []
    for vocab_size, width, n_layers, context in shapes:
        sizes = {"vocab_size": vocab_size, "width": width, "n_layers": n_layers, "context": context}
        rows.append(report(sizes | {"head_width": head_width}, teams, peak))
    print(f"\nprocess layout, tokens/s in all: 1 process x {n} threads | {n} processes x 1 thread")
    for sizes, medians in rows:
        roles = [role for role in ("ours", "eager") if role in medians]
        pairs = [f"{role} {medians[role]:9,.0f} | {medians[f'{role}, {n} x 1']:9,.0f}" for role in roles]
        best = {role: max(medians[role], medians[f"{role}, {n} x 1"]) for role in roles}
        ratio = f"   best of ours/best of eager {best['ours'] / best['eager']:.2f}" if "eager" in best else ""
        print(f"{sizes}   {'   '.join(pairs)}{ratio}")
    for worker in sum(teams.values(), []):
        worker.close()


def several(python: str, role: str, n: int) -> list[Worker]:
    return [Worker(python, role, 1) for _ in range(n)]


def report(shape: dict[str, int], teams: dict[str, list[Worker]], peak: float) -> tuple[str, dict[str, float]]:
    """Print a shape's line."""
    from scaling.accounting import training_flops
    from scaling.spec import ModelSpec

    flops_per_token = training_flops(ModelSpec(**shape), BATCH * shape["context"]) / (BATCH * shape["context"])
    turns = compare(shape, teams)
    medians = {name: statistics.median(rates) for name, rates in turns.items()}
    sizes = f"V{shape['vocab_size']:<4} d{shape['width']:<3} L{shape['n_layers']} T{shape['context']}"
    parts = [
        f"{name} {medians[name]:9,.0f} tokens/s {medians[name] * flops_per_token / peak:4.0%} of peak"
        for name in ("ours", "eager", "compiled")
        if name in medians
    ]
    for name in ("eager", "compiled"):
        if name in turns:
            ratios = [ours / theirs for ours, theirs in zip(turns["ours"], turns[name], strict=True)]
            parts.append(f"ours/{name} {statistics.median(ratios):.2f}")
    print(f"{sizes}   {'   '.join(parts)}", flush=True)
    return sizes, medians


if __name__ == "__main__":
    sys.exit(main())
