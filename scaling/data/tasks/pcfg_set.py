"""PCFG SET: strings rewritten by nested functions, and what each test of compositionality keeps from training.

A question is in prefix notation without brackets, ``repeat append A1 B2 , C3``, its answer the string that comes out,
``A1 B2 C3 A1 B2 C3``. Questions are drawn from the grammar

    S → unary S | binary S , S | string

and none occurs twice. The published set was weighted to the lengths and depths of a translation corpus; here the two
probabilities of the grammar are chosen so that about as many questions have more than eight functions as there, one in
nine. So accuracies here are compared with one another, over size and data, and not with published ones.

**Source:** Hupkes, Dankers, Mul & Bruni 2020, arXiv 1908.08351 (functions, tests, exceptions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from scaling.data.tasks.example import Example, Paraphrase, Split
from scaling.data.tasks.task import LANGUAGES, Language
from scaling.errors import DataError
from scaling.registry import did_you_mean
from scaling.spec import PcfgSetSource

Words = tuple[str, ...]

UNARY: dict[str, Callable[[Words], Words]] = {
    "copy": lambda x: x,
    "reverse": lambda x: x[::-1],
    "shift": lambda x: x[1:] + x[:1],
    "echo": lambda x: x + x[-1:],
    "swap_first_last": lambda x: x[-1:] + x[1:-1] + x[:1],
    "repeat": lambda x: x + x,
}
BINARY: dict[str, Callable[[Words, Words], Words]] = {
    "append": lambda x, y: x + y,
    "prepend": lambda x, y: y + x,
    "remove_first": lambda x, y: y,
    "remove_second": lambda x, y: x,
}
FUNCTIONS = (*UNARY, *BINARY)
LETTERS = tuple(f"{letter}{number}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for number in range(1, 21))
"""The 520 letters of the strings."""
TWINS = {f"{name}_twin": name for name in ("swap_first_last", "repeat", "append", "remove_second")}
"""Second names of functions, which ``substitutivity`` exchanges."""
OWN_TWIN = {name: twin for twin, name in TWINS.items()}
HELD_OUT_PAIRS = frozenset(
    {
        ("swap_first_last", "repeat"),
        ("append", "remove_second"),
        ("repeat", "remove_second"),
        ("append", "swap_first_last"),
    }
)
"""What ``systematicity`` never trains on: the second as the first argument of the first, side by side."""
MAX_TRAIN_FUNCTIONS = 8
"""Most functions of a question that ``productivity`` trains on."""
EXCEPTIONS = {
    ("reverse", "echo"): ("echo", "copy"),
    ("prepend", "remove_first"): ("remove_second", "append"),
    ("echo", "remove_first"): ("copy", "append"),
    ("prepend", "reverse"): ("remove_second", "echo"),
}
"""What ``overgeneralisation`` says that a pair means instead wherever it stands, in training."""

P_UNARY = 0.75
"""Of a function that it has one argument."""
P_FUNCTION = 0.6
"""Of an argument that it is a function's result: 11 % of questions have more than eight (12 % in the published set)."""
STRING_LETTERS = (2, 5)
"""Letters of a string, from and to."""
TEST_SHARE = 0.1
"""Of the questions of ``random`` that are asked."""


@LANGUAGES.register("pcfg_set")
def pcfg_set(source: PcfgSetSource) -> Language:
    """PCFG SET, drawn and divided as the source says."""
    # Two of the context's tokens mark the answer's beginning and its end.
    drawn = examples(source.n_examples, seed=source.seed, letters=source.letters, max_words=source.context - 2)
    return Language((*LETTERS[: source.letters], *FUNCTIONS, *TWINS, ","), split(source.split, drawn))


def answer(question: Sequence[str]) -> Words:
    """What a question comes to.

    Raises:
        DataError: it is no question of this language.
    """
    left, result = _evaluate(tuple(question))
    if left:
        raise DataError(f"no question of PCFG SET: {' '.join(question)}: {' '.join(left)} is left over")
    return result


def examples(n: int, *, seed: int = 0, letters: int = len(LETTERS), max_words: int = 120) -> tuple[Example, ...]:
    """Different questions with their answers, as the grammar draws them.

    Args:
        n: How many.
        seed: Of the draw; the first m of n are those of m.
        letters: Size of the alphabet, at most 520.
        max_words: Longest question and answer together; longer ones are drawn again.

    Raises:
        DataError: an alphabet or a length that leaves no questions to draw.
    """
    if not 2 <= letters <= len(LETTERS) or max_words < 2 * STRING_LETTERS[1] + 1:
        raise DataError(
            f"PCFG SET with {letters} letters and {max_words} words: letters are 2 to {len(LETTERS)}, "
            f"words at least {2 * STRING_LETTERS[1] + 1}"
        )
    rng, found = np.random.default_rng(seed), dict[Words, Example]()
    # Drawn one by one, so that more of them begin with the same ones.
    while len(found) < n:
        question = _draw_function(rng, LETTERS[:letters], max_words)
        if question is None or question in found:
            continue
        one = Example(question, answer(question))
        if len(one.question) + len(one.answer) <= max_words:
            found[question] = one
    return tuple(found.values())


