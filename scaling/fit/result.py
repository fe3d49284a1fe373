"""What a fit found, with its evidence. Predicting needs NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from scaling.errors import SpecError
from scaling.fit.doubt.scatter import Scatter
from scaling.fit.evidence import Calibration, Member, Status, Suspect
from scaling.fit.neighbours import Runs
from scaling.fit.prediction import (
    Expected,
    Points,
    Prediction,
    Target,
    expected,
    member_logs,
    numbers_of,
    one_shape,
    points,
)
from scaling.fit.reach import mind_reach
from scaling.fit.solve.objective import Objective
from scaling.laws.law import Coefficient, ScalingLaw
from scaling.numbers import check_level, shortly
from scaling.registry import did_you_mean
from scaling.shown import Drawn
from scaling.tables.observations import DELTAS, REAL, TEXT_COLUMNS, MadeOf, text_name
from scaling.tables.units import NATS, loss_unit

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
Given = Literal["runs", "law"]
ASKED = ("n", "d", "level", "of", "given", "force")
"""Keywords of a forecast beside its columns, one of which a misspelt one may mean."""
FLOOR_DRAWS = 400
"""Draws of the coefficients, of which the interval of a floor is made."""


@dataclass(frozen=True)
class Fit(Drawn):
    """A law plus evidence.

    Attributes:
        members: laws with weights; one, unless they are stacked.
        objective: what was minimised.
        columns: {"n": column, "d": column, "loss": column}: which convention of size the numbers belong to.
        teachers: {label: {"delta_coverage": …, "delta_noise": …, "real_share": …}}, what is known of its text; empty
            values for free divergences.
        texts: {text_id: label in `teachers`}; empty where the table had no text_id.
        ranges: {"n": (least, most), "d": …} of the runs used.
        n_runs, n_clusters: runs and independent trunks.
        excluded: rows left out, each with its reason.
        made_of: how many rows the table had, and the filter that was asked for.
        suspects: rows and levels that lie off the law of the others; they are part of this fit all the same.
        scatter: of runs about the law, and where it comes from; None in a fit of before.
        without: coefficients of the leading law without them; empty where there are none.
        residuals: {row: log(predicted/measured)} of the leading law.
        status: whether it may be used.
        calibration: of forecasts.
        covariance: float64[k, k] of the leading law's coefficients.
        selection: rows of the comparison of forms (empty if one was asked for).
        backtest: forecasts of the largest runs from the smaller ones: {"mare", "coverage", "n_test"}; empty if there
            were too few runs.
        condition: condition number of the leading law's scaled Jacobian.
        runs: that it was made of, which forecasts are given; None in a fit of before, and where neighbours are unknown.
        profiles: {coefficient: {"low", "high", "level", "text"}} where asked for; an end is None where the runs set
            none.
    """

    figure: ClassVar[str] = "loss by size"

    members: tuple[Member, ...]
    objective: Objective
    columns: Mapping[str, str]
    teachers: Mapping[str, Mapping[str, float]]
    ranges: Mapping[str, tuple[float, float]]
    n_runs: int
    n_clusters: int
    excluded: tuple[Mapping[str, Any], ...]
    residuals: Mapping[str, float]
    status: Status
    calibration: Calibration
    covariance: Array
    selection: tuple[Mapping[str, Any], ...] = ()
    backtest: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    condition: float = math.nan
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    made_of: MadeOf = MadeOf()
    suspects: tuple[Suspect, ...] = ()
    without: Mapping[str, float] = field(default_factory=dict)
    scatter: Scatter | None = None
    runs: Runs | None = None

    @property
    def leading(self) -> Member:
        """The law with the most weight; of several, the first: a teacher form on Chinchilla, fitted to all runs."""
        return max(self.members, key=lambda member: member.weight)

    @property
    def law(self) -> ScalingLaw:
        """The leading law, with its numbers."""
        return self.leading.law

    @property
    def params(self) -> dict[str, float]:
        """Coefficients of the leading law."""
        return dict(zip(self.law.names, self.law.vector.tolist(), strict=True))

    @property
    def starts(self) -> tuple[int, int]:
        """Starts tried, and starts that reached the optimum."""
        return self.leading.tried, self.leading.reached

    @property
    def unit(self) -> str:
        """Of its losses, and of what it forecasts."""
        return loss_unit(self.columns["loss"])

    def unit_of(self, coefficient: Coefficient) -> str:
        """Of a number of the law: laws are written for nats/token, whatever they are fitted to."""
        return self.unit if coefficient.unit == NATS else coefficient.unit

    @property
    def success(self) -> bool:
        """Converged, interior and identified."""
        return self.status.success

    def interval(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Central bootstrap interval of every coefficient of the leading law.

        >>> low, high = fit.interval()["E"]
        >>> low < fit.params["E"] < high
        True
        """
        check_level(level)
        samples = self.leading.samples
        if len(samples) < 2:
            return {name: (math.nan, math.nan) for name in self.law.names}
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.law.names, low, high, strict=True)}

    @property
    def knows_real_text(self) -> bool:
        """Whether its laws say something of real text: those with numbers of their own for each text need its runs."""
        return "teacher" not in self.reads or REAL in self.teachers

    def label_of(self, text: Any) -> str:
        """The label of a text that is asked about by its label or its id, or as it is where neither is known.

        What is printed is the label: it comes before an id that another text happens to have.
        """
        asked = text_name(text)
        return asked if asked in (*self.teachers, REAL) else self.texts.get(asked, asked)

    @property
    def reads(self) -> set[str]:
        """Columns that its laws are functions of, the leading one or another."""
        return {name for member in self.members for name in member.law.columns}

    def points(self, n: Any = None, d: Any = None, **columns: Any) -> Points:
        """Where a forecast is asked: see `scaling.fit.prediction.points`."""
        self._check_names(columns)
        missing = [name for name, value in (("n", n), ("d", d)) if value is None and name in self.reads]
        if missing:
            raise SpecError(f"the law is a function of {missing[0]}, and got none — give it; inf asks for the limit")
        if columns.get("teacher") is not None:
            columns["teacher"] = self.label_of(columns["teacher"])
        if "teacher" in self.reads and not self.reads & set(DELTAS) and any(np.any(columns.get(x, 0)) for x in DELTAS):
            raise SpecError(
                "the laws of this fit tell texts by their runs, not by delta_noise and delta_coverage, which the table "
                f"does not have: name one of its texts, {', '.join(self.teachers)}"
            )
        asked = columns.get("teacher") or REAL
        if asked == REAL and not self.knows_real_text and "teacher_code" not in columns:
            raise SpecError(f"no run of this fit read real text: name one of its texts, {', '.join(self.teachers)}")
        return points(self.teachers, n, d, **columns)

    def _check_names(self, columns: Mapping[str, Any]) -> None:
        """Refuse a keyword that no law of this fit reads and no text is told by: it would have no effect."""
        known = {"teacher", "teacher_code", *TEXT_COLUMNS, *self.reads, *self.columns} - {"n", "d", "loss"}
        if unknown := [name for name in columns if name not in known]:
            raise SpecError(
                f"{unknown[0]}: got {shortly(columns[unknown[0]])}, and no law of this fit is a function of it, but of "
                f"{', '.join(sorted(self.reads))}{did_you_mean(unknown[0], {*known, *ASKED})}"
            )

    def loss(self, n: Any = None, d: Any = None, **columns: Any) -> Any:
        """What the law says alone, whatever was measured nearby, without interval and at a small part of the cost.

        >>> fit.loss("200k", "1M") < fit.loss("100k", "1M")
        True
        """
        at = self.points(n, d, **columns)
        weights = np.array([member.weight for member in self.members])
        return at.shaped(np.exp(weights @ member_logs(self.members, at)))

    def loss_without_suspects(self, n: Any = None, d: Any = None, **columns: Any) -> Any:
        """`loss`, moved by as much as the leading law moves without its suspects; the loss itself where it has none."""
        if not self.without:
            return self.loss(n, d, **columns)
        at = self.points(n, d, **columns)
        x = self.leading.columns(at.columns)
        moved = self.law.with_values(self.without)
        return self.loss(n, d, **columns) * at.shaped(
            moved.evaluate(moved.vector, x) / self.law.evaluate(self.law.vector, x)
        )

    def predict(
        self,
        n: Any = None,
        d: Any = None,
        *,
        level: float = 0.9,
        of: Target = "run",
        given: Given = "runs",
        force: bool | None = None,
        **columns: Any,
    ) -> Prediction:
        """Loss of a new run, with an interval for that run or for the mean of many.

        A size, volume and text that was measured answers with its measurement; elsewhere the law is held against the
        runs nearby, which far from all of them leave it as it is.

        >>> fit.predict("100k", ["500k", "1M"], teacher="noise 0.2").frame()["d"].tolist()
        [500000.0, 1000000.0]

        Args:
            n: model size, in the convention of `columns["n"]`; may be infinite; None if the law has no such column.
            d: tokens seen; may be infinite; None likewise.
            level: probability of the interval.
            of: "run", one new run; "mean", the mean over many runs that differ in their seed alone.
            given: "runs", what was measured; "law", nothing but the law.
            force: far beyond the runs, True answers, None answers with an ExtrapolationWarning, False refuses.
            **columns: `teacher`, the text_id or label of a text of the fit (None is real text unless divergences are
                given); `delta_noise` and `delta_coverage`, divergences of the text, nats/token; further columns of the
                law (as `c`). A mixture that the fit does not know is told by its `real_share`, its own divergences and
                those of the teacher inside (`generator_delta_noise`, …).

        Returns:
            Prediction, in the broadcast shape of n and d.

        Raises:
            SpecError: impossible size, level or teacher.
            ExtrapolationError: more than `scaling.fit.reach.MAX_REACH` beyond the runs, or at all beyond runs that do
                not determine the law, with `force` False.
        """
        check_level(level)
        if of not in ("run", "mean"):
            raise SpecError(f"a forecast is of 'run' or of 'mean', got {of!r}")
        at = self.points(n, d, **columns)
        mind_reach(at, self.ranges, self.teachers, identified=self.success, force=force)
        found = self._expected(at, of, given)
        # Quantiles are of log loss: an interval is a factor, and never reaches below zero.
        tails = (self.calibration.quantile(q) for q in ((1 - level) / 2, (1 + level) / 2))
        value, low, high = (at.shaped(np.exp(found.centre + found.scale * tail)) for tail in (0.0, *tails))
        reach = {name: at.shaped(at.reach(name, *ends)) for name, ends in self.ranges.items() if name in at.columns}
        near, measured = at.shaped(found.near), at.shaped(found.measured)
        asked = {name: at.shaped(at.columns[name]) for name in ("n", "d") if name in at.columns}
        return Prediction(value, low, high, level, at.shaped(found.scale), reach, near, measured, asked, self.unit)

    def _expected(self, at: Points, of: Target = "run", given: Given = "runs") -> Expected:
        if given not in ("runs", "law"):
            raise SpecError(f"given: got {shortly(given)}, allowed are 'runs' and 'law'")
        runs = self.runs if given == "runs" else None
        return expected(self.members, self.calibration, self.ranges, at, of, runs)

    def probability(
        self,
        target: Any,
        n: Any = None,
        d: Any = None,
        *,
        given: Given = "runs",
        force: bool | None = None,
        **columns: Any,
    ) -> Any:
        """P(loss <= target) of a new run, from the distribution that `predict` draws its intervals from; warns or
        refuses as it does.

        >>> fit.probability([1.5, 1.7], "100k", "1M").round().tolist()
        [0.0, 1.0]
        """
        at = self.points(n, d, **columns)
        mind_reach(at, self.ranges, self.teachers, identified=self.success, force=force)
        # Many targets of one run, or one of many runs, or as many of each.
        target = numbers_of(target, "target")
        asked = Points(at.columns, one_shape({"target": target, "n and d": np.empty(at.shape)}))
        goal = np.broadcast_to(target, asked.shape).ravel()
        if np.any(goal <= 0):
            raise SpecError(f"a target loss must be positive, got {goal.min():g}")
        found = self._expected(at, given=given)
        return asked.shaped(
            self.calibration.cumulative((np.log(goal) - found.centre) / np.maximum(found.scale, 1e-300))
        )

    def floor(self, teacher: str | None = None, *, level: float = 0.9, **columns: Any) -> Prediction:
        """Loss of an infinite student on infinite text of a teacher; no higher than what a student of it measured.

        >>> fit.floor("noise 0.2").value > fit.floor().value
        True
        """
        said = self.predict(math.inf, math.inf, teacher=teacher, level=level, force=True, **columns)
        if self.runs is None:
            return said
        at = self.points(math.inf, math.inf, teacher=teacher, **columns)
        high = np.minimum(np.ravel(said.high), self.runs.lowest(at.columns))
        return replace(said, high=at.shaped(np.maximum(np.ravel(said.value), high)))

    def floor_interval(self, teacher: str | None = None, *, level: float = 0.9) -> tuple[float, float]:
        """Central interval of the leading law's own floor of a text, over draws of its coefficients; NaN without any.

        >>> low, high = fit.floor_interval()
        >>> low < fit.floor().value < high
        True
        """
        check_level(level)
        draws = self.leading.draws(FLOOR_DRAWS)
        if not len(draws):
            return math.nan, math.nan
        at = self.points(math.inf, math.inf, teacher=teacher)
        each = self.law.evaluate(draws, self.leading.columns(at.columns))
        low, high = np.quantile(each, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def frame(self, level: float = 0.9) -> pd.DataFrame:
        """One row a coefficient of the leading law: its value, interval and unit.

        >>> fit.frame()["coefficient"].tolist()
        ['E', 'A', 'B', 'alpha', 'beta', 'kappa', 'c']
        """
        import pandas as pd

        ends = self.interval(level)
        rows = [(c.name, self.params[c.name], *ends[c.name], self.unit_of(c)) for c in self.law.coefficients]
        return pd.DataFrame(rows, columns=["coefficient", "value", "low", "high", "unit"])

    def _repr_html_(self) -> str:
        from scaling.fit.page import coefficient_table

        return coefficient_table(repr(self.law), self.params, self.interval())

    def __repr__(self) -> str:
        others = f" (weight {self.leading.weight:.2f} of {len(self.members)} laws)" if len(self.members) > 1 else ""
        state = "" if self.success else f" — NOT USABLE: {' '.join(self.status.reasons)}"
        return f"Fit of {self.n_runs} runs, {self.n_clusters} trunks: {self.law!r}{others}{state}"


def check_fit(source: Any, instead: str = "scaling.fit_law makes one of runs, scaling.load_fit reads one") -> None:
    """Refuse what is no fit.

    Args:
        source: What was given for one.
        instead: What to do, for the message.

    Raises:
        SpecError: says what was got.
    """
    if not isinstance(source, Fit):
        raise SpecError(f"fit: got {shortly(source)}, allowed is a fit — {instead}")
