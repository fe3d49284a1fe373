"""Which of two arms is better, from runs that differ in nothing else: pairs, their mean, the chance of the better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError, RecordError, SpecError
from scaling.numbers import check_level, shortly
from scaling.records.given import table_given
from scaling.registry import one_begun
from scaling.shown import Shown
from scaling.tables.expression import column_values, missing_column
from scaling.tables.finished import finished, listed

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
CLUSTERS_NEEDED = 2


@dataclass(frozen=True)
class Comparison(Shown):
    """Arm b beside arm a.

    Attributes:
        arms: (a, b).
        difference: mean of log(loss of b / loss of a); negative where b is better.
        low, high: interval of that mean, at `level`.
        level: of the interval.
        scatter: standard deviation of the difference from cluster to cluster.
        chance: probability that b has the lower loss on average over such settings.
        chance_of_one: probability that b has the lower loss in one new setting.
        n_pairs: settings that both arms were trained in.
        n_clusters: independent ones among them.
        unpaired: rows of either arm without a partner.
    """

    arms: tuple[Any, Any]
    difference: float
    low: float
    high: float
    level: float
    scatter: float
    chance: float
    chance_of_one: float
    n_pairs: int
    n_clusters: int
    unpaired: tuple[Any, ...] = ()

    def frame(self) -> pd.DataFrame:
        """One row: the relative difference with its interval, and the chance of the better."""
        import pandas as pd

        change = {name: math.expm1(getattr(self, name)) for name in ("difference", "low", "high")}
        chances = {"chance": self.chance, "chance_of_one": self.chance_of_one, "pairs": self.n_pairs}
        return pd.DataFrame([{"arm": self.arms[1], "against": self.arms[0], **change, **chances}])

    def __str__(self) -> str:
        a, b = self.arms
        return (
            f"{b} against {a}: loss {math.expm1(self.difference):+.2%} [{math.expm1(self.low):+.2%}, "
            f"{math.expm1(self.high):+.2%}] at {self.level:.0%}; P({b} is better) = {self.chance:.3f} on average, "
            f"{self.chance_of_one:.3f} in one new setting ({self.n_pairs} pairs, {self.n_clusters} independent)"
        )


def compare(
    runs: pd.DataFrame,
    arms: tuple[Any, Any],
    *,
    by: str = "teacher",
    pair: Sequence[str] = ("n_params", "n_tokens"),
    loss: str = "loss",
    clusters: str | None = None,
    level: float = 0.9,
) -> Comparison:
    """Compare two arms over the settings that both were trained in.

    >>> compare(runs, ("noise 0.4", "noise 0.2")).chance > 0.99
    True

    Each pair gives delta = log(loss_b / loss_a); what the settings do to both arms drops out. Pairs of one cluster
    share a training and count as one, by their mean. With m clusters of mean delta and scatter s,
    P(b better) = T_{m-1}(-delta √m / s), and of one new setting T_{m-1}(-delta / (s √(1 + 1/m))): the posterior under
    a flat prior on the mean and on log s.

    Args:
        runs: one row a run; unfinished ones are left out.
        arms: two values of `by`: the one in use, then the one proposed.
        by: column that tells the arms apart.
        pair: columns that a pair has in common. Further runs of one arm in a setting (seeds) are averaged.
        loss: column of the loss; positive.
        clusters: column of `pair` whose values group pairs that are not independent. By default the first of `pair`
            (the model size) in a table with a `trunk_id`, whose volumes are branches of one training; else each pair is
            its own.
        level: of the interval.

    Raises:
        RecordError: a column is missing, or a loss is not positive.
        SpecError: two equal arms, or a level outside (0, 1).
        FitError: fewer than two independent pairs.

    **Source:** Student 1908 (paired means); Cameron and Miller 2015 (means of clusters).
    """
    from scipy.special import stdtr, stdtrit

    check_level(level)
    runs = table_given(runs)
    for column in (by, loss, *pair):
        if column not in runs.columns:
            raise RecordError(f"no column {column!r} to compare by: {missing_column(column, list(runs.columns))}")
    runs = runs[finished(runs)[0]]
    arms = _as_called(runs[by], arms)
    cells, unpaired = _cells(runs, arms, by, list(pair), loss)
    delta = (cells["b"] - cells["a"]).to_numpy(float)
    # Cells of one training share its luck: the mean of each counts once.
    means = _cluster_means(delta, cells.reset_index(), clusters or (pair[0] if "trunk_id" in runs.columns else None))
    m = len(means)
    if m < CLUSTERS_NEEDED:
        raise FitError(
            f"{arms[0]!r} and {arms[1]!r} share {len(delta)} settings of {', '.join(pair)}, of which {m} independent: "
            f"a comparison needs {CLUSTERS_NEEDED}; train both at further sizes, or "
            "say what pairs have in common, as --pair n (in Python pair)"
        )
    centre, scatter = float(means.mean()), float(means.std(ddof=1))
    error = max(scatter, 1e-300) / math.sqrt(m)
    reach = float(stdtrit(m - 1, (1 + level) / 2)) * error
    return Comparison(
        arms=arms,
        difference=centre,
        low=centre - reach,
        high=centre + reach,
        level=level,
        scatter=scatter,
        chance=float(stdtr(m - 1, -centre / error)),
        chance_of_one=float(stdtr(m - 1, -centre / (max(scatter, 1e-300) * math.sqrt(1 + 1 / m)))),
        n_pairs=len(delta),
        n_clusters=m,
        unpaired=unpaired,
    )


def _as_called(column: pd.Series, arms: tuple[Any, Any]) -> tuple[Any, Any]:
    """Arms by their whole labels, of which a person may give the beginning."""
    if not (isinstance(arms, tuple | list) and len(arms) == 2):
        raise SpecError(f"arms: got {shortly(arms)}, needed are two values of {column.name}, as ('real', 'noise 0.2')")
    labels = [value for value in column.unique() if isinstance(value, str)]
    first, second = (one_begun(arm, labels) or arm if isinstance(arm, str) else arm for arm in arms)
    if first == second:
        known = listed(repr(value) for value in column.dropna().unique().tolist())
        raise SpecError(f"arms: got {first!r} twice, allowed are two different values of {column.name}: {known}")
    return first, second


def _cells(
    runs: pd.DataFrame, arms: tuple[Any, Any], by: str, pair: list[str], loss: str
) -> tuple[pd.DataFrame, tuple[Any, ...]]:
    """Mean log loss of each arm in every setting that both have, and the rows of settings that one alone has."""
    import pandas as pd

    wanted = runs[runs[by].isin(arms)]
    for arm in arms:
        if not (wanted[by] == arm).any():
            found = listed(repr(value) for value in runs[by].dropna().unique().tolist())
            raise RecordError(f"no finished run has {by} = {arm!r}; there are {found}")
    values = column_values(wanted[loss])
    if values.dtype != float or not (values > 0).all():
        raise RecordError(f"column {loss!r} must be above zero in every row that is compared: clean it, or filter it")
    table = wanted[pair].assign(arm=np.where(wanted[by] == arms[0], "a", "b"), log=np.log(values))
    cells = table.pivot_table(index=pair, columns="arm", values="log", aggfunc="mean")
    both = cells.reindex(columns=["a", "b"]).dropna()
    alone = ~pd.MultiIndex.from_frame(wanted[pair]).isin(pd.MultiIndex.from_frame(both.reset_index()[pair]))
    return both, tuple(wanted.index[alone])


def _cluster_means(delta: Array, cells: pd.DataFrame, column: str | None) -> Array:
    """Mean difference of each cluster of pairs."""
    if column is None or column not in cells:
        return delta
    return cells.assign(delta=delta).groupby(column)["delta"].mean().to_numpy(float)
