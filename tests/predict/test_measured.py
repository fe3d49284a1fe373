"""What was measured decides: the law is not asked about a configuration that was trained."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.errors import InfeasibleError
from scaling.fit.saved.files import load
from scaling.predict.forecast import from_fit
from scaling.predict.measured import Measurements, measured_in_table, runs_of_fit, seed_scatter
from scaling.predict.question import Question
from scaling.predict.recommend.recommendation import Recommendation, recommend
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import RunSpec
from scaling.tables.observations import MadeOf
from scaling.tables.observe import observe

FIT = load(Path(__file__).parent / "first_layout" / "fit.json")


def run(width: int, *, seed: int = 0, tokens: int = 1_000_000) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 65, "width": width, "context": 40},
            "data": {"source": {"kind": "w0"}, "teacher": {"kind": "noise", "rate": 0.2}, "seed": seed},
            "tokens": tokens,
            "seed": seed,
        }
    )


def recommended(losses: dict[RunSpec, float], savings: dict[str, float] | None = None, **question) -> Recommendation:
    asked = Question(**{"target_loss": 1.72, "memory_bytes": 2**26, "probability": 0.5} | question)
    measured = Measurements([(one, loss, 0.004) for one, loss in losses.items()], noise=0.005, savings=savings)
    return recommend(FIT, [run(width) for width in (32, 64, 96, 128, 160)], asked, measured=measured)


def test_a_run_that_was_measured_to_miss_is_not_recommended_however_good_its_forecast():
    assert recommended({}).run.model.width == 96
    found = recommended({run(96): 1.7201})
    assert (found.run.model.width, found.choice.measured, found.binding) == (128, None, "target")


def test_a_run_that_was_measured_to_meet_is_recommended_however_bad_its_forecast():
    found = recommended({run(64): 1.7199}, probability=0.99)
    assert (found.run.model.width, found.probability) == (64, 1.0)
    assert found.choice.expected.value == 1.7199
    assert found.choice.expected.high == pytest.approx(1.7199 + 1.645 * 0.004, rel=1e-3)
    # What the law says is kept beside it: only that is a forecast.
    assert found.prediction.value > 1.72


def test_a_run_that_has_typed_is_judged_by_its_keystrokes_where_they_are_asked_for():
    losses = {run(64): 1.73, run(96): 1.70}
    saved = {run(64).run_id: 0.42, run(96).run_id: 0.39}
    # By their losses 96 would do and 64 would not.
    assert recommended(losses, savings=saved).run.model.width == 96
    found = recommended(losses, savings=saved, target_savings=0.4)
    assert (found.run.model.width, found.probability) == (64, 1.0)
    missed = recommended(losses, savings=saved, target_savings=0.43)
    assert (missed.run.model.width, missed.choice.measured) == (128, None)
    everyone = {run(width): 1.70 for width in (32, 64, 96, 128, 160)}
    saved = {one.run_id: 0.39 for one in everyone}
    with pytest.raises(InfeasibleError, match="measured at 1.7000, saving 39.0% of keystrokes,"):
        recommended(everyone, savings=saved, target_savings=0.4)


def test_an_infeasible_answer_says_whether_its_best_was_measured_or_forecast():
    losses = {run(width): 1.75 for width in (32, 64, 96, 128, 160)}
    with pytest.raises(InfeasibleError, match="the best that fits is measured at 1.7500"):
        recommended(losses, target_loss=1.74)
    with pytest.raises(InfeasibleError, match="the best that fits is forecast at 1.68"):
        recommended({}, target_loss=1.6)


def test_another_seed_is_judged_by_the_scatter_between_seeds():
    losses = {run(64, seed=1): 1.70, run(64, seed=2): 1.72, run(32, seed=1): 1.80, run(32, seed=2): 1.81}
    chosen = recommended(losses, target_loss=1.715).choice
    logs = [[math.log(1.70), math.log(1.72)], [math.log(1.80), math.log(1.81)]]
    scatter = math.sqrt(sum(np.var(one) * 2 for one in logs) / 2)
    assert chosen.measured.scatter == pytest.approx(scatter)
    assert (chosen.run, chosen.measured.own, chosen.measured.n_runs) == (run(64), False, 2)
    z = (math.log(1.715) - np.mean(logs[0])) / (scatter * math.sqrt(1.5))
    assert chosen.probability == pytest.approx(0.5 * (1 + math.erf(z / math.sqrt(2))))


def test_without_two_seeds_of_anything_the_scatter_is_that_of_the_law():
    assert seed_scatter([[1.7], [1.8]], noise=0.005) == 0.005
    assert seed_scatter([], noise=0.005) == 0.005


def test_another_rate_or_volume_is_another_configuration():
    measured = Measurements([(run(64), 1.7, 0.0)], noise=0.01)
    hotter = run(64).model_copy(update={"optim": run(64).optim.model_copy(update={"lr": 1e-4})})
    assert measured[RunSpec.model_validate(hotter.model_dump())] is None
    assert measured[run(64, tokens=500_000)] is None
    assert measured[run(64, seed=9)] is not None


def test_a_loss_in_bits_of_a_byte_is_as_uncertain_as_that_in_nats_which_it_is():
    outcome = Outcome(status="done", loss=4.0, loss_se=0.02, bits_per_byte=2.0)
    assert outcome.standard_error("bits_per_byte") == pytest.approx(0.01)
    assert Outcome(status="done", bits_per_byte=2.0).standard_error("bits_per_byte") is None
    in_bits = replace(FIT, columns={**FIT.columns, "loss": "bits_per_byte"})
    found = Measurements.of([RunRecord(spec=run(64), outcome=outcome)], in_bits)[run(64)]
    assert (found.loss, found.se) == (2.0, pytest.approx(0.01))


def test_only_finished_runs_with_a_loss_count(tmp_path):
    store = RunStore(tmp_path).prepare()
    store.commit(RunRecord(spec=run(32), outcome=Outcome(status="diverged")))
    store.commit(RunRecord(spec=run(64), outcome=Outcome(status="done", loss=1.7, loss_se=0.01)))
    measured = Measurements.of(store.records(run(width).run_id for width in (32, 64, 96)), FIT)
    assert measured[run(32)] is None
    assert measured[run(96)] is None
    assert (measured[run(64)].loss, measured[run(64)].se) == (1.7, 0.01)


@pytest.fixture
def table(tmp_path) -> Path:
    rows = [("a", 221_664, 1.71, "done"), ("b", 221_664, 1.73, "done"), ("c", 402_048, 1.69, "done")]
    rows.append(("d", 402_048, None, "diverged"))
    frame = pd.DataFrame(rows, columns=["run_id", "n_params", "loss", "status"])
    frame = frame.assign(n_tokens=1_000_000, loss_se=0.004, teacher="noise 0.2")
    frame.to_parquet(tmp_path / "runs.parquet")
    return tmp_path / "runs.parquet"


def test_a_cell_of_the_table_answers_with_its_measurement(table):
    found = from_fit(FIT, 221_700, 1e6, teacher="noise 0.2", table=table)
    assert found.measured.loss == pytest.approx(math.sqrt(1.71 * 1.73))
    assert (found.measured.n_runs, found.measured.own) == (2, False)
    alone = measured_in_table(table, FIT, 402_048, 1e6, "noise 0.2")
    assert (alone.loss, alone.own, alone.se) == (1.69, True, 0.004)


def test_a_cell_answers_whatever_its_table_calls_the_end_of_a_run(table):
    named = pd.read_parquet(table).replace({"done": "finished", "diverged": "crashed"})
    for column in ("status", "State"):
        named.rename(columns={"status": column}).assign(loss=1.7).to_parquet(table)
        assert measured_in_table(table, FIT, 221_664, 1e6, "noise 0.2").n_runs == 2
        assert measured_in_table(table, FIT, 402_048, 1e6, "noise 0.2").n_runs == 1


def test_a_forecast_says_whose_text_it_is_of():
    assert from_fit(FIT, 3e5, 1e6).text == "real text"
    assert from_fit(FIT, 3e5, 1e6, teacher="noise 0.2").text == "text of noise 0.2"
    assert from_fit(FIT, 3e5, 1e6, delta_noise=0.1).text == "text with delta = 0 (coverage) + 0.1 (noise)"


def test_a_label_comes_before_an_id_that_another_text_has(table):
    """In what is said of a forecast and in what was measured, as in the forecast itself."""
    crossed = replace(FIT, texts={"noise 0.2": "noise 0.4", "a1": "noise 0.2"})
    assert from_fit(crossed, 3e5, 1e6, teacher="noise 0.2").text == "text of noise 0.2"
    assert from_fit(crossed, 3e5, 1e6, teacher="a1").text == "text of noise 0.2"
    assert measured_in_table(table, crossed, 402_048, 1e6, "a1").loss == 1.69
    pd.read_parquet(table).assign(teacher="noise 0.4").to_parquet(table)
    assert measured_in_table(table, crossed, 402_048, 1e6, "noise 0.2") is None


@pytest.mark.parametrize(
    ("n", "d", "teacher"),
    [(221_664, 2e6, "noise 0.2"), (223_000, 1e6, "noise 0.2"), (221_664, 1e6, None), (math.inf, 1e6, "noise 0.2")],
)
def test_what_was_not_measured_is_forecast(table, n, d, teacher):
    assert measured_in_table(table, FIT, n, d, teacher) is None


def test_a_fit_without_a_table_beside_it_has_no_measurements(tmp_path):
    assert measured_in_table(tmp_path / "runs.parquet", FIT, 221_664, 1e6, "noise 0.2") is None
    assert runs_of_fit(FIT, tmp_path / "runs.parquet") == ()


def test_the_runs_of_a_fit_are_those_of_its_table(table):
    assert runs_of_fit(FIT, table) == ("a", "b", "c", "d")


@pytest.mark.parametrize("named", [(), ("a", "b", "c", "d")], ids=["names none", "names those left out too"])
def test_what_the_filter_of_a_fit_left_out_does_not_count_as_measured(table, named):
    some = replace(FIT, made_of=MadeOf(n_rows=4, where="n_params < 3e5", n_filtered=2, run_ids=named))
    assert runs_of_fit(some, table) == ("a", "b")
    assert measured_in_table(table, some, 402_048, 1e6, "noise 0.2") is None
    assert measured_in_table(table, some, 221_664, 1e6, "noise 0.2").n_runs == 2


def test_a_fit_names_the_runs_that_its_filter_kept(table):
    some = replace(FIT, made_of=MadeOf(n_rows=4, where="n_params < 3e5", n_filtered=2, run_ids=("a", "b")))
    assert runs_of_fit(some, Path("nowhere")) == ("a", "b")
    seen = observe(pd.read_parquet(table), columns={"n": "n_params", "d": "n_tokens"}, where="n_params < 3e5")
    assert seen.made_of.run_ids == ("a", "b")
