"""What models save on a keyboard, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from scaling.report.tables import show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling.chain.keyboard import KeyboardFound
    from scaling.fit.measures.savings import SavingsFit

COLUMNS = ("model", "bytes", "bits/byte", "top 1", "top 3", "keys saved")


def show_keyboard(found: KeyboardFound) -> None:
    """One line a model: next words guessed and keystrokes saved, ± their standard errors; and the line through them."""
    first = found.table.iloc[0]
    print(
        f"{first['n_words']} words of held-out text, three shown before each letter, a tap one key with its space; "
        f"{first['ceiling']:.1%} of the keys where each is guessed"
    )
    of_sweep = "width" in found.table
    table = Table(*(("text", "width", "D") if of_sweep else ()), *COLUMNS[:1], box=None, pad_edge=False)
    for name in COLUMNS[1:]:
        table.add_column(name, justify="right")
    for row in found.table.to_dict("records"):
        own = (str(row["teacher"]), str(row["width"]), f"{row['n_tokens']:,}") if of_sweep else ()
        table.add_row(*own, *_cells(row))
    show(table)
    if found.fit is not None:
        print(_line(found.fit))


def _line(fit: SavingsFit) -> str:
    return (
        f"{fit!r}\n  {fit.n} students of {fit.lowest:.3f} – {fit.highest:.3f} bits/byte, scatter {fit.scatter:.3f} of "
        f"the logit; on other words of the text all save more or less, by ±{fit.words_se:.1%}"
    )


def _cells(row: Mapping) -> tuple[str, ...]:
    name = "n-gram" if row["model"] == "ngram" else f"student, {row['format']}"
    shares = (f"{row[one]:.1%} ±{row[f'{one}_se']:.1%}" for one in ("top1", "top3", "savings"))
    return (name, f"{row['weights_bytes']:,}", f"{row['bits_per_byte']:.4f}", *shares)
