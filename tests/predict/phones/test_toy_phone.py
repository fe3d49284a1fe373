"""A phone is one block of a TOML file: a toy one, from a file outside the package, decides a recommendation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaling.config.load import open_sweep
from scaling.errors import ConfigError, InfeasibleError
from scaling.fit.saved.files import load
from scaling.predict.phones.devices import device
from scaling.predict.phones.speed import decode_speed
from scaling.predict.question import Question
from scaling.predict.recommend.of_sweep import recommend_of_sweep
from scaling.predict.recommend.recommendation import Recommendation
from scaling.records import RunStore

HERE = Path(__file__).parents[1]
QUICKSTART = HERE / "first_layout" / "quickstart.yaml"

BLOCK = """
[pocket]
label = "a pocket calculator"
year = 1986
memory = { value = 111e6, basis = "unverified", source = "invented" }
[[pocket.speed]]
engine = "llama_cpp"
unit = "cpu"
bandwidth = { value = 1e8, low = 5e7, high = 2e8, basis = "unverified", source = "invented" }
layer_s = { value = 2e-4, low = 1e-4, high = 4e-4, basis = "unverified", source = "invented" }
token_s = { value = 1e-4, low = 5e-5, high = 2e-4, basis = "unverified", source = "invented" }
"""


@pytest.fixture
def pocket(tmp_path) -> str:
    (tmp_path / "toys.toml").write_text(BLOCK)
    return f"{tmp_path / 'toys.toml'}:pocket"


def ask(tmp_path, **question) -> Recommendation:
    sweep = open_sweep(QUICKSTART)
    asked = Question.of(sweep.config, **{"target_loss": 1.75, "probability": 0.5} | question)
    return recommend_of_sweep(
        asked, load(HERE / "first_layout" / "fit.json"), sweep.config, sweep.runs, RunStore(tmp_path / "results")
    )


def test_a_recommendation_stays_within_the_share_of_its_memory(pocket, tmp_path):
    found = ask(tmp_path, device=pocket)
    assert found.question.budget_bytes == 11_100_000
    assert found.footprint.total_bytes <= 11_100_000
    with pytest.raises(InfeasibleError, match="10.59 MiB"):
        ask(tmp_path, device=pocket, target_loss=1.68)
    assert ask(tmp_path, memory_bytes=2**26, target_loss=1.68).footprint.total_bytes > 11_100_000


def test_a_recommendation_is_as_fast_as_was_asked_at_the_slow_end(pocket, tmp_path):
    found = ask(tmp_path, device=pocket)
    assert found.choice.speed == decode_speed(found.run.model, device(pocket))
    slow = found.choice.speed.low
    assert ask(tmp_path, device=pocket, tokens_per_s=0.9 * slow).run == found.run
    with pytest.raises(InfeasibleError, match="tokens/s"):
        ask(tmp_path, device=pocket, tokens_per_s=1.1 * slow)


def test_its_answer_names_it_and_can_be_read_back(pocket, tmp_path):
    found = ask(tmp_path, device=pocket)
    (tmp_path / "recommendation.json").write_text(json.dumps(found.to_json()))
    assert Recommendation.from_json(tmp_path / "recommendation.json").question.device == pocket


@pytest.mark.parametrize("line", [one for one in BLOCK.strip().splitlines() if "=" in one])
def test_a_block_that_lacks_a_figure_says_which(tmp_path, line):
    (tmp_path / "toys.toml").write_text(BLOCK.replace(line, ""))
    with pytest.raises(ConfigError, match=line.split()[0]):
        device(f"{tmp_path / 'toys.toml'}:pocket")


def test_a_phone_that_is_not_in_the_file_is_refused(pocket):
    with pytest.raises(ConfigError, match="did you mean 'pocket'"):
        device(pocket.replace(":pocket", ":packet"))
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file"):
        device("nowhere.toml:pocket")
