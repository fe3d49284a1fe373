"""Measures of a table of runs, as a person reads them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

from scaling.numbers import number
from scaling.report.columns import wrapped
from scaling.report.tables import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaling.fit.measures.code_length import CodeLength, CodeLengths
    from scaling.fit.measures.transfer import Transfer, TransferLaw
    from scaling.train.probe import ProbeRow

COLUMNS = ("N", "D", "blocks", "Mbit", "bits/token", "law, Mbit", "off", "law, ∫", "blocks cost")


def show_code_lengths(found: CodeLengths) -> None:
    """One line an arm: its code, the law's over the same blocks, and the law's without blocks."""
    print(
        "online code length: each block by a student that has read all before it (a fresh cooldown of one trunk), the "
        f"first by a uniform guess of {found.vocab_size}"
    )
    table = Table("text", box=None, pad_edge=False)
    for name in (*COLUMNS, f"D to {found.target_loss:.4g}"):
        table.add_column(name, justify="right")
    for arm in found.arms:
        table.add_row(*_cells(arm))
    show(table)
    for sentence in (
        *sorted({f"law: {arm.law}" for arm in found.arms}),
        *(f"left out {one}" for one in found.left_out),
    ):
        print(sentence)


def _cells(arm: CodeLength) -> tuple[str, ...]:
    return (
        arm.text,
        "–" if math.isnan(arm.n) else number(arm.n),
        number(arm.d),
        str(arm.branches),
        f"{arm.bits / 1e6:.4g}",
        f"{arm.bits / arm.d:.3f}",
        f"{arm.law_bits / 1e6:.4g}",
        f"{arm.agreement:+.2%}",
        f"{arm.integral_bits / 1e6:.4g}",
        f"{arm.block_cost:+.1%}",
        "not reached" if math.isinf(arm.tokens_to_loss) else number(arm.tokens_to_loss),
    )


def show_transfer(found: Transfer) -> None:
    """Effective data as a multiple of what was read, a mean over seeds, then the law of each start."""
    points = found.frame().assign(multiple=lambda table: table["effective"] / table["d"])
    print("effective data: tokens that random weights need for the same loss, as a multiple of those that were read, D")
    table = Table("read before", "N", box=None, pad_edge=False)
    volumes = sorted(points["d"].unique())
    for d in volumes:
        table.add_column(number(d), justify="right")
    for _, own in points.groupby(["start", "n"], sort=False):
        means = own.groupby("d")["multiple"].mean()
        cells = (f"{means[d]:.3g}" if d in means else "–" for d in volumes)
        table.add_row(own["start"].iloc[0], number(own["n"].iloc[0]), *cells)
    show(table)
    for law in found.laws:
        print(_law(law))
    for sentence in found.left_out:
        print(wrapped(f"left out {sentence}"))


def _law(found: TransferLaw) -> str:
    coefficients = (
        f"{name} {getattr(found.law, name):.3g} [{getattr(found.low, name):.3g}, {getattr(found.high, name):.3g}]"
        for name in ("k", "alpha", "beta")
    )
    return (
        f"{found.start}: D_T = k D_F^alpha N^beta, {', '.join(coefficients)}; scatter {found.rms:.2f} of "
        f"{found.n_points} runs, intervals of {found.level:.0%} by leaving out each of {found.n_trainings} trainings"
    )


def show_probe(rows: Sequence[ProbeRow]) -> None:
    """One line a phenomenon and kind of pair: share of right choices beside the control and chance."""
    table = Table("phenomenon", "held out", box=None, pad_edge=False)
    for name in ("pairs", "right", "context shuffled", "chance"):
        table.add_column(name, justify="right")
    for row in rows:
        shares = (f"{row.right:.3f} ± {row.right_se:.3f}", f"{row.control:.3f} ± {row.control_se:.3f}")
        table.add_row(row.phenomenon, row.held_out, str(row.n), *shares, f"{row.chance:g}")
    show(table)
