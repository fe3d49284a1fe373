"""Best sizes of budgets, as a person reads them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

from scaling.fit.reach import MAX_REACH
from scaling.numbers import number
from scaling.report.columns import wrapped
from scaling.report.tables import show

if TYPE_CHECKING:
    from scaling.fit.allocation.frontier import Frontier


def show_frontier(found: Frontier) -> None:
    """Optima of the law with intervals, then each approach, what it left out, and how it compares."""
    if found.text:
        print(f"best sizes for budgets, text: {found.text}")
    table = Table(box=None, pad_edge=False)
    for name in ("FLOPs", "N*", "interval", "D*", "tokens per parameter", "loss", "beyond", "N* grows as"):
        table.add_column(name, justify="right")
    for best in found.optima:
        low, high = best.exponent_interval
        doubt = f" [{low:.3f}, {high:.3f}]" if math.isfinite(low) else " (interval not identified)"
        table.add_row(
            f"{best.flops:.3g}",
            number(best.n),
            f"{number(best.n_interval[0])} – {number(best.n_interval[1])}" if best.identified else "not identified",
            number(best.d),
            f"{best.tokens_per_parameter:.3g}",
            f"{best.loss.value:.4f}",
            f"{best.reach:.3g}×",
            f"C^{best.exponent:.3f}{doubt}",
        )
    show(table)
    if far := [f"{best.flops:.3g}" for best in found.optima if best.reach > MAX_REACH]:
        print(
            wrapped(f"more than {MAX_REACH:g}× beyond the runs, where no forecast is trusted: {', '.join(far)} FLOPs")
        )
    # The other ways to the same answer, where they differ, and what none of them can say.
    for approach in found.approaches:
        print(wrapped(f"{approach} — {approach.note}"))
        for sentence in approach.left_out:
            print(wrapped(f"  left out {sentence}"))
    for sentence in (*found.differences, *(f"not answered: {reason}" for reason in found.refused)):
        print(wrapped(sentence))
