"""Forecasts that are written down before their students are trained, and scored afterwards.

A registered forecast is one file, named by its run, with a hash over all that it says. It is written once: another
forecast of the same run is refused, and a file whose hash does not hold is refused when it is scored. Committed before
the training, it cannot have known the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scaling.errors import RecordError, SpecError
from scaling.files import make_folder, read_json, to_json, write_once
from scaling.predict.recommend.candidates import size_of, text_columns
from scaling.records import RunStore
from scaling.records.given import table_given
from scaling.shown import Drawn
from scaling.spec import RunSpec
from scaling.spec.schema import canonical_json, short_hash
from scaling.tables.finished import came_to_end
from scaling.tables.units import loss_unit

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.result import Fit

PROMISE = 0.9
"""How surely a run is forecast to stay at or below its promised loss."""


@dataclass(frozen=True, kw_only=True)
class RegisteredForecast:
    """What is said of one run before it is trained. Losses are in the unit of the fit.

    Attributes:
        run_id: The run.
        fit_id: The fit that says it.
        column: The loss that is forecast, a column of the runs table.
        text: Whose text the student reads, in words.
        n_params: N in the convention of the fit.
        n_tokens: D.
        reach: Factor by which N or D exceeds the runs behind the fit.
        loss: Forecast.
        low: Lower end of its interval.
        high: Upper end.
        level: Of the interval.
        promised: Loss that is not exceeded with probability 0.9.
        registered_at: UTC, ISO 8601.
    """

    run_id: str
    fit_id: str
    column: str
    text: str
    n_params: int
    n_tokens: int
    reach: float
    loss: float
    low: float
    high: float
    level: float
    promised: float
    registered_at: str

    @property
    def hash(self) -> str:
        """blake2b of all fields, 10 hex digits."""
        return short_hash(canonical_json(asdict(self)))

    def save(self, folder: Path) -> Path:
        """Write it, once.

        Raises:
            RecordError: another forecast of this run is there already.
        """
        path = make_folder(folder) / f"{self.run_id}.json"
        if not write_once(path, to_json(asdict(self) | {"hash": self.hash})):
            raise RecordError(_registered_already([path]))
        return path

    @classmethod
    def load(cls, path: Path) -> RegisteredForecast:
        """Read one.

        Raises:
            RecordError: it is none, or it was changed since it was written.
        """
        values = read_json(path)
        try:
            found = cls(**{field.name: values[field.name] for field in fields(cls)})
        except (KeyError, TypeError) as error:
            raise RecordError(f"{path}: not a registered forecast ({error!r})") from error
        if found.hash != values.get("hash"):
            raise RecordError(
                f"{path}: says something else than when it was registered (hash {found.hash}, was "
                f"{values.get('hash')}); restore the file from where it was committed"
            )
        return found


def save_all(forecasts: Sequence[RegisteredForecast], folder: Path) -> None:
    """Write forecasts into a folder, all or none.

    Raises:
        RecordError: a run of one of them has a forecast there already.
        MachineError: this machine cannot write them all.
    """
    there = [path for one in forecasts if (path := folder / f"{one.run_id}.json").exists()]
    if there:
        raise RecordError(_registered_already(there))
    written: list[Path] = []
    try:
        for one in forecasts:
            written.append(one.save(folder))
    except BaseException:
        # Half of them would be in the way of the same command, and could have been chosen from.
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise


def _registered_already(paths: Sequence[Path]) -> str:
    others = f" (and of {len(paths) - 1} others)" if len(paths) > 1 else ""
    return (
        f"{paths[0]}: a forecast of run {paths[0].stem}{others} is registered already and stays as it is — register "
        "other runs, or into another folder with --out"
    )


def register(
    fit: Fit, runs: Sequence[RunSpec], store: RunStore, *, fit_id: str, level: float = 0.9, force: bool = False
) -> list[RegisteredForecast]:
    """Forecast runs that nobody has trained yet.

    Args:
        fit: What forecasts.
        runs: Each has its own forecast.
        store: Where they would be if they were trained.
        fit_id: Name of the fit.
        level: Of the intervals.
        force: Also far beyond the runs, or beyond runs that do not determine the law.

    Raises:
        SpecError: there are no runs, or some are trained already: that would be no forecast.
        ExtrapolationError: one lies too far beyond the runs.
    """
    trained = [run.run_id for run in runs if store.has(run.run_id)]
    if trained or not runs:
        said = f"{len(trained)} of {len(runs)} runs are trained already ({', '.join(trained[:3])} …)"
        raise SpecError(
            f"{said if trained else 'no run is asked about'}: a forecast is registered before its run is trained — "
            "name the runs to come with --set, for example --set tokens=20M, or in a sweep file of their own"
        )
    # All are refused where one is: a folder that holds half of a sweep's forecasts could have been chosen from.
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [_forecast(fit, run, fit_id=fit_id, level=level, now=now, force=force) for run in runs]


def _forecast(fit: Fit, run: RunSpec, *, fit_id: str, level: float, now: str, force: bool) -> RegisteredForecast:
    n, text = size_of(run.model, fit.columns["n"]), text_columns(fit, run.data)
    said = fit.predict(n, run.n_tokens, level=level, force=force, **text)
    # The upper end of a central interval of 80 % is exceeded by one run in ten.
    promise = fit.predict(n, run.n_tokens, level=2 * PROMISE - 1, force=True, **text)
    return RegisteredForecast(
        run_id=run.run_id,
        fit_id=fit_id,
        column=fit.columns["loss"],
        text=run.data.label,
        n_params=n,
        n_tokens=run.n_tokens,
        reach=float(said.farthest),
        loss=float(said.value),
        low=float(said.low),
        high=float(said.high),
        level=level,
        promised=float(promise.high),
        registered_at=now,
    )


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A forecast beside what was measured.

    Attributes:
        forecast: What was said.
        measured: Loss of the run; None while it is not trained, or where it diverged.
        too_late: True if the run was finished before its forecast was registered; it does not count.
    """

    forecast: RegisteredForecast
    measured: float | None
    too_late: bool = False

    @property
    def error(self) -> float | None:
        """``ln(measured / forecast)``."""
        return None if self.measured is None else math.log(self.measured / self.forecast.loss)

    @property
    def inside(self) -> bool | None:
        """True if the interval holds the measurement."""
        return None if self.measured is None else self.forecast.low <= self.measured <= self.forecast.high

    @property
    def kept(self) -> bool | None:
        """True if the promised loss was not exceeded."""
        return None if self.measured is None else self.measured <= self.forecast.promised


