"""Whether a question is answered alike however it is asked: right or wrong, who knows what it means says the same.

**Source:** Hupkes, Dankers, Mul & Bruni 2020, arXiv 1908.08351 (the consistency score of localism and substitutivity).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from scaling.data.tasks.example import Paraphrase

Words = tuple[str, ...]
Answerer = Callable[[Sequence[Words]], Sequence[Words | None]]
"""Who answers questions, all at once; None where an answer does not come to an end."""


def consistent(paraphrases: Sequence[Paraphrase], answer: Answerer) -> np.ndarray:
    """Where a question and its paraphrase are answered alike, be the answer right or not.

    Each step is asked with the answers to those before it filled in, as they were given.

    Args:
        paraphrases: Questions with their steps.
        answer: Who is asked.

    Returns:
        bool[n].
    """
    given: list[list[Words | None]] = [[] for _ in paraphrases]
    for number in range(max((len(one.steps) for one in paraphrases), default=0)):
        going = [i for i, one in enumerate(paraphrases) if number < len(one.steps)]
        filled = {i: _filled(paraphrases[i].steps[number], given[i]) for i in going}
        # A step whose own parts have no answer cannot be asked.
        asked = {i: question for i, question in filled.items() if question is not None}
        answers = dict(zip(asked, answer(list(asked.values())), strict=True))
        for i in going:
            given[i].append(answers.get(i))
    direct = answer([one.whole for one in paraphrases])
    return np.array([steps[-1] is not None and steps[-1] == one for steps, one in zip(given, direct, strict=True)])


def _filled(step: Words, given: Sequence[Words | None]) -> Words | None:
    """A step with answers for its ``*k``; None where one of them is missing."""
    words: Words = ()
    for word in step:
        part = given[int(word[1:])] if word.startswith("*") else (word,)
        if part is None:
            return None
        words += part
    return words
