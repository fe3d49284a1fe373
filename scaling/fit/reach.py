"""How far beyond its runs a fit may be asked: further it warns, refuses, or answers when forced."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np

from scaling.errors import ExtrapolationError, ExtrapolationWarning
from scaling.fit.identify import SAME_LEVEL
from scaling.fit.prediction import Points
from scaling.tables.observations import DELTAS

MAX_REACH = 10.0
"""A forecast more than this factor beyond the runs behind a fit is refused unless forced: a law seen over one
or two decades says nothing certain about the third (Choshen et al. 2025 and every backtest: error grows with reach)."""

INSIDE = math.exp(SAME_LEVEL)
"""Factor within which two sizes or volumes are of one level: so far beyond the runs a forecast is still inside them."""

Ranges = Mapping[str, tuple[float, float]]
Texts = Mapping[str, Mapping[str, float]]


def farthest(at: Points, ranges: Ranges, teachers: Texts) -> float:
    """Largest factor by which a point exceeds the runs in a finite size or volume, or the divergence of their texts.

    An infinite N or D asks for a limit of the law, which is not a claim about a run.
    """
    beyond = [at.reach(axis, *ends) for axis, ends in ranges.items() if axis in at.columns]
    factors = [float(np.max(factor, where=np.isfinite(factor), initial=1.0)) for factor in beyond]
    return max([1.0, *factors, *(_beyond_texts(at, name, teachers) for name in DELTAS)])


def _beyond_texts(at: Points, name: str, teachers: Texts) -> float:
    """Factor by which a divergence exceeds the largest one of the fit's texts; infinite where none has any."""
    asked, largest = _divergences(at, name, teachers)
    if asked <= largest or asked == 0:
        return 1.0
    return asked / largest if largest > 0 else math.inf


def _divergences(at: Points, name: str, teachers: Texts) -> tuple[float, float]:
    """The largest that is asked about, and the largest of the fit's texts."""
    asked = float(np.max(at.columns[name], initial=0.0)) if name in at.columns else 0.0
    return asked, max((known.get(name, 0.0) for known in teachers.values()), default=0.0)


def mind_reach(at: Points, ranges: Ranges, teachers: Texts, *, identified: bool, force: bool | None) -> None:
    """Warn of, or refuse, what lies more than `MAX_REACH` beyond the runs, or beyond them at all, unidentified.

    Args:
        at: where a forecast is asked.
        ranges: of the runs.
        teachers: what is known of their texts.
        identified: False for a law whose floor its runs do not show, which says nothing beyond them.
        force: True says nothing, None warns, False refuses.

    Raises:
        ExtrapolationError: without `force`.
    """
    told = None if force else _too_far(at, ranges, teachers, identified)
    if told is None:
        return
    if force is None:
        # Level 3 is whoever called the fit's method, so that a notebook shows the line that asked.
        warnings.warn(told, ExtrapolationWarning, stacklevel=3)
    else:
        raise ExtrapolationError(told)


def _too_far(at: Points, ranges: Ranges, teachers: Texts, identified: bool) -> str | None:
    reach = farthest(at, ranges, teachers)
    # A limit is no claim about a run, but it is the floor that it asks for.
    if not identified and (reach > INSIDE or any(np.isinf(values).any() for values in _sizes(at).values())):
        return _UNIDENTIFIED.format(ranges=in_words(ranges))
    if reach <= MAX_REACH:
        return None
    # What lies so far is named: sizes, or the divergence of a text.
    asked = ", ".join(f"{axis.upper()} = {_span(values)}" for axis, values in _sizes(at).items()) + " on this text"
    within = in_words(ranges)
    for name in DELTAS:
        if _beyond_texts(at, name, teachers) == reach:
            divergence, largest = _divergences(at, name, teachers)
            if largest == 0:
                return _NONE.format(asked=f"{name} = {divergence:.3g}")
            asked, within = f"{name} = {divergence:.3g}", f"{name} up to {largest:.3g}"
    return far(asked, reach, within)


def far(what: str, reach: float, within: str) -> str:
    """The sentence that refuses what lies more than `MAX_REACH` beyond the runs.

    Args:
        what: is asked about.
        reach: how far beyond them it lies.
        within: what the runs span, in words.
    """
    return (
        f"{what} lies {reach:.3g}× beyond the runs behind this fit ({within}); at most {MAX_REACH:g}× is trusted — "
        "train nearer runs, or repeat with --force (in Python force=True)"
    )


_UNIDENTIFIED = (
    "the runs behind this fit do not determine its floor, so it forecasts inside them only ({ranges}) — add runs, hold "
    "the floor (scaling fit … --held E=…), or repeat with --force (in Python force=True)"
)
_NONE = (
    "{asked}: no text behind this fit has any, so it says nothing of it — add runs of such a text, or repeat with "
    "--force (in Python force=True)"
)


def _sizes(at: Points) -> Mapping[str, np.ndarray]:
    return {axis: at.columns[axis] for axis in ("n", "d") if axis in at.columns}


def in_words(ranges: Ranges) -> str:
    """The ranges of the runs, as "N from 1e+06 to 1e+09"."""
    return ", ".join(f"{name.upper()} from {low:.3g} to {high:.3g}" for name, (low, high) in ranges.items())


def _span(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
