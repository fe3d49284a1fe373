"""An n-gram model cut down to bytes: still a distribution, its bytes counted by hand, the useless grams gone first."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.data.tasks.next_words import TypedWords
from scaling.data.tasks.suggestions import Spelling, measure_keyboard
from scaling.data.tokenizers import Tokenizer
from scaling.errors import DataError
from scaling.teach.ngram import train_ngram
from scaling.teach.small_ngram import NgramKeyboard, ngram_bytes, train_small_ngram

V = 12


def a_text(n: int, seed: int = 0) -> np.ndarray:
    """Each token is, three times in four, three more than the last; the others are noise."""
    rng = np.random.default_rng(seed)
    text = np.zeros(n, int)
    for t in range(1, n):
        text[t] = (text[t - 1] + 3) % V if rng.random() < 0.75 else rng.integers(V)
    return text


def test_the_distribution_behind_a_history_is_that_of_each_token_scored_alone():
    model = train_ngram([a_text(600)], V, 4)
    histories = a_text(400, seed=1).reshape(80, 5)
    every = np.concatenate([np.repeat(histories, V, axis=0), np.tile(np.arange(V), 80)[:, None]], axis=1)
    np.testing.assert_allclose(model.next_log_probs(histories), model.log_probs(every)[:, -1].reshape(80, V))
    np.testing.assert_allclose(model.next_log_probs(histories[:, :0])[0], model.next_log_probs(histories[:1, 5:])[0])


def test_bytes_are_those_of_packed_bits_counted_by_hand():
    # 3 tokens of 2 bits, 2 pairs (0 1 and 1 0): 3·(8 + 8 + 2) + 2·(2 + 8) bits; 2 grams are pointed at by 2 bits.
    model = train_ngram([np.array([0, 1] * 20)], 3, 2)
    assert ngram_bytes(model) == -(-(3 * 18 + 2 * 10) // 8)


@pytest.mark.parametrize("n_bytes", [80, 150, 400])
def test_a_smaller_model_fills_its_bytes_and_stays_a_distribution(n_bytes):
    model = train_small_ngram(a_text(3000), V, n_bytes)
    assert 0.95 * n_bytes < ngram_bytes(model) <= n_bytes
    probs = np.exp(model.next_log_probs(a_text(300, seed=2).reshape(60, 5)))
    np.testing.assert_allclose(probs.sum(1), 1)
    # Each gram is reached from a shorter one, as in a trie.
    for k in range(1, model.order):
        assert np.isin(model.levels[k].histories, model.levels[k - 1].grams).all()


def test_the_grams_that_stay_are_those_of_the_rule():
    model = train_small_ngram(a_text(3000), V, 50)
    assert model.unpacked(model.levels[1].grams, 2).tolist() == [[i, (i + 3) % V] for i in range(V)]
    assert model.order == 2


def test_too_few_bytes_are_refused():
    with pytest.raises(DataError, match="single tokens"):
        train_small_ngram(a_text(300), V, 5)


def test_an_ngram_suggests_the_words_that_it_has_counted():
    tokenizer = Tokenizer()
    text = tokenizer.encode("the cat sat. the cat ran. " * 50)
    contexts = np.array([tokenizer.encode("n. the")] * 3)
    typed = TypedWords(contexts, ("cat", "sat", "dog"), np.ones(3, bool))
    found = measure_keyboard(
        NgramKeyboard(train_small_ngram(text, 257, 10**5)), typed, Spelling(tokenizer.token_bytes), effort=1000
    )
    assert found.top1 == 1 / 3
    # "cat" is guessed (3 keys saved), "sat" at the latest once its s is typed, "dog" never.
    assert 5 / 12 <= found.savings <= 6 / 12
