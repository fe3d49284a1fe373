"""Typing with suggestions: keys counted by hand, words found by trying all, the same words for every tokenizer."""

from __future__ import annotations

from functools import cache, partial
from itertools import product

import numpy as np
import pytest

import scaling.data.tasks.next_words as next_words
from scaling.data.shards import Card, TokenShards, open_shards, write_card, write_shard
from scaling.data.tasks.next_words import LETTERS_OF_WORD, SHOWN, TypedWords, keyboard_use, typed_words
from scaling.data.tasks.suggestions import Search, Spelling, measure_keyboard
from scaling.data.tokenizers import Tokenizer
from scaling.errors import DataError

TOKENS = (b" ", b" a", b"a", b"b", b"ba", b"'", b".", b"")
LONGEST = 5


class Markov:
    """A model whose next token depends on the last one alone."""

    def __init__(self, table: np.ndarray):
        self.table = table

    def read(self, contexts: np.ndarray):
        for start in range(0, len(contexts), 3):
            part = slice(start, min(start + 3, len(contexts)))
            last = contexts[part, -1]
            yield (
                part,
                lambda rows, behind, last=last: np.log(
                    [self.table[(last[row], *tokens)[-1]] for row, tokens in zip(rows, behind, strict=True)]
                ),
            )


def random_table(seed: int) -> np.ndarray:
    table = np.random.default_rng(seed).dirichlet(np.full(len(TOKENS), 0.5), size=len(TOKENS))
    # A word ends now and then, so that words of more than LONGEST letters are never among the likeliest.
    return 0.4 * table + 0.3 * np.isin(np.arange(len(TOKENS)), [1, 6])


def spellings(text: bytes):
    if not text:
        yield ()
    for i, token in enumerate(TOKENS):
        if token and text.startswith(token):
            yield from ((i, *rest) for rest in spellings(text[len(token) :]))


def all_words() -> list[str]:
    runs = ("".join(letters) for n in range(1, LONGEST + 1) for letters in product("ab'", repeat=n))
    return [run for run in runs if LETTERS_OF_WORD.fullmatch(run)]


def likeliest(table: np.ndarray, last: int, typed: str) -> list[str]:
    """The three likeliest words, each tried in each spelling."""
    ends = table[:, [0, 1, 6, 7]].sum(1)
    scores = {}
    for word in all_words():
        for tokens in spellings(f" {word}".encode()):
            path = (last, *tokens)
            score = np.prod([table[a, b] for a, b in zip(path, path[1:], strict=False)]) * ends[path[-1]]
            scores[word] = max(score, scores.get(word, 0.0))
    return sorted((w for w in scores if w.startswith(typed)), key=lambda w: -scores[w])[:SHOWN]


def suggestions(table: np.ndarray, last: int, typed: str) -> list[str]:
    known: dict = {}
    search = Search(Spelling(TOKENS), known, typed, effort=10**6)
    while asked := search.asks():
        known |= {tokens: np.log(table[(last, *tokens)[-1]]) for tokens in asked}
    return search.words


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("typed", ["", "a", "b", "ab"])
def test_what_is_shown_are_the_likeliest_of_all_words(seed, typed):
    table = random_table(seed)
    for last in range(len(TOKENS)):
        assert suggestions(table, last, typed) == likeliest(table, last, typed)


def test_the_keys_saved_are_those_of_suggestions_found_by_trying_all_words():
    table, rng = random_table(1), np.random.default_rng(0)
    words = tuple(rng.choice([word for word in all_words() if len(word) < 5], 40))
    contexts = rng.integers(0, len(TOKENS), (40, 3))
    typed = TypedWords(contexts, words, rng.random(40) < 0.5)
    shown_after = cache(partial(likeliest, table))
    with_help = []
    for word, context, spaced in zip(words, contexts, typed.spaced, strict=True):
        shown = (i for i in range(len(word)) if word in shown_after(context[-1], word[:i]))
        picked = next(shown, None)
        with_help.append(len(word) + 1 if picked is None else picked + 1 + (not spaced))
    found = measure_keyboard(Markov(table), typed, Spelling(TOKENS), effort=10**6)
    assert found.savings == pytest.approx(1 - sum(with_help) / sum(len(word) + 1 for word in words))
    first = [shown_after(context[-1], "") for context in contexts]
    assert found.top1 == np.mean([word == one[0] for word, one in zip(words, first, strict=True)])
    assert found.top3 == np.mean([word in one for word, one in zip(words, first, strict=True)])
    assert 0 < found.top1 < found.top3 < 1


def test_without_effort_nothing_is_shown_and_nothing_saved():
    typed = TypedWords(np.zeros((3, 2), int), ("a", "ab", "b"), np.ones(3, bool))
    found = measure_keyboard(Markov(random_table(0)), typed, Spelling(TOKENS), effort=0)
    assert (found.savings, found.top3) == (0, 0)


