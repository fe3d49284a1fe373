"""The stage that types: what every finished run of a sweep saves on a keyboard, and how that follows from its loss."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.accounting import DEFAULT_FORMAT
from scaling.chain.workspace import Workspace
from scaling.errors import FitError, RecordError
from scaling.files import write_bytes
from scaling.spec import RunSpec
from scaling.stop import interruptible
from scaling.tables.files import read_table

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.savings import SavingsFit

KEYBOARD = "keyboard.csv"
"""Beside a sweep's runs table."""


@dataclass(frozen=True, kw_only=True)
class KeyboardFound:
    """What models save on a keyboard.

    Attributes:
        table: Rows of :func:`~scaling.export.keyboard.keyboard_table`.
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


@interruptible()
def keyboard_stage(
    workspace: Workspace,
    *,
    format: str | None = None,
    n_words: int | None = None,
    ngrams: bool = False,
    watch: Callable[[str], None] = lambda line: None,
) -> KeyboardFound:
    """Type the same words with every finished run of a sweep, and fit what they save to their loss.

    Args:
        workspace: The sweep; the table is written to its folder, as keyboard.csv.
        format: Export format that the weights are rounded to; by default the one that the sweep asks for.
        n_words: How many, by default 500.
        ngrams: Whether an n-gram model of as many bytes is held against each.
        watch: Called with a line before each run, and with why there is no fit.
    """
    from scaling.data.tasks.next_words import WORDS
    from scaling.export.keyboard import keyboard_table
    from scaling.fit.savings import fit_savings

    def progress(done: int, run: RunSpec) -> None:
        watch(f"keyboard: run {run.run_id}, {done + 1} of at most {len(workspace.runs)}")

    recommend = workspace.config.recommend
    table = keyboard_table(
        workspace.runs,
        workspace.store,
        format=format or (recommend and recommend.format) or DEFAULT_FORMAT,
        n_words=n_words or WORDS,
        ngrams=ngrams,
        progress=progress,
    )
    path, text = workspace.folder / KEYBOARD, io.StringIO()
    table.to_csv(text, index=False)
    write_bytes(path, text.getvalue().encode())
    try:
        return KeyboardFound(table=table, fit=fit_savings(table), path=path)
    except FitError as error:
        watch(f"no forecast of savings: {error}")
        return KeyboardFound(table=table, path=path)


@dataclass(frozen=True, kw_only=True)
class SavingsTarget:
    """Savings to reach, as a loss.

    Attributes:
        loss: In the unit of the fit.
        basis: What it was derived from, in words.
    """

    loss: float
    basis: str


def savings_target(workspace: Workspace, savings: float, probability: float) -> SavingsTarget:
    """The loss at which a student saves so many keys, with the probability that the target is to be met with.

    Both doubts are added, that of the loss and that of what it saves: together the student is at least as sure.

    Args:
        workspace: A sweep whose students have typed.
        savings: Share of keys.
        probability: Asked of the target.

    Raises:
        RecordError: no savings were measured, or the fit is of a loss on other text.
        SpecError: no keyboard saves so much.
        FitError: the students do not show how savings follow from the loss.
    """
    from scaling.fit.savings import fit_savings

    path, unit = workspace.folder / KEYBOARD, workspace.config.fit.loss
    if not path.exists():
        raise RecordError(
            f"target_savings: no savings were measured, from which a loss would follow — type with the students of the "
            f"sweep: {workspace.command('scaling keyboard')}"
        )
    if unit == "loss_teacher":
        raise RecordError("target_savings: are of real text, but fit.loss is loss_teacher — fit loss or bits_per_byte")
    table = read_table(path)
    fit = fit_savings(table)
    bits = fit.bits_for(savings, probability=probability)
    nats_per_bit = math.log(2) * float((table["loss"] / math.log(2) / table["bits_per_byte"]).median())
    found = fit.predict(bits)
    basis = (
        f"{savings:.1%} of keystrokes with P ≥ {probability:g}: {bits:.4f} bits/byte, where {fit.n} students say "
        f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"
    )
    return SavingsTarget(loss=bits if unit == "bits_per_byte" else bits * nats_per_bit, basis=basis)
