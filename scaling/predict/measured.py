"""What was measured decides: the losses of a configuration that was trained, in place of what a law says of it."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from scaling.fit.neighbours import SAME_CELL
from scaling.predict.measurement import Measured
from scaling.tables.finished import CLOCKS, STATE_COLUMNS, came_to_end
from scaling.tables.observations import DELTAS

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.prediction import Prediction
    from scaling.fit.result import Fit
    from scaling.records import RunRecord, RunStore
    from scaling.spec import RunSpec


class Measurements:
    """Finished runs by configuration.

    Args:
        losses: Finished runs with loss and standard error.
        noise: Scatter between seeds where no configuration has two, as a standard deviation of log loss.
        savings: Share of keystrokes, by run, of those that have typed.
    """

    def __init__(
        self,
        losses: Sequence[tuple[RunSpec, float, float]],
        *,
        noise: float,
        savings: Mapping[str, float] | None = None,
    ):
        self._savings = savings or {}
        self._losses = {run.run_id: (loss, se) for run, loss, se in losses}
        self._seeds: dict[str, dict[str, float]] = defaultdict(dict)
        for run, loss, _ in losses:
            self._seeds[configuration(run)][run.run_id] = loss
        self.scatter = seed_scatter([list(one.values()) for one in self._seeds.values()], noise=noise)

    @classmethod
    def of(cls, records: Iterable[RunRecord], fit: Fit, *, savings: Mapping[str, float] | None = None) -> Measurements:
        """Those of the runs that are done, in the column that the fit forecasts, and what they saved."""
        losses, column = [], fit.columns["loss"]
        for record in records:
            loss = getattr(record.outcome, column)
            if record.outcome.status == "done" and loss is not None:
                losses.append((record.spec, loss, record.outcome.standard_error(column) or 0.0))
        return cls(losses, noise=fit.calibration.noise, savings=savings)

    def __getitem__(self, run: RunSpec) -> Measured | None:
        """What is known of a run; None where no run of its configuration was trained."""
        seeds = self._seeds.get(configuration(run))
        if not seeds:
            return None
        own = self._losses.get(run.run_id)
        loss = own[0] if own else _geometric_mean(seeds.values())
        return Measured(
            loss=loss,
            se=own[1] if own else 0.0,
            n_runs=len(seeds),
            own=own is not None,
            scatter=self.scatter,
            savings=self._savings.get(run.run_id),
        )


def configuration(run: RunSpec) -> str:
    """All that decides a run but its seeds: runs of which it is the same are seeds of one student."""
    values: dict[str, Any] = json.loads(run.canonical_json())
    values.pop("seed", None)
    values["data"].pop("seed", None)
    return json.dumps(values, sort_keys=True)


def seed_scatter(losses: Sequence[Sequence[float]], *, noise: float) -> float:
    """Standard deviation of log loss between seeds, pooled over configurations with two and more; else ``noise``."""
    squares, degrees = 0.0, 0
    for seeds in losses:
        logs = [math.log(loss) for loss in seeds]
        squares += sum((log - fmean(logs)) ** 2 for log in logs)
        degrees += len(logs) - 1
    return math.sqrt(squares / degrees) if degrees else noise


def runs_of_fit(fit: Fit, table: Path) -> tuple[str, ...]:
    """The ids of the runs that a fit was made of; what its filter left out is known to it by no name.

    Args:
        fit: As it names them.
        table: runs.parquet beside it, for a fit that names none, or all rows of its table; it need not be there.
    """
    made = fit.made_of
    if made.run_ids and len(made.run_ids) == made.n_rows - made.n_filtered:
        return made.run_ids
    return tuple(row["run_id"] for row in rows_of_fit(table, ("run_id",), made.where) if "run_id" in row)


def of_text_read(table: pd.DataFrame, runs: Sequence[RunSpec], store: RunStore) -> pd.DataFrame:
    """The rows of a table whose students read what some runs read; runs that nobody has are taken as they are.

    Args:
        table: What was measured of students, with a ``run_id``; one without is taken as it is.
        runs: Those of a sweep.
        store: Where the others lie.
    """
    own, sources = {run.run_id for run in runs}, [run.data.source for run in runs]

    def is_alike(run_id: str) -> bool:
        elsewhere = run_id not in own and store.has(run_id)
        return not elsewhere or store.load(run_id).spec.data.source in sources

    return table[[is_alike(run_id) for run_id in table["run_id"]]] if "run_id" in table else table


def law_and_measured(
    fit: Fit, n: float, d: float, *, table: Path | None = None, **asked: Any
) -> tuple[Prediction, Measured | None]:
    """What a fit says of one student, and what was measured of it.

    Where this very size, volume and text was measured, the fit says what its law says alone: it stands beside the
    measurement, not in its place.

    Args:
        fit: The fit.
        n: N in the convention of the fit.
        d: Tokens.
        table: runs.parquet, where measured losses are looked up for a fit that was saved without its runs.
        **asked: As for `Fit.predict`.
    """
    said = fit.predict(n, d, **asked)
    by_hand = any(asked.get(name) for name in DELTAS)
    if not said.measured and (fit.runs is not None or table is None or by_hand):
        return said, None
    measured = measured_cell(fit, n, d, asked.get("teacher"), table)
    return (said, None) if measured is None else (fit.predict(n, d, given="law", **asked), measured)


def measured_cell(fit: Fit, n: float, d: float, teacher: str | None, table: Path | None) -> Measured | None:
    """The runs of one size, volume and text, as one: of the fit, or of the table beside a fit that keeps none.

    Args:
        fit: Knows its runs.
        n: N in the convention of the fit.
        d: Tokens.
        teacher: Label or text_id; None is real text.
        table: runs.parquet.

    Returns:
        None where there are none.
    """
    if fit.runs is None:
        return None if table is None else measured_in_table(table, fit, n, d, teacher)
    (here,) = fit.runs.at(fit.points(n, d, teacher=teacher).columns)
    errors = None if fit.runs.loss_se is None else fit.runs.loss_se[here]
    return _as_one(fit.runs.loss[here].tolist(), [] if errors is None else errors.tolist(), fit.calibration.noise)


def _as_one(losses: list[float], errors: list[float], noise: float) -> Measured | None:
    """Seeds of one cell are an average of which each is a part: its own scatter, or that of the law."""
    if not losses:
        return None
    known = [error for error in errors if error and math.isfinite(error)]
    return Measured(
        loss=_geometric_mean(losses),
        se=fmean(known) if known else 0.0,
        n_runs=len(losses),
        own=len(losses) == 1,
        scatter=seed_scatter([losses], noise=noise),
    )


def measured_in_table(path: Path, fit: Fit, n: float, d: float, teacher: str | None) -> Measured | None:
    """The runs of one size, volume and text in the table of a fit, as one; None where there are none.

    Args:
        path: runs.parquet of the fit; it need not be there.
        fit: Names the columns.
        n: N in the convention of the fit.
        d: Tokens.
        teacher: Label or text_id; None is real text.
    """
    # Beyond the runs nothing was measured, and the table need not be opened.
    if any(not _is_within(asked, *fit.ranges[name]) for name, asked in (("n", n), ("d", d))):
        return None
    size, volume, loss = (fit.columns[name] for name in ("n", "d", "loss"))
    columns = (size, volume, loss, f"{loss}_se", *STATE_COLUMNS, *CLOCKS, "teacher", "text_id")
    rows = rows_of_fit(path, columns, fit.made_of.where)
    text = {teacher or "real", fit.label_of(teacher or "real")}
    found = [
        row
        for row in rows
        if came_to_end(row)
        and row.get(loss)
        and text & {row.get("teacher", "real"), row.get("text_id")}
        and _close(row[size], n)
        and _close(row[volume], d)
    ]
    errors = [row.get(f"{loss}_se") or 0.0 for row in found]
    return _as_one([row[loss] for row in found], errors, fit.calibration.noise)


def rows_of_fit(path: Path, columns: Sequence[str], where: str | None) -> list[dict[str, Any]]:
    """The rows of a table that a fit's filter keeps, in those of the columns that it has; none where there is none."""
    if not path.is_file():
        return []
    if where is not None:
        import pandas as pd

        from scaling.tables.read import select_rows

        kept = select_rows(pd.read_parquet(path), where)
        # A missing number is None, as the other reader gives it.
        found = kept[[name for name in columns if name in kept]].astype(object)
        return [dict(zip(map(str, found), row, strict=True)) for row in found.where(found.notna(), None).to_numpy()]
    # Opened as one file: pyarrow's readers of whole data sets load pandas, which a forecast does not need.
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        known = set(file.schema_arrow.names)
        return file.read(columns=[name for name in columns if name in known]).to_pylist()


def _geometric_mean(losses: Iterable[float]) -> float:
    return math.exp(fmean(map(math.log, losses)))


def _is_within(asked: float, low: float, high: float) -> bool:
    return low * (1 - SAME_CELL) <= asked <= high * (1 + SAME_CELL)


def _close(value: float | None, asked: float) -> bool:
    return bool(value) and math.isfinite(asked) and abs(math.log(float(value or 1) / asked)) < SAME_CELL
