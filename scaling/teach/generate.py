"""Text of a teacher, generated once into shards, and beside it what its students are to learn at each position.

A text is a list of blocks. Each block holds independent sequences and is a function of the teacher, the seed and its
own number; so a killed generation goes on with the block it was at and ends with the same text, a longer text begins
with the shorter one, and nothing is generated twice. Soft targets lie in the same blocks, in a folder of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, islice
from pathlib import Path

import numpy as np

from scaling.data.shards import Card, damaged_shards, locked, open_shards, read_card, write_card, write_shard
from scaling.data.text import Split, measured_on, targets_dir, teacher_text_dir
from scaling.records import RunStore
from scaling.spec import RunSpec, SoftTargets, TextSource
from scaling.teach.blocks import BlockGenerator
from scaling.teach.generators import open_text_generator


@dataclass(frozen=True, kw_only=True)
class GenerationProgress:
    """How far a text is: ``tokens`` of ``n_tokens``; the teacher's label and the split say which text."""

    teacher: str | None
    split: str
    tokens: int
    n_tokens: int


Listener = Callable[[GenerationProgress], None]
Maker = Callable[[Sequence[int]], Iterable[np.ndarray]]
"""From numbers of blocks to these, in order."""


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
    generator, tell = open_text_generator(spec, store), progress or (lambda _: None)
    wanted: dict[Split, tuple[int, int]] = {
        "train": (spec.data.seed, n_tokens),
        "held_out": (spec.evaluation.seed, spec.evaluation.tokens),
    }
    cards: dict[Split, Card] = {}
    for split, (seed, tokens) in wanted.items():
        folder = teacher_text_dir(store, spec.data, seed=seed, split=split, context=spec.model.context)
        # A reader of shorter sequences leaves the end of each unread, so more has to be written than it reads.
        wanted_tokens = _tokens_for(tokens, spec, generator)
        cards[split] = _write_text(generator, folder, seed, split, wanted_tokens, cards.get("train"), tell)
        if split == "train" and isinstance(spec.data.targets, SoftTargets):
            _write_targets(generator, folder, spec.data.targets, seed, wanted_tokens, tell)
    return cards["train"], _with_loss(generator, folder, cards["held_out"], spec)


def _write_text(
    generator: BlockGenerator,
    folder: Path,
    seed: int,
    split: Split,
    n_tokens: int,
    other: Card | None,
    progress: Listener,
) -> Card:
    """A text of at least so many tokens; what is there and whole is kept."""
    with locked(folder):
        # What is known of one part is known of the other.
        described = replace(other, split=split, shards=()) if other else None
        card = read_card(folder) or described or generator.card(split)
        make = partial(generator.blocks, seed, split)
        return _fill(folder, card, n_tokens, make, generator.at_once, progress)


def _with_loss(generator: BlockGenerator, folder: Path, card: Card, spec: RunSpec) -> Card:
    """The card of the held-out text, which says what the teacher loses on the real text that a run is measured on."""
    source = spec.data.source
    # Asked for each set once: the loss of a large teacher takes minutes to measure.
    if not isinstance(source, TextSource) or (key := measured_on(spec, source)) in card.teacher_losses:
        return card
    if (loss := generator.loss) is None:
        return card
    with locked(folder):
        found = read_card(folder) or card
        card = replace(found, teacher_losses=found.teacher_losses | {key: loss})
        write_card(folder, card)
    return card


def _write_targets(
    generator: BlockGenerator,
    folder: Path,
    targets: SoftTargets,
    seed: int,
    n_tokens: int,
    progress: Listener,
) -> Card:
    """What the teacher's distribution says of so many tokens of its training text."""
    text, beside = open_shards(folder), targets_dir(folder, targets)

    def targets_of(number: int) -> np.ndarray:
        sequences = text.maps[number].reshape(-1, generator.context).astype(np.int32)
        return generator.soft_targets(sequences, targets, seed, number)

    kept = targets.model_dump(mode="json", exclude={"weight"})
    kept |= {"size": targets.size, "biased": targets.is_biased}
    with locked(beside):
        card = read_card(beside) or replace(text.card, shards=(), targets=kept)
        return _fill(beside, card, n_tokens, lambda numbers: map(targets_of, numbers), 1, progress)


def _fill(folder: Path, card: Card, n_tokens: int, make: Maker, at_once: int, progress: Listener) -> Card:
    """Make the blocks that are missing or damaged, each counted as soon as it is whole.

    Blocks are whole, so that a longer text begins with the shorter one.
    """
    damaged = damaged_shards(folder, card)
    while damaged or card.tokens < n_tokens:
        # Always as many, whatever is missing: another number would be another program to compile.
        numbers = list(islice(chain(damaged, count(len(card.shards))), at_once))
        for block, tokens in zip(numbers, make(numbers), strict=True):
            if block not in damaged and card.tokens >= n_tokens:
                break
            card = _with_block(folder, card, block, tokens)
            planned = max(n_tokens, card.tokens)
            progress(GenerationProgress(teacher=card.teacher, split=card.split, tokens=card.tokens, n_tokens=planned))
        damaged = damaged[at_once:]
    return card


def _with_block(folder: Path, card: Card, block: int, tokens: np.ndarray) -> Card:
    """The card once a block is on disk, new or in place of a damaged one; it is written too."""
    shard = write_shard(folder, block, tokens, card.dtype)
    card = replace(card, shards=(*card.shards[:block], shard, *card.shards[block + 1 :]))
    write_card(folder, card)
    return card


def _tokens_for(n_tokens: int, spec: RunSpec, generator: BlockGenerator) -> int:
    """Tokens that a teacher must write so that a student with another context finds ``n_tokens`` in them."""
    pieces = generator.context // spec.model.context
    return -(-n_tokens // (pieces * spec.model.context)) * generator.context
