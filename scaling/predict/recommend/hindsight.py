"""How good the recommendation of a sweep would have been for sizes that it had not trained: its regret.

The largest size of a table is left out and the rest is fitted. Of the left-out runs, each target between their losses
is asked for: the fit recommends the cheapest of them that meets it as surely as was asked, and what was measured says
which one it should have been.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import RecordError, SpecError
from scaling.fit.backtest import backtest
from scaling.tables.observe import observe, observed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One target that was asked for.

    Attributes:
        text: Whose runs were chosen from.
        target: Loss that would do.
        chosen_flops: Of the run that the fit recommends; None where it recommends none.
        best_flops: Of the cheapest run that was measured to meet the target; None where none does.
        met: True if the recommended run meets the target; None without one.
    """

    text: str
    target: float
    chosen_flops: float | None
    best_flops: float | None
    met: bool | None

    @property
    def regret(self) -> float | None:
        """FLOPs spent beyond the best choice, as a share of it; None where either is missing or the target missed."""
        if self.chosen_flops is None or self.best_flops is None or not self.met:
            return None
        return self.chosen_flops / self.best_flops - 1


@dataclass(frozen=True, kw_only=True)
class Hindsight:
    """Recommendations among left-out runs, beside what was measured of them.

    Attributes:
        left_out: The size that was left out, in the table's convention.
        probability: As surely as targets were to be met.
        choices: One a text and target.
    """

    left_out: float
    probability: float
    choices: tuple[Choice, ...]

    @property
    def met(self) -> float:
        """Share of recommended runs that meet their target; to be compared with ``probability``."""
        asked = [one.met for one in self.choices if one.met is not None]
        return float(np.mean(asked)) if asked else math.nan

    @property
    def right(self) -> float:
        """Share of targets for which the recommended run is the best one, or none is and none was recommended."""
        return float(np.mean([one.chosen_flops == one.best_flops for one in self.choices]))

    @property
    def regret(self) -> float:
        """Mean share of FLOPs spent beyond the best choice, where the target was met."""
        known = [one.regret for one in self.choices if one.regret is not None]
        return float(np.mean(known)) if known else math.nan

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        numbers: Mapping[str, float | None] = {
            "left_out": self.left_out,
            "probability": self.probability,
            "met": self.met,
            "right": self.right,
            "regret": self.regret,
        }
        return {**numbers, "choices": [vars(one) | {"regret": one.regret} for one in self.choices]}


def hindsight(
    runs: pd.DataFrame, *, probability: float = 0.9, n: str = "n_params", d: str = "n_tokens", **options: Any
) -> Hindsight:
    """Leave the largest size out, recommend among its runs, and compare with what was measured of them.

    Args:
        runs: A runs table.
        probability: Least P(loss ≤ target) of a recommended run.
        n, d: Columns of size and volume.
        **options: Of `scaling.fit.backtest.backtest`, as ``law`` and ``loss``.

    Raises:
        RecordError: fewer than three sizes.
        SpecError: no probability.
        FitError: the smaller runs do not determine the law.
    """
    if not 0 < probability < 1:
        raise SpecError(f"--decision: got {probability:g}, allowed is a probability between 0 and 1 — for example 0.9")
    runs = runs if runs.index.is_unique else runs.reset_index(drop=True)
    # Only what a fit would use was measured of a size: no failed run, no checkpoint, none from another's weights.
    named = {"n": n, "d": d} | ({"loss": options["loss"]} if "loss" in options else {})
    done = observed(runs, observe(runs, columns=named, clusters=None))
    sizes = sorted(set(done[n]))
    if len(sizes) < 3:
        raise RecordError(f"a recommendation is checked on a size left out of three or more, got {len(sizes)} of {n}")
    held = done[done[n] == sizes[-1]]
    found = backtest(done, test=f"{n} >= {sizes[-1]!r}", n=n, d=d, **options)
    losses = {row["row"]: row["measured"] for row in found.rows}
    # Every text is asked about by itself, for its runs alone compare.
    choices: list[Choice] = []
    for text, rows in held.groupby("text_id" if "text_id" in held else np.zeros(len(held))):
        cheapest = rows.sort_values(d)
        label = str(cheapest["teacher"].iloc[0]) if "teacher" in cheapest else "real"
        known = {"teacher": text} if text in found.fit.texts else ({"teacher": label} if found.fit.teachers else {})
        at = _Offered(
            text=label,
            n=cheapest[n].to_numpy(float),
            d=cheapest[d].to_numpy(float),
            measured=np.array([losses[row] for row in cheapest.index]),
        )
        choices += [
            at.choice(target, found.fit.probability(target, at.n, at.d, force=True, **known), probability)
            for target in at.targets()
        ]
    return Hindsight(left_out=float(sizes[-1]), probability=probability, choices=tuple(choices))


@dataclass(frozen=True, kw_only=True)
class _Offered:
    """Left-out runs of one text, fewest tokens first: float64[n_runs] each."""

    text: str
    n: np.ndarray
    d: np.ndarray
    measured: np.ndarray

    def targets(self) -> tuple[float, ...]:
        """Between neighbouring losses and a little beyond both ends: every target that the runs tell apart."""
        ordered = np.sort(self.measured)
        return (float(ordered[0] * 0.995), *map(float, (ordered[1:] + ordered[:-1]) / 2), float(ordered[-1] * 1.005))

    def choice(self, target: float, chance: np.ndarray, probability: float) -> Choice:
        """What is recommended by its chances, beside what would have done."""
        flops = 6.0 * self.n * self.d
        sure, meets = np.flatnonzero(chance >= probability), np.flatnonzero(self.measured <= target)
        return Choice(
            text=self.text,
            target=target,
            chosen_flops=float(flops[sure[0]]) if len(sure) else None,
            best_flops=float(flops[meets[0]]) if len(meets) else None,
            met=bool(self.measured[sure[0]] <= target) if len(sure) else None,
        )
