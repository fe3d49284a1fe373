"""The command that chooses a student, from a fit and its sweep or from a published law. It does not load jax."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from scaling.cli.options.declared import option
from scaling.cli.options.shared import (
    Force,
    Json,
    Overrides,
    Results,
    byte_count,
    count,
    emit,
    one_of,
    refuse_without_effect,
    say,
    whole_count,
)
from scaling.errors import SpecError
from scaling.files import RESULTS

if TYPE_CHECKING:
    from scaling.predict.recommend.recommendation import Recommendation


def recommend(
    target_loss: Annotated[
        float | None, option("--target-loss", metavar="L", help="In the unit of the fit, nats/token or bits/byte.")
    ] = None,
    target_savings: Annotated[
        str | None, option("--target-savings", metavar="S", help="Share of keystrokes, as 25%, in place of a loss.")
    ] = None,
    fit_files: Annotated[
        list[Path] | None,
        option("--fit", readable=False, metavar="FIT.json", help="A fit; several, each of a vocabulary of its own."),
    ] = None,
    law: Annotated[str | None, option("--law", help="A published law, in place of a fit.")] = None,
    memory: Annotated[str | None, option("--memory", metavar="BYTES", help="What it may take, as 64MiB.")] = None,
    device: Annotated[str | None, option("--device", help="Phone, as mid-8gb, in place of --memory.")] = None,
    app_share: Annotated[
        float | None, option("--app-share", help="One app's share of its memory; by default .1.")
    ] = None,
    speed: Annotated[
        float | None, option("--min-tokens-per-second", metavar="R", help="Least tokens/s on the device.")
    ] = None,
    sweep: Annotated[
        Path | None,
        option("--sweep", readable=False, help="Sweep that the fit came from; by default the one beside it."),
    ] = None,
    tokens: Annotated[str | None, option("--tokens", metavar="D", help="Tokens of the training.")] = None,
    max_flops: Annotated[
        str | None,
        option("--max-training-flops", metavar="C", help="Most FLOPs of the training and its teacher."),
    ] = None,
    probability: Annotated[float | None, option("--probability", help="Least P(loss ≤ target).")] = None,
    context: Annotated[int | None, option("--context", metavar="T", help="Tokens of the cache.")] = None,
    format_: Annotated[
        str | None, option("--format", help="Of the exported file: q8_0 (default), q4_0, …, or its name.")
    ] = None,
    teacher: Annotated[str | None, option("--teacher", help="Label of a teacher of the sweep.")] = None,
    vocab: Annotated[str | None, option("--vocab", help="With --law: by default the law's, or 32k.")] = None,
    results: Results = None,
    overrides: Overrides = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """The smallest student that meets a target on a phone; export and verify read the answer."""
    from scaling.predict.question import format_named
    from scaling.report.recommendations import show_recommendation

    # Numbers as people write them; what is None is left to the sweep file.
    asked: dict[str, Any] = {
        "target_loss": target_loss,
        "memory_bytes": None if memory is None else byte_count(memory, "memory"),
        "device": device,
        "app_share": app_share,
        "tokens_per_s": speed,
        "tokens": None if tokens is None else whole_count(tokens, "tokens"),
        "max_training_flops": None if max_flops is None else count(max_flops, "max-training-flops"),
        "probability": probability,
        "context": context,
        "format": None if format_ is None else format_named(format_),
    }
    beside: str | None = None
    one_of("recommend", {"--fit": fit_files or None, "--law": law}, example="--fit results/quickstart/fit.json")
    if law is not None:
        of_sweep = {"--sweep": sweep, "--teacher": teacher, "--probability": probability, "--set": overrides}
        of_sweep |= {"--target-savings": target_savings, "--results": results}
        refuse_without_effect("--law, which describes real text and has no interval", of_sweep)
        found = _of_law(law, asked, vocab, force=force)
    else:
        refuse_without_effect("--fit, whose sweep has a tokenizer", {"--vocab": vocab})
        asked["target_savings"] = None if target_savings is None else _share(target_savings, "target-savings")
        where = {"results": results, "overrides": overrides, "force": force}
        beside, found = _of_fits(fit_files or [], sweep, asked, teacher, **where)
    # Who asks of results that cannot be written to has the answer, and is told that it was not kept.
    emit(found, as_json=json_, show=show_recommendation)
    if beside is not None:
        _keep(found, Path(beside), of_several=len(fit_files or ()) > 1, results=results)


def _of_law(law: str, asked: dict[str, Any], vocab: str | None, *, force: bool) -> Recommendation:
    """The smallest student by a published law."""
    from scaling.predict.question import Question
    from scaling.predict.recommend.of_published import recommend_published

    if asked["target_loss"] is None:
        raise SpecError("--target-loss: missing — which loss will do, in nats/token of that law? For example 2.6")
    question = Question(**{name: value for name, value in asked.items() if value is not None})
    size = None if vocab is None else whole_count(vocab, "vocab")
    return recommend_published(question, law, vocab_size=size, force=force)


def _of_fits(
    fit_files: list[Path], sweep: Path | None, asked: dict[str, Any], teacher: str | None, **options: Any
) -> tuple[str, Recommendation]:
    """The smallest student of all fits, and the fit that it rests on."""
    from functools import partial

    from scaling.fit.saved.files import fit_at
    from scaling.predict.recommend.vocabularies import smallest_of

    if len(fit_files) > 1:
        not_shared = {"--tokens": asked["tokens"], "--sweep": sweep}
        refuse_without_effect("several fits, which have tokens and a sweep each", not_shared)
    found_at = [fit_at(one) for one in fit_files]
    asks = {str(one): partial(_of_fit, one, sweep, dict(asked), teacher, **options) for one in found_at}
    return smallest_of(asks)


def _keep(found: Recommendation, fit_file: Path, *, of_several: bool, results: Path | None) -> None:
    """Write an answer beside the fit that it rests on."""
    from scaling.chain.decision import write_recommendation

    write_recommendation(found, fit_file)
    if of_several:
        say(f"the answer is of {fit_file}; go on with: {_to_train(fit_file, results)}, export, verify")


def _to_train(fit_file: Path, results: Path | None) -> str:
    """The command that goes on from an answer beside a fit."""
    from scaling.chain.workspace import results_around, results_option

    sweep, root = fit_file.with_name("sweep.yaml"), results or results_around(fit_file) or RESULTS
    return f"scaling train {shlex.quote(str(sweep))}{results_option(root, beside=sweep)}"


def _of_fit(
    fit_file: Path,
    sweep: Path | None,
    asked: dict[str, Any],
    teacher: str | None,
    *,
    results: Path | None,
    overrides: list[str] | None,
    force: bool,
) -> Recommendation:
    """The recommendation from a fit and the sweep beside it, which says what it leaves open."""
    from scaling.chain.decision import recommended
    from scaling.chain.target import ask
    from scaling.chain.workspace import Workspace, results_around
    from scaling.fit.saved.files import load
    from scaling.predict.question import teacher_named

    fit, source = load(fit_file), sweep or fit_file.parent / "sweep.yaml"
    if sweep is None and not source.exists():
        raise SpecError(
            f"--sweep: {fit_file} has no sweep.yaml beside it, whose models could be offered — "
            "name the sweep file that trains them; of runs of another program `scaling solve --fit … --target-loss … "
            "--tokens …` gives the smallest size, and `scaling footprint --params … --device …` what it takes"
        )
    workspace = Workspace.open(source, results=results or results_around(fit_file), overrides=overrides or ())
    named = None if teacher is None else teacher_named(teacher, workspace.runs)
    if not overrides and (other := workspace.asked_otherwise()) is not None:
        say(f"what is not said is asked as {source} has it from the last run; {other} asks otherwise: --sweep {other}")
    # What is not asked here is asked by the sweep file; the answer keeps the whole question.
    question = ask(workspace, teacher=named, **asked)
    return recommended(workspace, fit, question, fit_path=fit_file, trained_beside=True, force=force)


def _share(text: str, name: str) -> float:
    """``25%`` or ``0.25`` as a share."""
    from scaling.numbers import parse_share, resolve_scalar

    value = parse_share(resolve_scalar(text.strip()))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise SpecError(f"--{name}: got {text!r}, allowed is a share between 0 and 1 — for example 25% or 0.25")
    return float(value)
