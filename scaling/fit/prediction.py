"""What laws with weights say of a run: where it is asked, what they expect there, and how much they doubt it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from scaling.errors import SpecError
from scaling.fit.evidence import Calibration, Member
from scaling.fit.neighbours import Influence, Runs
from scaling.numbers import count, shortly
from scaling.registry import one_begun
from scaling.shown import Drawn
from scaling.tables.observations import DELTAS, REAL
from scaling.tables.units import NATS

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
APART = math.log(2)
"""Of one member from the first, log loss: it has a say in the mean, and not the only one, where it is all wrong."""
Target = Literal["run", "mean"]
"""What an interval is of: one new run, or the mean over many runs of the same setting."""


@dataclass(frozen=True)
class Prediction(Drawn):
    """A forecast with its doubt; fields are floats, or arrays where n or d were arrays.

    Attributes:
        value: loss, in `unit`.
        low, high: interval of one new run, or of the mean of many.
        level: probability of the interval.
        scale: standard deviation of log loss behind it.
        reach: {"n": factor, "d": factor}: how far beyond the data (1 inside, 2 means twice the largest or half the
            smallest).
        near: runs nearby that the law was held against; 0 for what the law says alone.
        measured: runs of this very size, volume and text, whose mean is then the answer.
        at: {"n": size, "d": tokens}: where it was asked; empty where nobody needs to know.
        unit: of value, low and high.
    """

    figure: ClassVar[str] = "forecast"

    value: Any
    low: Any
    high: Any
    level: float
    scale: Any
    reach: Mapping[str, Any]
    near: Any = 0
    measured: Any = 0
    at: Mapping[str, Any] = field(default_factory=dict)
    unit: str = NATS

    def frame(self) -> pd.DataFrame:
        """One row a point: n, d, loss, low, high, how far beyond the data, and what the answer rests on."""
        import pandas as pd

        reach = {f"reach_{name}": factor for name, factor in self.reach.items()}
        columns = {**self.at, "loss": self.value, "low": self.low, "high": self.high, **reach, "basis": self.basis}
        arrays = np.broadcast_arrays(*map(np.atleast_1d, columns.values()))
        return pd.DataFrame({name: values.ravel() for name, values in zip(columns, arrays, strict=True)})

    def __str__(self) -> str:
        if np.size(self.value) != 1:
            return f"{np.size(self.value)} forecasts, {self.unit}; .frame() lists them"
        doubt = "" if np.isnan(self.low) else f", {self.level:.0%} of such runs in {self.low:.4f} – {self.high:.4f}"
        return f"{self.value:.4f} {self.unit}{doubt} ({self.basis})"

    @property
    def farthest(self) -> Any:
        """The largest factor of `reach`; 1 where none is known."""
        return np.max(np.broadcast_arrays(1.0, *self.reach.values()), axis=0)[()]

    @property
    def basis(self) -> Any:
        """What it rests on, in words: "measured", "law given 6 runs nearby" or "law alone"."""
        return np.vectorize(_basis, otypes=[object])(self.near, self.measured)[()]


def _basis(near: int, measured: int) -> str:
    if measured:
        return "measured"
    return f"law given {near} run{'s' if near > 1 else ''} nearby" if near else "law alone"


@dataclass(frozen=True)
class Points:
    """Where a forecast is asked.

    Attributes:
        columns: float64[n_points] by the law's name of it.
        shape: of the question, which the answer takes again.
        unseen: points of a text that is told by divergences that no text of the fit has: bool[n_points], or False.
    """

    columns: Mapping[str, Array]
    shape: tuple[int, ...]
    unseen: Array | bool = False

    def shaped(self, values: Array) -> Any:
        """float64[n_points] or int[n_points] in the shape of the question; a number for a single point."""
        values = np.broadcast_to(values, (math.prod(self.shape),)).reshape(self.shape)
        return values.item() if self.shape == () else values.copy()

    def reach(self, name: str, low: float, high: float) -> Array:
        """Factor by which each point lies outside [low, high]; one inside."""
        value = self.columns[name]
        return np.maximum(1.0, np.maximum(value / high, low / value))


def points(
    teachers: Mapping[str, Mapping[str, float]],
    n: Any,
    d: Any,
    *,
    teacher: str | None = None,
    delta_noise: Any = 0.0,
    delta_coverage: Any = 0.0,
    **columns: Any,
) -> Points:
    """Flat columns of equal length, as the laws read them.

    Args:
        teachers: {label: what is known of its text}, in the order of their codes.
        n, d: sizes and tokens, also as people write them ("1M"), may be infinite; None for a law without that column.
        teacher: label; None is real text unless divergences are given.
        delta_noise, delta_coverage: divergences of the text, nats/token.
        **columns: further columns; `teacher_code` in place of a label gives the code of each point's teacher.

    Raises:
        SpecError: impossible size, or a teacher that the fit does not know.
    """
    sizes = {name: numbers_of(value, name) for name, value in (("n", n), ("d", d)) if value is not None}
    for name, value in sizes.items():
        if not np.all(value > 0):
            raise SpecError(f"{name} must be positive (or inf), got {np.min(value):g}")
    delta_noise, delta_coverage = numbers_of(delta_noise, "delta_noise"), numbers_of(delta_coverage, "delta_coverage")
    columns = {name: numbers_of(value, name) for name, value in columns.items()}
    code = 0.0
    facts: Mapping[str, float] = {}
    if teacher is not None:
        known = list(teachers)
        teacher = one_begun(teacher, known) or teacher
        if teacher not in known and teacher != REAL:
            raise SpecError(f"unknown teacher {teacher!r}: this fit knows {', '.join(known) or 'real text only'}")
        facts = teachers.get(teacher, {})
        code = float(known.index(teacher)) if teacher in known else 0.0
    code = columns.pop("teacher_code", code)
    text = {"delta_coverage": delta_coverage, "delta_noise": delta_noise} | dict(facts)
    # One who generates all of the text, unless something else is known or said.
    alone = {f"generator_{name}": text[name] for name in DELTAS} | {"real_share": 0.0}
    parts = sizes | alone | text | {"teacher": code} | columns
    shape = one_shape(sizes | {"delta_noise": delta_noise, "delta_coverage": delta_coverage} | columns)
    arrays = np.broadcast_arrays(*(np.asarray(value, float) for value in parts.values()))
    flat = {name: array.ravel() for name, array in zip(parts, arrays, strict=True)}
    return Points(flat, shape, unseen=teacher is None and _of_none(teachers.values(), flat))


def numbers_of(value: Any, name: str) -> Array:
    """A number, or numbers, also as people write them: float64 of any shape.

    Raises:
        SpecError: something else; names what it stands for.
    """
    try:
        return np.asarray(count(value, name), float)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"{name}: got {shortly(value)}, allowed is a number or several — for example 1e6, 10M, ['10M', '2.5B']"
        ) from error


def one_shape(values: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape in which numbers are asked about together.

    Raises:
        SpecError: they have none; says how many of each there are.
    """
    shapes = {name: np.shape(value) for name, value in values.items()}
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError as error:
        said = ", ".join(f"{name} of shape {shape}" for name, shape in shapes.items() if shape)
        raise SpecError(
            f"got {said}, allowed are as many of each, or one of all but one — for every size with every volume give "
            "sizes of shape (k, 1)"
        ) from error


