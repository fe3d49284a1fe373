"""`scaling keyboard`, and keystrokes as a target: what they print, and what they refuse."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import scaling.export.keyboard as measuring
from scaling.cli import app
from scaling.data.tasks.next_words import KeyboardUse
from scaling.errors import SpecError
from scaling.export.keyboard import KeyboardRow
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import DataSpec, ModelSpec, RunSpec

USE = KeyboardUse(n_words=20, top1=0.1, top1_se=0.01, top3=0.2, top3_se=0.01, savings=0.3, savings_se=0.01, ceiling=0.8)


def test_one_run_is_measured_by_its_id_in_the_format_that_is_asked_for(tmp_path, monkeypatch):
    store = RunStore(tmp_path).prepare()
    run = RunSpec(
        model=ModelSpec(vocab_size=257, width=32, n_layers=1, context=40),
        data=DataSpec.model_validate({"source": {"kind": "text", "corpus": "sotu", "tokenizer": {"kind": "bytes"}}}),
        tokens=10_000,
    )
    store.commit(RunRecord(spec=run, outcome=Outcome(status="done", loss=4.0)), store.draft(run.run_id))

    def measured(run, store, *, format, n_words):
        facts = {"format": format, "weights_bytes": n_words, "loss": 4.0, "bits_per_byte": 2.0}
        return KeyboardRow(run_id=run.run_id, model="student", use=USE, **facts)

    monkeypatch.setattr(measuring, "keyboard_of_run", measured)
    asked = ["keyboard", run.run_id, "--words", "20", "--format", "q4_0", "--results", str(tmp_path)]
    row = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)["rows"][0]
    assert (row["format"], row["weights_bytes"], row["savings"]) == ("gguf_q4_0", 20, 0.3)
    shown = CliRunner().invoke(app, asked).stdout
    assert "20 words of held-out text" in shown
    assert "30.0% ±1.0%" in shown


def test_a_run_that_is_not_there_is_refused(tmp_path):
    done = CliRunner().invoke(app, ["keyboard", "0123456789", "--results", str(tmp_path)])
    assert done.exit_code != 0
    assert "0123456789" in str(done.exception)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--law", "besiroglu", "--target-loss", "3", "--target-savings", "25%"), "--target-savings: has no effect"),
        (("--fit", "fit.json", "--target-savings", "25"), "got '25', allowed is a share between 0 and 1"),
    ],
)
def test_savings_are_asked_of_a_sweep_and_as_a_share(options, said):
    done = CliRunner().invoke(app, ["recommend", "--memory", "64MiB", *options])
    assert isinstance(done.exception, SpecError)
    assert said in str(done.exception)
