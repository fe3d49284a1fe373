"""The consistency score against cases worked by hand: it compares a model with itself, not with what is right."""

from __future__ import annotations

import pytest

from scaling.data.tasks import pcfg_set
from scaling.data.tasks.consistency import consistent
from scaling.data.tasks.example import Paraphrase


def says(table: dict[str, str]):
    """One who answers as a table says."""
    return lambda questions: [tuple(table[" ".join(question)].split()) for question in questions]


def paraphrase(whole: str, *steps: str) -> Paraphrase:
    return Paraphrase(tuple(tuple(step.split()) for step in steps), tuple(whole.split()))


REPEAT_COPY = paraphrase("repeat copy M5 B15", "copy M5 B15", "repeat *0")


def test_steps_are_asked_with_the_answers_that_were_given_to_them():
    """The published example of the localism data: a wrong answer to a part, rightly repeated, is inconsistent."""
    said = {"copy M5 B15": "M5 A3", "repeat M5 A3": "M5 A3 M5 A3", "repeat copy M5 B15": "M5 B15 M5 B15"}
    assert consistent([REPEAT_COPY], says(said)).tolist() == [False]


def test_who_is_wrong_in_the_same_way_both_times_is_consistent():
    said = {"copy M5 B15": "M5 A3", "repeat M5 A3": "M5 A3 M5 A3", "repeat copy M5 B15": "M5 A3 M5 A3"}
    assert consistent([REPEAT_COPY], says(said)).tolist() == [True]


def test_each_part_is_filled_in_where_it_stands():
    asked = paraphrase("append copy A1 , echo B2", "copy A1", "echo B2", "append *0 , *1")
    said = {"copy A1": "C1", "echo B2": "D1 D2", "append C1 , D1 D2": "E1", "append copy A1 , echo B2": "E1"}
    assert pcfg_set.unrolled(asked.whole) == asked
    assert consistent([asked], says(said)).tolist() == [True]


def test_without_an_answer_to_a_part_the_rest_cannot_be_asked():
    seen = []

    def silent(questions):
        seen.extend(questions)
        return [None if question[0] == "copy" else ("A1",) for question in questions]

    assert consistent([REPEAT_COPY], silent).tolist() == [False]
    assert seen == [("copy", "M5", "B15"), ("repeat", "copy", "M5", "B15")]
    assert consistent([paraphrase("copy A1", "copy A1")], silent).tolist() == [False]


@pytest.fixture(scope="module")
def drawn():
    return pcfg_set.examples(1000, seed=4)


@pytest.mark.parametrize("name", ["localism", "substitutivity", "substitutivity_primitive"])
def test_who_knows_the_functions_is_consistent_in_every_split(drawn, name):
    paraphrases = pcfg_set.split(name, drawn).paraphrases
    assert len(paraphrases) > 40
    assert consistent(paraphrases, lambda questions: [pcfg_set.answer(one) for one in questions]).all()


def test_who_takes_a_second_name_for_nothing_is_consistent_where_the_function_changes_nothing(drawn):
    def ignorant(questions):
        """A twin is read as `copy`, or as `append` where two arguments follow; all else is right."""
        known = {name: "append" if pcfg_set.TWINS[name] in pcfg_set.BINARY else "copy" for name in pcfg_set.TWINS}
        return [pcfg_set.answer([known.get(word, word) for word in question]) for question in questions]

    paraphrases = pcfg_set.split("substitutivity", drawn).paraphrases
    same = consistent(paraphrases, ignorant)
    twins = [next(word for word in one.steps[0] if word in pcfg_set.TWINS) for one in paraphrases]
    assert all(right for right, twin in zip(same, twins, strict=True) if twin == "append_twin")
    assert same.mean() < 0.8
