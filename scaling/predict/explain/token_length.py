"""How long a token of a sweep's text is, which turns nats/token into bits/byte."""

from __future__ import annotations

import math
from pathlib import Path

PAIR = ("loss", "bits_per_byte")
"""The same loss in two units, in a runs table."""


def bytes_per_token_of(table: Path) -> float | None:
    """Mean bytes of a token, ``loss / (ln 2 · bits_per_byte)`` of any run; None where no run tells it.

    Args:
        table: runs.parquet of a sweep.
    """
    if not table.is_file():
        return None
    from pyarrow import parquet

    if not set(PAIR) <= set(parquet.read_schema(table).names):
        return None
    for row in parquet.read_table(table, columns=list(PAIR)).to_pylist():
        nats, bits = (row[name] for name in PAIR)
        if nats and bits and math.isfinite(nats) and math.isfinite(bits):
            return nats / (math.log(2) * bits)
    return None
