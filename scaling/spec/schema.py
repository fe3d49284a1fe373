"""The schema version, and what every specification obeys."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 1
"""Version of the run specification and of everything under results/; part of every hash."""

GGUF_BLOCK = 32
"""Inner dimensions are multiples of this, so that every matrix can be stored in blocks of 32 (Q8_0)."""


class Spec(BaseModel):
    """Base of all specifications: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def whole(value: Any) -> int | None:
    """The whole number that a field will read from a value, None where it will refuse it."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() else None
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value == int(value) else None
