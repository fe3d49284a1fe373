"""What compression costs in loss, measured on the same sequences before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling.data.evaluation import EvalSet
from scaling.spec import ModelSpec
from scaling.stop import stoppable
from scaling.train.evaluate import evaluate
from scaling.train.model import from_tensors


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """Loss of a student before and after, nats/token, on one evaluation set.

    Attributes:
        before: Loss of the float student.
        after: Loss of the compressed one.
        increase: ``after − before``, the mean of the differences of each sequence.
        increase_se: Standard error of ``increase``. The differences are paired: what both find hard cancels, which is
            why a thousandth of a nat can be told although the loss itself is known to a hundredth.
        n_sequences: Sequences compared.
    """

    before: float
    after: float
    increase: float
    increase_se: float
    n_sequences: int


def degradation(
    model: ModelSpec, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], eval_set: EvalSet
) -> Degradation:
    """Measure two sets of weights of one model on the same sequences.

    Args:
        model: The model.
        before: float32 tensors under their GGUF names.
        after: The same after quantization and dequantization, or as read back from a file.
        eval_set: Held-out sequences.
    """
    batches = list(stoppable(eval_set))  # a world computes its laws anew each time it is read
    losses = [evaluate(from_tensors(model, tensors), stoppable(batches)).per_sequence for tensors in (before, after)]
    return paired(*losses)


def paired(before: np.ndarray, after: np.ndarray) -> Degradation:
    """The cost between two losses of the same sequences, float64[n_sequences] each, nats/token."""
    n = len(before)
    with np.errstate(invalid="ignore"):  # a loss that is not finite stays one, and keeps no promise
        difference = after - before
        return Degradation(
            before=float(before.mean()),
            after=float(after.mean()),
            increase=float(difference.mean()),
            increase_se=float(difference.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
            n_sequences=n,
        )
