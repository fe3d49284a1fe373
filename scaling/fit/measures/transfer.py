"""What a text read before is worth, in tokens of the text that is learned: effective data transferred, and its law.

A student that goes on from other weights reaches with ``D_F`` tokens a loss for which one of random weights needs
``D_E``. What was transferred is ``D_T = D_E − D_F``, negative where the student would do better without.

**Source:** Hernandez et al. 2021, arXiv 2102.01293.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scaling.errors import FitError, RecordError
from scaling.fit.tuning.critical_batch import tokens_to_loss
from scaling.laws.published.rules import TransferredData
from scaling.numbers import check_level
from scaling.records.given import table_given
from scaling.shown import Drawn
from scaling.tables.finished import finished
from scaling.tables.read import select_rows
from scaling.tables.units import size_column

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray

NEEDED = ("start", "start_text_id", "start_tokens", "text_id")
"""Columns that say what a student goes on from, and what it reads."""
SETTINGS = ("lr", "batch_size", "recipe", "width", "n_layers")
"""In which two runs of one start, size, seed and volume may differ: they are not of one curve."""
FEWEST_TRAININGS = 3
"""Trainings that can be left out one by one, and sizes that are then left, decide how sure the law is."""


@dataclass(frozen=True, kw_only=True)
class TransferPoint:
    """One continued run beside the run of random weights that is as good.

    Attributes:
        start: What was read before, for people.
        start_tokens: How much of it.
        n: Parameters.
        seed: Of weights and data, which both runs share; 0 in a table without seeds.
        d: D_F, tokens read here.
        loss: nats/token.
        effective: D_E, tokens that random weights need for that loss.
        transferred: D_T = D_E − D_F.
    """

    start: str
    start_tokens: int
    n: float
    seed: int
    d: float
    loss: float
    effective: float
    transferred: float


@dataclass(frozen=True, kw_only=True)
class TransferLaw:
    """D_T = k D_F^alpha N^beta of one start.

    Attributes:
        start: What was read before.
        start_tokens: How much of it.
        law: The law, in tokens.
        low, high: Ends of the interval of each coefficient, by leaving out one training after the other: the runs of
            one training share its noise.
        level: Of the intervals.
        rms: Scatter of log D_E about the law.
        n_points: Runs.
        n_trainings: Trainings that they branch off from.
    """

    start: str
    start_tokens: int
    law: TransferredData
    low: TransferredData
    high: TransferredData
    level: float
    rms: float
    n_points: int
    n_trainings: int


@dataclass(frozen=True, kw_only=True)
class Transfer(Drawn):
    """The continued runs of a table.

    Attributes:
        points: One a run.
        laws: One a start, where its runs suffice.
        left_out: What has no effective data or no law, with the reason.
    """

    figure: ClassVar[str] = "transferred"

    points: tuple[TransferPoint, ...]
    laws: tuple[TransferLaw, ...]
    left_out: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """The points as a table."""
        import pandas as pd

        return pd.DataFrame([asdict(point) for point in self.points])


def transfer(
    runs: pd.DataFrame,
    *,
    n: str | None = None,
    d: str = "n_tokens",
    loss: str = "loss",
    where: str | None = None,
    level: float = 0.9,
) -> Transfer:
    """Effective data of all continued runs of a table, and the law of each start.

    >>> found = transfer(scaling.load_runs("results/reference/transfer.csv"), where="lr * width > 0.2")
    >>> [law.start for law in found.laws]
    ['sotu ngram 6', 'books real']

    ``D_E`` is read off the runs of random weights of the same text, size and seed, a straight line in log loss over
    log tokens between two of them.

    Args:
        runs: One row a run; read are ``start_text_id``, ``start``, ``start_tokens`` (0 for random weights), ``text_id``
            and, where there, ``status`` and ``seed``.
        n, d, loss: Columns; by default the first size that the table has.
        where: Expression that keeps rows.
        level: Of the intervals.

    Raises:
        RecordError: columns are missing, there is nothing to compare, or runs of one curve differ in more than volume.
    """
    check_level(level)
    runs = select_rows(table_given(runs), where)
    columns = {"n": n or size_column(runs.columns), "d": d, "loss": loss}
    if missing := [name for name in (*NEEDED, *columns.values()) if name not in runs]:
        raise RecordError(f"no column {', '.join(missing)}: transfer is measured on a runs table with continued runs")
    runs = runs[finished(runs)[0]]
    settings = [name for name in SETTINGS if name in runs and name not in columns.values()]
    # From here on the columns have the names of the law.
    runs = runs[[*NEEDED, *settings]].assign(
        **{name: runs[column] for name, column in columns.items()}, seed=runs.get("seed", 0)
    )
    _refuse_mixed(runs, settings)
    starts, left_out = _points(runs.sort_values("d"))
    if not starts:
        raise RecordError(
            f"no continued run has one of random weights beside it: {'; '.join(left_out) or 'no run is continued'} — "
            "in a sweep give `start_from` null as well as what is read before, as sweeps/transfer.yaml does"
        )
    laws = []
    for points in starts:
        try:
            laws.append(fit_transfer(points, level=level))
        except FitError as error:
            left_out.append(f"law of {points[0].start}: {error}")
    every = tuple(point for points in starts for point in points)
    return Transfer(points=every, laws=tuple(laws), left_out=tuple(left_out))


def _refuse_mixed(runs: pd.DataFrame, settings: list[str]) -> None:
    """Two ways to go on from one start have two curves, and a law of both is none of either."""
    for _, own in runs.groupby(["start_text_id", "start_tokens", "text_id", "n", "seed", "d"], dropna=False):
        if len(own) == 1:
            continue
        row, varied = own.iloc[0], [name for name in settings if own[name].nunique() > 1]
        start = row["start"] if row["start_tokens"] else "random weights"
        said = "".join(f", of {name} {', '.join(map(str, own[name].unique()))}" for name in varied)
        raise RecordError(
            f"{start}, N {row['n']:.4g}, D {row['d']:.4g}: {len(own)} runs of one seed{said} — effective data is "
            "of one way to go on; keep one with where, as 'lr > 0.003'"
        )


def _points(runs: pd.DataFrame) -> tuple[list[list[TransferPoint]], list[str]]:
    """The points of each start, and what has none."""
    fresh = dict(iter(runs[runs["start_tokens"] == 0].groupby(["text_id", "n", "seed"])))
    starts: dict[tuple[str, int], list[TransferPoint]] = {}
    left_out = []
    for row in runs[runs["start_tokens"] > 0].to_dict("records"):
        curve = fresh.get((row["text_id"], row["n"], row["seed"]))
        where = f"{row['start']}, N {row['n']:.4g}, D {row['d']:.4g}"
        if curve is None:
            left_out.append(f"{where}: no run of random weights of this text, size and seed; train one")
            continue
        # Outside of what random weights reached there is no straight line to read off.
        losses = curve["loss"].to_numpy(float)
        effective = tokens_to_loss(curve["d"].to_numpy(float), losses, row["loss"])
        if math.isnan(effective):
            reached = f"from {losses.max():.4f} to {losses.min():.4f}"
            left_out.append(
                f"{where}: {row['loss']:.4f}, and random weights came {reached}; train them on other volumes too"
            )
            continue
        point = TransferPoint(
            start=row["start"],
            start_tokens=int(row["start_tokens"]),
            n=float(row["n"]),
            seed=int(row["seed"]),
            d=float(row["d"]),
            loss=float(row["loss"]),
            effective=effective,
            transferred=effective - float(row["d"]),
        )
        starts.setdefault((row["start_text_id"], point.start_tokens), []).append(point)
    return list(starts.values()), left_out


def fit_transfer(points: Sequence[TransferPoint], *, level: float = 0.9) -> TransferLaw:
    """k, alpha and beta from runs of one start: least squares in ``log D_E = log(D_F + k D_F^alpha N^beta)``.

    In D_E, not in D_T: a run that gains nothing has no logarithm of what it gained, and leaving it out would say that
    all gain.

    Args:
        points: Of two sizes and two volumes at least.
        level: Of the intervals.

    Raises:
        FitError: too few trainings, sizes or volumes, or nothing was transferred.
    """
    from scipy.stats import t

    check_level(level)
    trainings = sorted({(point.n, point.seed) for point in points})
    rest = [[one for one in points if (one.n, one.seed) != left] for left in trainings]
    if len(trainings) < FEWEST_TRAININGS or any(len({one.n for one in some}) < 2 for some in rest):
        raise FitError(
            f"{len(trainings)} trainings of {len({point.n for point in points})} sizes; its interval needs two sizes "
            f"left when any one of {FEWEST_TRAININGS} or more is: train another size, or seed"
        )
    found, rms = _least_squares(points)
    without = np.array([_least_squares(some)[0] for some in rest])
    # The jackknife: every estimate without one training differs from the mean by what that training says.
    share = (len(trainings) - 1) / len(trainings)
    se = np.sqrt(share * np.sum((without - without.mean(0)) ** 2, axis=0))
    reach = se * t.ppf((1 + level) / 2, len(trainings) - 1)
    return TransferLaw(
        start=points[0].start,
        start_tokens=points[0].start_tokens,
        law=_law(found),
        low=_law(found - reach),
        high=_law(found + reach),
        level=level,
        rms=rms,
        n_points=len(points),
        n_trainings=len(trainings),
    )


def _law(log_k_alpha_beta: Array) -> TransferredData:
    log_k, alpha, beta = log_k_alpha_beta.tolist()
    return TransferredData(math.exp(log_k), alpha, beta)


def _least_squares(points: Sequence[TransferPoint]) -> tuple[Array, float]:
    """(log k, alpha, beta), and the scatter about them."""
    from scipy.optimize import least_squares

    d, n, effective = np.array([(point.d, point.n, point.effective) for point in points]).T
    design = np.stack([np.ones_like(d), np.log(d), np.log(n)], axis=1)
    # Centred, so that the three coefficients hardly correlate.
    centre = design.mean(0) * [0, 1, 1]
    centred = design - centre
    gained = effective > d
    if gained.sum() < 3 or np.linalg.matrix_rank(centred[gained]) < 3:
        raise FitError(
            f"{gained.sum()} of {len(d)} runs gained anything; its law needs three, of several sizes and volumes: read "
            "more before, or less here"
        )
    start = np.linalg.lstsq(centred[gained], np.log(effective[gained] - d[gained]), rcond=None)[0]

    def residual(coefficients: Array) -> Array:
        off: Array = np.log(effective / (d + np.exp(centred @ coefficients)))
        return off

    solved = least_squares(residual, start, method="lm", xtol=1e-12)
    return solved.x - [solved.x @ centre, 0, 0], math.sqrt(2 * solved.cost / len(d))
