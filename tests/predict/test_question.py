"""A question that a notebook asks incompletely, or by a wrong name, is answered with what is missing."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

import scaling
from scaling.config.load import load_sweep
from scaling.errors import ConfigError, SpecError
from scaling.predict.question import Question

ROOT = Path(__file__).parents[2]
RELATIVE = ROOT / "sweeps" / "speeches_small.yaml"


def test_a_relative_target_is_not_called_missing():
    with pytest.raises(ConfigError, match=r"recommend\.target: is relative to students of the sweep.* target_loss=…"):
        Question.of(load_sweep(RELATIVE))


def test_a_target_in_keystrokes_is_not_called_missing(tmp_path):
    text = RELATIVE.read_text("utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("  target:"))
    path = tmp_path / "sweep.yaml"
    path.write_text(text.replace(line, "  target_savings: 40%"), "utf-8")
    with pytest.raises(ConfigError, match=r"recommend\.target_savings: is a share of keystrokes.* target_loss=…"):
        Question.of(load_sweep(path))


@pytest.mark.parametrize(
    ("name", "meant"),
    [("target", "target_loss"), ("memory", "memory_bytes"), ("probabilty", "probability"), ("widht", "widths")],
)
def test_a_field_that_is_none_is_told_the_one_that_is_meant(name, meant):
    for ask in (
        lambda: Question.of(load_sweep(RELATIVE), **{name: 3.9}),
        lambda: scaling.recommend("besiroglu", **{name: 3.9}),
    ):
        with pytest.raises(SpecError, match=f"{name}: got 3.9, no field of a question — did you mean '{meant}'"):
            ask()


def test_every_field_of_a_question_is_a_field():
    given = {field.name: getattr(Question(target_loss=2.0, memory_bytes=1), field.name) for field in fields(Question)}
    assert Question.of(load_sweep(RELATIVE), **given).target_loss == 2.0