@dataclass(frozen=True, kw_only=True)
class Score(Drawn):
    """How good registered forecasts were.

    Attributes:
        rows: All forecasts, by size and volume.
        n: Those that were measured in time, which count in what follows.
        level: What the intervals promised, on average.
        inside: Share of measurements inside their intervals.
        mean_error: Mean of ``|ln(measured / forecast)|``.
        bias: Mean of ``ln(measured / forecast)``: above zero, forecasts were too low.
        interval_score: Mean of ``(u − l) + 2/α·(l − x)₊ + 2/α·(x − u)₊`` over logs, relative to the forecast's unit;
            smaller is better (Gneiting & Raftery 2007, eq. 43).
        kept: Promises (P = 0.9) that were kept.
    """

    figure: ClassVar[str] = "extrapolation"

    rows: tuple[Scored, ...]
    n: int
    level: float
    inside: float
    mean_error: float
    bias: float
    interval_score: float
    kept: int

    @property
    def unit(self) -> str:
        """Of the losses: those of all forecasts, where they differ."""
        return ", ".join(sorted({loss_unit(row.forecast.column) for row in self.rows}))

    def frame(self) -> pd.DataFrame:
        """One row a forecast; `inside` is empty where it was not measured, or does not count."""
        import pandas as pd

        said = [row.forecast for row in self.rows]
        return pd.DataFrame(
            {
                "text": [one.text for one in said],
                "n": [one.n_params for one in said],
                "d": [one.n_tokens for one in said],
                "reach": [one.reach for one in said],
                "forecast": [one.loss for one in said],
                "low": [one.low for one in said],
                "high": [one.high for one in said],
                "measured": np.array([row.measured for row in self.rows], float),
                "error": np.array([row.error for row in self.rows], float),
                "inside": [None if row.too_late else row.inside for row in self.rows],
            }
        )

    def __str__(self) -> str:
        return (
            f"{self.n} of {len(self.rows)} forecasts measured: {self.inside:.0%} inside their interval "
            f"({self.level:.0%} promised), mean error {self.mean_error:.2%}, bias {self.bias:+.2%}, "
            f"interval score {self.interval_score:.4f}; the loss promised with P 0.9 was kept {self.kept} of {self.n} "
            "times"
        )


