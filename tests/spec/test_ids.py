"""Ids: those given out stay, and a text's id changes with everything that decides what a student reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.spec import (
    CoverageTeacher,
    DataSpec,
    ExactTargets,
    MixtureTeacher,
    NgramTeacher,
    NoiseTeacher,
    PretrainedTeacher,
    RealTeacher,
    RulesTeacher,
    RunSpec,
    SampledTargets,
    ShiftTeacher,
    StaleTeacher,
    StudentTeacher,
    Targets,
    Teacher,
    TemperatureTeacher,
    TokenTargets,
    TopKTargets,
    TrainedTeacher,
    text_labels,
)

GOLDEN = json.loads((Path(__file__).parent / "golden_ids.json").read_text("utf-8"))
"""Specifications of all kinds with the ids that they had on 2026-11-26."""

FACTS, SPEECHES = {"kind": "w0"}, {"kind": "text"}
GGUF = {"kind": "text", "tokenizer": {"kind": "gguf", "file": "smollm2"}}


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["run_id"])
def test_an_id_given_out_is_given_again(golden):
    run = RunSpec.model_validate(golden["spec"])
    assert (run.run_id, run.trunk_id) == (golden["run_id"], golden["trunk_id"])
    assert RunSpec.model_validate_json(run.canonical_json()).run_id == run.run_id


def teacher_runs(source):
    """Runs that differ in any part: model, text, optimizer, evaluation, tokens, seed."""
    return st.builds(
        lambda width, lr, tokens, evaluated, seed, stream: {
            "model": {"vocab_size": 65, "width": width, "context": 40},
            "data": {"source": source, "seed": stream},
            "optim": {"lr": lr},
            "evaluation": {"tokens": evaluated},
            "tokens": tokens,
            "seed": seed,
        },
        st.sampled_from([32, 64]),
        st.floats(1e-4, 1e-2),
        st.integers(1, 10**6),
        st.integers(1, 10**6),
        st.integers(0, 3),
        st.integers(0, 3),
    )


SHARES, TEMPERATURES, COUNTS = st.floats(0.01, 0.99), st.floats(0.1, 10), st.integers(1, 1000)
DECODING = {"temperature": TEMPERATURES, "top_k": st.none() | COUNTS, "top_p": st.none() | SHARES}
SOFT = {"weight": SHARES, "temperature": TEMPERATURES}
NOISE = st.builds(lambda rate: {"kind": "noise", "rate": rate}, SHARES)
STALE = st.builds(lambda n, seed: {"kind": "stale", "n_records": n, "seed": seed}, COUNTS, COUNTS)

FIELDS = {
    RealTeacher: (FACTS, {}),
    NoiseTeacher: (FACTS, {"rate": SHARES}),
    CoverageTeacher: (FACTS, {"top_keys": COUNTS}),
    TemperatureTeacher: (FACTS, {"temperature": TEMPERATURES}),
    StaleTeacher: (FACTS, {"n_records": COUNTS, "seed": COUNTS}),
    ShiftTeacher: (FACTS, {"temperature": TEMPERATURES}),
    StudentTeacher: (FACTS, {"run": teacher_runs(FACTS)}),
    MixtureTeacher: (FACTS, {"real": SHARES, "teacher": NOISE | STALE, "source_token": st.booleans()}),
    NgramTeacher: (SPEECHES, {"order": st.integers(1, 6)}),
    RulesTeacher: (SPEECHES, {"rate": SHARES, "sentences": SHARES}),
    TrainedTeacher: (SPEECHES, {"run": teacher_runs(SPEECHES), **DECODING}),
    PretrainedTeacher: (
        GGUF,
        {
            "file": st.sampled_from(["a/m.gguf", "b/m.gguf"]),
            "fingerprint": st.sampled_from(["aa", "bb"]),
            "prompt_tokens": COUNTS,
            **DECODING,
        },
    ),
    TokenTargets: (FACTS, {}),
    ExactTargets: (FACTS, SOFT),
    TopKTargets: (FACTS, {"k": COUNTS, **SOFT}),
    SampledTargets: (FACTS, {"n": COUNTS, "exponent": SHARES, **SOFT}),
}
"""Values of every field of every teacher and kind of targets, and a source that it goes with."""


@st.composite
def two_texts_that_differ_in_one_field(draw):
    member = draw(st.sampled_from([member for member, (_, fields) in FIELDS.items() if fields]))
    source, fields = FIELDS[member]
    kind = member.model_fields["kind"].annotation.__args__[0]
    once = {"kind": kind, **{name: draw(values) for name, values in fields.items()}}
    changed = draw(st.sampled_from(sorted(fields)))
    other = {**once, changed: draw(fields[changed].filter(lambda value: value != once[changed]))}
    part = "teacher" if issubclass(member, Teacher) else "targets"
    return [DataSpec.model_validate({"source": source, part: one}) for one in (once, other)]


def test_every_field_of_every_teacher_and_targets_is_among_those_that_are_changed():
    assert set(FIELDS) == {*Teacher.members(), *Targets.members()}
    for member, (_, fields) in FIELDS.items():
        assert {"kind", *fields} == set(member.model_fields), member


@given(two_texts_that_differ_in_one_field())
def test_any_change_of_a_teacher_or_of_targets_is_another_text_with_another_label(texts):
    once, other = texts
    assert once.text_id != other.text_id
    labels = text_labels(texts)
    assert labels[once.text_id] != labels[other.text_id]


def test_two_samples_of_a_text_are_one_text_and_two_samples_that_a_stale_teacher_saw_are_two():
    noisy, stale = {"source": FACTS, "teacher": {"kind": "noise", "rate": 0.2}}, {"source": FACTS}
    assert DataSpec.model_validate(noisy).text_id == DataSpec.model_validate({**noisy, "seed": 7}).text_id
    seen = [{"kind": "stale", "n_records": 100, "seed": seed} for seed in (0, 1)]
    first, second = (DataSpec.model_validate({**stale, "teacher": teacher}) for teacher in seen)
    assert first.text_id != second.text_id


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            [
                {"source": FACTS, "targets": {"kind": "sampled", "exponent": 0.5}},
                {"source": FACTS, "targets": {"kind": "sampled"}},
            ],
            ["real, sampled 12 (targets.exponent 0.5)", "real, sampled 12 (targets.exponent 1.0)"],
        ),
        (
            [{"source": GGUF, "teacher": {"kind": "pretrained", "file": f"{folder}/m.gguf"}} for folder in "ab"],
            ["pretrained m (teacher.file a/m.gguf)", "pretrained m (teacher.file b/m.gguf)"],
        ),
        (
            [{"source": FACTS}, {"source": FACTS, "seed": 3}, {"source": SPEECHES}],
            ["real", "real", "real"],
        ),
    ],
)
def test_a_label_is_longer_where_two_texts_of_a_source_would_be_shown_as_one(texts, expected):
    texts = [DataSpec.model_validate(text) for text in texts]
    labels = text_labels(texts)
    assert [labels[text.text_id].teacher for text in texts] == expected


def test_two_worlds_of_a_kind_are_told_apart_by_what_they_differ_in():
    texts = [DataSpec.model_validate({"source": {"kind": "w0", "seed": seed}}) for seed in (0, 5)]
    labels = text_labels(texts)
    assert [labels[text.text_id].source for text in texts] == ["w0 (seed 0)", "w0 (seed 5)"]
