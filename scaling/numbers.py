"""Scalars as people write them: YAML 1.2's core schema, and ``10M``, ``2.5B``, ``100k``, ``512MiB``, ``20x``."""

from __future__ import annotations

import re
from typing import Any, overload

from scaling.errors import SpecError

COUNT_SUFFIXES = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
BYTE_SUFFIXES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_WORDS = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}
_INTEGER = re.compile(r"[-+]?\d+(_\d+)*$")
_BASED = re.compile(r"0(o[0-7]+|x[0-9a-fA-F]+)$")
_REAL = re.compile(r"[-+]?(\.\d+|\d+(_\d+)*(\.\d*)?)([eE][-+]?\d+)?$")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_COUNT = re.compile(r"([-+]?(?:\.\d+|\d+(?:_\d+)*(?:\.\d*)?))([kKMBGT])$")
_BYTES = re.compile(r"(\.\d+|\d+(?:_\d+)*(?:\.\d*)?)\s*([kKMG]i?B|B)$")
_RATIO = re.compile(r"(\.\d+|\d+(?:\.\d*)?)x$")
_SHARE = re.compile(r"(\.\d+|\d+(?:\.\d*)?)\s*%$")
_LONGEST_NUMBER = 400


def resolve_scalar(text: str) -> Any:
    """The value of an unquoted YAML scalar: null, bool, int, float, or the text itself.

    YAML 1.2: ``1e-3`` and ``3e8`` are numbers, ``on`` and ``yes`` are text. Beyond it: ``10M`` and ``1_000`` are
    numbers too. A number without a fractional part is an int however it is written, so ``1e5`` may stand for a count.
    """
    if text in _WORDS or len(text) > _LONGEST_NUMBER:
        return _WORDS.get(text, text)
    if _INTEGER.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _SPECIAL.match(text):
        return float(text.replace(".", "", 1))
    if _REAL.match(text):
        return _whole(float(text))
    if match := _COUNT.match(text):
        return _whole(_scaled(match[1], COUNT_SUFFIXES[match[2]]))
    return text


@overload
def count(value: float | str, name: str) -> float: ...
@overload
def count(value: None, name: str) -> None: ...
@overload
def count(value: Any, name: str) -> Any: ...
def count(value: Any, name: str) -> Any:
    """A number, or numbers, of which any may be written as people do: ``1e6``, ``"1M"``, ``["1M", "4M"]``.

    Args:
        value: Numbers and arrays come back as they are.
        name: What it counts, for the message.

    Raises:
        SpecError: text that is no number.
    """
    if isinstance(value, list | tuple):
        return [count(one, name) for one in value]
    if not isinstance(value, str):
        return value
    number = float("inf") if value.strip() == "inf" else resolve_scalar(value.strip())
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise SpecError(f"{name}: got {value!r}, allowed is a number — for example 1e6, 10M, 2.5B, inf")
    return number


def parse_bytes(value: Any) -> Any:
    """Bytes of ``512MiB`` or ``1.5 GB``; anything else comes back as it is, for its reader to judge."""
    match = _BYTES.match(value) if isinstance(value, str) else None
    return round(_scaled(match[1], BYTE_SUFFIXES[match[2]])) if match else value


def parse_share(value: Any) -> Any:
    """0.25 of ``25%``; anything else comes back as it is, for its reader to judge."""
    match = _SHARE.match(value) if isinstance(value, str) else None
    return _scaled(match[1], 1) / 100 if match else value


def check_level(level: float) -> None:
    """Refuse what is no probability of an interval: at none and at certainty it has no ends."""
    if not 0 < level < 1:
        raise SpecError(f"level: got {level:g}, allowed is a probability between 0 and 1 — for example 0.9")


def tokens_per_param(value: Any) -> float | None:
    """20.0 for ``20x``, None for anything else."""
    match = _RATIO.match(value) if isinstance(value, str) else None
    return float(match[1]) if match else None


def _scaled(digits: str, factor: int) -> float:
    # Decimal digits are scaled exactly: 0.1M is 100000, not 100000.00000000001.
    from fractions import Fraction

    product = Fraction(digits.replace("_", "").rstrip(".")) * factor
    return int(product) if product.denominator == 1 else float(product)


def _whole(number: float) -> float:
    return int(number) if abs(number) < 2**53 and number == int(number) else number