def split(name: str, drawn: Sequence[Example]) -> Split:
    """Divide examples as one of the tests does.

    Args:
        name: One of ``SPLITS``.
        drawn: What ``examples`` gives; the same examples are always divided alike.

    Raises:
        DataError: there is no such split.
    """
    if name not in SPLITS:
        raise DataError(f"PCFG SET has no split {name}{did_you_mean(name, SPLITS)}; allowed: {', '.join(SPLITS)}")
    return SPLITS[name](tuple(drawn), np.random.default_rng(0))


def n_functions(question: Sequence[str]) -> int:
    """Functions in a question."""
    return sum(_plain(word) in FUNCTIONS for word in question)


def unrolled(question: Sequence[str]) -> Paraphrase:
    """A question asked from the inside out, as the test of localism does: each step has one function."""
    steps: list[Words] = []

    def walk(words: Words) -> tuple[Words, Words]:
        """What is left behind the first argument, and what stands for that argument."""
        head = _plain(words[0])
        if head not in FUNCTIONS:
            return _string(words)
        left, first = walk(words[1:])
        inside = first
        if head in BINARY:
            left, second = walk(left[1:])
            inside = (*first, ",", *second)
        steps.append((words[0], *inside))
        return left, (f"*{len(steps) - 1}",)

    walk(tuple(question))
    return Paraphrase(tuple(steps), tuple(question))


def exceptional_answer(question: Words) -> Words:
    """The answer that ``overgeneralisation`` teaches: an exceptional pair anywhere means what it means instead."""
    words = list(question)
    for i, pair in enumerate(pairwise(question)):
        if pair in EXCEPTIONS:
            words[i : i + 2] = EXCEPTIONS[pair]
    return answer(words)


def _plain(word: str) -> str:
    return TWINS.get(word, word)


def _string(words: Words) -> tuple[Words, Words]:
    """What is left behind the letters at the beginning, and these letters."""
    end = next((i for i, word in enumerate(words) if word == "," or _plain(word) in FUNCTIONS), len(words))
    return words[end:], words[:end]


def _evaluate(words: Words) -> tuple[Words, Words]:
    """What is left behind the first argument, and its value."""
    head = _plain(words[0]) if words else ""
    if head in UNARY:
        left, x = _evaluate(words[1:])
        return left, UNARY[head](x)
    if head in BINARY:
        left, x = _evaluate(words[1:])
        if left[:1] != (",",):
            raise DataError(f"no question of PCFG SET: {' '.join(words)}: {head} needs a second argument after a comma")
        left, y = _evaluate(left[1:])
        return left, BINARY[head](x, y)
    left, letters = _string(words)
    if not letters:
        raise DataError("no question of PCFG SET: a function has no argument")
    return left, letters


def _draw_function(rng: np.random.Generator, letters: Words, max_words: int) -> Words | None:
    """A question, or None where it grows beyond the longest that is wanted."""
    words: list[str] = []
    wanted = [True]  # arguments still to be written, the next one last; True where it has to be a function
    while wanted:
        if len(words) > max_words:
            return None
        if not (wanted.pop() or rng.random() < P_FUNCTION):
            n = int(rng.integers(STRING_LETTERS[0], STRING_LETTERS[1] + 1))
            words += [letters[i] for i in rng.integers(len(letters), size=n)]
            # A comma belongs between the two arguments of whichever function waits for its second one.
            if wanted:
                words.append(",")
            continue
        unary = rng.random() < P_UNARY
        words.append(str(rng.choice(list(UNARY if unary else BINARY))))
        wanted += [False] if unary else [False, False]
    return tuple(words)


def _divide(drawn: Sequence[Example], is_test: Callable[[Example], bool]) -> Split:
    test = tuple(example for example in drawn if is_test(example))
    return Split(tuple(example for example in drawn if not is_test(example)), test)


def _random(drawn: tuple[Example, ...], rng: np.random.Generator) -> Split:
    order = rng.permutation(len(drawn))
    n_test = round(TEST_SHARE * len(drawn))
    test, train = (tuple(drawn[i] for i in np.sort(part)) for part in (order[:n_test], order[n_test:]))
    return Split(train, test)


