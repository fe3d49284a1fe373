"""Who writes a teacher's text, one block of sequences at a time, each a function of seed, split and number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from functools import cached_property
from typing import Protocol

import jax
import numpy as np

from scaling.data.counter import generator
from scaling.data.evaluation import EvalSet, evaluation_sets
from scaling.data.pretrained import GgufTokenizer, file_fingerprint, model_file, model_header
from scaling.data.shards import Card
from scaling.data.text import Split, open_text, open_tokenizer
from scaling.errors import DataError
from scaling.formats.gguf import read_gguf
from scaling.records import RunRecord, RunStore
from scaling.spec import ModelSpec, PretrainedTeacher, RealTeacher, RunSpec, SoftTargets, TokenTargets, TrainedTeacher
from scaling.teach.net import NetAuthor
from scaling.teach.ngram import Ngram, train_ngram
from scaling.teach.targets import model_records
from scaling.train.checkpoint import load_student
from scaling.train.decode import Decoding, sample_sequences
from scaling.train.evaluate import evaluate
from scaling.train.model import Student, from_tensors
from scaling.train.net import finished_teacher

MAX_ROWS = 256
"""Sequences that a trained teacher writes side by side; more gain nothing on a processor."""
CACHE_BYTES = 1 << 29
"""Keys and values of one block, at most."""
PURPOSES = {"train": 0, "held_out": 1, "targets": 2}
"""What random numbers are for."""


class Author(Protocol):
    """A teacher at work."""

    rows: int
    """Sequences of one block."""
    context: int
    """Tokens of one sequence."""

    def write(self, seed: int, split: Split, block: int) -> np.ndarray:
        """One block: int32[rows, context]."""
        ...

    def card(self, split: Split) -> Card:
        """What is known of the text before it is written."""
        ...


class ModelAuthor(ABC):
    """A language model at its desk; its weights are loaded when the first block is missing."""

    def __init__(self, model: ModelSpec, *, bos: int, teacher: TrainedTeacher | PretrainedTeacher):
        self.model, self.bos = model, bos
        self.decoding = Decoding(teacher.temperature, teacher.top_k, teacher.top_p)
        self.rows, self.context = rows_per_block(model), model.context

    def write(self, seed: int, split: Split, block: int) -> np.ndarray:
        key = _key(seed, PURPOSES[split], block)
        tokens = sample_sequences(
            self.student, key, n_sequences=self.rows, length=self.context, bos=self.bos, decoding=self.decoding
        )
        return np.asarray(tokens)

    def judge(self, sequences: np.ndarray, targets: SoftTargets, seed: int, block: int) -> np.ndarray:
        """What the model thinks of a block that it wrote: record[rows, context]."""
        return model_records(self.student, sequences, targets, _key(seed, PURPOSES["targets"], block), bos=self.bos)

    @property
    @abstractmethod
    def student(self) -> Student:
        """The model with its weights."""

    @property
    def samples_itself(self) -> bool:
        """True where decoding leaves the model's own distribution as it is: its loss says what its text costs."""
        return self.decoding == Decoding()


def open_author(spec: RunSpec, store: RunStore) -> Author:
    """The author of the text that a run reads.

    Raises:
        DataError: if its teacher cannot write what the student reads.
    """
    authors = {"net": NetAuthor, "ngram": NgramAuthor, "pretrained": PretrainedAuthor, "trained": TrainedAuthor}
    return authors[spec.data.teacher.kind](spec, store)


class TrainedAuthor(ModelAuthor):
    """A language model trained by the framework."""

    def __init__(self, spec: RunSpec, store: RunStore):
        self.teacher, self.store = spec.data.teacher, store
        self.record = _finished_run(spec, store)
        model = self.teacher.run.model
        eos = open_tokenizer(spec.data.source, store).eos_id
        super().__init__(model, bos=eos, teacher=self.teacher)

    def card(self, split: Split) -> Card:
        source = self.teacher.run.data.source
        return Card(
            text="teacher",
            split=split,
            source=source.label,
            vocab_size=self.model.vocab_size,
            tokenizer=open_tokenizer(source, self.store).hash,
            eos_id=self.bos,
            teacher=self.teacher.label,
            teacher_run=self.teacher.run.run_id,
            teacher_loss=self.record.outcome.loss if self.samples_itself else None,
            decoding=asdict(self.decoding),
            sequence_tokens=self.context,
            notice=f"Written by a language model that was trained on: {source.label}.",
        )

    @cached_property
    def student(self) -> Student:
        return load_student(self.store.student_dir(self.teacher.run.run_id), self.model)


