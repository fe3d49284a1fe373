"""Results as tables that a person can read, on stdout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from scaling.numbers import number

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.predict.recommend.hindsight import Hindsight


def key_values(title: str, rows: dict[str, str]) -> Table:
    """A two-column table."""
    table = Table(title=title, show_header=False, title_justify="left", box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def show(table: Any) -> None:
    """Print to stdout at the terminal's width, or at 120 columns into a pipe."""
    console = Console(markup=False)  # labels such as [text] are text
    console = console if console.is_terminal else Console(markup=False, width=120)
    console.print(table)


def show_fit(fit: Fit) -> None:
    """Coefficients, intervals, evidence."""
    from scaling.fit.describe import summary

    print(summary(fit))


def show_backtest(result: Any) -> None:
    """The score of a backtest."""
    show(
        key_values(
            "backtest",
            {
                "mean absolute relative error": f"{result.mare:.2%}",
                f"runs inside their {result.level:.0%} interval": f"{result.coverage:.0%}",
                "runs forecast": str(result.n_test),
            },
        )
    )


def show_hindsight(found: Hindsight) -> None:
    """How good recommendations among left-out runs would have been."""
    # Where nothing was recommended there is no share of it, and where all of that missed no regret.
    nothing = math.isnan(found.met)
    met = "none was" if nothing else f"{found.met:.0%}"
    regret = f"{found.regret:.0%} of the FLOPs of the best choice, where the target is met"
    if math.isnan(found.regret):
        regret = "nothing was recommended" if nothing else "no recommended run meets its target"
    show(
        key_values(
            f"recommendations among the runs of N = {number(found.left_out)}, which were left out of the fit",
            {
                "targets asked for": str(len(found.choices)),
                "recommended runs that meet theirs": f"{met} (asked for: {found.probability:.0%})",
                "recommended as measured": f"{found.right:.0%}",
                "regret": regret,
            },
        )
    )
