"""What one run is: every input that decides its outcome, frozen, validated, and named by its hash.

A :class:`RunSpec` is the unit of the whole project: a sweep expands into them, a plan groups them into trunks, a record
stores one, a recommendation *is* one. Its ``run_id`` is the hash of its canonical JSON, so the same inputs always mean
the same run, whoever asks for it and whatever it is called. Facts live in fields; names are never parsed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
"""Version of the run specification and of everything under results/; part of every hash."""

GGUF_BLOCK = 32
"""Inner dimensions are multiples of this, so that every matrix can be stored in blocks of 32 (Q8_0)."""


class Spec(BaseModel):
    """Base of all specifications: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSpec(Spec):
    """A llama-style decoder: RMSNorm, interleaved RoPE, SwiGLU, optional grouped queries, tied embeddings.

    Unset ``n_heads``, ``n_kv_heads`` and ``hidden`` are derived from ``width`` and stored resolved, so that two ways of
    writing the same model have one hash.
    """

    vocab_size: Annotated[int, Field(ge=2)]
    width: Annotated[int, Field(ge=GGUF_BLOCK, multiple_of=GGUF_BLOCK)]
    """M, the residual stream; a multiple of 32."""
    n_layers: Annotated[int, Field(ge=1)] = 2
    head_width: Annotated[int, Field(ge=2, multiple_of=2)] = 16
    """K, even because RoPE rotates pairs."""
    n_heads: Annotated[int, Field(ge=1)] = 0
    n_kv_heads: Annotated[int, Field(ge=1)] = 0
    hidden: Annotated[int, Field(ge=GGUF_BLOCK, multiple_of=GGUF_BLOCK)] = 0
    """F, the SwiGLU width; by default 8/3 of the width, rounded up to a multiple of 32."""
    context: Annotated[int, Field(ge=2)] = 128
    """T, tokens of one training sequence."""
    tied_embeddings: bool = True
    rope_base: Annotated[float, Field(gt=1)] = 10_000.0
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        width, head = _whole(values.get("width")), _whole(values.get("head_width", 16))
        if width and head and width > 0 and head > 0:
            if not values.get("n_heads"):
                values["n_heads"] = max(1, width // head)
            if not values.get("hidden"):
                values["hidden"] = -(-8 * width // (3 * GGUF_BLOCK)) * GGUF_BLOCK
        if not values.get("n_kv_heads") and values.get("n_heads"):
            values["n_kv_heads"] = values["n_heads"]
        return values

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelSpec:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads={self.n_heads} is not a multiple of n_kv_heads={self.n_kv_heads}; choose a divisor"
            )
        if (self.n_heads * self.head_width) % GGUF_BLOCK:
            raise ValueError(
                f"n_heads × head_width = {self.n_heads * self.head_width} is not a multiple of {GGUF_BLOCK}; "
                "change head_width or n_heads"
            )
        return self


class WorldSource(Spec):
    """W0, Zipf-cue facts: key–answer records whose entropy is known in closed form (scaling/data/worlds/w0.py)."""

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
        """Tokens of one sequence, which a model's context must equal."""
        return 8 * self.n_records

    @property
    def label(self) -> str:
        return self.kind


class MarkovSource(Spec):
    """W1, order-2 Zipf–Markov: every symbol depends on the two before it (scaling/data/worlds/w1.py)."""

    kind: Literal["w1"]
    n_symbols: Annotated[int, Field(ge=32, le=512)] = 256
    context: Annotated[int, Field(ge=4)] = 64
    """Tokens of one sequence."""
    seed: int = 0
    """Of the world itself (which symbols follow which), not of the samples."""

    @property
    def vocab_size(self) -> int:
        """The symbols, and a beginning of sequence."""
        return self.n_symbols + 1

    @property
    def sequence_tokens(self) -> int:
        """Tokens of one sequence, which a model's context must equal."""
        return self.context

    @property
    def label(self) -> str:
        return self.kind


class HierarchySource(Spec):
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
        """The symbols, and a beginning of sequence."""
        return self.n_symbols + 1

    @property
    def sequence_tokens(self) -> int:
        """Tokens of one sequence, which a model's context must equal."""
        return self.branching**self.depth

    @property
    def label(self) -> str:
        return self.kind


AnyWorld = WorldSource | MarkovSource | HierarchySource
"""A language whose entropy is known exactly."""


class TokenizerSpec(Spec):
    """How text becomes tokens: raw bytes, or a byte-level BPE trained on the training part of the corpus."""

    kind: Literal["bytes", "bpe"] = "bpe"
    vocab_size: Annotated[int, Field(ge=257)] = 1024
    """Including the end-of-document token; bytes always have 257."""

    @model_validator(mode="after")
    def _bytes_are_257(self) -> TokenizerSpec:
        if self.kind == "bytes" and "vocab_size" in self.model_fields_set and self.vocab_size != 257:
            raise ValueError(f"a bytes tokenizer has vocab_size 257 (256 and end of document), got {self.vocab_size}")
        if self.kind == "bytes":
            object.__setattr__(self, "vocab_size", 257)
        return self


class TextSource(Spec):
    """Real text, split by document into a training and a held-out part."""

    kind: Literal["text"]
    corpus: str = "sotu"
    """A named corpus (scaling/data/corpora.py), or a glob of files."""
    tokenizer: TokenizerSpec = TokenizerSpec()
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the documents kept for evaluation, chosen by hash of their content."""
    fingerprint: str = ""
    """Hash of the corpus text, filled in when a sweep is expanded: another edition of a corpus is another run."""

    @property
    def vocab_size(self) -> int:
        """That of the tokenizer."""
        return self.tokenizer.vocab_size

    @property
    def sequence_tokens(self) -> None:
        """Text is cut to any context."""
        return None

    @property
    def label(self) -> str:
        return self.corpus


class RealTeacher(Spec):
    """No teacher: the student reads the real distribution."""

    kind: Literal["real"] = "real"

    @property
    def label(self) -> str:
        return "real"


class NoiseTeacher(Spec):
    """World teacher that is wrong everywhere alike: π → (1−rate)·π + rate·uniform."""

    kind: Literal["noise"]
    rate: Annotated[float, Field(gt=0, lt=1)]

    @property
    def label(self) -> str:
        return f"noise {self.rate:g}"


class CoverageTeacher(Spec):
    """World teacher that never learned the tail.

    In W0 it knows the ``top_keys`` most frequent keys and answers uniformly to others; in W1 the ``top_keys`` most
    frequent pairs, and of others the last symbol alone; in W2 the rules of the ``top_keys`` lowest levels.
    """

    kind: Literal["coverage"]
    top_keys: Annotated[int, Field(ge=1)]

    @property
    def label(self) -> str:
        return f"coverage {self.top_keys}"


class TemperatureTeacher(Spec):
    """World teacher sampled at another temperature: π → π^(1/temperature), normalised."""

    kind: Literal["temperature"]
    temperature: Annotated[float, Field(gt=0)]

    @property
    def label(self) -> str:
        return f"temperature {self.temperature:g}"


class StaleTeacher(Spec):
    """World teacher that has seen a finite sample: each law is its counts, smoothed by one uniform observation."""

    kind: Literal["stale"]
    n_records: Annotated[int, Field(ge=1, le=10**8)]
    """Records of the sample."""
    seed: int = 0
    """Of the sample that the teacher has seen."""

    @property
    def label(self) -> str:
        return f"stale {self.n_records}"


class ShiftTeacher(Spec):
    """World teacher that tells the truth about other keys: P(k) → P(k)^(1/temperature), normalised.

    Its answers do not diverge from the world's; what it changes is how often a student reads of each key.
    """

    kind: Literal["shift"]
    temperature: Annotated[float, Field(gt=0)]
    """Above 1 rare keys come more often than in the world, below 1 less often."""

    @property
    def label(self) -> str:
        return f"shift {self.temperature:g}"


class TrainedTeacher(Spec):
    """A language model trained by this framework; the student reads text sampled from it.

    The teacher is itself a run: it is trained once, recorded under its own ``run_id``, and found again by that hash.
    """

    kind: Literal["trained"]
    run: RunSpec
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Anything but 1 makes the samples no longer the teacher's distribution (a coverage or noise loss)."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    @property
    def label(self) -> str:
        cut = "" if self.temperature == 1 else f" temperature {self.temperature:g}"
        cut += "" if self.top_k is None else f" top_k {self.top_k}"
        cut += "" if self.top_p is None else f" top_p {self.top_p:g}"
        return f"trained {self.run.run_id}{cut}"


class NgramTeacher(Spec):
    """An interpolated modified Kneser–Ney model of the source's training part (scaling/teach/ngram.py)."""

    kind: Literal["ngram"]
    order: Annotated[int, Field(ge=1, le=6)] = 3
    """Longest gram, in tokens."""

    @property
    def label(self) -> str:
        return f"ngram {self.order}"


Source = Annotated[AnyWorld | TextSource, Field(discriminator="kind")]
Teacher = Annotated[
    RealTeacher | NoiseTeacher | CoverageTeacher | TemperatureTeacher | StaleTeacher | ShiftTeacher | TrainedTeacher
    | NgramTeacher,
    Field(discriminator="kind"),
]

TEACHERS_OF = {
    "w0": ("real", "noise", "coverage", "temperature", "stale", "shift"),
    "w1": ("real", "noise", "coverage", "temperature"),
    "w2": ("real", "coverage"),
    "text": ("real", "trained", "ngram"),
}
"""Which teachers can speak for which source."""


class DataSpec(Spec):
    """What the student reads: a source, and the teacher that stands between the source and the student."""

    source: Source
    teacher: Teacher = RealTeacher()
    seed: int = 0
    """Of the sample stream; two runs with the same seed read the same tokens in the same order."""

    @model_validator(mode="after")
    def _teacher_speaks_source(self) -> DataSpec:
        allowed = TEACHERS_OF[self.source.kind]
        if self.teacher.kind not in allowed:
            raise ValueError(
                f"a {self.teacher.kind} teacher cannot speak for source {self.source.kind}; "
                f"allowed: {', '.join(allowed)}"
            )
        return self


class OptimSpec(Spec):
    """AdamW with linear warmup, a constant rate, and a 1−√ cooldown over the last part of each branch."""

    lr: Annotated[float, Field(gt=0)] = 6e-3
    """Peak learning rate of the hidden matrices at this width (any width rule is resolved before)."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """B, sequences a step."""
    warmup_tokens: Annotated[int, Field(ge=0)] = 0
    cooldown: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of a run's tokens spent on the cooldown."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.99
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest global gradient norm of a step."""
    z_loss: Annotated[float, Field(ge=0)] = 0.0


class EvalSpec(Spec):
    """How much held-out data a finished run is measured on."""

    tokens: Annotated[int, Field(ge=1)] = 160_000
    """Of each held-out set, rounded up to whole sequences; the same set for every run."""
    seed: int = 0


class RunSpec(Spec):
    """Every input of one run.

    ``run_id`` is the blake2b hash (10 hex digits) of the canonical JSON; ``trunk_id`` is the same hash without
    ``tokens``: runs that differ in nothing else are branches of one training.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    model: ModelSpec
    data: DataSpec
    optim: OptimSpec = OptimSpec()
    evaluation: EvalSpec = EvalSpec()
    tokens: Annotated[int, Field(ge=1)]
    """D asked for; what is seen is the nearest whole number of steps, at least one."""
    seed: int = 0
    """Of the initial weights."""

    @property
    def step_tokens(self) -> int:
        """Tokens one optimizer step reads."""
        return self.optim.batch_size * self.model.context

    @property
    def steps(self) -> int:
        """Optimizer steps of the run, cooldown included."""
        return max(1, round(self.tokens / self.step_tokens))

    @property
    def cooldown_steps(self) -> int:
        """Steps of the final cooldown, at least one."""
        return min(self.steps, max(1, round(self.optim.cooldown * self.steps)))

    @property
    def n_tokens(self) -> int:
        """D seen: whole steps times tokens a step."""
        return self.steps * self.step_tokens

    def canonical_json(self, *, exclude: frozenset[str] = frozenset()) -> str:
        """The one spelling that is hashed: sorted keys, no spaces, no NaN."""
        fields = self.model_dump(mode="json", exclude=set(exclude))
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def run_id(self) -> str:
        return _digest(self.canonical_json())

    @cached_property
    def trunk_id(self) -> str:
        return _digest(self.canonical_json(exclude=frozenset({"tokens"})))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> RunSpec:
        """A copy with other values (which are not validated) and with its own ids."""
        copy = super().model_copy(update=update, deep=deep)
        for name in ("run_id", "trunk_id"):
            copy.__dict__.pop(name, None)
        return copy


def _whole(value: Any) -> int | None:
    """The whole number that a field will read from a value, None where it will refuse it."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() else None
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value == int(value) else None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


TrainedTeacher.model_rebuild()
DataSpec.model_rebuild()
RunSpec.model_rebuild()
