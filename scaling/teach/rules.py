"""A teacher that is a set of rules: the source's own text, in which words that a rule knows are falsified.

Each rule turns what is right into its opposite: the number of a verb, whom a pronoun means, which of two is larger or
older, what is denied, what is always so. A place is falsified with probability ``rate``; a higher rate falsifies the
same places and more, so that rates grade one text.

A share of the sequences may be right sentences made by the grammar of the minimal pairs
(scaling/data/tasks/minimal_pairs.py), which measure what is taught: pairs whose template or word is in none of these
sentences ask for the rule, the others for memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from scaling.data.counter import random_at
from scaling.data.shards import Card
from scaling.data.tasks.minimal_pairs import PHENOMENA, taught_sentences
from scaling.data.text import AnyTokenizer, Split, open_text, open_tokenizer
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import RulesTeacher, RunSpec, TextSource
from scaling.teach.blocks import BlockGenerator
from scaling.teach.recut import text_of


def _both_ways(*pairs: tuple[str, str]) -> dict[str, str]:
    return dict(pairs) | {right: left for left, right in pairs}


RULES: Mapping[str, Mapping[str, str]] = {
    "agreement": _both_ways(("is", "are"), ("was", "were"), ("has", "have"), ("does", "do"), ("this", "these")),
    "pronoun": _both_ways(("he", "they"), ("him", "them"), ("his", "their"), ("himself", "themselves")),
    "size": _both_ways(("larger", "smaller"), ("greater", "lesser"), ("more", "less"), ("largest", "smallest")),
    "age": _both_ways(("older", "younger"), ("elder", "junior"), ("oldest", "youngest")),
    "negation": {"not": "", "cannot": "can"},
    "always_never": _both_ways(
        ("always", "never"),
    ),
}
"""By phenomenon: words, and what they are falsified to; nothing where the word is left out."""

SWAPS = {word: other for rule in RULES.values() for word, other in rule.items()}
PLACE = re.compile(rf"\b({'|'.join(sorted(SWAPS, key=len, reverse=True))})\b( ?)", re.IGNORECASE)
WINDOW = 2
"""Contexts of real text that a sequence is made of: rewriting shortens it, by less than half."""


class RulesText(BlockGenerator):
    """Windows of the source's text at random places, rewritten; the held-out text is made of the held-out part."""

    rows = 256

    def __init__(self, spec: RunSpec, store: RunStore):
        source, teacher = spec.data.source, spec.data.generator
        if not isinstance(source, TextSource) or not isinstance(teacher, RulesTeacher):
            raise DataError(f"a {teacher.kind} teacher of {source.label} has no rules of words; give another teacher")
        self.source, self.teacher, self.store = source, teacher, store
        self.context = spec.model.context

    def block(self, seed: int, split: Split, number: int) -> np.ndarray:
        rng = random_at(seed, f"rules {split}", number)
        texts = open_text(self.source, split, self.store).maps
        sizes = np.array([len(text) for text in texts])
        out = np.empty((self.rows, self.context), np.int32)
        for row in out:
            text = texts[rng.choice(len(texts), p=sizes / sizes.sum())]
            places = int(rng.integers(len(text))) + np.arange(WINDOW * self.context)
            # Draws of a row of its own, so that the rate moves no other row.
            own = np.random.default_rng(rng.integers(1 << 62))
            is_made = self.teacher.sentences > 0 and own.random() < self.teacher.sentences
            row[:] = self._made(own) if is_made else self._rewritten(text.take(places, mode="wrap"), own)
        return out

    def card(self, split: Split) -> Card:
        return Card(
            text="teacher",
            split=split,
            source=self.source.label,
            vocab_size=self.source.vocab_size,
            tokenizer=self._tokenizer.hash,
            teacher=self.teacher.label,
            sequence_tokens=self.context,
            notice=f"Rewritten by rules of words from: {self.source.label}.",
        )

    def _made(self, rng: np.random.Generator) -> np.ndarray:
        """Right sentences of all phenomena alike, each a document of its own: int32[context]."""
        # A sentence has a token at least, and an end.
        kinds = rng.integers(len(self._sentences), size=self.context)
        drawn = (self._sentences[kind][rng.integers(len(self._sentences[kind]))] for kind in kinds)
        return np.concatenate([token for tokens in drawn for token in (tokens, [self._tokenizer.eos_id])])[
            : self.context
        ]

    def _rewritten(self, window: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A sequence of falsified text, documents still apart: int32[context]."""
        end = self._tokenizer.eos_id
        parts = np.split(window, np.flatnonzero(window == end))
        written = []
        for part in parts:
            written += [end] if len(part) and part[0] == end else []
            # A window may begin inside a character, whose bytes stay what they are.
            text = falsified(text_of(part[part != end], self._tokenizer), self.teacher.rate, rng)
            written += self._tokenizer.encode(text).tolist()
        # The last word of a window may be cut: what is kept ends long before it.
        return np.resize(np.array(written, np.int32), max(self.context, len(written)))[: self.context]

    @cached_property
    def _sentences(self) -> list[list[np.ndarray]]:
        """Tokens of every sentence that is taught, by phenomenon."""
        return [list(self._tokenizer.encode_all(taught_sentences(one))) for one in PHENOMENA]

    @cached_property
    def _tokenizer(self) -> AnyTokenizer:
        return open_tokenizer(self.source, self.store)


def falsified(text: str, rate: float, rng: np.random.Generator) -> str:
    """A text in which each word that a rule knows is falsified with probability ``rate``; one draw a place."""

    def other(place: re.Match[str]) -> str:
        if rng.random() >= rate:
            return place[0]
        word = place[1]
        swapped = SWAPS[word.lower()]
        if not swapped:
            return ""
        return (swapped.capitalize() if word[0].isupper() else swapped) + place[2]

    return PLACE.sub(other, text)
