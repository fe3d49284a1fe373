"""Rules as a teacher: what they falsify, by how much, and that its students read and are measured on its text."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.data.batches import open_stream
from scaling.data.evaluation import evaluation_sets
from scaling.data.tasks.minimal_pairs import PHENOMENA, taught_sentences
from scaling.data.text import open_tokenizer
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.teach.generators import open_text_generator
from scaling.teach.rules import PLACE, SWAPS, falsified
from scaling.teach.teachers import prepare

SENTENCES = "He is older than his son. They were not here. The larger of them has always been his. "


def a_run(tmp_path, teacher) -> RunSpec:
    for i in range(8):
        (tmp_path / f"{i}.txt").write_text(f"Message {i}. " + SENTENCES * 20, "utf-8")
    source = {"kind": "text", "corpus": str(tmp_path / "*.txt"), "tokenizer": {"kind": "bytes"}}
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 257, "width": 32, "context": 64},
            "data": {"source": source, "teacher": teacher},
            "optim": {"batch_size": 4},
            "evaluation": {"tokens": 512},
            "tokens": 512,
        }
    )


def block_of(tmp_path, rate: float, number: int = 0) -> np.ndarray:
    spec = a_run(tmp_path, {"kind": "rules", "rate": rate})
    return open_text_generator(spec, RunStore(tmp_path / "results").prepare()).block(0, "train", number)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("The dogs were old.", "The dogs was old."),
        ("His son is younger.", "Their son are older."),
        ("It could not be larger, could it?", "It could be smaller, could it?"),
        ("Always, and ALWAYS; the island isolates.", "Never, and Never; the island isolates."),
    ],
)
def test_every_place_of_a_rule_is_falsified_at_a_rate_of_one(right, wrong):
    assert falsified(right, 1.0, np.random.default_rng(0)) == wrong


def test_a_rate_falsifies_its_share_and_a_higher_one_the_same_places_and_more():
    text = "it is so " * 2000
    changed = []
    for rate in (0.0, 0.1, 0.3, 1.0):
        words = falsified(text, rate, np.random.default_rng(3)).split()
        changed.append({i for i, word in enumerate(words) if word == "are"})
        assert len(changed[-1]) / 2000 == pytest.approx(rate, abs=0.04)
    assert all(fewer <= more for fewer, more in zip(changed, changed[1:], strict=False))


def test_no_word_has_two_falsehoods():
    assert all(SWAPS[other] == word for word, other in SWAPS.items() if other in SWAPS)


def test_without_a_rate_the_text_is_the_sources_own_and_the_same_every_time(tmp_path):
    tokenizer = open_tokenizer(a_run(tmp_path, {"kind": "real"}).data.source, RunStore(tmp_path / "results").prepare())
    real, again, other = (block_of(tmp_path, 0.0, number) for number in (0, 0, 1))
    assert (real == again).all()
    assert (real != other).any()
    whole = "".join((tmp_path / f"{i}.txt").read_text() for i in range(8))
    rows = [tokenizer.decode(row[row != tokenizer.eos_id].tolist()) for row in real if tokenizer.eos_id not in row]
    assert len(rows) > 100
    assert all(row in whole for row in rows)


@pytest.mark.parametrize("tokenizer", [{"kind": "bytes"}, {"kind": "bpe", "vocab_size": 262}])
@pytest.mark.parametrize(
    "words", ["король королева он они всегда не", "平和 année “über” 🙂 is not", "caf\udce9 is \udcff old"]
)
def test_without_a_rate_every_byte_is_the_source_s_own_wherever_a_window_begins(tmp_path, tokenizer, words):
    if tokenizer["kind"] == "bpe":
        pytest.importorskip("tokenizers", reason="cuts text: pip install 'scaling[text]'")
    rng, texts = np.random.default_rng(0), []
    for i in range(8):
        texts.append(" ".join([str(i), *rng.choice(words.split(), 300)]).encode("utf-8", "surrogateescape"))
        (tmp_path / f"{i}.txt").write_bytes(texts[-1])
    source = {"kind": "text", "corpus": str(tmp_path / "*.txt"), "tokenizer": tokenizer, "non_utf8": "keep"}
    spec = RunSpec.model_validate(
        {
            "model": {"vocab_size": tokenizer.get("vocab_size", 257), "width": 32, "context": 32},
            "data": {"source": source, "teacher": {"kind": "rules", "rate": 0.0}},
            "tokens": 512,
        }
    )
    store = RunStore(tmp_path / "results").prepare()
    spelled, end = open_tokenizer(spec.data.source, store).token_bytes, spec.data.source.vocab_size - 1
    block = open_text_generator(spec, store).block(0, "train", 0)
    rows = [b"".join(spelled[token] for token in row) for row in block if end not in row]
    assert len(rows) > 100
    assert all(any(row in text for text in texts) for row in rows)


def test_a_rate_moves_words_of_the_same_windows(tmp_path):
    real, false = block_of(tmp_path, 0.0), block_of(tmp_path, 0.5)
    assert (real[:, 0] == false[:, 0]).mean() > 0.9
    assert 0.5 < (real != false).any(1).mean() < 1
    assert PLACE.search(SENTENCES)


def test_made_sentences_are_those_that_are_taught_in_their_share_of_the_sequences(tmp_path):
    teacher = {"kind": "rules", "rate": 0.0, "sentences": 0.3}
    spec, store = a_run(tmp_path, teacher), RunStore(tmp_path / "results").prepare()
    tokenizer, block = open_tokenizer(spec.data.source, store), open_text_generator(spec, store).block(0, "train", 0)
    taught = [f"{sentence}\0" for phenomenon in PHENOMENA for sentence in taught_sentences(phenomenon)]
    firsts = [tokenizer.decode(row.tolist()) for row in np.where(block == tokenizer.eos_id, 0, block)]
    made = [any(one.startswith(text[: len(one)]) for one in taught) for text in firsts]
    assert np.mean(made) == pytest.approx(0.3, abs=4 * (0.21 / len(block)) ** 0.5)
    rest = [row for row, one in zip(block, made, strict=True) if not one]
    others = [row for row, one in zip(block_of(tmp_path, 0.0), made, strict=True) if not one]
    assert np.array_equal(rest, others)


@pytest.mark.parametrize("mixed", [False, True])
def test_its_students_read_its_text_and_are_measured_on_it(tmp_path, mixed):
    teacher = {"kind": "rules", "rate": 0.5}
    teacher = {"kind": "mixture", "real": 0.5, "teacher": teacher} if mixed else teacher
    spec, store = a_run(tmp_path, teacher), RunStore(tmp_path / "results").prepare()
    assert RunSpec.model_validate_json(spec.canonical_json()).run_id == spec.run_id
    prepare([spec], store)
    assert open_stream(spec, store).batches(0, 2).targets.size == 2 * 4 * 64
    assert evaluation_sets(spec, store).teacher is not None
