"""What is written as KEY=VALUE is read in one way, whatever the option, and each slip has its own sentence."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.cli.fits import mapping_of, numbers_of
from scaling.cli.options.questions import numbers
from scaling.cli.options.shared import count, finite, key_values, pairs, whole_count, word
from scaling.errors import SpecError
from scaling.numbers import count as count_of
from scaling.predict.explain.comparison import named_subject

OPTIONS = {
    "held": numbers_of,
    "at": numbers,
    "map": mapping_of,
    "executor-set": lambda texts: key_values(texts, "executor-set"),
    "prune": lambda texts: pairs(texts, "prune", finite, example="heads=4"),
    "layers": lambda texts: pairs(texts, "layers", whole_count, example="'llama 1B Q8_0=16'"),
}
SLIPS = {("=2",): "got '=2' without a key", ("E=",): "got 'E=' without a value", ("E=2", "E=3"): "got E twice"}
OF_NUMBERS = ("held", "at", "prune", "layers")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("texts", SLIPS, ids=" ".join)
def test_every_option_of_pairs_names_a_slip_in_the_same_words(option, texts):
    with pytest.raises(SpecError, match=f"^--{option}: {SLIPS[texts]}.* — "):
        OPTIONS[option](list(texts))


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - {"executor-set"}))
def test_a_key_alone_has_no_value(option):
    with pytest.raises(SpecError, match=f"^--{option}: got 'E' without a value, allowed is KEY=VALUE — for example "):
        OPTIONS[option](["E"])


@pytest.mark.parametrize("option", OF_NUMBERS)
@pytest.mark.parametrize("value", ["x", "true", "nan", "1e400", "1" + "0" * 350, ".nan", "-inf", "-1e400"])
def test_a_value_that_is_no_number_is_named_with_its_key(option, value):
    with pytest.raises(
        SpecError, match=f"^--{option} E: got '{re.escape(value)}', allowed is a .*number — for example"
    ):
        OPTIONS[option]([f"E={value}"])


def test_pairs_are_read_as_they_are_meant():
    assert numbers_of([" E = 2.0", "delta[a]=-1", "B=1k"]) == {"E": 2.0, "delta[a]": -1.0, "B": 1000.0}
    assert numbers_of(None) is None
    assert numbers(["bits=4", "delta_noise=0.0", "n_unique_tokens=inf"]) == {
        "bits": 4.0,
        "delta_noise": 0.0,
        "n_unique_tokens": math.inf,
    }
    assert mapping_of(["n=params, loss=where(a == 1)"]) == {"n": "params", "loss": "where(a == 1)"}
    assert key_values(["gpus-per-task=1", "exclusive"], "executor-set") == {"gpus_per_task": "1", "exclusive": True}
    assert OPTIONS["layers"](["llama 1B Q8_0=16"]) == {"llama 1B Q8_0": 16}


@given(st.dictionaries(st.text("abcxyz_ 12", min_size=1).map(str.strip).filter(bool), st.text("abc=.1", min_size=1)))
def test_what_is_written_is_read_back(found):
    written = [f"{key}={value}" for key, value in found.items()]
    assert pairs(written, "map", word, example="n=params") == found


def test_a_key_and_a_flag_of_one_name_are_that_name_twice():
    with pytest.raises(SpecError, match="got gpus_per_task twice"):
        key_values(["gpus-per-task=1", "gpus_per_task"], "executor-set")


@pytest.mark.parametrize("text", ["1e400", "9e308", "1" + "0" * 350])
@pytest.mark.parametrize("read", [lambda text: count(text, "x"), lambda text: count_of(text, "x"), named_subject])
def test_what_no_float_holds_is_a_slip_and_not_infinity(read, text):
    with pytest.raises(SpecError, match="got '[0-9e]*', allowed is a (positive )?number"):
        read(text)


@pytest.mark.parametrize("text", ["inf", " INF "])
def test_infinity_is_meant_where_it_is_written(text):
    assert count(text, "x") == count_of(text, "x") == named_subject(text.strip()).n_params == math.inf


@pytest.mark.parametrize("text", ["16.5", "1.0001k"])
def test_a_whole_number_is_not_rounded_from_another(text):
    with pytest.raises(SpecError, match=f"--vocab: got '{text}', allowed is a whole number"):
        whole_count(text, "vocab")
