"""Text made ready for reading: tokenizers trained once, corpora encoded once, each found again by its hash.

Everything lies under ``corpora/`` of a results folder, one folder a text::

    corpora/<id>/tokenizer.json                      a tokenizer, beside the text that it was trained on
    corpora/<id>/{train,held_out}/                   real text of a source, encoded
    corpora/<id>/                                    text of a trained teacher, one split
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling.data.corpora import Corpus, Split, load_corpus
from scaling.data.pretrained import GgufTokenizer, fingerprint, open_gguf_tokenizer
from scaling.data.shards import (
    SHARD_TOKENS,
    Card,
    TokenShards,
    damaged_shards,
    locked,
    open_shards,
    read_card,
    write_card,
    write_shard,
)
from scaling.data.sorting import in_hash_order
from scaling.data.tokenizers import Tokenizer, load_tokenizer, train_tokenizer
from scaling.records import RunStore
from scaling.spec import DataSpec, PretrainedTeacher, SoftTargets, TextSource, TrainedTeacher

AnyTokenizer = Tokenizer | GgufTokenizer

LAYOUT_VERSION = 1
"""Of how text becomes tokens on disk; part of every id."""
TOKENIZER_BYTES = 1 << 26
"""Text that a tokenizer is trained on, at most: more changes few merges and needs memory for every different word."""


def open_tokenizer(source: TextSource, store: RunStore) -> AnyTokenizer:
    """The tokenizer of a source: a GGUF file's, or trained on its training part the first time it is asked for.

    Raises:
        DataError: if the corpus or the ``tokenizers`` package is missing, or the file is absent or damaged.
    """
    if source.tokenizer.kind == "gguf":
        return open_gguf_tokenizer(source.tokenizer)
    folder = _source_dir(store, source)
    path = folder / "tokenizer.json"
    if not path.exists():
        with locked(folder):
            if not path.exists():
                train_tokenizer(source.tokenizer, _sample(load_corpus(source))).save(path)
    return load_tokenizer(path)


def open_text(source: TextSource, split: Split, store: RunStore) -> TokenShards:
    """One part of a source's real text as tokens, documents each followed by the end-of-document token.

    The text is encoded the first time it is asked for, and again where a shard is damaged.

    Raises:
        DataError: if the corpus or the ``tokenizers`` package is missing.
    """
    folder = _source_dir(store, source) / split
    tokenizer = open_tokenizer(source, store)
    with locked(folder):
        card = read_card(folder)
        if card is None or damaged_shards(folder, card):
            _encode(folder, load_corpus(source), source, split, tokenizer)
    return open_shards(folder)


def teacher_text_dir(store: RunStore, data: DataSpec, *, seed: int, split: Split, context: int) -> Path:
    """Where the text that a teacher generates lies: a function of the teacher, its decoding, the seed and the split.

    A trained teacher brings its own source and context; an n-gram or pretrained one takes those of its student. All
    mixtures with one teacher share its text.
    """
    teacher = data.generator
    if isinstance(teacher, PretrainedTeacher) and not teacher.fingerprint:
        teacher = teacher.model_copy(update={"fingerprint": fingerprint(teacher)})
    recipe = {"text": "teacher", "teacher": teacher.model_dump(mode="json"), "seed": seed, "split": split}
    if isinstance(data.source, TextSource) and not isinstance(teacher, TrainedTeacher):
        recipe |= {"source": _identified(data.source).model_dump(mode="json"), "context": context}
    return store.root / "corpora" / _recipe_id(recipe)


def targets_dir(text: Path, targets: SoftTargets) -> Path:
    """Where the soft targets of a teacher's text lie, beside its tokens; their share in the objective is not theirs."""
    return text / f"targets-{_recipe_id(targets.model_dump(mode='json', exclude={'weight'}))}"


def _source_dir(store: RunStore, source: TextSource) -> Path:
    recipe = {"text": "real", "source": _identified(source).model_dump(mode="json")}
    return store.root / "corpora" / _recipe_id(recipe)


def _identified(source: TextSource) -> TextSource:
    """The source with the fingerprints of its text and of its tokenizer's file."""
    found: dict[str, Any] = {}
    if not source.fingerprint:
        found["fingerprint"] = load_corpus(source).fingerprint
    if source.tokenizer.kind == "gguf" and not source.tokenizer.fingerprint:
        found["tokenizer"] = source.tokenizer.model_copy(update={"fingerprint": fingerprint(source.tokenizer)})
    return source.model_copy(update=found)


def _recipe_id(recipe: dict[str, Any]) -> str:
    text = json.dumps({**recipe, "layout": LAYOUT_VERSION}, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _encode(
    folder: Path, corpus: Corpus, source: TextSource, split: Split, tokenizer: Tokenizer | GgufTokenizer
) -> None:
    card = Card(
        text="real",
        split=split,
        source=source.label,
        vocab_size=tokenizer.vocab_size,
        tokenizer=tokenizer.hash,
        eos_id=tokenizer.eos_id,
        notice=corpus.notice,
    )
    parts = enumerate(_packed(in_hash_order(corpus, split, folder), tokenizer, card.dtype))
    shards = tuple(write_shard(folder, i, tokens, card.dtype) for i, tokens in parts)
    write_card(folder, replace(card, shards=shards))


def _packed(documents: Iterator[str], tokenizer: AnyTokenizer, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Documents with their ends, joined and cut into pieces of about one shard."""
    end = np.array([tokenizer.eos_id], dtype)
    waiting, n_waiting = [], 0
    for tokens in tokenizer.encode_all(documents):
        waiting += [tokens.astype(dtype), end]
        n_waiting += len(tokens) + 1
        if n_waiting >= SHARD_TOKENS:
            yield np.concatenate(waiting)
            waiting, n_waiting = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _sample(corpus: Corpus) -> Iterator[str]:
    """Training documents to learn a tokenizer from: those first in the order of hashes, so a fair sample."""
    last = corpus.n_held_out + np.searchsorted(np.cumsum(corpus.scan.n_bytes[corpus.n_held_out :]), TOKENIZER_BYTES)
    return (text for rank, text in corpus.documents("train") if rank <= last)
