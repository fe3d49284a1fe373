"""The printed form of a law is the law: it is read back and evaluated with plain Python arithmetic."""

import math
import re

import numpy as np
import pytest

from scaling.laws.each_text import EachText
from scaling.laws.law import LAWS
from scaling.laws.named import named_law
from scaling.laws.text import GUARD, Text, let, written_out

TOKEN = re.compile(
    r"(?P<name>\[teacher = [^\]]*\]|[A-Za-z_]\w*(?:\[[^\]]*\])?'*)"
    r"|(?P<number>\d+\.?\d*(?:e[+-]?\d+)?)|(?P<sign>[-+*/^(),><])"
)
FUNCTIONS = {
    "max": lambda *given: np.float64(max(given)),
    "min": min,
    "log": math.log,
    "log10": math.log10,
    "abs": abs,
    "sum_k": np.sum,
}


def read(text, values):
    """A printed formula as a number: juxtaposition multiplies, ^ is a power, abbreviations follow after "where"."""
    formula, _, explained = text.partition(", where ")
    values = dict(values)
    for line in filter(None, explained.split("; ")):
        name, _, meaning = line.partition(" = ")
        values[name] = arithmetic(meaning, values)
    return arithmetic(formula, values)


def arithmetic(text, values):
    code, end = [], 0
    for token in TOKEN.finditer(text):
        gap, end = text[end : token.start()], token.end()
        assert not gap.strip(), f"cannot read {gap!r} in {text!r}"
        name, number, sign = token["name"], token["number"], token["sign"]
        opens = name or number or sign == "("
        if gap and opens and code and re.match(r"[\w)\]]", code[-1][-1]) and not {name, code[-1]} & {"if", "else"}:
            code.append("*")
        word = name in FUNCTIONS or name in ("if", "else")
        code.append((name if word else f"v[{name!r}]") if name else "**" if sign == "^" else token[0])
    with np.errstate(all="ignore"):
        return eval(" ".join(code), {"v": values, **FUNCTIONS})


FORMS = [
    *LAWS,
    *(f"{base}+q1q2" for base in ("tied", "skaling", "tied-skaling", "bounded", "product", "farseer")),
    "skaling+repeated",
    "tied+quantized",
]


def rows_of(law, x):
    """For each run, every symbol of a printed law as a number; a schedule's steps stay a list."""
    teachers = law.teachers if isinstance(law, EachText) else ("real", *getattr(law, "teachers", ()))
    for i in range(len(next(iter(vars(x).values())))):
        at = {symbol: getattr(x, name) for name, symbol in law.symbols.items()}
        row = {symbol: column if symbol in ("lr_k", "drop_k") else column[i] for symbol, column in at.items()}
        yield row | {"e": math.e} | {f"[teacher = {q}]": float(row.get("teacher") == k) for k, q in enumerate(teachers)}


@pytest.mark.parametrize("numbers", [False, True], ids=["names", "numbers"])
@pytest.mark.parametrize("name", FORMS)
def test_what_is_printed_is_what_is_computed(name, numbers, columns_of, coefficients_of):
    law = named_law(name)
    x, theta = columns_of(law), coefficients_of(law, 1)[0]
    if "bounded" in name:
        law = type(law)(**(law.structure() | ({"ceiling": 10.0} if name == "bounded" else {})))
    text = (law.with_values(theta) if numbers else law).written().removeprefix("L = ")
    names = {} if numbers else dict(zip(law.names, theta, strict=True))
    found = [read(text, row | names) for row in rows_of(law, x)]
    # A constant of the formula, as ln 50257, is printed with four digits too; so is a power of what stands in it.
    loose = 1e-3 if name.startswith("bounded+") else 1e-7
    np.testing.assert_allclose(found, law.evaluate(theta, x), rtol=loose, atol=1e-3 * GUARD)


@pytest.mark.parametrize("name", ["q1", "q2", "q1q2", "q3", "q4", "q5", "q8", "qm", "qt", "qtk"])
def test_free_divergences_are_printed_with_the_teachers_that_they_belong_to(name, columns_of, coefficients_of):
    teachers = ["exact 12", "noise 0.2"] if name not in ("qm", "qt", "qtk") else ["real", "exact 12", "noise 0.2"]
    law = named_law(name, teachers=teachers)
    x, theta = columns_of(law), coefficients_of(law, 1)[0]
    assert "[teacher = exact 12]" in law.written()
    names = dict(zip(law.names, theta, strict=True))
    found = [read(law.written().removeprefix("L = "), row | names) for row in rows_of(law, x)]
    np.testing.assert_allclose(found, law.evaluate(theta, x), rtol=1e-7)


def test_a_printed_form_that_is_wrong_would_be_noticed():
    assert read("E + A/N^alpha, where E = 2 B", {"A": 8.0, "B": 0.5, "N": 4.0, "alpha": 0.5}) == 5.0
    assert read("E + A/N^alpha", {"A": 8.0, "E": 1.0, "N": 4.0, "alpha": 0.6}) != 5.0


N, A, B = (Text.symbol(name) for name in ("N", "A", "B"))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (A * N**-B, "A/N^B"),
        ((A + B) * N, "(A + B) N"),
        (A - (B - N), "A - B + N"),
        (A / (B * N), "A/(B N)"),
        (A / B / N, "A/(B N)"),
        (-((A + B) ** 2), "-(A + B)^2"),
        ((-A) ** 2.0, "(-A)^2"),
        ((A**B) ** N, "(A^B)^N"),
        (np.exp(-A / B), "e^(-A/B)"),
        (np.exp(B * np.log(N) - A), "N^B e^-A"),
        (np.exp(np.logaddexp(A * np.log(N), A * np.log(B)) / A), "(N^A + B^A)^(1/A)"),
        (Text.number(2.0) * Text.number(0.5) * N, "2*0.5 N"),
        (Text.number(-0.25) * N + 1.0, "1 - 0.25 N"),
        (np.where(N > 1.0, A, B), "(A if N > 1 else B)"),
        (let("h", A * N) / (1 + let("h", A * N)), "h/(1 + h), where h = A N"),
    ],
)
def test_formulas_are_written_as_people_write_them(formula, expected):
    assert written_out(formula) == expected


def test_an_operation_that_has_no_written_form_is_refused():
    with pytest.raises(TypeError):
        np.arctan(N)
    with pytest.raises(TypeError):
        np.clip(N, 0, 1)
