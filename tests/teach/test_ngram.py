"""N-gram teachers: the formula written out with dictionaries, samples that follow it, and orders that grade."""

from collections import Counter

import numpy as np
import pytest

from scaling.errors import DataError
from scaling.teach.ngram import discounts, train_ngram

V = 12
SPARE = [0.0, 0.5, 1.0, 1.5]


def a_text(n=4000, seed=0):
    """A text with structure of order 3: the next token leans on the two before."""
    rng = np.random.default_rng(seed)
    table = np.random.default_rng(7).dirichlet(np.full(V, 0.2), size=(V, V))
    text = [0, 1]
    for u in rng.random(n):
        text.append(min(int(np.searchsorted(np.cumsum(table[text[-2], text[-1]]), u)), V - 1))
    return np.array(text)


TEXT = a_text()


def by_hand(text, order, history, word):
    """Chen & Goodman's interpolated modified Kneser–Ney, one probability at a time."""

    def counts(k):
        if k == order:
            return Counter(tuple(text[i : i + k]) for i in range(len(text) - k + 1))
        longer = {tuple(text[i : i + order]) for i in range(len(text) - order + 1)}
        for _ in range(order, k, -1):
            shorter = Counter(gram[1:] for gram in longer)
            longer = set(shorter)
        return shorter

    def discount(all_counts):
        n = Counter(all_counts.values())
        if not all(n[i] for i in (1, 2, 3)):
            return SPARE
        y = n[1] / (n[1] + 2 * n[2])
        estimated = [0.0] + [i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)]
        return estimated if all(0 <= d <= i for i, d in enumerate(estimated)) else SPARE

    def p(k):
        if k == 0:
            return 1 / V
        c = counts(k)
        d = discount(c)
        h = tuple(history[len(history) - k + 1 :])
        own = {gram[-1]: count for gram, count in c.items() if gram[:-1] == h}
        if not own:
            return p(k - 1)
        total = sum(own.values())
        kept = {w: max(count - d[min(count, 3)], 0) for w, count in own.items()}
        gamma = 1 - sum(kept.values()) / total
        return kept.get(word, 0) / total + gamma * p(k - 1)

    return p(min(order, len(history) + 1))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_are_those_of_the_formula_written_out(order):
    text = TEXT[:400]
    model = train_ngram([text], V, order)
    probe = np.array([[3, 1, 4, 1, 5, 9, 2], list(text[50:57])])
    found = np.exp(model.log_probs(probe))
    for row, sequence in enumerate(probe):
        for t in range(7):
            history = tuple(sequence[max(0, t - order + 1) : t])
            assert found[row, t] == pytest.approx(by_hand(tuple(text), order, history, sequence[t]), rel=1e-9)


@pytest.mark.parametrize("order", [1, 3, 5])
def test_the_next_token_has_probability_one_in_all(order):
    model = train_ngram([TEXT], V, order)
    histories = np.repeat(a_text(200, seed=3)[:60].reshape(10, 6), V, axis=0)
    probe = np.concatenate([histories, np.tile(np.arange(V), 10)[:, None]], axis=1)
    assert np.exp(model.log_probs(probe)[:, -1]).reshape(10, V).sum(1) == pytest.approx(1)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_samples_are_as_surprising_as_the_model_says(order):
    model = train_ngram([TEXT], V, order)
    text = model.sample(np.random.default_rng(1), 3000, 8)
    histories = np.repeat(text[:, :-1], V, axis=0)
    probe = np.concatenate([histories, np.tile(np.arange(V), 3000)[:, None]], axis=1)
    law = np.exp(model.log_probs(probe)[:, -1]).reshape(-1, V)
    surprise = -np.log(law[np.arange(3000), text[:, -1]])
    gap = surprise + (law * np.log(law)).sum(1)
    assert abs(gap.mean()) < 3 * gap.std() / len(gap) ** 0.5
    chi2 = ((np.bincount(text[:, -1], minlength=V) - law.sum(0)) ** 2 / law.sum(0)).sum()
    assert chi2 < 11 + 4 * (2 * 11) ** 0.5


def test_held_out_loss_falls_with_the_order_until_the_structure_is_used_up():
    held_out = a_text(3000, seed=5)[None]
    losses = [-train_ngram([a_text(20_000, seed=4)], V, k).log_probs(held_out).mean() for k in (1, 2, 3, 4)]
    assert losses[0] > losses[1] > losses[2]
    assert losses[3] < losses[1], "more than there is to know is unsure, not wrong"


def test_texts_are_not_joined():
    model = train_ngram([np.array([0, 1] * 50), np.array([2, 3] * 50)], V, 2)
    joined = train_ngram([np.array([0, 1] * 50 + [2, 3] * 50)], V, 2)
    assert joined.log_probs(np.array([[1, 2]]))[0, 1] > model.log_probs(np.array([[1, 2]]))[0, 1]


def test_discounts_follow_the_counts_of_counts():
    counts = np.repeat([1, 2, 3, 4, 9], [100, 40, 20, 10, 5])
    y = 100 / 180
    assert discounts(counts) == pytest.approx([0, 1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.5])


def test_discounts_that_make_no_sense_are_not_used():
    counts = np.repeat([1, 2, 3, 4], [10, 1, 12, 5])
    assert list(discounts(counts)) == SPARE, "D2 would be below zero"


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(DataError, match="use order 5 at most"):
        train_ngram([TEXT], 4096, 6)
    with pytest.raises(DataError, match="shorter than one gram of 3"):
        train_ngram([TEXT[:2]], V, 3)
