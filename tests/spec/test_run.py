"""A run is its inputs: resolved, hashed, immutable."""

from __future__ import annotations

import math
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scaling.spec import ModelSpec, OptimSpec, RunSpec


def spec(**changes) -> RunSpec:
    fields = {
        "model": {"vocab_size": 65, "width": 64, "context": 40},
        "data": {"source": {"kind": "w0"}},
        "tokens": 100_000,
    }
    return RunSpec.model_validate(fields | changes)


def test_two_ways_of_writing_the_same_model_have_one_hash():
    short = {"vocab_size": 65, "width": 64, "context": 40}
    long = short | {"n_heads": 4, "n_kv_heads": 4, "hidden": 192, "n_layers": 2, "head_width": 16}
    assert spec(model=short).run_id == spec(model=long).run_id


def test_the_hash_survives_a_round_trip_and_is_the_documented_length():
    once = spec()
    assert RunSpec.model_validate_json(once.canonical_json()).run_id == once.run_id
    assert len(once.run_id) == 10


def test_runs_that_differ_in_tokens_alone_share_a_trunk():
    assert spec().trunk_id == spec(tokens=200_000).trunk_id
    assert spec().run_id != spec(tokens=200_000).run_id


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"optim": {"lr": 1e-3}},
        {"data": {"source": {"kind": "w0"}, "seed": 1}},
        {"data": {"source": {"kind": "w0"}, "teacher": {"kind": "noise", "rate": 0.2}}},
        {"evaluation": {"tokens": 1}},
    ],
)
def test_every_input_is_part_of_the_hash(change):
    assert spec(**change).trunk_id != spec().trunk_id


def test_a_teacher_is_named_by_its_own_run():
    text = {"source": {"kind": "text"}}
    model = {"vocab_size": 1024, "width": 64}
    teacher = spec(model=model, data=text)
    student = spec(model=model, data=text | {"teacher": {"kind": "trained", "run": teacher.model_dump()}})
    assert teacher.run_id in student.data.teacher.label
    assert RunSpec.model_validate_json(student.canonical_json()) == student


@pytest.mark.parametrize(("tokenizer", "is_refused"), [({"kind": "bpe"}, True), ({"kind": "bytes"}, False)])
def test_a_teacher_of_another_text_has_other_pieces_and_the_same_bytes(tokenizer, is_refused):
    own, other = ({"source": {"kind": "text", "corpus": one, "tokenizer": tokenizer}} for one in ("sotu", "books"))
    model = {"vocab_size": 1024 if is_refused else 257, "width": 64}
    teacher = spec(model=model, data=other).model_dump()
    with pytest.raises(ValidationError, match="of books by bpe 1024, .* reads sotu") if is_refused else nullcontext():
        spec(model=model, data=own | {"teacher": {"kind": "trained", "run": teacher}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": 0}, "greater than or equal to 1"),
        ({"typo": 1}, "Extra inputs are not permitted"),
        ({"model": {"vocab_size": 65, "width": 50}}, "multiple of 32"),
        ({"model": {"vocab_size": 65, "width": 64, "n_kv_heads": 3}}, "not a multiple of n_kv_heads=3"),
        ({"optim": {"lr": float("nan")}}, "finite number"),
        (
            {"optim": {"beta2_half_life_tokens": 600}},
            ": 600 is shorter than one step of 640 tokens .batch_size × context.; give at least 640",
        ),
        ({"optim": {"weight_decay_timescale_tokens": 639}}, "weight_decay_timescale_tokens: 639 is shorter than"),
        (
            {"data": {"source": {"kind": "text"}, "teacher": {"kind": "noise", "rate": 0.2}}},
            "noise teacher cannot speak for source text",
        ),
    ],
)
def test_an_impossible_run_is_refused_with_the_reason(change, message):
    with pytest.raises(ValidationError, match=message):
        spec(**change)


@given(tokens=st.integers(1, 10**9), batch=st.integers(1, 64), cooldown=st.floats(0.01, 0.9))
def test_steps_are_whole_and_the_cooldown_lies_within_the_run(tokens, batch, cooldown):
    run = spec(tokens=tokens, optim={"batch_size": batch, "cooldown": cooldown})
    assert abs(run.n_tokens - tokens) <= max(run.step_tokens / 2, run.step_tokens - tokens)
    assert 1 <= run.cooldown_steps <= run.steps


@given(width=st.integers(1, 64).map(lambda k: 32 * k))
def test_derived_sizes_fill_whole_blocks(width):
    model = ModelSpec(vocab_size=65, width=width)
    assert model.hidden % 32 == 0
    assert 8 / 3 * width <= model.hidden < 8 / 3 * width + 32
    assert model.n_heads * model.head_width == width


def test_a_copied_run_with_other_values_has_its_own_ids():
    once = spec()
    assert once.run_id
    assert once.trunk_id
    other = once.model_copy(update={"seed": 1})
    assert other.run_id == spec(seed=1).run_id
    assert other.trunk_id == spec(seed=1).trunk_id


def test_memory_in_tokens_keeps_its_meaning_when_the_batch_grows():
    """β2 at four times the batch is the fourth power; a weight loses the same share over the same tokens."""
    optim = OptimSpec(lr=1e-3, beta2_half_life_tokens=10_000, weight_decay_timescale_tokens=10**6)
    assert optim.beta2(10_000) == pytest.approx(0.5)
    assert optim.beta2(4 * 320) == pytest.approx(optim.beta2(320) ** 4)
    for rate in (1e-3, 2e-3):
        for step_tokens in (500, 2000):
            decay = optim.model_copy(update={"lr": rate}).weight_decay(step_tokens)
            assert (1 - rate * decay) ** (10**6 / step_tokens) == pytest.approx(1 / math.e, rel=2e-3)
    assert OptimSpec().weight_decay(640) == 0


@pytest.mark.parametrize("value", [True, "1000", 1000.0, math.inf])
@pytest.mark.parametrize("place", [("tokens",), ("optim", "batch_size"), ("model", "width"), ("evaluation", "tokens")])
def test_a_count_is_a_whole_number_and_nothing_that_resembles_one(place, value):
    tree = spec().model_dump(mode="json")
    inner = tree
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(ValidationError, match="valid integer"):
        RunSpec.model_validate(tree)


@pytest.mark.parametrize("value", [True, "0.01", math.nan, None])
def test_a_rate_is_a_finite_number(value):
    with pytest.raises(ValidationError, match="valid number|finite number"):
        spec(optim={"lr": value})
