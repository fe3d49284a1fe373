"""Commands that choose: their JSON is the documented one, and mistakes are named with their remedy."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaling.chain.workspace import Workspace
from scaling.cli import app
from scaling.errors import ScalingError
from scaling.predict.question import Question
from scaling.records import RunStore

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = str(ROOT / "sweeps" / "quickstart.yaml")
ASKS_NOTHING = str(ROOT / "sweeps" / "seeds.yaml")
TABLE = str(ROOT / "results" / "reference" / "grid.csv")
BY_LAW = ("recommend", "--law", "besiroglu", "--target-loss", "2.7", "--tokens", "100B")
ASKED = {
    "recommend": (*BY_LAW, "--device", "mid-8gb"),
    "next-runs": ("next-runs", QUICKSTART, "--flops", "1e13"),
    "backtest --decision": ("backtest", TABLE, "--decision", "0.9", "--law", "q1q2"),
}
WHOLE = ("choice.run.", "question.", "runners_up[].", "choice.prediction.reach.")
"""What is documented by its class, and what is named after the law's columns."""


def fields(found: object, inside: str = "") -> set[str]:
    if isinstance(found, list):
        return set().union(*(fields(one, f"{inside}[]") for one in found))
    if not isinstance(found, dict):
        return set()
    paths = {name: f"{inside}.{name}".lstrip(".") for name in found}
    return set(paths.values()).union(*(fields(value, paths[name]) for name, value in found.items()))


def documented(command: str) -> set[str]:
    text = (ROOT / "results" / "README.md").read_text("utf-8")
    line = next(line for line in text.splitlines() if line.startswith(f"| `{command}` |")).split("|")[2]
    parts = [part.rpartition(": ") for part in re.findall(r"`([^`]+)`", line)]
    return {f"{inside}.{name}".lstrip(".") for inside, _, names in parts for name in names.split()}


