"""What a stored format adds to the loss of a student: told before there is a file, measured when there is."""

from __future__ import annotations

from dataclasses import dataclass

from scaling.accounting import Storage


@dataclass(frozen=True, kw_only=True)
class QuantizationCost:
    """Loss that rounding the weights adds.

    Attributes:
        nats: Added loss, nats/token; a recommendation counts with it.
        low: The least that was seen.
        high: The most that was seen.
        source: Of which models, and where it is written.
    """

    nats: float
    low: float
    high: float
    source: str


QUANTIZATION_COST: dict[Storage, QuantizationCost] = {
    "F32": QuantizationCost(nats=0.0, low=0.0, high=0.0, source="the weights as trained"),
    "F16": QuantizationCost(nats=0.0, low=0.0, high=0.0, source="a student of 0.77M parameters, llama.cpp"),
    "Q8_0": QuantizationCost(
        nats=0.0,
        low=-0.0002,
        high=0.0004,
        source="int8_cost of results/reference/ledger.csv; SmolLM2-135M, llama.cpp",
    ),
    "symmetric_channel": QuantizationCost(nats=0.001, low=0.0, high=0.005, source="an estimate"),
    "affine_channel": QuantizationCost(nats=0.001, low=0.0, high=0.005, source="an estimate"),
    "Q4_0": QuantizationCost(
        nats=0.0195,
        low=0.0195,
        high=0.3,
        source="a student of 0.77M parameters, llama.cpp; the most is SmolLM2-135M, rounded twice",
    ),
}
"""By how matrices are stored, all of them, the token table included."""
