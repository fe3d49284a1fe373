"""What a fit found, with its evidence, and what it forecasts, with its doubt. Reading a saved fit and predicting
need NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scaling.errors import SpecError
from scaling.fit.evidence import Calibration, Member, Status
from scaling.fit.objective import Objective
from scaling.fit.table import DELTAS, REAL
from scaling.laws.law import ScalingLaw

Array = np.ndarray


@dataclass(frozen=True)
class Prediction:
    """A forecast with its doubt; fields are floats, or arrays where n or d were arrays.

    Attributes:
        value: loss, nats/token.
        low, high: interval of one new run.
        level: probability of the interval.
        scale: standard deviation of log loss behind it.
        reach: {"n": factor, "d": factor}: how far beyond the data (1 inside, 2 means twice the largest or half the
            smallest).
    """

    value: Any
    low: Any
    high: Any
    level: float
    scale: Any
    reach: Mapping[str, Any]


@dataclass(frozen=True)
class Fit:
    """A law plus evidence.

    Attributes:
        members: laws with weights; one, unless they are stacked.
        objective: what was minimised.
        columns: {"n": column, "d": column, "loss": column}: which convention of size the numbers belong to.
        teachers: {label: {"delta_coverage": …, "delta_noise": …, "real_share": …}}, what is known of its text; empty
            values for free divergences.
        ranges: {"n": (least, most), "d": …} of the runs used.
        n_runs, n_clusters: runs and independent trunks.
        excluded: rows left out, each with its reason.
        residuals: {row: log(predicted/measured)} of the leading law.
        status: whether it may be used.
        calibration: of forecasts.
        covariance: float64[k, k] of the leading law's coefficients.
        selection: rows of the comparison of forms (empty if one was asked for).
        backtest: forecasts of the largest runs from the smaller ones: {"mare", "coverage", "n_test"}; empty if there
            were too few runs.
        condition: condition number of the leading law's scaled Jacobian.
        profiles: {coefficient: {"low", "high", "level", "text"}} where asked for; an end is None where the runs set
            none.
    """

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
    condition: float = math.nan
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def leading(self) -> Member:
        """The law with the most weight."""
        return max(self.members, key=lambda member: member.weight)

    @property
    def law(self) -> ScalingLaw:
        """The leading law, with its numbers."""
        return self.leading.law

    @property
    def params(self) -> dict[str, float]:
        """Coefficients of the leading law."""
        return dict(self.law.values or {})

    @property
    def starts(self) -> tuple[int, int]:
        """Starts tried, and starts that reached the optimum."""
        return self.leading.tried, self.leading.reached

    @property
    def success(self) -> bool:
        """Converged, interior and identified."""
        return self.status.success

    def interval(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Central bootstrap interval of every coefficient of the leading law."""
        _check_level(level)
        samples = self.leading.samples
        if len(samples) < 2:
            return {name: (math.nan, math.nan) for name in self.law.names}
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.law.names, low, high, strict=True)}

    def loss(self, n: Any = None, d: Any = None, *, teacher: str | None = None, **columns: Any) -> Any:
        """The value of `predict` alone, without its interval and at a small part of its cost."""
        given = self.inputs(n, d, teacher=teacher, **columns)
        weights, logs = self._members(given)
        return _shaped(np.exp(np.sum(weights * logs, axis=0)), _shape(n, d, *columns.values()))

    def predict(
        self,
        n: Any = None,
        d: Any = None,
        *,
        teacher: str | None = None,
        delta_noise: Any = 0.0,
        delta_coverage: Any = 0.0,
        level: float = 0.9,
        **columns: Any,
    ) -> Prediction:
        """Loss of a new run, with an interval for that run.

        Args:
            n: model size, in the convention of `columns["n"]`; may be infinite; None if the law has no such column.
            d: tokens seen; may be infinite; None likewise.
            teacher: label of a teacher of the fit; None is real text unless divergences are given.
            delta_noise, delta_coverage: divergences of the text, nats/token.
            level: probability of the interval.
            **columns: further columns of the law (as `c`). A mixture that the fit has no label of is told by its
                `real_share`, its own divergences and those of the teacher inside (`writer_delta_noise`, …).

        Returns:
            Prediction, in the broadcast shape of n and d.

        Raises:
            SpecError: impossible size, level or teacher.
        """
        _check_level(level)
        given = self._inputs(n, d, teacher, delta_noise, delta_coverage, columns)
        centre, scale = self._distribution(given)
        low, high = (centre + scale * self.calibration.quantile(q) for q in ((1 - level) / 2, (1 + level) / 2))
        shape = _shape(n, d, delta_noise, delta_coverage, *columns.values())
        reach = {name: _shaped(self._reach(name, given[name]), shape) for name in self.ranges if name in given}
        return Prediction(
            *(_shaped(np.exp(v), shape) for v in (centre, low, high)), level, _shaped(scale, shape), reach
        )

    def probability(
        self,
        target: Any,
        n: Any = None,
        d: Any = None,
        *,
        teacher: str | None = None,
        delta_noise: Any = 0.0,
        delta_coverage: Any = 0.0,
        **columns: Any,
    ) -> Any:
        """P(loss <= target) of a new run, from the distribution that `predict` draws its intervals from."""
        given = self._inputs(n, d, teacher, delta_noise, delta_coverage, columns)
        centre, scale = self._distribution(given)
        shape = _shape(target, n, d, delta_noise, delta_coverage, *columns.values())
        goal = np.broadcast_to(np.asarray(target, float), shape).ravel()
        if np.any(goal <= 0):
            raise SpecError(f"a target loss must be positive, got {goal.min():g}")
        return _shaped(self.calibration.cumulative((np.log(goal) - centre) / np.maximum(scale, 1e-300)), shape)

    def floor(
        self, teacher: str | None = None, *, delta_noise: float = 0.0, delta_coverage: float = 0.0, level: float = 0.9
    ) -> Prediction:
        """Loss of an infinite student on infinite text of a teacher."""
        return self.predict(
            math.inf, math.inf, teacher=teacher, delta_noise=delta_noise, delta_coverage=delta_coverage, level=level
        )

    def optimal(self, *, flops: float, teacher: str | None = None, level: float = 0.9, **columns: Any) -> Any:
        """Compute-optimal size and data at a budget of 6 n d FLOPs: see `scaling.fit.frontier.optimal`."""
        from scaling.fit.frontier import optimal

        return optimal(self, flops=flops, teacher=teacher, level=level, **columns)

    def inputs(self, n: Any, d: Any, *, teacher: str | None = None, **columns: Any) -> dict[str, Array]:
        """Flat columns of equal length, as the laws read them."""
        return self._inputs(n, d, teacher, columns.pop("delta_noise", 0.0), columns.pop("delta_coverage", 0.0), columns)

    def _inputs(self, n, d, teacher, delta_noise, delta_coverage, columns) -> dict[str, Array]:
        sizes = {name: value for name, value in (("n", n), ("d", d)) if value is not None}
        for name, value in sizes.items():
            if not np.all(np.asarray(value, float) > 0):
                raise SpecError(f"{name} must be positive (or inf), got {np.min(value):g}")
        code, facts = 0.0, {}
        if teacher is not None:
            known = list(self.teachers)
            if teacher not in known and teacher != REAL:
                raise SpecError(f"unknown teacher {teacher!r}: this fit knows {', '.join(known) or 'real text only'}")
            facts = self.teachers.get(teacher, {})
            code = float(known.index(teacher)) if teacher in known else 0.0
        text = {"delta_coverage": delta_coverage, "delta_noise": delta_noise} | facts
        # One who writes all of the text, unless something else is known or said.
        alone = {f"writer_{name}": text[name] for name in DELTAS} | {"real_share": 0.0}
        code = columns.pop("teacher_code", code)
        parts = sizes | alone | text | {"teacher": code} | columns
        arrays = np.broadcast_arrays(*(np.asarray(value, float) for value in parts.values()))
        return {name: array.ravel() for name, array in zip(parts, arrays, strict=True)}

    def _distribution(self, given: Mapping[str, Array]) -> tuple[Array, Array]:
        """Centre and scale of log loss: average of the members; their scatter, their own doubt and the noise in
        quadrature."""
        weights, logs = self._members(given)
        own = np.array([member.spread(_prepared(member, given)) for member in self.members])
        centre = np.sum(weights * logs, axis=0)
        variance = np.sum(weights * ((logs - centre) ** 2 + own**2), axis=0) + self.calibration.noise**2
        return centre, np.sqrt(variance)

    def _members(self, given: Mapping[str, Array]) -> tuple[Array, Array]:
        """Weight float64[n_members, 1] and log loss float64[n_members, n_points] of each member."""
        values = [m.law.evaluate(m.law.vector, _prepared(m, given)) for m in self.members]
        return np.array([m.weight for m in self.members])[:, None], np.log(np.maximum(values, 1e-300))

    def _reach(self, name: str, value: Array) -> Array:
        low, high = self.ranges[name]
        return np.maximum(1.0, np.maximum(value / high, low / value))

    def summary(self) -> str:
        """Plain-text report."""
        from scaling.fit.describe import summary

        return summary(self)

    def _repr_html_(self) -> str:
        from scaling.fit.describe import html

        return html(self)

    def to_latex(self) -> str:
        """One table row: law and coefficients with intervals."""
        from scaling.fit.describe import latex

        return latex(self)

    def __repr__(self) -> str:
        others = f" (weight {self.leading.weight:.2f} of {len(self.members)} laws)" if len(self.members) > 1 else ""
        state = "" if self.success else f" — NOT USABLE: {' '.join(self.status.reasons)}"
        return f"Fit of {self.n_runs} runs, {self.n_clusters} trunks: {self.law!r}{others}{state}"

    def to_json(self, path: str | Path | None = None) -> str:
        """Strict JSON (no NaN; null instead), written to `path` if given."""
        from scaling.fit.saved import to_json

        text = to_json(self)
        if path is not None:
            Path(path).write_text(text + "\n")
        return text

    @classmethod
    def from_json(cls, path: str | Path) -> Fit:
        """Read a saved fit; RecordError if it is missing, damaged, or written by another schema version."""
        from scaling.fit.saved import read_fit

        return read_fit(path)


def _prepared(member: Member, given: Mapping[str, Array]) -> Any:
    """The columns that a member's law reads."""
    return member.law.prepare({name: given[name] for name in member.law.columns})


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise SpecError(f"level is the probability of an interval and must lie between 0 and 1, got {level:g}")


def _shape(*values: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(*(np.shape(value) for value in values if value is not None))


def _shaped(values: Array, shape: tuple[int, ...]) -> Any:
    values = np.broadcast_to(values, (math.prod(shape),)).reshape(shape)
    return float(values) if shape == () else values.copy()
