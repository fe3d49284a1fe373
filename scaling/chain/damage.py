"""The stage that measures what few bits cost, on every finished run of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.errors import FitError
from scaling.records import RunStore, write_csv
from scaling.spec import RunSpec
from scaling.stop import interruptible

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.measures.damage import DamageFit

PART = "damage.part.csv"
"""Rows of a measurement that was not finished."""


@dataclass(frozen=True, kw_only=True)
class DamageFound:
    """What rounding costs, run by run, and as a law.

    Attributes:
        table: Rows of :func:`~scaling.compress.damage.damage_table`; the file may hold more.
        fits: The forms of damage fitted to it; empty where too little of it is clearly above zero.
        path: Where the table was written; None where it was not.
    """

    table: pd.DataFrame
    fits: tuple[DamageFit, ...]
    path: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "rows": self.table.to_dict("records"),
            "laws": [
                {"law": one.law, "coefficients": one.fit.params, "error": one.error, "ahead": one.ahead}
                for one in self.fits
            ],
            "path": self.path,
        }


@interruptible()
def damage_stage(
    store: RunStore,
    runs: Sequence[RunSpec],
    *,
    bits: Sequence[int] | None = None,
    folder: Path | None = None,
    watch: Callable[[str], None] = lambda line: None,
) -> DamageFound:
    """Round the weights of every finished run to several numbers of bits, and fit what that costs.

    What the table beside the runs tells already is not measured again, and what it tells of other runs and bits stays.

    Args:
        store: Where the runs lie.
        runs: Which; those that are not finished are passed over.
        bits: Of a weight, by default 2, 3, 4, 5, 6 and 8.
        folder: Where the table is written, as damage.csv. Until it is whole its rows lie beside it, and a stopped
            measurement goes on from them.
        watch: Called with a line before each run.
    """
    from scaling.compress.damage import BITS, damage_table, with_known
    from scaling.fit.measures.damage import fit_damage
    from scaling.predict.damage import DAMAGE

    # A part of the table is none, as `recommend` reads damage.csv; both say what need not be measured again.
    path, part = (None if folder is None else folder / name for name in (DAMAGE, PART))
    begun, whole = _read(part), _read(path)
    known = whole if begun is None else with_known(begun, whole)

    def progress(done: int, run: RunSpec) -> None:
        watch(f"damage: run {run.run_id}, {done + 1} of at most {len(runs)}")

    def keep(rows: pd.DataFrame) -> None:
        if part is not None:
            write_csv(part, with_known(rows, begun))

    table = damage_table(runs, store, bits=bits or BITS, progress=progress, known=known, keep=keep)
    # One run, or 8 bits alone, have a table worth seeing and no law.
    try:
        fits = tuple(fit_damage(table))
    except FitError as error:
        watch(f"no law of damage: {error}")
        fits = ()
    if path is not None and part is not None:
        write_csv(path, with_known(table, known))
        part.unlink(missing_ok=True)
    return DamageFound(table=table, fits=fits, path=path)


def _read(path: Path | None) -> pd.DataFrame | None:
    from scaling.tables.files import read_table

    return None if path is None or not path.exists() else read_table(path)
