"""What a saved fit may hold, told value by value: a description that checks, and says where a value is wrong.

A check takes a plain JSON value and the path to it, and raises `Damage` unless the value is what it describes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Check = Callable[[Any, str], None]
LARGEST_COUNT = 10**12


class Damage(ValueError):
    """A value of a file that cannot be what was written."""


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """A finite number inside [low, high]."""

    def check(value: Any, at: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Damage(f"{at}: got {_short(value)}, allowed is a finite number")
        if not low <= value <= high:
            raise Damage(f"{at}: got {value:g}, allowed is {low:g} to {high:g}")

    return check


def count(low: int = 0) -> Check:
    """A whole number from `low` on."""

    def check(value: Any, at: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= LARGEST_COUNT:
            raise Damage(f"{at}: got {_short(value)}, allowed is a whole number from {low} on")

    return check


def text(value: Any, at: str) -> None:
    """A string."""
    if not isinstance(value, str):
        raise Damage(f"{at}: got {_short(value)}, allowed is text")


def truth(value: Any, at: str) -> None:
    """true or false."""
    if not isinstance(value, bool):
        raise Damage(f"{at}: got {_short(value)}, allowed is true or false")


def one_of(*values: Any) -> Check:
    """One of the values named."""

    def check(value: Any, at: str) -> None:
        # A list is no member of anything, and True is not 1.
        if not any(type(value) is type(allowed) and value == allowed for allowed in values):
            raise Damage(f"{at}: got {_short(value)}, allowed are {', '.join(map(repr, values))}")

    return check


def or_null(inner: Check) -> Check:
    """The value, or null where there is none."""

    def check(value: Any, at: str) -> None:
        if value is not None:
            inner(value, at)

    return check


def or_empty(inner: Check) -> Check:
    """The value, or an empty object where there is none."""

    def check(value: Any, at: str) -> None:
        if value != {}:
            inner(value, at)

    return check


def scalar(value: Any, at: str) -> None:
    """Text, a finite number, true, false or null."""
    if isinstance(value, list | dict) or (isinstance(value, float) and not math.isfinite(value)):
        raise Damage(f"{at}: got {_short(value)}, allowed is text, a finite number, true, false or null")


def list_of(inner: Check, least: int = 0, most: int | None = None) -> Check:
    """A list, every item of which is checked."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, list) or len(value) < least or (most is not None and len(value) > most):
            size = f"{least} to {most} items" if most is not None else f"{least} items or more"
            raise Damage(f"{at}: got {_short(value)}, allowed is a list of {size}")
        for i, item in enumerate(value):
            inner(item, f"{at}[{i}]")

    return check


def matrix(value: Any, at: str) -> None:
    """Rows of equal length, of finite numbers; checked at once, for replicates are thousands."""
    if not isinstance(value, list):
        raise Damage(f"{at}: got {_short(value)}, allowed is a list of rows")
    try:
        found = np.array(value)
    except (ValueError, OverflowError):
        found = np.array("")
    if value and not (found.ndim == 2 and found.dtype.kind in "if" and np.isfinite(found).all()):
        raise Damage(f"{at}: allowed are rows of equal length, of finite numbers")


def square_of(inner: Check) -> Check:
    """As many rows as there are columns."""

    def check(value: Any, at: str) -> None:
        list_of(list_of(inner, least=len(value), most=len(value)) if isinstance(value, list) else inner)(value, at)

    return check


def mapping_of(inner: Check) -> Check:
    """An object with any names, every value of which is checked."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict):
            raise Damage(f"{at}: got {_short(value)}, allowed is an object")
        for key, item in value.items():
            inner(item, f"{at}.{key}")

    return check


def record(needed: dict[str, Check], **optional: Check) -> Check:
    """An object with these names: all that are needed, and no others."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict):
            raise Damage(f"{at}: got {_short(value)}, allowed is an object")
        absent = needed.keys() - value.keys()
        unknown = value.keys() - needed.keys() - optional.keys()
        if absent or unknown:
            wrong = f"has no {', '.join(sorted(absent))}" if absent else f"has unknown {', '.join(sorted(unknown))}"
            raise Damage(f"{at}: {wrong}; allowed are {', '.join([*needed, *optional])}")
        for key, item in value.items():
            (needed.get(key) or optional[key])(item, f"{at}.{key}")

    return check


def _short(value: Any) -> str:
    found = repr(value)
    return found if len(found) <= 60 else found[:57] + "..."
