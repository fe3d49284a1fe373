"""Seconds of a recommendation among ten thousand configurations: python tests/benchmarks/bench_recommend.py"""

from __future__ import annotations

import time

from scaling.predict.draft import Draft
from scaling.predict.question import Question
from scaling.predict.recommend.of_published import fit_of_preset, standard_shapes
from scaling.predict.recommend.recommendation import recommend

VOLUMES = [10**9 * 2**i for i in range(10)]


def main() -> None:
    """Build the configurations, then ask."""
    question, law = Question(target_loss=2.6, memory_bytes=2 * 2**30, context=1024), fit_of_preset("besiroglu")
    shapes = list(standard_shapes(question, 32_000))
    runs = [Draft(model=one, tokens=tokens) for one in shapes for tokens in VOLUMES]
    began, busy = time.perf_counter(), time.process_time()
    found = recommend(law, runs, question)
    took, busy = time.perf_counter() - began, time.process_time() - busy
    chosen = found.choice.model
    print(f"{len(runs):,} configurations of {len(shapes):,} shapes: {took:.2f} s, {busy:.2f} of a processor")
    print(f"chosen: width {chosen.width}, {chosen.n_layers} layers, {found.choice.n_tokens:.3g} tokens")


if __name__ == "__main__":
    main()
