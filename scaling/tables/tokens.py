"""What a token is, of which the losses of a table are: one of how many, and how many bytes long."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from scaling.tables.expression import column_values
from scaling.tables.units import PER_BYTE

if TYPE_CHECKING:
    import pandas as pd

ALIKE = 1.01
"""Factor up to which the bytes of a token are those of one tokenizer on one text."""


def vocabulary_of(runs: pd.DataFrame) -> int | None:
    """V of all runs; None where the table does not say it, or of several."""
    kinds = np.unique(_finite(runs, "vocab_size"))
    return int(kinds[0]) if len(kinds) == 1 and kinds[0] > 1 else None


def bytes_per_token_of(runs: pd.DataFrame) -> float | None:
    """Mean bytes of a token, ``loss / (ln 2 · bits_per_byte)``; None where no run tells it, or they differ."""
    nats, bits = _finite(runs, "loss"), _finite(runs, PER_BYTE)
    if not len(nats) or len(nats) != len(bits) or not ((nats > 0) & (bits > 0)).all():
        return None
    lengths = nats / (math.log(2) * bits)
    return float(f"{np.median(lengths):.6g}") if lengths.max() < ALIKE * lengths.min() else None


def _finite(runs: pd.DataFrame, column: str) -> np.ndarray:
    """The finite numbers of a column; none of one that is absent or holds texts."""
    values = column_values(runs[column]) if column in runs.columns else np.empty(0)
    return values[np.isfinite(values)] if values.dtype == float else np.empty(0)
