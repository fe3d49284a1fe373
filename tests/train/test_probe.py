"""Zero-shot choices: a sentence's likelihood is the sum over its tokens, and a blank student chooses at chance."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from scaling.data.eval_sets import share_of
from scaling.data.tasks.minimal_pairs import PHENOMENA, minimal_pairs
from scaling.data.tokenizers import Tokenizer
from scaling.errors import DataError
from scaling.spec import ModelSpec
from scaling.train.probe import ProbeRow, choices, probe, sentence_log_probs, shares_of
from scaling.train.student.model import Student
from tests.students import logits_of

TOKENIZER = Tokenizer()


@pytest.fixture(scope="module")
def student():
    model = ModelSpec(width=32, n_layers=1, n_heads=2, context=96, vocab_size=TOKENIZER.vocab_size)
    return Student(model, seed=0)


def test_a_sentence_is_as_likely_as_its_tokens_one_behind_the_other(student):
    sentence = "the dogs run"
    tokens = TOKENIZER.encode(sentence)
    inputs = jnp.array([[TOKENIZER.eos_id, *tokens[:-1]]])
    logits = np.asarray(logits_of(student, inputs), np.float64)[0]
    log_f = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = log_f[np.arange(len(tokens)), tokens].sum()
    found = sentence_log_probs(student, TOKENIZER, [sentence, "a much longer sentence beside it"])[0]
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_student_that_has_read_nothing_chooses_at_chance(student):
    rows = probe(student, TOKENIZER, n_pairs=60)
    assert {row.phenomenon for row in rows} == set(PHENOMENA)
    n = sum(row.n for row in rows)
    right, control = (sum(row.n * getattr(row, name) for row in rows) / n for name in ("right", "control"))
    assert abs(right - 0.5) < 4 * 0.5 / n**0.5
    assert abs(control - 0.5) < 4 * 0.5 / n**0.5


def test_a_choice_is_the_likelier_sentence(student):
    pairs = minimal_pairs("size", 12)
    scores = sentence_log_probs(student, TOKENIZER, [pair.good for pair in pairs] + [pair.bad for pair in pairs])
    assert (choices(student, TOKENIZER, pairs) == (scores[:12] > scores[12:])).all()


def test_a_share_has_an_error_even_where_all_are_right():
    share, se = share_of(np.ones(99))
    assert share == 1.0
    assert se == pytest.approx((99.5 * 0.5 / 100**3) ** 0.5)


def test_shares_are_pooled_by_phenomenon_and_by_what_is_held_out():
    kinds = [("size", "taught", 30, 0.9), ("size", "word", 10, 0.5), ("age", "template and word", 60, 0.5)]
    rows = [
        ProbeRow(phenomenon=p, held_out=h, n=n, right=right, right_se=0.1, control=0.5, control_se=0.1)
        for p, h, n, right in kinds
    ]
    found = shares_of(rows)
    assert found["size"] == pytest.approx(32 / 40)
    assert found["size_se"] == pytest.approx(((32.5 * 8.5) / 41**3) ** 0.5)
    assert found["all"] == pytest.approx(62 / 100)
    assert found["template_and_word"] == found["age"] == 0.5
    assert {name for name in found if name.endswith("_control")} == {
        f"{one}_control" for one in ("all", "size", "age", "taught", "word", "template_and_word")
    }


def test_a_context_too_short_for_a_sentence_is_refused():
    model = ModelSpec(width=32, n_layers=1, n_heads=2, context=8, vocab_size=TOKENIZER.vocab_size)
    with pytest.raises(DataError, match="does not fit a context of 8"):
        sentence_log_probs(Student(model, seed=0), TOKENIZER, ["the dog is here"])
