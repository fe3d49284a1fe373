"""In which units a table counts: sizes and volumes in plain numbers, losses in nats/token or bits/byte."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import RecordError
from scaling.tables.expression import as_written, column_values
from scaling.tables.finished import listed

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
SIZE_COLUMNS = {
    "n_params": "parameters without embeddings",
    "n_params_linear": "parameters of linear layers, the output head included",
    "n_params_total": "all parameters",
}
"""The conventions of model size; a law's numbers hold in the one it was fitted in only."""
NATS, BITS = "nats/token", "bits/byte"
PER_BYTE = "bits_per_byte"
"""The column of losses that compare over tokenizers."""
ODDS = "odds"
"""The column of a metric between two bounds, as `scaling.fit.measures.bounded` fits it, and the unit of its fit."""
UNITS = {PER_BYTE: BITS, ODDS: ODDS}
"""Units of columns whose name says that they are not in nats/token."""
SMALLEST_COUNT = 1e3
"""A table half of whose models or data sets are below a thousand counts in millions or billions; the smallest of an
honest one may have 768 parameters."""
LARGEST_SMALL = 1e6
"""Numbers that are all below a million, under a name that says millions, count in those."""
WIDEST_GAP = 1e5
"""Neighbouring sizes further apart than this factor are in different units."""
LARGEST_LOSS = 15.0
"""Nats/token: a uniform guess over three million tokens; no language model is worse."""
LARGEST_PERPLEXITY = 1e9
"""Far beyond the perplexity of a uniform guess; the squares of larger numbers overflow in the doubt of a fit."""
SMALLEST_LOSS = 1.3
"""Nats/token of words or their pieces: half a table below it is rare, while bits/byte run from 0.6 to 1.3."""
LARGEST_ALPHABET = 512
"""Tokens of so few kinds are bytes or symbols, of which a nat or less is usual."""
SAME = 1e-3
_FACTORS = {"k": "1e3", "m": "1e6", "b": "1e9", "g": "1e9", "t": "1e12"}
_WORD = re.compile(r"(?P<unit>million|billion|trillion|mln|bln)", re.IGNORECASE)
_LETTER = re.compile(r"(?:[^A-Za-z0-9]|(?<=[a-z]))(?P<unit>[kKMBGT])[^A-Za-z0-9]*$")
"""The last letter of a name that has more of them."""
_PERPLEXITY = re.compile(r"(^|[^a-z])(ppl|perplexity)([^a-z]|$)", re.IGNORECASE)
_BITS = re.compile(r"(^|[^a-z])(bits?|bpb|bpc|bits_per_\w+)([^a-z]|$)", re.IGNORECASE)


def size_column(columns: Collection[str]) -> str:
    """The column of model size that a table has: the first of `SIZE_COLUMNS`."""
    return next((name for name in SIZE_COLUMNS if name in columns), "n_params")


def one_unit(runs: pd.DataFrame, column: str, values: Array, unit: str) -> None:
    """Sizes in millions or billions, or a mix of units, are told by their magnitude.

    Raises:
        RecordError: with what to write instead.
    """
    if (middle := float(np.median(values))) < SMALLEST_COUNT:
        raise RecordError(
            f"column {column!r} goes from {values.min():g} to {values.max():g} {unit}, half of it below {middle:.4g}: "
            f"it seems to count in thousands, millions or billions; give plain {unit}, {_in_plain(runs, column)}"
        )
    ordered = np.unique(values)
    gaps = ordered[1:] / ordered[:-1]
    if len(gaps) and gaps.max() > WIDEST_GAP:
        edge = ordered[gaps.argmax()]
        raise RecordError(
            f"column {column!r} mixes units: {unit} jump from {edge:g} to {ordered[gaps.argmax() + 1]:g}; "
            f"rows {listed(runs.index[values <= edge])} look as if they counted in other units"
        )


def size_notes(runs: pd.DataFrame, column: str, values: Array, unit: str) -> list[str]:
    """Signs that sizes are in millions or billions which are too large to be refused: the column's name, or a few of
    its values."""
    factor = _factor_in(column) if column in runs.columns else None
    low, high = float(values.min()), float(values.max())
    if high >= LARGEST_SMALL or (factor is None and low >= SMALLEST_COUNT):
        return []
    sign = f"goes from {low:g} to {high:g}" + (f" and is named as if it counted in {factor}" if factor else "")
    return [f"column {column!r} {sign}: if these are no plain {unit}, give such, {_in_plain(runs, column)}"]


def _in_plain(runs: pd.DataFrame, column: str) -> str:
    """What to write for plain numbers, after what the name says that it counts in."""
    written, factor = as_written(column, runs.columns), _factor_in(column)
    return f"as '{written} * {factor}'" if factor else f"as '{written} * 1e6' or '{written} * 1e9'"


def _factor_in(column: str) -> str | None:
    """1e6 of a name as ``params_M``, ``Size (M)`` or ``millions of tokens``; None of one that says no unit."""
    if found := _WORD.search(column) or _LETTER.search(column):
        return _FACTORS[found["unit"][0].lower()]
    return None


def loss_unit(column: str) -> str:
    """The unit of the losses of a column, of whatever is fitted to them, and of its forecasts."""
    return UNITS.get(column, NATS)


