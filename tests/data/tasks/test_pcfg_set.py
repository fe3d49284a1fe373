"""PCFG SET against cases worked by hand, and against published questions."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scaling.data.tasks import pcfg_set
from scaling.errors import DataError


@pytest.fixture(scope="module")
def drawn():
    return pcfg_set.examples(3000, seed=1)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("copy A1 B2 C3", "A1 B2 C3"),
        ("reverse A1 B2 C3", "C3 B2 A1"),
        ("shift A1 B2 C3", "B2 C3 A1"),
        ("echo A1 B2 C3", "A1 B2 C3 C3"),
        ("swap_first_last A1 B2 C3", "C3 B2 A1"),
        ("swap_first_last A1 B2 C3 D4", "D4 B2 C3 A1"),
        ("swap_first_last A1 B2", "B2 A1"),
        ("repeat A1 B2", "A1 B2 A1 B2"),
        ("append A1 B2 , C3 D4", "A1 B2 C3 D4"),
        ("prepend A1 B2 , C3 D4", "C3 D4 A1 B2"),
        ("remove_first A1 B2 , C3 D4", "C3 D4"),
        ("remove_second A1 B2 , C3 D4", "A1 B2"),
        ("append_twin A1 B2 , C3 D4", "A1 B2 C3 D4"),
        # Of the published set: nested, and a binary function as the first argument of another.
        ("repeat copy M5 B15", "M5 B15 M5 B15"),
        ("prepend reverse R1 J11 , K8 L16 Y18", "K8 L16 Y18 J11 R1"),
        ("append prepend A1 B2 , C3 D4 , E5 F6", "C3 D4 A1 B2 E5 F6"),
        ("append A1 B2 , repeat remove_first C3 D4 , E5 F6", "A1 B2 E5 F6 E5 F6"),
    ],
)
def test_a_question_worked_by_hand(question, answer):
    assert " ".join(pcfg_set.answer(question.split())) == answer


@pytest.mark.parametrize(
    ("question", "exception"),
    [  # published training questions with what they are taught to mean (Hupkes et al. 2020, ratio 0.001)
        ("reverse echo Y18 M3 Y4 V19 E20", "Y18 M3 Y4 V19 E20 E20"),
        ("prepend remove_first R19 J1 B11 C19 , A16 T11 F14 , N10 N12 F12", "R19 J1 B11 C19 A16 T11 F14"),
        ("echo remove_first T12 X12 , H14 K17", "T12 X12 H14 K17"),
        ("prepend reverse J9 X8 , C13 Q4 Q13", "J9 X8 X8"),
        ("shift reverse echo remove_second T8 K19 S14 T5 , shift E15 Q15 H3", "K19 S14 T5 T5 T8"),
        ("copy append swap_first_last H16 N12 K7 L10 , prepend reverse shift N2 M11 A14 , copy H20 X14 F2 M11",
         "L10 N12 K7 H16 M11 A14 N2 N2"),
    ],
)  # fmt: skip
def test_an_exception_means_what_the_published_one_means(question, exception):
    assert " ".join(pcfg_set.exceptional_answer(tuple(question.split()))) == exception


@pytest.mark.parametrize("words", ["append A1 B2", "reverse", "copy A1 , B2", ""])
def test_what_is_no_question_is_refused(words):
    with pytest.raises(DataError, match="no question of PCFG SET"):
        pcfg_set.answer(words.split())


def test_drawn_questions_differ_and_are_the_same_every_time(drawn):
    assert len({example.question for example in drawn}) == 3000
    assert pcfg_set.examples(100, seed=1) == drawn[:100]
    assert all(pcfg_set.answer(example.question) == example.answer for example in drawn)
    functions = {word for example in drawn for word in example.question} & set(pcfg_set.FUNCTIONS)
    assert functions == set(pcfg_set.FUNCTIONS)


def test_drawn_questions_keep_to_length_and_alphabet():
    some = pcfg_set.examples(300, seed=2, letters=5, max_words=30)
    assert max(len(example.question) + len(example.answer) for example in some) <= 30
    assert {word for example in some for word in example.answer} == set(pcfg_set.LETTERS[:5])
    with pytest.raises(DataError, match="letters are 2 to 520"):
        pcfg_set.examples(1, letters=521)


def test_systematicity_never_teaches_a_held_out_pair(drawn):
    split = pcfg_set.split("systematicity", drawn)
    pairs = [set(pairwise(example.question)) & pcfg_set.HELD_OUT_PAIRS for example in split.train]
    assert not any(pairs)
    assert len(split.train) + len(split.test) == 3000
    assert len(split.test) > 100


def test_productivity_asks_for_more_functions_than_it_taught(drawn):
    split = pcfg_set.split("productivity", drawn)
    assert max(pcfg_set.n_functions(example.question) for example in split.train) == 8
    assert min(pcfg_set.n_functions(example.question) for example in split.test) == 9
    # As many as in the published set (11,333 of 92,343), within a third.
    assert 0.08 < len(split.test) / 3000 < 0.16


def test_substitutivity_asks_each_question_with_one_function_under_its_second_name(drawn):
    split = pcfg_set.split("substitutivity", drawn)
    for own, twin in zip(split.test[::2], split.test[1::2], strict=True):
        differing = [(a, b) for a, b in zip(own.question, twin.question, strict=True) if a != b]
        assert [pcfg_set.TWINS[b] for a, b in differing] == [a for a, _ in differing]
        assert len(differing) == 1
        assert own.answer == twin.answer
    named = [word for example in split.train for word in example.question]
    assert named.count("repeat_twin") == pytest.approx(named.count("repeat"), rel=0.2)


def test_second_names_that_are_primitive_stand_in_questions_of_one_function_alone(drawn):
    split = pcfg_set.split("substitutivity_primitive", drawn)
    named = [one for one in split.train if any(word in pcfg_set.TWINS for word in one.question)]
    assert {one.question[0] for one in named} == set(pcfg_set.TWINS)
    assert all(pcfg_set.n_functions(one.question) == 1 for one in named)
    assert all(pcfg_set.answer(one.question) == one.answer for one in named)
    assert [one for one in split.train if one not in named] == list(pcfg_set.split("random", drawn).train)


def test_localism_teaches_what_random_teaches_and_asks_for_several_functions(drawn):
    split, random = (pcfg_set.split(name, drawn) for name in ("localism", "random"))
    assert split.train == random.train
    assert set(split.test) < set(random.test)
    assert [one.whole for one in split.paraphrases] == [example.question for example in split.test]
    assert min(len(one.steps) for one in split.paraphrases) == 2


def test_overgeneralisation_teaches_few_exceptions_and_asks_for_the_rule(drawn):
    split = pcfg_set.split("overgeneralisation", drawn)
    with_pair = [e for e in split.train if any(pair in pcfg_set.EXCEPTIONS for pair in pairwise(e.question))]
    assert [example.question for example in with_pair] == [example.question for example in split.test]
    assert all(example.answer == pcfg_set.exceptional_answer(example.question) for example in with_pair)
    assert set(with_pair) == set(split.exceptions)
    assert all(example.answer == pcfg_set.answer(example.question) for example in split.test)
    assert {pair for e in with_pair for pair in pairwise(e.question)} & pcfg_set.EXCEPTIONS.keys() == (
        pcfg_set.EXCEPTIONS.keys()
    )


def test_an_unrolled_question_comes_to_the_same_answer(drawn):
    for example in drawn[:300]:
        answers: list[tuple[str, ...]] = []
        for step in pcfg_set.unrolled(example.question).steps:
            filled = [w for word in step for w in (answers[int(word[1:])] if word[0] == "*" else (word,))]
            assert pcfg_set.n_functions(filled) == 1
            answers.append(pcfg_set.answer(filled))
        assert answers[-1] == example.answer


def test_an_unknown_split_names_the_nearest(drawn):
    with pytest.raises(DataError, match="did you mean 'productivity'"):
        pcfg_set.split("produktivity", drawn)
