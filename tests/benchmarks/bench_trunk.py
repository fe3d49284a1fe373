"""Cost of a trunk with its branches against separate runs: `python tests/benchmarks/bench_trunk.py`.

Trains six volumes of one student both ways, W0 at width 32, and prints FLOPs, steps and wall-clock seconds of training,
with the ratio that the arithmetic says, ``(max(D_i·(1 − f)) + f·Σ D_i)/Σ D_i``.
"""

from __future__ import annotations

import sys
import tempfile
import time

from scaling.records import RunStore
from scaling.spec import DataSpec, EvalSpec, FactSource, ModelSpec, OptimSpec, RunSpec
from scaling.sweep.trunks import group
from scaling.train.loop import train_trunk

GRIDS = (("doublings", 2.0, 0.1), ("doublings", 2.0, 0.2), ("steps of the root of 2", 2**0.5, 0.2))
LARGEST = 640_000
BOUND = 0.65


def grid(factor: float, cooldown: float) -> list[RunSpec]:
    """Six volumes up to the largest, each a factor apart."""
    return [
        RunSpec(
            model=ModelSpec(vocab_size=65, width=32, context=40),
            data=DataSpec(source=FactSource(kind="w0")),
            optim=OptimSpec(lr=5e-3, batch_size=8, warmup_tokens=6_400, cooldown=cooldown),
            evaluation=EvalSpec(tokens=8_000),
            tokens=round(LARGEST / factor**power),
        )
        for power in range(6)
    ]


def seconds(groups: list[list[RunSpec]]) -> float:
    """Wall-clock time of training some trunks, evaluation and records included."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for specs in groups:
            train_trunk(specs, RunStore(folder))
        return time.perf_counter() - began


def main() -> int:
    seconds([grid(2.0, 0.5)[-1:]])  # compiles, and makes the evaluation set
    worst = 0.0
    print(f"{'six volumes, ratio':28s} {'cooldown':>8} {'FLOPs':>7} {'wall':>7}   seconds")
    for name, factor, cooldown in GRIDS:
        specs = grid(factor, cooldown)
        (together,), alone = group(specs), [group([spec])[0] for spec in specs]
        flops = together.flops / sum(trunk.flops for trunk in alone)
        pair = seconds([specs]), seconds([[spec] for spec in specs])
        wall = pair[0] / pair[1]
        print(f"{name:28s} {cooldown:8.1f} {flops:7.3f} {wall:7.3f}   {pair[0]:.1f} against {pair[1]:.1f}", flush=True)
        worst = max(worst, flops, wall)
    verdict = "ok" if worst <= BOUND else "TOO MUCH"
    print(f"at most {worst:.3f} (bound {BOUND})  {verdict}")
    return 0 if worst <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
