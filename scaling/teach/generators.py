"""Generators of a teacher's text, by the kind of teacher: models, trained here or elsewhere, and n-grams."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TypeVar

import jax.numpy as jnp
import numpy as np

from scaling.accounting import kv_cache_bytes
from scaling.data.counter import random_at
from scaling.data.eval_sets import EvalSet
from scaling.data.evaluation import evaluation_sets
from scaling.data.pretrained import GgufTokenizer, file_fingerprint, model_file, model_header
from scaling.data.sequences import TextSequences
from scaling.data.shards import Card
from scaling.data.text import Split, measured_on, open_text, open_tokenizer
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
from scaling.teach.recut import padded, translated_rows, translated_set, whole_words, windows
from scaling.teach.rules import RulesText
from scaling.teach.student import StudentText
from scaling.teach.targets import model_records
from scaling.train.evaluate import evaluate
from scaling.train.finished import finished_student
from scaling.train.runtime import accelerator_bytes
from scaling.train.student.decode import FREE, Decoding, sample_sequences
from scaling.train.student.generator import block_key, finished_teacher
from scaling.train.student.model import Student, from_tensors

MAX_ROWS = 256
"""Sequences that a model generates side by side; more gain nothing on a processor."""
CACHE_BYTES = 1 << 30
"""Keys and values of one block, at most."""
ROWS_TOGETHER = 2048
"""Sequences that an accelerator writes side by side, at most: a step of few ends before the next is launched."""
CACHE_SHARE = 1 / 3
"""Of an accelerator's memory that their keys and values may fill."""
RECUT_LENGTH = 2
"""Contexts of its students that a teacher of larger tokens writes at once, in its own tokens: the end of what it wrote,
which fills no context, is not read, and the longer a sequence the less that is."""

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

    @property
    def at_once(self) -> int:
        limit = accelerator_bytes()
        return 1 if limit is None else blocks_together(self.model, self.rows, limit)

    def block(self, seed: int, split: Split, number: int) -> np.ndarray:
        return next(iter(self.blocks(seed, split, [number])))

    def blocks(self, seed: int, split: Split, numbers: Sequence[int]) -> Iterable[np.ndarray]:
        return self._sampled(seed, split, numbers)

    def _sampled(self, seed: int, split: Split, numbers: Sequence[int], given: np.ndarray | None = None) -> np.ndarray:
        """Blocks as the model writes them, going on from what is given: int32[n, rows, T], in the model's tokens."""
        tokens = sample_sequences(
            self.student,
            jnp.stack([block_key(seed, PURPOSES[split], number) for number in numbers]),
            n_sequences=self.rows,
            length=self.model.context,
            bos=self.bos,
            decoding=self.decoding,
            given=given,
        )
        return np.asarray(tokens).reshape(len(numbers), self.rows, -1)

    def soft_targets(self, sequences: np.ndarray, targets: SoftTargets, seed: int, number: int) -> np.ndarray:
        return model_records(
            self.student, sequences, targets, block_key(seed, PURPOSES["targets"], number), bos=self.bos
        )

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
        self.spec, self.store, self.record = spec, store, _finished_run(spec, self.teacher.run, store)
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
            decoding=asdict(self.decoding),
            sequence_tokens=self.context,
            notice=f"Written by a language model that was trained on: {source.label}.",
        )

    @property
    def loss(self) -> float | None:
        # In other tokens than its students' its loss says nothing of them.
        if not self.samples_itself or self.spec.data.is_recut:
            return None
        source, run = _text_and_teacher(self.spec, TrainedTeacher)[0], self.teacher.run
        if measured_on(self.spec, source) == measured_on(run, self.source):
            return self.record.outcome.loss
        return evaluate(self.student, _real_held_out(self.spec, self.store)).loss

    @cached_property
    def student(self) -> Student:
        return finished_student(self.teacher.run, self.store, role="teacher")


