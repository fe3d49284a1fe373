"""Any result as plain JSON values."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import singledispatch
from pathlib import Path
from typing import Any


@singledispatch
def plain(value: Any) -> Any:
    """Dataclasses, specifications, arrays and paths as dicts, lists, numbers and strings.

    JSON has no infinity: ±inf becomes the string ``"inf"`` or ``"-inf"``, NaN becomes null. A result that knows its own
    JSON (a plan) is asked for it; the room of a result that has a file format registers how it is said (a fit).
    """
    if hasattr(value, "to_json"):
        told = value.to_json()
        return plain(json.loads(told) if isinstance(told, str) else told)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return _one(value)


def _one(value: Any) -> Any:
    """A single value."""
    if isinstance(value, float):
        return _finite(value)
    return str(value) if isinstance(value, Path) else value


def to_json(value: Any) -> str:
    """A result as the JSON text that ``--json`` prints."""
    return json.dumps(plain(value), indent=1, allow_nan=False)


def _finite(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value
