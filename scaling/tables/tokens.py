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
    sizes = _numbers(runs, "vocab_size")
    kinds = np.unique(sizes[np.isfinite(sizes)])
    return int(kinds[0]) if len(kinds) == 1 and kinds[0] > 1 else None


def bytes_per_token_of(runs: pd.DataFrame) -> float | None:
    """Mean bytes of a token, ``loss / (ln 2 · bits_per_byte)``; None where no run tells it, or they differ."""
    nats, bits = _numbers(runs, "loss"), _numbers(runs, PER_BYTE)
    told = np.isfinite(nats) & np.isfinite(bits) & (nats > 0) & (bits > 0)
    lengths = nats[told] / (math.log(2) * bits[told])
    alike = len(lengths) > 0 and lengths.max() < ALIKE * lengths.min()
    return float(f"{np.median(lengths):.6g}") if alike else None


def _numbers(runs: pd.DataFrame, column: str) -> np.ndarray:
    """A column of numbers; not a number in every row where it is absent or holds texts."""
    values = column_values(runs[column]) if column in runs.columns else np.empty(0)
    return values if values.dtype == float and len(values) else np.full(len(runs), np.nan)
