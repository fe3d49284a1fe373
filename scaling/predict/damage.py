"""What rounding costs the runs of one sweep, as `scaling damage` measured it; it comes before the reference tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.accounting import LAYOUTS, Storage
from scaling.errors import FitError, RecordError
from scaling.predict.measured import of_text_read
from scaling.predict.quantization import (
    SAID_BY_LAW,
    TRAINED_FOR,
    QuantizationCost,
    Rounding,
    is_trained_for,
    rounding_cost,
    said_by_law,
)
from scaling.predict.recommend.candidates import size_of
from scaling.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.measures.damage import DamageFit
    from scaling.records import RunStore

DAMAGE = "damage.csv"
"""What `scaling damage` leaves in a sweep's folder."""
COLUMNS = ("run_id", "n_params", "n_tokens", "bits", "damage", "damage_se", "damage_low", "damage_high")

FOLLOWED = 10
"""Times the largest size that was measured, up to which a law is followed."""


@dataclass(frozen=True)
class SweepDamage:
    """A sweep's own damage, in blocks of 32 with an f16 scale: of what is stored otherwise it says nothing.

    Attributes:
        table: Rows of ``damage_table``.
        name: Of its file, for whoever asks where a figure comes from.
    """

    table: pd.DataFrame
    name: str

    @classmethod
    def read(cls, path: Path) -> SweepDamage | None:
        """The table beside a sweep's runs; None where nothing was measured.

        Raises:
            RecordError: the file is no such table.
        """
        if not path.is_file():
            return None
        import pandas as pd

        try:
            table = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise RecordError(f"{path}: not a table of damage ({error}) — measure anew: scaling damage") from error
        if missing := [name for name in COLUMNS if name not in table]:
            raise RecordError(f"{path}: has no column {', '.join(missing)} — measure anew: scaling damage")
        return cls(table, path.name)

    def cost(self, run: RunSpec, storage: Storage) -> QuantizationCost:
        """What storing a run's weights so adds to its loss: measured of itself, else by the law of the others, else the
        mean of the others, else as the reference tables have it."""
        layout = LAYOUTS[storage]
        if layout.block is None or layout.bits not in self._of_all:
            return rounding_cost(run, storage)
        if own := self._of_runs.get((run.run_id, layout.bits)):
            return own
        if is_trained_for(run, storage):
            return TRAINED_FOR
        if layout.bits < SAID_BY_LAW and self._law is not None:
            return self._by_law(self._law, run, layout.bits)
        return self._of_all[layout.bits]

    @cached_property
    def _of_runs(self) -> dict[tuple[str, int], QuantizationCost]:
        """What was measured, by run and bits."""
        source = f"measured of this run, {self.name} of this sweep"
        ends = ("run_id", "bits", "damage", "damage_low", "damage_high")
        return {
            (run_id, bits): QuantizationCost(nats=nats, low=low, high=high, source=source)
            for run_id, bits, nats, low, high in zip(*(self.table[name].tolist() for name in ends), strict=True)
        }

    @cached_property
    def _of_all(self) -> dict[int, QuantizationCost]:
        """The mean over all runs and the range of it, by bits."""
        costs: dict[int, QuantizationCost] = {}
        for bits in self.table["bits"].unique().tolist():
            found = self.table["damage"][self.table["bits"] == bits]
            source = f"mean of {len(found)} runs, {self.name} of this sweep"
            nats, low, high = (float(end) for end in (found.mean(), found.min(), found.max()))
            costs[bits] = QuantizationCost(nats=nats, low=low, high=high, source=source)
        return costs

    @cached_property
    def _law(self) -> DamageFit | None:
        """The form that forecasts the largest size best; None where too little can be told from zero."""
        from scaling.fit.measures.damage import fit_damage

        try:
            return min(fit_damage(self.table), key=_off_by)
        except FitError:
            return None

    def _by_law(self, found: DamageFit, run: RunSpec, bits: int) -> QuantizationCost:
        size = found.fit.columns["n"]
        n = min(size_of(run.model, size), FOLLOWED * self.table[size].max())
        nats = float(found.fit.law.loss(n=float(n), d=float(run.n_tokens), bits=float(bits)))
        source = f"{found.law} on {self.table['run_id'].nunique()} runs, {self.name} of this sweep"
        return said_by_law(nats, off_by=math.exp(_off_by(found)), source=source)


def rounding_of_sweep(folder: Path, runs: Sequence[RunSpec], store: RunStore) -> Rounding:
    """What storing a run's weights adds to its loss: as `scaling damage` measured it, else by the reference tables.

    Args:
        folder: Of the sweep's results.
        runs: Of the sweep; what students of other text lost is left aside.
        store: Where they lie.
    """
    own = SweepDamage.read(folder / DAMAGE)
    of_text = None if own is None else replace(own, table=of_text_read(own.table, runs, store))
    return rounding_cost if of_text is None or not len(of_text.table) else of_text.cost


def _off_by(found: DamageFit) -> float:
    """Root mean square of its log error: ahead of its sizes, or on them where there is one size only."""
    return found.error if math.isnan(found.ahead) else found.ahead
