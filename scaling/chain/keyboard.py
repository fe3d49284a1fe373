"""The stage that types: what every finished run of a sweep saves on a keyboard, and how that follows from its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.accounting import DEFAULT_FORMAT
from scaling.chain.workspace import Workspace
from scaling.errors import FitError
from scaling.records import RunStore, write_csv
from scaling.spec import RunSpec
from scaling.stop import interruptible

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.measures.savings import SavingsFit

KEYBOARD = "keyboard.csv"
"""Beside a sweep's runs table."""


@dataclass(frozen=True, kw_only=True)
class KeyboardFound:
    """What models save on a keyboard.

    Attributes:
        table: Rows of :func:`~scaling.export.keyboard.keyboard_table`; the file may hold more.
        fit: Savings as they follow from the loss; None where too few students show it.
        path: Where the table was written; None where it was not.
    """

    table: pd.DataFrame
    fit: SavingsFit | None = None
    path: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        law = None if self.fit is None else vars(self.fit)
        return {"rows": self.table.to_dict("records"), "savings": law, "path": self.path}


def format_of(workspace: Workspace) -> str:
    """Export format that a sweep asks for."""
    recommend = workspace.config.recommend
    return (recommend and recommend.format) or DEFAULT_FORMAT


@interruptible()
def type_alone(
    what: str, store: RunStore, *, is_bundle: bool, format: str | None, n_words: int, ngrams: bool = False
) -> KeyboardFound:
    """Type with one model, a run by its id or a bundle by its folder, which has no place for a table."""
    import pandas as pd

    from scaling.export.bundle.files import open_bundle
    from scaling.export.keyboard import keyboard_of_bundle, keyboard_of_ngram, keyboard_of_run

    if is_bundle:
        bundle = open_bundle(what)
        rows = [keyboard_of_bundle(bundle, store, n_words=n_words)]
        run = store.load(bundle.manifest.run_id).spec
    else:
        run = store.load(what).spec
        rows = [keyboard_of_run(run, store, format=format or DEFAULT_FORMAT, n_words=n_words)]
    if ngrams:
        rows.append(keyboard_of_ngram(run, store, rows[0].weights_bytes, n_words=n_words))
    return KeyboardFound(table=pd.DataFrame([row.row() for row in rows]))


@interruptible()
def keyboard_stage(
    workspace: Workspace,
    *,
    also: Sequence[RunSpec] = (),
    format: str | None = None,
    n_words: int | None = None,
    ngrams: bool = False,
    watch: Callable[[str], None] = lambda line: None,
) -> KeyboardFound:
    """Type the same words with every finished run of a sweep, and fit what they save to their loss.

    Who has typed these words before, as the table of the sweep tells, does not type them again.

    Args:
        workspace: The sweep; the table is written to its folder after each run, as keyboard.csv, which keeps what it
            tells of other runs, formats and numbers of words.
        also: Runs beside those of the sweep.
        format: Export format that the weights are rounded to; by default the one that the sweep asks for.
        n_words: How many, by default 500.
        ngrams: Whether an n-gram model of as many bytes is held against each.
        watch: Called with a line before each run that types, and with why there is no fit.
    """
    from scaling.data.tasks.next_words import WORDS
    from scaling.export.keyboard import keyboard_table, with_known
    from scaling.fit.measures.savings import fit_savings
    from scaling.tables.files import read_table

    path = workspace.folder / KEYBOARD
    runs = tuple({run.run_id: run for run in (*workspace.runs, *also)}.values())
    if not any(workspace.store.has(run.run_id) for run in runs):
        raise workspace.no_finished_run("type with")
    known = read_table(path) if path.exists() else None

    # Rows of other runs, formats and words were measured too, and stay in the file.
    def keep(rows: pd.DataFrame) -> None:
        write_csv(path, with_known(rows, known))

    table = keyboard_table(
        runs,
        workspace.store,
        format=format or format_of(workspace),
        n_words=n_words or WORDS,
        ngrams=ngrams,
        known=known,
        progress=lambda done, run: watch(f"keyboard: run {run.run_id}, {done + 1} of at most {len(runs)}"),
        keep=keep,
    )
    keep(table)
    # A sweep of few students has a table worth seeing and no line through it.
    try:
        return KeyboardFound(table=table, fit=fit_savings(table), path=path)
    except FitError as error:
        watch(f"no forecast of savings: {error}")
        return KeyboardFound(table=table, path=path)