@GENERATORS.register("pretrained")
class PretrainedText(ModelText):
    """Text of a model that somebody else trained, in sequences of its student's context and in its student's tokens.

    Its loss on the student's real held-out text, a token of the student's, takes a while to measure for a large model.
    """

    def __init__(self, spec: RunSpec, store: RunStore):
        self.source, self.teacher = _text_and_teacher(spec, PretrainedTeacher)
        self.spec, self.store = spec, store
        self.path = model_file(self.teacher.file, self.teacher.fingerprint)
        self.header = model_header(self.path)
        self.own, self.read = GgufTokenizer(self.header.tokenizer), open_tokenizer(self.source, store)
        self.is_recut = self.source.tokenizer.kind != "gguf"
        if not self.is_recut and self.own.hash != self.read.hash:
            raise DataError(
                f"{self.path} has other tokens than the source, which is cut by {self.source.tokenizer.file}; "
                f"set data.source.tokenizer.file to {self.teacher.file}"
            )
        length = spec.model.context * (RECUT_LENGTH if self.is_recut else 1) + self.teacher.prompt_tokens
        if self.header.model.context < length:
            raise DataError(
                f"{self.path} reads {self.header.model.context} tokens at most, the student has a context of "
                f"{spec.model.context}, for which {length} are written at once; lower model.context or prompt_tokens"
            )
        model = self.header.model.model_copy(update={"context": length})
        super().__init__(model, bos=self.own.eos_id, teacher=self.teacher)
        self.context = spec.model.context

    def blocks(self, seed: int, split: Split, numbers: Sequence[int]) -> Iterable[np.ndarray]:
        prompts = [self._prompts(seed, split, number) for number in numbers]
        given = padded([one for block in prompts for one in block], self.model.context, int(FREE))
        for whole, own in zip(self._sampled(seed, split, numbers, given), prompts, strict=True):
            yield self._in_tokens_of_the_student([row[len(one) :] for row, one in zip(whole, own, strict=True)])

    def _in_tokens_of_the_student(self, written: Sequence[np.ndarray]) -> np.ndarray:
        if not self.is_recut:
            return np.stack([row[: self.context] for row in written])
        found = windows(translated_rows(written, self.own, self.read), self.context)
        if not len(found):
            raise DataError(
                f"{self.teacher.label}: none of {self.rows} sequences that it wrote fills a context of {self.context} "
                f"tokens of {self.source.cut}; lower model.context"
            )
        return found

    def card(self, split: Split) -> Card:
        name = self.header.name or self.path.name
        recut = f" Written in tokens of its own, cut anew into those of {self.source.cut}." if self.is_recut else ""
        prompted = f" It goes on from text of {self.source.label}." if self.teacher.prompt_tokens else ""
        terms = f"license of the model: {self.header.license or 'not said'}"
        return Card(
            text="teacher",
            split=split,
            source=self.source.label,
            vocab_size=self.source.vocab_size,
            tokenizer=self.read.hash,
            eos_id=self.read.eos_id,
            teacher=self.teacher.label,
            teacher_file=file_fingerprint(self.path),
            recut_from=self.own.hash if self.is_recut else None,
            decoding=asdict(self.decoding),
            sequence_tokens=self.context,
            notice=f"Written by the language model {name} ({terms}).{recut}{prompted}",
        )

    @cached_property
    def student(self) -> Student:
        return from_tensors(self.model, read_gguf(self.path).tensors)

    @property
    def loss(self) -> float | None:
        if not self.samples_itself:
            return None
        real = _real_held_out(self.spec, self.store)
        if not self.is_recut:
            return evaluate(self.student, real).loss
        own = translated_set(real, self.read, self.own)
        return evaluate(self.student, own).loss * own.n_scored / real.n_scored

    def _prompts(self, seed: int, split: Split, number: int) -> list[np.ndarray]:
        """What the sequences of a block go on from, in the teacher's tokens; nothing at all where it writes freely."""
        longest = self.teacher.prompt_tokens
        if not longest:
            return [np.empty(0, np.int32)] * self.rows
        real = TextSequences(open_text(self.source, split, self.store), longest, seed)
        found = real.read(number * self.rows, self.rows)
        return [prompt[:longest] for prompt in whole_words(found, self.read, self.own)]


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
            decoding=asdict(Decoding()),
            sequence_tokens=self.context,
            notice=f"Written by an n-gram model of: {source.label}.",
        )

    @cached_property
    def _model(self) -> Ngram:
        texts = open_text(self.source, "train", self.store).maps
        return train_ngram(texts, self.source.vocab_size, self.teacher.order)

    @property
    def loss(self) -> float:
        real = _real_held_out(self.spec, self.store)
        return -float(np.mean([self._model.log_probs(sequences).mean() for sequences in real.sequences]))


def rows_per_block(model: ModelSpec) -> int:
    """Sequences generated side by side, a power of two that keeps keys and values within ``CACHE_BYTES``."""
    row = kv_cache_bytes(model, model.context, value_bytes=4)
    return 1 << min(MAX_ROWS, max(1, CACHE_BYTES // row)).bit_length() - 1


def blocks_together(model: ModelSpec, rows: int, memory: int) -> int:
    """Blocks of so many rows that an accelerator with so many bytes writes side by side, a power of two."""
    fitting = int(CACHE_SHARE * memory / kv_cache_bytes(model, model.context, value_bytes=4))
    return 1 << max(1, min(ROWS_TOGETHER, fitting) // rows).bit_length() - 1


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
