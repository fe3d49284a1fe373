"""Commands that ask a law or a fit: predict, solve, trends, vocabulary. None of them loads jax."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scaling.cli.options import Force, Json, byte_count, count, emit, refuse_without_effect
from scaling.errors import SpecError

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.predict.explain.comparison import Subject
    from scaling.predict.explain.teacher import TeacherAsked
    from scaling.predict.forecast import Forecast

FitFile = Annotated[Path | None, typer.Option("--fit", readable=False, metavar="FIT.json", help="A fit.")]
Law = Annotated[str | None, typer.Option("--law", metavar="NAME", help="A published law, as hoffmann or besiroglu.")]
Params = Annotated[str | None, typer.Option("--params", metavar="N", help="Model size, as 1e6, 100M or inf.")]
Tokens = Annotated[str | None, typer.Option("--tokens", metavar="D", help="Tokens, as 1e8, 2B or inf.")]
TeacherName = Annotated[
    str | None, typer.Option("--teacher", metavar="NAME", help="Teacher: of the fit by its label, or palm, gpt-3, …")
]
TeacherParams = Annotated[str | None, typer.Option("--teacher-params", metavar="N", help="Size of the teacher.")]
TeacherTokens = Annotated[str | None, typer.Option("--teacher-tokens", metavar="D", help="What the teacher read.")]
TeacherLoss = Annotated[
    float | None, typer.Option("--teacher-loss", metavar="L", help="Loss of the teacher on real text, nats/token.")
]
Columns = Annotated[
    list[str] | None, typer.Option("--at", metavar="COLUMN=VALUE", help="What else the law is of, as bits=4.")
]
Level = Annotated[float | None, typer.Option("--level", help="Level of the interval; by default 0.9.")]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Whom a question is put to, as the command line says it."""

    laws: list[str]
    fit_file: Path | None
    columns: dict[str, float]
    level: float | None
    force: bool

    @property
    def asked(self) -> dict[str, Any]:
        """What every answer of an explanation or a table takes."""
        return {"columns": self.columns, "level": 0.9 if self.level is None else self.level, "force": self.force}

    def only(self) -> Fit | str:
        """The fit, or the one law."""
        return self.laws[0] if self.fit_file is None else self.fit(self.fit_file)

    @staticmethod
    def fit(path: Path) -> Fit:
        """The saved fit."""
        from scaling.fit.saved import load

        return load(path)

    def refuse_doubt_of_a_law(self, also: dict[str, Any] | None = None) -> None:
        """A published law has no interval, and says how far it reaches instead of refusing."""
        if self.fit_file is None:
            without = {"--level": self.level, "--force": self.force or None} | (also or {})
            refuse_without_effect("--law, which describes real text and has no interval", without)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (predict, solve, trends, vocabulary):
        app.command(rich_help_panel="Fit, forecast, recommend (no jax)")(command)