def _of_none(texts: Iterable[Mapping[str, float]], asked: Mapping[str, Array]) -> Array:
    """Points whose divergences are those of none of the texts, as people write them: bool[n_points]."""
    near = [
        np.all([np.isclose(asked[name], known[name], rtol=0.01, atol=1e-3) for name in DELTAS], axis=0)
        for known in texts
        if set(DELTAS) <= set(known)
    ]
    return ~np.any(near, axis=0) if near else np.zeros(len(asked[DELTAS[0]]), bool)


def member_logs(members: Sequence[Member], at: Points) -> Array:
    """Log loss of every member, at most `APART` from the first: float64[n_members, n_points].

    Near the runs members differ by per cents. Without end of size and data the logarithm of one whose E is zero is
    minus infinity, and so would their mean be.
    """
    values = [member.law.evaluate(member.law.vector, member.columns(at.columns)) for member in members]
    logs = np.log(np.maximum(values, 1e-300))
    return np.clip(logs, logs[0] - APART, logs[0] + APART)


@dataclass(frozen=True)
class Expected:
    """What is expected at each point, of log loss.

    Attributes:
        centre: float64[n_points].
        scale: its standard deviation, float64[n_points].
        near: runs nearby that the laws were held against, int[n_points].
        measured: runs of this very size, volume and text, which are then the answer, int[n_points].
    """

    centre: Array
    scale: Array
    near: Array
    measured: Array


