"""A fitted curve: what it is made of, and its forecasts with their doubt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scaling.curves.candidates import OCTAVE, Candidate
from scaling.curves.law import CurveLaw
from scaling.curves.outliers import Outlier
from scaling.errors import ExtrapolationError, RecordError
from scaling.numbers import check_level
from scaling.shown import Drawn, Shown

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
MAX_REACH = 10.0
"""A forecast further than this beyond the last x, or than the curve itself spans, is refused unless forced."""
DEGREES_OF_FREEDOM = 4
"""What a handful of hidden points says about the error of a forecast is itself uncertain; Student's t allows for it."""


@dataclass(frozen=True, kw_only=True)
class CurvePart:
    """One fitted candidate of a curve.

    Attributes:
        candidate: the form and its memory.
        law: the form with its numbers.
        weight: share in the forecast.
        residual: rms of the weighted log-loss residuals, corrected for the coefficients spent.
        skill: validation error beside that of the last value (below 1 is better); None where the curve was too short
            to tell.
        starts: share of the finalist starts that reached the optimum.
    """

    candidate: Candidate
    law: CurveLaw
    weight: float
    residual: float
    skill: float | None
    starts: float


@dataclass(frozen=True, kw_only=True)
class CurveForecast(Shown):
    """Loss at some x, with an interval for what would be measured there.

    Attributes:
        value: float64[...], in the unit of the fitted loss.
        low, high: ends of the interval, float64[...].
        level: probability that the measured loss lies inside.
        reach: x beyond the last or before the first one that was fitted, as a factor; 1 within the curve: float64[...].
    """

    value: Array
    low: Array
    high: Array
    level: float
    reach: Array

    def frame(self) -> pd.DataFrame:
        """One row a point: loss, its interval, and how far beyond the curve."""
        import pandas as pd

        columns = {"loss": self.value, "low": self.low, "high": self.high, "reach": self.reach}
        return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()})

    def __repr__(self) -> str:
        if np.ndim(self.value):
            return f"CurveForecast({np.size(self.value)} points, {self.level:.0%} intervals)"
        return f"CurveForecast({self.value:.4g}, {self.level:.0%} [{self.low:.4g}, {self.high:.4g}])"


