"""Seconds of a recommendation among ten thousand configurations: python tests/benchmarks/bench_recommend.py"""

from __future__ import annotations

import time

from scaling.predict.published import fit_of_preset, standard_shapes
from scaling.predict.question import Question
from scaling.predict.recommend import recommend
from scaling.spec import ModelSpec, RunSpec

VOLUMES = [10**9 * 2**i for i in range(10)]


def main() -> None:
    """Build the configurations, then ask."""
    question, law = Question(target_loss=2.6, memory_bytes=2 * 2**30, context=1024), fit_of_preset("besiroglu")
    model = ModelSpec(vocab_size=32_000, width=64, head_width=64, context=1024)
    template = RunSpec.model_validate({"model": model, "data": {"source": {"kind": "w0"}}, "tokens": 10**9})
    shapes = list(standard_shapes(question, 32_000))
    runs = [template.model_copy(update={"model": one, "tokens": tokens}) for one in shapes for tokens in VOLUMES]
    began, busy = time.perf_counter(), time.process_time()
    found = recommend(law, runs, question)
    took, busy = time.perf_counter() - began, time.process_time() - busy
    chosen = found.run.model
    print(f"{len(runs):,} configurations of {len(shapes):,} shapes: {took:.2f} s, {busy:.2f} of a processor")
    print(f"chosen: width {chosen.width}, {chosen.n_layers} layers, {found.run.n_tokens:.3g} tokens")


if __name__ == "__main__":
    main()
