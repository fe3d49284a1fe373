"""Commands that ask a law: what they print, the JSON that results/README.md documents, and mistakes by name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scaling.cli import main
from scaling.cli.options.quick import read_plainly
from scaling.cli.predictions import predict
from scaling.cli.solutions import solve
from scaling.errors import EXIT_NO_ANSWER, EXIT_USAGE
from scaling.fit.saved.files import load, save

ROOT = Path(__file__).resolve().parents[2]
FIT = str(ROOT / "tests" / "predict" / "first_layout" / "fit.json")
DOCUMENTED = (ROOT / "results" / "README.md").read_text("utf-8")
TEACHER = ("--teacher-params", "540B", "--teacher-tokens", "780B")
OF_1B = ("predict", "--law", "hoffmann", "--params", "1B")
TABLE = ("predict", "--law", "hoffmann,besiroglu", "--like", "bert-base,1B,10B,gpt-3", "--teacher", "palm")
TABLE += ("--tokens", "inf", "--as-good-as", "gpt-3")
ASKED = {
    "predict": ("predict", "--law", "besiroglu", "--params", "100M"),
    "predict --explain": ("predict", "--law", "hoffmann", "--params", "110M", *TEACHER, "--batch-law", "kaplan-batch"),
    "predict --like": TABLE,
    "solve": ("solve", "--law", "hoffmann", "--target-loss", "2.2", "--inference-tokens", "2T"),
    "solve, of steps": ("solve", "--law", "kaplan-ns", "--flops", "1e23"),
    "trends": ("trends", "--teacher-loss", "2.0"),
    "transfer": ("transfer", str(ROOT / "results" / "reference" / "transfer.csv"), "--where", "lr > 0.003"),
    "vocabulary": ("vocabulary", "--memory", "64MiB", "--characters", "100B"),
}


def answer(capsys, monkeypatch, *words: str) -> tuple[str, str, int]:
    """What the command line prints, says, and ends with."""
    monkeypatch.setattr(sys, "argv", ["scaling", *words])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return printed.out, printed.err, code


def fields(found: object, inside: str = "") -> set[str]:
    """Every name in a JSON answer, with the names of what it is inside: rows[].verdict.loss."""
    if isinstance(found, list):
        return set().union(*(fields(one, f"{inside}[]") for one in found)) if found else set()
    if not isinstance(found, dict):
        return set()
    names = set()
    for name, value in found.items():
        path = f"{inside}.{name}".lstrip(".")
        names |= {path} | fields(value, path)
    return names


def documented(command: str) -> set[str]:
    """Fields that results/README.md names for a command."""
    (line,) = re.findall(rf"^\| `{re.escape(command)}` \| (.*) \|$", DOCUMENTED, flags=re.MULTILINE)
    names: set[str] = set()
    for part in re.findall(r"`([^`]+)`", line):
        inside, _, listed = part.rpartition(": ")
        names |= {f"{inside}.{name}".lstrip(".") for name in listed.split()}
    return names


@pytest.mark.parametrize("command", ASKED)
def test_the_json_of_a_command_has_the_documented_fields(command, capsys, monkeypatch):
    out, err, code = answer(capsys, monkeypatch, *ASKED[command], "--json")
    assert code == 0, err
    found = json.loads(out)
    # These are named after the laws asked, and after N and D.
    told = {re.sub(r"^(teacher_losses|reach)\..*", r"\1", name) for name in fields(found)}
    assert told == documented(command)
    assert "NaN" not in out


@pytest.mark.parametrize("command", ASKED)
def test_a_command_prints_what_it_was_asked_for_a_person(command, capsys, monkeypatch):
    out, err, code = answer(capsys, monkeypatch, *ASKED[command])
    assert (code, err) == (0, "")
    assert len(out.splitlines()) > 3


def test_the_table_answers_the_seed_question(capsys, monkeypatch):
    out, _, _ = answer(capsys, monkeypatch, *TABLE)
    (hoffmann, besiroglu) = (line for line in out.splitlines() if "BERT base" in line)
    assert "2.455 – 2.665" in hoffmann
    assert "2.587 – 2.720" in besiroglu
    assert " no " in hoffmann
    assert " no " in besiroglu


def test_a_size_of_a_fit_is_explained_with_its_interval(capsys, monkeypatch):
    asked = ("predict", "--fit", FIT, "--params", "1e5", "--tokens", "1e6", "--explain", "--json")
    out, err, code = answer(capsys, monkeypatch, *asked)
    assert code == 0, err
    found = json.loads(out)
    assert found["low"] < found["loss"] < found["high"]
    assert found["level"] == 0.9


IN_BITS = {
    "predict": ("predict", "--params", "1e5", "--tokens", "1e6"),
    "predict --explain": ("predict", "--params", "1e5", "--tokens", "1e6", "--explain"),
    "predict --like": ("predict", "--like", "1e5,2e5", "--tokens", "1e6"),
    "solve": ("solve", "--target-loss", "1.75", "--tokens", "1e6"),
    "solve, impossible": ("solve", "--target-loss", "9"),
}


@pytest.mark.parametrize("command", IN_BITS)
def test_a_fit_of_bits_of_a_byte_is_never_said_to_be_in_nats(command, capsys, monkeypatch, tmp_path):
    fit = load(FIT)
    save(replace(fit, columns={**fit.columns, "loss": "bits_per_byte"}), tmp_path / "fit.json")
    out, err, _ = answer(capsys, monkeypatch, *IN_BITS[command], "--fit", str(tmp_path / "fit.json"))
    assert "bits/byte" in out + err
    assert "nats" not in out + err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("predict", "--law", "hoffmann"), "predict needs one of --params, --like — got none of them"),
        ((*OF_1B, "--like", "gpt-3"), "predict needs one of --params, --like — got --params and --like"),
        (("predict", "--law", "hoffmann", "--params", "1 parsec"), "--params: got '1 parsec'"),
        (("predict", "--law", "hoffmann", "--params", "0"), "positive number"),
        (("predict", "--law", "hoffmann", "--params", "-1B"), "positive number"),
        ((*OF_1B, "--tokens", "-2B"), "--tokens: got '-2B'"),
        (("predict", "--law", "hofmann", "--params", "1B"), "did you mean 'hoffmann'"),
        (("predict", "--law", "hoffmann", "--like", "bert-bas"), "did you mean 'bert-base'"),
        (("predict", "--law", "hoffmann", "--like", "1B,,2B"), "words with a comma between two"),
        (("predict", "--law", "hoffmann", "--like", "gpt-2"), "give --tokens"),
        ((*OF_1B, "--teacher", "plam"), "did you mean 'palm'"),
        (
            ("predict", "--law", "hoffmann", "--params", "1B", "--teacher", "palm", "--teacher-loss", "2"),
            "one of the three",
        ),
        ((*OF_1B, "--teacher-params", "1B"), "one of the three"),
        ((*OF_1B, "--teacher-loss", "1.2"), "below the floor"),
        ((*OF_1B, "--as-good-as", "gpt-3"), "--as-good-as: has no effect"),
        (
            ("predict", "--law", "hoffmann", "--params", "1B", "--bytes-per-token", "4"),
            "--bytes-per-token: has no effect",
        ),
        (("predict", "--law", "hoffmann", "--like", "1B", "--explain"), "--explain: has no effect beside a table"),
        ((*OF_1B, "--explain", "--bytes-per-token", "fit"), "no run of the fit"),
        ((*OF_1B, "--explain", "--bytes-per-token", "many"), "--bytes-per-token: got 'many'"),
        ((*OF_1B, "--at", "bits"), "--at: got 'bits' without a value, allowed is KEY=VALUE — for example bits=4"),
        ((*OF_1B, "--at", "bits=4"), "not of bits"),
        (("predict", "--law", "kumar", "--params", "1B"), "--at bits"),
        (("predict", "--law", "kaplan-batch", "--params", "1B"), "gives no loss"),
        (("solve", "--law", "hoffmann"), "needs one of --target-loss, --flops, --energy — got none of them"),
        (("solve", "--law", "hoffmann", "--target-loss", "2", "--flops", "1e20"), "— got --target-loss and --flops"),
        (("solve", "--target-loss", "2"), "solve needs one of --fit, --law — got none of them"),
        (("solve", "--law", "hoffmann", "--target-loss", "0.8"), "if it is bits/byte"),
        (("solve", "--law", "hoffmann", "--target-loss", "19"), "if it is a perplexity"),
        (("solve", "--law", "hoffmann", "--energy", "10"), "give --flops-per-s and --watts"),
        (("solve", "--law", "hoffmann", "--flops", "1e20", "--watts", "4"), "--watts: has no effect"),
        (("solve", "--law", "kaplan-ns", "--target-loss", "2"), "answers for a compute"),
        (("report", "fit.json"), "allowed is a sweep file with a fit"),
        (("trends", "--teacher", "gpt-2"), "give --teacher-loss"),
        (("vocabulary", "--memory", "64 parsecs", "--characters", "1B"), "allowed is a size"),
        (("vocabulary", "--memory", "64MiB", "--characters", "0"), "positive number"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_a_mistake_is_named_with_its_remedy(words, said, capsys, monkeypatch):
    out, err, code = answer(capsys, monkeypatch, *words)
    assert code == EXIT_USAGE
    assert said in err
    assert out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("solve", "--law", "hoffmann", "--target-loss", "1.8", "--teacher", "palm"), "out of reach"),
        (("solve", "--law", "hoffmann", "--target-loss", "2.2", "--params", "100M"), "comes to 2.479"),
        (("predict", "--fit", FIT, "--params", "1e9", "--tokens", "1e6", "--explain"), "beyond the runs"),
        (("predict", "--fit", FIT, "--params", "1e9", "--tokens", "1e6"), "beyond the runs"),
        (("vocabulary", "--memory", "8000", "--characters", "1B"), "hold no model"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_a_question_without_an_answer_ends_with_its_own_code(words, said, capsys, monkeypatch):
    _, err, code = answer(capsys, monkeypatch, *words)
    assert code == EXIT_NO_ANSWER
    assert said in err


def test_plain_words_are_read_as_the_library_reads_them():
    values = read_plainly(predict, ["--law", "kumar", "--params=1B", "--at", "bits=4", "--at=bits_cache=8", "--json"])
    assert values is not None
    assert (values["law"], values["params"], values["columns"]) == ("kumar", "1B", ["bits=4", "bits_cache=8"])
    assert (values["json_"], values["explain"], values["tokens"]) == (True, False, None)
    assert read_plainly(predict, [])["mean"] is False


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["--prams", "1B"], ["1B"], ["--params"], ["--level", "high"], ["--json=yes"]]
)
def test_what_is_not_plain_is_left_to_the_library(words):
    assert read_plainly(predict, words) is None


def test_both_ways_of_reading_give_the_same_answer(capsys, monkeypatch):
    from typer.testing import CliRunner

    from scaling.cli import app

    out, _, _ = answer(capsys, monkeypatch, *ASKED["solve"])
    assert CliRunner().invoke(app, ASKED["solve"]).output == out


def test_a_required_option_is_missed_by_the_library():
    from scaling.cli.solutions import vocabulary

    assert read_plainly(vocabulary, ["--memory", "64MiB"]) is None
    assert read_plainly(solve, []) is not None


CHOICE = ("recommend", "--law", "besiroglu", "--target-loss", "3", "--device", "mid-8gb", "--tokens", "100B")


@pytest.mark.parametrize("words", [ASKED["predict"], TABLE, ("predict", "--fit", FIT, "--params", "1e5"), CHOICE])
def test_a_forecast_starts_without_what_takes_long_to_load(words):
    code = (
        "import sys; from scaling.cli import main; sys.argv = ['scaling', *sys.argv[1:]]; main(); "
        "print('LOADED', *sys.modules, file=sys.stderr)"
    )
    words = (*words, "--tokens", "1e6") if "--tokens" not in words else words
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split("LOADED")[1].split())
    slow = {
        "typer",
        "pydantic",
        "rich.table",
        "pandas",
        "pyarrow",
        "scipy",
        "jax",
        "scaling.spec",
        "scaling.cli.stages",
    }
    assert not slow & loaded


def test_a_recommendation_by_a_law_is_read_plainly_and_as_the_library_reads_it(capsys, monkeypatch):
    from typer.testing import CliRunner

    from scaling.cli import app

    out, _, code = answer(capsys, monkeypatch, *CHOICE)
    assert (code, "recommended: width" in out) == (0, True)
    assert CliRunner().invoke(app, CHOICE).output == out