@pytest.mark.parametrize("command", ASKED)
def test_the_json_of_a_choice_has_the_documented_fields(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*ASKED[command], "--json"])
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert {name for name in fields(found) if not name.startswith(WHOLE)} == documented(command)
    if command == "recommend":
        assert found["runners_up"][0].keys() == found["choice"].keys()
        assert Question.from_json(found["question"]).target_loss == 2.7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("recommend", "--target-loss", "2"), "needs one of --fit, --law — got none of them"),
        (
            (*BY_LAW, "--fit", "fit.json", "--memory", "1GiB"),
            "needs one of --fit, --law — got --fit and --law",
        ),
        (("recommend", "--law", "besiroglu", "--memory", "1GiB"), "--target-loss: missing"),
        (
            ("recommend", "--fit", "a.json", "--fit", "b.json", "--tokens", "1M"),
            "--tokens: has no effect beside several",
        ),
        ((*BY_LAW, "--memory", "1GiB", "--teacher", "palm"), "--teacher: has no effect beside --law"),
        ((*BY_LAW, "--memory", "1GiB", "--probability", "0.5"), "--probability: has no effect beside --law"),
        ((*BY_LAW, "--memory", "1GiB", "--format", "q9"), "--format q9: unknown"),
        ((*BY_LAW, "--memory", "1GiB", "--max-training-flops", "lots"), "allowed is a positive number"),
        ((*BY_LAW, "--memory", "1GiB", "--app-share", "1.5"), "app_share: got 1.5"),
        ((*BY_LAW,), "needs memory_bytes or a device"),
        (("recommend", "--law", "bessiroglu", "--target-loss", "2", "--memory", "1GiB"), "did you mean 'besiroglu'"),
        (("next-runs", QUICKSTART, "--flops", "0"), "allowed is a positive number"),
        (("next-runs", QUICKSTART, "--flops", "1e9"), "the cheapest trunk takes"),
        (("run", QUICKSTART, "--budget", "some"), "--budget: got 'some'"),
        (("run", QUICKSTART, "--target-loss", "-1"), "recommend.target_loss: should be greater than 0"),
        (("run", QUICKSTART, "--target-loss", "5"), "perplexity, ask for its logarithm, 1.609"),
        (("run", QUICKSTART, "--target-loss", "1.8", "--target-savings", "30%"), "got target_loss and target_savings"),
        (("run", QUICKSTART, "--target-savings", "30%"), "only text is typed"),
        (("run", QUICKSTART, "--device", "pixel8"), "did you mean 'pixel-8a'"),
        (("run", QUICKSTART, "--memory", "64"), "recommend.memory: got 64 bytes"),
        (("run", ASKS_NOTHING), "to `scaling run` and `scaling recommend` as --target-loss and --memory"),
        (("backtest", TABLE, "--decision", "2"), "--decision: got 2"),
        (("backtest", TABLE, "--decision", "0.9", "--train", "n_params < 1e5"), "--train: has no effect beside"),
    ],
)
def test_a_mistake_in_a_choice_is_named_with_its_remedy(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, ScalingError), done.output
    assert said in str(done.exception)
    assert done.exception.exit_code == 2


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        (("--target-loss", "1.7", "--memory", "64MiB"), {"target_loss": 1.7, "memory": 2**26}),
        (("--target-loss", "1.7", "--device", "mid-8gb"), {"target_loss": 1.7, "memory": None, "device": "mid-8gb"}),
        (("--probability", "0.6"), {"target_loss": 1.835, "probability": 0.6}),
    ],
)
def test_what_a_run_is_asked_stands_in_place_of_what_its_file_asks(asked, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("scaling.chain.run.run_chain", lambda workspace, **_: seen.append(workspace) or 1 / 0)
    CliRunner().invoke(app, ["run", QUICKSTART, *asked])
    (workspace,) = seen
    assert {name: getattr(workspace.config.recommend, name) for name in read} == read


@pytest.mark.parametrize(
    "command", [("recommend", "--target-loss", "1.7"), ("predict", "--params", "1M", "--tokens", "1M")]
)
def test_a_folder_of_several_fits_is_answered_with_their_names(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("v257", "v1k"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "fit.json").write_text("{}")
    done = CliRunner().invoke(app, [*command, "--fit", "results"])
    assert isinstance(done.exception, ScalingError), done.output
    assert "name one of results/v1k/fit.json, results/v257/fit.json" in str(done.exception)
    assert done.exception.exit_code == 2


@pytest.mark.parametrize(
    ("said", "opened"), [((), "elsewhere"), (("--results", "mine"), "mine"), (("--results", "results"), "results")]
)
def test_the_runs_of_a_fit_are_looked_for_where_it_lies_unless_a_folder_is_named(said, opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = RunStore(tmp_path / "elsewhere").prepare().root / "one"
    folder.mkdir()
    shutil.copy(ROOT / "tests" / "predict" / "first_layout" / "fit.json", folder)
    shutil.copy(QUICKSTART, folder / "sweep.yaml")
    seen = []
    monkeypatch.setattr(Workspace, "open", lambda file, *, results, **_: seen.append(results) or 1 / 0)
    CliRunner().invoke(app, ["recommend", "--fit", "elsewhere/one", "--target-loss", "1.8", *said])
    assert seen == [Path(opened)]


@pytest.mark.parametrize(
    ("said", "arms"),
    [
        (("--arms", "real, noise 0.2"), ["real", "noise 0.2"]),
        (("--arms", "real", "--arms", "noise 0.2, exact"), ["real", "noise 0.2, exact"]),
    ],
)
def test_two_arms_are_named_at_once_or_one_by_one_where_a_name_has_a_comma(said, arms):
    table = ROOT / "results" / "reference" / "soft_targets.csv"
    done = CliRunner().invoke(app, ["compare", str(table), *said, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["arms"] == arms


def test_no_answer_ends_with_its_own_exit_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*BY_LAW, "--memory", "30MiB"])
    assert isinstance(done.exception, ScalingError)
    assert done.exception.exit_code == 3
