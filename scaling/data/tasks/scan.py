"""SCAN: 20,910 commands of a small grammar and the actions they mean, split so that chance tells nothing.

The grammar, with S → V | V twice | V thrice and a command S | S and S | S after S::

    V → U | U dir | U opposite dir | U around dir | turn dir | turn opposite dir | turn around dir
    U → walk | look | run | jump        dir → left | right

Every split but ``simple`` keeps something from training that its parts explain: what a student then answers shows
whether it has learned the parts or the commands.

**Source:** Lake & Baroni 2018, arXiv 1711.00350 (grammar, ``simple``, ``length``, ``jump``, ``turn_left``); Loula,
Baroni & Lake 2018, arXiv 1807.07545 (the others). Commands, meanings and the sizes of all splits agree with them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import product

import numpy as np

from scaling.data.tasks.example import Example, Split
from scaling.data.tasks.task import LANGUAGES, Language
from scaling.errors import DataError
from scaling.registry import did_you_mean
from scaling.spec import ScanSource

WORDS = (
    *("walk", "look", "run", "jump", "turn", "left", "right", "opposite", "around", "twice", "thrice", "and", "after"),
    *("I_WALK", "I_LOOK", "I_RUN", "I_JUMP", "I_TURN_LEFT", "I_TURN_RIGHT"),
)
PRIMITIVES = ("walk", "look", "run", "jump")
DIRECTIONS = ("left", "right")
MAX_TRAIN_ACTIONS = 22
"""Longest answer that ``length`` trains on; the test's are longer."""
REPEATED = {"jump": 1467, "turn left": 2189}
"""How often the bare command comes in training where all that is composed of it is held out: a tenth of the rest."""
FILLERS = ("look", "walk", "run")
"""Primitives that ``filler_k`` shows with ``around right``: the first k."""


@LANGUAGES.register("scan")
def scan(source: ScanSource) -> Language:
    """SCAN, divided as the source says."""
    return Language(WORDS, split(source.split))


@cache
def commands() -> tuple[Example, ...]:
    """All commands with their actions, in the order of the grammar: single ones, then ``and``, then ``after``."""
    phrases = _phrases()
    both = [
        Example((*first.question, "and", *second.question), first.answer + second.answer)
        for first, second in product(phrases, repeat=2)
    ]
    # `x after y` does y first.
    after = [
        Example((*first.question, "after", *second.question), second.answer + first.answer)
        for first, second in product(phrases, repeat=2)
    ]
    return (*phrases, *both, *after)


def split(name: str) -> Split:
    """The examples of one split.

    Raises:
        DataError: there is no such split.
    """
    if name not in SPLITS:
        raise DataError(f"SCAN has no split {name}{did_you_mean(name, SPLITS)}; allowed: {', '.join(SPLITS)}")
    return SPLITS[name]()


def _phrases() -> list[Example]:
    """The 102 phrases S."""
    verbs = [Example((verb,), (_action(verb),)) for verb in PRIMITIVES]
    for verb, direction in product((*PRIMITIVES, "turn"), DIRECTIONS):
        turn, act = f"I_TURN_{direction.upper()}", () if verb == "turn" else (_action(verb),)
        verbs.append(Example((verb, direction), (turn, *act)))
        verbs.append(Example((verb, "opposite", direction), (turn, turn, *act)))
        verbs.append(Example((verb, "around", direction), (turn, *act) * 4))
    often = {(): 1, ("twice",): 2, ("thrice",): 3}
    return [Example(verb.question + word, verb.answer * times) for verb in verbs for word, times in often.items()]


def _action(verb: str) -> str:
    return f"I_{verb.upper()}"


def _has(example: Example, phrase: str) -> bool:
    """True where the words of a phrase stand side by side in the command."""
    words = phrase.split()
    n = len(words)
    return any(list(example.question[i : i + n]) == words for i in range(len(example.question) - n + 1))


def _divide(examples: tuple[Example, ...], is_test: Callable[[Example], bool]) -> Split:
    test = tuple(example for example in examples if is_test(example))
    return Split(tuple(example for example in examples if not is_test(example)), test)


def _simple() -> Split:
    """The one split that is drawn; always alike."""
    order = np.random.default_rng(0).permutation(len(commands()))
    n_train = len(commands()) * 4 // 5
    train, test = (tuple(commands()[i] for i in part) for part in (order[:n_train], order[n_train:]))
    return Split(train, test)


def _length() -> Split:
    return _divide(commands(), lambda example: len(example.answer) > MAX_TRAIN_ACTIONS)


def _new_primitive(phrase: str) -> Split:
    """The primitive alone in training, and often; all that is composed of it in the test."""
    held_out = _divide(commands(), lambda example: _has(example, phrase))
    (alone,) = (example for example in held_out.test if " ".join(example.question) == phrase)
    composed = tuple(example for example in held_out.test if example is not alone)
    return Split(held_out.train + (alone,) * REPEATED[phrase], composed)


def _template(template: str, shown: tuple[str, ...] = ()) -> Split:
    """A way to go right that was never seen with any primitive but those shown; ``turn`` with it is in no part."""
    rest = tuple(example for example in commands() if not _has(example, f"turn {template}"))
    hidden = [f"{verb} {template}" for verb in PRIMITIVES if verb not in shown]
    return _divide(rest, lambda example: any(_has(example, phrase) for phrase in hidden))


def _filler(k: int) -> Split:
    """``jump around right`` after ``around right`` was shown with k other primitives."""
    return Split(_template("around right", FILLERS[:k]).train, _template("around right", FILLERS).test)


SPLITS: dict[str, Callable[[], Split]] = {
    "simple": _simple,
    "length": _length,
    "jump": lambda: _new_primitive("jump"),
    "turn_left": lambda: _new_primitive("turn left"),
    "jump_around_right": lambda: _template("around right", FILLERS),
    "around_right": lambda: _template("around right"),
    "opposite_right": lambda: _template("opposite right"),
    "primitive_right": lambda: _template("right"),
    **{f"filler_{k}": partial(_filler, k) for k in range(len(FILLERS) + 1)},
}
"""The published splits, by name."""