def likely_loss(column: str, loss: Array) -> Array:
    """The same losses: numbers of which most are larger than any perplexity are something else, as FLOPs.

    Raises:
        RecordError: with their column.
    """
    middle = float(np.median(np.nan_to_num(loss, nan=0.0)))
    if middle > LARGEST_PERPLEXITY:
        raise RecordError(
            f"column {column!r} holds numbers about {middle:.3g}, which are no losses in any unit: name "
            "that of the losses with --map loss=COLUMN (in Python loss=...)"
        )
    return loss


def loss_notes(runs: pd.DataFrame, column: str, loss: Array) -> list[str]:
    """Signs that a loss is not in nats/token: its name, its size, or another column that says the same in other units.

    A law fits any unit equally well, so nothing is refused; but exponents and floors of perplexities mean nothing, and
    a target in nats compared with bits is wrong by 44 %. Bits/token that stand alone under the name of a loss cannot be
    told: 3.2 is a usual loss in both.
    """
    if column in UNITS:
        return []
    # Only a column whose name says another unit can tell: the others are not read.
    telling = [name for name in runs.columns if _PERPLEXITY.search(str(name)) or _BITS.search(str(name))]
    others = {str(name): column_values(runs[name]) for name in telling if str(name) != column}
    equal = [name for name, values in others.items() if _equal(values, loss)]
    perplexity = [name for name in (column, *equal) if _PERPLEXITY.search(name)]
    bits = [name for name in (column, *equal) if _BITS.search(name) and not _PERPLEXITY.search(name)]
    # The perplexity of the same text tells the unit of a loss beside it.
    bits += [
        f"log2 of {name}" for name, values in others.items() if _PERPLEXITY.search(name) and _is_log2(values, loss)
    ]
    written = as_written(column, runs.columns)
    if perplexity or np.median(loss) > LARGEST_LOSS:
        sign = f"it is {perplexity[0]}" if perplexity else f"half of it lies above {np.median(loss):.4g}"
        quoted = shlex.quote(f"loss=log({written})")
        return [f"column {column!r} seems to hold perplexities ({sign}), not nats/token: --map {quoted}"]
    if bits:
        return [
            f"column {column!r} seems to be in bits ({bits[0]}), not nats/token: for bits per token "
            f"--map {shlex.quote(f'loss={written}*0.693147')}; bits per byte are the unit of every loss and target "
            "of this fit"
        ]
    return _of_vocabularies(runs, column) or _too_low(runs, column, loss) or _beyond_vocabulary(runs, column, loss)


def _of_vocabularies(runs: pd.DataFrame, column: str) -> list[str]:
    """Losses of a token, where a token is not the same in all rows; a law that is told the vocabulary maps its own."""
    kinds = column_values(runs["vocab_size"]) if column == "loss" and "vocab_size" in runs.columns else np.empty(0)
    if kinds.dtype == object or len(kinds := np.unique(kinds[np.isfinite(kinds)])) < 2:
        return []
    sizes = listed(f"{kind:,.0f}" for kind in kinds)
    return [
        f"column {column!r} is of tokens of {len(kinds)} vocabularies ({sizes}), which do not compare: keep "
        f"one with --where 'vocab_size == {kinds[0]:.0f}' (fit.where of a sweep), or map loss={PER_BYTE} (fit.loss)"
    ]


def _too_low(runs: pd.DataFrame, column: str, loss: Array) -> list[str]:
    """Losses as low as bits/byte, of tokens that are not known to be bytes."""
    kinds = column_values(runs["vocab_size"]) if "vocab_size" in runs.columns else np.empty(0)
    of_bytes = kinds.dtype != object and bool((kinds <= LARGEST_ALPHABET).any())
    if of_bytes or (middle := float(np.median(loss))) >= SMALLEST_LOSS:
        return []
    return [
        f"column {column!r} is low for nats/token (half of it lies below {middle:.4g}): is it bits/byte, or of tokens "
        "that are bytes? Then these are the unit of every loss and target of this fit"
    ]


def _beyond_vocabulary(runs: pd.DataFrame, column: str, loss: Array) -> list[str]:
    """Rows that a uniform guess over the vocabulary would beat."""
    if "vocab_size" not in runs.columns:
        return []
    sizes = column_values(runs["vocab_size"])
    if sizes.dtype == object or not (worse := loss > np.log(np.maximum(sizes, 2))).any():
        return []
    rows = listed(f"row {row}: {value:.4g}" for row, value in zip(runs.index[worse], loss[worse], strict=True))
    return [
        f"column {column!r} is above the logarithm of the vocabulary ({rows}), which a uniform guess reaches: these "
        "runs diverged, or the loss is not in nats/token; leave them out with --where, or map the loss"
    ]


def _equal(values: Array, loss: Array) -> bool:
    with np.errstate(invalid="ignore"):
        return values.dtype == float and bool((np.abs(values - loss) <= SAME * np.abs(loss)).all())


def _is_log2(values: Array, loss: Array) -> bool:
    return values.dtype == float and bool((values > 1).all()) and _equal(np.log2(np.maximum(values, 1.1)), loss)
