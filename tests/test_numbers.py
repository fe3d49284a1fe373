"""Scalars follow YAML 1.2, and people's own ways of writing large numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from scaling.config.sweep import Bytes
from scaling.numbers import parse_bytes, parse_share, resolve_scalar, tokens_per_param


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3e8", 300_000_000),
        (".5", 0.5),
        ("10M", 10_000_000),
        ("2.5B", 2_500_000_000),
        ("0.1k", 100),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("-7", -7),
        ("~", None),
        ("true", True),
        ("on", "on"),
        ("yes", "yes"),
        ("017", 17),
        ("1:30", "1:30"),
        ("20x", "20x"),
        ("512MiB", "512MiB"),
        ("w0", "w0"),
        ("-.inf", -math.inf),
    ],
)
def test_an_unquoted_scalar_reads_as_a_person_means_it(text, value):
    got = resolve_scalar(text)
    assert got == value
    assert type(got) is type(value)


@given(st.integers(min_value=1, max_value=10**6), st.sampled_from(["k", "M", "B"]))
def test_a_suffix_multiplies_exactly(number, suffix):
    factor = {"k": 10**3, "M": 10**6, "B": 10**9}[suffix]
    assert resolve_scalar(f"{number / 1000:.3f}{suffix}") == number * factor // 1000


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text):
    value = resolve_scalar(text)
    assert value is None or isinstance(value, bool | int | float | str)


@pytest.mark.parametrize(("text", "size"), [("512MiB", 2**29), ("1.5 GB", 1_500_000_000), ("100 kB", 100_000), (7, 7)])
def test_sizes_take_binary_and_decimal_units(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(("text", "share"), [("25%", 0.25), ("7.5 %", 0.075), (0.3, 0.3), ("a%", "a%")])
def test_shares_may_be_written_in_percent(text, share):
    assert parse_share(text) == share


def test_a_size_that_is_none_says_how_sizes_are_written():
    with pytest.raises(ValidationError, match="512MiB"):
        TypeAdapter(Bytes).validate_python("64MeB")
    assert TypeAdapter(Bytes).validate_python("1KiB") == 1024


def test_tokens_per_parameter_are_told_from_other_text():
    assert tokens_per_param("20x") == 20
    assert tokens_per_param("0.5x") == 0.5
    assert tokens_per_param("x20") is None
    assert tokens_per_param(20) is None
