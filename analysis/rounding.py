"""What rounding and clipping choices are worth, in loss: python analysis/rounding.py [RESULTS]

Takes students of real text and most tokens (`scaling sweep sweeps/grid.yaml`). The schemes of
`scaling/compress/` stand beside what they might have done instead; the deployed formats leave no choice but the scale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from scaling.compress.calibrate import calibrated
from scaling.compress.degradation import paired
from scaling.compress.scheme import SCHEMES
from scaling.compress.student import quantize
from scaling.config.load import open_sweep
from scaling.dimensions import GGUF_BLOCK
from scaling.formats.quantized import QuantizedMatrix, quantize_blocks, round_half_away
from scaling.records import RunStore
from scaling.train.checkpoint import load_student
from scaling.train.evaluate import evaluate
from scaling.train.measure import held_out
from scaling.train.student.generator import as_trained
from scaling.train.student.model import from_tensors, to_tensors

SWEEP = Path(__file__).parents[1] / "sweeps/grid.yaml"
CLIPS = np.linspace(0.5, 1.0, 26)
"""Shares of the largest weight of a group, among which the one of least squared error is taken."""


def scaled(matrix: np.ndarray, *, bits: int, block: int | None, by: str = "largest", rounding: str = "even"):
    """Symmetric integers, one scale for each block of a row, or for each row.

    Args:
        matrix: float32[out, in].
        bits: Of a value.
        block: Values that share a scale; None for a row.
        by: "largest": the largest weight is the largest integer; "squares": the scale of least squared error.
        rounding: "even", "away" or "random" (up with the probability of the remainder).
    """
    groups = matrix.reshape(len(matrix), -1, block or matrix.shape[1])
    most = 2 ** (bits - 1) - 1
    largest = np.maximum(np.abs(groups).max(-1, keepdims=True), 1e-12)
    rng = np.random.default_rng(0)
    how: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "even": np.rint,
        "away": round_half_away,
        "random": lambda x: np.floor(x + rng.random(x.shape)),
    }

    def rounded(share: float) -> np.ndarray:
        scale = share * largest / most
        return np.clip(how[rounding](groups / scale), -most, most) * scale

    tried = [rounded(share) for share in (CLIPS if by == "squares" else [1.0])]
    errors = np.stack([np.square(one - groups).sum(-1, keepdims=True) for one in tried])
    return np.take_along_axis(np.stack(tried), errors.argmin(0)[None], axis=0)[0].reshape(matrix.shape)


def searched_q4_0(matrix: np.ndarray) -> np.ndarray:
    """Q4_0's integers and file with the scale of least squared error in each block, either sign of it."""
    groups = matrix.reshape(len(matrix), -1, GGUF_BLOCK)
    reference = quantize_blocks(matrix, 4).scales.astype(np.float32)[..., None]
    reference = np.where(reference == 0, 1, reference)
    tried = []
    for share in (*CLIPS[5:], *np.linspace(1.02, 1.2, 10)):
        scale = (share * reference).astype(np.float16).astype(np.float32)
        scale = np.where(scale == 0, 1, scale)
        tried.append(np.clip(np.floor(groups / scale + 0.5), -8, 7) * scale)
    errors = np.stack([np.square(one - groups).sum(-1, keepdims=True) for one in tried])
    return np.take_along_axis(np.stack(tried), errors.argmin(0)[None], axis=0)[0].reshape(matrix.shape)


CHOICES: dict[str, Callable[[np.ndarray], np.ndarray | QuantizedMatrix]] = {
    "8 bits, blocks, halves to even": partial(scaled, bits=8, block=GGUF_BLOCK),
    "8 bits, blocks, rounded at random": partial(scaled, bits=8, block=GGUF_BLOCK, rounding="random"),
    "8 bits, rows, least squares": partial(scaled, bits=8, block=None, by="squares"),
    "4 bits, blocks, largest weight is 7": partial(scaled, bits=4, block=GGUF_BLOCK),
    "4 bits, blocks, least squares": partial(scaled, bits=4, block=GGUF_BLOCK, by="squares"),
    "4 bits, blocks, rounded at random": partial(scaled, bits=4, block=GGUF_BLOCK, rounding="random"),
    "4 bits, Q4_0 with scales of least squares": searched_q4_0,
    "4 bits, rows, largest weight is 7": partial(scaled, bits=4, block=None),
    "4 bits, rows, least squares": partial(scaled, bits=4, block=None, by="squares"),
}


def main(results: str = "results") -> None:
    store = RunStore(results)
    runs = [run for run in open_sweep(SWEEP, ()).runs if run.data.teacher.kind == "real" and run.tokens == 1_000_000]
    for run in runs[:2]:
        tensors = to_tensors(load_student(store.student_dir(run.run_id), run.model))
        real = held_out(run, store).real
        before = evaluate(from_tensors(run.model, tensors), real)

        def cost(weights, forward=as_trained, run=run, before=before, real=real) -> str:
            after = evaluate(from_tensors(run.model, weights), real, forward=forward)
            found = paired(before.per_sequence, after.per_sequence, before.scored)
            return f"{found.increase:+.5f} [{found.low:+.5f}, {found.high:+.5f}]"

        print(f"width {run.model.width}, loss {before.loss:.4f}: loss added, nats/token, 90 % interval")
        for name, made in SCHEMES.items():
            ranges = calibrated(run, store) if made.is_calibrated else None
            print(
                f"  scheme {name:38} {cost(quantize(tensors, name).dequantize(), made.arithmetic(ranges))}", flush=True
            )
        mixed = quantize(tensors, "q4_0").dequantize() | {
            name: quantize(tensors, "q8_0").dequantize()[name] for name in ("token_embd.weight",)
        }
        print(f"  {'Q4_0, the token table Q8_0':45} {cost(mixed)}")
        for name, one in CHOICES.items():
            print(f"  {name:45} {cost({key: one(w) if w.ndim == 2 else w for key, w in tensors.items()})}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
