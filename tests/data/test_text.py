"""Streams and evaluation sets of real text, and the shards they are read from."""

from pathlib import Path

import numpy as np
import pytest

from scaling.data.batches import open_stream
from scaling.data.corpora import load_corpus
from scaling.data.evaluation import evaluation_sets
from scaling.data.shards import Card, open_shards, read_card, write_card, write_shard
from scaling.data.text import open_text, open_tokenizer
from scaling.errors import DataError
from tests.streams import batch_of

pytest.importorskip("tokenizers", reason="byte-level BPE is in the extra [text]")


def everything(shards):
    return np.concatenate([np.asarray(tokens) for tokens in shards.maps])


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_encoded_text_is_the_corpus_with_its_ends(text_run, store, kind):
    source = text_run(kind=kind).data.source
    tokenizer = open_tokenizer(source, store)
    tokens = everything(open_text(source, "train", store))
    ends = np.flatnonzero(tokens == tokenizer.eos_id)
    documents = np.split(tokens, ends + 1)[:-1]
    texts = [text for _, text in sorted(load_corpus(source).documents("train"))]
    assert [tokenizer.decode(part[:-1]) for part in documents] == texts
    assert ends[-1] == len(tokens) - 1


def test_every_window_of_an_epoch_is_read_once_and_in_another_order_the_next_time(text_run, store):
    spec = text_run()
    stream = open_stream(spec, store)
    text = everything(open_text(spec.data.source, "train", store))
    n = stream.sequences.n_distinct
    first, second = (stream.sequences.read(epoch * n, n) for epoch in (0, 1))
    windows = text[: n * 32].reshape(n, 32)
    assert sorted(map(bytes, first.astype(np.uint16))) == sorted(map(bytes, windows))
    assert not np.array_equal(first, windows)
    known = {bytes(text[i : i + 32]) for i in range(len(text) - 31)}
    assert {bytes(window) for window in second.astype(np.uint16)} <= known
    assert not np.array_equal(np.sort(first, axis=0), np.sort(second, axis=0)), "the second epoch is cut elsewhere"


