"""Minimal pairs: two sentences that differ in one choice; whoever knows the rule finds the right one likelier.

Every phenomenon is balanced: for each pair there is one in which the same choice is wrong. So a model that goes by the
words alone, whatever it prefers, is right in exactly half of them, and the chance level is ½. Words before the choice
are the context; shuffled, they say what is known without their order.

In spirit after Warstadt et al. 2020, arXiv 1912.00582 (minimal pairs by grammar), Talmor et al. 2020, arXiv 1912.13283
(comparison, negation, always – never), and Levesque et al. 2012 (pronouns); templates and words are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from scaling.data.counter import random_at
from scaling.errors import DataError
from scaling.registry import did_you_mean

NOUNS = ("dog", "cat", "king", "farmer", "soldier", "doctor", "teacher", "bird", "horse")
VERBS = (("is", "are"), ("was", "were"), ("has", "have"), ("runs", "run"), ("sleeps", "sleep"), ("works", "work"))
THINGS = ("ant", "mouse", "cat", "dog", "horse", "house", "mountain", "world")
"""By size, smallest first."""
AGES = ("ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty")
"""Years, fewest first."""
OPPOSITES = (
    ("hot", "cold"),
    ("long", "short"),
    ("old", "new"),
    ("rich", "poor"),
    ("strong", "weak"),
    ("wide", "narrow"),
)
TRAITS = (
    ("fire", "hot", "cold"),
    ("ice", "cold", "hot"),
    ("night", "dark", "light"),
    ("day", "light", "dark"),
    ("a giant", "big", "small"),
    ("an ant", "small", "big"),
    ("a rock", "hard", "soft"),
    ("wool", "soft", "hard"),
    ("snow", "cold", "hot"),
    ("the sun", "hot", "cold"),
    ("the sea", "wet", "dry"),
    ("the desert", "dry", "wet"),
    ("sugar", "sweet", "bitter"),
    ("a beggar", "poor", "rich"),
)
"""A thing, what it always is, and what it never is."""
CONTAINERS = ("box", "bag", "car", "room", "case")
LOADS = ("table", "ball", "statue", "lamp", "book")
HELD_OUT_EVERY = 3
"""Of the words of each kind every third, the last of them included, is in no sentence that is taught."""


@dataclass(frozen=True)
class Pair:
    """A choice between two sentences.

    Attributes:
        phenomenon: What must be known.
        template: Which of its sentences.
        words: What was filled in; pairs with a held-out word among them are held out by word.
        good: The right sentence, words separated by blanks.
        bad: The wrong one.
    """

    phenomenon: str
    template: int
    words: tuple[str, ...]
    good: str
    bad: str

    @property
    def held_out(self) -> str:
        """What keeps the pair from training: ``template``, ``word``, both, or nothing (``taught``)."""
        by = ["template"] * (self.template == 0) + ["word"] * any(word in HELD_OUT_WORDS for word in self.words)
        return " and ".join(by) or "taught"

    def shuffled(self, seed: int) -> Pair:
        """The pair with the words that both sentences begin with in random order: what is known without their order."""
        good, bad = self.good.split(), self.bad.split()
        n = next(i for i, (a, b) in enumerate(zip(good, bad, strict=True)) if a != b)
        order = random_at(seed, self.good, 0).permutation(n)
        context = [good[i] for i in order]
        return Pair(self.phenomenon, self.template, self.words, *(" ".join(context + one[n:]) for one in (good, bad)))


Grammar = Callable[[], Iterator[Pair]]


def minimal_pairs(phenomenon: str, n: int | None = None, *, seed: int = 0) -> list[Pair]:
    """Pairs of one phenomenon: all of them, or a pinned number drawn without replacement.

    Raises:
        DataError: there is no such phenomenon.
    """
    if phenomenon not in PHENOMENA:
        raise DataError(
            f"no minimal pairs of {phenomenon}{did_you_mean(phenomenon, PHENOMENA)}; allowed: {', '.join(PHENOMENA)}"
        )
    every = list(PHENOMENA[phenomenon]())
    if n is None or n >= len(every):
        return every
    drawn = np.sort(random_at(seed, f"pairs of {phenomenon}", 0).permutation(len(every))[:n])
    return [every[i] for i in drawn]


def taught_sentences(phenomenon: str) -> list[str]:
    """Right sentences that hold out neither template nor word, each once."""
    return list(dict.fromkeys(pair.good for pair in minimal_pairs(phenomenon) if pair.held_out == "taught"))


def _plural(noun: str) -> str:
    return f"{noun}s"


def _agreement() -> Iterator[Pair]:
    """The verb has the number of its noun, also across another noun of the other number."""
    for (i, noun), verb, number in product(enumerate(NOUNS), VERBS, (0, 1)):
        other = NOUNS[i - 1]
        subject = (noun, _plural(noun))[number]
        attractor = (_plural(other), other)[number]
        fronts = (f"near the {attractor} , the {subject}", f"the {subject}", f"the {subject} behind the {attractor}")
        for template, front in enumerate(fronts):
            good, bad = (f"{front} {verb[k]}" for k in (number, 1 - number))
            yield Pair("agreement", template, (noun, other, verb[0]), good, bad)


def _pronoun() -> Iterator[Pair]:
    """What the reason is about: the pronoun of a Winograd sentence, replaced by either candidate."""
    templates = (
        ("the {0} would not go into the {1} since the", "was so {2}"),
        ("the {0} does not fit into the {1} because the", "is too {2}"),
        ("we could not put the {0} into the {1} , for the", "was too {2}"),
    )
    for (template, (front, back)), load, holder in product(enumerate(templates), LOADS, CONTAINERS):
        for size, right, wrong in (("large", load, holder), ("small", holder, load)):
            good, bad = (f"{front} {one} {back}".format(load, holder, size) for one in (right, wrong))
            yield Pair("pronoun", template, (load, holder), good, bad)


def _compared(phenomenon: str, scale: tuple[str, ...], more: str, less: str, templates: tuple[str, ...]):
    """Two of a scale in both orders; the word of comparison is the choice."""
    for (template, sentence), (i, j) in product(enumerate(templates), permutations(range(len(scale)), 2)):
        right, wrong = (more, less) if i > j else (less, more)
        good, bad = (sentence.format(scale[i], scale[j], word) for word in (right, wrong))
        yield Pair(phenomenon, template, (scale[i], scale[j]), good, bad)


def _size() -> Iterator[Pair]:
    """Which of two things is larger."""
    templates = (
        "if you look at a {0} , it is {2} than a {1}",
        "a {0} is {2} than a {1}",
        "the {0} is much {2} than the {1}",
    )
    return _compared("size", THINGS, "larger", "smaller", templates)


def _age() -> Iterator[Pair]:
    """Which of two persons is older."""
    templates = (
        "beside a man of {0} , who is {2} , we saw a man of {1}",
        "a man of {0} is {2} than a man of {1}",
        "the man is {0} and much {2} than the woman of {1}",
    )
    return _compared("age", AGES, "older", "younger", templates)


def _negation() -> Iterator[Pair]:
    """What is not so is the opposite."""
    templates = (
        ("nobody called it {0} : it was", "everybody called it {0} : it was"),
        ("it was not {0} , it was", "it was very {0} , it was"),
        ("the way is not {0} , it is", "the way is so {0} , it is"),
    )
    pairs = [*OPPOSITES, *((b, a) for a, b in OPPOSITES)]
    for (template, fronts), (word, opposite) in product(enumerate(templates), pairs):
        for front, right, wrong in zip(fronts, (opposite, word), (word, opposite), strict=True):
            good, bad = (f"{front.format(word)} {one}" for one in (right, wrong))
            yield Pair("negation", template, (word, opposite), good, bad)


def _always_never() -> Iterator[Pair]:
    """What a thing always is, and what it never is."""
    templates = ("in truth {0} has {2} been {1}", "{0} is {2} {1}", "we know that {0} is {2} {1}")
    for (template, sentence), (thing, trait, opposite) in product(enumerate(templates), TRAITS):
        for said, right, wrong in ((trait, "always", "never"), (opposite, "never", "always")):
            good, bad = (sentence.format(thing, said, word) for word in (right, wrong))
            yield Pair("always_never", template, (thing,), good, bad)


PHENOMENA: dict[str, Grammar] = {
    "agreement": _agreement,
    "pronoun": _pronoun,
    "size": _size,
    "age": _age,
    "negation": _negation,
    "always_never": _always_never,
}
"""By name."""

_KINDS = (NOUNS, THINGS, AGES, CONTAINERS, LOADS, [a for a, _ in OPPOSITES], [thing for thing, *_ in TRAITS])
HELD_OUT_WORDS = frozenset(word for kind in _KINDS for word in kind[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
