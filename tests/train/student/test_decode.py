"""Writing many sequences at once: the distribution of the forward pass, token by token."""

import jax
import numpy as np
import pytest

from scaling.spec import ModelSpec
from scaling.train.student.decode import FREE, Decoding, complete, sample_sequences
from scaling.train.student.model import Student
from tests.students import logits_of

MODEL = ModelSpec(vocab_size=11, width=32, n_layers=2, head_width=16, n_kv_heads=1, context=12)
BOS = 10


@pytest.fixture(autouse=True)
def a_cache_of_three_sizes(monkeypatch):
    """Each size is compiled by itself, and three say what eight would."""
    monkeypatch.setattr("scaling.train.student.decode.GROWTH_STEPS", 3)


@pytest.fixture(scope="module")
def student():
    student = Student(MODEL, seed=3)
    student.output_norm.set_value(1.5 * student.output_norm[...])  # sharper than at birth, so that a wrong cache shows
    return student


def write(student, n, seed=0, length=12, **decoding):
    key = jax.random.key(seed)
    found = sample_sequences(student, key, n_sequences=n, length=length, bos=BOS, decoding=Decoding(**decoding))
    return np.asarray(found)


def laws(student, sequences):
    inputs = np.concatenate([np.full((len(sequences), 1), BOS), sequences[:, :-1]], axis=1)
    return np.asarray(jax.nn.softmax(logits_of(student, inputs)), np.float64)


def test_the_cold_limit_writes_what_the_forward_pass_finds_likeliest(student):
    sequences = write(student, 5, temperature=1e-4)
    assert np.array_equal(sequences, laws(student, sequences).argmax(-1))


def test_what_is_given_stays_and_the_rest_is_the_likeliest_behind_it(student):
    given = np.random.default_rng(0).integers(BOS, size=(5, 12)).astype(np.int32)
    free = np.arange(12) >= np.array([3, 12, 0, 7, 1])[:, None]
    free[3, 9] = False
    written = complete(student, np.where(free, FREE, given), bos=BOS)
    assert np.array_equal(written[~free], given[~free])
    assert np.array_equal(written[free], laws(student, written).argmax(-1)[free])


def test_samples_are_as_surprising_as_the_forward_pass_says_at_every_position(student):
    sequences = write(student, 4000)
    p = laws(student, sequences)
    surprise = -np.log(np.take_along_axis(p, sequences[..., None], -1)[..., 0])
    gap = surprise + (p * np.log(p)).sum(-1)
    z = gap.mean(0) / (gap.std(0) / len(gap) ** 0.5)
    assert np.abs(z).max() < 4
    assert len({bytes(row) for row in sequences.astype(np.uint8)}) > 3000, "sequences are independent"


def test_a_length_that_the_cache_does_not_grow_evenly_to_is_written_in_full(student):
    sequences = write(student, 7, length=5)
    assert sequences.shape == (7, 5)
    assert ((sequences >= 0) & (sequences < MODEL.vocab_size)).all()


@pytest.mark.slow
def test_top_k_and_top_p_keep_the_likeliest_tokens_only(student):
    sequences = write(student, 600, length=4, top_k=2)
    p = laws(student, sequences)
    chosen = np.take_along_axis(p, sequences[..., None], -1)
    assert ((p > chosen).sum(-1) < 2).all()
    sequences = write(student, 600, length=4, top_p=0.5)
    p = laws(student, sequences)
    chosen = np.take_along_axis(p, sequences[..., None], -1)
    above = np.where(p > chosen, p, 0).sum(-1)
    assert (above < 0.5 + 1e-6).all()
    assert (above > 0).any(), "not only the likeliest"


def test_one_key_writes_one_text(student):
    assert np.array_equal(write(student, 7, length=5), write(student, 7, length=5))
    assert not np.array_equal(write(student, 7, length=5), write(student, 7, length=5, seed=2))
