"""What a stored format adds to the loss of a student: told before there is a file, measured when there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.accounting import LAYOUTS, Storage
from scaling.laws.precision import RoundingNoise


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
    "symmetric_channel": QuantizationCost(
        nats=0.0001, low=-0.0001, high=0.0002, source="students of 27k and 107k parameters, analysis/rounding.py"
    ),
    "affine_channel": QuantizationCost(
        nats=0.0001, low=0.0, high=0.0002, source="students of 27k and 107k parameters, analysis/rounding.py"
    ),
    "Q4_0": QuantizationCost(
        nats=0.0065,
        low=0.0022,
        high=0.3,
        source="results/reference/damage.csv, of which the middle; the most is SmolLM2-135M, rounded twice",
    ),
}
"""By how matrices are stored, all of them, the token table included."""

MEASURED = RoundingNoise(k=7350.0, b=-0.1057, a=0.6086)
"""Damage of students of real text, 27k to 402k parameters without embeddings and 250k to 1M tokens, 2 to 6 bits:
results/reference/damage.csv. It is off by a factor of 1.4, also at a size that it was not fitted to."""

SAID_BY_LAW = 8
"""Bits below which the law speaks: from here on a damage cannot be told from zero."""


def rounding_cost(storage: Storage, n_params: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
    """Loss that storing weights so adds to models of N parameters trained on D tokens, nats/token: float64[k].

    ``k·D^b/(N^a·(2^P − 1)²)`` for P bits in blocks; for 8 bits and more, one number for all.

    Args:
        storage: How matrices are stored.
        n_params: N, without embeddings.
        n_tokens: D.
    """
    bits = LAYOUTS[storage].bits
    if bits >= SAID_BY_LAW:
        return np.full(np.shape(n_params), QUANTIZATION_COST[storage].nats)
    return np.asarray(MEASURED.loss(n=n_params, d=n_tokens, bits=bits))