class PretrainedAuthor(ModelAuthor):
    """A model that somebody else trained; it writes in sequences of its student's context.

    Its loss on the student's real held-out text is measured before it writes, which for a large model takes a while.
    """

    def __init__(self, spec: RunSpec, store: RunStore):
        teacher = spec.data.teacher
        self.spec, self.store = spec, store
        self.path = model_file(teacher.file, teacher.fingerprint)
        self.header = model_header(self.path)
        tokenizer = open_tokenizer(spec.data.source, store)
        if GgufTokenizer(self.header.tokenizer).hash != tokenizer.hash:
            raise DataError(
                f"{self.path} has other tokens than the source, which is cut by {spec.data.source.tokenizer.file}; "
                f"set data.source.tokenizer.file to {teacher.file}"
            )
        if self.header.model.context < spec.model.context:
            raise DataError(
                f"{self.path} reads {self.header.model.context} tokens at most, the student has a context of "
                f"{spec.model.context}; lower model.context"
            )
        model = self.header.model.model_copy(update={"context": spec.model.context})
        super().__init__(model, bos=tokenizer.eos_id, teacher=teacher)

    def card(self, split: Split) -> Card:
        source, name = self.spec.data.source, self.header.name or self.path.name
        return Card(
            text="teacher",
            split=split,
            source=source.label,
            vocab_size=self.model.vocab_size,
            tokenizer=open_tokenizer(source, self.store).hash,
            eos_id=self.bos,
            teacher=self.spec.data.teacher.label,
            teacher_file=file_fingerprint(self.path),
            teacher_loss=self._loss if self.samples_itself else None,
            decoding=asdict(self.decoding),
            sequence_tokens=self.context,
            notice=f"Written by the language model {name} (license of the model: {self.header.license or 'not said'}).",
        )

    @cached_property
    def student(self) -> Student:
        return from_tensors(self.model, read_gguf(self.path).tensors)

    @cached_property
    def _loss(self) -> float:
        return evaluate(self.student, _real_held_out(self.spec, self.store)).loss


class NgramAuthor:
    """An n-gram model of the source's training part; counted when it is first needed, which takes seconds."""

    rows = 1024

    def __init__(self, spec: RunSpec, store: RunStore):
        self.spec, self.store = spec, store
        self.context = spec.model.context

    def write(self, seed: int, split: Split, block: int) -> np.ndarray:
        return self._model.sample(generator(seed, f"ngram {split}", block), self.rows, self.context)

    def card(self, split: Split) -> Card:
        source = self.spec.data.source
        return Card(
            text="teacher",
            split=split,
            source=source.label,
            vocab_size=source.vocab_size,
            tokenizer=open_tokenizer(source, self.store).hash,
            teacher=self.spec.data.teacher.label,
            teacher_loss=self._loss(),
            decoding=asdict(Decoding()),
            sequence_tokens=self.context,
            notice=f"Written by an n-gram model of: {source.label}.",
        )

    @cached_property
    def _model(self) -> Ngram:
        source = self.spec.data.source
        texts = open_text(source, "train", self.store).maps
        return train_ngram(texts, source.vocab_size, self.spec.data.teacher.order)

    def _loss(self) -> float:
        """Loss on the real held-out set that its students are measured on, nats/token."""
        real = _real_held_out(self.spec, self.store)
        return -float(np.mean([self._model.log_probs(sequences).mean() for sequences in real.sequences]))


def _key(seed: int, purpose: int, block: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed & 0xFFFFFFFF), purpose), block)


def rows_per_block(model: ModelSpec) -> int:
    """Sequences written side by side, a power of two that keeps keys and values within ``CACHE_BYTES``."""
    row = 2 * 4 * model.n_layers * model.n_kv_heads * model.head_width * model.context
    return 1 << min(MAX_ROWS, max(1, CACHE_BYTES // row)).bit_length() - 1


def _real_held_out(spec: RunSpec, store: RunStore) -> EvalSet:
    """The real text that a run's students are measured on."""
    data = spec.data.model_copy(update={"teacher": RealTeacher(), "targets": TokenTargets()})
    return evaluation_sets(spec.model_copy(update={"data": data}), store).real


def _finished_run(spec: RunSpec, store: RunStore) -> RunRecord:
    """The record of a trained teacher that can serve a student."""
    run = spec.data.teacher.run
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
    return finished_teacher(spec, store)


def _tokens_of(spec: RunSpec) -> str:
    source = spec.data.source
    return f"{source.label} by {source.tokenizer.kind} {source.vocab_size}" if source.kind == "text" else source.label
