"""What a stored format adds to the loss of a student: told before there is a file, measured when there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaling.accounting import LAYOUTS, Storage, count_parameters
from scaling.laws.precision import RoundingNoise

if TYPE_CHECKING:
    from scaling.spec import RunSpec


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
        nats=0.0195,
        low=0.0022,
        high=0.3,
        source="a student of 0.77M parameters on text, llama.cpp; the least is of a world (damage.csv), the most of "
        "SmolLM2-135M, rounded twice",
    ),
}
"""By how matrices are stored, all of them, the token table included."""

IN_A_WORLD = RoundingNoise(k=7350.0, b=-0.1057, a=0.6086)
"""Damage of students of W0's real text, 27k to 402k parameters without embeddings and 250k to 1M tokens, 2 to 6 bits:
results/reference/damage.csv. It is off by a factor of 1.4, also at a size that it was not fitted to. Students of text
lose several times as much."""

LARGEST = 4e6
"""N up to which the law is followed, ten times the largest measured; larger models are said to lose as much."""

SAID_BY_LAW = 8
"""Bits below which the law speaks: from here on a damage cannot be told from zero."""


def rounding_cost(run: RunSpec, storage: Storage) -> float:
    """Loss that storing a run's weights so adds to it, nats/token.

    Nothing where it was trained for it; ``k·D^b/(N^a·(2^P − 1)²)`` for P bits in a world; else one number for all.
    """
    from scaling.spec import WorldSource

    bits = LAYOUTS[storage].bits
    if run.optim.qat is not None and run.optim.qat == storage.lower():
        return 0.0
    if bits >= SAID_BY_LAW or not isinstance(run.data.source, WorldSource):
        return QUANTIZATION_COST[storage].nats
    n = min(count_parameters(run.model).n_params, LARGEST)
    return float(IN_A_WORLD.loss(n=float(n), d=float(run.n_tokens), bits=float(bits)))
