"""Files that are nearly sweeps: each is accepted, or refused with file, line and key; never a traceback."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.config.expand import expand
from scaling.config.load import load_sweep
from scaling.config.template import template
from scaling.errors import ConfigError

TEXT = """\
name: text
base:
  model: {width: 32, context: 64}
  data: {source: {kind: text, tokenizer: {kind: bpe, vocab_size: 512}}}
  tokens: 100k
zip:
  - {model.width: [32, 64], optim.batch_size: [8, 16]}
list:
  - {model.width: 96, tokens: 20x}
  - data.teacher: {kind: trained, temperature: 1.0, run: {model: {width: 128, context: 64}, tokens: 20x}}
when:
  - {match: {model.width: {min: 64}}, set: {optim.warmup_tokens: 1k}}
exclude:
  - {model.width: 64, seed: [1]}
seeds: 2
set: {optim.z_loss: 1e-4}
fit: {law: chinchilla, n: n_params}
recommend: {target_loss: 4.5, memory: 64MiB, teacher: {kind: trained}, widths: [32, 64]}
"""

VALID = [template("w0"), TEXT]
WORDS = sorted(set(re.findall(r"[\w.]+", "".join(VALID))))
ODD = [
    *["null", "true", "-1", "0", "1e400", ".nan", ".inf", "1e-3", "[]", "{}", "[1, [2]]", "{a: {b: c}}", "''", "'x'"],
    *["20x", "-5x", "10M", "512MiB", "!!binary x", "&a 1", "*a", "? x", "- y", "|", ">", "%", "@", "\t", "{rule: x}"],
    *[
        "{rule: flops_budget, flops: 1}",
        "{kind: real}",
        "{kind: 3}",
        "{kind: [real]}",
        "{rule: [1]}",
        "9" * 500,
        "2**3",
    ],
    *[
        "{rule: flops_budget, flops: 1e308}",
        "99999999999999999999",
        "1e30",
        "0x7fffffffffffffff",
        "é",
        "\x00",
        "\ud7ff",
    ],
]


@st.composite
def mutated(draw):
    """A valid file after a few changes of characters, words or lines."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        change = draw(st.sampled_from([_replace_word, _replace_character, _drop_line, _double_line, _indent_line]))
        text = change(draw, text)
    return text


def _replace_word(draw, text):
    words = list(re.finditer(r"[\w.]+", text))
    if not words:
        return text
    old = draw(st.sampled_from(words))
    new = draw(st.sampled_from(WORDS) | st.sampled_from(ODD))
    return text[: old.start()] + new + text[old.end() :]


def _replace_character(draw, text):
    place = draw(st.integers(0, max(0, len(text) - 1)))
    return text[:place] + draw(st.text(max_size=2)) + text[place + draw(st.integers(0, 2)) :]


def _drop_line(draw, text):
    lines = text.splitlines(keepends=True)
    place = draw(st.integers(0, max(0, len(lines) - 1)))
    return "".join(lines[:place] + lines[place + 1 :])


def _double_line(draw, text):
    lines = text.splitlines(keepends=True)
    place = draw(st.integers(0, max(0, len(lines) - 1)))
    return "".join(lines[:place] + lines[place : place + 1] * 2 + lines[place + 1 :])


def _indent_line(draw, text):
    lines = text.splitlines(keepends=True)
    place = draw(st.integers(0, max(0, len(lines) - 1)))
    spaces = " " * draw(st.integers(1, 4))
    return "".join(lines[:place] + [spaces + line for line in lines[place : place + 1]] + lines[place + 1 :])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


FIXED = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@settings(max_examples=100, **FIXED)
@given(mutated())
def test_a_mutated_sweep_is_accepted_or_refused_with_file_line_and_key(folder, text):
    check_answer(folder, text)


@pytest.mark.slow
@settings(max_examples=1000, **FIXED)
@given(mutated())
def test_a_thousand_mutated_sweeps_are_accepted_or_refused_with_file_line_and_key(folder, text):
    check_answer(folder, text)


def check_answer(folder, text):
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    problems = refusal(path)
    for problem in problems:
        place, _, what = problem.removeprefix(str(path)).partition(": ")
        assert re.fullmatch(r":\d+:\d+", place), problem
        assert re.match(r"[^:\n]+(:[^ \n][^:\n]*)*: .", what) or what.startswith(WITHOUT_KEY), problem


WITHOUT_KEY = (
    "not valid YAML",
    "cannot be read",
    "a key must be a word",
    "a sweep file is a mapping",
    "nested too deeply",
)
"""A file that is not YAML has no keys to name."""


def refusal(path) -> list[str]:
    """Problems of a file, none where it makes runs."""
    try:
        runs = expand(load_sweep(path), fingerprint=lambda source: "0")
    except ConfigError as error:
        return error.problems
    assert runs
    assert len({run.run_id for run in runs}) == len(runs)
    return []


@pytest.mark.parametrize("text", VALID)
def test_what_is_mutated_is_a_sweep_to_begin_with(folder, text):
    path = folder / "whole.yaml"
    path.write_text(text, encoding="utf-8")
    assert refusal(path) == []


def test_what_is_wrong_with_a_run_as_a_whole_names_its_key(folder):
    path = folder / "large.yaml"
    path.write_text(TEXT.replace("context: 64", f"context: {10**20 - 1}", 1), encoding="utf-8")
    problems = refusal(path)
    assert problems
    assert all("optim.beta2_half_life_tokens: 22000 is shorter than one step" in problem for problem in problems)
