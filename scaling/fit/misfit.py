"""Texts that the law of all texts misses: losses that fall faster or slower with size or data than it says."""

from __future__ import annotations

import numpy as np

from scaling.fit.doubt.covariance import residuals
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.search import Optimum
from scaling.laws.teacher import TeacherLaw
from scaling.tables.observations import Observations

Array = np.ndarray
FEWEST = 6
"""Runs of a text on which its own trend is looked for."""
SURE = 5.0
"""Standard errors from zero at which a trend is told. Runs share trunks and bases bend, so that three are common where
one form of law is that of all texts."""
LARGE = 0.01
"""Change of log loss over the runs of a text at which its trend matters."""


def texts_off_the_law(problem: Problem, optimum: Optimum, data: Observations) -> list[str]:
    """A note on the texts whose runs lie off the law by a trend of their own, over ln N or ln D.

    A form has one divergence for each text, and says for all texts alike what it costs. Where one text raises the floor
    and another only costs data, none of these holds for both; `q8` has two numbers for each text, and `qm` three.
    """
    if len(data.teachers) < 2 or not problem.objective.log:
        return []
    error = residuals(problem, optimum.u)
    off = [
        f"{label} by {100 * change:+.1f} % over its {axis.upper()}"
        for code, label in enumerate(data.teachers)
        for axis, change in _trends(error, data, data.teacher == code)
    ]
    if not off:
        return []
    law = problem.law
    other = "q8" if isinstance(law, TeacherLaw) and law.teachers and law.numbers_a_text == 1 else "qm"
    return [
        f"texts differ in kind, and this form misses {', '.join(off)}: forecasts of larger students may be off by as "
        f"much and more, whatever their interval; law {other!r} (--law {other}) gives each text numbers of its own"
    ]


def _trends(error: Array, data: Observations, own: Array) -> list[tuple[str, float]]:
    """Axes along which the runs of one text leave the law, and the change of log(predicted/measured) over them."""
    axes = [name for name in ("n", "d") if name in data.columns and np.ptp(data.columns[name][own]) > 0]
    if own.sum() < max(FEWEST, len(axes) + 3):
        return []
    sizes = [np.log(data.columns[name][own]) for name in axes]
    design = np.column_stack([np.ones(own.sum()), *sizes])
    slope = np.linalg.lstsq(design, error[own], rcond=None)[0]
    left = error[own] - design @ slope
    variance = np.sum(left**2) / (own.sum() - design.shape[1]) * np.diag(np.linalg.pinv(design.T @ design))
    change = slope[1:] * [np.ptp(size) for size in sizes]
    certain = np.abs(slope[1:]) > SURE * np.sqrt(variance[1:])
    return [(axis, float(by)) for axis, by, sure in zip(axes, change, certain, strict=True) if sure and abs(by) > LARGE]
