"""Text of one vocabulary in the tokens of another: the same bytes, in sequences that students read."""

import numpy as np
import pytest

from scaling.data.eval_sets import EvalSet
from scaling.data.tokenizers import Tokenizer, train_tokenizer
from scaling.spec import TokenizerSpec
from scaling.teach.recut import translated_rows, translated_set, whole_words, windows

pytest.importorskip("tokenizers", reason="cuts text: pip install 'scaling[text]'")

TEXTS = ["Peace and revenue, 1790. " * 9, "naïve “quotes” — 日本語 and peace " * 5]
LARGE, SMALL = train_tokenizer(TokenizerSpec(vocab_size=300), TEXTS), Tokenizer()


def bytes_of(tokens, tokenizer):
    return b"".join(tokenizer.token_bytes[i] for i in tokens)


@pytest.mark.parametrize(("written", "read"), [(LARGE, SMALL), (SMALL, LARGE)])
def test_any_row_of_tokens_has_the_same_bytes_and_ends_of_documents_when_it_is_cut_anew(written, read):
    rng = np.random.default_rng(0)
    for _ in range(50):
        # Any tokens at all: bytes that are no UTF-8 are among them, and ends of documents in any place.
        tokens = rng.integers(written.vocab_size, size=40).astype(np.int32)
        tokens[rng.integers(40, size=3)] = written.eos_id
        (cut,) = translated_rows([tokens], written, read)
        documents = [
            np.split(one, np.flatnonzero(one == end) + 1) for one, end in ((tokens, written.eos_id), (cut, read.eos_id))
        ]
        assert [bytes_of(part, written) for part in documents[0]] == [bytes_of(part, read) for part in documents[1]]


def test_text_is_cut_as_its_reader_cuts_real_text():
    text = TEXTS[1]
    rows = translated_rows([SMALL.encode(text), SMALL.encode(TEXTS[0])], SMALL, LARGE)
    assert [row.tolist() for row in rows] == [LARGE.encode(one).tolist() for one in (text, TEXTS[0])]


def test_windows_of_all_rows_come_in_turn_and_what_fills_none_is_left_out():
    rows = [np.arange(7), np.arange(10, 12), np.arange(20, 24)]
    assert windows(rows, 2).tolist() == [[0, 1], [10, 11], [20, 21], [2, 3], [22, 23], [4, 5]]
    assert windows([np.arange(3)], 4).shape == (0, 4)


def test_a_prompt_begins_and_ends_with_whole_words():
    windows = [SMALL.encode(text) for text in ("ace and revenue of sta", "revenue", "of peace ")]
    prompts = [LARGE.decode(prompt) for prompt in whole_words(windows, SMALL, LARGE)]
    assert prompts == [" and revenue of", "", " peace"]


def test_of_a_set_in_other_tokens_nothing_but_its_text_is_scored():
    rows = np.stack([SMALL.encode(text)[:20] for text in ("revenue, peace and 1790.", "日本語 — 日本語 — ")])
    real = EvalSet(rows.reshape(2, 1, 20), SMALL.eos_id, np.ones(20, bool))
    own = translated_set(real, SMALL, LARGE)
    for row, sequence, scored in zip(rows, own.sequences[:, 0], own.scored[:, 0], strict=True):
        assert bytes_of(sequence[scored], LARGE) == bytes_of(row, SMALL)
    assert own.n_scored < real.n_scored
