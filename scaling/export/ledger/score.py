"""How good the forecasts of a ledger were: how often right, and by how much wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaling.export.ledger.rows import FORECAST, Value, latest
from scaling.predict.quantization import QuantizationCost

Row = Mapping[str, Value]

PROBABILITY_BINS = ((0.0, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.0))
"""Where P(loss ≤ target) lies; the last one holds 1."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Targets that were to be met about equally surely.

    Attributes:
        low: Least probability.
        high: Greatest; 1 is in the last bin.
        n: Students.
        promised: Mean of their probabilities: how many should have met their target.
        met: Share that did.
    """

    low: float
    high: float
    n: int
    promised: float
    met: float


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of one kind of forecast.

    Attributes:
        n: Forecasts that were measured.
        bias: Mean of ``measured / forecast − 1``.
        mean_error: Mean of its absolute values.
        worst: Greatest of them.
    """

    n: int
    bias: float
    mean_error: float
    worst: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good the forecasts of a ledger were.

    Attributes:
        n_rows: Rows of the ledger.
        n_students: Students by run, fit, format and engine; of each the last row counts for file, memory and speed.
        n_losses: Losses that were forecast, one of each run and fit, however often it was stored and run since; runs of
            the fit itself are left out: of those nothing was forecast.
        losses_inside: Share that lies in its interval; None without any.
        level: Mean level of the intervals: the share that should.
        loss: Errors of the losses.
        targets: Met targets, by how surely they were to be met; one of each run and fit as well.
        damage: Mean nats/token that storing the weights cost, whatever engine ran them.
        worst_damage: Most.
        damages_inside: Share of it inside the range that was forecast; None where none was.
        file: Errors of file sizes.
        peak: Errors of peak memory.
        speed: Errors of tokens/s.
        speeds_inside: Share of the rates inside their range; None without any.
        promises_kept: Share of the students of which no promise is broken.
    """

    n_rows: int
    n_students: int
    n_losses: int
    losses_inside: float | None
    level: float | None
    loss: Errors | None
    targets: tuple[Bin, ...]
    damage: float | None
    worst_damage: float | None
    damages_inside: float | None
    file: Errors | None
    peak: Errors | None
    speed: Errors | None
    speeds_inside: float | None
    promises_kept: float | None


def score(rows: Sequence[dict[str, Value]]) -> Score:
    """Score a ledger.

    Args:
        rows: As ``read_ledger`` gives them.
    """
    students = latest(rows)
    # What the fit had seen was not forecast; what was not measured cannot be judged. Another file of the student, or
    # another engine, is no second forecast of its loss.
    measured = [row for row in rows if not row["seen_before"] and row["loss_measured"] is not None]
    forecast = latest(measured, key=FORECAST)
    judged = [row for row in rows if row["probability"] is not None and row["target_met"] is not None]
    # What storing the weights costs is the same in every engine.
    stored = latest(rows, key=(*FORECAST, "format"))
    damage = _values(stored, "int8_cost")
    foreseen = [row for row in stored if damage_inside(row) is not None]
    timed = [
        row for row in students if row["tokens_per_s_measured"] is not None and row["tokens_per_s_forecast"] is not None
    ]
    return Score(
        n_rows=len(rows),
        n_students=len(students),
        n_losses=len(forecast),
        losses_inside=_share(forecast, lambda row: bool(row["loss_in_interval"])),
        level=_mean(_values(forecast, "level")),
        loss=_errors(forecast, "loss"),
        targets=_bins(latest(judged, key=FORECAST)),
        damage=_mean(damage),
        worst_damage=max(damage, default=None),
        damages_inside=_share(foreseen, lambda row: bool(damage_inside(row))),
        file=_errors(students, "file_bytes"),
        peak=_errors(students, "peak_bytes"),
        speed=_errors(timed, "tokens_per_s"),
        speeds_inside=_share(timed, _speed_inside),
        promises_kept=_share(students, lambda row: bool(row["passed"])),
    )


def _bins(judged: Sequence[Row]) -> tuple[Bin, ...]:
    found = []
    for low, high in PROBABILITY_BINS:
        inside = [
            row
            for row in judged
            if low <= _number(row, "probability") < high or _number(row, "probability") == high == 1
        ]
        if inside:
            met = [bool(row["target_met"]) for row in inside]
            promised = float(np.mean(_values(inside, "probability")))
            found.append(Bin(low=low, high=high, n=len(inside), promised=promised, met=float(np.mean(met))))
    return tuple(found)


def _errors(rows: Sequence[Row], name: str) -> Errors | None:
    pairs = [
        (_number(row, f"{name}_forecast"), _number(row, f"{name}_measured"))
        for row in rows
        if row[f"{name}_measured"] is not None
    ]
    if not pairs:
        return None
    error = np.array([measured / forecast - 1 for forecast, measured in pairs])
    return Errors(
        n=len(pairs),
        bias=float(error.mean()),
        mean_error=float(np.abs(error).mean()),
        worst=float(np.abs(error).max()),
    )


def damage_inside(row: Row) -> bool | None:
    """Whether what storing the weights cost lies in the range that was forecast; None where none was."""
    if row["damage_forecast"] is None:
        return None
    forecast = {end: _number(row, f"damage_{end}") for end in ("low", "high")}
    found = QuantizationCost(nats=_number(row, "damage_forecast"), **forecast, source="")
    return found.holds(_number(row, "int8_cost"), _number(row, "int8_cost_se"))


def _speed_inside(row: Row) -> bool:
    low, high = _number(row, "tokens_per_s_low"), _number(row, "tokens_per_s_high")
    return low <= _number(row, "tokens_per_s_measured") <= high


def _share(rows: Sequence[Row], holds: Callable[[Row], bool]) -> float | None:
    return float(np.mean([holds(row) for row in rows])) if rows else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _values(rows: Sequence[Row], name: str) -> list[float]:
    return [_number(row, name) for row in rows if row[name] is not None]


def _number(row: Row, name: str) -> float:
    return float(row[name] or 0)
