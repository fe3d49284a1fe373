"""SCAN against the published counts, and against a second reading of its grammar."""

from __future__ import annotations

import pytest

from scaling.data.tasks import scan
from scaling.data.tasks.example import fingerprint
from scaling.errors import DataError

PUBLISHED = {  # Lake & Baroni 2018 and Loula et al. 2018: examples to learn from, examples asked
    "simple": (16_728, 4_182),
    "length": (16_990, 3_920),
    "jump": (14_670, 7_706),
    "turn_left": (21_890, 1_208),
    "jump_around_right": (18_528, 1_173),
    "around_right": (15_225, 4_476),
    "opposite_right": (15_225, 4_476),
    "primitive_right": (15_225, 4_476),
    "filler_0": (15_225, 1_173),
    "filler_1": (16_290, 1_173),
    "filler_2": (17_391, 1_173),
    "filler_3": (18_528, 1_173),
}


def actions(command: str) -> list[str]:
    """What a command means, read from its words by rules of rewriting rather than built with it."""
    for word in ("and", "after"):
        if f" {word} " in command:
            first, second = (actions(part) for part in command.split(f" {word} "))
            return first + second if word == "and" else second + first
    words = command.split()
    if words[-1] in ("twice", "thrice"):
        return actions(" ".join(words[:-1])) * (2 if words[-1] == "twice" else 3)
    act = [] if words[0] == "turn" else [f"I_{words[0].upper()}"]
    if len(words) == 1:
        return act
    turn = [f"I_TURN_{words[-1].upper()}"]
    if len(words) == 2:
        return turn + act
    return (turn + act) * 4 if words[1] == "around" else turn * 2 + act


def test_the_grammar_gives_the_published_commands_and_their_meanings():
    commands = scan.commands()
    assert len(commands) == len({example.question for example in commands}) == 20_910
    for example in commands:
        assert list(example.answer) == actions(" ".join(example.question)), example
    assert max(len(example.question) for example in commands) == 9
    assert max(len(example.answer) for example in commands) == 48
    assert fingerprint(commands) == "76fb1628751deb56"


@pytest.mark.parametrize("name", scan.SPLITS)
def test_a_split_has_the_published_sizes(name):
    split = scan.split(name)
    assert (len(split.train), len(split.test)) == PUBLISHED[name]
    assert not set(split.train) & set(split.test)


def test_every_published_split_is_there():
    assert scan.SPLITS.keys() == PUBLISHED.keys()


def test_length_asks_for_more_actions_than_it_taught():
    split = scan.split("length")
    assert max(len(example.answer) for example in split.train) == 22
    assert min(len(example.answer) for example in split.test) == 24


def test_a_new_primitive_is_taught_alone_and_asked_in_company():
    split = scan.split("jump")
    with_jump = [example.question for example in split.train if "jump" in example.question]
    assert with_jump == [("jump",)] * 1467
    assert all("jump" in example.question and len(example.question) > 1 for example in split.test)


@pytest.mark.slow
def test_a_filler_shows_the_template_with_so_many_primitives():
    for k in range(4):
        train = scan.split(f"filler_{k}").train
        shown = {
            " ".join(example.question).split(" around right")[0].split()[-1]
            for example in train
            if "around right" in " ".join(example.question)
        }
        assert shown == set(scan.FILLERS[:k])


def test_an_unknown_split_names_the_nearest():
    with pytest.raises(DataError, match="did you mean 'length'"):
        scan.split("lenght")
