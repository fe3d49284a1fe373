"""Forecasts are written before their runs, never changed, and scored against what was then measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.data.worlds import divergence
from scaling.errors import ExtrapolationError, MachineError, RecordError, SpecError
from scaling.files import write_once
from scaling.fit.saved.files import load
from scaling.laws.named import named_law
from scaling.predict.registered import RegisteredForecast, register, registered_in, save_all, score
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import FactSource, NoiseTeacher, RunSpec

FIT = load(Path(__file__).parent / "first_layout" / "fit.json")


def run(width: int, *, tokens: int = 2_000_000, rate: float = 0.2) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 65, "width": width, "context": 40},
            "data": {"source": {"kind": "w0"}, "teacher": {"kind": "noise", "rate": rate}},
            "tokens": tokens,
        }
    )


def registered(folder: Path, *runs: RunSpec, **options) -> list[RegisteredForecast]:
    found = register(FIT, runs, RunStore(folder / "results"), fit_id="f" * 10, **options)
    for one in found:
        one.save(folder / "forecasts")
    return found


def table(forecasts: list[RegisteredForecast], losses: list[float], **columns) -> pd.DataFrame:
    rows = {"run_id": [one.run_id for one in forecasts], "loss": losses, "status": "done"}
    return pd.DataFrame(rows | {"finished_at": "2999-01-01T00:00:00+00:00"} | columns)


def test_what_is_registered_is_what_the_fit_says(tmp_path):
    (one,) = registered(tmp_path, run(96))
    said = FIT.predict(one.n_params, 2_000_000, teacher=one.text, level=0.9)
    assert (one.loss, one.low, one.high) == (float(said.value), float(said.low), float(said.high))
    assert FIT.probability(one.promised, one.n_params, 2_000_000, teacher=one.text) == pytest.approx(0.9, abs=0.01)
    assert registered_in(tmp_path / "forecasts") == [one]


def test_a_worlds_teacher_that_the_fit_has_no_runs_of_is_forecast_from_its_exact_divergences(tmp_path):
    (one,) = registered(tmp_path, run(96, rate=0.3))
    known = divergence(FactSource(kind="w0"), NoiseTeacher(kind="noise", rate=0.3))
    said = FIT.predict(one.n_params, 2_000_000, delta_noise=known.noise, delta_coverage=0.0)
    assert (one.text, one.loss) == ("noise 0.3", float(said.value))


def test_a_law_of_anything_but_divergences_says_nothing_of_a_teacher_without_runs(tmp_path):
    blind = replace(FIT, members=[replace(FIT.members[0], law=named_law("chinchilla"))])
    with pytest.raises(SpecError, match=r"unknown teacher 'noise 0\.3': this fit knows .*noise 0\.2"):
        register(blind, [run(96, rate=0.3)], RunStore(tmp_path), fit_id="f" * 10)


def test_a_run_that_is_trained_cannot_be_registered(tmp_path):
    store = RunStore(tmp_path / "results").prepare()
    store.commit(RunRecord(spec=run(96), outcome=Outcome(status="done", loss=1.7)))
    with pytest.raises(SpecError, match="1 of 2 runs are trained already"):
        registered(tmp_path, run(96), run(128))
    assert not (tmp_path / "forecasts").exists()


def test_a_forecast_is_never_rewritten(tmp_path):
    (first,) = registered(tmp_path, run(96))
    with pytest.raises(RecordError, match="registered already"):
        replace(first, loss=1.0).save(tmp_path / "forecasts")
    assert registered_in(tmp_path / "forecasts") == [first]


def test_where_one_run_has_a_forecast_none_is_written(tmp_path):
    registered(tmp_path, run(128))
    found = register(FIT, [run(96), run(128)], RunStore(tmp_path / "results"), fit_id="f" * 10)
    with pytest.raises(RecordError, match="registered already.*--out"):
        save_all(found, tmp_path / "forecasts")
    assert [one.run_id for one in registered_in(tmp_path / "forecasts")] == [run(128).run_id]


@pytest.mark.parametrize("error", [MachineError("the disk is full"), KeyboardInterrupt()])
def test_where_one_forecast_cannot_be_written_none_is_and_the_same_call_goes_on(tmp_path, monkeypatch, error):
    found = register(FIT, [run(96), run(128), run(160)], RunStore(tmp_path / "results"), fit_id="f" * 10)
    folder = tmp_path / "forecasts"

    def full(path, content):
        if path.stem == found[1].run_id:
            raise error
        return write_once(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("scaling.predict.registered.write_once", full)
        with pytest.raises(type(error)):
            save_all(found, folder)
    assert list(folder.iterdir()) == []
    save_all(found, folder)
    assert len(registered_in(folder)) == 3


def test_a_forecast_that_was_changed_is_refused(tmp_path):
    (one,) = registered(tmp_path, run(96))
    path = tmp_path / "forecasts" / f"{one.run_id}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"high": 9.0}))
    with pytest.raises(RecordError, match="says something else than when it was registered"):
        registered_in(tmp_path / "forecasts")


def test_far_beyond_the_data_nothing_is_registered_unless_forced(tmp_path):
    with pytest.raises(ExtrapolationError, match="beyond the runs"):
        registered(tmp_path, run(96, tokens=1_000_000_000))
    (one,) = registered(tmp_path, run(96, tokens=1_000_000_000), force=True)
    assert one.reach > 100


def test_a_teacher_far_worse_than_those_of_the_fit_is_far_beyond_its_runs(tmp_path):
    asked = run(96, rate=0.9)
    with pytest.raises(ExtrapolationError, match="delta_coverage = 1.41: no text behind this fit has any"):
        registered(tmp_path, asked)
    assert registered(tmp_path, asked, force=True) == registered_in(tmp_path / "forecasts")


def test_scores_are_those_worked_by_hand(tmp_path):
    forecasts = registered(tmp_path, run(64), run(96), run(128), run(160), level=0.8)
    inside, below, above, late = sorted(forecasts, key=lambda one: one.n_params)
    measured = table([inside, below, above], [inside.loss, below.low * 0.9, above.high * 1.1])
    found = score(registered_in(tmp_path / "forecasts"), measured)
    widths = [np.log(one.high / one.low) for one in (inside, below, above)]
    missed = 2 / 0.2 * (np.log(1 / 0.9) + np.log(1.1))
    assert (found.n, found.level, found.inside, found.kept) == (3, pytest.approx(0.8), pytest.approx(1 / 3), 2)
    assert found.interval_score == pytest.approx((sum(widths) + missed) / 3)
    off = [np.log(below.low * 0.9 / below.loss), np.log(above.high * 1.1 / above.loss)]
    assert found.mean_error == pytest.approx(np.abs(off).sum() / 3)
    assert found.bias == pytest.approx(np.sum(off) / 3)
    assert [row.measured is None for row in found.rows] == [False, False, False, True]
    assert found.rows[3].forecast == late


def test_a_run_that_ended_before_its_forecast_or_diverged_does_not_count(tmp_path):
    forecasts = registered(tmp_path, run(64), run(96), run(128))
    losses = [one.loss for one in forecasts]
    finished = ["2000-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"]
    found = score(forecasts, table(forecasts, losses, finished_at=finished, status=["done", "done", "diverged"]))
    assert found.n == 1
    assert [row.too_late for row in found.rows] == [True, False, False]
    with pytest.raises(RecordError, match="none of 3 .* 3 ended before their forecast was registered"):
        score(forecasts, table(forecasts, losses, finished_at="2000-01-01T00:00:00+00:00"))


def test_a_tables_own_word_for_a_run_that_ended_counts(tmp_path):
    forecasts = registered(tmp_path, run(64), run(96))
    losses = [one.loss for one in forecasts]
    assert score(forecasts, table(forecasts, losses, status=["finished", "crashed"])).n == 1


def test_nothing_to_score_says_what_to_do(tmp_path):
    forecasts = registered(tmp_path, run(64))
    with pytest.raises(RecordError, match="none of 1 registered runs was trained since.*scaling sweep"):
        score(forecasts, table([], []))
    with pytest.raises(RecordError, match="scaling register"):
        registered_in(tmp_path / "nowhere")
