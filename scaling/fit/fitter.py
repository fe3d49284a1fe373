"""`fit`: from a runs table to a Fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.fit import select
from scaling.fit.doubt.bootstrap import Resampling, bootstrap
from scaling.fit.doubt.calibrate import calibration, cross_checked
from scaling.fit.doubt.covariance import asymptotic_covariance, condition_number
from scaling.fit.doubt.profile import profile
from scaling.fit.evidence import Member, Status
from scaling.fit.identify import design_faults, fit_faults
from scaling.fit.observe import observe
from scaling.fit.result import Fit
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.objective import Kind, Objective
from scaling.fit.solve.search import Optimum
from scaling.fit.stack import solve, stack_weights, validate
from scaling.fit.suspects import suspects, without
from scaling.fit.table import TEXT_COLUMNS, Observations
from scaling.fit.units import size_column
from scaling.laws.law import ScalingLaw
from scaling.laws.named import AUTO, STACK, named_law
from scaling.laws.teacher import TeacherLaw

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
STACKED_BASES = ("tied", "chinchilla", "skaling", "tied-skaling")
DEFAULT_OBJECTIVE = Objective()
SPREAD_REPLICATES = 250
"""Replicates of the laws that do not lead: enough for the spread of their forecasts."""


def fit(
    runs: pd.DataFrame,
    *,
    law: str | ScalingLaw = STACK,
    n: str | None = None,
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
    resampling: Resampling = "pairs",
    starts: int = 32,
    profiles: Sequence[str] = (),
    seed: int = 0,
    strict: bool = True,
) -> Fit:
    """Fit a scaling law to a table of runs.

    Minimises sum_i w_i Huber_delta(log(L(n_i, d_i) / loss_i)).

    Args:
        runs: one row a run; see `scaling.fit.observe.observe` for the columns that are used where present.
        law: a name (`scaling.laws.named`), a law without numbers, "auto" (the form with the lowest AICc), or "stack"
            (the default: that form on several bases, averaged by how well they forecast larger runs from smaller ones).
        n, d: columns of model size and tokens; the Fit names them, for its numbers hold in that convention only. By
            default the first of `scaling.fit.units.SIZE_COLUMNS` that the table has.
        loss: column of the loss, nats/token.
        columns: further columns by the law's name of them, as {"c": "flops"}; may override n and d.
        where: expression that keeps rows.
        delta: Huber threshold in log loss.
        objective: "huber", "squared" or "absolute".
        log: residuals of log loss; False for a loss that may be negative.
        clusters: column of runs that share noise.
        held: {coefficient: value} that are known, as the exact entropy of a world: {"E": 1.3704}.
        bootstrap: replicates.
        resampling: "pairs" or "wild"; see `scaling.fit.doubt.bootstrap.bootstrap`.
        starts: random starts for each law.
        profiles: coefficients whose profile interval is wanted too: slower than the bootstrap, and able to say "not
            identified above".
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
    sizes = law_columns(law, n or size_column(runs.columns), d, columns)
    data = observe(runs, columns=sizes, loss=loss, clusters=clusters, positive=log, where=where)
    return fit_observations(
        data,
        law=law,
        objective=aim,
        held=held,
        replicates=bootstrap,
        resampling=resampling,
        starts=starts,
        profiles=profiles,
        seed=seed,
        strict=strict,
    )


def fit_observations(
    data: Observations,
    *,
    law: str | ScalingLaw = STACK,
    objective: Objective = DEFAULT_OBJECTIVE,
    held: Mapping[str, float] | None = None,
    replicates: int = 1000,
    resampling: Resampling = "pairs",
    starts: int = 32,
    profiles: Sequence[str] = (),
    seed: int = 0,
    strict: bool = True,
) -> Fit:
    """`fit`, from checked observations."""
    forms, selection = _forms(data, law, held, seed)
    _check_held(forms, held)
    solved = solve(forms, data, objective, held=held, starts=starts, seed=seed)
    scores = (
        validate(solved, forms, data, objective, held=held)
        if {"n", "d"} <= set(forms[0].columns) and objective.log
        else []
    )
    weights = stack_weights(scores, len(forms))
    lead = int(np.argmax(weights))
    members = tuple(
        _member(
            problem,
            optimum,
            weights[i],
            data,
            replicates if i == lead else min(replicates, SPREAD_REPLICATES),
            resampling,
            seed,
        )
        for i, (problem, optimum) in enumerate(zip(solved.problems, solved.optima, strict=True))
    )
    problem, optimum = solved.problems[lead], solved.optima[lead]
    odd = suspects(problem, optimum, data)
    result = Fit(
        members=members,
        objective=objective,
        columns=data.names,
        teachers=_teachers(data),
        texts=data.texts,
        ranges={
            name: (float(data.columns[name].min()), float(data.columns[name].max()))
            for name in ("n", "d", "c", "x")
            if name in data.columns
        },
        n_runs=len(data),
        n_clusters=data.n_clusters,
        excluded=data.excluded,
        made_of=data.made_of,
        suspects=odd,
        without=without(odd, problem, optimum, data),
        residuals=_residuals(problem, optimum, data),
        status=_status(problem, optimum, data, held),
        calibration=calibration(scores, weights, solved.noise, data.n_clusters - int(problem.free.sum())),
        covariance=_covariance(problem, optimum, members[lead].samples),
        selection=tuple(selection),
        backtest=cross_checked(scores, weights),
        condition=condition_number(problem, optimum),
        profiles={name: _profile(problem, optimum, name, data.cluster) for name in profiles},
    )
    if strict and not result.success:
        raise FitError(" ".join(result.status.reasons), fit=result)
    return result


