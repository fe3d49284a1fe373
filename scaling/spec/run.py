"""One run: model, data, optimizer, evaluation, tokens and seed; its ids are hashes of these.

A run reads the text of a teacher, which may be a run itself: the types that go round in this way are all here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from scaling.spec.model import ModelSpec
from scaling.spec.schema import SCHEMA_VERSION, Spec
from scaling.spec.sources import Source
from scaling.spec.targets import Targets, TokenTargets
from scaling.spec.teachers import (
    TEACHERS_OF,
    CoverageTeacher,
    NgramTeacher,
    NoiseTeacher,
    PretrainedTeacher,
    RealTeacher,
    ShiftTeacher,
    StaleTeacher,
    TemperatureTeacher,
    decoding_label,
)
from scaling.spec.training import EvalSpec, OptimSpec


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
        return f"trained {self.run.run_id}{decoding_label(self)}"


class NetTeacher(Spec):
    """World teacher that is itself a student of that world: it knows what its own training taught it.

    It writes whole sequences, cues included, so it also tells how often it believes what to be asked. Its run is
    trained once, recorded under its own ``run_id``, and found again by that hash.
    """

    kind: Literal["net"]
    run: RunSpec

    @property
    def label(self) -> str:
        return f"net {self.run.run_id}"


class MixtureTeacher(Spec):
    """Real documents among a teacher's: a share ``real`` of the sequences is real, in random places.

    A student can tell from the context who wrote a sequence, so what it cannot know is less than the share suggests:
    KL(p‖q) of a document is at most ln(1/real), whatever the teacher.
    """

    kind: Literal["mixture"]
    real: Annotated[float, Field(gt=0, lt=1)]
    teacher: Annotated[
        NoiseTeacher
        | CoverageTeacher
        | TemperatureTeacher
        | StaleTeacher
        | ShiftTeacher
        | TrainedTeacher
        | PretrainedTeacher
        | NgramTeacher,
        Field(discriminator="kind"),
    ]
    source_token: bool = False
    """Begin what the teacher wrote with a token of its own, one more in the vocabulary. A student that is told who
    writes need not learn the teacher's errors: asked for real text, it has nothing but the real text to go by."""

    @property
    def label(self) -> str:
        return f"{self.real:g} real, {self.teacher.label}" + (", marked" if self.source_token else "")

    @model_serializer(mode="wrap")
    def _older_runs_keep_their_hash(self, serialize: Any) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if key != "source_token" or value}


Teacher = Annotated[
    RealTeacher
    | NoiseTeacher
    | CoverageTeacher
    | TemperatureTeacher
    | StaleTeacher
    | ShiftTeacher
    | TrainedTeacher
    | NetTeacher
    | PretrainedTeacher
    | NgramTeacher
    | MixtureTeacher,
    Field(discriminator="kind"),
]


class DataSpec(Spec):
    """What the student reads: a source, and the teacher that stands between the source and the student."""

    source: Source
    teacher: Teacher = RealTeacher()
    targets: Targets = TokenTargets()
    """What is learned at each position: the tokens, or the teacher's law of the next token as well."""
    seed: int = 0
    """Of the sample stream; two runs with the same seed read the same tokens in the same order."""

    @model_validator(mode="after")
    def _teacher_speaks_source(self) -> DataSpec:
        allowed = TEACHERS_OF[self.source.kind]
        spoken = self.writer.kind
        if self.teacher.kind not in allowed or spoken not in allowed:
            raise ValueError(
                f"a {spoken} teacher cannot speak for source {self.source.kind}; allowed: {', '.join(allowed)}"
            )
        if spoken == "pretrained" and self.source.tokenizer.kind != "gguf":
            raise ValueError(
                "a pretrained teacher writes tokens of its own; let the source be cut into the same ones: "
                f"tokenizer: {{kind: gguf, file: {self.writer.file}}}"
            )
        if spoken == "trained" and self.writer.run.data.source_token:
            raise ValueError(
                f"the teacher {self.writer.run.run_id} was trained with a source token itself, which its text would "
                "hold; leave source_token out of its data.teacher"
            )
        if self.teacher.kind == "net" and self.teacher.run.data.source != self.source:
            raise ValueError(
                f"the net teacher {self.teacher.run.run_id} was trained in another world than its students read of; "
                "leave out its data.source, which is then theirs"
            )
        return self

    @model_validator(mode="after")
    def _targets_are_known(self) -> DataSpec:
        world, kind = self.source.kind != "text", self.targets.kind
        if kind != "tokens" and self.teacher.kind == "net":
            raise ValueError(f"a net teacher has tokens for targets only, not {kind}; leave out data.targets")
        if kind == "exact" and not world:
            raise ValueError("exact targets need a world, whose laws are known; use targets sampled or topk for text")
        if kind != "tokens" and self.source_token:
            raise ValueError(f"text with a source token has tokens for targets only, not {kind}; leave targets out")
        if kind != "tokens" and not world and self.teacher.kind not in ("trained", "pretrained"):
            raise ValueError(
                f"a {self.teacher.kind} teacher of text has tokens for targets only, not {kind}; "
                "soft targets need a trained or pretrained teacher, or a world"
            )
        return self

    @property
    def writer(self) -> Teacher:
        """Who writes what is not real: the teacher, or the one inside a mixture."""
        return self.teacher.teacher if self.teacher.kind == "mixture" else self.teacher

    @property
    def real_share(self) -> float:
        """Share of the sequences that is real: 1 without a teacher, 0 where one writes them all."""
        return self.teacher.real if self.teacher.kind == "mixture" else float(self.teacher.kind == "real")

    @property
    def source_token(self) -> bool:
        """True where sequences begin with a token that tells the teacher's from real ones."""
        return self.teacher.kind == "mixture" and self.teacher.source_token

    @property
    def vocab_size(self) -> int:
        """Tokens that a model of this text needs: the source's, and one for what a teacher wrote where it is marked."""
        return self.source.vocab_size + self.source_token

    @property
    def is_written(self) -> bool:
        """True where what is read is prepared on disk; a world and its exact teachers are made as they are read."""
        return self.source.kind == "text" or self.teacher.kind == "net"

    @property
    def label(self) -> str:
        """The teacher and what it is asked for: what one fit takes for one kind of text."""
        return self.teacher.label + ("" if self.targets.kind == "tokens" else f", {self.targets.label}")

    @model_serializer(mode="wrap")
    def _older_runs_keep_their_hash(self, serialize: Any) -> dict[str, Any]:
        fields = serialize(self)
        return {k: v for k, v in fields.items() if k != "targets" or self.targets.kind != "tokens"}


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

    @model_validator(mode="after")
    def _memory_outlasts_a_step(self) -> RunSpec:
        for name in ("beta2_half_life_tokens", "weight_decay_timescale_tokens"):
            tokens = getattr(self.optim, name)
            if tokens is not None and tokens < self.step_tokens:
                raise ValueError(
                    f"optim.{name}={tokens} is shorter than one step of {self.step_tokens} tokens "
                    f"(batch_size × context); give at least {self.step_tokens}, or lower optim.batch_size"
                )
        return self

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


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


TrainedTeacher.model_rebuild()
MixtureTeacher.model_rebuild()
NetTeacher.model_rebuild()
DataSpec.model_rebuild()
RunSpec.model_rebuild()