def test_keys_and_savings_of_words_counted_by_hand():
    # "the " is 4 keys, one tap saves 3; "people," 7 keys, picked after 2 letters it is p, e, tap and comma: 4.
    typed = TypedWords(np.zeros((4, 1), int), ("the", "people", "of", "zebra"), np.array([True, False, True, True]))
    found = keyboard_use(typed, letters=np.array([0, 2, 1, -1]), place=np.array([1, -1, -1, -1]))
    assert typed.saved(np.array([0, 2, 1, -1])).tolist() == [3, 3, 1, 0]
    assert found.savings == 7 / (4 + 7 + 3 + 6)
    assert found.ceiling == (3 + 5 + 2 + 5) / 20
    assert (found.top1, found.top3) == (0, 0.25)
    share = 7 / 20
    off = np.array([3 - share * 4, 3 - share * 7, 1 - share * 3, -share * 6])
    assert found.savings_se == pytest.approx(np.sqrt((off**2).sum() / 3 / 4) / 5)


def held_out(folder, tokenizer: Tokenizer, documents: list[str], per_shard: int = 100) -> TokenShards:
    rows = [[*tokenizer.encode(text), tokenizer.eos_id] for text in documents]
    pieces = [np.concatenate(rows[i : i + per_shard]) for i in range(0, len(rows), per_shard)]
    card = Card(text="real", split="held_out", source="x", vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.hash)
    shards = tuple(write_shard(folder, i, tokens, card.dtype) for i, tokens in enumerate(pieces))
    write_card(folder, Card(**{**vars(card), "shards": shards}))
    return open_shards(folder)


DOCUMENTS = ["We don’t know, said Zoë – and 7 men 7th left.", "The dogs' self-made house", "  two  blanks x_y end"]


def test_words_are_letters_behind_one_space_whatever_the_tokenizer(tmp_path):
    merged = Tokenizer(merges=(("Ġ", "t"), ("h", "e"), ("Ġ", "k"), ("Ġk", "n")))
    found = [
        typed_words(held_out(tmp_path / str(i), one, DOCUMENTS), one, context=8)
        for i, one in enumerate((Tokenizer(), merged))
    ]
    assert sorted(found[0].words) == sorted(
        ["don’t", "know", "said", "Zoë", "and", "men", "left", "self", "house", "end"]
    )
    assert found[0].words == found[1].words
    assert (found[0].spaced == found[1].spaced).all()
    spaced = dict(zip(found[0].words, found[0].spaced, strict=True))
    assert spaced["don’t"]
    assert spaced["Zoë"]
    assert not any(spaced[word] for word in ("know", "self", "end"))


@pytest.mark.parametrize("seed", range(6))
def test_words_of_a_long_text_are_the_same_whatever_the_tokenizer_and_its_shards(tmp_path, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    documents = [" ".join(["It", *rng.choice(["the", "knight", "Zoë", "hen"], rng.integers(1, 60))]) for _ in range(30)]
    limit = int(rng.choice([1, 900, 2500, 10**6]))
    monkeypatch.setattr(next_words, "TEXT_BYTES", limit)
    found = []
    for i, merges in enumerate([(), (("Ġ", "t"), ("h", "e"), ("Ġt", "he")), (("Ġ", "k"), ("Ġk", "n"))]):
        tokenizer, per_shard = Tokenizer(merges=merges), int(rng.integers(1, 31))
        text = held_out(tmp_path / str(i), tokenizer, documents, per_shard)
        found.append(typed_words(text, tokenizer, context=4, n=10**4))
    assert found[0].words == found[1].words == found[2].words
    assert all((found[0].spaced == one.spaced).all() for one in found)
    sizes = np.cumsum([len(one.encode()) + 1 for one in documents])
    read = documents[: max(1, int((sizes <= limit).sum()))]
    assert len(found[0].words) == sum(len(one.split()) - 1 for one in read)


def test_a_context_ends_before_the_space_of_its_word(tmp_path):
    tokenizer = Tokenizer()
    text = held_out(tmp_path, tokenizer, DOCUMENTS)
    found = typed_words(text, tokenizer, context=6)
    rows = dict(zip(found.words, found.contexts, strict=True))
    assert tokenizer.decode(rows["know"][1:]) == "n’t"
    assert rows["know"][0] == tokenizer.eos_id
    # What begins the text has nothing before it but ends of documents.
    assert rows["don’t"].tolist() == [tokenizer.eos_id] * 4 + [ord("W"), ord("e")]


def test_fewer_words_are_a_part_of_more_of_the_same_text(tmp_path):
    text = held_out(tmp_path, Tokenizer(), DOCUMENTS)
    some = typed_words(text, Tokenizer(), context=4, n=4)
    assert len(some.words) == 4
    assert set(some.words) < set(typed_words(text, Tokenizer(), context=4, n=8).words)


def test_a_text_without_words_is_refused(tmp_path):
    with pytest.raises(DataError, match="no word behind a space"):
        typed_words(held_out(tmp_path, Tokenizer(), ["12 34", "漢字だけ"]), Tokenizer(), context=4)
