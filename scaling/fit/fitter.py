"""`fit`: from a runs table to a Fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import FitError, SpecError
from scaling.fit.doubt.bootstrap import Resampling, bootstrap
from scaling.fit.doubt.by_size import size_trend
from scaling.fit.doubt.calibrate import calibration, cross_checked, factor_inside, missed
from scaling.fit.doubt.covariance import FEW_TRUNKS, condition_number, coordinate_jacobian, inner, residuals
from scaling.fit.doubt.profile import profile
from scaling.fit.doubt.scatter import Scatter, SizeTrend, scatter_parts, settings_of
from scaling.fit.evidence import Calibration, Member, Status, Suspect
from scaling.fit.forms import check_held, chosen_forms, chosen_versions, law_columns
from scaling.fit.identify import design_faults, fit_faults, misfit_faults
from scaling.fit.misfit import texts_off_the_law
from scaling.fit.neighbours import (
    Influence,
    Runs,
    correlation_of,
    elsewhere,
    influence_on_runs,
    kept_runs,
    shared_scatter,
)
from scaling.fit.prediction import left_out
from scaling.fit.result import Fit
from scaling.fit.select import idle
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.objective import Kind, Objective
from scaling.fit.solve.search import Optimum
from scaling.fit.stack.assemble import Stacked, Weighed, assemble
from scaling.fit.stack.solve import Batch, fit_versions
from scaling.fit.stack.validate import Cut, size_ordered_cuts
from scaling.fit.suspects import suspects, without
from scaling.laws.law import ScalingLaw
from scaling.laws.named import STACK
from scaling.laws.teacher import TeacherLaw
from scaling.records.given import table_given
from scaling.tables.observations import REAL, TEXT_COLUMNS, Observations
from scaling.tables.observe import not_flat, observe
from scaling.tables.units import size_column

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
DELTA, STACK_DELTA = 1e-3, 0.01
"""Huber thresholds: of one law, as published, where it makes the fit nearly one of least absolute errors; and of the
stack, for which a run is an outlier when it is off by more than a per cent."""
FEWEST_TEXTS = 3
"""Teachers, of which one can be left out and the others still show what a divergence costs."""


def fit(
    runs: pd.DataFrame | str | PathLike[str],
    *,
    law: str | ScalingLaw = STACK,
    n: str | None = None,
    d: str = "n_tokens",
    loss: str = "loss",
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
    delta: float | None = None,
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

    >>> scaling.fit_law(runs, law="tied", where="teacher == 'real'", bootstrap=0).frame()["coefficient"].tolist()
    ['E', 'A', 'B', 'alpha']

    Minimises sum_i w_i Huber_delta(log(L(n_i, d_i) / loss_i)).

    Args:
        runs: a table of one row a run, or its file or folder; `scaling.tables.observe.observe` names the columns used.
        law: a name (`scaling.laws.named`), a law without numbers, "auto" (the form with the lowest AICc), or "stack"
            (the default: that form on several bases, averaged; of one kind of text by how they forecast larger runs).
        n, d: columns of model size and tokens; the Fit names them, for its numbers hold in that convention only. By
            default the first of `scaling.tables.units.SIZE_COLUMNS` that the table has.
        loss: column of the loss, nats/token.
        columns: further columns by the law's name of them, as {"c": "flops"} or, of texts, {"teacher": "corpus"}.
        where: expression that keeps rows.
        delta: Huber threshold in log loss; by default .001 for one law, as published, and .01 for the stack.
        objective: "huber", "squared" or "absolute".
        log: residuals of log loss; False for a loss that may be negative.
        clusters: column of runs that share noise.
        held: {coefficient: value} that are known, as the exact entropy of a world: {"E": 1.3704}.
        bootstrap: replicates.
        resampling: "pairs" or "wild"; see `scaling.fit.doubt.bootstrap.bootstrap`.
        starts: random starts of a law, or of all laws of a stack together; where the first quarter of those of a law,
            or eight if that is more, all end in one minimum, the others are spared.
        profiles: coefficients whose profile interval is wanted too, which is slow and can say "not identified above".
        seed: of starts and replicates.
        strict: raise where the fit must not be used; False returns it with its status.

    Returns:
        Fit.

    Raises:
        RecordError: the table cannot be used; names rows and columns.
        FitError: the runs do not determine the law; holds the Fit and says which runs to add.
        SpecError: unknown law, objective or held coefficient.
    """
    runs = table_given(runs)
    # A stack judges by forecasts, and does better where fewer runs count as outliers.
    aim = Objective(objective, delta or (STACK_DELTA if law == STACK else DELTA), log)
    sizes = law_columns(law, n or size_column(runs.columns), d, columns)
    data = not_flat(observe(runs, columns=sizes, loss=loss, clusters=clusters, positive=log, where=where))
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
    objective: Objective,
    held: Mapping[str, float] | None = None,
    replicates: int = 1000,
    resampling: Resampling = "pairs",
    starts: int = 32,
    profiles: Sequence[str] = (),
    seed: int = 0,
    strict: bool = True,
) -> Fit:
    """`fit`, from checked observations."""
    forms, selection = chosen_forms(data, law, held, seed)
    check_held(forms, held)
    trend = size_trend(data, forms[0], objective)
    if trend is not None:
        data = replace(data, relative_noise=trend.relative(data.columns["n"]))

    # Every form in every version, fitted to all runs and to the smaller runs of each cut.
    most = max(len(form.coefficients) for form in forms)
    cuts = size_ordered_cuts(data, most) if {"n", "d"} <= set(forms[0].columns) and objective.log else []
    versions = chosen_versions(forms, data, law)
    each = starts if len(forms) == 1 else max(1, starts // len(forms))
    batches = [
        fit_versions(form, data, objective, versions=versions, cuts=cuts, held=held, starts=each, seed=seed)
        for form in forms
    ]

    stacked, runs, others, odd = _given_runs(batches, data, cuts)
    leading = stacked.members[0]
    problem, optimum = leading.problem, leading.optimum
    samples = _samples(problem, optimum, data, replicates, resampling, seed)
    members = [_member(one) for one in stacked.members]
    members[0] = replace(members[0], samples=samples)
    condition = condition_number(problem, optimum)
    result = Fit(
        members=tuple(members),
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
        scatter=_scatter(stacked.noise, problem, optimum, data) if objective.log else None,
        without=without(odd, problem, optimum, data),
        residuals=_residuals(problem, optimum, data),
        status=_status(problem, optimum, data, held, condition),
        calibration=_calibrated(stacked, members, runs, others, data, trend, _off_unseen(selection, leading, data)),
        runs=runs,
        covariance=_covariance(members[0]),
        selection=tuple(selection),
        backtest=cross_checked(stacked.validation),
        condition=condition,
        profiles={name: _profile(problem, optimum, name, data.cluster) for name in profiles},
    )
    if strict and not result.success:
        # What is odd of the table may be why no law follows from it.
        raise FitError(" ".join([*result.status.reasons, *(f"Note: {note}." for note in data.notes)]), fit=result)
    return result


def _given_runs(
    batches: Sequence[Batch], data: Observations, cuts: Sequence[Cut]
) -> tuple[Stacked, Runs | None, Influence | None, tuple[Suspect, ...]]:
    """The members that count, the runs that their forecasts are given, what those say of each other (None where they
    have nothing in common), and the runs that are off the law."""
    stacked = assemble(batches, data, cuts)
    # Bad runs are looked for in the plain fit of the leading form: a version may leave out the very rows.
    form = type(stacked.members[0].problem.law)
    plain = next(batch for batch in batches if type(batch.problem.law) is form)
    odd = suspects(plain.problem, plain.whole, data)
    single = {suspect.rows[0] for suspect in odd if len(suspect.rows) == 1}
    off = [i for i, row in enumerate(data.rows) if row in single]
    runs = kept_runs(data, {name for batch in batches for name in batch.problem.law.columns}, off)
    if runs is None or not plain.problem.objective.log:
        return stacked, None, None, odd
    problem, u = stacked.members[0].problem, stacked.members[0].optimum.u
    slope = np.nan_to_num(coordinate_jacobian(problem, u)[:, inner(problem, u)])
    correlation = correlation_of(runs.columns)
    runs = replace(runs, share=shared_scatter(runs, _of_average(stacked), slope, data.cluster, correlation))
    if runs.share == 0:
        return stacked, runs, None, odd
    # Neighbours may have something in common, and yet say nothing of larger runs: laws are weighed and widened by what
    # they say given the runs only where larger runs are then forecast no worse.
    near = [influence_on_runs(correlation, runs.share, cut.scored, cut.small & ~runs.off) for cut in cuts]
    given = assemble(batches, data, cuts, near)
    if missed(given.validation) > missed(stacked.validation):
        return stacked, replace(runs, share=0.0), None, odd
    sound = elsewhere(runs.columns, data.cluster) & ~runs.off
    return given, runs, influence_on_runs(correlation, runs.share, np.arange(len(data)), sound), odd


def _calibrated(
    stacked: Stacked,
    members: Sequence[Member],
    runs: Runs | None,
    others: Influence | None,
    data: Observations,
    trend: SizeTrend | None,
    unseen: float,
) -> Calibration:
    """The width of intervals beyond the runs, and between them."""
    free = int(stacked.members[0].problem.free.sum())
    found = replace(calibration(stacked.validation, stacked.noise, data.n_clusters - free), trend=trend, unseen=unseen)
    if runs is None or others is None:
        return found
    return replace(found, inside=factor_inside(left_out(members, found, runs, others)[~runs.off]))


def _off_unseen(selection: Sequence[Mapping[str, Any]], leading: Weighed, data: Observations) -> float:
    """What texts left out of the leading form were missed by, beyond its misfit of those that it saw."""
    if sum(text != REAL for text in data.teachers) < FEWEST_TEXTS:
        return 0.0
    own = [row for row in selection if row["law"] == leading.problem.law.label]
    missed = [math.sqrt(max(row["teacher_out"] ** 2 - row["rms"] ** 2, 0.0)) for row in own]
    return missed[0] if missed and math.isfinite(missed[0]) else 0.0


def _of_average(stacked: Stacked) -> Array:
    """log(measured/predicted) of the average of all members: float64[n_runs]."""
    each = [one.weight * residuals(one.problem, one.optimum.u) for one in stacked.members]
    return -np.sum(each, axis=0)


def _member(one: Weighed) -> Member:
    optimum, form = one.optimum, one.problem.law
    return Member(
        law=form.with_values(optimum.theta),
        weight=one.weight,
        value=optimum.value,
        tried=optimum.tried,
        reached=optimum.reached,
        samples=np.empty((0, len(optimum.theta))),
        at_bound=optimum.at_bound,
        version=one.version,
        covariance=one.covariance,
    )


def _samples(problem: Problem, optimum: Optimum, data: Observations, count: int, how: Resampling, seed: int) -> Array:
    """Bootstrap of the leading law, on the runs that it was fitted to; none where too few trunks could be drawn."""
    used = problem.weights > 0
    if len(np.unique(data.cluster[used])) < FEW_TRUNKS:
        return np.empty((0, len(optimum.theta)))
    part = replace(
        problem,
        x=SimpleNamespace(**{name: values[used] for name, values in vars(problem.x).items()}),
        loss=problem.loss[used],
        weights=problem.weights[used],
    )
    return bootstrap(part, optimum, data.cluster[used], count=count, seed=seed, how=how)


def _covariance(member: Member) -> Array:
    """Of the coefficients: from the bootstrap, or from the curvature without one."""
    if len(member.samples) > 1:
        return np.cov(member.samples.T).reshape(len(member.law.names), -1)
    scale = member.coordinates
    return member.covariance * np.outer(scale, scale)


def _profile(problem: Problem, optimum: Optimum, name: str, cluster: Array) -> dict[str, float | str | None]:
    if name not in problem.law.names:
        raise SpecError(
            f"no profile of {name!r}: the coefficients of {problem.law.name!r} are {', '.join(problem.law.names)}"
        )
    curve = profile(problem, optimum, name, cluster=cluster)
    return {"low": curve.low, "high": curve.high, "level": curve.level, "text": str(curve)}


def _residuals(problem: Problem, optimum: Optimum, data: Observations) -> dict[str, float]:
    return {str(row): float(value) for row, value in zip(data.rows, residuals(problem, optimum.u), strict=True)}


def _scatter(noise: float, problem: Problem, optimum: Optimum, data: Observations) -> Scatter:
    setting = settings_of(data.teacher, *data.columns.values())
    return scatter_parts(noise, residuals(problem, optimum.u), data.loss, data.loss_se, setting)


def _teachers(data: Observations) -> dict[str, dict[str, float]]:
    """What is known of each text, in the order of the codes."""
    known = [name for name in TEXT_COLUMNS if name in data.columns]
    facts = {}
    for code, label in enumerate(data.teachers):
        rows = data.teacher == code
        values = {name: float(np.mean(data.columns[name][rows])) for name in known if rows.any()}
        facts[label] = {name: value for name, value in values.items() if np.isfinite(value)}
    return facts


def _reference_note(law: ScalingLaw, texts: Sequence[str]) -> list[str]:
    """From which text free divergences are counted, where that is not real text."""
    if not isinstance(law, TeacherLaw) or not law.teachers:
        return []
    if law.reference == len(texts):
        return [f"no text of the table is {REAL!r}: free divergences are from the entropy that is held"]
    best = texts[law.reference]
    if texts[0] != REAL:
        return [f"no text of the table is {REAL!r}: free divergences are from {best}, which teaches best of these"]
    return [f"free divergences are from {best}, which teaches better than {REAL}"] if law.reference else []


def _status(
    problem: Problem, optimum: Optimum, data: Observations, held: Mapping[str, float] | None, condition: float
) -> Status:
    # What the plan of runs cannot tell comes first: it explains what the fit itself shows.
    design = design_faults(data, problem.law.columns, held or {})
    unused = idle(optimum.at_bound)
    own = fit_faults(condition, tuple(unused), problem.law.names)
    misfit = misfit_faults(data.loss, problem.law.evaluate(optimum.theta, problem.x)) if problem.objective.log else []
    reasons_of_runs = [*design, *misfit]
    reasons = list(reasons_of_runs)
    if not optimum.converged:
        reasons.append("The search did not converge: give more starts, or a simpler law.")
    notes = (
        [f"only {optimum.reached} of {optimum.tried} starts reached the optimum"]
        if optimum.reached < optimum.tried / 4
        else []
    )
    if data.n_clusters < FEW_TRUNKS:
        notes.append(
            f"{data.n_clusters} trunks are too few to resample: coefficients have no interval, and forecasts are "
            f"widened as if each trunk were one run; train {FEW_TRUNKS} or more"
        )
    notes += _reference_note(problem.law, data.teachers)
    notes += texts_off_the_law(problem, optimum, data)
    if equal := [name for name in optimum.at_bound if name not in unused]:
        better = ", or better than what is held allows" if held else ""
        notes.append(f"{', '.join(equal)} ended at zero: these texts teach as well as the best{better}")
    if len(data.teachers) > 1 and not data.texts:
        notes.append("the table has no text_id: texts are told apart by the label of their teacher alone")
    return Status(
        converged=optimum.converged,
        interior=not unused,
        identified=not reasons_of_runs and len(own) == bool(unused),
        reasons=tuple(reasons + own),
        notes=(*data.notes, *notes),
    )
