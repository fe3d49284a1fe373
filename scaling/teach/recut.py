"""Text of a teacher in the tokens of its students, where those are other ones: bytes are what both have in common.

A teacher of 49,152 pieces would leave its small students nothing but an embedding table. So what it wrote is turned
into bytes and cut anew, as real text of the source is cut; its loss on real text is counted a token of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, zip_longest

import numpy as np

from scaling.data.eval_sets import EvalSet
from scaling.data.text import AnyTokenizer


def translated_rows(rows: Iterable[np.ndarray], written: AnyTokenizer, read: AnyTokenizer) -> Iterator[np.ndarray]:
    """The same bytes in other tokens, row by row, an end of document where there was one: each int[n] to int32[m].

    Their text is cut together, on all cores.
    """
    documents = [np.split(row, np.flatnonzero(row == written.eos_id)) for row in rows]
    cut = read.encode_all(text_of(part[part != written.eos_id], written) for parts in documents for part in parts)
    end = np.array([read.eos_id], np.int32)
    for parts in documents:
        first, *others = islice(cut, len(parts))
        yield np.concatenate([first, *(one for part in others for one in (end, part))])


def windows(rows: Iterable[np.ndarray], length: int) -> np.ndarray:
    """Sequences of equal length out of longer ones: int32[n, length]. What fills none is left out.

    The first windows of all rows come before the second ones, so that neighbours are independent.
    """
    cut = [row[: len(row) // length * length].reshape(-1, length) for row in rows]
    turns = zip_longest(*cut)
    return np.array([one for turn in turns for one in turn if one is not None], np.int32).reshape(-1, length)


def whole_words(rows: Iterable[np.ndarray], written: AnyTokenizer, read: AnyTokenizer) -> Iterator[np.ndarray]:
    """Windows of text as prompts in other tokens: each from its first blank to its last, so that no word is cut."""
    texts = (text_of(tokens, written) for tokens in rows)
    return read.encode_all(text[text.find(" ") : text.rfind(" ")] if text.count(" ") > 1 else "" for text in texts)


def padded(rows: Sequence[np.ndarray], length: int, fill: int) -> np.ndarray:
    """Rows of different lengths in one array: int32[n, length]."""
    out = np.full((len(rows), length), fill, np.int32)
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row
    return out


def translated_set(real: EvalSet, written: AnyTokenizer, read: AnyTokenizer) -> EvalSet:
    """An evaluation set in other tokens, each sequence by itself; what fills it up is not scored."""
    shape = real.sequences.shape
    rows = list(translated_rows(real.sequences.reshape(-1, shape[-1]), written, read))
    longest = max(map(len, rows))
    scored = np.arange(longest) < np.array([len(row) for row in rows])[:, None]
    sequences = padded(rows, longest, read.eos_id)
    return EvalSet(sequences.reshape(*shape[:2], -1), read.eos_id, scored.reshape(*shape[:2], -1))


def text_of(tokens: np.ndarray, tokenizer: AnyTokenizer) -> str:
    """Text of tokens, bytes that are no UTF-8 kept as they are."""
    spelled = tokenizer.token_bytes
    return b"".join(spelled[i] for i in tokens).decode("utf-8", "surrogateescape")
