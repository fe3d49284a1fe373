"""What a student of text is measured on beside the text that it reads: another text, and minimal pairs."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from pydantic import ValidationError

from scaling.data.evaluation import evaluation_sets
from scaling.data.text import open_other_text, open_text, open_tokenizer
from scaling.records import Outcome, RunRecord, RunStore, load_runs
from scaling.spec import RunSpec
from scaling.train.measure import held_out, measure
from scaling.train.student.model import Student


def written(folder, text: str) -> str:
    folder.mkdir()
    for i in range(12):
        (folder / f"{i:02d}.txt").write_text(f"{i} {text} " * 40, "utf-8")
    return str(folder / "*.txt")


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    texts = tmp_path_factory.mktemp("texts")
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 280, "width": 32, "n_layers": 1, "context": 80},
            "data": {
                "source": {
                    "kind": "text",
                    "corpus": written(texts / "sea", "the sea is deep and the sea is wide"),
                    "tokenizer": {"kind": "bpe", "vocab_size": 280},
                }
            },
            "evaluation": {
                "tokens": 400,
                "pairs": 20,
                "ood": {"corpus": written(texts / "law", "no law shall be void")},
            },
            "tokens": 1000,
        }
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return RunStore(tmp_path_factory.mktemp("results")).prepare()


def test_another_text_is_cut_as_what_is_read_and_never_read(spec, store):
    source, other = spec.data.source, spec.evaluation.ood
    tokenizer, shards = open_tokenizer(source, store), open_other_text(other, source, store)
    assert shards.card.tokenizer == tokenizer.hash
    text = tokenizer.decode([token for token in shards.maps[0].tolist() if token != tokenizer.eos_id])
    assert "no law shall be void" in text
    assert "sea" not in text
    assert open_other_text(other, source, store).folder == shards.folder != open_text(source, "held_out", store).folder


def test_the_unigram_level_is_what_the_counts_of_the_training_part_give(spec, store):
    sets, train = evaluation_sets(spec, store), open_text(spec.data.source, "train", store)
    counts = np.bincount(np.concatenate(train.maps), minlength=280)
    for found, one in ((sets.unigram_loss, sets.real), (sets.ood_unigram_loss, sets.ood)):
        p = (counts[one.sequences] + 1) / (counts.sum() + 280)
        assert found == pytest.approx(-np.log(p).mean())
    assert sets.unigram_loss < sets.ood_unigram_loss - 0.5


def test_a_record_has_the_loss_on_the_other_text_and_the_shares_of_the_pairs(spec, store):
    measured = measure(Student(spec.model, seed=0), held_out(spec, store))
    assert measured.ood_loss == pytest.approx(math.log(280), abs=0.5)
    per_byte = measured.ood_bits_per_byte * math.log(2) / measured.ood_loss
    tokens = evaluation_sets(spec, store).ood.sequences
    assert 1 / per_byte == pytest.approx(open_tokenizer(spec.data.source, store).n_bytes[tokens].mean())
    assert 0.2 < measured.pairs["all"] < 0.8
    committed = store.commit(RunRecord(spec=spec, outcome=Outcome(status="done", **asdict(measured))))
    assert store.load(spec.run_id) == committed
    row = load_runs(store.root).iloc[0]
    assert row["pairs_negation_se"] == measured.pairs["negation_se"]
    assert row["ood_unigram_loss"] == measured.ood_unigram_loss


def test_who_is_asked_nothing_more_is_the_run_of_before(spec, store):
    plain = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"ood": None, "pairs": None})})
    assert '"evaluation":{"seed":0,"tokens":400}' in plain.canonical_json()
    assert len({plain.run_id, spec.run_id}) == 2
    measured = measure(Student(spec.model, seed=0), replace(held_out(spec, store), ood=None, probe=None))
    assert measured.ood_loss is None
    assert measured.unigram_loss is None
    assert measured.pairs == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"source": {"kind": "w0"}}}, "evaluation.ood: source w0 is no text"),
        (
            {"model": {"vocab_size": 280, "width": 32, "context": 40}},
            "a sentence may have 80 tokens, got model.context 40",
        ),
    ],
)
def test_what_cannot_be_asked_of_a_student_is_refused_before_it_is_trained(spec, changes, message):
    with pytest.raises(ValidationError, match=message):
        RunSpec.model_validate(spec.model_dump() | changes)
