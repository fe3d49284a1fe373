"""A task as tokens: what a student reads of it, and what it is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from scaling.data.counter import shuffled
from scaling.data.sequences import Sequences
from scaling.data.tasks.example import Example, Paraphrase, Split
from scaling.errors import DataError
from scaling.registry import Registry
from scaling.spec import TaskSource


@dataclass(frozen=True)
class Language:
    """What a task is made of.

    Attributes:
        words: All words of questions and answers; a word's place is its token.
        split: Its examples.
    """

    words: tuple[str, ...]
    split: Split


LANGUAGES: Registry[Callable[..., Language]] = Registry(
    "task", package="scaling.data.tasks", group="scaling.tasks", error=DataError
)
"""By ``kind`` of a TaskSource: its language."""


@dataclass(frozen=True)
class Task:
    """A task as tokens: ``question OUT answer END``, filled up with BOS, which also begins a sequence.

    Attributes:
        words: Of the language; behind them come OUT, END and BOS.
        taught: int32[n, T], sequences to learn from.
        asked: int32[m, T], others of the same kind, never learned from.
        test: int32[k, T], of the kind that is kept from training.
        exceptions: int32[j, T], those of ``taught`` that break a rule.
        paraphrases: Questions, each beside another way to ask it.
    """

    words: tuple[str, ...]
    taught: np.ndarray
    asked: np.ndarray
    test: np.ndarray
    exceptions: np.ndarray
    paraphrases: tuple[Paraphrase, ...]

    @property
    def out(self) -> int:
        """What stands between question and answer."""
        return len(self.words)

    @property
    def end(self) -> int:
        """What ends an answer."""
        return len(self.words) + 1

    @property
    def bos(self) -> int:
        """What begins a sequence, and fills it up."""
        return len(self.words) + 2

    def is_answer(self, sequences: np.ndarray) -> np.ndarray:
        """bool[..., T], the positions of the answer, its end included."""
        is_out = sequences == self.out
        return (np.cumsum(is_out, axis=-1) > 0) & ~is_out & (sequences != self.bos)


@lru_cache(maxsize=4)
def open_task(source: TaskSource) -> Task:
    """The task that a source names; always the same tokens in the same order.

    Raises:
        DataError: an example is longer than the source's context, or the split has nothing to ask.
    """
    language = LANGUAGES[source.kind](source)
    if len(language.words) != source.n_words:
        raise DataError(f"task {source.label} has {len(language.words)} words, its source says {source.n_words}")
    split = language.split
    taught, asked = _held_out(split, source.held_out)
    if not (taught and asked and split.test):
        raise DataError(f"task {source.label}: too few examples to learn from, or to ask; draw more, or hold out more")
    words, length = language.words, source.sequence_tokens
    return Task(
        words,
        taught=_tokens(taught, words, length),
        asked=_tokens(asked, words, length),
        test=_tokens(split.test, words, length),
        exceptions=_tokens(split.exceptions, words, length),
        paraphrases=split.paraphrases,
    )


def _held_out(split: Split, share: float) -> tuple[list[Example], list[Example]]:
    """Those to learn from, and a share of the different ones that is asked; what is there on purpose stays."""
    kept = {one for one, count in Counter(split.train).items() if count > 1}.union(split.exceptions)
    once = [one for one in split.train if one not in kept]
    order = np.random.default_rng(len(once)).permutation(len(once))
    asked = {once[i] for i in order[: round(share * len(once))]}
    return [one for one in split.train if one not in asked], [one for one in once if one in asked]


def _tokens(examples: Sequence[Example], words: tuple[str, ...], context: int) -> np.ndarray:
    place = {word: i for i, word in enumerate(words)}
    out, end, bos = range(len(words), len(words) + 3)
    tokens = np.full((len(examples), context), bos, np.int32)
    for row, one in zip(tokens, examples, strict=True):
        sequence = [*(place[word] for word in one.question), out, *(place[word] for word in one.answer), end]
        if len(sequence) > context:
            raise DataError(f"{len(sequence)} tokens of {one} do not fit a context of {context}")
        row[: len(sequence)] = sequence
    return tokens


@dataclass(frozen=True)
class TaskSequences(Sequences):
    """The examples of a task in shuffled order, anew in every epoch."""

    task: Task
    seed: int

    @property
    def bos(self) -> int:
        return self.task.bos

    @property
    def context(self) -> int:
        return self.task.taught.shape[1]

    @property
    def n_distinct(self) -> int:
        return len(self.task.taught)

    def at(self, index: np.ndarray) -> np.ndarray:
        return self.task.taught[shuffled(index, self.n_distinct, seed=self.seed, purpose="task order")[1]]

    def targets(self, sequences: np.ndarray) -> np.ndarray:
        return np.where(self.task.is_answer(sequences), sequences, np.int32(-1))