def registered_in(folder: Path) -> list[RegisteredForecast]:
    """All forecasts of a folder, by size and volume.

    Raises:
        RecordError: there are none, or one was changed.
    """
    found = [RegisteredForecast.load(path) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise RecordError(f"{folder}: no registered forecasts; make them with scaling register SWEEP.yaml --fit FIT")
    return sorted(found, key=lambda one: (one.n_params, one.n_tokens, one.text, one.run_id))


def score(forecasts: Sequence[RegisteredForecast] | str | Path, runs: pd.DataFrame | str | Path) -> Score:
    """Compare registered forecasts with the runs that have been trained since.

    >>> score("results/reference/forecasts", pd.read_csv("results/reference/registered.csv")).mean_error < 0.02
    True

    Args:
        forecasts: Of `registered_in`, or their folder.
        runs: A runs table, or the file or folder that `load_runs` reads it from.

    Raises:
        RecordError: none of them is in the table, or the folder has none.
    """
    if isinstance(forecasts, str | Path):
        forecasts = registered_in(Path(forecasts))
    table = table_given(runs)
    # A folder without runs yet has a table without columns.
    table = table_given(table, columns=("run_id",)) if len(table) else table
    known: dict[str, dict[Any, Any]] = {row["run_id"]: row for row in table.to_dict("records")}
    rows = tuple(_scored(one, known.get(one.run_id)) for one in forecasts)
    counted = [row for row in rows if row.measured is not None and not row.too_late]
    if not counted:
        raise RecordError(_nothing_to_score(rows, len(known)))
    # Over logs, so that runs of large and small loss count alike.
    ends = [(row.measured, row.forecast.low, row.forecast.high, row.forecast.loss) for row in counted]
    x, low, high, loss = np.log(np.array(ends, float)).T
    alpha = 1 - np.array([row.forecast.level for row in counted])
    misses = np.maximum(low - x, 0) + np.maximum(x - high, 0)
    return Score(
        rows=rows,
        n=len(counted),
        level=float(1 - alpha.mean()),
        inside=float((misses == 0).mean()),
        mean_error=float(np.abs(x - loss).mean()),
        bias=float((x - loss).mean()),
        interval_score=float((high - low + 2 / alpha * misses).mean()),
        kept=sum(bool(row.kept) for row in counted),
    )


def _nothing_to_score(rows: Sequence[Scored], n_read: int) -> str:
    late = sum(row.too_late for row in rows)
    before = f" — {late} ended before their forecast was registered and do not count" if late else ""
    return (
        f"none of {len(rows)} registered runs was trained since, of {n_read} runs that were read{before}; "
        "train them with scaling sweep, and name the folder or table that holds them with --results"
    )


def _scored(forecast: RegisteredForecast, run: Mapping[Any, Any] | None) -> Scored:
    if run is None:
        return Scored(forecast=forecast, measured=None)
    loss = float(run.get(forecast.column, math.nan))
    done = came_to_end(run) and math.isfinite(loss)
    finished = run.get("finished_at")
    # A table that does not say when its runs ended cannot show that a forecast came first.
    before = isinstance(finished, str) and _time(finished) < _time(forecast.registered_at)
    return Scored(forecast=forecast, measured=loss if done else None, too_late=before)


def _time(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)
