"""A step with attention in C++ beside XLA's: `python tests/benchmarks/bench_attention.py [--threads N] [--shapes I …]`.

Both steps live in one process and take turns; figures are medians over the turns, the ratio that of the ratios within a
turn. The shapes are those of `bench_train.py`. What both compute is compared in tests/train/test_native.py.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable

TURNS, BLOCK_S, HEAD_WIDTH = 7, 1.0, 32


def prepared(kind: str, shape: tuple[int, int, int, int]) -> Callable[[int], float]:
    """Seconds of so many steps, with the attention asked for."""
    import bench_train

    from scaling.train.native import SWITCH
    from scaling.train.step import _program

    os.environ[SWITCH] = kind
    _program.cache_clear()  # the same specification, but another program
    sizes = dict(zip(("vocab_size", "width", "n_layers", "context"), shape, strict=True))
    take = bench_train.our_steps("ours", **sizes, head_width=HEAD_WIDTH)
    take(bench_train.WARM_UP)
    return take


def report(shape: tuple[int, int, int, int]) -> None:
    """Print a shape's line."""
    xla, native = (prepared(kind, shape) for kind in ("xla", "native"))
    count = max(1, round(BLOCK_S / xla(1)))
    turns = [[take(count) / count for take in (xla, native)] for _ in range(TURNS)]
    ratio = statistics.median(one / other for one, other in turns)
    before, after = (1e3 * statistics.median(turn[i] for turn in turns) for i in (0, 1))
    print(f"{shape}: XLA's {before:7.1f} ms, C++ {after:7.1f} ms a step; x {ratio:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the process")
    parser.add_argument("--shapes", type=int, nargs="*", default=range(5), help="which, from 0")
    asked = parser.parse_args()
    os.environ |= {"JAX_PLATFORMS": "cpu", "NPROC": str(asked.threads)}
    if asked.threads == 1:  # as the local executor starts its workers
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import bench_train

    from scaling.train.runtime import prepare_process

    prepare_process()
    for i in asked.shapes:
        report(bench_train.SHAPES[i])


if __name__ == "__main__":
    sys.exit(main())
