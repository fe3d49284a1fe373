"""What fewer bits and fewer parts cost, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from scaling.numbers import number, size
from scaling.report.numbers import loss as to_loss
from scaling.report.tables import show

if TYPE_CHECKING:
    from scaling.chain.damage import DamageFound
    from scaling.chain.pruning import Pruned


def show_damage(found: DamageFound) -> None:
    """Damage by text, size and tokens, one column for each number of bits, and the laws of it."""
    rows = found.table.set_index(["teacher", "n_params", "n_tokens", "loss", "run_id"])
    table = Table(title="loss added by rounding to so many bits, nats/token (± s.e.)", title_justify="left", box=None)
    bits = sorted(rows["bits"].unique())
    for name in ("text", "N", "D", "loss", *(str(one) for one in bits)):
        table.add_column(name, justify="left" if name == "text" else "right")
    for (teacher, n, d, loss, _), own in rows.groupby(level=list(range(5)), sort=False):
        cost = own.set_index("bits")
        cells = [f"{cost.damage[one]:+.5f} ±{cost.damage_se[one]:.5f}" for one in bits]
        table.add_row(str(teacher), f"{n:,}", f"{d:,}", f"{loss:.4f}", *cells)
    show(table)
    for one in found.fits:
        print(f"{one.fit.law!r}")
        print(f"  off by e^±{one.error:.2f} on {one.n_rows} rows, by e^±{one.ahead:.2f} at the largest size unseen")


def show_pruned(found: Pruned) -> None:
    """The student whole, cut, healed and stored, and those that were born so small."""
    kept = ", ".join(f"{part}={value:g}" for part, value in found.kept.items())
    whole, left = number(found.n_params_before), number(found.n_params)
    rows = [
        (f"whole, run {found.run_id}", whole, size(found.bytes_before), to_loss(found.loss_before)),
        (f"{kept} kept", left, size(found.n_bytes), to_loss(found.loss_cut)),
        (f"healed on {found.healing_tokens:,} tokens", left, size(found.n_bytes), to_loss(found.loss)),
        (f"stored as {found.scheme}", left, size(found.n_bytes), to_loss(found.loss_stored)),
        *((f"born so small, {said}, by the law", left, "", to_loss(value)) for said, value in found.born.items()),
    ]
    table = Table(box=None, pad_edge=False)
    for name in ("", "N", f"as {found.scheme}", "loss"):
        table.add_column(name, justify="left" if not name else "right")
    for row in rows:
        table.add_row(*row)
    show(table)
    if found.folder is not None:
        print(f"bundle: {found.folder}")
