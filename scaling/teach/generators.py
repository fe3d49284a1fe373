"""Generators of a teacher's text, by the kind of teacher: models, trained here or elsewhere, and n-grams."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from typing import TypeVar

import jax
import numpy as np

from scaling.accounting import kv_cache_bytes
from scaling.data.counter import random_at
from scaling.data.eval_sets import EvalSet
from scaling.data.evaluation import evaluation_sets
from scaling.data.pretrained import GgufTokenizer, file_fingerprint, model_file, model_header
from scaling.data.shards import Card
from scaling.data.text import Split, open_text, open_tokenizer
from scaling.errors import DataError
from scaling.formats.gguf import read_gguf
from scaling.records import RunRecord, RunStore
from scaling.registry import Registry
from scaling.spec import (
    ModelSpec,
    ModelTeacher,
    NgramTeacher,
    PretrainedTeacher,
    RealTeacher,
    RunSpec,
    SoftTargets,
    Teacher,
    TextSource,
    TokenTargets,
    TrainedTeacher,
)
from scaling.teach.blocks import PURPOSES, BlockGenerator
from scaling.teach.ngram import Ngram, train_ngram
from scaling.teach.rules import RulesText
from scaling.teach.student import StudentText
from scaling.teach.targets import model_records
from scaling.train.decode import Decoding, sample_sequences
from scaling.train.evaluate import evaluate
from scaling.train.finished import finished_student
from scaling.train.generator import finished_teacher
from scaling.train.model import Student, from_tensors

MAX_ROWS = 256
"""Sequences that a model generates side by side; more gain nothing on a processor."""
CACHE_BYTES = 1 << 29
"""Keys and values of one block, at most."""

GENERATORS: Registry[Callable[[RunSpec, RunStore], BlockGenerator]] = Registry(
    "generator of a teacher's text", group="scaling.generators", error=DataError
)
"""What generates the stored text that a run reads, by the kind of its teacher."""

GENERATORS.add("net", StudentText)
GENERATORS.add("rules", RulesText)


def open_text_generator(spec: RunSpec, store: RunStore) -> BlockGenerator:
    """The generator of the text that a run reads.

    Raises:
        DataError: if its teacher cannot generate what the student reads.
    """
    return GENERATORS[spec.data.teacher.kind](spec, store)


class ModelText(BlockGenerator):
    """Text of a language model; its weights are loaded when the first block is missing."""

    def __init__(self, model: ModelSpec, *, bos: int, teacher: ModelTeacher):
        self.model, self.bos = model, bos
        self.decoding = Decoding(teacher.temperature, teacher.top_k, teacher.top_p)
        self.rows, self.context = rows_per_block(model), model.context

    def block(self, seed: int, split: Split, number: int) -> np.ndarray:
        key = _key(seed, PURPOSES[split], number)
        tokens = sample_sequences(
            self.student, key, n_sequences=self.rows, length=self.context, bos=self.bos, decoding=self.decoding
        )
        return np.asarray(tokens)

    def soft_targets(self, sequences: np.ndarray, targets: SoftTargets, seed: int, number: int) -> np.ndarray:
        return model_records(self.student, sequences, targets, _key(seed, PURPOSES["targets"], number), bos=self.bos)

    @property
    @abstractmethod
    def student(self) -> Student:
        """The model with its weights."""

    @property
    def samples_itself(self) -> bool:
        """True where decoding leaves the model's own distribution as it is: its loss says what its text costs."""
        return self.decoding == Decoding()


