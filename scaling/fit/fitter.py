"""`fit`: from a runs table to a Fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.fit import select
from scaling.fit.identify import design_faults, fit_faults
from scaling.fit.laws import ScalingLaw
from scaling.fit.minimise import Problem
from scaling.fit.named import AUTO, STACK, named_law
from scaling.fit.objective import Kind, Objective
from scaling.fit.observe import observe
from scaling.fit.quality import TeacherLaw
from scaling.fit.result import Calibration, Fit, Member, Status
from scaling.fit.search import Optimum, make_problem, search
from scaling.fit.table import Observations, select_rows
from scaling.fit.uncertainty import Resampling, asymptotic_covariance, bootstrap, condition_number, residual_scale

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
STACKED_BASES = ("chinchilla", "tied", "skaling")
LEVELS = tuple(np.round(np.concatenate([[0.0005, 0.0025], np.linspace(0.005, 0.995, 199), [0.9975, 0.9995]]), 6))


def fit(
    runs: pd.DataFrame,
    *,
    law: str | ScalingLaw = STACK,
    n: str = "n_params",
    d: str = "n_tokens",
    loss: str = "loss",
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
    delta: float = 1e-3,
    objective: Kind = "huber",
    log: bool = True,
    clusters: str | None = "trunk_id",
    held: Mapping[str, float] | None = None,
    bootstrap: int = 1000,
    resampling: Resampling = "wild",
    starts: int = 32,
    seed: int = 0,
    strict: bool = True,
) -> Fit:
    """Fit a scaling law to a table of runs.

    Minimises sum_i w_i Huber_delta(log(L(n_i, d_i) / loss_i)).

    Args:
        runs: one row a run; see `scaling.fit.observe.observe` for the columns that are used where present.
        law: a name (`scaling.fit.named`), a law without numbers, "auto" (the form with the lowest AICc), or "stack" (the default: that
            form on several bases, averaged by how well they forecast larger runs from smaller ones).
        n, d: columns of model size and tokens; the Fit names them, for its numbers hold in that convention only.
        loss: column of the loss, nats/token.
        columns: further columns by the law's name of them, as {"c": "flops"}; may override n and d.
        where: expression that keeps rows.
        delta: Huber threshold in log loss.
        objective: "huber", "squared" or "absolute".
        log: residuals of log loss; False for a loss that may be negative.
        clusters: column of runs that share noise.
        held: {coefficient: value} that are known, as the exact entropy of a world: {"E": 1.3704}.
        bootstrap: replicates.
        resampling: "wild" or "pairs"; see `scaling.fit.uncertainty.bootstrap`.
        starts: random starts for each law.
        seed: of starts and replicates.
        strict: raise where the fit must not be used; False returns it with its status.

    Returns:
        Fit.

    Raises:
        RecordError: the table cannot be used; names rows and columns.
        FitError: the runs do not determine the law; holds the Fit and says which runs to add.
        SpecError: unknown law, objective or held coefficient.
    """
    aim = Objective(objective, delta, log)
    data = observe(
        select_rows(runs, where), columns=_columns(law, n, d, columns), loss=loss, clusters=clusters, positive=log
    )
    return fit_observations(
        data, law=law, objective=aim, held=held, replicates=bootstrap, resampling=resampling, starts=starts, seed=seed, strict=strict
    )


def fit_observations(
    data: Observations,
    *,
    law: str | ScalingLaw = STACK,
    objective: Objective = Objective(),
    held: Mapping[str, float] | None = None,
    replicates: int = 1000,
    resampling: Resampling = "wild",
    starts: int = 32,
    seed: int = 0,
    strict: bool = True,
) -> Fit:
    """`fit`, from checked observations."""
    forms, selection = _forms(data, law, held, seed)
    _check_held(forms, held)
    solved = [_solve(form, data, objective, held, starts, seed) for form in forms]
    weights = np.full(len(forms), 1 / len(forms))
    members = tuple(
        _member(problem, optimum, weight, data, replicates, resampling, seed)
        for (problem, optimum), weight in zip(solved, weights, strict=True)
    )
    lead = int(np.argmax(weights))
    problem, optimum = solved[lead]
    result = Fit(
        members=members,
        objective=objective,
        columns=data.names,
        teachers=_teachers(data),
        ranges={name: (float(data.columns[name].min()), float(data.columns[name].max())) for name in ("n", "d", "c", "x") if name in data.columns},
        n_runs=len(data),
        n_clusters=data.n_clusters,
        excluded=data.excluded,
        residuals=_residuals(problem, optimum, data),
        status=_status(problem, optimum, data),
        calibration=_in_sample(problem, optimum, data),
        covariance=_covariance(problem, optimum, members[lead].samples),
        selection=tuple(selection),
        condition=condition_number(problem, optimum),
    )
    if strict and not result.success:
        raise FitError(" ".join(result.status.reasons), fit=result)
    return result


def _columns(law: str | ScalingLaw, n: str, d: str, columns: Mapping[str, str] | None) -> dict[str, str]:
    """Columns of the table by the law's names of them."""
    sizes = {"n": n, "d": d}
    if isinstance(law, ScalingLaw) or law not in (STACK, AUTO):
        form = named_law(law) if isinstance(law, str) else law
        sizes = {name: column for name, column in sizes.items() if name in form.columns}
    return sizes | dict(columns or {})