def test_text_is_the_same_in_whatever_steps_it_is_read(text_run, store):
    spec = text_run(kind="bpe")
    steps = 3 * open_stream(spec, store).sequences.n_distinct // 4
    whole = open_stream(spec, store).batches(0, steps)
    again = open_stream(spec, store)
    for step in (steps - 1, 0, steps // 2):
        assert np.array_equal(batch_of(again, step).targets, whole.targets[step])
    assert np.all(whole.inputs[..., 0] == 319)
    assert np.array_equal(whole.inputs[..., 1:], whole.targets[..., :-1])
    assert not np.array_equal(batch_of(open_stream(text_run(kind="bpe", seed=1), store), 0).targets, whole.targets[0])


def test_repeated_text_counts_as_epochs_not_as_new_tokens(text_run, store):
    stream = open_stream(text_run(), store)
    n = stream.sequences.n_distinct
    assert stream.n_unique_tokens(2) == 2 * 4 * 32
    assert stream.n_unique_tokens(n) == n * 32


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_bytes_that_are_no_utf_8_survive_encoding(text_run, store, kind):
    source = text_run(kind=kind).data.source
    folder = Path(source.corpus).parent
    for path in folder.glob("*.txt"):
        path.write_bytes(path.read_bytes().replace("über".encode(), "über".encode("latin-1")))
    source = source.model_copy(update={"non_utf8": "keep"})
    tokenizer, found = open_tokenizer(source, store), b""
    for split in ("train", "held_out"):
        found += b"".join(tokenizer.token_bytes[i] for i in everything(open_text(source, split, store)))
    assert found.count(b"\xfcber") == sum(path.read_bytes().count(b"\xfcber") for path in folder.glob("*.txt")) > 5


def test_text_may_lie_in_many_shards(text_run, store, monkeypatch):
    monkeypatch.setattr("scaling.data.text.SHARD_TOKENS", 2000)
    spec = text_run()
    shards = open_text(spec.data.source, "train", store)
    assert len(shards.card.shards) > 3
    stream = open_stream(spec, store)
    n = stream.sequences.n_distinct
    windows = {bytes(t[i : i + 32]) for t in shards.maps for i in range(0, len(t) - 63, 32)}
    assert {bytes(w) for w in stream.sequences.read(0, n).astype(np.uint16)} == windows
    assert len(evaluation_sets(spec, store).real.sequences)


def test_evaluation_text_is_held_out_and_the_same_for_all_runs(text_run, store):
    sets = evaluation_sets(text_run(), store)
    assert np.array_equal(sets.real.sequences, evaluation_sets(text_run(seed=3), store).real.sequences)
    text = everything(open_text(text_run().data.source, "held_out", store))
    windows = {bytes(w) for w in text[: len(text) // 32 * 32].reshape(-1, 32)}
    chosen = [bytes(w) for w in sets.real.sequences.reshape(-1, 32).astype(np.uint16)]
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= windows
    assert sets.real.n_scored >= 500
    assert all(batch.p is None and batch.weights.all() for batch in sets.real)


def test_more_evaluation_than_there_is_text_takes_what_there_is(text_run, store):
    spec = text_run(evaluation_tokens=10**9)
    available = open_text(spec.data.source, "held_out", store).card.tokens // 32
    real = evaluation_sets(spec, store).real
    assert available - len(real) < real.n_sequences <= available


@pytest.mark.parametrize(("kind", "at_least", "at_most"), [("bytes", 0.95, 1.0), ("bpe", 1.8, 6.0)])
def test_bytes_per_token_are_those_of_the_scored_text(text_run, store, kind, at_least, at_most):
    spec = text_run(kind=kind, evaluation_tokens=10**9)
    sets = evaluation_sets(spec, store)
    text = open_tokenizer(spec.data.source, store).decode(sets.real.sequences.ravel())
    assert at_least < sets.bytes_per_token <= at_most
    # Windows cut characters in two; decoding marks each half with U+FFFD.
    assert sets.bytes_per_token * sets.real.n_scored == pytest.approx(len(text.encode()), rel=0.02)


def test_a_context_longer_than_the_text_is_refused(text_run, store):
    with pytest.raises(DataError, match="too few for windows of 65536"):
        batch_of(open_stream(text_run(context=65536), store), 0)
    with pytest.raises(DataError, match="shorter than one context"):
        evaluation_sets(text_run(context=65536), store)


@pytest.mark.parametrize("damage", ["torn", "changed", "lost"])
def test_a_damaged_shard_is_found_by_its_hash_and_made_again(text_run, store, damage):
    source = text_run().data.source
    shards = open_text(source, "train", store)
    path = shards.folder / shards.card.shards[0].file
    content = bytearray(path.read_bytes())
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "torn" else bytes(reversed(content)))
    with pytest.raises(DataError, match=f"{path.name} missing or damaged"):
        open_shards(shards.folder)
    assert open_text(source, "train", store).card == shards.card
    assert path.read_bytes() == content


def test_a_card_survives_writing_and_reading(tmp_path):
    card = Card(text="teacher", split="train", source="x", vocab_size=70_000, tokenizer="t", sequence_tokens=4)
    shard = write_shard(tmp_path, 0, np.array([[1, 2, 3, 69_999]]), card.dtype)
    write_card(tmp_path, Card.from_json({**card.to_json(), "shards": [vars(shard)]}))
    read = open_shards(tmp_path)
    assert read.card == read_card(tmp_path)
    assert read.maps[0].tolist() == [1, 2, 3, 69_999]
    assert read.card.tokens == 4


def test_a_shard_that_shrinks_while_it_is_read_is_not_read_as_text(text_run, store):
    shards = open_text(text_run().data.source, "train", store)
    path = shards.folder / shards.card.shards[0].file
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="ends too early"):
        shards.windows(np.array([0]), np.array([shards.card.tokens - 32]), 32)
