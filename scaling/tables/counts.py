"""Columns of numbers as people write them: ``70M``, ``1.5B``, ``44,000,000``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from scaling.numbers import number_in

Array = np.ndarray

_THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}(,\d{3})+(\.\d+)?\s*$")
_SEVERAL = re.compile(r"\s*[-+]?\d{1,3}(,\d{3}){2,}(\.\d+)?\s*$")


def counts(values: Sequence[Any]) -> Array:
    """Texts and numbers as numbers: float64, not a number where a value is missing or says none.

    Commas are taken for those between thousands where a value has two of them: 3,145 alone may be a little over three.
    """
    grouped = any(isinstance(value, str) and _SEVERAL.match(value) for value in values)
    return np.array([_number(value, grouped) for value in values], np.float64)


def all_counts(values: Iterable[Any]) -> Array | None:
    """The same of a column of texts; None where one of them says no number."""
    values = list(values)
    found = counts(values)
    said = np.array([value is not None for value in values], bool)
    return found if said.any() and np.isfinite(found[said]).all() else None


def _number(value: Any, grouped: bool) -> float:
    """What a cell says."""
    if value is None or not isinstance(value, str):
        return math.nan if value is None else float(value)
    text = value.replace(",", "") if grouped and _THOUSANDS.match(value) else value
    number = number_in(text)
    return math.nan if number is None else float(number)
