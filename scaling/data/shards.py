"""Tokens on disk: flat files of fixed-size integers that are read in windows, and a card that says what they are.

A folder holds ``shard-00000.bin``, … and ``card.json``. The card lists every shard with its length and hash, so a
torn or edited shard is found when the folder is opened, and the hash of the whole names the text that a run has read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from scaling import files
from scaling.errors import DataError, RecordError
from scaling.files import clear_errors, file_hash, make_folder, read_json, write_bytes, write_json

SHARD_TOKENS = 1 << 24
"""Tokens of one shard of encoded text, at most."""

MOST_KEPT = 1024
"""Tokens of a distribution that are kept at one position, at most."""

_CHECKED: set[tuple[str, int, int, str]] = set()
"""Shards whose hash was verified by this process, by path, size, time of change and hash."""


@dataclass(frozen=True)
class Shard:
    """One file of tokens: its name, its length, and the hash of its bytes."""

    file: Annotated[str, Field(pattern=r"^shard-\d{5,}\.bin$")]
    tokens: Annotated[int, Field(ge=0)]
    blake2b: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a folder of shards is.

    Attributes:
        text: ``real`` or ``teacher``.
        split: ``train`` or ``held_out``.
        source: Label of the corpus, or of the source that the teacher speaks for.
        vocab_size: V; decides how wide a token is stored.
        tokenizer: Hash of the tokenizer.
        eos_id: Token that ends a document and that sequences are predicted from; None for the last of the vocabulary.
        teacher: Label of the teacher; None for real text.
        teacher_run: ``run_id`` of a trained teacher.
        teacher_file: Hash of a pretrained teacher's file.
        teacher_loss: Loss of the teacher on held-out real text, nats/token, where nobody said on which.
        teacher_losses: Loss of the teacher by the real text that it was measured on (``measured_on``): students of one
            text may have other contexts, evaluation sets and corpora. Empty where it is not known, or decoding changed
            its distribution.
        recut_from: Hash of the tokenizer that the teacher wrote in, where its text was cut anew; its loss is then one a
            token of ``tokenizer``.
        decoding: How tokens were chosen; anything but temperature 1 alone loses coverage or adds noise.
        targets: What is kept of the teacher's distribution at a position, and its ``size``, where the shards hold that
            and no tokens.
        sequence_tokens: Length of the independent sequences that the text consists of; None for running text.
        notice: Where the text comes from and under which terms.
        shards: The files, in order.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    text: Literal["real", "teacher"]
    split: str
    source: str
    vocab_size: Annotated[int, Field(ge=1, le=1 << 32)]
    tokenizer: str
    eos_id: Annotated[int, Field(ge=0)] | None = None
    teacher: str | None = None
    teacher_run: str | None = None
    teacher_file: str | None = None
    teacher_loss: float | None = None
    teacher_losses: dict[str, float] = field(default_factory=dict)
    recut_from: str | None = None
    decoding: dict[str, float | int | None] = field(default_factory=dict)
    targets: dict[str, Any] | None = None
    sequence_tokens: Annotated[int, Field(ge=1)] | None = None
    notice: str = ""
    shards: tuple[Shard, ...] = ()

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)

    def loss_on(self, measured_on: str) -> float | None:
        """Loss of the teacher on a real text; that of a card which names no text where it was not measured on this."""
        return self.teacher_losses.get(measured_on, self.teacher_loss)

    @property
    def bos(self) -> int:
        """What the first token of every sequence is predicted from."""
        return self.vocab_size - 1 if self.eos_id is None else self.eos_id

    @property
    def hash(self) -> str:
        """Of all tokens in order; 16 hex digits."""
        return hashlib.blake2b("".join(shard.blake2b for shard in self.shards).encode(), digest_size=8).hexdigest()

    @property
    def dtype(self) -> np.dtype:
        """How one token, or its record, is stored."""
        if self.targets is None:
            return self._token_dtype
        size = self.targets.get("size")
        if type(size) is not int or not 1 <= size <= MOST_KEPT:
            raise DataError(
                f"a data card says that {size!r} tokens are kept at each position; allowed is 1 – {MOST_KEPT}"
            )
        return np.dtype([("ids", self._token_dtype, (size,)), ("weights", "<f4", (size,))])

    @property
    def _token_dtype(self) -> np.dtype:
        return np.dtype("<u2" if self.vocab_size <= 1 << 16 else "<u4")

    @property
    def coverage_lost_by(self) -> list[str]:
        """Settings of the decoding under which rare tokens come too seldom or never, however long the text."""
        given = {key: value for key, value in self.decoding.items() if value is not None}
        lost = {"temperature": lambda t: t < 1, "top_k": lambda k: k < self.vocab_size, "top_p": lambda p: p < 1}
        return [name for name, loses in lost.items() if name in given and loses(given[name])]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), **{name: getattr(self, name) for name in DERIVED}}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Card:
        """A card from its JSON values, each of the type and size that it must have.

        Raises:
            ValidationError: if one is not.
        """
        left_out = {*DERIVED, "unique_tokens"}  # which cards said before
        return _CARD.validate_json(json.dumps({key: value for key, value in content.items() if key not in left_out}))


_CARD = TypeAdapter(Card)

DERIVED = ("tokens", "hash", "coverage_lost_by")
"""What a card on disk says beside its fields, for people."""


@dataclass(frozen=True)
class TokenShards:
    """An opened folder: its card, and its tokens, which stay on disk."""

    folder: Path
    card: Card

    @cached_property
    def maps(self) -> list[np.ndarray]:
        """All tokens of each shard, as a map: uint16 or uint32[tokens]. For passes over the whole text."""
        return [
            np.memmap(self.folder / shard.file, dtype=self.card.dtype, mode="r", shape=(shard.tokens,))
            for shard in self.card.shards
        ]

    def counts(self) -> np.ndarray:
        """How often each token of the vocabulary comes: int64[V]."""
        return sum((np.bincount(one, minlength=self.card.vocab_size) for one in self.maps), np.zeros(1, np.int64))

    def windows(self, shard: np.ndarray, offset: np.ndarray, length: int) -> np.ndarray:
        """Cut windows out of the text: int32[n, length], or records.

        They are read, not mapped: pages of a map stay counted as this process's memory once they were touched.

        Args:
            shard: int64[n], which file each lies in.
            offset: int64[n], where each begins; it must end in the same file.
            length: Tokens of a window.

        Raises:
            DataError: if a file ends before a window does.
        """
        out = np.empty((len(shard), length), self.card.dtype if self.card.targets else np.int32)
        for i in np.unique(shard):
            rows = np.flatnonzero(shard == i)
            out[rows] = self._read(self.folder / self.card.shards[i].file, offset[rows], length)
        return out

    def _read(self, path: Path, offset: np.ndarray, length: int) -> np.ndarray:
        width = self.card.dtype.itemsize
        try:
            with clear_errors(), path.open("rb", buffering=0) as file:
                found = b"".join(os.pread(file.fileno(), length * width, int(at) * width) for at in offset)
        except FileNotFoundError:
            found = b""
        if len(found) != len(offset) * length * width:
            raise DataError(f"{path}: ends too early; it was torn while it was read — `scaling sweep` makes it again")
        return np.frombuffer(found, self.card.dtype).reshape(len(offset), length)


def write_shard(folder: Path, index: int, tokens: np.ndarray, dtype: np.dtype) -> Shard:
    """Write one shard atomically; the card that lists it is the caller's to write."""
    make_folder(folder)
    content = np.ascontiguousarray(tokens.reshape(-1), dtype=dtype).tobytes()
    name = f"shard-{index:05d}.bin"
    write_bytes(folder / name, content)
    return Shard(name, tokens.size, _hash(content))


