"""A teacher is one class and one generator: here both are added from outside, and its students read its text."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from scaling.data.batches import open_stream
from scaling.data.evaluation import evaluation_sets
from scaling.data.shards import Card
from scaling.data.text import open_tokenizer
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import RunSpec, Source, Teacher
from scaling.spec.teachers import TextTeacher
from scaling.teach.blocks import BlockGenerator
from scaling.teach.generate import ensure_teacher_text
from scaling.teach.generators import GENERATORS
from scaling.teach.teachers import prepare


class ParrotTeacher(TextTeacher):
    """Says one byte for ever, another one in each block."""

    kind: Literal["parrot"]

    @property
    def label(self) -> str:
        return "parrot"

    def tells_probs(self, source: Source) -> bool:
        return False


class ParrotText(BlockGenerator):
    rows = 4

    def __init__(self, spec: RunSpec, store: RunStore):
        self.spec, self.context = spec, spec.model.context
        self.tokenizer = open_tokenizer(spec.data.source, store)

    def block(self, seed, split, number):
        return np.full((self.rows, self.context), 100 + number, np.int32)

    def card(self, split):
        return Card(
            text="teacher",
            split=split,
            source=self.spec.data.source.label,
            vocab_size=257,
            tokenizer=self.tokenizer.hash,
            teacher="parrot",
            sequence_tokens=self.context,
        )


@pytest.fixture
def _parrot(monkeypatch):
    """The class and its generator, as another package's entry points would add them, for one test."""
    for registry, entry in ((Teacher.kinds, ParrotTeacher), (GENERATORS, ParrotText)):
        monkeypatch.setattr(registry, "_entries", {**dict(registry), "parrot": entry})


def a_run(tmp_path, teacher) -> RunSpec:
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text(f"Message {i}. " + "Peace and revenue. " * 20, "utf-8")
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 257, "width": 32, "context": 8},
            "data": {
                "source": {"kind": "text", "corpus": str(tmp_path / "*.txt"), "tokenizer": {"kind": "bytes"}},
                "teacher": teacher,
            },
            "optim": {"batch_size": 4},
            "evaluation": {"tokens": 64},
            "tokens": 64,
        }
    )


@pytest.mark.usefixtures("_parrot")
@pytest.mark.parametrize(
    "teacher", [{"kind": "parrot"}, {"kind": "mixture", "real": 0.5, "teacher": {"kind": "parrot"}}]
)
def test_a_teacher_from_outside_generates_the_text_that_its_students_read_and_are_measured_on(tmp_path, teacher):
    spec, store = a_run(tmp_path, teacher), RunStore(tmp_path / "results").prepare()
    assert RunSpec.model_validate_json(spec.canonical_json()).run_id == spec.run_id
    prepare([spec], store)
    read = open_stream(spec, store).batches(0, 2).targets.reshape(-1, 8)
    said = [row for row in read if (row == row[0]).all()]
    assert {int(row[0]) for row in said} <= {100, 101}
    assert len(said) == len(read) if teacher["kind"] == "parrot" else 0 < len(said) < len(read)
    assert evaluation_sets(spec, store).teacher is not None


def test_a_teacher_without_a_generator_is_refused_with_those_that_have_one(tmp_path, monkeypatch):
    monkeypatch.setattr(Teacher.kinds, "_entries", {**dict(Teacher.kinds), "parrot": ParrotTeacher})
    with pytest.raises(
        DataError, match="unknown generator of a teacher's text 'parrot' — allowed: net, ngram, pretrained, rules"
    ):
        ensure_teacher_text(a_run(tmp_path, {"kind": "parrot"}), RunStore(tmp_path / "results").prepare(), n_tokens=8)
