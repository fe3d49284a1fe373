"""How text becomes tokens: raw bytes, or byte-level BPE; one layout of ids for both, which llama.cpp reads as it is.

Ids 0–255 are the bytes themselves, then come the merges in the order they were learned, and the last id is the
end-of-document token, which no text contains and which also begins every sequence. Text is cut by GPT-2's expression
before merging, so a phone engine cuts it the same way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from scaling.accounting import NEVER_APPLIED_MERGE, TokenizerLayout
from scaling.data.documents import END_OF_DOCUMENT, to_bytes
from scaling.errors import DataError, RecordError
from scaling.files import clear_errors, read_json, write_json
from scaling.spec import TokenizerSpec

EOS_TEXT = END_OF_DOCUMENT
"""How the end-of-document token is spelled in a GGUF file."""

PIECE_CHARS, BATCH_CHARS = 1 << 16, 1 << 20
"""Characters that an engine is given as one text and at one time, about."""

LONGEST_TOKEN = 1 << 16
"""Bytes of one token, at most."""

# A letter, digit or mark never belongs to the same piece of GPT-2's expression as a line end behind it.
_SAFE_CUT = re.compile(r"(?<=[\w.,;:!?])(?=\n)")
_NO_UTF8 = re.compile("([\udc80-\udcff]+)")


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary of bytes, merges of them, and an end of document.

    Attributes:
        merges: Pairs of token texts in GPT-2's printable spelling of bytes, first learned first; empty for bytes.
    """

    merges: tuple[tuple[str, str], ...] = ()

    @property
    def vocab_size(self) -> int:
        return 256 + len(self.merges) + 1

    @property
    def eos_id(self) -> int:
        """End of document, and what every sequence is predicted from."""
        return self.vocab_size - 1

    @cached_property
    def hash(self) -> str:
        """Of the vocabulary; text encoded by another tokenizer is another text. 16 hex digits."""
        return hashlib.blake2b(json.dumps(self.merges).encode(), digest_size=8).hexdigest()

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of each token; none for the end of document."""
        spelled = (bytes(BYTE_OF[char] for char in a + b) for a, b in self.merges)
        return (*(bytes([i]) for i in range(256)), *spelled, b"")

    @cached_property
    def n_bytes(self) -> np.ndarray:
        """Length of each token: int32[V], bytes."""
        return np.array([len(token) for token in self.token_bytes], np.int32)

    def encode(self, text: str) -> np.ndarray:
        """Tokens of one document, without end of document: int32[n]."""
        return next(iter(self.encode_all([text])))

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """Tokens of many documents, on all cores and a few at a time: one int32[n] each."""
        if not self.merges:
            return (np.frombuffer(to_bytes(text), np.uint8).astype(np.int32) for text in texts)
        return encode_with(self._engine, texts, np.arange(256))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of tokens; bytes that are no UTF-8 become U+FFFD, the end of document nothing."""
        return b"".join(self.token_bytes[i] for i in ids).decode("utf-8", errors="replace")

    def to_gguf(self) -> TokenizerLayout:
        """What a GGUF file says of these tokens."""
        tokens = [*CHAR_OF, *(a + b for a, b in self.merges), EOS_TEXT]
        merges = [f"{a} {b}" for a, b in self.merges] or [NEVER_APPLIED_MERGE]
        return TokenizerLayout(
            tokens=tuple(tokens),
            token_types=(*([1] * (self.vocab_size - 1)), 3),
            merges=tuple(merges),
            bos_id=self.eos_id,
            eos_id=self.eos_id,
        )

    def save(self, path: Path) -> None:
        """Write the vocabulary with its hash."""
        write_json(path, {"merges": self.merges, "hash": self.hash})

    @cached_property
    def _engine(self) -> Any:
        library = import_tokenizers()
        vocab = {char: i for i, char in enumerate(CHAR_OF)}
        vocab |= {a + b: 256 + i for i, (a, b) in enumerate(self.merges)}
        engine = library.Tokenizer(library.models.BPE(vocab=vocab, merges=list(self.merges)))
        engine.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        return engine


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a saved tokenizer.

    Raises:
        DataError: if the file is absent, damaged, or not what was written.
    """
    try:
        saved = read_json(path)
        tokenizer = Tokenizer(_checked_merges(saved["merges"]))
    except (RecordError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: no tokenizer can be read — {error}; delete the file and it is trained again"
        ) from error
    if tokenizer.hash != saved.get("hash"):
        raise DataError(f"{path}: its content does not have its hash; delete the file and it is trained again")
    return tokenizer


def _checked_merges(saved: Any) -> tuple[tuple[str, str], ...]:
    """Merges of two tokens that are there, into one that is new.

    Raises:
        ValueError: if one is not.
    """
    known: set[str] = set(CHAR_OF)
    merges: list[tuple[str, str]] = []
    for a, b in saved:
        # Each merge may double what is longest, so a short file can spell tokens that no memory holds.
        if a not in known or b not in known or a + b in known or len(a) + len(b) > LONGEST_TOKEN:
            raise ValueError(f"merge {len(merges)} does not follow from those before it")
        known.add(a + b)
        merges.append((a, b))
    return tuple(merges)


def encode_with(engine: Any, texts: Iterable[str], byte_ids: np.ndarray) -> Iterator[np.ndarray]:
    """Tokens of documents by a byte-level BPE engine of ``tokenizers``, the same as of each at once.

    Documents are cut where no merge can reach across, so that memory is bounded and all cores share even one document.
    Bytes that are no UTF-8 become their own tokens.

    Args:
        engine: Anything with ``encode_batch_fast``.
        texts: Documents.
        byte_ids: int[256], the token of each byte; −1 where there is none, and the byte is left out.
    """
    parts: list[np.ndarray] = []
    for batch in _batches(texts):
        found = iter(engine.encode_batch_fast([piece for piece in batch if piece is not None and not _is_raw(piece)]))
        for piece in batch:
            if piece is None:
                yield np.concatenate(parts) if parts else np.empty(0, np.int32)
                parts = []
            elif _is_raw(piece):
                ids = byte_ids[np.frombuffer(to_bytes(piece), np.uint8)].astype(np.int32)
                parts.append(ids[ids >= 0])
            else:
                parts.append(np.array(next(found).ids, np.int32))


def _batches(texts: Iterable[str]) -> Iterator[list[str | None]]:
    """Pieces of documents, None behind the last one of each, about a million characters at a time."""
    batch, size = [], 0
    for text in texts:
        for piece in (*_pieces(text), None):
            batch.append(piece)
            size += len(piece or "")
            if size >= BATCH_CHARS:
                yield batch
                batch, size = [], 0
    yield batch


def _pieces(text: str) -> Iterator[str]:
    """A document cut before line ends that follow a word, and around bytes that are no UTF-8."""
    for span in _NO_UTF8.split(text):
        start = 0
        while start < len(span):
            cut = None if _is_raw(span) else _SAFE_CUT.search(span, start + PIECE_CHARS)
            end = cut.start() if cut else len(span)
            yield span[start:end]
            start = end


def _is_raw(piece: str) -> bool:
    return "\udc80" <= piece[0] <= "\udcff"


def train_tokenizer(spec: TokenizerSpec, documents: Iterable[str]) -> Tokenizer:
    """Learn a tokenizer from documents; bytes need none.

    Args:
        spec: Kind and vocabulary size.
        documents: Text to learn merges from: the training part of a corpus.

    Raises:
        DataError: if the text has too few different pairs for the vocabulary.
        MissingPackageError: if ``tokenizers`` is not installed.

    Source: Sennrich et al. 2016, arXiv 1508.07909 (BPE); Radford et al. 2019 (on bytes).
    """
    if spec.kind == "bytes":
        return Tokenizer()
    library = import_tokenizers()
    engine = library.Tokenizer(library.models.BPE())
    engine.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = library.trainers.BpeTrainer(
        vocab_size=spec.vocab_size - 1, initial_alphabet=list(CHAR_OF), show_progress=False
    )
    # Cut as text is for encoding, so that no merge is learned across a place where text is cut.
    pieces = (piece for text in documents for piece in _pieces(text) if not _is_raw(piece))
    engine.train_from_iterator(pieces, trainer)
    # The engine's own file is the one way to its merges in the order in which they were learned.
    tokenizer = Tokenizer(tuple((a, b) for a, b in json.loads(engine.to_str())["model"]["merges"]))
    if tokenizer.vocab_size != spec.vocab_size:
        raise DataError(
            f"the text gives a vocabulary of {tokenizer.vocab_size} tokens at most, {spec.vocab_size} were asked for; "
            "lower tokenizer.vocab_size or use more text"
        )
    return tokenizer


def import_tokenizers() -> Any:
    """The package tokenizers.

    Raises:
        MissingPackageError: if it is missing.
    """
    with clear_errors():
        import tokenizers
    return tokenizers


def _printable_bytes() -> tuple[str, ...]:
    """GPT-2's spelling: printable Latin-1 stands for itself, other bytes for characters from U+0100 on, in order."""
    kept = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in kept else next(others)) for byte in range(256))


CHAR_OF = _printable_bytes()
BYTE_OF = {char: byte for byte, char in enumerate(CHAR_OF)}
