"""The author of a ``net`` teacher: a student of a world, writing whole sequences for other students of it."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property

import numpy as np

from scaling.data.shards import Card
from scaling.data.text import Split
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.train.decode import Decoding
from scaling.train.net import BLOCK, Net, finished_teacher, open_net

PURPOSES: dict[Split, int] = {"train": 0, "held_out": 1}
"""What random numbers are for."""


class NetAuthor:
    """A student of a world at its desk; its weights are loaded when the first block is missing."""

    rows = BLOCK

    def __init__(self, spec: RunSpec, store: RunStore):
        self.spec, self.store = spec, store
        self.record = finished_teacher(spec, store)
        self.context = spec.model.context

    def write(self, seed: int, split: Split, block: int) -> np.ndarray:
        return self._net.block(seed, PURPOSES[split], block)

    def card(self, split: Split) -> Card:
        source, teacher = self.spec.data.source, self.spec.data.teacher
        return Card(
            text="teacher",
            split=split,
            source=source.label,
            vocab_size=source.vocab_size,
            tokenizer=f"symbols of {source.label}",
            teacher=teacher.label,
            teacher_run=teacher.run.run_id,
            teacher_loss=self.record.outcome.loss,
            decoding=asdict(Decoding()),
            sequence_tokens=self.context,
            notice=f"Written by a student of the world {source.label}.",
        )

    @cached_property
    def _net(self) -> Net:
        return open_net(self.spec, self.store)