def predict(
    params: Params = None,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="A,B,…", help="A table of models, as bert-base,1B,7B:2T."),
    ] = None,
    tokens: Tokens = None,
    fit_file: FitFile = None,
    law: Annotated[
        str | None, typer.Option("--law", metavar="NAME[,NAME]", help="A published law, as hoffmann; several: a table.")
    ] = None,
    teacher: TeacherName = None,
    teacher_params: TeacherParams = None,
    teacher_tokens: TeacherTokens = None,
    teacher_loss: TeacherLoss = None,
    delta_noise: Annotated[float | None, typer.Option("--delta-noise", help="Noise part of KL, nats/token.")] = None,
    delta_coverage: Annotated[float | None, typer.Option("--delta-coverage", help="Coverage part of KL.")] = None,
    columns: Columns = None,
    as_good_as: Annotated[
        str | None, typer.Option("--as-good-as", metavar="NAME", help="Reference of the verdict, as gpt-3 or 7B:2T.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Take the forecast apart.")] = False,
    bytes_per_token: Annotated[
        str | None, typer.Option("--bytes-per-token", metavar="B", help="For bits/byte: 4.3, or fit, as its runs have.")
    ] = None,
    batch_law: Annotated[
        str | None, typer.Option("--batch-law", help="Critical batch: kaplan-batch, or B_star=2e4,alpha_B=0.3,E=1.4.")
    ] = None,
    level: Level = None,
    mean: Annotated[bool, typer.Option("--mean", help="Interval of the mean over many runs, not of one.")] = False,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Forecast the loss of a size, or of several models by name, from a fit or from published laws."""
    if (law is None) == (fit_file is None):
        raise SpecError("predict needs one of --fit FIT.json and --law NAME — got both or neither; see --help")
    if (params is None) == (like is None):
        raise SpecError("predict answers for one of --params N and --like NAME,NAME — got both or neither")
    source = _Source(
        laws=[] if law is None else _names(law, "law"),
        fit_file=fit_file,
        columns=_numbers(columns),
        level=level,
        force=force,
    )
    who = _teacher_asked(teacher, teacher_params, teacher_tokens, teacher_loss)
    d = None if tokens is None else count(tokens, "tokens")
    exact = {"--delta-noise": delta_noise, "--delta-coverage": delta_coverage, "--mean": mean or None}
    parts = {"--explain": explain or None, "--bytes-per-token": bytes_per_token, "--batch-law": batch_law}
    # A table of models, under one law or several.
    if like is not None or len(source.laws) > 1:
        from scaling.predict.explain.comparison import named_subject

        refuse_without_effect("a table of models", exact | parts)
        subjects = [named_subject(name) for name in _names(like or params or "", "like")]
        _table(source, subjects, d, who, None if as_good_as is None else named_subject(as_good_as), as_json=json_)
        return
    refuse_without_effect("--params; models are compared by --like", {"--as-good-as": as_good_as})
    n, d = count(params or "", "params"), math.inf if d is None else d
    # A label of a fit is forecast as its runs were; any other teacher is a part of an explanation.
    if explain or (who is not None and (fit_file is None or not isinstance(who, str))):
        refuse_without_effect("--explain, or a teacher by size or loss", exact)
        _explained(source, n, d, who, batch_law, bytes_per_token, as_json=json_)
        return
    refuse_without_effect("a forecast without --explain", parts)
    _forecast(source, n, d, teacher, exact, as_json=json_)


def _forecast(
    source: _Source, n: float, d: float, teacher: str | None, exact: dict[str, Any], *, as_json: bool
) -> None:
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
    source: _Source, path: Path, n: float, d: float, teacher: str | None, exact: dict[str, Any]
) -> Forecast:
    """With its interval, and what was measured of this very size."""
    from scaling.predict.forecast import from_fit

    refuse_without_effect("--fit without --explain", {"--at": source.columns or None})
    noise, coverage, mean = (exact[name] for name in ("--delta-noise", "--delta-coverage", "--mean"))
    if teacher is not None:
        # A teacher of the fit has divergences of its own.
        refuse_without_effect("--teacher", {"--delta-noise": noise, "--delta-coverage": coverage})
    text: dict[str, Any] = {"teacher": teacher, "delta_noise": noise or 0.0, "delta_coverage": coverage or 0.0}
    level, table = source.asked["level"], path.with_name("runs.parquet")
    of: Literal["run", "mean"] = "mean" if mean else "run"
    return from_fit(source.fit(path), n, d, **text, level=level, of=of, force=source.force, table=table)


def _explained(
    source: _Source,
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
    found = explain(source.only(), n, d, teacher=teacher, **parts, **source.asked)
    emit(found, as_json=as_json, show=show_explanation)


def _token_length(source: _Source, asked: str | None) -> float | None:
    """Bytes of a token: a number, or that of the fit's runs, whose table takes longer to read than a forecast."""
    if asked != "fit":
        return None if asked is None else count(asked, "bytes-per-token")
    from scaling.predict.explain.token_length import bytes_per_token_of

    found = None if source.fit_file is None else bytes_per_token_of(source.fit_file.with_name("runs.parquet"))
    if found is None:
        raise SpecError("--bytes-per-token fit: no run beside the fit tells bits/byte — give a number, as 4.3")
    return found


