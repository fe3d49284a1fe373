"""Words that a person types on a keyboard which suggests words: what is typed, and the keys that suggestions save.

Words are drawn from held-out text: runs of letters, apostrophes inside, behind a single space. Typed without help, a
word of n letters is n + 1 keys: its letters and the one behind it. The keyboard shows three words before each letter
(those that begin as the word does; before the first letter, guesses of the next word), and the user taps the right one
as soon as it is there. A tap is one key and writes the space behind the word, so picked after i letters a word is
i + 1 keys, and i + 2 where no space follows (the mark that does is typed, and takes the space's place).

    savings = 1 − Σ keys with suggestions / Σ keys without

**Source:** Trnka & McCoy 2008, *Evaluating word prediction: framing keystroke savings*, ACL (the measure; a user who
errs and scans nothing is an upper bound for one who does); three suggestions, a tap each, as phone keyboards show them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.data.counter import permute
from scaling.data.eval_sets import ratio, share_of
from scaling.data.shards import TokenShards
from scaling.errors import DataError

SHOWN = 3
"""Suggestions that are shown at one time."""
WORDS = 500
"""Typed words that a model is measured on; pinned, so that all models type the same."""
TEXT_BYTES = 1 << 21
"""Of the held-out text, from its beginning, where words are drawn: documents lie in random order. In bytes, as tokens
would be another text for another tokenizer."""
LETTERS_OF_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_TYPED = re.compile(rf"(?<=\S) ({LETTERS_OF_WORD.pattern})(?![\w'’])")


@dataclass(frozen=True)
class TypedWords:
    """Words with what was typed before them.

    Attributes:
        contexts: int32[n, C], the token that begins a sequence, then those of the text before the space.
        words: What is typed behind it.
        spaced: bool[n], whether a space follows the word.
    """

    contexts: np.ndarray
    words: tuple[str, ...]
    spaced: np.ndarray

    @property
    def keys(self) -> np.ndarray:
        """Keys of each word without suggestions: int64[n]."""
        return np.array([len(word) + 1 for word in self.words])

    def saved(self, letters: np.ndarray) -> np.ndarray:
        """Keys that each word saves: int64[n].

        Args:
            letters: int64[n], typed before the word was shown and picked; −1 where it never was.
        """
        return np.where(letters < 0, 0, self.keys - letters - 1 - ~self.spaced)


@dataclass(frozen=True, kw_only=True)
class KeyboardUse:
    """What a model's suggestions are worth.

    Attributes:
        n_words: Words typed.
        top1: Share of words that are the first guess before a letter is typed.
        top1_se: Its standard error, over words, as of all below.
        top3: Share among the three guesses.
        top3_se: Its standard error.
        savings: Share of keys saved.
        savings_se: Its standard error, of a ratio of sums.
        ceiling: Savings of a keyboard that shows every word before its first letter.
    """

    n_words: int
    top1: float
    top1_se: float
    top3: float
    top3_se: float
    savings: float
    savings_se: float
    ceiling: float


def keyboard_use(typed: TypedWords, letters: np.ndarray, place: np.ndarray) -> KeyboardUse:
    """The measures of some typed words.

    Args:
        typed: The words.
        letters: int64[n], typed before the word was shown; −1 where it never was.
        place: int64[n], which of the guesses before the first letter the word is, from 0; −1 for none.
    """
    (top1, top1_se), (top3, top3_se) = (share_of(hit) for hit in (place == 0, place >= 0))
    savings, savings_se = ratio(typed.saved(letters), typed.keys)
    return KeyboardUse(
        n_words=len(typed.words),
        top1=top1,
        top1_se=top1_se,
        top3=top3,
        top3_se=top3_se,
        savings=savings,
        savings_se=savings_se,
        ceiling=ratio(typed.saved(np.zeros(len(typed.words), np.int64)), typed.keys)[0],
    )


def typed_words(text: TokenShards, tokenizer: Any, *, context: int, n: int = WORDS, seed: int = 0) -> TypedWords:
    """Draw words from a held-out text; the same ones whatever the tokenizer and the context.

    Args:
        text: Held-out tokens.
        tokenizer: With ``token_bytes`` and ``eos_id``.
        context: C, tokens before each word with the one that begins a sequence.
        n: How many; all where there are fewer.
        seed: Of the draw.

    Raises:
        DataError: the text has no word to type.
    """
    tokens = _beginning(text, tokenizer)
    # A document's end is no text; as a line's end it keeps the last word of one from the first of the next.
    pieces = [b"\n" if token == tokenizer.eos_id else tokenizer.token_bytes[token] for token in tokens]
    starts = np.cumsum([0, *map(len, pieces)])
    spelled = b"".join(pieces).decode("utf-8", errors="surrogateescape")
    found = list(_TYPED.finditer(spelled))
    if not found:
        raise DataError(f"{text.folder}: holds no word behind a space, so there is nothing to type; use other text")
    drawn = np.sort(permute(np.arange(min(n, len(found))), len(found), seed=seed))
    chosen = [found[i] for i in drawn]
    # A word's space begins a token wherever text is cut before spaces; else the token that holds it is left out.
    byte = _byte_offsets(spelled)[[one.start() for one in chosen]]
    end = np.searchsorted(starts, byte, side="right") - 1
    padded = np.concatenate([np.full(context, tokenizer.eos_id, np.int32), tokens])
    contexts = padded[end[:, None] + np.arange(context)[None]]
    contexts[:, 0] = tokenizer.eos_id
    words = tuple(one.group(1) for one in chosen)
    spaced = np.array([spelled[one.end() : one.end() + 1] == " " for one in chosen])
    return TypedWords(contexts, words, spaced)


def _beginning(text: TokenShards, tokenizer: Any) -> np.ndarray:
    """The first documents that have ``TEXT_BYTES`` together, or the first one, each with its end: int32[n]."""
    width = np.array([len(piece) for piece in tokenizer.token_bytes])
    width[tokenizer.eos_id] = 1
    parts, n_bytes = [np.empty(0, np.int32)], 0
    for tokens in text.maps:
        parts.append(np.asarray(tokens, np.int32))
        n_bytes += int(width[parts[-1]].sum())
        if n_bytes >= TEXT_BYTES:
            break
    whole = np.concatenate(parts)
    ends = np.flatnonzero(whole == tokenizer.eos_id)
    inside = int((np.cumsum(width[whole])[ends] <= TEXT_BYTES).sum())
    return whole[: ends[max(inside, 1) - 1] + 1] if len(ends) else whole


def _byte_offsets(text: str) -> np.ndarray:
    """Where each character begins in UTF-8, stray bytes one each: int64[len + 1]."""
    code = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32)
    size = 1 + (code >= 0x80) + (code >= 0x800).astype(int) + (code >= 0x10000)
    size[(code >= 0xDC80) & (code <= 0xDCFF)] = 1
    return np.concatenate([[0], np.cumsum(size)])
