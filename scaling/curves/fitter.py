"""Fit a one-dimensional curve and continue it: one form, or a blend of forms that the curve's own past has scored.

`fit_curve(x, loss)` hides the last octave of x from each candidate, then an octave and a half, and weighs the
candidates by how well they continued. "The last value, no fit" is a candidate like any other, so a curve that has
gone flat, or is only noise, stays flat.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from scaling.curves.candidates import AUTO, LAST, OCTAVE, SHORT, Candidate, Task, fit_tasks
from scaling.curves.forecast import CurveFit, CurvePart
from scaling.curves.law import CURVES
from scaling.curves.outliers import Outlier, far_points
from scaling.errors import FitError, RecordError

Array = np.ndarray
HIDDEN = (1.0, 1.5)
"""How many octaves validation hides at the end of a curve."""
MOST_POINTS = 200
"""Points that a fit looks at."""
FEWEST_POINTS = 4
"""Different x below which nothing says whether a curve bends: two lie on any power law, three on any with a floor."""


def fit_curve(x: Array, loss: Array, *, form: str = "auto", outliers: bool = True, seed: int = 0) -> CurveFit:
    """Fit loss(x) and return something that predicts.

    >>> x = np.geomspace(100, 1e5, 20)
    >>> float(fit_curve(x, 1.5 + 8 * x**-0.4, form="m2").predict(2e5).value.round(3))
    1.561

    Squared residuals of log loss are minimised by Levenberg-Marquardt with exact derivatives, from many starts at
    once. With form="auto" every candidate is scored by size-ordered validation inside the curve: fitted without the
    last octave, and without the last octave and a half, and asked for the octave that follows. Its squared error is
    charged for its coefficients (Akaike's final prediction error), its residual variance is added so that a lucky
    hit earns nothing, and its weight is the inverse root of the result.

    Args:
        x: float64[n], above zero: examples, tokens, steps, FLOPs. Any order; repeated x are repeated measurements.
        loss: float64[n], above zero.
        form: "auto", or one of last, m1, m2, m3, m4, bnsl1, bnsl2.
        outliers: leave out points far from their neighbours (`scaling.curves.outliers`); the fit names them.
        seed: of the random starts.

    Returns:
        A CurveFit; `.predict(x)` continues the curve.

    Raises:
        RecordError: a value that is not a positive finite number (says which rows).
        FitError: too few different x for the form.
        SpecError: unknown form.

    **Source:** forms: Alabdulmohsin et al. 2022, arXiv 2209.06640; Caballero et al. 2022, arXiv 2210.14891.
    """
    all_u, all_y, rows = _checked(x, loss)
    kept = _representatives(all_u, all_y)
    u, y, rows = all_u[kept], all_y[kept], rows[kept]
    far = far_points(u, y) if outliers else {}
    left_out = tuple(
        Outlier(int(rows[i]), float(np.exp(u[i])), float(np.exp(y[i])), math.exp(expected))
        for i, expected in sorted(far.items(), key=lambda item: rows[item[0]])
    )
    u, y = np.delete(u, list(far)), np.delete(y, list(far))
    candidates: tuple[Candidate, ...] = AUTO
    if form != "auto":
        law = CURVES[form]()
        candidates = (LAST,) if law.name == "last" else (Candidate(law.name),)
        _require_points(u, math.ceil(candidates[0].needs), form)
    _require_points(u, FEWEST_POINTS, "a curve")
    rng = np.random.default_rng(seed)
    parts = _parts(candidates, u, y, rng)
    # A curve too short to leave anything out has no scores: simpler forms, unscored.
    if form == "auto" and not any(part.skill for part in parts if part.candidate != LAST):
        parts = _parts(SHORT, u, y, rng)
    fit = _blend(form, parts, u, y, left_out)
    if len(kept) == len(all_u):
        return fit
    # What is fitted scatters less than what is measured: an interval is for a measurement.
    end = all_u >= u[-1] - OCTAVE
    scatter = 1.4826 * float(np.median(np.abs(all_y[end] - np.log(fit.loss(np.exp(all_u[end]))))))
    x_range = float(np.exp(all_u[0])), float(np.exp(all_u[-1]))
    return replace(fit, n_points=len(all_u) - len(left_out), x_range=x_range, noise=max(fit.noise, scatter))


def _representatives(u: Array, y: Array) -> Array:
    """Indices of at most about `MOST_POINTS` points that stand for all: of each short stretch of log x the one with the
    median loss. A log of every step says no more about the trend of a curve, and its spikes are outvoted here.
    """
    if len(u) <= MOST_POINTS:
        return np.arange(len(u))
    stretch = np.minimum((u - u[0]) / (u[-1] - u[0]) * MOST_POINTS, MOST_POINTS - 1).astype(int)
    members = np.split(np.arange(len(u)), np.flatnonzero(np.diff(stretch)) + 1)
    return np.array([group[np.argsort(y[group], kind="stable")[(len(group) - 1) // 2]] for group in members])


def _checked(x: Array, loss: Array) -> tuple[Array, Array, Array]:
    """Sorted log x and log loss with the rows that they come from, or an error that names the rows."""
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
    _require_points(np.log(x), FEWEST_POINTS, "a curve")
    order = np.argsort(x, kind="stable")
    return np.log(x)[order], np.log(loss)[order], order


def _require_points(u: Array, needed: int, what: str) -> None:
    found = len(np.unique(u))
    if found < needed:
        raise FitError(
            f"{what} needs at least {needed} different x: got {found}; add points, or ask for a simpler form"
        )


Errors = dict[int, Array]
"""Log-loss errors on each hidden tail, by the number of points kept before it."""


def _parts(candidates: tuple[Candidate, ...], u: Array, y: Array, rng: np.random.Generator) -> dict[CurvePart, Errors]:
    """Each candidate fitted to the whole curve and scored without its tail; the weights do not sum to one yet."""
    tails = {int(kept.sum()): asked for kept, asked in _tails(u) if asked.any()}
    every = dict.fromkeys((LAST, *candidates))
    # A tail that leaves a form no more points than coefficients is no test of it.
    tested = [Task(c, kept) for c in every for kept in tails if kept > len(c.law.coefficients)]
    fits = fit_tasks([*(Task(c, len(u)) for c in candidates), *tested], u, y, rng)
    errors: dict[Candidate, Errors] = {c: {} for c in every}
    for task in tested:
        if task in fits:
            asked = tails[task.kept]
            errors[task.candidate][task.kept] = np.log(fits[task].law.loss(x=np.exp(u[asked]))) - y[asked]
    whole = {c: fits[Task(c, len(u))] for c in candidates if Task(c, len(u)) in fits}
    # The last value fits itself exactly: the scatter of the best form stands for its own.
    noise = min((fitted.variance for c, fitted in whole.items() if c != LAST), default=0.0)
    parts = {}
    for candidate, fitted in whole.items():
        variance = noise if candidate == LAST else fitted.variance
        skill = skill_of(errors[candidate], errors[LAST], len(fitted.law.coefficients), variance, noise)
        part = CurvePart(
            candidate=candidate,
            law=fitted.law,
            weight=1 / skill if skill else 0.0,
            residual=math.sqrt(variance),
            skill=skill,
            starts=fitted.starts,
        )
        parts[part] = errors[candidate]
    return parts


def _tails(u: Array) -> list[tuple[Array, Array]]:
    """(points kept, points asked) at each hidden length; shorter steps on a curve of few octaves."""
    step = _step(u)
    cuts = [u[-1] - octaves * step + 1e-9 for octaves in HIDDEN]
    return [(u <= cut, (u > cut) & (u <= cut + step)) for cut in cuts]


def _step(u: Array) -> float:
    """An octave, or a quarter of a curve that has fewer than four."""
    return min(OCTAVE, float(u[-1] - u[0]) / 4)


def skill_of(errors: Errors, last: Errors, k: int, variance: float, noise: float) -> float | None:
    """Geometric mean over the tails of validation error beside that of the last value; None if there is no tail."""
    if not errors:
        return None
    ratios = []
    for kept, error in errors.items():
        spent = (kept + k) / (kept - k)
        own, reference = np.mean(error**2) * spent + variance, np.mean(last[kept] ** 2) + noise
        ratios.append((own + 1e-24) / (reference + 1e-24))
    return float(np.exp(0.5 * np.mean(np.log(ratios))))


def _blend(form: str, parts: dict[CurvePart, Errors], u: Array, y: Array, outliers: tuple[Outlier, ...]) -> CurveFit:
    """Weights that sum to one; equal ones only where no part could be tested."""
    if not parts:  # a curve of no parts would be e^0 everywhere
        raise FitError(f"{form}: got {len(u)} points, too few for it: add points, or ask for a simpler form")
    total = sum(part.weight for part in parts)
    weighed = {
        replace(part, weight=part.weight / total if total else 1 / len(parts)): errors
        for part, errors in parts.items()
        if part.weight or not total
    }
    heaviest_first = tuple(sorted(weighed, key=lambda part: -part.weight))
    jumps = 1.4826 * float(np.median(np.abs(np.diff(y)))) / math.sqrt(2)  # the scatter of points without a form
    stays = {int(kept.sum()): y[kept][-1] - y[asked] for kept, asked in _tails(u) if asked.any() and kept.any()}
    tested = any(errors for part, errors in weighed.items() if part.candidate != LAST or form == "last")
    return CurveFit(
        form=form,
        parts=heaviest_first,
        x_range=(float(np.exp(u[0])), float(np.exp(u[-1]))),
        n_points=len(u),
        validation_error=_rms([(part.weight, errors) for part, errors in weighed.items()]) if tested else None,
        last_value_error=_rms([(1.0, stays)]),
        trend=_trend(u, y),
        noise=next((part.residual for part in heaviest_first if part.candidate != LAST), jumps),
        outliers=outliers,
    )


def _trend(u: Array, y: Array) -> float:
    """Size of the change of log loss per octave, by least squares over the last points (four at least)."""
    near = slice(min(len(u) - FEWEST_POINTS, int(np.searchsorted(u, u[-1] - 2 * _step(u)))), None)
    spread = u[near] - u[near].mean()
    slope = float(spread @ y[near] / max(float(spread @ spread), 1e-300))
    return abs(slope) * OCTAVE


def _rms(parts: list[tuple[float, Errors]]) -> float | None:
    """rms over the tails of the weighted errors, each tail with the parts that could be fitted without it."""
    squares = []
    for kept in sorted({kept for _, errors in parts for kept in errors}):
        present = [(weight, errors[kept]) for weight, errors in parts if kept in errors]
        total = sum(weight for weight, _ in present)
        squares.append(np.mean((sum(weight * error for weight, error in present) / total) ** 2))
    return float(np.sqrt(np.mean(squares))) if squares else None
