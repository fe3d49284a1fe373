"""What laws with weights say of a run: where it is asked, what they expect there, and how much they doubt it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scaling.errors import SpecError
from scaling.fit.evidence import Calibration, Member
from scaling.tables.observations import DELTAS, REAL

Array = np.ndarray
Target = Literal["run", "mean"]
"""What an interval is of: one new run, or the mean over many runs of the same setting."""


@dataclass(frozen=True)
class Prediction:
    """A forecast with its doubt; fields are floats, or arrays where n or d were arrays.

    Attributes:
        value: loss, nats/token.
        low, high: interval of one new run, or of the mean of many.
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
class Points:
    """Where a forecast is asked.

    Attributes:
        columns: float64[n_points] by the law's name of it.
        shape: of the question, which the answer takes again.
    """

    columns: Mapping[str, Array]
    shape: tuple[int, ...]

    def shaped(self, values: Array) -> Any:
        """float64[n_points] in the shape of the question; a float for a single point."""
        values = np.broadcast_to(values, (math.prod(self.shape),)).reshape(self.shape)
        return float(values) if self.shape == () else values.copy()

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
        n, d: sizes and tokens, may be infinite; None for a law without that column.
        teacher: label; None is real text unless divergences are given.
        delta_noise, delta_coverage: divergences of the text, nats/token.
        **columns: further columns; `teacher_code` in place of a label gives the code of each point's teacher.

    Raises:
        SpecError: impossible size, or a teacher that the fit does not know.
    """
    sizes = {name: value for name, value in (("n", n), ("d", d)) if value is not None}
    for name, value in sizes.items():
        if not np.all(np.asarray(value, float) > 0):
            raise SpecError(f"{name} must be positive (or inf), got {np.min(value):g}")
    code = 0.0
    facts: Mapping[str, float] = {}
    if teacher is not None:
        known = list(teachers)
        if teacher not in known and teacher != REAL:
            raise SpecError(f"unknown teacher {teacher!r}: this fit knows {', '.join(known) or 'real text only'}")
        facts = teachers.get(teacher, {})
        code = float(known.index(teacher)) if teacher in known else 0.0
    code = columns.pop("teacher_code", code)
    text = {"delta_coverage": delta_coverage, "delta_noise": delta_noise} | dict(facts)
    # One who generates all of the text, unless something else is known or said.
    alone = {f"generator_{name}": text[name] for name in DELTAS} | {"real_share": 0.0}
    parts = sizes | alone | text | {"teacher": code} | columns
    arrays = np.broadcast_arrays(*(np.asarray(value, float) for value in parts.values()))
    shape = np.broadcast_shapes(*map(np.shape, (*sizes.values(), delta_noise, delta_coverage, *columns.values())))
    return Points({name: array.ravel() for name, array in zip(parts, arrays, strict=True)}, shape)


def member_logs(members: Sequence[Member], at: Points) -> Array:
    """Log loss of every member: float64[n_members, n_points]."""
    values = [member.law.evaluate(member.law.vector, member.columns(at.columns)) for member in members]
    return np.log(np.maximum(values, 1e-300))


def centre_and_scale(
    members: Sequence[Member],
    calibration: Calibration,
    ranges: Mapping[str, tuple[float, float]],
    at: Points,
    of: Target = "run",
) -> tuple[Array, Array]:
    """Of log loss: average of the members; their scatter, their own doubt and the noise of a run in quadrature, times
    the factor that validation found for going this way beyond the runs. The mean over many runs has no noise."""
    weights = np.array([member.weight for member in members])
    logs = member_logs(members, at)
    own = np.array([member.doubt(member.columns(at.columns)) for member in members])
    centre = weights @ logs
    variance = weights @ ((logs - centre) ** 2 + own**2) + (
        np.square(calibration.noise_at(at.columns.get("n"))) if of == "run" else 0.0
    )
    here = np.ones_like(centre)
    n, d = (at.reach(axis, *ranges[axis]) if axis in at.columns and axis in ranges else here for axis in ("n", "d"))
    return centre, np.sqrt(variance) * calibration.factor(n, d)
