"""The generator of a teacher that is a student of a world: it writes whole sequences for other students of it."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property

import numpy as np

from scaling.data.shards import Card
from scaling.data.text import Split
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.teach.blocks import PURPOSES, BlockGenerator
from scaling.train.student.decode import Decoding
from scaling.train.student.generator import BLOCK, StudentGenerator, finished_teacher, open_student


class StudentText(BlockGenerator):
    """Text of a student of a world; its weights are loaded when the first block is missing."""

    rows = BLOCK

    def __init__(self, spec: RunSpec, store: RunStore):
        self.spec, self.store = spec, store
        self.record = finished_teacher(spec, store)
        self.context = spec.model.context

    def block(self, seed: int, split: Split, number: int) -> np.ndarray:
        return self._student.block(seed, PURPOSES[split], number)

    def card(self, split: Split) -> Card:
        source = self.spec.data.source
        return Card(
            text="teacher",
            split=split,
            source=source.label,
            vocab_size=source.vocab_size,
            tokenizer=f"symbols of {source.label}",
            teacher=self.spec.data.teacher.label,
            teacher_run=self.record.spec.run_id,
            teacher_loss=self.record.outcome.loss,
            decoding=asdict(Decoding()),
            sequence_tokens=self.context,
            notice=f"Written by a student of the world {source.label}.",
        )

    @cached_property
    def _student(self) -> StudentGenerator:
        return open_student(self.spec, self.store)
