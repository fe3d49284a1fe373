"""Columns of words: which text each run read, whose run it is; under our own names or those of a foreign table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scaling.tables.expression import as_written
from scaling.tables.finished import listed
from scaling.tables.observations import REAL
from scaling.tables.read import map_columns
from scaling.tables.roles import OF_A_TABLE

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
MOST_KINDS = 20
"""A column of more words than this names runs, not what they read."""
FEW_REPEATS = 6
"""Runs of a size and volume that others have too, below which a column of words explains their losses by chance."""
SMALLEST = 1e-9
"""Nats/token, below which no logarithm is taken."""
MOST_OF_IT = 0.7
"""Share of the differences between such runs that a column must explain to be worth a note."""


def named_labels(runs: pd.DataFrame, columns: Mapping[str, str]) -> tuple[pd.DataFrame, dict[str, str], dict[str, str]]:
    """The table with its mapped columns under our names; those columns; and the others, which a law reads."""
    words = {name: column for name, column in columns.items() if name in OF_A_TABLE}
    numbers = {name: column for name, column in columns.items() if name not in words}
    return map_columns(runs, words), words, numbers


def label_notes(runs: pd.DataFrame, numbers: Mapping[str, Array], loss: Array, teachers: Sequence[str]) -> list[str]:
    """What a reader should know of how texts are named: of labels that look like another, and of labels not used."""
    return _real_by_another_name(teachers) + _not_named(runs, numbers, loss)


def _real_by_another_name(teachers: Sequence[str]) -> list[str]:
    """A note on labels that somebody may take for that of real text."""
    alike = [label for label in teachers if label != REAL and label.lower() == REAL]
    return [f"the text {label!r} counts as a teacher's: real text is written {REAL!r}" for label in alike]


def _not_named(runs: pd.DataFrame, numbers: Mapping[str, Array], loss: Array) -> list[str]:
    """Columns of words that tell apart the losses of one size and volume, in a table that names no texts.

    A fit would take what such runs differ by for the scatter of one run, and the average of the texts for one text.
    """
    if {"teacher", "text_id"} & set(runs.columns) or not {"n", "d"} <= set(numbers):
        return []
    setting = np.unique(np.stack([numbers["n"], numbers["d"]]), axis=1, return_inverse=True)[1].ravel()
    off = _off_mean(np.log(np.maximum(loss, SMALLEST)), setting)
    if len(setting) - len(np.unique(setting)) < FEW_REPEATS or not off.any():
        return []
    return [_note(name, words) for name, words in _words(runs).items() if _explained(off, words) > MOST_OF_IT]


def _note(name: str, words: Array) -> str:
    text = shlex.quote(f"teacher={as_written(name, [name])}")
    return (
        f"runs of one N and D differ in loss with column {name!r} ({listed(sorted(set(words)))}), which this fit takes "
        "for chance: if it says what was read (not what losses were measured on), map it with --map "
        f"{text} (in Python columns={{'teacher': {name!r}}}); if not, keep one kind with --where"
    )


def _explained(off: Array, words: Array) -> float:
    """Share of squared differences that the means of each word account for."""
    return 1 - float(np.sum(_off_mean(off, np.unique(words, return_inverse=True)[1]) ** 2) / np.sum(off**2))


def _words(runs: pd.DataFrame) -> dict[str, Array]:
    """The columns of a few words that recur."""
    found = {}
    for name, column in runs.items():
        if column.dtype.kind in "OU" or str(column.dtype).startswith("str"):
            words = column.astype(object).where(column.notna(), "").astype(str).to_numpy(object)
            if 1 < len(set(words)) <= min(MOST_KINDS, len(words) // 2):
                found[str(name)] = words
    return found


def _off_mean(values: Array, group: Array) -> Array:
    """What is left of values where the mean of their group is taken off."""
    return values - (np.bincount(group, values) / np.maximum(np.bincount(group), 1))[group]
