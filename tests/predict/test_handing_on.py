"""A question and its recommendation go to disk and come back whole; files of the first layout stay readable."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scaling.config.sweep import SweepConfig
from scaling.errors import ConfigError, RecordError, SpecError
from scaling.files import write_json
from scaling.fit.saved.files import fit_id_of, load
from scaling.formats.plain import plain
from scaling.predict.phones.devices import device
from scaling.predict.phones.speed import decode_speed
from scaling.predict.question import Question
from scaling.predict.recommend.recommendation import Recommendation

FIRST_LAYOUT = Path(__file__).parent / "first_layout"


def written(**recommend) -> SweepConfig:
    return SweepConfig.model_validate({"name": "x", "recommend": {"target_loss": 1.7, "memory": "64MiB"} | recommend})


def recommended() -> Recommendation:
    """A recommendation with every field filled."""
    found = Recommendation.from_json(FIRST_LAYOUT / "recommendation.json")
    question = Question(
        target_loss=1.72, device="mid-8gb", tokens_per_s=10, widths=(32, 64), teacher={"kind": "noise"}, context=512
    )
    choice = replace(found.choice, speed=decode_speed(found.run.model, device("mid-8gb")))
    savings = replace(found.choice.prediction, value=0.4, low=0.38, high=0.42)
    return replace(found, question=question, fit_id="0123456789", choice=choice, savings=savings)


def test_a_recommendation_comes_back_as_it_was_written(tmp_path):
    found = recommended()
    write_json(tmp_path / "recommendation.json", plain(found))
    assert Recommendation.from_json(tmp_path / "recommendation.json") == found


@pytest.mark.parametrize("damage", ["[]", "{}", '{"question": 1}', '{"question": {"target": 2}}', "null"])
def test_what_is_no_recommendation_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "recommendation.json"
    path.write_text(damage)
    with pytest.raises(RecordError, match="recommendation.json"):
        Recommendation.from_json(path)


def test_every_missing_field_of_a_recommendation_is_noticed(tmp_path):
    path, whole = tmp_path / "recommendation.json", plain(recommended())
    later = {"cost", "front", "shapes", "savings", "unit", "floor_low", "floor_high", "notes"}
    for name in whole.keys() - later:
        write_json(path, {key: value for key, value in whole.items() if key != name})
        with pytest.raises(RecordError, match="not a recommendation"):
            Recommendation.from_json(path)


def test_a_recommendation_of_the_first_layout_says_the_same_as_before():
    old = json.loads((FIRST_LAYOUT / "recommendation.json").read_text())
    found = Recommendation.from_json(FIRST_LAYOUT / "recommendation.json")
    assert found.run.run_id == "a9bf8e96d2"
    assert found.question == Question(target_loss=1.72, memory_bytes=2**26, probability=0.5)
    assert (found.prediction.low, found.prediction.value) == (old["choice"]["low"], old["choice"]["loss"])
    assert found.footprint.total_bytes == sum(old["choice"]["footprint"].values())
    assert (found.fit_id, len(found.runners_up)) == (None, 1)


def test_a_fit_of_the_first_layout_forecasts_what_it_forecast():
    old = json.loads((FIRST_LAYOUT / "recommendation.json").read_text())["choice"]
    fit = load(FIRST_LAYOUT / "fit.json")
    assert fit.loss(old["n_params"], old["run"]["tokens"], teacher="noise 0.2") == pytest.approx(old["loss"], rel=1e-9)


def test_a_fit_is_known_by_its_text_and_by_nothing_else():
    text = (FIRST_LAYOUT / "fit.json").read_text()
    assert fit_id_of(text) == fit_id_of(text + "\n")
    assert fit_id_of(text) != fit_id_of(text.replace("36", "35", 1))


def test_what_is_asked_on_the_command_line_stands_before_what_the_file_asks():
    config = written(probability=0.8, tokens=1000, widths=[32])
    assert Question.of(config) == Question(
        target_loss=1.7, memory_bytes=2**26, probability=0.8, tokens=1000, widths=(32,)
    )
    assert Question.of(config, target_loss=1.6, probability=None).target_loss == 1.6
    assert Question.of(config, device="mid-8gb").budget_bytes == 800_000_000
    assert Question.of(config, device="mid-8gb", memory_bytes=1000).budget_bytes == 1000


def test_a_sweep_that_asks_nothing_needs_a_target_and_a_budget():
    silent = SweepConfig.model_validate({"name": "x"})
    with pytest.raises(ConfigError, match="--target-loss and --memory"):
        Question.of(silent, memory_bytes=1000)
    assert Question.of(silent, target_loss=2, memory_bytes=1000).target_loss == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"probability": 95}, "between 0 and 1"),
        ({"probability": 0}, "between 0 and 1"),
        ({"target_loss": 0}, "target_loss: got 0"),
        ({"tokens_per_s": 5}, "a speed needs a device"),
        ({"memory_bytes": None}, "memory_bytes or a device"),
        ({"device": "mid-8bg"}, "mid-8gb"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(asked, said):
    with pytest.raises((SpecError, ConfigError), match=said):
        Question(**{"target_loss": 2.0, "memory_bytes": 1000} | asked)
