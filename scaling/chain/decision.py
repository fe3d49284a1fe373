"""The stages that decide: the law of the runs, and the student that is recommended from it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.chain.keystrokes import keystrokes_of, savings_of
from scaling.chain.target import ask
from scaling.chain.ways_on import ways_on
from scaling.chain.workspace import RECOMMENDATION, Workspace
from scaling.errors import FitError, RecordError
from scaling.files import write_json
from scaling.formats.plain import plain

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.result import Fit
    from scaling.predict.quantization import Rounding
    from scaling.predict.question import Question
    from scaling.predict.recommend.recommendation import Recommendation


def fit_stage(
    workspace: Workspace,
    table: pd.DataFrame,
    *,
    law: str | None = None,
    held: Mapping[str, float] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Fit:
    """The law of a sweep's runs, written to fit.json.

    A fit that converged but does not show its floor is written too: it forecasts inside its runs.

    Args:
        workspace: The sweep.
        table: Its runs, as `collect_stage` gives them.
        law: Form to fit instead of the one that the file names.
        held: Coefficients that are not fitted, instead of those that the file names.
        say: Called with what to do where the fit does not show its floor.

    Raises:
        FitError: no law was found at all; nothing is written.
        RecordError: no run of the sweep is there yet.
    """
    from scaling.fit.fitter import fit
    from scaling.fit.saved.files import save

    done = table[table["status"] == "done"] if len(table) else table
    if not len(done):
        raise workspace.no_finished_run("fit")
    # What the command line says stands before what the file says.
    own = {name: value for name, value in (("law", law), ("held", held)) if value is not None}
    try:
        found = fit(table, **workspace.config.fit.arguments() | own)
    except FitError as error:
        if error.fit is None or not error.fit.status.converged:
            raise
        found = error.fit
        say(f"{error}\nforecasts hold inside these runs only; to go on:")
        for way in ways_on(workspace, found, table):
            say(f"  {way}")
    save(found, workspace.fit_path, replace=True)
    return found


def load_fit(workspace: Workspace) -> Fit:
    """The fit that an earlier stage wrote.

    Raises:
        RecordError: there is none, or it cannot be read.
    """
    from scaling.fit.saved.files import load

    if not workspace.fit_path.exists():
        raise RecordError(f"{workspace.fit_path}: no fit yet — make it: {workspace.command('scaling fit')}")
    return load(workspace.fit_path)


def recommend_stage(
    workspace: Workspace,
    fit: Fit,
    question: Question | None = None,
    *,
    fit_path: Path | None = None,
    force: bool = False,
) -> Recommendation:
    """The smallest student that answers a question, written to recommendation.json beside the fit (`recommended`).

    Raises:
        InfeasibleError: nothing meets the question; nothing is written.
        ExtrapolationError: only what lies too far beyond the data does.
    """
    found = recommended(workspace, fit, question, fit_path=fit_path, force=force)
    write_recommendation(found, fit_path or workspace.fit_path)
    return found


def write_recommendation(found: Recommendation, fit_path: Path) -> None:
    """Keep an answer beside the fit that it rests on, where export and verify look for it."""
    write_json(fit_path.with_name(RECOMMENDATION), plain(found))


def recommended(
    workspace: Workspace,
    fit: Fit,
    question: Question | None = None,
    *,
    fit_path: Path | None = None,
    trained_beside: bool = False,
    force: bool = False,
) -> Recommendation:
    """The smallest student that answers a question; nothing is written.

    Args:
        workspace: The sweep.
        fit: Of its runs.
        question: What is asked; by default what the sweep file asks.
        fit_path: Where the fit is stored; by default in the sweep's folder.
        trained_beside: Whether students count that were recommended and trained since, as whoever asks again expects;
            the chain's own forecasts do without, so that the ledger scores them.
        force: Accept forecasts far beyond the data.

    Raises:
        InfeasibleError: nothing meets the question.
        ExtrapolationError: only what lies too far beyond the data does.
    """
    from scaling.predict.measured import runs_of_fit
    from scaling.predict.recommend.of_sweep import recommend_of_sweep

    # The fitted runs are known by their own losses, and by what rounding costs them.
    asked = question or ask(workspace)
    found = recommend_of_sweep(
        asked,
        fit,
        workspace.config,
        workspace.runs,
        workspace.store,
        known=runs_of_fit(fit, workspace.table_path),
        trained_beside=trained_beside,
        rounding=rounding_of(workspace),
        savings=savings_of(workspace, asked.format),
        fit_id=_fit_id(fit_path or workspace.fit_path),
        force=force,
    )
    if found.question.target_savings is None:
        return found
    return replace(found, savings=keystrokes_of(workspace).of_choice(found.choice))


def rounding_of(workspace: Workspace) -> Rounding:
    """What storing a run's weights adds to its loss: as `scaling damage` measured it, else by the reference tables."""
    from scaling.predict.damage import rounding_of_sweep

    return rounding_of_sweep(workspace.folder, workspace.runs, workspace.store)


def load_recommendation(workspace: Workspace) -> Recommendation:
    """The recommendation that an earlier stage wrote, if it is of the fit that lies beside it.

    Raises:
        RecordError: there is none, or it is of another fit; nothing is changed.
    """
    from scaling.predict.recommend.recommendation import Recommendation

    again = f"scaling recommend --fit {shlex.quote(str(workspace.fit_path))}"
    if not workspace.fit_path.exists():
        raise RecordError(f"{workspace.fit_path}: no fit yet — make it: {workspace.command('scaling fit')}")
    if not workspace.recommendation_path.exists():
        raise RecordError(f"{workspace.recommendation_path}: nothing is recommended yet — ask: {again}")
    found, fit_id = Recommendation.from_json(workspace.recommendation_path), _fit_id(workspace.fit_path)
    if found.fit_id is None:
        return replace(found, fit_id=fit_id)
    if found.fit_id != fit_id:
        raise RecordError(
            f"{workspace.recommendation_path}: recommends from fit {found.fit_id}, but {workspace.fit_path} is fit "
            f"{fit_id}; nothing was changed — ask anew: {again}"
        )
    return found


def trained(workspace: Workspace, recommendation: Recommendation) -> Recommendation:
    """The recommendation, if its student is there.

    Raises:
        RecordError: it is not trained yet, its training ended without a student, or its files were damaged since.
    """
    run_id = recommendation.run.run_id
    if not workspace.store.has(run_id):
        raise RecordError(
            f"the recommended student {run_id} is not trained yet — train it: {workspace.command('scaling train')}"
        )
    status = workspace.store.load(run_id).outcome.status
    if status != "done":
        raise RecordError(f"the recommended student {run_id} {status}; lower its learning rate and recommend again")
    # A weight that a bad disk changed is a number like any other: only the hash in the record can tell.
    if damage := workspace.store.damage(run_id):
        raise RecordError(f"the recommended student {run_id} is not as it was trained: {damage}")
    return recommendation


def _fit_id(fit_path: Path) -> str:
    from scaling.fit.saved.files import fit_id_of

    return fit_id_of(fit_path.read_text("utf-8"))
