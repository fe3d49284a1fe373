"""Text of a large vocabulary in the tokens of a small one that it was built on."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.data.recut import MixedCut, Recut, RecutSequences
from scaling.data.sequences import TeacherSequences
from scaling.data.tokenizers import Tokenizer, train_tokenizer
from scaling.errors import DataError
from scaling.spec import TokenizerSpec

TEXT = "The state of the union, and of the states; fellow citizens: peace, the peace of the nation. " * 4
RNG = np.random.default_rng(11)


def learned(size: int) -> Tokenizer:
    return train_tokenizer(TokenizerSpec(kind="bpe", vocab_size=size), [TEXT])


LARGE, SMALL = learned(300), learned(270)


class Written:
    """A teacher's sequences, of which all is in memory."""

    context, n_distinct = 24, 3

    def __init__(self):
        self.tokens = LARGE.encode(TEXT)[: 24 * 3].reshape(3, 24)

    def at(self, index):
        return self.tokens[index]

    read = TeacherSequences.read


@pytest.mark.parametrize("small", [SMALL, Tokenizer()], ids=["merges", "bytes"])
def test_a_text_is_recut_as_its_tokenizer_would_have_cut_it(small):
    tokens = np.append(LARGE.encode(TEXT), LARGE.eos_id)
    found = Recut(LARGE, small).rows(tokens[None])[0]
    expected = np.append(small.encode(TEXT), small.eos_id)[: len(tokens)]
    np.testing.assert_array_equal(found, expected)


def test_a_row_ends_in_the_small_end_of_document():
    recut = Recut(LARGE, SMALL)
    assert recut.rows(np.array([[LARGE.eos_id, 65]])).tolist() == [[SMALL.eos_id, 65]]


def test_words_of_either_vocabulary_spell_the_same_text():
    recut, tokens = Recut(LARGE, SMALL), LARGE.encode(TEXT)[None, :40]
    words = recut.word_of(tokens)
    chosen = words % 2 == 1
    (mixed,) = recut.mixed(tokens, chosen)
    is_small = mixed >= LARGE.vocab_size
    both = LARGE.token_bytes + SMALL.token_bytes
    spelled = [both[token] for token in mixed]
    assert TEXT.encode().startswith(b"".join(spelled))
    # Whole words change sides: between two tokens of different vocabularies stands a blank.
    behind = np.flatnonzero(np.diff(is_small)) + 1
    assert len(behind) > 4
    assert all(spelled[i][:1] == b" " for i in behind)


def test_nothing_chosen_is_the_teachers_text_and_everything_the_students_counted_on():
    recut, tokens = Recut(LARGE, SMALL), LARGE.encode(TEXT)[None, :40]
    none, every = (recut.mixed(tokens, np.full(tokens.shape, chosen)) for chosen in (False, True))
    np.testing.assert_array_equal(none, tokens)
    np.testing.assert_array_equal(every - LARGE.vocab_size, recut.rows(tokens))


def test_which_words_are_mixed_depends_on_the_place_alone():
    text = RecutSequences(Written(), Recut(LARGE, SMALL))
    mixed = MixedCut(text, 0.5, seed=3)
    together = mixed.read(0, text.read(0, 3))["mixed"]
    np.testing.assert_array_equal(together[2], mixed.read(2, text.read(2, 1))["mixed"][0])
    assert 0.2 < (together >= LARGE.vocab_size).mean() < 0.8
    assert text.bos == SMALL.eos_id


def test_a_vocabulary_of_other_merges_is_refused():
    other = Tokenizer((*SMALL.merges[1:], SMALL.merges[0]))
    with pytest.raises(DataError, match="270 tokens is not made of the first merges of that of 300"):
        Recut(LARGE, other)
