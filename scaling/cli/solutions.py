"""Commands that turn a law round: what a loss needs, what a budget gives, where trends meet, which vocabulary."""

from __future__ import annotations

from typing import Annotated, Any

from scaling.cli.options.declared import option
from scaling.cli.options.questions import (
    Columns,
    FitFile,
    Law,
    Level,
    Params,
    Source,
    TeacherLoss,
    TeacherName,
    TeacherParams,
    TeacherTokens,
    Tokens,
    numbers,
    teacher_asked,
)
from scaling.cli.options.shared import Force, Json, byte_count, count, emit, one_of, refuse_without_effect, whole_count
from scaling.errors import SpecError


def solve(
    target_loss: Annotated[float | None, option("--target-loss", metavar="L", help="In the unit of the law.")] = None,
    flops: Annotated[str | None, option("--flops", metavar="C", help="Of the model's own training, as 1e20.")] = None,
    energy: Annotated[float | None, option("--energy", metavar="KWH", help="Training budget in kWh.")] = None,
    flops_per_s: Annotated[str | None, option("--flops-per-s", metavar="R", help="What the energy runs.")] = None,
    watts: Annotated[float | None, option("--watts", help="Power at that rate, building included.")] = None,
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
        str | None, option("--inference-tokens", metavar="D", help="Tokens read and written in use.")
    ] = None,
    batch_law: Annotated[
        str | None, option("--batch-law", help="Critical batch of a law of steps; by default kaplan-batch.")
    ] = None,
    vocab: Annotated[
        str | None, option("--vocab", metavar="V", help="Vocabulary of its tokens, where fit or law does not say it.")
    ] = None,
    level: Level = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """What a loss needs, or what a budget gives: sizes, tokens, steps; compute-optimal and inference-aware."""
    from scaling.laws.presets import preset

    one_of("solve", {"--fit": fit_file, "--law": law}, example="--law hoffmann")
    goals = {"--target-loss": target_loss, "--flops": flops, "--energy": energy}
    one_of("solve", goals, example="--target-loss 2.2")
    # A law of steps is asked for steps, every other law for sizes and tokens.
    budget = _budget(flops, energy, flops_per_s, watts)
    if target_loss is None:
        refuse_without_effect("a budget: it tells whether a target loss can be meant", {"--vocab": vocab})
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
        Source.fit(fit_file) if fit_file is not None else law or "",
        target_loss=target_loss,
        flops=budget,
        n=None if params is None else count(params, "params"),
        d=None if tokens is None else count(tokens, "tokens"),
        teacher=teacher_asked(teacher, teacher_params, teacher_tokens, teacher_loss),
        columns=numbers(columns),
        inference_tokens=0.0 if inference_tokens is None else count(inference_tokens, "inference-tokens"),
        level=0.9 if level is None else level,
        vocab_size=None if vocab is None else whole_count(vocab, "vocab"),
        force=force,
    )
    emit(found, as_json=json_, show=show_solution)


def trends(
    teacher: Annotated[str | None, option("--teacher", metavar="NAME", help="A model by name, as gpt-3.")] = None,
    teacher_loss: TeacherLoss = None,
    discount: Annotated[float, option("--discount", help="c: its tokens count e^(-c delta).")] = 1.0,
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
    memory: Annotated[str, option("--memory", metavar="BYTES", help="Of the weights, as 64MiB.")],
    characters: Annotated[str, option("--characters", metavar="T", help="Text of the training, as 10B.")],
    bits: Annotated[float, option("--bits", help="Bits a parameter, scales included; Q8_0 has 8.5.")] = 8.5,
    json_: Json = False,
) -> None:
    """The vocabulary that a budget of bytes is spent on best, by a published law."""
    from scaling.predict.solve.vocabulary import optimal_vocabulary
    from scaling.report.forecasts import show_vocabulary

    found = optimal_vocabulary(
        byte_count(memory, "memory"), characters=count(characters, "characters"), bytes_per_param=bits / 8
    )
    emit(found, as_json=json_, show=show_vocabulary)


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