def _forms(data: Observations, law: str | ScalingLaw, held, seed: int) -> tuple[list[ScalingLaw], list[dict]]:
    """The laws to fit, and the comparison that led to them."""
    if isinstance(law, ScalingLaw):
        return [law], []
    if law not in (STACK, AUTO):
        return [_with_teachers(named_law(law), data)], []
    candidates = select.compare(data, select.candidate_forms(data), held=held, seed=seed)
    rows = [candidate.row(candidates[0].aicc) for candidate in candidates]
    chosen = select.choose(candidates).law
    form = type(chosen)(**chosen.structure())
    return (stacked(form, data) if law == STACK else [form]), rows


def stacked(form: ScalingLaw, data: Observations) -> list[ScalingLaw]:
    """The form on every base of the stack that the runs can determine."""
    quality = form.name if isinstance(form, TeacherLaw) else None
    free = {"teachers": list(form.teachers)} if isinstance(form, TeacherLaw) and form.teachers else {}
    laws = [named_law(quality, base=base, **free) if quality else named_law(base) for base in STACKED_BASES]
    return [law for law in laws if len(data) > len(law.coefficients) + 1] or [form]


def _with_teachers(form: ScalingLaw, data: Observations) -> ScalingLaw:
    """A teacher form takes free divergences where the table does not know them."""
    if form.name == "qm":
        return named_law("qm", teachers=list(data.teachers))
    if isinstance(form, TeacherLaw) and form.name != "q0" and "delta_noise" not in data.columns:
        return named_law(form.name, base=form.base.name, teachers=list(data.teachers[1:]))
    return form


def _check_held(forms: Sequence[ScalingLaw], held: Mapping[str, float] | None) -> None:
    for name in held or {}:
        if any(name not in form.names for form in forms):
            names = sorted({name for form in forms for name in form.names})
            raise SpecError(f"cannot hold {name!r}: the coefficients are {', '.join(names)}")


def _solve(form: ScalingLaw, data: Observations, objective: Objective, held, starts: int, seed: int) -> tuple[Problem, Optimum]:
    problem = make_problem(form, data, objective, held)
    return problem, search(problem, held=held, count=starts, seed=seed)


def _member(problem: Problem, optimum: Optimum, weight: float, data: Observations, replicates: int, how: Resampling, seed: int) -> Member:
    samples = bootstrap(problem, optimum, data.cluster, count=replicates, seed=seed, how=how)
    law = type(problem.law)(**problem.law.structure()).with_values(optimum.theta)
    return Member(law, float(weight), optimum.value, optimum.tried, optimum.reached, samples, optimum.at_bound)


def _covariance(problem: Problem, optimum: Optimum, samples: Array) -> Array:
    """Of the coefficients: from the bootstrap, or Gauss-Newton without one."""
    if len(samples) > 1:
        return np.cov(samples.T).reshape(len(optimum.theta), -1)
    scale = np.where(problem.is_log, optimum.theta, 1.0)
    return asymptotic_covariance(problem, optimum) * np.outer(scale, scale)


def _residuals(problem: Problem, optimum: Optimum, data: Observations) -> dict[str, float]:
    residual = problem.objective.residual(problem.law.evaluate(optimum.theta, problem.x), data.loss)
    return {str(row): float(value) for row, value in zip(data.rows, residual, strict=True)}


def _teachers(data: Observations) -> dict[str, dict[str, float]]:
    """Known divergences by teacher, in the order of the codes."""
    known = [name for name in ("delta_coverage", "delta_noise", "teacher_loss") if name in data.columns]
    facts = {}
    for code, label in enumerate(data.teachers):
        rows = data.teacher == code
        values = {name: float(np.mean(data.columns[name][rows])) for name in known if rows.any()}
        facts[label] = {name: value for name, value in values.items() if np.isfinite(value)}
    return facts


def _status(problem: Problem, optimum: Optimum, data: Observations) -> Status:
    condition = condition_number(problem, optimum)
    design = design_faults(data, problem.law.columns)
    own = fit_faults(condition, optimum.at_bound, problem.law.names)
    reasons = list(design)
    if not optimum.converged:
        reasons.append("The search did not converge: give more starts, or a simpler law.")
    notes = [f"only {optimum.reached} of {optimum.tried} starts reached the optimum"] if optimum.reached < optimum.tried / 4 else []
    return Status(
        converged=optimum.converged,
        interior=not optimum.at_bound,
        identified=not design and len(own) == bool(optimum.at_bound),
        reasons=tuple(reasons + own),
        notes=tuple(notes),
    )


def _in_sample(problem: Problem, optimum: Optimum, data: Observations) -> Calibration:
    """Student's t with the trunks' degrees of freedom: all that can be said without held-out forecasts."""
    from scipy.stats import t

    left = max(data.n_clusters - int(problem.free.sum()), 2)
    quantiles = tuple(float(q) for q in t.ppf(LEVELS, left))
    return Calibration(tuple(float(p) for p in LEVELS), quantiles, residual_scale(problem, optimum))