def write_card(folder: Path, card: Card) -> None:
    """Write the card that makes its shards count."""
    write_json(folder / "card.json", card.to_json())


def read_card(folder: Path) -> Card | None:
    """The card of a folder; None where there is none yet.

    Raises:
        DataError: if it cannot be read.
    """
    path = folder / "card.json"
    if not path.exists():
        return None
    try:
        content = read_json(path)
        card = Card.from_json(content if isinstance(content, dict) else {})
        _ = card.dtype
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataError(f"{path}: no data card ({said}); delete the folder and the text is made again") from error
    except (RecordError, DataError) as error:
        raise DataError(f"{path}: no data card ({error}); delete the folder and the text is made again") from error
    return card


def open_shards(folder: Path) -> TokenShards:
    """Open a folder for reading, every shard checked against its hash (once a process).

    Raises:
        DataError: if the folder has no card, or a shard is missing, torn or changed.
    """
    card = read_card(folder)
    if card is None:
        raise DataError(f"{folder}: no text here; prepare it first (`scaling sweep` does so before training)")
    torn = damaged_shards(folder, card)
    if torn:
        names = ", ".join(card.shards[i].file for i in torn[:3])
        raise DataError(
            f"{folder}: {names} missing or damaged (not the bytes that the card has the hash of); "
            "`scaling sweep` makes it again"
        )
    return TokenShards(folder, card)


def is_intact(folder: Path, shard: Shard, dtype: np.dtype) -> bool:
    """True where a shard's bytes are those that its card lists."""
    path = folder / shard.file
    try:
        with clear_errors():
            stat = path.stat()
            if stat.st_size != shard.tokens * dtype.itemsize:
                return False
            key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns, shard.blake2b)
            if key not in _CHECKED and file_hash(path) != shard.blake2b:
                return False
    except FileNotFoundError:
        return False
    _CHECKED.add(key)
    return True


def damaged_shards(folder: Path, card: Card) -> list[int]:
    """Which listed shards are missing, torn or changed, by index."""
    return [i for i, shard in enumerate(card.shards) if not is_intact(folder, shard, card.dtype)]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder while it is written: a second process waits, then finds the work done (or its writer dead)."""
    make_folder(folder)
    with files.locked(folder / ".lock"):
        yield


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
