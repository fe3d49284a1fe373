"""Scalars as people write them: YAML 1.2's core schema, and ``10M``, ``2.5B``, ``100k``, ``512MiB``, ``20x``.

And numbers, bytes and times as people read them.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from numbers import Real
from typing import Any, overload

from scaling.errors import SpecError

COUNT_SUFFIXES = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
BYTE_SUFFIXES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
BYTE_SUFFIXES |= {"kiB": 2**10, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

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
_BYTES = re.compile(rf"(\.\d+|\d+(?:_\d+)*(?:\.\d*)?)\s*({'|'.join(BYTE_SUFFIXES)})$")
_RATIO = re.compile(r"(\.\d+|\d+(?:\.\d*)?)x$")
_SHARE = re.compile(r"(\.\d+|\d+(?:\.\d*)?)\s*%$")
_LONGEST_NUMBER = 400
_SHORT = 60
_THOUSANDS = [(10**0, ""), *((COUNT_SUFFIXES[suffix], suffix) for suffix in "kMBT")]
_BINARY = [(BYTE_SUFFIXES[unit], f" {unit}") for unit in ("B", "KiB", "MiB", "GiB")]


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
        value: Numbers and arrays of them come back as they are, NumPy's numbers as Python's: those of 64 bits wrap.
        name: What it counts, for the message.

    Raises:
        SpecError: text that is no number.
    """
    if isinstance(value, list | tuple):
        return [count(one, name) for one in value]
    # By its dtype, for this room loads no NumPy; arrays of text or of objects are read as lists are.
    if (dtype := getattr(value, "dtype", None)) is not None and (value.ndim == 0 or dtype.kind not in "biuf"):
        return count(value.tolist(), name)
    if not isinstance(value, str):
        return value
    if (number := number_in(value)) is None:
        raise SpecError(f"{name}: got {value!r}, allowed is a number — for example 1e6, 10M, 2.5B, inf")
    return number


def number_in(text: str) -> float | None:
    """The number that a text is, ``inf`` included; None where it is none, or one that no float holds."""
    said = text.strip()
    value = math.inf if said.lower() == "inf" else resolve_scalar(said)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # 1e400 is a slip of the pen, not the infinity that a float makes of it.
    too_large = abs(value) > sys.float_info.max and "inf" not in said.lower()
    return None if too_large else value


def positive(text: str, name: str, *, example: str = "1e6, 10M, 2.5B or inf") -> float:
    """``1e6``, ``10M``, ``inf`` as a number above zero.

    Args:
        text: As it was written.
        name: What it is, for the message.
        example: Of what is meant, likewise.

    Raises:
        SpecError: it is none.
    """
    value = number_in(text)
    if value is None or not value > 0:
        raise SpecError(f"{name}: got {text!r}, allowed is a positive number — for example {example}")
    return float(value)


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
    if not (is_number(level) and 0 < level < 1):
        raise SpecError(f"level: got {shortly(level)}, allowed is a probability between 0 and 1 — for example 0.9")


def one_number(value: Any, name: str, *, example: str = "1e6, 10M, 2.5B, inf") -> float:
    """One number, which may be written as people do.

    Args:
        value: Python's, NumPy's, or text.
        name: What it is, for the message.
        example: Of what is meant, likewise.

    Raises:
        SpecError: it is none, several, or something else.
    """
    read: Any = value if value is None else count(value, name)
    if not is_number(read):
        raise SpecError(f"{name}: got {shortly(value)}, allowed is one number — for example {example}")
    number: float = read
    return number


def is_number(value: Any) -> bool:
    """Whether a value is one number, NumPy's included; True is none, though Python counts with it."""
    return isinstance(value, Real) and not isinstance(value, bool)


def shortly(value: Any) -> str:
    """What was got, for a message: a number as people read it, anything else as Python writes it, cut where it is long;
    a thing that is no text, number or list by its kind."""
    if is_number(value):
        return f"{value:g}"
    if value is None or isinstance(value, bool | str | bytes | list | tuple | dict):
        said = repr(value)
        return said if len(said) <= _SHORT else f"{said[: _SHORT - 1]}…"
    kind = type(value).__name__
    return f"an {kind}" if kind[:1] in "AEIOUaeiou" else f"a {kind}"


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


def number(value: float, *, digits: int = 4) -> str:
    """12300000 as 12.3M: so many significant digits, and a letter for thousands, up to a thousand of the largest."""
    if not math.isfinite(value):
        return _not_finite(value)
    said = _in_units(value, _THOUSANDS, 1000, digits)
    return f"{value:.{digits}g}" if said is None else said


def size(n_bytes: float) -> str:
    """Bytes in binary units, to four digits; whole ones below 1 KiB."""
    if not math.isfinite(n_bytes):
        return _not_finite(n_bytes)
    # A byte is not cut: what is less than half of one is none.
    whole = n_bytes if abs(n_bytes) >= 1024 else round(n_bytes)
    said = _in_units(whole, _BINARY, 1024, 4)
    return f"{n_bytes / _BINARY[-1][0]:,.0f}{_BINARY[-1][1]}" if said is None else said


def duration(seconds: float) -> str:
    """A time to about three digits: ``12 ms``, ``12.9 s``, ``4 min 46 s``, ``45 min``, ``2 h 5 min``, ``3 d 4 h``."""
    if not math.isfinite(seconds):
        return _not_finite(seconds)
    # Each unit is left where its rounded number would be one of the next.
    if 0 < seconds < 0.0995:
        return f"{1e3 * seconds:.2g} ms"
    if round(seconds, 1) < 90:
        return f"{round(seconds, 1):g} s"
    if round(seconds) < 600:
        return _two(round(seconds), 60, "min", "s")
    if round(seconds / 60) < 48 * 60:
        return _two(round(seconds / 60), 60, "h", "min")
    return _two(round(seconds / 3600), 24, "d", "h")


def _two(count: int, each: int, large: str, small: str) -> str:
    """125 minutes as 2 h 5 min; a part that is zero is left out."""
    parts = zip(divmod(count, each), (large, small), strict=True)
    return " ".join(f"{part} {unit}" for part, unit in parts if part)


def _in_units(value: float, units: Sequence[tuple[int, str]], step: int, digits: int) -> str | None:
    """A value in the least unit of which, rounded, it is less than a step; None where it is more of the largest."""
    magnitude, sign = abs(value), "-" if value < 0 else ""
    for factor, unit in units:
        if float(said := f"{magnitude / factor:.{digits}g}") < step:
            return f"{sign}{said}{unit}"
        # What is rounded up to a step is one of the next unit: 1023.99 KiB is 1 MiB.
        magnitude = max(magnitude, step * factor)
    return None


def _not_finite(value: float) -> str:
    return "not identified" if math.isnan(value) else "∞" if value > 0 else "-∞"
