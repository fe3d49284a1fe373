"""Which form the runs support: AICc beside errors on what was held out. Close forms are reported as tied, never
crowned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.errors import FitError
from scaling.fit.doubt.covariance import residuals
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import Optimum, make_problem, search
from scaling.laws.law import ScalingLaw
from scaling.laws.named import named_law
from scaling.laws.teacher import Mixture, TeacherLaw
from scaling.tables.observations import REAL, Observations

Array = np.ndarray
TIE = 4.0
"""AICc differences below this do not decide."""

APART = 20.0
"""By how much AICc must be lower for several numbers a text. A base that bends a little is missed alike by neighbouring
runs, which more numbers take up: by 8 of 82 runs of two corpora, 250 of 75 where texts do differ in kind."""


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


def candidate_forms(
    data: Observations, base: str = "chinchilla", held: Mapping[str, float] | None = None
) -> list[ScalingLaw]:
    """Forms that the columns of these runs can tell apart, simplest first.

    Without a second kind of text there is only the base law. Coverage calls for the bottleneck, both kinds for the
    composite, documents of two kinds for the mixture; unknown divergences become one coefficient a teacher. A form
    without a coefficient that is held is none, unless all are.
    """
    if len(data.teachers) == 1 and not _varies(data):
        return [named_law(base)]
    free = free_divergences(data, held)
    names = ["q0", "q1", "q2", "q1q2"]
    if free:
        names += ["q5", "q8"]
    elif np.any(data.columns["delta_coverage"] > 0):
        names += ["q5"]
        names += ["q7"] if np.any(data.columns["delta_noise"] > 0) else []
    if set(Mixture.columns) <= set(data.columns):
        share = data.columns["real_share"]
        names += ["mixture"] if np.any((share > 0) & (share < 1)) else []
    forms = [named_law(name, base=base, **({} if name == "q0" else free)) for name in names]
    return [form for form in forms if set(held or {}) <= set(form.names)] or forms


def free_divergences(data: Observations, held: Mapping[str, float] | None = None) -> dict[str, Any]:
    """What a teacher form takes where the runs do not say how far their texts are from real text; else nothing.

    Whoever holds E or a divergence speaks of real text, which is then what the texts are told by, read or not.
    """
    if "delta_noise" in data.columns:
        return {}
    best = 0 if any(name.startswith("delta[") for name in held or {}) else best_text(data)
    if "E" in (held or {}):
        best = data.teachers.index(REAL) if REAL in data.teachers else len(data.teachers)
    others = [label for code, label in enumerate(data.teachers) if code != best]
    return {"teachers": others} | ({"reference": best} if best else {})


def best_text(data: Observations) -> int:
    """Code of the text that teaches best: the first one, real text where there is some, unless the text with the lowest
    losses for its sizes does better as what the others are told by: n ln(RSS) of the floor law lower by `TIE`."""
    lowest = _lowest_text(data)
    labels = list(data.teachers)
    forms = [named_law("q1", teachers=labels[:code] + labels[code + 1 :], reference=code) for code in (0, lowest)]
    if not lowest or len(data) <= len(forms[0].coefficients) + 1:
        return 0
    missed = [_least_squares(data, form, None, 0, log=_log_scale(data))[0].value for form in forms]
    return lowest if len(data) * np.log(max(missed[0], 1e-300) / max(missed[1], 1e-300)) > TIE else 0


def _log_scale(data: Observations) -> bool:
    """Whether losses have logarithms: a density may have a loss below zero."""
    return bool(np.all(data.loss > 0))


def _lowest_text(data: Observations) -> int:
    """Code of the text with the lowest losses for its sizes, by a least-squares surface of log loss over log n and log
    d, of second order, with a level of each text; the first where no other is lower."""
    sizes = [np.log(data.columns[name]) for name in ("n", "d") if name in data.columns]
    sizes = [(values - values.mean()) / (values.std() or 1.0) for values in sizes]
    surface = [*sizes, *(one * other for i, one in enumerate(sizes) for other in sizes[i:])]
    # Levels of the other texts beside the first; one that no run of these has read has none to speak of.
    present = [code for code in range(1, len(data.teachers)) if np.any(data.teacher == code)]
    design = np.column_stack([data.teacher == code for code in present] + [np.ones(len(data)), *surface]).astype(float)
    loss = np.log(data.loss) if _log_scale(data) else data.loss
    level = np.linalg.lstsq(design, loss, rcond=None)[0][: len(present)]
    return present[int(np.argmin(level))] if present and level.min() < 0 else 0


def _varies(data: Observations) -> bool:
    return any(name in data.columns and np.ptp(data.columns[name]) > 0 for name in ("delta_coverage", "delta_noise"))


def compare(
    data: Observations,
    forms: Sequence[ScalingLaw],
    *,
    held: Mapping[str, float] | None = None,
    seed: int = 0,
) -> list[Candidate]:
    """Fit every form by least squares of log loss and rank by AICc.

    Args:
        data: runs.
        forms: laws without numbers.
        held: {coefficient: value} known from elsewhere.
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
        fitted.append(_candidate(data, form, k, held, seed))
    if not fitted:
        fewest = min(len(form.coefficients) for form in forms) - len(held or {}) + 3
        raise FitError(
            f"{len(data)} runs are too few for any of {', '.join(form.name for form in forms)}: add at least "
            f"{fewest - len(data)}, or name a law with fewer coefficients"
        )
    return sorted(fitted, key=lambda candidate: candidate.aicc)


def _candidate(data: Observations, form: ScalingLaw, k: int, held, seed: int) -> Candidate:
    optimum, residual = _least_squares(data, form, held, seed)
    n = len(data)
    rss = float(np.sum(residual**2))
    corner = _held_out(data, form, [largest_corner(data)], held, seed)
    out = _held_out(data, form, _teacher_masks(data, form), held, seed)
    aicc = n * np.log(max(rss, 1e-300) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    return Candidate(
        form.with_values(optimum.theta), form.label, k, float(aicc), float(np.sqrt(rss / n)), corner, out, optimum
    )


def _least_squares(data: Observations, form: ScalingLaw, held, seed: int, log: bool = True) -> tuple[Optimum, Array]:
    problem = make_problem(form, data, Objective("squared", log=log), held)
    optimum = search(problem, held=held, seed=seed, count=24, every=False)
    return optimum, residuals(problem, optimum.u)


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
    """Lowest AICc among the forms that may be chosen; the lowest of all if none may."""
    return (eligible(candidates) or list(candidates))[0]


def eligible(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Forms that need all of their coefficients; one with several numbers a text only where it leads by `APART`."""
    bar = min((one.aicc for one in candidates if not _has_several_a_text(one.law)), default=np.inf) - APART
    return [
        one
        for one in candidates
        if not idle(one.optimum.at_bound) and (not _has_several_a_text(one.law) or one.aicc < bar)
    ]


def _has_several_a_text(law: ScalingLaw) -> bool:
    return isinstance(law, TeacherLaw) and law.numbers_a_text > 1


def idle(at_bound: Sequence[str]) -> list[str]:
    """Coefficients on a bound, that a simpler form does without; but a text as good as the best has a divergence of
    zero, and is still told from the others."""
    return [name for name in at_bound if not name.startswith("delta[")]
