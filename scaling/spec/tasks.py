"""Tasks as sources: questions with one right answer each, divided by what the training part never shows."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from scaling.spec.sources import Source


class TaskSource(Source):
    """A task: a sequence is a question and its answer, and only the answer counts in the loss.

    Each has its examples in a file of ``scaling/data/tasks/``, registered there under the same ``kind``.
    """

    split: str
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the questions to learn from that is asked instead: how a student does on the kind it has learned."""

    @property
    @abstractmethod
    def n_words(self) -> int:
        """Words of questions and answers."""

    @property
    @abstractmethod
    def sequence_tokens(self) -> int:
        """Tokens of one sequence, which a model's context must equal."""

    @property
    def vocab_size(self) -> int:
        """The words, then what stands before the answer, what ends it, and what begins a sequence and fills it up."""
        return self.n_words + 3

    @property
    def label(self) -> str:
        return f"{self.kind} {self.split}"


@Source.add_kind
class ScanSource(TaskSource):
    """SCAN: commands and the actions they mean (scaling/data/tasks/scan.py)."""

    kind: Literal["scan"]
    split: Literal[
        "simple",
        "length",
        "jump",
        "turn_left",
        "jump_around_right",
        "around_right",
        "opposite_right",
        "primitive_right",
        "filler_0",
        "filler_1",
        "filler_2",
        "filler_3",
    ] = "simple"

    @property
    def n_words(self) -> int:
        """13 of commands, 6 actions."""
        return 19

    @property
    def sequence_tokens(self) -> int:
        """The longest command and its actions have 59 with their marks."""
        return 64


@Source.add_kind
class PcfgSetSource(TaskSource):
    """PCFG SET: strings rewritten by nested functions (scaling/data/tasks/pcfg_set.py)."""

    kind: Literal["pcfg_set"]
    split: Literal[
        "random",
        "systematicity",
        "productivity",
        "localism",
        "substitutivity",
        "substitutivity_primitive",
        "overgeneralisation",
    ] = "random"
    n_examples: Annotated[int, Field(ge=100, le=1_000_000)] = 50_000
    """Questions drawn, before they are divided."""
    letters: Annotated[int, Field(ge=2, le=520)] = 520
    """Of the strings' alphabet."""
    context: Annotated[int, Field(ge=32)] = 96
    """Tokens of one sequence; a longer question is not drawn."""
    seed: int = 0
    """Of the questions, not of their order."""

    @property
    def n_words(self) -> int:
        """The letters, ten functions, second names of four of them, and the comma."""
        return self.letters + 15

    @property
    def sequence_tokens(self) -> int:
        return self.context
