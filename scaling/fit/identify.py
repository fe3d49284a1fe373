"""Can these runs determine this law? Levels per axis, confounding of size with data, and which runs to add."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection

import numpy as np

from scaling.tables.observations import Observations

Array = np.ndarray
AXES = {"n": ("model sizes", "N"), "d": ("data volumes", "D")}
LEVELS_NEEDED = 3
"""E + A/N^alpha has three unknowns: two sizes cannot determine it, unless E is known."""
SAME_LEVEL = 0.02
"""Values closer than this in logarithm are one level: a run asked for 80k tokens ends at a whole step, 79,872."""
CONFOUNDED = 0.9975
"""Squared correlation of log n with log d above which the two terms differ by less than their exponents' curvature."""
CONDITION_MAX = 1e6
LEAST_EXPLAINED = 0.05
"""Share by which a law must bring runs nearer than their median does; where losses rise with N and D it brings none."""


def level_codes(values: Array) -> Array:
    """Level of each value of an axis, smallest first: int[n]; one holds what lies within 2 % of its smallest value."""
    ordered, place = np.unique(np.log(values), return_inverse=True)
    starts, at, distinct = [], 0, ordered.tolist()
    while at < len(distinct):
        starts.append(at)
        at = bisect_right(distinct, distinct[at] + SAME_LEVEL)
    return np.searchsorted(starts, place, side="right") - 1


def levels(values: Array) -> int:
    """How many levels an axis has."""
    return int(level_codes(values).max(initial=-1)) + 1


def design_faults(data: Observations, columns: tuple[str, ...], held: Collection[str] = ()) -> list[str]:
    """Sentences on what the design cannot tell, and which runs would; empty if it can. Coefficients in `held` are
    known."""
    faults = []
    needed = LEVELS_NEEDED - ("E" in held)
    for axis in ("n", "d"):
        if axis in columns and (found := levels(data.columns[axis])) < needed:
            what, symbol = AXES[axis]
            faults.append(
                f"Only {found} {what if found > 1 else what[:-1]}: {symbol}'s exponent needs {needed}; "
                f"add runs at {_suggest(data.columns[axis], needed - found)}."
            )
    if not faults and {"n", "d"} <= set(columns):
        faults += _too_few_cells(data, held)
        faults += _confounding(data.columns["n"], data.columns["d"])
    return faults


def misfit_faults(loss: Array, fitted: Array) -> list[str]:
    """A sentence where half of the runs lie as far off a law as off their own median: these losses are not of its N
    and D. Medians, for a single run may be anything."""
    left = np.median(np.abs(np.log(loss / fitted)))
    spread = np.median(np.abs(np.log(loss / np.median(loss))))
    if left < (1 - LEAST_EXPLAINED) * spread:
        return []
    return [
        f"Loss does not fall with N and D in these runs: half of them lie {left:.1%} or more off the law, and "
        f"{spread:.1%} off their median; look whether the columns are the right ones (--map), and the runs comparable."
    ]


def _too_few_cells(data: Observations, held: Collection[str]) -> list[str]:
    """A sum a(n) + b(d) over a grid has levels(n) + levels(d) - 1 degrees of freedom: a constant moves between them."""
    have = levels(data.columns["n"]) + levels(data.columns["d"]) - 1
    need = len({"E", "A", "alpha", "B", "beta"} - set(held))
    if have >= need:
        return []
    return [
        f"A grid of {levels(data.columns['n'])} model sizes and {levels(data.columns['d'])} data volumes tells {have} "
        f"numbers, the law has {need}; add a model size at {_suggest(data.columns['n'], 1)}, or hold an exponent."
    ]


def _confounding(n: Array, d: Array) -> list[str]:
    """Runs along one line D = r N^p cannot separate the two terms."""
    if np.corrcoef(np.log(n), np.log(d))[0, 1] ** 2 < CONFOUNDED:
        return []
    power, _ = np.polyfit(np.log(n), np.log(d), 1)
    ratio = float(np.exp(np.mean(np.log(d / n))))
    line = f"D = {ratio:.3g} N" if abs(power - 1) < 0.05 else f"D in proportion to N^{power:.2f}"
    small, large = float(n.min()), float(n.max())
    return [
        f"Every run has about {line}, so the terms in N and in D cannot be told apart. Add runs off that line: "
        f"N = {small:.3g} at D = {4 * d[n.argmin()]:.3g} and {16 * d[n.argmin()]:.3g}, N = "
        f"{large:.3g} at D = {d[n.argmax()] / 4:.3g}."
    ]


def fit_faults(condition: float, at_bound: tuple[str, ...], names: tuple[str, ...]) -> list[str]:
    """Sentences on what the fit itself shows."""
    faults = []
    if at_bound:
        faults.append(
            f"{', '.join(at_bound)} ended on a bound: the runs do not show that term; use a law without it, "
            "hold it at a known value, or add runs where it matters (longer for E, smaller for a size term)."
        )
    if condition > CONDITION_MAX:
        faults.append(
            f"The coefficients {', '.join(names)} are not identified together (condition number {condition:.2g}): "
            "widen the range of N and D, or choose a law with fewer coefficients."
        )
    return faults


def _suggest(values: Array, count: int) -> str:
    high = float(values.max())
    return " and ".join(f"{high * 4 ** (i + 1):.3g}" for i in range(count))
