"""Scalars follow YAML 1.2, and people's own ways of writing large numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from scaling.config.sweep import Bytes
from scaling.numbers import (
    BYTE_SUFFIXES,
    duration,
    number,
    parse_bytes,
    parse_share,
    resolve_scalar,
    size,
    tokens_per_param,
)


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


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("512MiB", 2**29), ("1.5 GB", 1_500_000_000), ("100 kB", 100_000), (7, 7)]
)
def test_sizes_take_binary_and_decimal_units(text, n_bytes):
    assert parse_bytes(text) == n_bytes


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


NOT_FINITE = {math.nan: "not identified", math.inf: "∞", -math.inf: "-∞"}
NUMBERS = {0: "0", 1e-30: "1e-30", 7: "7", 999.5: "999.5", 999.96: "1k", 1000: "1k", 999_936: "999.9k"}
NUMBERS |= {999_960: "1M", 12_300_000: "12.3M", -12_300_000: "-12.3M", 1e12: "1T", 999.94e12: "999.9T", 1e15: "1e+15"}
SIZES = {0: "0 B", 1e-9: "0 B", 12.4: "12 B", 1023: "1023 B", 1023.7: "1 KiB", 1024: "1 KiB", 1536: "1.5 KiB"}
SIZES |= {1023 * 2**10: "1023 KiB", 1023.6 * 2**10: "1 MiB", 1023.99 * 2**10: "1 MiB", 2**40: "1,024 GiB"}
SIZES |= {1023.99 * 2**20: "1 GiB", 2**44: "16,384 GiB", -1536: "-1.5 KiB"}
TIMES = {0: "0 s", 0.0123: "12 ms", 0.0996: "0.1 s", 5: "5 s", 12.94: "12.9 s", 89.96: "1 min 30 s", 240: "4 min"}
TIMES |= {286.4: "4 min 46 s", 599.7: "10 min", 2533: "42 min", 3599: "1 h", 7500: "2 h 5 min", 172_790: "2 d"}
TIMES |= {273_600: "3 d 4 h"}


@pytest.mark.parametrize(
    ("told", "value", "text"),
    [(told, *one) for told, known in ((number, NUMBERS), (size, SIZES), (duration, TIMES)) for one in known.items()]
    + [(told, *one) for told in (number, size, duration) for one in NOT_FINITE.items()],
)
def test_a_number_is_rounded_before_its_unit_is_chosen(told, value, text):
    assert told(value) == text


def test_fewer_digits_take_the_next_letter_sooner():
    assert [number(value, digits=3) for value in (999_936, 999.5, 998.4, 1_624_000)] == ["1M", "1k", "998", "1.62M"]


@given(st.floats(1e-3, 9.99e14), st.integers(4, 6))
def test_a_number_that_is_told_reads_back_to_its_digits_and_has_no_exponent(value, digits):
    text = number(value, digits=digits)
    assert resolve_scalar(text) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))
    assert "e" not in text
    assert number(-value, digits=digits) == f"-{text}"


@given(st.integers(0, 2**40))
def test_a_size_that_is_told_reads_back_to_four_digits(n_bytes):
    read = parse_bytes(size(n_bytes).replace(",", ""))
    # And to the byte, which four digits of the least KiB do not quite tell.
    assert read == pytest.approx(n_bytes, rel=0.51e-3, abs=1)
    assert n_bytes >= 1024 or read == n_bytes


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_a_longer_time_never_reads_as_a_shorter_one(one, other):
    units = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}

    def read(seconds: float) -> float:
        words = duration(seconds).split()
        return sum(float(part) * units[unit] for part, unit in zip(words[::2], words[1::2], strict=True))

    short, long = sorted((one, other))
    assert read(short) <= read(long) * (1 + 1e-9)
    assert read(long) == pytest.approx(long, rel=0.06, abs=0.051)


@pytest.mark.parametrize("unit", [*(f"{one}{rest}" for one in "kKMGTx" for rest in ("B", "iB", "ib", "")), "B", ""])
def test_a_size_in_any_unit_is_bytes_or_text_for_its_reader_to_judge(unit):
    found = parse_bytes(f"512{unit}")
    assert found == (512 * BYTE_SUFFIXES[unit] if unit in BYTE_SUFFIXES else f"512{unit}")
    assert parse_bytes("512kiB") == parse_bytes("512KiB") == 2**19
