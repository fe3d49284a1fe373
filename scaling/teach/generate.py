"""Text of a teacher, written once into shards.

A text is a list of blocks. Each block holds independent sequences and is a function of the teacher, the seed and its
own number; so a killed generation goes on with the block it was at and ends with the same text, a longer text begins
with the shorter one, and nothing is generated twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from scaling.data.shards import Card, damaged_shards, locked, read_card, write_card, write_shard
from scaling.data.text import Split, teacher_text_dir
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.teach.authors import Author, open_author


@dataclass(frozen=True, kw_only=True)
class GenerationProgress:
    """How far a text is: ``tokens`` of ``n_tokens``; the teacher's label and the split say which text."""

    teacher: str
    split: Split
    tokens: int
    n_tokens: int


Listener = Callable[[GenerationProgress], None]


def ensure_teacher_text(
    spec: RunSpec, store: RunStore, *, n_tokens: int, progress: Listener | None = None
) -> tuple[Card, Card]:
    """Make sure that the text which a student reads and is measured on is there, generating what is missing.

    Args:
        spec: The student's run. A trained teacher's own run must be in the store.
        store: Where runs and texts lie.
        n_tokens: Tokens that the student will read, at least.
        progress: Called after every block.

    Returns:
        Cards of the text to learn from and of the held-out text.

    Raises:
        DataError: if the teacher was not trained, did not end well, writes other tokens than the student reads, or has
            a shorter context.
    """
    author, tell = open_author(spec, store), progress or (lambda _: None)
    wanted: dict[Split, tuple[int, int]] = {
        "train": (spec.data.seed, n_tokens),
        "held_out": (spec.evaluation.seed, spec.evaluation.tokens),
    }
    cards = []
    for split, (seed, tokens) in wanted.items():
        folder = teacher_text_dir(store, spec.data, seed=seed, split=split, context=spec.model.context)
        cards.append(_write_text(author, folder, seed, split, _sequences_for(tokens, spec, author), tell))
    return cards[0], cards[1]


def _write_text(author: Author, folder: Path, seed: int, split: Split, n_sequences: int, progress: Listener) -> Card:
    """A text of at least so many sequences; what is there and whole is kept."""
    n_blocks = -(-n_sequences // author.rows)
    with locked(folder):
        card = read_card(folder) or author.card(split)
        planned = max(n_blocks, len(card.shards)) * author.rows * author.context
        for block in [*damaged_shards(folder, card), *range(len(card.shards), n_blocks)]:
            shard = write_shard(folder, block, author.write(seed, split, block), card.dtype)
            card = replace(card, shards=(*card.shards[:block], shard, *card.shards[block + 1 :]))
            write_card(folder, card)
            progress(GenerationProgress(teacher=card.teacher, split=split, tokens=card.tokens, n_tokens=planned))
    return card


def _sequences_for(n_tokens: int, spec: RunSpec, author: Author) -> int:
    """Sequences that a teacher must write so that a student with another context finds ``n_tokens`` in them."""
    pieces = author.context // spec.model.context
    return -(-n_tokens // (pieces * spec.model.context))
