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
from typing import Any, TypeVar

import numpy as np

from scaling.data.corpora import Corpus, Split, check_apart, load_corpus
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
from scaling.spec import CorpusSpec, DataSpec, PretrainedTeacher, RunSpec, SoftTargets, TextSource, TrainedTeacher

AnyTokenizer = Tokenizer | GgufTokenizer
AnyCorpus = TypeVar("AnyCorpus", bound="CorpusSpec")

LAYOUT_VERSION = 1
"""Of how text becomes tokens on disk; part of every id."""
TOKENIZER_BYTES = 1 << 26
"""Text that a tokenizer is trained on, at most: more changes few merges and needs memory for every different word."""


def open_tokenizer(source: TextSource, store: RunStore) -> AnyTokenizer:
    """The tokenizer of a source: a GGUF file's, or trained on its training part the first time it is asked for.

    Raises:
        DataError: if the file is absent or damaged.
        MissingPackageError: if the corpus or the ``tokenizers`` package is not installed.
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
        MissingPackageError: if the corpus or the ``tokenizers`` package is not installed.
    """
    return _encoded(_source_dir(store, source) / split, source, split, open_tokenizer(source, store))


def open_other_text(other: CorpusSpec, source: TextSource, store: RunStore) -> TokenShards:
    """The held-out part of another corpus, cut by the tokenizer of a source; encoded the first time it is asked for.

    Raises:
        DataError: if documents of it are in the training part of the source.
        MissingPackageError: if the corpus is not installed.
    """
    check_apart(source, other)
    tokenizer = open_tokenizer(source, store)
    recipe = {"text": "other", "source": _with_fingerprint(other).model_dump(mode="json"), "tokenizer": tokenizer.hash}
    return _encoded(store.root / "corpora" / _recipe_id(recipe), other, "held_out", tokenizer)


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


def measured_on(spec: RunSpec, source: TextSource) -> str:
    """Hash of all that decides which sequences of a source's real held-out text a run is measured on."""
    asked = {"context": spec.model.context, "tokens": spec.evaluation.tokens, "seed": spec.evaluation.seed}
    return _recipe_id({"text": "measured", "source": _identified(source).model_dump(mode="json")} | asked)


def targets_dir(text: Path, targets: SoftTargets) -> Path:
    """Where the soft targets of a teacher's text lie, beside its tokens; their share in the objective is not theirs."""
    return text / f"targets-{_recipe_id(targets.model_dump(mode='json', exclude={'weight'}))}"


def _source_dir(store: RunStore, source: TextSource) -> Path:
    recipe = {"text": "real", "source": _identified(source).model_dump(mode="json")}
    return store.root / "corpora" / _recipe_id(recipe)


def _identified(source: TextSource) -> TextSource:
    """The source with the fingerprints of its text and of its tokenizer's file."""
    found = _with_fingerprint(source)
    if found.tokenizer.kind != "gguf" or found.tokenizer.fingerprint:
        return found
    tokenizer = found.tokenizer.model_copy(update={"fingerprint": fingerprint(found.tokenizer)})
    return found.model_copy(update={"tokenizer": tokenizer})


def _with_fingerprint(corpus: AnyCorpus) -> AnyCorpus:
    if corpus.fingerprint:
        return corpus
    return corpus.model_copy(update={"fingerprint": load_corpus(corpus).fingerprint})


def _recipe_id(recipe: dict[str, Any]) -> str:
    text = json.dumps({**recipe, "layout": LAYOUT_VERSION}, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _encoded(folder: Path, corpus: CorpusSpec, split: Split, tokenizer: AnyTokenizer) -> TokenShards:
    """A part of a corpus as tokens, in its folder; made where it is not there, or damaged."""
    with locked(folder):
        card = read_card(folder)
        if card is None or damaged_shards(folder, card):
            _encode(folder, load_corpus(corpus), split, tokenizer)
    return open_shards(folder)


def _encode(folder: Path, corpus: Corpus, split: Split, tokenizer: AnyTokenizer) -> None:
    card = Card(
        text="real",
        split=split,
        source=corpus.name,
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
