"""How a weight matrix is stored: bits of a value, and the scales that give values back their size.

A format is one entry of ``LAYOUTS``; the forecast of memory, the exporter and the damage of a format all look it up
here. Gains of norms are vectors and stay float32 in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Literal

from scaling.dimensions import GGUF_BLOCK
from scaling.errors import SpecError
from scaling.registry import did_you_mean

Storage = Literal["F32", "F16", "Q8_0", "Q4_0", "symmetric_channel", "affine_channel"]
"""``Q8_0``, ``Q4_0``: 8 or 4 bits in blocks of 32 with one f16 scale each (GGUF). ``symmetric_channel``: int8 with
one f32 scale for each output channel; ``affine_channel``: and one int8 zero point."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one matrix [out, in] lies in memory.

    Attributes:
        bits: Of one value.
        block: Values of a row that share a scale; None where scales belong to whole rows.
        block_bytes: Scale of one block.
        row_bytes: Scale and zero point of one row.
    """

    bits: int
    block: int | None = None
    block_bytes: int = 0
    row_bytes: int = 0

    def value_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of the values alone: ``out·in·bits/8``."""
        return prod(shape) * self.bits // 8

    def scale_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of scales and zero points: ``out·(in/block·block_bytes + row_bytes)``."""
        blocks = 0 if self.block is None else prod(shape) // self.block
        return blocks * self.block_bytes + shape[0] * self.row_bytes


LAYOUTS: dict[Storage, Layout] = {
    "F32": Layout(bits=32),
    "F16": Layout(bits=16),
    "Q8_0": Layout(bits=8, block=GGUF_BLOCK, block_bytes=2),
    "Q4_0": Layout(bits=4, block=GGUF_BLOCK, block_bytes=2),
    "symmetric_channel": Layout(bits=8, row_bytes=4),
    "affine_channel": Layout(bits=8, row_bytes=5),
}

WEIGHT_FORMATS: dict[str, Storage] = {
    "f32": "F32", "f16": "F16", "q8_0": "Q8_0", "int8": "affine_channel", "q4_0": "Q4_0",
}  # fmt: skip
"""What a person calls a format, and how it stores matrices. See `storages_named`."""


def storages_named(name: str) -> tuple[Storage, ...]:
    """How a format that a person names may store matrices, the usual way first.

    ``int8`` is any of the layouts with a scale for each channel.

    Raises:
        SpecError: no format has that name.
    """
    found = WEIGHT_FORMATS.get(name.lower())
    if found is None:
        raise SpecError(f"unknown weight format {name!r}{did_you_mean(name, WEIGHT_FORMATS)}")
    alike = [one for one in LAYOUTS if LAYOUTS[one].row_bytes and one != found] if LAYOUTS[found].row_bytes else []
    return found, *alike


@lru_cache(maxsize=4096)
def tensor_bytes(shape: tuple[int, ...], storage: Storage) -> int:
    """Bytes of one tensor: a vector is always float32, a matrix [out, in] is stored as asked.

    ``Q8_0``: ``out·in·34/32``. ``Q4_0``: ``out·in·18/32``. ``symmetric_channel``: ``out·in + 4·out``.
    ``affine_channel``: ``out·in + 5·out``.

    Raises:
        SpecError: if rows cannot be cut into the blocks of the storage.
    """
    if len(shape) < 2:
        return 4 * prod(shape)
    layout = LAYOUTS[storage]
    if layout.block is not None and shape[-1] % layout.block:
        raise SpecError(
            f"rows of {shape[-1]} values cannot be stored as {storage} — a multiple of {layout.block} is needed; "
            "change the width or hidden size"
        )
    return layout.value_bytes(shape) + layout.scale_bytes(shape)
