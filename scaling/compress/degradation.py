"""What compression costs in loss, measured on the same sequences before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from scaling.data.eval_sets import EvalBatch, EvalSet, ratio
from scaling.spec import ModelSpec
from scaling.stop import stoppable
from scaling.train.evaluate import Scored, evaluate
from scaling.train.student.generator import Forward, as_trained
from scaling.train.student.model import from_tensors

LEVEL = 0.9
"""Of the interval."""

RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """Loss of a student before and after, nats/token, on one evaluation set.

    Attributes:
        before: Loss of the float student.
        after: Loss of the compressed one.
        increase: ``after − before``, the mean of the differences of all tokens.
        increase_se: Standard error of ``increase``. The differences are paired: what both find hard cancels, which is
            why a thousandth of a nat can be told although the loss itself is known to a hundredth.
        low: Lower end of the 90 % interval of ``increase``, from sequences drawn anew.
        high: Its upper end.
        n_sequences: Sequences compared.
    """

    before: float
    after: float
    increase: float
    increase_se: float
    low: float
    high: float
    n_sequences: int


def degradation(
    model: ModelSpec,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    eval_set: EvalSet | Iterable[EvalBatch | Scored],
    *,
    forward: Forward = as_trained,
) -> Degradation:
    """Measure two sets of weights of one model on the same sequences.

    Args:
        model: The model.
        before: float32 tensors under their GGUF names.
        after: The same after quantization and dequantization, or as read back from a file.
        eval_set: Held-out sequences.
        forward: What computes with ``after``; by default float arithmetic, as with ``before``.
    """
    batches = list(stoppable(eval_set))  # a world computes its distributions anew each time it is read
    passes = ((before, as_trained), (after, forward))
    first, second = (evaluate(from_tensors(model, tensors), stoppable(batches), forward=one) for tensors, one in passes)
    return paired(first.per_sequence, second.per_sequence, first.scored)


def paired(before: np.ndarray, after: np.ndarray, scored: np.ndarray | None = None) -> Degradation:
    """The cost between two losses of the same sequences, float64[n_sequences] each, nats/token.

    The differences of a sequence's tokens depend on each other, so a sequence is drawn as a whole.

    Args:
        before: Loss of each sequence.
        after: Likewise.
        scored: int64[n_sequences], tokens that each is the mean of; by default all have as many.
    """
    n = len(before)
    scored = np.ones(n) if scored is None else scored
    with np.errstate(invalid="ignore"):  # a loss that is not finite stays one, and keeps no promise
        difference = after - before
        # How often each sequence is drawn, which needs less memory than which ones are.
        drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        low, high = np.quantile(drawn @ (difference * scored) / (drawn @ scored), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        (first, _), (second, _), (increase, se) = (ratio(one * scored, scored) for one in (before, after, difference))
        return Degradation(
            before=first,
            after=second,
            increase=increase,
            increase_se=se,
            low=float(low),
            high=float(high),
            n_sequences=n,
        )
