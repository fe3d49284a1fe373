"""A published law: its numbers, where they come from, and who has checked them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scaling.laws.batch import CriticalBatch
from scaling.laws.law import ScalingLaw
from scaling.laws.published.rules import Rule, TransferredData
from scaling.registry import Registry

PF_DAY = 8.64e19
"""FLOPs in one petaflop/s-day."""
KAPLAN = "Kaplan et al. 2020, arXiv 2001.08361"
HOFFMANN = "Hoffmann et al. 2022, arXiv 2203.15556"
SHEHPER = "shehper/scaling_laws 2024, a replication with models up to 6.3M parameters on OpenWebText"

KAPLAN_RANGES = {"n": (768.0, 1.5e9), "d": (22e6, 23e9)}
"""Kaplan et al. 2020, section 1.1: non-embedding parameters, and sizes of the data set."""
HOFFMANN_RANGES = {"n": (70e6, 16e9), "d": (5e9, 500e9)}
"""Hoffmann et al. 2022, abstract."""

GPT2_VOCABULARY = 50_257
"""Kaplan et al. 2020, section 2.1; nanoGPT, with which his laws were replicated, reads by the same tokenizer."""
GOPHER_VOCABULARY = 32_000
"""Hoffmann et al. 2022 read by the tokenizer of Gopher: Rae et al. 2021, arXiv 2112.11446, section 2."""

Verified = Literal["primary", "secondary", "reproduced", "unverified"]
"""Read in the authors' text or code; in a text that quotes them; recomputed from their data; from memory alone."""


Size = Literal["n_params", "n_params_total"]
"""What N counts: parameters without those of the vocabulary, or all of them."""


@dataclass(frozen=True)
class Preset:
    """A published law.

    Attributes:
        name: what `preset` and `--law` call it.
        law: the law with its numbers (a ScalingLaw, a CriticalBatch, or a Rule for a setting).
        source: authors, year, arXiv id.
        verified: who has checked the numbers.
        counts: how the source counts N, and its corpus.
        note: what a user must know before trusting a number; empty if nothing.
        ranges: least and most of "n" and "d" behind the numbers, where the source says so.
        vocab_size: tokens of which the loss is, where known.
        size: what N counts; None of a rule, which is no law of loss, and of a law that is of no size.
    """

    name: str
    law: ScalingLaw | CriticalBatch | Rule | TransferredData
    source: str
    verified: Verified
    counts: str = ""
    note: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    vocab_size: int | None = None
    size: Size | None = None

    @property
    def size_column(self) -> Size:
        """The column of model size that N is; all parameters where nothing is said."""
        return self.size or "n_params_total"

    def __post_init__(self):
        if self.verified == "unverified" and "not verified" not in self.note:
            warning = "constants not verified: taken from memory of the paper, not read in its text or code"
            object.__setattr__(self, "note", f"{warning}; {self.note}" if self.note else warning)

    def __repr__(self) -> str:
        note = f"\n  note: {self.note}" if self.note else ""
        return f"{self.name}: {self.law!r}\n  {self.source} [{self.verified}] {self.counts}".rstrip() + note


PRESETS: Registry[Preset] = Registry("published law", package="scaling.laws.published")
"""Every published law by name; a file of this package is loaded when a name is not in those before it."""
