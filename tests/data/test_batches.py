"""Streams: determined by the specification, seekable, the same however they are read."""

import numpy as np
import pytest

from scaling.data.batches import open_stream
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import RunSpec


def run_spec(seed=0, teacher=None, **model):
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 65, "width": 32, "context": 40, **model},
            "data": {"source": {"kind": "w0"}, "teacher": teacher or {"kind": "real"}, "seed": seed},
            "optim": {"batch_size": 12},
            "tokens": 1000,
        }
    )


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def test_steps_read_one_by_one_or_many_at_once_are_the_same(store):
    many = open_stream(run_spec(), store).batches(80, 20)
    single = open_stream(run_spec(), store)
    for i in (3, 0, 19, 7):
        one = single.batch(80 + i)
        assert np.array_equal(one.inputs, many.inputs[i])
        assert np.array_equal(one.targets, many.targets[i])


def test_inputs_begin_with_bos_and_targets_follow(store):
    batch = open_stream(run_spec(), store).batch(0)
    assert batch.inputs.shape == batch.targets.shape == (12, 40)
    assert batch.inputs.dtype == batch.targets.dtype == np.int32
    assert np.all(batch.inputs[:, 0] == 64)
    assert np.array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])


def test_the_model_does_not_change_what_is_read_but_the_seed_does(store):
    small, large = (open_stream(run_spec(width=w), store).batch(9) for w in (32, 64))
    other = open_stream(run_spec(seed=1), store).batch(9)
    assert np.array_equal(small.targets, large.targets)
    assert not np.array_equal(small.targets, other.targets)


def test_a_world_never_repeats_a_token(store):
    assert open_stream(run_spec(), store).n_unique_tokens(1000) == 1000 * 12 * 40


@pytest.mark.parametrize(("model", "cure"), [({"vocab_size": 66}, "set it to 65"), ({"context": 48}, "set it to 40")])
def test_a_model_that_does_not_fit_the_source_is_refused(store, model, cure):
    with pytest.raises(DataError, match=cure):
        open_stream(run_spec(**model), store)


@pytest.mark.parametrize(
    ("source", "vocab_size", "context"),
    [({"kind": "w1", "n_symbols": 40, "context": 24}, 41, 24), ({"kind": "w2", "n_symbols": 8, "depth": 3}, 9, 8)],
)
def test_every_world_streams(store, source, vocab_size, context):
    spec = run_spec(vocab_size=vocab_size, context=context).model_dump()
    spec["data"]["source"] = source
    stream = open_stream(RunSpec.model_validate(spec), store)
    batch = stream.batches(3, 2)
    assert np.array_equal(batch.targets[1], stream.batch(4).targets)
    assert np.all(batch.inputs[..., 0] == vocab_size - 1)
    assert batch.targets.max() < vocab_size - 1
