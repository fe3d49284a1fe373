"""A student that suggests words says behind a context what it says when it reads the whole as one sequence."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.spec import ModelSpec
from scaling.train.student.keyboard import AT_ONCE, ROWS, StudentKeyboard, context_of
from scaling.train.student.model import Student
from tests.students import logits_of

MODEL = ModelSpec(width=32, n_layers=2, n_heads=2, context=16, vocab_size=60)


@pytest.fixture(scope="module")
def student():
    return Student(MODEL, seed=3)


def test_beginnings_are_read_as_if_each_stood_alone_behind_its_context(student):
    rng = np.random.default_rng(0)
    n, c = ROWS + 3, context_of(MODEL)
    contexts = rng.integers(0, MODEL.vocab_size, (n, c))
    # More beginnings of one context than a line holds, and more lines than a call.
    rows = [0] * (AT_ONCE + 2) + list(range(n))
    behind = [tuple(rng.integers(0, MODEL.vocab_size, k % 9).tolist()) for k in range(len(rows))]
    ((part, reader),) = StudentKeyboard(student).read(contexts)
    # Half of 16 tokens are read before the word: one of more than the other half leads nowhere.
    found = reader([*rows, 5], [*behind, (1,) * 9])
    assert part == slice(0, n)
    whole = np.zeros((len(rows), MODEL.context), int)
    for into, row, tokens in zip(whole, rows, behind, strict=True):
        into[: c + len(tokens)] = (*contexts[row], *tokens)
    log_f = np.asarray(jax.nn.log_softmax(logits_of(student, whole)))
    expected = [log_f[i, c + len(tokens) - 1] for i, tokens in enumerate(behind)]
    np.testing.assert_allclose(found[:-1], expected, atol=2e-5)
    assert np.isneginf(found[-1]).all()


@pytest.mark.slow
def test_contexts_are_read_in_parts_where_memory_is_short(student, monkeypatch):
    contexts = np.random.default_rng(1).integers(0, MODEL.vocab_size, (ROWS + 5, 4))
    ((_, whole),) = StudentKeyboard(student).read(contexts)
    monkeypatch.setattr("scaling.train.student.keyboard.READ_BYTES", 1)
    parts = list(StudentKeyboard(student).read(contexts))
    assert [part for part, _ in parts] == [slice(0, ROWS), slice(ROWS, ROWS + 5)]
    np.testing.assert_allclose(parts[1][1]([2], [(7,)]), whole([ROWS + 2], [(7,)]), atol=1e-5)
