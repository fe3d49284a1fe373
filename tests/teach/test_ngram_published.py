"""The n-gram teacher beside a published implementation: perplexities and discounts of KenLM 0.3.0 on a seeded text.

The figures below were printed for every order k by

    lmplz --discount_fallback -o k < train.txt > k.arpa;  query -n -v summary k.arpa < held_out.txt

where train.txt is ``text(200_000, seed=1)`` on one line and held_out.txt ``text(4000, seed=2)`` in lines of 20 tokens,
each token written as a word. KenLM's ``</s>`` and ``<unk>`` are two more tokens here; what is left is its ``<s>``,
which stands before one token of 200,000.
"""

import numpy as np
import pytest

from scaling.teach.ngram import discounts, train_ngram

V = 1000
PERPLEXITY = {
    2: 14.932246084615066,
    3: 8.882342717165784,
    4: 9.427625629229075,
    5: 9.75565808773502,
    6: 10.079030437509083,
}
DISCOUNTS_OF_ORDER_6 = [
    (0.281337, 1.12982, 1.99311),
    (0.719361, 1.12997, 1.40928),
    (0.809418, 1.09157, 1.48927),
    (0.857506, 1.10477, 1.28258),
    (0.886909, 1.10767, 1.35663),
    (0.880724, 1.08936, 1.11433),
]


def text(n, seed):
    """Zipf draws among tokens that follow from the two before them."""
    rng = np.random.default_rng(seed)
    p = np.arange(1.0, V + 1) ** -1.4
    cdf = np.cumsum(p) / p.sum()
    out = [0, 1]
    for free, u in zip(rng.random(n) < 0.4, rng.random(n), strict=True):
        quantile = u if free else (out[-1] * 7919 + out[-2] * 104729 + int(3 * u)) % 10007 / 10007
        out.append(int(np.searchsorted(cdf, quantile)))
    return np.array(out)


@pytest.fixture(scope="module")
def texts():
    """Training text with its ``</s>`` and held-out sequences, in the tokens that occur."""
    train, held_out = text(200_000, seed=1), text(4000, seed=2)[:4000].reshape(200, 20)
    seen = np.unique(train)
    place = np.zeros(V, np.int64)
    place[seen] = np.arange(len(seen))
    return np.append(place[train], len(seen)), place[held_out], len(seen) + 2


@pytest.mark.parametrize("order", PERPLEXITY)
def test_the_perplexity_is_that_of_kenlm(texts, order):
    train, held_out, vocab_size = texts
    loss = -train_ngram([train], vocab_size, order).log_probs(held_out).mean()
    assert loss == pytest.approx(np.log(PERPLEXITY[order]), abs=1e-4)


def test_the_discounts_are_those_of_kenlm(texts):
    grams = np.lib.stride_tricks.sliding_window_view(texts[0], 6)
    _, counts = np.unique(grams, axis=0, return_counts=True)
    distinct = np.unique(grams, axis=0)
    for order in range(6, 0, -1):
        assert discounts(counts)[1:] == pytest.approx(DISCOUNTS_OF_ORDER_6[order - 1], rel=2e-3)
        distinct, counts = np.unique(distinct[:, 1:], axis=0, return_counts=True)