@dataclass(frozen=True, kw_only=True)
class CurveFit(Drawn):
    """A curve that can be continued.

    Attributes:
        form: what was asked: "auto" or the name of one form.
        parts: the forms behind the forecast, heaviest first.
        x_range: smallest and largest x that were fitted.
        n_points: number of points fitted.
        validation_error: rms error of log loss over the octave that follows when the last octave, and the last
            octave and a half, were hidden: about the relative error to expect one octave on. None where the curve
            was too short to hide any.
        last_value_error: the same for "no fit: the last value".
        trend: change of log loss over the last octave (the last quarter of a curve of few octaves): all that stands
            for an error where nothing could be hidden.
        noise: scatter of one point about the curve, log loss.
        outliers: points that were left out.
    """

    figure: ClassVar[str] = "curve"

    form: str
    parts: tuple[CurvePart, ...]
    x_range: tuple[float, float]
    n_points: int
    validation_error: float | None
    last_value_error: float | None
    trend: float
    noise: float
    outliers: tuple[Outlier, ...] = ()

    def frame(self) -> pd.DataFrame:
        """One row a form behind the forecast, heaviest first: its weight, its scores, its law."""
        import pandas as pd

        rows = [
            {"form": part.candidate.form, "memory": part.candidate.memory, "weight": part.weight, "skill": part.skill}
            | {"residual": part.residual, "law": repr(part.law)}
            for part in self.parts
        ]
        return pd.DataFrame(rows)

    @property
    def law(self) -> CurveLaw:
        """The heaviest form with its numbers."""
        return self.parts[0].law

    @property
    def max_reach(self) -> float:
        """Factor beyond the last x up to which the curve is continued without `force`."""
        return min(MAX_REACH, self.x_range[1] / self.x_range[0])

    def loss(self, x: Array | float) -> Array:
        """Loss at x: the weighted geometric mean over the parts.

        Args:
            x: float64[...], in the unit of the fit, above zero.

        Returns:
            float64[...] in the unit of the fitted loss.

        Raises:
            RecordError: an x is not above zero.
        """
        return np.exp(np.tensordot([part.weight for part in self.parts], self._log_losses(x), axes=1))

    def predict(self, x: Array | float, *, level: float = 0.9, force: bool = False) -> CurveForecast:
        """Loss at x with an interval.

        The variance of log loss is the scatter of one point, the disagreement of the parts, and the error that the
        curve showed where it forecast its own hidden end, which grows in proportion to the octaves beyond it.

        Args:
            x: float64[...], in the unit of the fit, above zero.
            level: probability of the interval.
            force: continue even further than `max_reach`.

        Returns:
            CurveForecast, of the shape of x.

        Raises:
            RecordError: an x is not above zero.
            ExtrapolationError: an x lies too far beyond the curve.
            SpecError: impossible level.
        """
        from scipy.stats import t as student

        check_level(level)
        logs = self._log_losses(x)
        first, last = self.x_range
        reach = np.maximum(np.maximum(np.asarray(x, float) / last, first / np.asarray(x, float)), 1.0)
        if np.max(reach, initial=1.0) > self.max_reach * (1 + 1e-9) and not force:
            raise ExtrapolationError(
                f"x = {np.ravel(x)[np.argmax(reach)]:g} lies {np.max(reach):.3g} times beyond the points ({first:g} to "
                f"{last:g}); a curve that spans a factor of {last / first:.3g} is continued by at most "
                f"{self.max_reach:.3g}: measure further, or repeat with --force"
            )
        weights = np.array([part.weight for part in self.parts])
        centre = np.tensordot(weights, logs, axes=1)
        spread = np.tensordot(weights, (logs - centre) ** 2, axes=1)
        # What the curve got wrong one octave beyond a hidden end, in proportion to the octaves asked for.
        octaves = np.log(reach) / OCTAVE
        error = self.trend if self.validation_error is None else self.validation_error
        deviation = np.sqrt(self.noise**2 + spread + (error * octaves) ** 2)
        half = student.ppf((1 + level) / 2, DEGREES_OF_FREEDOM) * deviation
        return CurveForecast(
            value=np.exp(centre), low=np.exp(centre - half), high=np.exp(centre + half), level=level, reach=reach
        )

    def _log_losses(self, x: Array | float) -> Array:
        """log loss by part: float64[parts, ...]."""
        x = np.asarray(x, float)
        if not np.all(x > 0):
            raise RecordError(
                "a curve is a function of x > 0, but an x given is not: pass counts of examples, tokens, steps or FLOPs"
            )
        return np.log([part.law.loss(x=x) for part in self.parts])

    def summary(self) -> str:
        """What was fitted, one line a part: weight, skill against the last value, formula."""
        lines = [f"{self.n_points} points, x from {self.x_range[0]:.4g} to {self.x_range[1]:.4g}"]
        lines += [f"left out {point}" for point in self.outliers]
        if self.validation_error is None:
            lines.append("too short to judge by its own past: intervals span the trend of its end")
        else:
            errors = f"{self.validation_error:.2%} off (the last value: {self.last_value_error:.2%})"
            lines.append(f"one octave on, judged on its own past: {errors}")
        tested = any(part.skill is not None for part in self.parts)
        lines.append("weight" + ("  error/last value's" if tested else "") + "  form")
        for part in self.parts:
            memory = part.candidate.memory
            # An octave is a factor of two in x; the last value alone has no memory to speak of.
            told = f", weights halved every {memory:g} octaves back" if 0 < memory < math.inf else ""
            skill = ("" if part.skill is None else f"{part.skill:.3f}").rjust(20) if tested else ""
            lines.append(f"{part.weight:6.1%}{skill}  {part.law!r}{told}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"CurveFit({self.form}): {self.summary()}"
