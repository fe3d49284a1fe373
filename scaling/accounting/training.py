"""Memory of a training step."""

from __future__ import annotations

from dataclasses import dataclass

from scaling.accounting.model import count_parameters
from scaling.dimensions import Dimensions


@dataclass(frozen=True, kw_only=True)
class TrainingBytes:
    """Memory of one optimizer step in float32, by what it holds.

    Gradients take the place of activations as the backward pass frees them, so the larger of the two counts.

    Attributes:
        parameters: ``4·N``.
        optimizer: AdamW's two moments, ``8·N``.
        gradients: ``4·N``.
        scaled: Copies of matrices that gains are multiplied into.
        activations: What the backward pass needs of every layer and around them.
        logits: The logits and their gradient.
    """

    parameters: int
    optimizer: int
    gradients: int
    scaled: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """Peak bytes."""
        return self.parameters + self.optimizer + max(self.gradients, self.scaled + self.activations + self.logits)


def training_bytes(model: Dimensions, batch_size: int) -> TrainingBytes:
    """Forecast the peak memory of a training step.

    ``activations = 4·B·T·(L·(3·M + K·(6·H + 3·H_kv) + 5·F + 1.2·H·T_c) + 2·M)``, ``logits = 8.8·B·T·V`` and ``scaled =
    3.2·N_lin``; T_c are the keys that causal attention computes for a query, on average, N_lin is ``n_params_linear``.
    The counts of tensors are of this project's student as XLA compiles it for a processor, rounded from
    ``tests/benchmarks/bench_memory.py``, which prints the error of the forecast: 1 – 2 % is typical, 8 % the worst.

    Args:
        model: The model.
        batch_size: B, sequences a step.
    """
    counts, tokens = count_parameters(model), batch_size * model.context
    heads, kv_heads, k = model.n_heads, model.n_kv_heads, model.head_width
    # Attention in C++ (``train/native/attention.cc``) keeps no scores, and 2 – 60 % less is needed.
    scores = 1.2 * heads * sum((stop - start) * stop for start, stop in causal_blocks(model.context)) / model.context
    layer = 3 * model.width + k * (6 * heads + 3 * kv_heads) + 5 * model.hidden + scores
    return TrainingBytes(
        parameters=4 * counts.n_params_total,
        optimizer=8 * counts.n_params_total,
        gradients=4 * counts.n_params_total,
        scaled=round(3.2 * counts.n_params_linear),
        activations=round(4 * tokens * (model.n_layers * layer + 2 * model.width)),
        logits=round(8.8 * tokens * model.vocab_size),
    )


def causal_blocks(time: int) -> list[tuple[int, int]]:
    """Where the blocks of queries start and stop that causal attention takes, each with the keys up to its end.

    Up to four blocks of 64 queries or more: most of the upper triangle is not computed.
    """
    rows = max(64, -(-time // 4))
    return [(start, min(start + rows, time)) for start in range(0, time, rows)]