def _systematicity(drawn: tuple[Example, ...], rng: np.random.Generator) -> Split:
    return _divide(drawn, lambda example: any(pair in HELD_OUT_PAIRS for pair in pairwise(example.question)))


def _productivity(drawn: tuple[Example, ...], rng: np.random.Generator) -> Split:
    return _divide(drawn, lambda example: n_functions(example.question) > MAX_TRAIN_FUNCTIONS)


def _localism(drawn: tuple[Example, ...], rng: np.random.Generator) -> Split:
    """Questions of several functions, each beside its parts asked from the inside out."""
    parts = _random(drawn, rng)
    test = tuple(example for example in parts.test if n_functions(example.question) > 1)
    return Split(parts.train, test, paraphrases=tuple(unrolled(example.question) for example in test))


def _substitutivity(drawn: tuple[Example, ...], rng: np.random.Generator) -> Split:
    """Twins are as frequent as what they replace."""
    parts = _random(drawn, rng)

    def exchanged(example: Example) -> Example:
        words = tuple(OWN_TWIN[w] if w in OWN_TWIN and rng.random() < 0.5 else w for w in example.question)
        return Example(words, example.answer)

    return _asked_twice(replace(parts, train=tuple(map(exchanged, parts.train))), rng)


def _substitutivity_primitive(drawn: tuple[Example, ...], rng: np.random.Generator) -> Split:
    """Twins are met in questions of one function alone: those of what they replace, taught under both names."""
    parts = _random(drawn, rng)
    alone = (one for one in parts.train if n_functions(one.question) == 1 and one.question[0] in OWN_TWIN)
    twins = tuple(Example((OWN_TWIN[one.question[0]], *one.question[1:]), one.answer) for one in alone)
    return _asked_twice(replace(parts, train=parts.train + twins), rng)


def _asked_twice(parts: Split, rng: np.random.Generator) -> Split:
    """Of a test the questions whose functions have twins, each as it is and with one of its functions exchanged."""
    asked: list[Example] = []
    for example in parts.test:
        at = [i for i, word in enumerate(example.question) if word in OWN_TWIN]
        if at:
            i = int(rng.choice(at))
            twin = (*example.question[:i], OWN_TWIN[example.question[i]], *example.question[i + 1 :])
            asked += [example, Example(twin, example.answer)]
    pairs = zip(asked[::2], asked[1::2], strict=True)
    paraphrases = tuple(Paraphrase((twin.question,), own.question) for own, twin in pairs)
    return Split(parts.train, tuple(asked), paraphrases=paraphrases)


def _overgeneralisation(drawn: tuple[Example, ...], rng: np.random.Generator, *, share: float = 0.001) -> Split:
    """A few exceptions in training, and the same questions with the answer of the rule as the test.

    The exceptions of a pair are ``share`` of the uses of its rarer function, at least one; all other questions with
    the pair are left out. What a student answers to the test shows whether it follows the rule or its memory.
    """
    # Who has which pairs, and how often each function is used: the exceptions are counted against the rarer one.
    has = [{pair for pair in pairwise(example.question) if pair in EXCEPTIONS} for example in drawn]
    uses = {name: sum(name in example.question for example in drawn) for name in FUNCTIONS}
    # Only a question with one pair alone becomes an exception, so that every other pair stays untaught; and only where
    # it changes the answer, which it does not in an argument that is removed.
    chosen = []
    for pair in EXCEPTIONS:
        those = [i for i, pairs in enumerate(has) if pairs == {pair} and _is_exceptional(drawn[i])]
        wanted = max(1, round(share * min(uses[name] for name in pair)))
        chosen += rng.permutation(those)[:wanted].tolist()
    exceptions = tuple(Example(drawn[i].question, exceptional_answer(drawn[i].question)) for i in chosen)
    ordinary = tuple(example for example, pairs in zip(drawn, has, strict=True) if not pairs)
    return Split(ordinary + exceptions, tuple(drawn[i] for i in chosen), exceptions=exceptions)


def _is_exceptional(example: Example) -> bool:
    return exceptional_answer(example.question) != example.answer


SPLITS: dict[str, Callable[[tuple[Example, ...], np.random.Generator], Split]] = {
    "random": _random,
    "systematicity": _systematicity,
    "productivity": _productivity,
    "localism": _localism,
    "substitutivity": _substitutivity,
    "substitutivity_primitive": _substitutivity_primitive,
    "overgeneralisation": _overgeneralisation,
}
"""The tests, by name."""
