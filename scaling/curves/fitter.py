"""Fit a one-dimensional curve and continue it: one form, or a blend of forms that the curve's own past has scored.

`fit_curve(x, loss)` hides the last octave of x from each candidate, then an octave and a half, and weighs the
candidates by how well they continued. "The last value, no fit" is a candidate like any other, so a curve that has
gone flat, or is only noise, stays flat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from scaling.curves.law import CURVES, CurveLaw
from scaling.curves.levenberg import levenberg_marquardt
from scaling.errors import FitError, RecordError

Array = np.ndarray
OCTAVE = math.log(2.0)
HIDDEN = (1.0, 1.5)
"""How many octaves validation hides at the end of a curve."""
STARTS = {"last": 1, "m1": 1, "m2": 8, "m3": 12, "m4": 16, "bnsl1": 24, "bnsl2": 48}


FINALISTS = 6
"""Starts that are followed to the end; the others are left after a first descent."""


@dataclass(frozen=True)
class Candidate:
    """A form and how much of the past it looks at.

    Attributes:
        form: name of one of `CURVES`.
        memory: the weight of a point halves with every so many octaves of x before the last; 0 is the last point
            alone.
    """

    form: str
    memory: float = math.inf

    @property
    def law(self) -> CurveLaw:
        """The form without numbers."""
        return CURVES[self.form]()

    def weights(self, u: Array) -> Array:
        """Weight of each point, summing to one: u float64[n], sorted."""
        age = (u[-1] - u) / OCTAVE
        raw = (age == 0).astype(float) if self.memory == 0 else 0.5 ** (age / self.memory)
        return raw / raw.sum()


LAST = Candidate("last", memory=0)
AUTO = (
    LAST,
    Candidate("m2", memory=1),
    Candidate("m4"),
    Candidate("m4", memory=2),
    Candidate("bnsl1"),
    Candidate("bnsl1", memory=2),
)
"""Whole-curve forms that bend, the same with an eye on the recent past, a local power law, and no fit at all."""
SHORT = (LAST, Candidate("m1"))
"""For curves too short to test a form with a floor."""


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
class CurveFit:
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
    """

    form: str
    parts: tuple[CurvePart, ...]
    x_range: tuple[float, float]
    n_points: int
    validation_error: float | None
    last_value_error: float | None

    @property
    def law(self) -> CurveLaw:
        """The heaviest form with its numbers."""
        return self.parts[0].law

    def predict(self, x: Array | float) -> Array:
        """Loss at x: the weighted geometric mean over the parts.

        Args:
            x: float64[...], in the unit of the fit, above zero.

        Returns:
            float64[...] in the unit of the fitted loss.
        """
        x = np.asarray(x, float)
        if not np.all(x > 0):
            raise RecordError(
                "a curve is a function of x > 0, but an x given is not: pass counts of examples, tokens, steps or FLOPs"
            )
        return np.exp(sum(part.weight * np.log(part.law.loss(x=x)) for part in self.parts))

    def summary(self) -> str:
        """One line a part: weight, skill against the last value, formula."""
        lines = [f"{self.n_points} points, x from {self.x_range[0]:.4g} to {self.x_range[1]:.4g}"]
        if self.validation_error is not None:
            errors = f"{self.validation_error:.2%} off (the last value: {self.last_value_error:.2%})"
            lines.append(f"one octave on, judged on its own past: {errors}")
        for part in self.parts:
            memory = "" if math.isinf(part.candidate.memory) else f", memory {part.candidate.memory:g} octaves"
            skill = "untested" if part.skill is None else f"skill {part.skill:.3f}"
            lines.append(f"{part.weight:6.1%}  {skill:<12} {part.law!r}{memory}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"CurveFit({self.form}): {self.summary()}"


def fit_curve(x: Array, loss: Array, *, form: str = "auto", seed: int = 0) -> CurveFit:
    """Fit loss(x) and return something that predicts.

    Squared residuals of log loss are minimised by Levenberg-Marquardt with exact derivatives, from many starts at
    once. With form="auto" every candidate is scored by size-ordered validation inside the curve: fitted without the
    last octave, and without the last octave and a half, and asked for the octave that follows. Its squared error is
    charged for its coefficients (Akaike's final prediction error), its residual variance is added so that a lucky
    hit earns nothing, and its weight is the inverse root of the result.

    Args:
        x: float64[n], above zero: examples, tokens, steps, FLOPs. Any order; repeated x are repeated measurements.
        loss: float64[n], above zero.
        form: "auto", or one of last, m1, m2, m3, m4, bnsl1, bnsl2.
        seed: of the random starts.

    Returns:
        A CurveFit; `.predict(x)` continues the curve.

    Raises:
        RecordError: a value that is not a positive finite number (says which rows).
        FitError: too few different x for the form.
        SpecError: unknown form.

    **Source:** forms: Alabdulmohsin et al. 2022, arXiv 2209.06640; Caballero et al. 2022, arXiv 2210.14891.
    """
    u, y = _checked(x, loss)
    candidates: tuple[Candidate, ...] = AUTO
    if form != "auto":
        law = CURVES[form]()
        candidates = (LAST,) if law.name == "last" else (Candidate(law.name),)
        _require_points(u, len(law.coefficients), form)
    rng = np.random.default_rng(seed)
    parts = _parts(candidates, u, y, rng)
    # A curve too short to leave anything out has no scores: simpler forms, unscored.
    if form == "auto" and not any(part.skill for part in parts if part.candidate != LAST):
        parts = _parts(SHORT, u, y, rng)
    return _blend(form, parts, u, y)


def _checked(x: Array, loss: Array) -> tuple[Array, Array]:
    """Sorted log x and log loss, or an error that names the rows."""
    try:
        x, loss = np.asarray(x, float), np.asarray(loss, float)
    except (TypeError, ValueError) as error:
        raise RecordError(f"x and loss must be numbers: {error}") from error
    if x.ndim != 1 or x.shape != loss.shape:
        raise RecordError(f"x and loss must be two lists of one length: got shapes {x.shape} and {loss.shape}")
    bad = np.flatnonzero(~(np.isfinite(x) & np.isfinite(loss) & (x > 0) & (loss > 0)))
    if len(bad):
        shown = ", ".join(f"row {i}: x={x[i]:g}, loss={loss[i]:g}" for i in bad[:5])
        what = f"x and loss must be finite and above zero, but {len(bad)} of {len(x)} rows are not"
        raise RecordError(f"{what} ({shown}): drop or repair them")
    _require_points(np.log(x), 3, "a curve")
    order = np.argsort(x, kind="stable")
    return np.log(x)[order], np.log(loss)[order]


def _require_points(u: Array, needed: int, what: str) -> None:
    found = len(np.unique(u))
    if found < needed:
        raise FitError(
            f"{what} needs at least {needed} different x: got {found}; add points, or ask for a simpler form"
        )


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """One candidate fitted to one set of points."""

    law: CurveLaw
    variance: float
    starts: float


Errors = dict[int, Array]
"""Log-loss errors on each hidden tail, by the number of points kept before it."""


def _parts(candidates: tuple[Candidate, ...], u: Array, y: Array, rng: np.random.Generator) -> dict[CurvePart, Errors]:
    """Each candidate fitted to the whole curve and scored without its tail; the weights do not sum to one yet."""
    tails = {c: _tail_errors(c, u, y, rng) for c in dict.fromkeys((LAST, *candidates))}
    whole = {c: fitted for c in candidates if (fitted := _fit(c, u, y, rng)) is not None}
    noise = min((fitted.variance for c, fitted in whole.items() if c != LAST), default=0.0)
    parts = {}
    for candidate, fitted in whole.items():
        variance = noise if candidate == LAST else fitted.variance
        skill = _skill(tails[candidate], tails[LAST], len(fitted.law.coefficients), variance, noise)
        part = CurvePart(
            candidate=candidate,
            law=fitted.law,
            weight=1 / skill if skill else 0.0,
            residual=math.sqrt(variance),
            skill=skill,
            starts=fitted.starts,
        )
        parts[part] = tails[candidate]
    return parts


def _tails(u: Array) -> list[tuple[Array, Array]]:
    """(points kept, points asked) at each hidden length; shorter steps on a curve of few octaves."""
    step = min(OCTAVE, (u[-1] - u[0]) / 4)
    cuts = [u[-1] - octaves * step + 1e-9 for octaves in HIDDEN]
    return [(u <= cut, (u > cut) & (u <= cut + step)) for cut in cuts]


def _tail_errors(candidate: Candidate, u: Array, y: Array, rng: np.random.Generator) -> Errors:
    """A tail that the form cannot be fitted without is left out."""
    errors = {}
    for kept, asked in _tails(u):
        if kept.sum() <= len(candidate.law.coefficients) or not asked.any():
            continue
        fitted = _fit(candidate, u[kept], y[kept], rng)
        if fitted is not None:
            errors[int(kept.sum())] = np.log(fitted.law.loss(x=np.exp(u[asked]))) - y[asked]
    return errors


def _skill(errors: Errors, last: Errors, k: int, variance: float, noise: float) -> float | None:
    """Geometric mean over the tails of validation error beside that of the last value; None if there is no tail."""
    if not errors:
        return None
    ratios = []
    for kept, error in errors.items():
        spent = (kept + k) / (kept - k)
        own, reference = np.mean(error**2) * spent + variance, np.mean(last[kept] ** 2) + noise
        ratios.append((own + 1e-24) / (reference + 1e-24))
    return float(np.exp(0.5 * np.mean(np.log(ratios))))


def _blend(form: str, parts: dict[CurvePart, Errors], u: Array, y: Array) -> CurveFit:
    """Weights that sum to one; equal ones only where no part could be tested."""
    total = sum(part.weight for part in parts)
    weighed = {
        replace(part, weight=part.weight / total if total else 1 / len(parts)): errors
        for part, errors in parts.items()
        if part.weight or not total
    }
    return CurveFit(
        form=form,
        parts=tuple(sorted(weighed, key=lambda part: -part.weight)),
        x_range=(float(np.exp(u[0])), float(np.exp(u[-1]))),
        n_points=len(u),
        validation_error=_blended_error([(part.weight, errors) for part, errors in weighed.items()]),
        last_value_error=_blended_error([(1.0, _tail_errors(LAST, u, y, np.random.default_rng(0)))]),
    )


def _blended_error(parts: list[tuple[float, Errors]]) -> float | None:
    """rms over the tails of the weighted errors, each tail with the parts that could be fitted without it."""
    squares = []
    for kept in sorted({kept for _, errors in parts for kept in errors}):
        present = [(weight, errors[kept]) for weight, errors in parts if kept in errors]
        total = sum(weight for weight, _ in present)
        squares.append(np.mean((sum(weight * error for weight, error in present) / total) ** 2))
    return float(np.sqrt(np.mean(squares))) if squares else None


def _fit(candidate: Candidate, u: Array, y: Array, rng: np.random.Generator) -> _Fitted | None:
    """The candidate with its numbers; None if the weighted points cannot carry them."""
    law, weights = candidate.law, candidate.weights(u)
    k, effective = len(law.coefficients), 1 / np.sum(weights**2)
    if candidate != LAST and effective < k + 0.5:
        return None
    origin = u[-1]
    u = u - origin
    box = law.search_box(u, y)
    starts = law.draw_starts(u, y, weights, STARTS[candidate.form], rng)
    theta, cost = levenberg_marquardt(law, starts, u, y, weights, box, tolerance=1e-3, steps=20)
    ahead = theta[np.argsort(cost)[:FINALISTS]]
    theta, cost = levenberg_marquardt(law, ahead, u, y, weights, box, tolerance=1e-5, steps=130)
    best, least = levenberg_marquardt(law, theta[[cost.argmin()]], u, y, weights, box, tolerance=1e-12, steps=300)
    return _Fitted(
        law=law.from_search(law.moved(best[0], origin)),
        variance=float(least[0] * effective / (effective - k)) if candidate != LAST else 0.0,
        starts=float(np.mean(cost <= least[0] * 1.01 + 1e-18)),
    )