def law_columns(law: str | ScalingLaw, n: str, d: str, columns: Mapping[str, str] | None) -> dict[str, str]:
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
    chosen = select.choose(candidates)
    if law == AUTO:
        picked = [chosen]
    elif not isinstance(chosen.law, TeacherLaw):
        laws = [named_law(base) for base in STACKED_BASES]
        return [form for form in laws if len(data) > len(form.coefficients) + 1] or [named_law("tied")], rows
    else:
        picked = [
            c for c in candidates if c is chosen or (not c.optimum.at_bound and c.aicc - chosen.aicc < select.TIE)
        ]
    return [type(c.law)(**c.law.structure()) for c in picked], rows


def _with_teachers(form: ScalingLaw, data: Observations) -> ScalingLaw:
    """A teacher form takes free divergences where the table does not know them."""
    if form.name == "qm":
        return named_law("qm", teachers=list(data.teachers))
    if isinstance(form, TeacherLaw) and "delta_noise" in form.columns and "delta_noise" not in data.columns:
        return named_law(form.name, **(form.structure() | {"teachers": list(data.teachers[1:])}))
    return form


def _check_held(forms: Sequence[ScalingLaw], held: Mapping[str, float] | None) -> None:
    for name in held or {}:
        if any(name not in form.names for form in forms):
            names = sorted({name for form in forms for name in form.names})
            raise SpecError(f"cannot hold {name!r}: the coefficients are {', '.join(names)}")


def _member(
    problem: Problem, optimum: Optimum, weight: float, data: Observations, replicates: int, how: Resampling, seed: int
) -> Member:
    samples = bootstrap(problem, optimum, data.cluster, count=replicates, seed=seed, how=how)
    law = type(problem.law)(**problem.law.structure()).with_values(optimum.theta)
    return Member(law, float(weight), optimum.value, optimum.tried, optimum.reached, samples, optimum.at_bound)


def _covariance(problem: Problem, optimum: Optimum, samples: Array) -> Array:
    """Of the coefficients: from the bootstrap, or Gauss-Newton without one."""
    if len(samples) > 1:
        return np.cov(samples.T).reshape(len(optimum.theta), -1)
    scale = np.where(problem.is_log, optimum.theta, 1.0)
    return asymptotic_covariance(problem, optimum) * np.outer(scale, scale)


def _profile(problem: Problem, optimum: Optimum, name: str, cluster: Array) -> dict[str, float | str | None]:
    if name not in problem.law.names:
        raise SpecError(
            f"no profile of {name!r}: the coefficients of {problem.law.name!r} are {', '.join(problem.law.names)}"
        )
    curve = profile(problem, optimum, name, cluster=cluster)
    return {"low": curve.low, "high": curve.high, "level": curve.level, "text": str(curve)}


def _residuals(problem: Problem, optimum: Optimum, data: Observations) -> dict[str, float]:
    residual = problem.objective.residual(problem.law.evaluate(optimum.theta, problem.x), data.loss)
    return {str(row): float(value) for row, value in zip(data.rows, residual, strict=True)}


def _teachers(data: Observations) -> dict[str, dict[str, float]]:
    """What is known of each text, in the order of the codes."""
    known = [name for name in TEXT_COLUMNS if name in data.columns]
    facts = {}
    for code, label in enumerate(data.teachers):
        rows = data.teacher == code
        values = {name: float(np.mean(data.columns[name][rows])) for name in known if rows.any()}
        facts[label] = {name: value for name, value in values.items() if np.isfinite(value)}
    return facts


def _status(problem: Problem, optimum: Optimum, data: Observations, held: Mapping[str, float] | None) -> Status:
    condition = condition_number(problem, optimum)
    design = design_faults(data, problem.law.columns, held or {})
    own = fit_faults(condition, optimum.at_bound, problem.law.names)
    reasons = list(design)
    if not optimum.converged:
        reasons.append("The search did not converge: give more starts, or a simpler law.")
    notes = (
        [f"only {optimum.reached} of {optimum.tried} starts reached the optimum"]
        if optimum.reached < optimum.tried / 4
        else []
    )
    if len(data.teachers) > 1 and not data.texts:
        notes.append("the table has no text_id: texts are told apart by the label of their teacher alone")
    return Status(
        converged=optimum.converged,
        interior=not optimum.at_bound,
        identified=not design and len(own) == bool(optimum.at_bound),
        reasons=tuple(reasons + own),
        notes=(*data.notes, *notes),
    )
