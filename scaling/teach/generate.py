"""Text of a trained teacher, written once into shards.

A text is a list of blocks. Each block holds as many independent sequences as the teacher writes side by side and is a
function of the teacher, the seed and its own number; so a killed generation goes on with the block it was at and ends
with the same text, a longer text begins with the shorter one, and nothing is generated twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from scaling.data.shards import Card, damaged_shards, locked, read_card, write_card, write_shard
from scaling.data.text import Split, open_tokenizer, teacher_text_dir
from scaling.errors import DataError
from scaling.records import RunRecord, RunStore
from scaling.spec import ModelSpec, RunSpec, TrainedTeacher
from scaling.train.checkpoint import load_student
from scaling.train.decode import Decoding, sample_sequences
from scaling.train.model import Student

MAX_ROWS = 256
"""Sequences written side by side; more gain nothing on a processor."""
CACHE_BYTES = 1 << 29
"""Keys and values of one block, at most."""
PURPOSES: dict[Split, int] = {"train": 0, "held_out": 1}


@dataclass(frozen=True, kw_only=True)
class GenerationProgress:
    """How far a text is: ``tokens`` of ``n_tokens``, of which the teacher's label and the split say which."""

    teacher: str
    split: Split
    tokens: int
    n_tokens: int


Listener = Callable[[GenerationProgress], None]


def ensure_teacher_text(
    spec: RunSpec, store: RunStore, *, n_tokens: int, progress: Listener | None = None
) -> tuple[Card, Card]:
    """Make sure that the text which a student reads and is measured on is there, generating what is missing.

    Args:
        spec: The student's run; its teacher is a trained one, whose run is in the store.
        store: Where runs and texts lie.
        n_tokens: Tokens that the student will read, at least.
        progress: Called after every block.

    Returns:
        Cards of the text to learn from and of the held-out text.

    Raises:
        DataError: if the teacher was not trained, did not end well, writes other tokens than the student reads, or has
            a shorter context.
    """
    teacher = spec.data.teacher
    record = _finished_run(teacher, spec, store)
    writer = _Writer(teacher, record, store, progress or (lambda _: None))
    context = spec.model.context
    read = writer.text(spec.data.seed, "train", _teacher_tokens(n_tokens, context, teacher.run.model))
    measured = writer.text(
        spec.evaluation.seed, "held_out", _teacher_tokens(spec.evaluation.tokens, context, teacher.run.model)
    )
    return read, measured


class _Writer:
    """One teacher, loaded when the first block is missing."""

    def __init__(self, teacher: TrainedTeacher, record: RunRecord, store: RunStore, progress: Listener):
        self.teacher, self.record, self.store, self.progress = teacher, record, store, progress
        self.model = teacher.run.model
        self.decoding = Decoding(teacher.temperature, teacher.top_k, teacher.top_p)
        self.rows = rows_per_block(self.model)
        self._student: Student | None = None

    def text(self, seed: int, split: Split, n_tokens: int) -> Card:
        """A text of at least ``n_tokens``; what is there and whole is kept."""
        folder = teacher_text_dir(self.store, self.teacher, seed=seed, split=split)
        n_blocks = -(-n_tokens // (self.rows * self.model.context))
        with locked(folder):
            card = read_card(folder) or self._new_card(split)
            missing = [*damaged_shards(folder, card), *range(len(card.shards), n_blocks)]
            for block in missing:
                card = self._write_block(folder, card, seed, block)
                planned = max(n_blocks, len(card.shards)) * self.rows * self.model.context
                self.progress(
                    GenerationProgress(teacher=self.teacher.label, split=split, tokens=card.tokens, n_tokens=planned)
                )
        return card

    def _write_block(self, folder: Path, card: Card, seed: int, block: int) -> Card:
        key = jax.random.key(seed & 0xFFFFFFFF)
        for part in (PURPOSES[card.split], block):
            key = jax.random.fold_in(key, part)
        tokens = sample_sequences(
            self.student,
            key,
            n_sequences=self.rows,
            length=self.model.context,
            bos=self.model.vocab_size - 1,
            decoding=self.decoding,
        )
        shard = write_shard(folder, block, np.asarray(tokens), card.dtype)
        card = replace(card, shards=(*card.shards[:block], shard, *card.shards[block + 1 :]))
        write_card(folder, card)
        return card

    @property
    def student(self) -> Student:
        if self._student is None:
            self._student = load_student(self.store.student_dir(self.teacher.run.run_id), self.model)
        return self._student

    def _new_card(self, split: Split) -> Card:
        source = self.teacher.run.data.source
        tokenizer = open_tokenizer(source, self.store)
        return Card(
            text="teacher",
            split=split,
            source=source.label,
            vocab_size=self.model.vocab_size,
            tokenizer=tokenizer.hash,
            teacher=self.teacher.label,
            teacher_run=self.teacher.run.run_id,
            teacher_loss=self.record.outcome.loss if self.decoding == Decoding() else None,
            decoding={
                "temperature": self.decoding.temperature,
                "top_k": self.decoding.top_k,
                "top_p": self.decoding.top_p,
            },
            sequence_tokens=self.model.context,
            notice=f"Written by a language model that was trained on: {source.label}.",
        )


def rows_per_block(model: ModelSpec) -> int:
    """Sequences written side by side, a power of two that keeps keys and values within ``CACHE_BYTES``."""
    row = 2 * 4 * model.n_layers * model.n_kv_heads * model.head_width * model.context
    return 1 << min(MAX_ROWS, max(1, CACHE_BYTES // row)).bit_length() - 1


def _teacher_tokens(n_tokens: int, context: int, teacher: ModelSpec) -> int:
    """Tokens that a teacher must write so that a student with another context finds ``n_tokens`` in them."""
    pieces = teacher.context // context
    return -(-n_tokens // (pieces * context)) * teacher.context


def _finished_run(teacher: TrainedTeacher, spec: RunSpec, store: RunStore) -> RunRecord:
    run = teacher.run
    if run.data.source.kind != "text" or run.data.source.tokenizer != spec.data.source.tokenizer:
        raise DataError(
            f"teacher {run.run_id} writes tokens of {_tokens_of(run)}, the student reads {_tokens_of(spec)}; "
            "give both the same source and tokenizer"
        )
    if run.model.context < spec.model.context:
        raise DataError(
            f"teacher {run.run_id} has a context of {run.model.context} tokens, the student one of "
            f"{spec.model.context}; give the student at most the teacher's context"
        )
    if not store.has(run.run_id):
        raise DataError(f"teacher {run.run_id} is not trained yet; train it first (`scaling sweep` does so)")
    record = store.load(run.run_id)
    if record.outcome.status != "done":
        raise DataError(
            f"teacher {run.run_id} ended as {record.outcome.status}; change its run (a lower optim.lr, for example) "
            "so that it trains to its end"
        )
    return record


def _tokens_of(spec: RunSpec) -> str:
    source = spec.data.source
    return f"{source.label} by {source.tokenizer.kind} {source.vocab_size}" if source.kind == "text" else source.label
