"""The score of a ledger, against counts made by hand."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from scaling.export.ledger.rows import read_ledger
from scaling.export.ledger.score import score

KEYS = {"fit_id": "f", "format": "gguf", "engine": "e"}


def row(run_id: str, **changes) -> dict:
    values = {
        "run_id": run_id, "seen_before": False, "loss_measured": 2.0, "loss_forecast": 1.6, "loss_in_interval": True,
        "level": 0.9, "probability": 0.9, "target_met": True, "int8_cost": 0.001, "file_bytes_forecast": 100,
        "file_bytes_measured": 100, "peak_bytes_forecast": 200, "peak_bytes_measured": 190,
        "tokens_per_s_forecast": 10.0, "tokens_per_s_low": 8.0, "tokens_per_s_high": 12.0,
        "tokens_per_s_measured": 11.0, "passed": True, "int8_cost_se": 0.0001,
        "damage_forecast": 0.001, "damage_low": 0.0, "damage_high": 0.002,
    }  # fmt: skip
    return KEYS | values | changes


def test_hit_rates_and_errors_are_those_of_the_last_row_of_each_student():
    rows = [
        row("a", loss_in_interval=False, tokens_per_s_measured=1.0),
        row("b", loss_measured=1.5, probability=1.0, int8_cost=0.003, passed=False, tokens_per_s_measured=13.0),
        row("c", probability=0.3, target_met=False, loss_in_interval=False, peak_bytes_measured=None),
        row("a"),
    ]
    found = score(rows)
    assert (found.n_rows, found.n_students, found.n_losses) == (4, 3, 3)
    assert found.losses_inside == pytest.approx(2 / 3)
    assert found.loss.mean_error == pytest.approx((0.25 + 0.0625 + 0.25) / 3)
    assert found.loss.bias == pytest.approx((0.25 - 0.0625 + 0.25) / 3)
    assert [(one.n, one.promised, one.met) for one in found.targets] == [(1, 0.3, 0.0), (1, 0.9, 1.0), (1, 1.0, 1.0)]
    assert (found.damage, found.worst_damage) == (pytest.approx(0.005 / 3), 0.003)
    assert found.damages_inside == pytest.approx(2 / 3)
    assert (found.file.worst, found.peak.n, found.peak.bias) == (0.0, 2, pytest.approx(-0.05))
    assert found.speeds_inside == pytest.approx(2 / 3)
    assert found.promises_kept == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_a_student_counts_once_for_its_loss_and_target_however_often_it_was_stored_and_run(seed):
    once = [row("a", loss_in_interval=False, target_met=False), row("b"), row("a", fit_id="g"), row("c", probability=1)]
    again = [one | {"format": f, "engine": e} for one in once for f, e in (("gguf", "none: stopped"), ("onnx", "o"))]
    rows = [*once, *again]
    Random(seed).shuffle(rows)
    alone, found = score(once), score(rows)
    assert (found.n_losses, found.losses_inside, found.loss) == (4, alone.losses_inside, alone.loss)
    assert (found.targets, found.n_students) == (alone.targets, 12)
    # Two formats cost two damages, in whichever engine; files, memory and speed are of each that ran.
    assert found.damages_inside == alone.damages_inside
    assert (found.file.n, found.peak.n, found.speed.n) == (12, 12, 12)


def test_of_a_students_rows_the_last_with_a_measurement_says_what_its_loss_and_target_were():
    rows = [row("a", loss_measured=1.0), row("a", engine="o", loss_measured=2.0, target_met=False)]
    rows.append(row("a", engine="none", loss_measured=None, loss_in_interval=None, target_met=None))
    rows.append(row("a", engine="later", seen_before=True, loss_measured=9.0, probability=None))
    found = score(rows)
    assert (found.n_losses, found.loss.bias) == (1, pytest.approx(0.25))
    assert [(one.n, one.met) for one in found.targets] == [(1, 0.0)]


def test_what_storing_costs_is_counted_once_a_format_and_not_once_an_engine():
    rows = [row("a", int8_cost=0.001), row("a", engine="o", int8_cost=0.001), row("a", format="q4", int8_cost=0.004)]
    assert score(rows).damage == pytest.approx(0.0025)


def test_what_the_fit_had_seen_is_no_forecast():
    found = score([row("a", seen_before=True)])
    assert (found.n_losses, found.losses_inside, found.loss) == (0, None, None)
    assert found.file.n == 1


def test_an_engine_whose_speed_was_not_forecast_is_no_miss_of_it():
    unknown = {"tokens_per_s_forecast": None, "tokens_per_s_low": None, "tokens_per_s_high": None}
    found = score([row("a", **unknown), row("b")])
    assert (found.speed.n, found.speeds_inside) == (1, 1.0)
    assert score([row("a", **unknown)]).speed is None


def test_an_empty_ledger_and_one_of_before_can_be_scored():
    assert score([]).n_rows == 0
    published = Path(__file__).parents[3] / "results" / "reference" / "ledger.csv"
    found = score(read_ledger(published))
    assert found.n_students >= 2
    assert found.file.worst == 0
