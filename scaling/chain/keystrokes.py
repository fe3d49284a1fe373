"""Keystrokes beside a loss: what the students of a sweep that have typed say of one that has not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scaling.chain.keyboard import KEYBOARD, format_of
from scaling.chain.workspace import Workspace
from scaling.errors import RecordError
from scaling.fit.prediction import Prediction

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.measures.savings import SavingsFit
    from scaling.predict.recommend.candidates import Candidate


@dataclass(frozen=True, kw_only=True)
class Keystrokes:
    """How savings follow from the loss that a sweep's fit forecasts.

    Attributes:
        fit: From bits of a byte to savings.
        per_bit: Of that loss, in one bit of a byte.
    """

    fit: SavingsFit
    per_bit: float

    def loss_for(self, savings: float, probability: float) -> float:
        """The largest loss at which a new student saves so much with a probability.

        Raises:
            SpecError: no keyboard saves so much.
            FitError: the students do not show how savings follow from the loss.
        """
        return self.per_bit * self.fit.bits_for(savings, probability=probability)

    def of_loss(self, loss: Prediction) -> Prediction:
        """Savings of a student whose loss is a forecast, with the doubt of both steps."""
        value, low, high = (end / self.per_bit for end in (loss.value, loss.low, loss.high))
        return self.fit.of_forecast(replace(loss, value=value, low=low, high=high))

    def of_choice(self, choice: Candidate) -> Prediction:
        """Savings of a student that is recommended: what it saved where it has typed, by the doubt of the words."""
        from statistics import NormalDist

        saved = None if choice.measured is None else choice.measured.savings
        if saved is None:
            return self.of_loss(choice.expected)
        level, se = choice.prediction.level, self.fit.words_se
        off = NormalDist().inv_cdf((1 + level) / 2) * se
        return Prediction(value=saved, low=saved - off, high=saved + off, level=level, scale=se, reach={})


def savings_of(workspace: Workspace, format: str) -> dict[str, float]:
    """Share of keystrokes that each run saved as a file of a format, of those that keyboard.csv holds."""
    from scaling.tables.files import read_table

    path = workspace.folder / KEYBOARD
    table = read_table(path) if path.exists() else None
    if table is None or not {"run_id", "model", "format"} <= set(table):
        return {}
    own = table[(table["model"] == "student") & (table["format"] == format)]
    # Of a run that typed several times, what more words say.
    own = own.sort_values("n_words", kind="stable") if "n_words" in own else own
    return {str(run_id): float(share) for run_id, share in zip(own["run_id"], own["savings"], strict=True)}


def keystrokes_of(workspace: Workspace) -> Keystrokes:
    """What the finished students of a sweep saved, as its keyboard.csv has it.

    Raises:
        RecordError: no savings were measured, or the fit is of a loss on other text.
        FitError: too few students typed, or theirs do not show a line.
    """
    from scaling.fit.measures.savings import fit_savings, of_one_kind
    from scaling.tables.files import read_table

    path, unit = workspace.folder / KEYBOARD, workspace.config.fit.loss
    if not path.exists():
        raise RecordError(
            f"target_savings: no savings were measured, from which a loss would follow — type with the students of the "
            f"sweep: {workspace.command('scaling keyboard')}"
        )
    if unit == "loss_teacher":
        raise RecordError("target_savings: are of real text, but fit.loss is loss_teacher — fit loss or bits_per_byte")
    table = of_one_kind(workspace.of_its_text(read_table(path)), format_of(workspace))
    # One tokenizer has one number of bytes for a token, whoever was measured on it; a fit in nats is of one.
    of_fit = _of_fit(workspace, table)
    nats_per_bit = float((of_fit["loss"] / of_fit["bits_per_byte"]).median())
    return Keystrokes(fit=fit_savings(table), per_bit=1.0 if unit == "bits_per_byte" else nats_per_bit)


def _of_fit(workspace: Workspace, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of keyboard.csv whose students the fit's filter keeps; all where it has none."""
    from scaling.predict.measured import rows_of_fit

    where = workspace.config.fit.where
    if where is None or "run_id" not in table:
        return table
    kept = table[table["run_id"].isin({row["run_id"] for row in rows_of_fit(workspace.table_path, ("run_id",), where)})]
    if not len(kept):
        raise RecordError(f"target_savings: none of the students that typed is left by fit.where: {where} — widen it")
    return kept
