"""Which form the runs support: AICc beside errors on what was held out. Close forms are reported as tied, never
crowned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.errors import FitError
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import Optimum, make_problem, search
from scaling.laws.law import ScalingLaw
from scaling.laws.named import named_law
from scaling.tables.observations import REAL, Observations

Array = np.ndarray
TIE = 4.0
"""AICc differences below this do not decide."""


@dataclass(frozen=True)
class Candidate:
    """One form fitted to all runs.

    Attributes:
        law: with its numbers.
        name: short name.
        k: coefficients, the scatter counted as one.
        aicc: n ln(RSS/n) + 2k + 2k(k+1)/(n-k-1) of log-loss residuals at the least-squares optimum.
        rms: root mean square residual of log loss.
        corner: the same of the largest runs, from a fit of all others; NaN where too few runs remain.
        teacher_out: the same of each teacher, from a fit without it; NaN where the form cannot be fitted without it.
        optimum: the least-squares optimum.
    """

    law: ScalingLaw
    name: str
    k: int
    aicc: float
    rms: float
    corner: float
    teacher_out: float
    optimum: Optimum

    def row(self, best: float) -> dict[str, float | str]:
        """One line of the comparison."""
        return {
            "law": self.name,
            "k": self.k,
            "aicc": self.aicc,
            "delta_aicc": self.aicc - best,
            "rms": self.rms,
            "corner": self.corner,
            "teacher_out": self.teacher_out,
            "at_bound": ", ".join(self.optimum.at_bound),
        }


def candidate_forms(data: Observations, base: str = "chinchilla") -> list[ScalingLaw]:
    """Forms that the columns of these runs can tell apart, simplest first.

    Without a second kind of text there is only the base law. Coverage calls for the bottleneck, both kinds for the
    composite; unknown divergences become one coefficient a teacher.
    """
    if len(data.teachers) == 1 and not _varies(data):
        return [named_law(base)]
    free = free_divergences(data)
    names = ["q0", "q1", "q2", "q1q2"]
    if free:
        names += ["q5"]
    elif np.any(data.columns["delta_coverage"] > 0):
        names += ["q5"]
        names += ["q7"] if np.any(data.columns["delta_noise"] > 0) else []
    return [named_law(name, base=base, **({} if name == "q0" else free)) for name in names]


def free_divergences(data: Observations) -> dict[str, Any]:
    """What a teacher form takes where the runs do not say how far their texts are from real text; else nothing."""
    if "delta_noise" in data.columns:
        return {}
    best = best_text(data)
    others = [label for code, label in enumerate(data.teachers) if code != best]
    return {"teachers": others} | ({"reference": best} if best else {})


def best_text(data: Observations) -> int:
    """Code of the text that teaches best: the first one, real text where there is some, unless another is better by
    more than twice the standard error of the difference.

    By a least-squares surface of log loss over log n and log d, of second order, with a level of each text.
    """
    sizes = [np.log(data.columns[name]) for name in ("n", "d") if name in data.columns]
    sizes = [(values - values.mean()) / (values.std() or 1.0) for values in sizes]
    surface = [*sizes, *(one * other for i, one in enumerate(sizes) for other in sizes[i:])]
    # Levels of the other texts beside the first; one that no run of these has read has none to speak of.
    present = [code for code in range(1, len(data.teachers)) if np.any(data.teacher == code)]
    design = np.column_stack([data.teacher == code for code in present] + [np.ones(len(data)), *surface]).astype(float)
    loss = np.log(data.loss) if np.all(data.loss > 0) else data.loss  # a density may have a loss below zero
    level = np.linalg.lstsq(design, loss, rcond=None)[0]
    scatter = np.sum((loss - design @ level) ** 2) / max(len(data) - design.shape[1], 1)
    error = np.sqrt(scatter * np.diag(np.linalg.pinv(design.T @ design)))
    worse = level[: len(present)] + 2 * error[: len(present)]
    if not present or worse.min() >= 0:
        return 0
    return present[int(np.argmin(level[: len(present)]))]


def _varies(data: Observations) -> bool:
    return any(name in data.columns and np.ptp(data.columns[name]) > 0 for name in ("delta_coverage", "delta_noise"))


def compare(
    data: Observations,
    forms: Sequence[ScalingLaw],
    *,
    held: Mapping[str, float] | None = None,
    validate: bool = True,
    seed: int = 0,
) -> list[Candidate]:
    """Fit every form by least squares of log loss and rank by AICc.

    Args:
        data: runs.
        forms: laws without numbers.
        held: {coefficient: value} known from elsewhere.
        validate: also compute the held-out errors.
        seed: of the starts.

    Returns:
        Candidates, lowest AICc first; forms with more coefficients than the runs allow are left out.

    Raises:
        FitError: no form can be fitted.
    """
    fitted = []
    for form in forms:
        # The scatter is estimated as well, and counts.
        k = len(form.coefficients) - len(held or {}) + 1
        if len(data) <= k + 1:
            continue
        fitted.append(_candidate(data, form, k, held, validate, seed))
    if not fitted:
        raise FitError(f"{len(data)} runs are too few for any of {', '.join(form.name for form in forms)}: add runs")
    return sorted(fitted, key=lambda candidate: candidate.aicc)


def _candidate(data: Observations, form: ScalingLaw, k: int, held, validate: bool, seed: int) -> Candidate:
    optimum, residual = _least_squares(data, form, held, seed)
    n = len(data)
    rss = float(np.sum(residual**2))
    corner = _held_out(data, form, [largest_corner(data)], held, seed) if validate else np.nan
    out = _held_out(data, form, _teacher_masks(data, form), held, seed) if validate else np.nan
    aicc = n * np.log(max(rss, 1e-300) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    return Candidate(
        form.with_values(optimum.theta), form.label, k, float(aicc), float(np.sqrt(rss / n)), corner, out, optimum
    )


def _least_squares(data: Observations, form: ScalingLaw, held, seed: int) -> tuple[Optimum, Array]:
    problem = make_problem(form, data, Objective("squared"), held)
    optimum = search(problem, held=held, seed=seed, count=24, every=False)
    return optimum, np.log(form.evaluate(optimum.theta, problem.x) / data.loss)


def _held_out(data: Observations, form: ScalingLaw, masks: Sequence[Array], held, seed: int) -> float:
    """Root mean square log error on the masked runs, each mask forecast from the rest."""
    errors = []
    for mask in masks:
        rest = data.select(~mask)
        if not mask.any() or len(rest) <= len(form.coefficients) - len(held or {}):
            return np.nan
        optimum, _ = _least_squares(rest, form, held, seed)
        test = data.select(mask)
        errors.append(np.log(form.evaluate(optimum.theta, test.inputs(form.columns)) / test.loss))
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2))) if errors else np.nan


def largest_corner(data: Observations) -> Array:
    """Runs in the upper quarter of both model size and data (at least the single largest of each): bool[n_runs]."""
    axes = [data.columns[name] for name in ("n", "d") if name in data.columns]
    return np.logical_and.reduce([values >= np.quantile(np.unique(values), 0.75) for values in axes])


def _teacher_masks(data: Observations, form: ScalingLaw) -> list[Array]:
    """One mask for each teacher but real text, where its divergence is measured and so a forecast is possible
    without it."""
    if "teacher" in form.columns or "delta_noise" not in form.columns:
        return []
    return [
        data.teacher == code for code, name in enumerate(data.teachers) if name != REAL and np.any(data.teacher == code)
    ]


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Lowest AICc among forms that need all of their coefficients; the lowest of all if none does."""
    needed = [candidate for candidate in candidates if not idle(candidate.optimum.at_bound)]
    return (needed or list(candidates))[0]


def idle(at_bound: Sequence[str]) -> list[str]:
    """Coefficients on a bound, that a simpler form does without; but a text as good as the best has a divergence of
    zero, and is still told from the others."""
    return [name for name in at_bound if not name.startswith("delta[")]
