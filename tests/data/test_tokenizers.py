"""Tokenizers: exact round trips, one layout of ids, and what a GGUF file is told of them."""

import json
import random
import sys

import numpy as np
import pytest

from scaling.data.tokenizers import Tokenizer, load_tokenizer, train_tokenizer
from scaling.errors import DataError, MissingPackageError
from scaling.spec import TokenizerSpec

pytest.importorskip("tokenizers", reason="byte-level BPE is in the extra [text]")

TEXTS = [f"The people of the nation, {y}: peace and revenue, the people's treaty." for y in range(1790, 1850)]
STRANGE = "naïve 平和 🙂\t\r\n\x00 don't  it's 1790—1791 \u00a0end  "
TOKENIZERS = {"bytes": Tokenizer(), "bpe": train_tokenizer(TokenizerSpec(vocab_size=300), TEXTS)}


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", ["", STRANGE, TEXTS[0]])
def test_text_survives_encoding_and_decoding(name, text):
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == text
    assert tokenizer.n_bytes[ids].sum() == len(text.encode())
    assert not (ids == tokenizer.eos_id).any()


def test_bytes_are_their_own_ids():
    assert TOKENIZERS["bytes"].encode("é!").tolist() == list("é!".encode())
    assert TOKENIZERS["bytes"].vocab_size == 257


def test_bpe_has_the_size_asked_for_and_shortens_text():
    bpe = TOKENIZERS["bpe"]
    assert bpe.vocab_size == 300
    assert bpe.eos_id == 299
    assert len(bpe.encode(TEXTS[0])) < len(TEXTS[0]) / 1.5


def test_merging_by_hand_gives_the_same_tokens():
    bpe = TOKENIZERS["bpe"]
    spelled = bpe.to_gguf().tokens
    rank = {tuple(merge.split(" ")): i for i, merge in enumerate(bpe.to_gguf().merges)}
    pieces = [spelled[byte] for byte in b" people"]
    while pairs := [(rank[pair], i) for i, pair in enumerate(zip(pieces, pieces[1:], strict=False)) if pair in rank]:
        _, i = min(pairs)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
    assert [spelled[i] for i in bpe.encode("The people")][-len(pieces) :] == pieces


def test_training_twice_gives_the_same_tokenizer():
    again = train_tokenizer(TokenizerSpec(vocab_size=300), TEXTS)
    assert again.hash == TOKENIZERS["bpe"].hash
    assert again.hash != TOKENIZERS["bytes"].hash


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_gguf_file_is_told_every_token_and_at_least_one_merge(name):
    tokenizer, layout = TOKENIZERS[name], TOKENIZERS[name].to_gguf()
    assert len(layout.tokens) == len(set(layout.tokens)) == tokenizer.vocab_size
    assert layout.token_types == (*([1] * (tokenizer.vocab_size - 1)), 3)
    assert layout.merges
    assert layout.eos_id == layout.bos_id == tokenizer.eos_id
    assert layout.pre == "gpt-2"


def test_a_saved_tokenizer_is_read_back_and_damage_is_found(tmp_path):
    path = tmp_path / "tokenizer.json"
    TOKENIZERS["bpe"].save(path)
    assert load_tokenizer(path) == TOKENIZERS["bpe"]
    saved = json.loads(path.read_text())
    saved["merges"].pop()
    path.write_text(json.dumps(saved))
    with pytest.raises(DataError, match="does not have its hash"):
        load_tokenizer(path)
    path.write_text(path.read_text()[:40])
    with pytest.raises(DataError, match="trained again"):
        load_tokenizer(path)


def test_too_little_text_for_a_vocabulary_is_said():
    with pytest.raises(DataError, match=r"tokens at most, 4096 were asked for"):
        train_tokenizer(TokenizerSpec(vocab_size=4096), TEXTS[:2])


def test_a_missing_package_names_the_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'scaling\[text\]'"):
        train_tokenizer(TokenizerSpec(vocab_size=300), TEXTS)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_bytes_that_are_no_utf_8_become_their_own_tokens(name):
    tokenizer = TOKENIZERS[name]
    content = b"The people \xff\xfe of caf\xe9 and \xf0\x9f\x99 peace"
    ids = tokenizer.encode(content.decode("utf-8", "surrogateescape"))
    assert b"".join(tokenizer.token_bytes[i] for i in ids) == content


def test_a_text_cut_into_pieces_has_the_tokens_of_the_whole(monkeypatch):
    bpe, rng = TOKENIZERS["bpe"], random.Random(0)
    words = ["people", "the", "1790", "nation's", "§"]
    ends = ["\n", "\n\n", "\n\n\n  ", " \n", ".\n\t", "'s\n", "1\n2", " ", ", ", "平\n", "\u00a0\n", "\x1c\n", "\x85\n"]
    texts = ["".join(rng.choice(words) + rng.choice(ends) for _ in range(n)) for n in (900, 0, 40)]
    whole = [found.ids for found in bpe._engine.encode_batch_fast(texts)]
    monkeypatch.setattr("scaling.data.tokenizers.PIECE_CHARS", 20)
    monkeypatch.setattr("scaling.data.tokenizers.BATCH_CHARS", 100)
    assert [ids.tolist() for ids in bpe.encode_all(iter(texts))] == whole
