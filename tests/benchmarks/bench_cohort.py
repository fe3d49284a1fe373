"""Tokens/s of cohorts against one trunk after the other: `python tests/benchmarks/bench_cohort.py [WIDTH …]`.

Prints the best of twelve rounds for each width and cohort size on the device at hand; sequential is size 1.
"""

from __future__ import annotations

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from scaling.spec import ModelSpec, OptimSpec
from scaling.train.cohort import mapped
from scaling.train.runtime import environment, prepare_process
from scaling.train.step import program

SIZES = (1, 2, 4, 8) if jax.default_backend() == "cpu" else (1, 4, 16, 64)
BATCH, CONTEXT = 8, 40
ROUND_TOKENS = 20_000
ROUNDS = 12


class Trial:
    """A cohort of some size at work; its best round so far, tokens/s of all members together."""

    def __init__(self, width: int, size: int):
        made = program(ModelSpec(vocab_size=65, width=width, context=CONTEXT), OptimSpec(batch_size=BATCH))
        self.tokens = np.random.default_rng(0).integers(65, size=(size, BATCH, CONTEXT), dtype=np.int32)
        self.state, self.rate, self.step = made.init(0), np.full(size, 1e-3, np.float32), made.step
        if size == 1:
            self.tokens, self.rate = self.tokens[0], self.rate[0]
        else:
            self.state = jax.tree.map(lambda leaf: jnp.stack([leaf] * size), self.state)
            self.step = mapped(made)[0]
        self.count, self.best = max(2, ROUND_TOKENS // self.tokens.size), 0.0
        self.run(1)

    def run(self, count: int) -> float:
        """Seconds of some steps."""
        began = time.perf_counter()
        for _ in range(count):
            self.state, log = self.step(self.state, self.tokens, self.tokens, self.rate)
        jax.block_until_ready((self.state, log))
        return time.perf_counter() - began

    def round(self) -> None:
        self.best = max(self.best, self.count * self.tokens.size / self.run(self.count))


def main(widths: list[int]) -> int:
    prepare_process()
    print(environment()["device"], f"batch {BATCH} x {CONTEXT}")
    for width in widths or (32, 64):
        trials = {size: Trial(width, size) for size in SIZES}
        for _ in range(ROUNDS):  # in turn, so that a busy machine slows all alike
            for trial in trials.values():
                trial.round()
        for size, trial in trials.items():
            gain = trial.best / trials[1].best
            print(f"width {width:4d} cohort {size:2d}: {trial.best:12,.0f} tokens/s, {gain:5.2f} x", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main([int(width) for width in sys.argv[1:]]))
