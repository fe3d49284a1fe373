"""How long a token of a sweep's text is, which turns nats/token into bits/byte."""

from __future__ import annotations

import math
from pathlib import Path

from scaling.predict.measured import rows_of_fit

PAIR = ("loss", "bits_per_byte")
"""The same loss in two units, in a runs table."""


def bytes_per_token_in(table: Path, where: str | None = None) -> float | None:
    """Mean bytes of a token, ``loss / (ln 2 · bits_per_byte)`` of any run; None where no run tells it.

    Args:
        table: runs.parquet of a sweep.
        where: Filter of the fit: a sweep may cut its text in several vocabularies.
    """
    for row in rows_of_fit(table, PAIR, where):
        nats, bits = (row.get(name) for name in PAIR)
        if nats and bits and math.isfinite(nats) and math.isfinite(bits):
            return nats / (math.log(2) * bits)
    return None
