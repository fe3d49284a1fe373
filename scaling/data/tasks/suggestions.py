"""The likeliest words that begin as typed, by any model of the next token: what a keyboard shows.

A word scores the probability of its likeliest spelling in tokens, the space before it included, times that of a token
behind it which ends it (one that begins with no letter, or the end of the document). Spellings are found best first:
a prefix is never less likely than what it leads to, so once three words are likelier than every open prefix, they are
the likeliest of all. A letter that is typed changes which prefixes are allowed, not what a model says behind them: each
is asked for once a word.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np

from scaling.data.tasks.next_words import LETTERS_OF_WORD, SHOWN, KeyboardUse, TypedWords, keyboard_use

Tokens = tuple[int, ...]

EFFORT = 64
"""Prefixes that a model is asked for before it shows what it has found so far."""
AT_ONCE = 4
"""Prefixes of one word that are asked for together."""


class Reader(Protocol):
    """A model of the next token that has read what stands before each word."""

    def __call__(self, rows: Sequence[int], behind: Sequence[Tokens]) -> np.ndarray:
        """``ln`` of its distribution: float[n, V].

        Args:
            rows: n of the contexts.
            behind: The tokens behind each.
        """


class Model(Protocol):
    """A model of the next token."""

    def read(self, contexts: np.ndarray) -> Iterator[tuple[slice, Reader]]:
        """Read contexts, int32[n, C], as many at a time as its memory holds."""


class Spelling:
    """How the tokens of a vocabulary spell words.

    Args:
        token_bytes: The bytes of each token, none for one that ends a document.
    """

    def __init__(self, token_bytes: Sequence[bytes]):
        self.token_bytes = tuple(token_bytes)
        texts = [one.decode("utf-8", errors="replace") for one in token_bytes]
        self.ends = np.array([not _is_letter(text[:1]) for text in texts])
        """bool[V], tokens before which a word is over."""
        self.goes_on = np.array([bool(text) and all(map(_is_letter, text)) for text in texts])
        """bool[V], tokens that a word goes on with; also parts of a character."""
        opens = [text.startswith(" ") and all(map(_is_letter, text[1:])) for text in texts]
        self._fits = self.goes_on | np.array(opens)
        self.allowed = lru_cache(maxsize=1 << 14)(self._allowed)

    def _allowed(self, missing: bytes) -> np.ndarray:
        """Tokens that agree with what is typed and not yet spelled: int64[k]; all that go on where nothing is."""
        if not missing:
            return np.flatnonzero(self.goes_on)
        within = {id_ for end in range(1, len(missing)) for id_ in self._by_text.get(missing[:end], ())}
        names, ids = self._sorted
        # In the order of their bytes, tokens that begin with all of it lie together.
        beyond = ids[bisect_left(names, missing) : bisect_left(names, _after(missing))]
        found = np.array([*within, *beyond], np.int64)
        return found[self._fits[found]]

    @cached_property
    def _by_text(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for id_, text in enumerate(self.token_bytes):
            found.setdefault(text, []).append(id_)
        return found

    @cached_property
    def _sorted(self) -> tuple[list[bytes], list[int]]:
        order = sorted(range(len(self.token_bytes)), key=self.token_bytes.__getitem__)
        return [self.token_bytes[i] for i in order], order


class Search:
    """The likeliest words that begin with some letters.

    Args:
        spelling: Of the vocabulary.
        known: ``ln`` distributions of prefixes in this context, to which the caller adds those that are asked for.
        letters: What is typed.
        effort: Prefixes that may be asked for.
    """

    def __init__(self, spelling: Spelling, known: dict[Tokens, np.ndarray], letters: str, effort: int = EFFORT):
        self._spelling, self._known, self._left = spelling, known, effort
        self._typed = f" {letters}".encode()
        self._open: list[tuple[float, Tokens, bytes, int]] = []
        self._children: dict[Tokens, tuple[np.ndarray, np.ndarray]] = {}
        self._found: dict[str, float] = {}
        self._waiting: list[tuple[float, Tokens, bytes]] = [(0.0, (), b"")]

    def asks(self) -> list[Tokens]:
        """Prefixes whose distributions are needed next; none once the words are found, or the effort is spent."""
        while self._waiting and all(tokens in self._known for _, tokens, _ in self._waiting):
            for score, tokens, text in self._waiting:
                self._enter(score, tokens, text)
            self._waiting = list(self._next())
        asked = [tokens for _, tokens, _ in self._waiting if tokens not in self._known]
        self._left -= len(asked)
        return asked if self._left >= 0 else []

    @property
    def words(self) -> list[str]:
        """The likeliest, best first; of two as likely the first in the alphabet."""
        return sorted(self._found, key=lambda word: (-self._found[word], word))[:SHOWN]

    @property
    def _bound(self) -> float:
        """What a further word must exceed."""
        return sorted(self._found.values())[-SHOWN] if len(self._found) >= SHOWN else -math.inf

    def _enter(self, score: float, tokens: Tokens, text: bytes) -> None:
        """The word that ends here, and the likeliest token behind it that does not end it."""
        log_f, spelling = self._known[tokens], self._spelling
        missing = self._typed[len(text) :]
        if not missing and (word := _word(text)):
            over = score + _log_sum(log_f[spelling.ends])
            if over > self._found.get(word, -math.inf):
                self._found[word] = over
        ids = spelling.allowed(missing)
        order = np.argsort(-log_f[ids], kind="stable")
        self._children[tokens] = ids[order], score + log_f[ids[order]]
        self._push(tokens, text, 0)

    def _push(self, tokens: Tokens, text: bytes, rank: int) -> None:
        """Open the child of a prefix that is the so many-th likeliest."""
        scores = self._children[tokens][1]
        if rank < len(scores) and scores[rank] > self._bound:
            heapq.heappush(self._open, (-float(scores[rank]), tokens, text, rank))

    def _next(self) -> Iterator[tuple[float, Tokens, bytes]]:
        """The likeliest open prefixes, each of which makes way for its next sibling."""
        for _ in range(AT_ONCE):
            if not self._open or -self._open[0][0] <= self._bound:
                return
            cost, tokens, text, rank = heapq.heappop(self._open)
            self._push(tokens, text, rank + 1)
            token = int(self._children[tokens][0][rank])
            yield -cost, (*tokens, token), text + self._spelling.token_bytes[token]


def measure_keyboard(model: Model, typed: TypedWords, spelling: Spelling, *, effort: int = EFFORT) -> KeyboardUse:
    """Type words with a model's suggestions.

    Args:
        model: What suggests.
        typed: The words.
        spelling: Of its vocabulary.
        effort: Prefixes that it may be asked for before each letter.
    """
    letters, place = np.full((2, len(typed.words)), -1)
    for part, reader in model.read(typed.contexts):
        typists = [_Typist(word, spelling, effort) for word in typed.words[part]]
        while _answer(typists, reader):
            pass
        letters[part], place[part] = ([getattr(one, name) for one in typists] for name in ("letters", "place"))
    return keyboard_use(typed, letters, place)


def _answer(typists: Sequence[_Typist], reader: Reader) -> bool:
    """Tell each typist what it asks for; False once nobody asks."""
    asked = [(row, tokens) for row, one in enumerate(typists) for tokens in one.asks()]
    if asked:
        found = reader([row for row, _ in asked], [tokens for _, tokens in asked])
        for (row, tokens), log_f in zip(asked, found, strict=True):
            typists[row].known[tokens] = log_f
    return bool(asked)


class _Typist:
    """Types one word until it is shown.

    Attributes:
        known: ``ln`` distributions of prefixes, by their tokens.
        letters: Typed before it was shown; −1 where it was not yet, or never.
        place: Of the word among the guesses before its first letter; −1 for none.
        done: It was shown, or is typed to its end.
    """

    def __init__(self, word: str, spelling: Spelling, effort: int):
        self.known: dict[Tokens, np.ndarray] = {}
        self.letters, self.place, self.done = -1, -1, False
        self._word, self._spelling, self._effort, self._typed = word, spelling, effort, 0
        self._search = self._begin()

    def asks(self) -> list[Tokens]:
        """Distributions that the next suggestions need; types on while they are not needed."""
        while not self.done:
            if asked := self._search.asks():
                return asked
            self._look(self._search.words)
        return []

    def _begin(self) -> Search:
        return Search(self._spelling, self.known, self._word[: self._typed], self._effort)

    def _look(self, shown: list[str]) -> None:
        """Pick the word if it is shown, else type a letter."""
        if self._word in shown:
            self.letters, self.done = self._typed, True
            self.place = shown.index(self._word) if self._typed == 0 else -1
        else:
            self._typed += 1
            self.done = self._typed >= len(self._word)
        # Whoever is done forgets: the distributions of all words together are large.
        if self.done:
            self.known.clear()
        else:
            self._search = self._begin()


def _is_letter(char: str) -> bool:
    # A part of a character may become a letter.
    return char.isalpha() or char in ("'", "’", "\ufffd")


def _word(text: bytes) -> str | None:
    """The word behind a space; None where it is none (yet)."""
    try:
        word = text[1:].decode()
    except UnicodeDecodeError:
        return None
    return word if LETTERS_OF_WORD.fullmatch(word) else None


def _after(text: bytes) -> bytes:
    """The first bytes behind all that begin so; UTF-8 has no byte 255."""
    return text + b"\xff"


def _log_sum(values: np.ndarray) -> float:
    top = float(values.max(initial=-math.inf))
    return top + math.log(float(np.exp(values - top).sum())) if math.isfinite(top) else top
