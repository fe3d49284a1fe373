"""The ledger: one row a verification, what was forecast beside what was measured. It is how the project is judged.

Rows are appended, and never rewritten, reordered or deleted. A student that is verified again gets another row; who
counts takes the last of each key (`latest`): of each forecast, or of each file in each engine. The file is replaced as
a whole, so a reader never sees half of one.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scaling.accounting import count_parameters
from scaling.errors import RecordError
from scaling.files import clear_errors, locked, make_folder, write_bytes
from scaling.fit.saved.files import fit_id_of, to_json
from scaling.predict.recommend.recommendation import Recommendation

if TYPE_CHECKING:
    from scaling.export.verify import Verification
    from scaling.fit.result import Fit

Value = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """Columns of the ledger, in file order. Losses are nats/token unless ``loss_name`` says otherwise; None is empty.

    Attributes:
        recorded_at: UTC, ISO 8601.
        sweep: Name of the sweep.
        run_id: The recommended run.
        fit_id: Hash of the fit that forecast it.
        law: Name of the fit's leading law.
        source: What the student reads.
        teacher: Who speaks it.
        n_params: N without embedding.
        n_params_total: Stored parameters.
        n_tokens: D.
        reach: Factor by which N or D exceeds the data behind the fit.
        target_loss: What was asked.
        target_basis: What that was derived from; empty for a number that was asked for.
        target_probability: How surely it was to be met.
        probability: P(loss ≤ target) of the forecast.
        target_met: True if the loss of the file's weights is at most the target (until 2026-11-27 the student's).
        loss_name: Which loss was forecast, a field of Outcome.
        level: Level of the interval.
        seen_before: True if the run was among those that the fit was made of, which is then no forecast.
        loss_forecast: Forecast.
        loss_low: Lower end of its interval.
        loss_high: Upper end.
        loss_measured: The trained float student.
        loss_measured_se: Standard error of that.
        loss_in_interval: True if measured lies between low and high.
        loss_float: Float student on the real held-out set, nats/token.
        loss_int8: The weights read back from the exported file, on the same set.
        int8_cost: Mean of the paired differences.
        int8_cost_se: Standard error of that.
        engine_cost: By how much the engine's own loss exceeds JAX on the same weights, on a few hundred tokens.
        file_bytes_forecast: Size of the file.
        file_bytes_measured: The same, on disk.
        peak_bytes_forecast: Memory while it runs on the machine that verified, the app not included.
        peak_bytes_measured: The same in the engine, the interpreter not included.
        device: Device of the speed forecast.
        tokens_per_s_forecast: Rate of writing; empty where this engine was not measured on the device before.
        tokens_per_s_low: Lower end of its range.
        tokens_per_s_high: Upper end.
        tokens_per_s_measured: Median in the engine, on the machine that verified.
        greedy_tokens: Tokens that the engine wrote.
        greedy_equal: Leading ones that JAX writes as well.
        engine: Name and version, or why there is none.
        passed: True if no promise is broken.
        format: Name of the export format.
        tokens_per_s_best: Fastest of the repeats.
        load_average: Of the machine, before the engine was timed.
        allocated_bytes: Part of the peak that the engine allocated, which a phone cannot take back.
        mapped_bytes: Part of it that is the mapped file, which a phone may take back.
        texts_tried: Texts that the engine's tokenizer was given; empty for a world.
        texts_equal: Those of them that it cut as the student's.
        damage_forecast: What storing the weights so was to add to the loss, beside ``int8_cost``.
        damage_low: Lower end of its range.
        damage_high: Upper end.
        damage_basis: Where that was seen: the sweep's own damage.csv, or the reference tables.
    """

    recorded_at: str
    sweep: str
    run_id: str
    fit_id: str
    law: str
    source: str
    teacher: str
    n_params: int
    n_params_total: int
    n_tokens: int
    reach: float
    target_loss: float
    target_basis: str | None
    target_probability: float | None
    probability: float | None
    target_met: bool | None
    loss_name: str
    level: float
    seen_before: bool | None
    loss_forecast: float
    loss_low: float
    loss_high: float
    loss_measured: float | None
    loss_measured_se: float | None
    loss_in_interval: bool | None
    loss_float: float
    loss_int8: float
    int8_cost: float
    int8_cost_se: float
    engine_cost: float | None
    file_bytes_forecast: int
    file_bytes_measured: int
    peak_bytes_forecast: int
    peak_bytes_measured: int | None
    device: str
    tokens_per_s_forecast: float | None
    tokens_per_s_low: float | None
    tokens_per_s_high: float | None
    tokens_per_s_measured: float | None
    greedy_tokens: int | None
    greedy_equal: int | None
    engine: str
    passed: bool
    format: str | None
    tokens_per_s_best: float | None
    load_average: float | None
    allocated_bytes: int | None
    mapped_bytes: int | None
    texts_tried: int | None
    texts_equal: int | None
    damage_forecast: float | None
    damage_low: float | None
    damage_high: float | None
    damage_basis: str | None


COLUMNS = tuple(field.name for field in fields(LedgerRow))
KEY = ("run_id", "fit_id", "format", "engine")
"""What makes two rows measurements of one thing."""

FORECAST = ("run_id", "fit_id")
"""What makes two rows tell of one forecast of a loss, whichever files the student was stored in since."""

LATER = (
    "target_basis", "target_probability", "probability", "target_met", "seen_before", "format", "tokens_per_s_best",
    "load_average", "allocated_bytes", "mapped_bytes", "texts_tried", "texts_equal", "damage_forecast",
    "damage_low", "damage_high", "damage_basis",
)  # fmt: skip
"""Columns that ledgers of before 2026-11-26 lack; those of their rows that can be told are filled in when read."""


def append(
    path: str | os.PathLike[str],
    sweep: str,
    fit: Fit,
    recommendation: Recommendation,
    verification: Verification,
) -> dict[str, Value]:
    """Write the row of a verification, behind all others.

    Args:
        path: The ledger; created if it does not exist.
        sweep: Name of the sweep.
        fit: What forecast.
        recommendation: What was forecast.
        verification: What was measured.

    Returns:
        The row, by column.

    Raises:
        RecordError: if the file has other columns.
    """
    # Made before the file is opened, so that a row that cannot be made changes nothing.
    row = asdict(ledger_row(sweep, fit, recommendation, verification))
    write_row(path, row)
    return row


def ledger_row(sweep: str, fit: Fit, recommendation: Recommendation, verification: Verification) -> LedgerRow:
    """The row of a recommendation; see :class:`LedgerRow`."""
    forecast, run, found = recommendation.prediction, recommendation.run, verification.in_engine
    counts, cost, engine, greedy = count_parameters(run.model), verification.read_back, found.run, found.greedy
    speed = verification.speed
    # Compared is the loss that the fit forecasts, which need not be that on real text.
    loss_name = fit.columns["loss"]
    measured = getattr(verification.outcome, loss_name)
    return LedgerRow(
        recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        sweep=sweep,
        run_id=run.run_id,
        fit_id=recommendation.fit_id or fit_id_of(to_json(fit)),
        law=fit.law.name,
        source=run.data.source.label,
        teacher=run.data.label,
        n_params=counts.n_params,
        n_params_total=counts.n_params_total,
        n_tokens=run.n_tokens,
        reach=recommendation.choice.reach,
        target_loss=recommendation.question.target_loss,
        target_basis=recommendation.question.target_basis,
        target_probability=recommendation.question.probability,
        probability=recommendation.probability,
        target_met=verification.target_met,
        loss_name=loss_name,
        level=forecast.level,
        seen_before=recommendation.choice.measured is not None and recommendation.choice.measured.own,
        loss_forecast=forecast.value,
        loss_low=forecast.low,
        loss_high=forecast.high,
        loss_measured=measured,
        loss_measured_se=verification.outcome.standard_error(loss_name),
        loss_in_interval=None if measured is None else forecast.low <= measured <= forecast.high,
        loss_float=cost.before,
        loss_int8=cost.after,
        int8_cost=cost.increase,
        int8_cost_se=cost.increase_se,
        engine_cost=None if found.cost is None else found.cost.increase,
        file_bytes_forecast=verification.memory.weights_bytes,
        file_bytes_measured=verification.file_bytes,
        peak_bytes_forecast=verification.memory.total_bytes,
        peak_bytes_measured=None if engine is None else engine.peak_bytes,
        device=verification.device,
        tokens_per_s_forecast=None if speed is None else speed.tokens_per_s,
        tokens_per_s_low=None if speed is None else speed.low,
        tokens_per_s_high=None if speed is None else speed.high,
        tokens_per_s_measured=None if engine is None else engine.tokens_per_s,
        greedy_tokens=None if greedy is None else greedy.n_tokens,
        greedy_equal=None if greedy is None else greedy.n_equal,
        engine=engine.engine if engine else f"none: {(found.error or 'not run').splitlines()[0]}",
        passed=verification.passed,
        format=verification.format,
        tokens_per_s_best=None if engine is None or engine.tokens_per_s_range is None else engine.tokens_per_s_range[1],
        load_average=None if engine is None else engine.load_average,
        allocated_bytes=None if engine is None else engine.allocated_bytes,
        mapped_bytes=None if engine is None else engine.mapped_bytes,
        texts_tried=None if found.texts_equal is None else found.texts_equal[1],
        texts_equal=None if found.texts_equal is None else found.texts_equal[0],
        damage_forecast=verification.damage.nats,
        damage_low=verification.damage.low,
        damage_high=verification.damage.high,
        damage_basis=verification.damage.source,
    )


def write_row(path: str | os.PathLike[str], row: Mapping[str, Value]) -> None:
    """Put one row at the end of a ledger.

    Raises:
        RecordError: if the file, or the row, has other columns.
    """
    path = Path(path)
    if tuple(row) != COLUMNS:
        raise RecordError(f"a ledger row needs the columns {', '.join(COLUMNS)} — got {', '.join(row)}")
    make_folder(path.parent)
    new = {name: _spell(value) for name, value in row.items()}
    # Two chains that end at once write one after the other.
    with locked(path.with_name(f".{path.name}.lock")):
        write_bytes(path, _to_csv([*_read_raw(path), new]))


def read_ledger(path: str | os.PathLike[str]) -> list[dict[str, Value]]:
    """All rows of a ledger, oldest first, with the types of :class:`LedgerRow`.

    Raises:
        RecordError: if it is absent, has other columns, or a cell that is not of its column's type.
    """
    path = Path(path)
    if not path.exists():
        raise RecordError(f"{path}: no ledger yet — `scaling run` or `scaling verify` writes it")
    return [
        {name: _parse(text, Cell(path, i, name)) for name, text in row.items()}
        for i, row in enumerate(_read_raw(path), start=2)
    ]


def latest(rows: Iterable[dict[str, Value]], *, key: Sequence[str] = KEY) -> list[dict[str, Value]]:
    """Of rows with one key the last, in the order in which the keys came first."""
    return list({tuple(row[name] for name in key): row for row in rows}.values())


def _read_raw(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with clear_errors(path), path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header, rows = tuple(reader.fieldnames or ()), list(reader)
    except (ValueError, csv.Error) as error:
        raise RecordError(
            f"{path}: not a ledger ({error}); nothing was changed — move it away and a new one is begun"
        ) from error
    missing, extra = [c for c in COLUMNS if c not in header], [c for c in header if c not in COLUMNS]
    if extra or not set(missing) <= set(LATER):
        raise RecordError(
            f"{path}: not this version's ledger — missing columns: {', '.join(missing) or 'none'}; unknown: "
            f"{', '.join(extra) or 'none'}; nothing was changed — move it away and a new one is begun"
        )
    if any(None in row or None in row.values() for row in rows):
        raise RecordError(f"{path}: a row has not as many cells as the header; repair it or move the file away")
    return [_of_before(path, i, row) for i, row in enumerate(rows, start=2)] if missing else rows


def _of_before(path: Path, i: int, row: dict[str, str]) -> dict[str, str]:
    """A row without some of ``LATER``: whether the target was met follows from the others, and all were GGUF."""
    measured, target = (_parse(row[name], Cell(path, i, name)) for name in ("loss_measured", "target_loss"))
    met = _spell(None if measured is None else float(measured) <= float(target or 0))
    return {name: "" for name in COLUMNS} | {"target_met": met, "format": "gguf"} | row


def _to_csv(rows) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""What makes a spreadsheet compute a text cell instead of showing it; and the mark that says not to."""


def _spell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return repr(value) if isinstance(value, float) else str(value)


class Cell(NamedTuple):
    """Where a value stands, for messages; rows are counted as a spreadsheet counts them, the header as the first."""

    path: Path
    row: int
    column: str


_BOOLS = {"true": True, "false": False}


def _parse(text: str, cell: Cell) -> Value:
    kind, _, may_be_empty = _TYPES[cell.column].partition(" | ")
    if text == "" and may_be_empty:
        return None
    if kind == "str":
        return text.removeprefix("'")
    # Whoever saves the file from a spreadsheet gets its own spelling of some values.
    try:
        return _BOOLS[text.strip().lower()] if kind == "bool" else int(text) if kind == "int" else float(text)
    except (KeyError, ValueError) as error:
        raise RecordError(
            f"{cell.path}: row {cell.row}, column {cell.column}: got {text!r}, needed is {_SPELLED[kind]} — write it "
            "so, or take the file as it was before another program saved it"
        ) from error


_TYPES = {field.name: str(field.type) for field in fields(LedgerRow)}

_SPELLED = {"bool": "True or False", "int": "a whole number, as 1200000", "float": "a number, as 1.75 or 1e-05"}
