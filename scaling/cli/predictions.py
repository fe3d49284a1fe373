"""The command that forecasts a loss: of one size, taken apart, or of several models beside each other. No jax."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from scaling.cli.options.declared import option
from scaling.cli.options.questions import (
    Columns,
    FitFile,
    Level,
    Params,
    Source,
    TeacherLoss,
    TeacherName,
    TeacherParams,
    TeacherTokens,
    numbers,
    teacher_asked,
)
from scaling.cli.options.shared import Force, Json, count, emit, listed, one_of, refuse_without_effect
from scaling.errors import SpecError

if TYPE_CHECKING:
    from scaling.predict.explain.comparison import Subject
    from scaling.predict.explain.teacher import TeacherAsked
    from scaling.predict.forecast import Forecast


def predict(
    params: Params = None,
    like: Annotated[
        str | None,
        option("--like", metavar="A,B,…", help="A table of models, as bert-base,1B,7B:2T."),
    ] = None,
    tokens: Annotated[str | None, option("--tokens", metavar="D", help="Tokens, as 1e8 or 2B; by default inf.")] = None,
    fit_file: FitFile = None,
    law: Annotated[
        str | None, option("--law", metavar="NAME[,NAME]", help="A published law, as hoffmann; several: a table.")
    ] = None,
    teacher: TeacherName = None,
    teacher_params: TeacherParams = None,
    teacher_tokens: TeacherTokens = None,
    teacher_loss: TeacherLoss = None,
    delta_noise: Annotated[
        float | None, option("--delta-noise", help="Part of the teacher's error that is everywhere, nats/token.")
    ] = None,
    delta_coverage: Annotated[
        float | None, option("--delta-coverage", help="Part of it that the teacher never learned, nats/token.")
    ] = None,
    columns: Columns = None,
    as_good_as: Annotated[
        str | None, option("--as-good-as", metavar="NAME", help="Reference of the verdict, as gpt-3 or 7B:2T.")
    ] = None,
    explain: Annotated[bool, option("--explain", help="Take the forecast apart.")] = False,
    bytes_per_token: Annotated[
        str | None, option("--bytes-per-token", metavar="B", help="For bits/byte: 4.3, or fit, as its runs have.")
    ] = None,
    batch_law: Annotated[
        str | None, option("--batch-law", help="Critical batch: kaplan-batch, or B_star=2e4,alpha_B=0.3,E=1.4.")
    ] = None,
    level: Level = None,
    mean: Annotated[bool, option("--mean", help="Interval of the mean over many runs, not of one.")] = False,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Forecast the loss of a size, or of several models by name, from a fit or from published laws."""
    one_of("predict", {"--fit": fit_file, "--law": law}, example="--law besiroglu")
    one_of("predict", {"--params": params, "--like": like}, example="--params 100M")
    source = Source(
        laws=[] if law is None else listed(law, "law"),
        fit_file=fit_file,
        columns=numbers(columns),
        level=level,
        force=force,
    )
    who = teacher_asked(teacher, teacher_params, teacher_tokens, teacher_loss)
    d = None if tokens is None else count(tokens, "tokens")
    exact = {"--delta-noise": delta_noise, "--delta-coverage": delta_coverage, "--mean": mean or None}
    parts = {"--explain": explain or None, "--bytes-per-token": bytes_per_token, "--batch-law": batch_law}
    # A table of models, under one law or several.
    if like is not None or len(source.laws) > 1:
        from scaling.predict.explain.comparison import named_subject

        refuse_without_effect("a table of models", exact | parts)
        subjects = [named_subject(name) for name in listed(like or params or "", "params" if like is None else "like")]
        _table(source, subjects, d, who, None if as_good_as is None else named_subject(as_good_as), as_json=json_)
        return
    refuse_without_effect("--params; models are compared by --like", {"--as-good-as": as_good_as})
    n, d = count(params or "", "params"), math.inf if d is None else d
    # A text of a fit is forecast as its runs were; any other teacher is a part of an explanation.
    if explain or (who is not None and not source.has_text(who)):
        refuse_without_effect("--explain" if explain else "a teacher by size or loss", exact)
        _explained(source, n, d, who, batch_law, bytes_per_token, as_json=json_)
        return
    refuse_without_effect("a forecast without --explain", parts)
    _forecast(source, n, d, teacher, exact, as_json=json_)


def _forecast(source: Source, n: float, d: float, teacher: str | None, exact: dict[str, Any], *, as_json: bool) -> None:
    """One forecast, from a fit or from a law."""
    from scaling.predict.forecast import from_preset
    from scaling.report.forecasts import show_forecast

    source.refuse_doubt_of_a_law(exact)
    if source.fit_file is None:
        found = from_preset(source.laws[0], n, d, columns=source.columns)
    else:
        found = _forecast_of_fit(source, source.fit_file, n, d, teacher, exact)
    emit(found, as_json=as_json, show=show_forecast)


def _forecast_of_fit(
    source: Source, path: Path, n: float, d: float, teacher: str | None, exact: dict[str, Any]
) -> Forecast:
    """With its interval, and what was measured of this very size."""
    from scaling.predict.forecast import from_fit

    refuse_without_effect("--fit without --explain", {"--at": source.columns or None})
    noise, coverage, mean = (exact[name] for name in ("--delta-noise", "--delta-coverage", "--mean"))
    if teacher is not None:
        # A teacher of the fit has divergences of its own.
        refuse_without_effect("--teacher", {"--delta-noise": noise, "--delta-coverage": coverage})
    text: dict[str, Any] = {"teacher": teacher, "delta_noise": noise or 0.0, "delta_coverage": coverage or 0.0}
    level = source.asked["level"]
    of: Literal["run", "mean"] = "mean" if mean else "run"
    return from_fit(source.fit(path), n, d, **text, level=level, of=of, force=source.force, table=source.table)


def _explained(
    source: Source,
    n: float,
    d: float,
    teacher: str | TeacherAsked | None,
    batch_law: str | None,
    bytes_per_token: str | None,
    *,
    as_json: bool,
) -> None:
    """One forecast, taken apart."""
    from scaling.predict.explain.answer import explain
    from scaling.report.forecasts import show_explanation

    source.refuse_doubt_of_a_law()
    parts: dict[str, Any] = {"batch": batch_law, "bytes_per_token": _token_length(source, bytes_per_token)}
    parts["table"] = source.table
    found = explain(source.only(), n, d, teacher=teacher, **parts, **source.asked)
    emit(found, as_json=as_json, show=show_explanation)


def _token_length(source: Source, asked: str | None) -> float | None:
    """Bytes of a token: a number, or that of the fit's runs."""
    if asked != "fit":
        return None if asked is None else count(asked, "bytes-per-token")
    found = None if source.fit_file is None else source.fit(source.fit_file).made_of.bytes_per_token
    if found is None:
        raise SpecError("--bytes-per-token fit: no run of the fit tells bits/byte — give a number, as 4.3")
    return found


def _table(
    source: Source,
    subjects: list[Subject],
    tokens: float | None,
    teacher: str | TeacherAsked | None,
    reference: Subject | None,
    *,
    as_json: bool,
) -> None:
    """Several models beside each other."""
    from scaling.predict.explain.comparison import compare_models
    from scaling.report.forecasts import show_comparison

    source.refuse_doubt_of_a_law()
    sources = source.laws if source.fit_file is None else [source.fit(source.fit_file)]
    found = compare_models(sources, subjects, n_tokens=tokens, teacher=teacher, as_good_as=reference, **source.asked)
    emit(found, as_json=as_json, show=show_comparison)
