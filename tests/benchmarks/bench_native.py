"""A step with C++ beside XLA's alone: `python tests/benchmarks/bench_native.py [--threads N] [--shapes I …]`.

Attention in C++ by itself, and with products in C++ where the processor has a unit for matrices. The steps live in one
process and take turns; times are medians over the turns, ratios those of the ratios within a turn. The shapes are those
of `bench_train.py`. What is computed is compared in tests/train/native.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable

TURNS, BLOCK_S, HEAD_WIDTH = 7, 1.0, 32


def prepared(parts: list, shape: tuple[int, int, int, int]) -> Callable[[int], float]:
    """Seconds of so many steps, with these parts in C++."""
    import bench_train

    from scaling.train.native.parts import PARTS
    from scaling.train.step import _program

    os.environ |= {part.switch: "native" if part in parts else "xla" for part in PARTS}
    _program.cache_clear()  # the same specification, but another program
    sizes = dict(zip(("vocab_size", "width", "n_layers", "context"), shape, strict=True))
    take = bench_train.our_steps("ours", **sizes, head_width=HEAD_WIDTH)
    take(bench_train.WARM_UP)
    return take


def report(shape: tuple[int, int, int, int], parts: list) -> None:
    """Print a shape's line."""
    steps = [prepared(parts[:n], shape) for n in range(len(parts) + 1)]
    count = max(1, round(BLOCK_S / steps[0](1)))
    turns = [[take(count) / count for take in steps] for _ in range(TURNS)]
    words = [f"{shape}: XLA's {1e3 * statistics.median(turn[0] for turn in turns):7.1f} ms a step"]
    for n, part in enumerate(parts, 1):
        ratio = statistics.median(turn[0] / turn[n] for turn in turns)
        words.append(f"{'' if n == 1 else 'and '}{part.name} in C++ x {ratio:.3f}")
    print(", ".join(words), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the process")
    parser.add_argument("--shapes", type=int, nargs="*", default=range(5), help="which, from 0")
    asked = parser.parse_args()
    os.environ |= {"JAX_PLATFORMS": "cpu", "NPROC": str(asked.threads)}
    if asked.threads == 1:  # as the local executor starts its workers
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import bench_train

    from scaling.train.native.parts import PARTS
    from scaling.train.runtime import prepare_process

    prepare_process()
    parts = [part for part in PARTS if part.kind() == "native"]
    for i in asked.shapes:
        report(bench_train.SHAPES[i], parts)


if __name__ == "__main__":
    sys.exit(main())
