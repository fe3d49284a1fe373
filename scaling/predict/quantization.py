"""What a stored format adds to the loss of a student: told before there is a file, measured when there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from scaling.accounting import LAYOUTS, Storage, count_parameters
from scaling.laws.precision import RoundingNoise
from scaling.tables.units import BITS

if TYPE_CHECKING:
    from scaling.spec import RunSpec

Z90 = 1.645
"""Standard deviations on either side that hold 90 %."""


@dataclass(frozen=True, kw_only=True)
class QuantizationCost:
    """Loss that rounding the weights adds.

    Attributes:
        nats: Added loss, nats/token, or in the unit of the fit that a recommendation rests on, which counts with it.
        low: The least that was seen; of a law, the end of its 90 % interval.
        high: The most that was seen, likewise.
        source: Of which models, and where it is written.
    """

    nats: float
    low: float
    high: float
    source: str

    def holds(self, measured: float, se: float) -> bool:
        """Whether a measured damage lies in the range, within its own 90 % error: the range is of other models."""
        error = 0.0 if math.isnan(se) else Z90 * se
        return self.low - error <= measured <= self.high + error


QUANTIZATION_COST: dict[Storage, QuantizationCost] = {
    "F32": QuantizationCost(nats=0.0, low=0.0, high=0.0, source="the weights as trained"),
    "F16": QuantizationCost(nats=0.0, low=0.0, high=0.0, source="a student of 0.77M parameters, llama.cpp"),
    "Q8_0": QuantizationCost(
        nats=0.0,
        low=-0.0006,
        high=0.0011,
        source="damage.csv and ledger.csv of results/reference, SmolLM2-135M",
    ),
    "symmetric_channel": QuantizationCost(
        nats=0.0,
        low=-0.0002,
        high=0.0002,
        source="students of 27k to 222k parameters, LiteRT and analysis/rounding.py",
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
results/reference/damage.csv. Students of text lose several times as much."""

OFF_BY = 1.4
"""Factor by which that law is off, root mean square, also at a size that it was not fitted to."""

LARGEST = 4e6
"""N up to which that law is followed, ten times the largest measured; larger models are said to lose as much."""

SAID_BY_LAW = 8
"""Bits below which the law speaks: from here on a damage cannot be told from zero."""

Rounding = Callable[["RunSpec", Storage], QuantizationCost]
"""What storing a run's weights so adds to its loss."""

TRAINED_FOR = QuantizationCost(nats=0.0, low=0.0, high=0.0, source="trained for it, optim.qat")


def rounding_cost(run: RunSpec, storage: Storage) -> QuantizationCost:
    """Loss that storing a run's weights so adds to it, by the reference tables.

    Nothing where it was trained for it; ``k·D^b/(N^a·(2^P − 1)²)`` for P bits in a world; else one number for all.
    """
    from scaling.spec import WorldSource

    bits = LAYOUTS[storage].bits
    if is_trained_for(run, storage):
        return TRAINED_FOR
    if bits >= SAID_BY_LAW or not isinstance(run.data.source, WorldSource):
        return QUANTIZATION_COST[storage]
    n = min(count_parameters(run.model).n_params, LARGEST)
    nats = float(IN_A_WORLD.loss(n=float(n), d=float(run.n_tokens), bits=float(bits)))
    return said_by_law(nats, off_by=OFF_BY, source="the law of W0's students, results/reference/damage.csv")


def of_a_nat(unit: str, losses: Iterable[tuple[float | None, float | None]]) -> float:
    """What a nat/token is in the unit of a fit: in bits/byte by the runs of one text, whose losses are known in both.

    Args:
        unit: Of the fit.
        losses: (nats/token, bits/byte) of each run; None where one is not known.
    """
    if unit != BITS:
        return 1.0
    shares = [bits / nats for nats, bits in losses if nats and bits]
    # Without a run, as if every token were one byte, of which it costs most.
    return median(shares) if shares else 1 / math.log(2)


def times(share: float, rounding: Rounding) -> Rounding:
    """What rounding adds, in another unit."""

    def converted(run: RunSpec, storage: Storage) -> QuantizationCost:
        cost = rounding(run, storage)
        return replace(cost, nats=share * cost.nats, low=share * cost.low, high=share * cost.high)

    return rounding if share == 1 else converted


def is_trained_for(run: RunSpec, storage: Storage) -> bool:
    """Whether a run's weights were rounded so while it was trained."""
    return run.optim.qat is not None and run.optim.qat == storage.lower()


def said_by_law(nats: float, *, off_by: float, source: str) -> QuantizationCost:
    """What a law of damage says, with a 90 % interval: ``nats·off_by^±1.645``."""
    wide = off_by**Z90
    return QuantizationCost(nats=nats, low=nats / wide, high=nats * wide, source=source)
