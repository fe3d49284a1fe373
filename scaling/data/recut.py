"""Text of one vocabulary in the tokens of a smaller one, which is made of its first merges.

Merges are learned and applied in one order. So the smaller vocabulary's cut of a word is where the larger one's stood
before its further merges, and every token of the larger vocabulary is one fixed row of the smaller one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling.data.counter import hash64
from scaling.data.sequences import Sequences
from scaling.data.text import open_tokenizer
from scaling.data.tokenizers import CHAR_OF, Tokenizer
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import DataSpec, Source, TextSource

SPACES = b" \n\t\r"


@dataclass(frozen=True)
class Recut:
    """From the tokens of a large vocabulary to those of a small one.

    Raises:
        DataError: the small vocabulary is not made of the first merges of the large one.
    """

    large: Tokenizer
    small: Tokenizer

    def __post_init__(self) -> None:
        if self.small.merges != self.large.merges[: len(self.small.merges)]:
            raise DataError(
                f"a vocabulary of {self.small.vocab_size} tokens is not made of the first merges of that of "
                f"{self.large.vocab_size}, so text of the one cannot be cut into the other; train both on one corpus"
            )

    def rows(self, tokens: np.ndarray) -> np.ndarray:
        """As many tokens of the small vocabulary from the beginning of each row on: int[n, T] to int32[n, T]."""
        return self._joined(tokens, np.ones(tokens.shape, bool), self._finer)

    def mixed(self, tokens: np.ndarray, words: np.ndarray) -> np.ndarray:
        """As many tokens again, of which only the chosen words are cut into the small vocabulary.

        Args:
            tokens: int[n, T], of the large vocabulary.
            words: bool[n, T]: whether the word that each token belongs to is chosen.

        Returns:
            int32[n, T]; tokens of the small vocabulary are counted on from the large one's last.
        """
        marked = [row + self.large.vocab_size for row in self._finer]
        return self._joined(tokens, words, marked)

    def word_of(self, tokens: np.ndarray) -> np.ndarray:
        """Number of the word that each token belongs to, in its row: int[n, T]. A word begins with a blank."""
        return np.cumsum(self._begins_word[tokens], axis=-1)

    def _joined(self, tokens: np.ndarray, chosen: np.ndarray, finer: list[np.ndarray]) -> np.ndarray:
        out = np.empty(tokens.shape, np.int32)
        for row, own, cut in zip(out, tokens, chosen, strict=True):
            parts = [finer[token] if is_cut else [token] for token, is_cut in zip(own, cut, strict=True)]
            row[:] = np.concatenate(parts)[: len(row)]
        return out

    @cached_property
    def _finer(self) -> list[np.ndarray]:
        """The row of small tokens that each large one is."""
        kept = 256 + len(self.small.merges)
        spelled = {a + b: 256 + i for i, (a, b) in enumerate(self.large.merges)} | {c: i for i, c in enumerate(CHAR_OF)}
        rows = [np.array([i], np.int32) for i in range(kept)]
        for a, b in self.large.merges[len(self.small.merges) :]:
            rows.append(np.concatenate([rows[spelled[part]] for part in (a, b)]))
        return [*rows, np.array([self.small.eos_id], np.int32)]

    @cached_property
    def _begins_word(self) -> np.ndarray:
        # The end of a document, which has no bytes, stands alone too.
        return np.array([token[:1] in SPACES for token in self.large.token_bytes])


def open_recut(data: DataSpec, store: RunStore) -> Recut:
    """From the tokens of a teacher's text to those of its student.

    Raises:
        DataError: the one vocabulary is not made of the first merges of the other.
    """
    return Recut(*(_tokenizer(source, store) for source in (data.generator.writes(data.source), data.source)))


def _tokenizer(source: Source, store: RunStore) -> Tokenizer:
    found = open_tokenizer(source, store) if isinstance(source, TextSource) else None
    if not isinstance(found, Tokenizer):
        raise DataError(f"{source.label} is not cut by merges that were learned here, so it cannot be cut anew")
    return found


@dataclass(frozen=True)
class RecutSequences(Sequences):
    """Sequences of a teacher with a larger vocabulary, as far as they fit a student's context; the rest is not read."""

    written: Sequences
    recut: Recut

    @property
    def bos(self) -> int:
        return self.recut.small.eos_id

    @property
    def n_distinct(self) -> int | None:
        return self.written.n_distinct

    @property
    def context(self) -> int:
        return self.written.context

    def require(self, count: int) -> None:
        self.written.require(count)

    def at(self, index: np.ndarray) -> np.ndarray:
        return self.recut.rows(self.written.at(index))


MIXED = np.dtype([("mixed", "<i4")])


@dataclass(frozen=True)
class MixedCut:
    """Beside the tokens of a student: the same text as its teacher wrote it, some of its words in the student's tokens.

    **Source:** Zhao et al. 2019, arXiv 1909.11687 (words of the teacher's input in either vocabulary).

    Attributes:
        text: What the student reads.
        share: Of the words that are cut as the student's are.
        seed: Of which they are.
    """

    text: RecutSequences
    share: float
    seed: int

    def read(self, start: int, sequences: np.ndarray) -> np.ndarray:
        """Records with a field ``mixed`` of the sequences from ``start`` on: record[count, T]."""
        tokens = self.text.written.read(start, len(sequences))
        place = np.arange(start, start + len(tokens), dtype=np.uint64)[:, None] * np.uint64(tokens.shape[1] + 1)
        word = self.text.recut.word_of(tokens).astype(np.uint64)
        uniform = (hash64(place + word, self.seed) >> np.uint64(11)) * 2.0**-53
        return self.text.recut.mixed(tokens, uniform < self.share).astype(MIXED)
