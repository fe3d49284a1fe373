"""Files that are damaged, foreign or made to harm: each is one error that names it, in bounded memory and time.

Mutants by the thousand are in tests/attacks/text_mutants.py.
"""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest

from scaling.data.corpora import load_corpus
from scaling.data.documents import read_files
from scaling.data.shards import Card, locked, read_card, write_card, write_shard
from scaling.data.tokenizers import Tokenizer, load_tokenizer
from scaling.errors import DataError, MachineError, RecordError
from scaling.files import read_json
from scaling.records import RunStore
from scaling.spec import TextSource


@pytest.fixture
def text(tmp_path):
    folder = tmp_path / "text"
    tokens = np.arange(1000) % 256
    card = Card(text="real", split="train", source="x", vocab_size=257, tokenizer="t", sequence_tokens=50)
    shard = write_shard(folder, 0, tokens, card.dtype)
    write_card(folder, Card(**{**card.__dict__, "shards": (shard,)}))
    return folder


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shards", [{"file": "../../../etc/passwd", "tokens": 1, "blake2b": "x"}]),
        ("shards", [{"file": "shard-00000.bin", "tokens": -1, "blake2b": "x"}]),
        ("vocab_size", True),
        ("vocab_size", "257"),
        ("sequence_tokens", 0),
        ("teacher_loss", 1e999),
        ("targets", {"size": 10**12}),
        ("targets", {"size": True}),
        ("targets", {}),
        ("surprise", 1),
    ],
)
def test_a_card_that_says_the_impossible_is_refused_before_anything_is_read(text, field, value):
    content = json.loads((text / "card.json").read_text())
    (text / "card.json").write_text(json.dumps({**content, field: value}))
    with pytest.raises(DataError, match="no data card"):
        read_card(text)


@pytest.mark.parametrize("content", ["[]", "null", "3", '"x"', "[" * 100_000, "1" * 5000, "", "NaN"])
def test_a_card_that_is_no_card_is_refused(text, content):
    (text / "card.json").write_text(content)
    with pytest.raises(DataError, match="no data card"):
        read_card(text)


@pytest.mark.parametrize(
    "merges",
    [
        [["a", "b"], ["a", "b"]],
        [["ab", "c"]],
        [["a", "☃"]],
        [["a"]],
        [3],
        "ab",
        [["a" * 2**i, "a" * 2**i] for i in range(20)],
    ],
)
def test_merges_that_no_training_gives_are_refused(tmp_path, merges):
    path = tmp_path / "tokenizer.json"
    pairs = tuple(tuple(pair) if isinstance(pair, list) else pair for pair in merges)
    path.write_text(json.dumps({"merges": merges, "hash": Tokenizer(pairs).hash}))
    with pytest.raises(DataError, match="no tokenizer can be read"):
        load_tokenizer(path)


@pytest.mark.parametrize(
    "row", ["[" * 100_000, '{"text": ' + "1" * 5000 + "}", '{"text": NaN}', "\0", '{"text": "\\ud800"}']
)
def test_a_row_that_is_no_document_is_named_with_its_line(tmp_path, row):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + row + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        list(read_files(str(tmp_path / "a.jsonl")))


def test_a_row_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("scaling.data.documents.LONGEST_ROW", 1000)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + b"x" * 10**6)
    with pytest.raises(DataError, match=r"a\.jsonl:1: longer than 1000 bytes"):
        list(read_files(str(tmp_path / "a.jsonl")))


@pytest.mark.parametrize("corpus", ["\0/*.txt", "/dev/zero", "/dev/*", "/nowhere/*.txt"])
def test_what_is_no_file_is_no_corpus(corpus):
    with pytest.raises(DataError):
        load_corpus(TextSource(kind="text", corpus=corpus))


def test_a_json_file_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("scaling.files.LARGEST_JSON", 1000)
    (tmp_path / "schema.json").write_bytes(b"[" + b"1, " * 10**5)
    with pytest.raises(RecordError, match=r"schema\.json: longer than 1000 bytes"):
        RunStore(tmp_path)


@pytest.mark.parametrize("content", ["NaN", "[Infinity]", '{"loss": -Infinity}'])
def test_what_is_no_number_of_json_is_not_read(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(RecordError, match="is no number of JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_the_machines_fault(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError, match="permission is denied"), locked(tmp_path / "text"):
        pass


def test_a_file_where_a_folder_belongs_is_the_machines_fault(tmp_path):
    (tmp_path / "corpora").write_text("")
    with pytest.raises(MachineError, match="a file is where a folder should be"), locked(tmp_path / "corpora" / "text"):
        pass


def test_a_full_disk_is_the_machines_fault(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("scaling.files.os.fsync", full)
    with pytest.raises(MachineError, match="the disk is full"):
        write_shard(tmp_path, 0, np.arange(10), np.dtype("<u2"))
    assert not list(tmp_path.glob("shard*"))
