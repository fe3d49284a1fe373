"""What a task is made of: examples, their division into learned from and asked for, and other ways to ask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A question and its one right answer, both as words.

    Attributes:
        question: What is read.
        answer: What has to be written, word by word; exact match is all or nothing.
    """

    question: tuple[str, ...]
    answer: tuple[str, ...]

    def __str__(self) -> str:
        return f"IN: {' '.join(self.question)} OUT: {' '.join(self.answer)}"


@dataclass(frozen=True)
class Paraphrase:
    """A question, and another way to ask it.

    Attributes:
        steps: Questions asked one behind the other; a word ``*k`` stands for what was answered to step k.
        whole: The question itself, which the last step should be answered like.
    """

    steps: tuple[tuple[str, ...], ...]
    whole: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """Examples to learn from, and examples that test what was learned.

    Attributes:
        train: Learned from; an example that occurs twice counts twice.
        test: Asked for.
        paraphrases: Questions of the test, each beside another way to ask it.
        exceptions: Those of ``train`` that break a rule; they are all learned from, and asked as they were taught.
    """

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    paraphrases: tuple[Paraphrase, ...] = ()
    exceptions: tuple[Example, ...] = ()


def fingerprint(examples: Iterable[Example]) -> str:
    """blake2b over the examples, one a line in the order given, 16 hex digits: two sets that agree in it are equal."""
    digest = hashlib.blake2b(digest_size=8)
    for example in examples:
        digest.update(f"{example}\n".encode())
    return digest.hexdigest()
