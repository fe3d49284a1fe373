"""Minimal pairs: balanced so that words alone decide nothing, held out by template and by word, alike every time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from scaling.data.tasks.minimal_pairs import HELD_OUT_WORDS, PHENOMENA, minimal_pairs, taught_sentences
from scaling.errors import DataError
from scaling.spec.training import PAIR_BYTES


@pytest.mark.parametrize("phenomenon", PHENOMENA)
@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_goes_by_the_words_alone_is_right_in_exactly_half(phenomenon, seed):
    rng, weight = np.random.default_rng(seed), {}

    def score(sentence: str) -> float:
        return sum(weight.setdefault(word, rng.normal()) for word in sentence.split())

    for template in range(3):
        pairs = [pair for pair in minimal_pairs(phenomenon) if pair.template == template]
        assert np.mean([score(pair.good) > score(pair.bad) for pair in pairs]) == 0.5


@pytest.mark.parametrize("phenomenon", PHENOMENA)
def test_two_sentences_of_a_pair_have_as_many_words_and_no_right_one_is_ever_wrong(phenomenon):
    pairs = minimal_pairs(phenomenon)
    assert all(len(pair.good.split()) == len(pair.bad.split()) for pair in pairs)
    assert not {pair.good for pair in pairs} & {pair.bad for pair in pairs}
    assert max(Counter(pair.good for pair in pairs).values()) == 1


@pytest.mark.parametrize("phenomenon", PHENOMENA)
def test_what_is_taught_shows_neither_a_held_out_template_nor_word(phenomenon):
    kinds = Counter(pair.held_out for pair in minimal_pairs(phenomenon))
    assert set(kinds) == {"taught", "template", "word", "template and word"}
    taught = set(taught_sentences(phenomenon))
    assert taught
    assert not taught & {pair.good for pair in minimal_pairs(phenomenon) if pair.held_out != "taught"}
    assert not {word for sentence in taught for word in sentence.split()} & HELD_OUT_WORDS


def test_a_shuffled_pair_keeps_its_choice_and_its_words():
    for phenomenon in PHENOMENA:
        for pair in minimal_pairs(phenomenon, 20):
            other = pair.shuffled(seed=0)
            assert Counter(other.good.split()) == Counter(pair.good.split())
            differ = [
                [(a, b) for a, b in zip(one.good.split(), one.bad.split(), strict=True) if a != b]
                for one in (pair, other)
            ]
            assert differ[0] == differ[1]


def test_a_pinned_number_is_drawn_alike_every_time():
    assert minimal_pairs("agreement", 50) == minimal_pairs("agreement", 50)
    assert minimal_pairs("agreement", 50) != minimal_pairs("agreement", 50, seed=1)
    assert len(set(minimal_pairs("agreement", 50))) == 50


def test_an_unknown_phenomenon_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match="did you mean"):
        minimal_pairs("agreemnt")


def test_no_sentence_is_longer_than_what_a_students_context_is_asked_for():
    pairs = [pair for phenomenon in PHENOMENA for pair in minimal_pairs(phenomenon)]
    assert max(len(sentence.encode()) for pair in pairs for sentence in (pair.good, pair.bad)) <= PAIR_BYTES