@GENERATORS.register("trained")
class TrainedText(ModelText):
    """Text of a language model trained by the framework."""

    def __init__(self, spec: RunSpec, store: RunStore):
        source, self.teacher = _text_and_teacher(spec, TrainedTeacher)
        written = self.teacher.writes(source)
        # The specification has checked that it is text; its tokens may be others than the student's.
        self.source = written if isinstance(written, TextSource) else source
        self.store, self.record = store, _finished_run(spec, self.teacher.run, store)
        self.tokenizer = open_tokenizer(self.source, store)
        super().__init__(self.teacher.run.model, bos=self.tokenizer.eos_id, teacher=self.teacher)

    def card(self, split: Split) -> Card:
        source = self.source
        return Card(
            text="teacher",
            split=split,
            source=source.label,
            vocab_size=self.model.vocab_size,
            tokenizer=self.tokenizer.hash,
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
        return finished_student(self.teacher.run, self.store, role="teacher")


@GENERATORS.register("pretrained")
class PretrainedText(ModelText):
    """Text of a model that somebody else trained, in sequences of its student's context.

    Its loss on the student's real held-out text is measured before it generates, which for a large model takes a while.
    """

    def __init__(self, spec: RunSpec, store: RunStore):
        self.source, teacher = _text_and_teacher(spec, PretrainedTeacher)
        self.spec, self.store = spec, store
        self.path = model_file(teacher.file, teacher.fingerprint)
        self.header = model_header(self.path)
        self.tokenizer = open_tokenizer(self.source, store)
        if GgufTokenizer(self.header.tokenizer).hash != self.tokenizer.hash:
            raise DataError(
                f"{self.path} has other tokens than the source, which is cut by {self.source.tokenizer.file}; "
                f"set data.source.tokenizer.file to {teacher.file}"
            )
        if self.header.model.context < spec.model.context:
            raise DataError(
                f"{self.path} reads {self.header.model.context} tokens at most, the student has a context of "
                f"{spec.model.context}; lower model.context"
            )
        model = self.header.model.model_copy(update={"context": spec.model.context})
        super().__init__(model, bos=self.tokenizer.eos_id, teacher=teacher)

    def card(self, split: Split) -> Card:
        name = self.header.name or self.path.name
        return Card(
            text="teacher",
            split=split,
            source=self.source.label,
            vocab_size=self.model.vocab_size,
            tokenizer=self.tokenizer.hash,
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


@GENERATORS.register("ngram")
class NgramText(BlockGenerator):
    """Text of an n-gram model of the source's training part; counted when it is first needed, which takes seconds."""

    rows = 1024

    def __init__(self, spec: RunSpec, store: RunStore):
        self.source, self.teacher = _text_and_teacher(spec, NgramTeacher)
        self.spec, self.store = spec, store
        self.context = spec.model.context

    def block(self, seed: int, split: Split, number: int) -> np.ndarray:
        return self._model.sample(random_at(seed, f"ngram {split}", number), self.rows, self.context)

    def card(self, split: Split) -> Card:
        source = self.source
        return Card(
            text="teacher",
            split=split,
            source=source.label,
            vocab_size=source.vocab_size,
            tokenizer=open_tokenizer(source, self.store).hash,
            teacher=self.teacher.label,
            teacher_loss=self._loss(),
            decoding=asdict(Decoding()),
            sequence_tokens=self.context,
            notice=f"Written by an n-gram model of: {source.label}.",
        )

    @cached_property
    def _model(self) -> Ngram:
        texts = open_text(self.source, "train", self.store).maps
        return train_ngram(texts, self.source.vocab_size, self.teacher.order)

    def _loss(self) -> float:
        """Loss on the real held-out set that its students are measured on, nats/token."""
        real = _real_held_out(self.spec, self.store)
        return -float(np.mean([self._model.log_probs(sequences).mean() for sequences in real.sequences]))


def _key(seed: int, purpose: int, block: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed & 0xFFFFFFFF), purpose), block)


def rows_per_block(model: ModelSpec) -> int:
    """Sequences generated side by side, a power of two that keeps keys and values within ``CACHE_BYTES``."""
    row = kv_cache_bytes(model, model.context, value_bytes=4)
    return 1 << min(MAX_ROWS, max(1, CACHE_BYTES // row)).bit_length() - 1


T = TypeVar("T", bound=Teacher)


def _text_and_teacher(spec: RunSpec, kind: type[T]) -> tuple[TextSource, T]:
    """The source and the teacher of a run whose teacher is a model of text; the specification has checked both."""
    source, teacher = spec.data.source, spec.data.teacher
    if not isinstance(source, TextSource) or not isinstance(teacher, kind):
        raise DataError(f"a {teacher.kind} teacher of {source.label} is no model of text; give another teacher")
    return source, teacher


def _real_held_out(spec: RunSpec, store: RunStore) -> EvalSet:
    """The real text that a run's students are measured on."""
    data = spec.data.model_copy(update={"teacher": RealTeacher(), "targets": TokenTargets()})
    return evaluation_sets(spec.model_copy(update={"data": data}), store).real


def _finished_run(spec: RunSpec, run: RunSpec, store: RunStore) -> RunRecord:
    """The record of a trained teacher that can serve a student."""
    if run.model.context < spec.model.context:
        raise DataError(
            f"teacher {run.run_id} has a context of {run.model.context} tokens, the student one of "
            f"{spec.model.context}; give the student at most the teacher's context"
        )
    return finished_teacher(spec, store)
