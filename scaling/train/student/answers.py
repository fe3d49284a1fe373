"""A student's own answers to the questions of a task, written greedily to their end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaling.data.tasks import Task
from scaling.data.tasks.consistency import Answerer, Words
from scaling.train.student.decode import FREE, complete
from scaling.train.student.model import Student

ROWS = 64
"""Questions that are answered side by side: one program, whatever their number."""


def answerer(student: Student, task: Task) -> Answerer:
    """The student as one who answers questions in words; None where an answer finds no end within the context."""
    words = (*task.words, "OUT", "END", "BOS")
    place = {word: token for token, word in enumerate(words)}

    def answer(questions: Sequence[Words]) -> list[Words | None]:
        asked = [[place[word] for word in question] + [task.out] for question in questions]
        written = [row for start in range(0, len(asked), ROWS) for row in _written(student, asked[start:][:ROWS], task)]
        return [_answer_in(row[len(begun) :], task, words) for row, begun in zip(written, asked, strict=True)]

    return answer


def _written(student: Student, begun: Sequence[list[int]], task: Task) -> np.ndarray:
    """Sequences that begin as they are given; those that leave no room for an answer are cut."""
    given = np.full((ROWS, student.model.context), FREE, np.int32)
    for row, tokens in zip(given, begun, strict=False):
        row[: len(tokens)] = tokens[: len(row)]
    return complete(student, given, bos=task.bos)[: len(begun)]


def _answer_in(written: np.ndarray, task: Task, words: Sequence[str]) -> Words | None:
    ends = np.flatnonzero(written == task.end)
    return tuple(words[token] for token in written[: ends[0]]) if len(ends) else None
