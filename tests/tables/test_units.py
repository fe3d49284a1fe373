"""A loss in other units is named where it can be told."""

import shlex

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError
from scaling.tables.expression import as_written, evaluate
from scaling.tables.observe import observe
from scaling.tables.units import loss_notes

NATS = np.array([3.9, 3.4, 3.1, 2.9, 2.7, 2.6])
BITS_PER_BYTE = NATS / np.log(2) / 4.2


def notes(loss, **others):
    return " ".join(loss_notes(pd.DataFrame({"loss": loss, **others}), "loss", np.asarray(loss, float)))


def test_nats_per_token_need_no_word():
    assert notes(NATS) == ""
    assert notes(NATS, vocab_size=50_257) == ""


def test_losses_of_a_token_of_several_vocabularies_do_not_compare():
    said = notes(NATS, vocab_size=[257, 257, 257, 1024, 1024, 1024])
    assert "2 vocabularies (257, 1,024)" in said
    assert "--where 'vocab_size == 257'" in said


@pytest.mark.parametrize("loss", [BITS_PER_BYTE, BITS_PER_BYTE * 0.8])
def test_bits_per_byte_under_the_name_of_a_loss_are_named(loss):
    assert "is it bits/byte" in notes(loss)


def test_perplexity_under_the_name_of_a_loss_is_named():
    assert "--map 'loss=log(loss)'" in notes(np.exp(NATS))


def test_tokens_that_are_bytes_may_have_little_more_than_a_nat():
    assert notes(BITS_PER_BYTE, vocab_size=257) == ""


def test_another_column_tells_the_unit_better_than_the_magnitude():
    assert "seems to be in bits (bpb)" in notes(BITS_PER_BYTE, bpb=BITS_PER_BYTE)


def sizes(**columns) -> pd.DataFrame:
    (values,) = columns.values()
    return pd.DataFrame({**columns, "tokens": np.asarray(values, float) * 1e7, "loss": np.linspace(4, 3, len(values))})


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("params_M", "'params_M * 1e6'"),
        ("tokens_B", "'tokens_B * 1e9'"),
        ("size (M)", "'`size (M)` * 1e6'"),
        ("Billions of tokens", "'`Billions of tokens` * 1e9'"),
        ("paramsB", "'paramsB * 1e9'"),
        ("size_k", "'size_k * 1e3'"),
        ("width", "'width * 1e6' or 'width * 1e9'"),
        ("PROGRAM", "'PROGRAM * 1e6' or 'PROGRAM * 1e9'"),
    ],
)
def test_sizes_in_millions_are_refused_however_large_the_largest_with_the_factor_that_the_name_says(name, advice):
    runs = sizes(**{name: [44.0, 90.0, 180.0, 520.0, 1500.0, 6000.0]})
    with pytest.raises(RecordError, match="half of it below 350") as refused:
        observe(runs, columns={"n": name, "d": "tokens"})
    assert advice in str(refused.value)
    # The advice, pasted, counts in plain numbers.
    expression = advice.split("'")[1]
    assert observe(runs, columns={"n": expression, "d": "tokens"}).columns["n"].min() >= 44e3


@pytest.mark.parametrize(
    "honest",
    [
        [768.0, 3072.0, 24_576.0, 98_304.0, 1.5e9],  # Kaplan et al. 2020 go from 768 on
        [2000.0, 3000.0, 5000.0, 9000.0],
        [7e7, 1.6e8, 4.1e8],
    ],
)
def test_honest_tables_of_small_models_are_neither_refused_nor_doubted(honest):
    assert observe(sizes(N=honest), columns={"n": "N", "d": "tokens"}).notes == ()


@pytest.mark.parametrize(
    ("name", "values"),
    [("params_M", [1100.0, 2000.0, 7000.0, 70_000.0]), ("size", [500.0, 2000.0, 7000.0, 70_000.0])],
)
def test_sizes_that_may_be_in_millions_are_noted_where_a_name_or_a_few_of_them_say_it(name, values):
    (note,) = observe(sizes(**{name: values}), columns={"n": name, "d": "tokens"}).notes
    assert f"give such, as '{name} * 1e6'" in note


ODD = ["eval/loss", "val loss", "loss (nats)", "in", "größe", "2nd", "log", "it's", "a.b"]


@pytest.mark.parametrize("name", ODD)
def test_a_column_of_any_name_is_filtered_by_what_is_written_of_it(name):
    runs = pd.DataFrame({name: [1.0, 10.83, 3.0], "eval": 4.0, "loss": 2.0})
    assert evaluate(runs, f"{as_written(name, runs.columns)} != 10.83").tolist() == [True, False, True]


@pytest.mark.parametrize("name", ODD)
def test_the_advice_of_a_unit_works_as_it_is_pasted(name):
    runs = pd.DataFrame({name: np.exp(NATS) + 8})
    (note,) = loss_notes(runs, name, runs[name].to_numpy())
    (_, expression) = shlex.split(note[note.index("--map") :])[1].split("=", 1)
    assert evaluate(runs, expression) == pytest.approx(np.log(runs[name].to_numpy()))