def expected(
    members: Sequence[Member],
    calibration: Calibration,
    ranges: Mapping[str, tuple[float, float]],
    at: Points,
    of: Target = "run",
    runs: Runs | None = None,
) -> Expected:
    """What the laws say given the runs: a cell that was measured answers for itself, and neighbours move the laws.

    Args:
        members: the laws.
        calibration: of forecasts.
        ranges: of the runs.
        at: where it is asked.
        of: "run", one new run; "mean", the mean over many, which has no noise.
        runs: that are known; None for what the laws say alone.
    """
    if runs is None:
        nobody = np.zeros(len(next(iter(at.columns.values()))), int)
        return Expected(*_of_laws(members, calibration, ranges, at, of), nobody, nobody)
    near = runs.influence(at.columns)
    centre, scale = _of_laws(members, calibration, ranges, at, of, (runs, near))
    # Of a cell that was measured the law is not asked: another run of it differs by the scatter between its seeds.
    cell = runs.at(at.columns)
    count = cell.sum(axis=1)
    mean = (cell @ np.log(runs.loss)) / np.maximum(count, 1)
    spread = calibration.seeds_at(at.columns.get("n"), runs.seed_scatter(calibration.noise)) * np.sqrt(
        (1.0 if of == "run" else 0.0) + 1 / np.maximum(count, 1)
    )
    known = count > 0
    return Expected(np.where(known, mean, centre), np.where(known, spread, scale), near.near, count)


def left_out(members: Sequence[Member], calibration: Calibration, runs: Runs, others: Influence) -> Array:
    """Error of what is said of each run given what others add to it, in units of its scale: float64[n_runs]."""
    at = Points(runs.columns, (len(runs.loss),))
    centre, scale = _of_laws(members, calibration, {}, at, "run", (runs, others))
    return (np.log(runs.loss) - centre) / scale


def _of_laws(
    members: Sequence[Member],
    calibration: Calibration,
    ranges: Mapping[str, tuple[float, float]],
    at: Points,
    of: Target,
    given: tuple[Runs, Influence] | None = None,
) -> tuple[Array, Array]:
    """Of log loss: average of the members; their scatter, their own doubt, the noise of a run, and what a text of no
    runs adds, in quadrature, times the factor that validation found for going this way beyond the runs."""
    weights = np.array([member.weight for member in members])
    logs, own = _each_law(members, at, given)
    centre = weights @ logs
    noise = calibration.noise_at(at.columns.get("n"))
    variance = weights @ ((logs - centre) ** 2 + own**2) + np.square(noise) * _left(of, given)
    variance = variance + np.where(at.unseen, calibration.unseen**2, 0.0)
    here = np.ones_like(centre)
    n, d = (at.reach(axis, *ranges[axis]) if axis in at.columns and axis in ranges else here for axis in ("n", "d"))
    return centre, np.sqrt(variance) * calibration.factor(n, d)


def _each_law(members: Sequence[Member], at: Points, given: tuple[Runs, Influence] | None) -> tuple[Array, Array]:
    """Log loss of every member and its doubt, given the runs: float64[n_members, n_points] each."""
    logs = member_logs(members, at)
    slopes = [member.slope(member.columns(at.columns)) for member in members]
    if given is not None and given[0].share > 0:
        runs, near = given
        at_runs = Points(runs.columns, (len(runs.loss),))
        # Each law is held against the runs by itself: where they are near, laws that disagree are moved together.
        logs = logs + near.weighed(np.log(runs.loss) - member_logs(members, at_runs))
        known = [member.slope(member.columns(runs.columns)) for member in members]
        slopes = [slope - near.weighed_rows(own) for slope, own in zip(slopes, known, strict=True)]
    return logs, np.array([member.doubt(slope) for member, slope in zip(members, slopes, strict=True)])


def _left(of: Target, given: tuple[Runs, Influence] | None) -> Array | float:
    """Share of the variance of one run about the law that stays: all of it, for the mean over many none of its own."""
    if given is None or given[0].share == 0:
        return 1.0 if of == "run" else 0.0
    runs, near = given
    return near.left if of == "run" else np.maximum(near.left - (1 - runs.share), 0.0)