def _table(
    source: _Source,
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


def solve(
    target_loss: Annotated[float | None, typer.Option("--target-loss", metavar="L", help="nats/token.")] = None,
    flops: Annotated[str | None, typer.Option("--flops", metavar="C", help="Training budget, as 1e20.")] = None,
    energy: Annotated[float | None, typer.Option("--energy", metavar="KWH", help="Training budget in kWh.")] = None,
    flops_per_s: Annotated[str | None, typer.Option("--flops-per-s", metavar="R", help="What the energy runs.")] = None,
    watts: Annotated[float | None, typer.Option("--watts", help="Power at that rate, building included.")] = None,
    params: Params = None,
    tokens: Tokens = None,
    fit_file: FitFile = None,
    law: Law = None,
    teacher: TeacherName = None,
    teacher_params: TeacherParams = None,
    teacher_tokens: TeacherTokens = None,
    teacher_loss: TeacherLoss = None,
    columns: Columns = None,
    inference_tokens: Annotated[
        str | None, typer.Option("--inference-tokens", metavar="D", help="Tokens read and written in use.")
    ] = None,
    batch_law: Annotated[
        str | None, typer.Option("--batch-law", help="Critical batch of a law of steps; by default kaplan-batch.")
    ] = None,
    level: Level = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """What a loss needs, or what a budget gives: sizes, tokens, steps; compute-optimal and inference-aware."""
    from scaling.laws.presets import preset

    if (law is None) == (fit_file is None):
        raise SpecError("solve needs one of --fit FIT.json and --law NAME — got both or neither; see --help")
    if sum(one is not None for one in (target_loss, flops, energy)) != 1:
        raise SpecError("solve answers for one of --target-loss, --flops and --energy — give exactly one")
    # A law of steps is asked for steps, every other law for sizes and tokens.
    budget = _budget(flops, energy, flops_per_s, watts)
    if law is not None and "s_min" in preset(law).law.columns:
        from scaling.predict.solve.steps import optimal_steps
        from scaling.report.forecasts import show_steps

        if budget is None:
            raise SpecError(f"--law {law}: a law of size and steps answers for a compute — give --flops or --energy")
        void = {"--params": params, "--tokens": tokens, "--inference-tokens": inference_tokens, "--at": columns}
        who = {"--teacher": teacher, "--teacher-params": teacher_params, "--teacher-tokens": teacher_tokens}
        doubt = {"--teacher-loss": teacher_loss, "--level": level, "--force": force or None}
        refuse_without_effect("a law of size and steps", void | who | doubt)
        steps_law, batch = _steps_laws(law, batch_law or "kaplan-batch")
        emit(optimal_steps(steps_law, batch, budget), as_json=json_, show=show_steps)
        return
    from scaling.predict.explain.answer import solve as solve_for
    from scaling.report.forecasts import show_solution

    refuse_without_effect("a law without steps", {"--batch-law": batch_law})
    if law is not None:
        refuse_without_effect("--law, which has no interval", {"--level": level, "--force": force or None})
    found = solve_for(
        _Source.fit(fit_file) if fit_file is not None else law or "",
        target_loss=target_loss,
        flops=budget,
        n=None if params is None else count(params, "params"),
        d=None if tokens is None else count(tokens, "tokens"),
        teacher=_teacher_asked(teacher, teacher_params, teacher_tokens, teacher_loss),
        columns=_numbers(columns),
        inference_tokens=0.0 if inference_tokens is None else count(inference_tokens, "inference-tokens"),
        level=0.9 if level is None else level,
        force=force,
    )
    emit(found, as_json=json_, show=show_solution)


def trends(
    teacher: Annotated[str | None, typer.Option("--teacher", metavar="NAME", help="A model by name, as gpt-3.")] = None,
    teacher_loss: TeacherLoss = None,
    discount: Annotated[float, typer.Option("--discount", help="c: its tokens count e^(-c delta).")] = 1.0,
    json_: Json = False,
) -> None:
    """Where the trends of loss in data and in compute meet, and whether a better teacher moves that point."""
    from scaling.predict.explain.basis import published
    from scaling.predict.explain.trends import trends as find_trends
    from scaling.predict.named.models import named_model
    from scaling.report.forecasts import show_trends

    if teacher is not None:
        refuse_without_effect("--teacher, whose loss is that of its size and data", {"--teacher-loss": teacher_loss})
        known = named_model(teacher)
        if known.n_tokens is None:
            raise SpecError(f"--teacher {teacher}: {known.label}'s data was not published — give --teacher-loss")
        teacher_loss = published("kaplan").loss(known.size(embeddings=False), known.n_tokens)
    emit(find_trends(teacher_loss=teacher_loss, discount=discount), as_json=json_, show=show_trends)


def vocabulary(
    memory: Annotated[str, typer.Option("--memory", metavar="BYTES", help="Of the weights, as 64MiB.")],
    characters: Annotated[str, typer.Option("--characters", metavar="T", help="Text of the training, as 10B.")],
    bits: Annotated[float, typer.Option("--bits", help="Bits a parameter, scales included; Q8_0 has 8.5.")] = 8.5,
    json_: Json = False,
) -> None:
    """The vocabulary that a budget of bytes is spent on best, by a published law."""
    from scaling.predict.solve.vocabulary import optimal_vocabulary
    from scaling.report.forecasts import show_vocabulary

    found = optimal_vocabulary(
        byte_count(memory, "memory"), characters=count(characters, "characters"), bytes_per_param=bits / 8
    )
    emit(found, as_json=json_, show=show_vocabulary)


def _names(text: str, option: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise SpecError(f"--{option}: got {text!r}, allowed are names between commas")
    return names


def _teacher_asked(
    name: str | None, params: str | None, tokens: str | None, loss: float | None
) -> str | TeacherAsked | None:
    """The teacher: a name, or its size and data, or its loss; None for real text."""
    if params is None and tokens is None and loss is None:
        return name
    from scaling.predict.explain.teacher import TeacherAsked

    return TeacherAsked(
        name=name,
        n_params=None if params is None else count(params, "teacher-params"),
        n_tokens=None if tokens is None else count(tokens, "teacher-tokens"),
        loss=loss,
    )


def _numbers(pairs: list[str] | None) -> dict[str, float]:
    """``bits=4`` as a mapping to numbers."""
    found = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not (name.strip() and equals):
            raise SpecError(f"--at: got {pair!r}, allowed is COLUMN=NUMBER — for example bits=4")
        # Zero is a number of a column (no noise), though not a size.
        found[name.strip()] = 0.0 if value.strip() in ("0", "0.0") else count(value, f"at {name.strip()}")
    return found


def _budget(flops: str | None, energy: float | None, flops_per_s: str | None, watts: float | None) -> float | None:
    """Training FLOPs of the budget that was given; None where a loss is asked for."""
    if energy is None:
        refuse_without_effect("a budget in FLOPs or a loss", {"--flops-per-s": flops_per_s, "--watts": watts})
        return None if flops is None else count(flops, "flops")
    if flops_per_s is None or watts is None:
        raise SpecError("--energy: needs what runs on it — give --flops-per-s and --watts, as 1.2e14 and 400")
    from scaling.predict.solve.budget import flops_of_energy

    return flops_of_energy(energy, flops_per_s=count(flops_per_s, "flops-per-s"), watts=watts)


def _steps_laws(law: str, batch_law: str) -> Any:
    """The law of steps, and the critical batch."""
    from scaling.laws.batch import CriticalBatch
    from scaling.laws.kaplan import KaplanNS
    from scaling.laws.presets import preset

    steps, batch = preset(law).law, preset(batch_law).law
    if not isinstance(steps, KaplanNS) or not isinstance(batch, CriticalBatch):
        raise SpecError(f"--law {law}, --batch-law {batch_law}: name a law of steps and one of the critical batch")
    return steps, batch
