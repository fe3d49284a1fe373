"""One run: model, data, optimizer, evaluation, tokens and seed; its ids are hashes of these."""

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
from scaling.spec.teachers import TEACHERS_OF, MixtureTeacher, NetTeacher, RealTeacher, Teacher, TrainedTeacher


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


class OptimSpec(Spec):
    """AdamW with linear warmup, a constant rate, and a 1−√ cooldown over the last part of each branch.

    Memory is stated in tokens, so that it keeps its meaning when the batch size changes. The defaults are those that
    `analysis/optimizer.py` finds no better ones than.
    """

    lr: Annotated[float, Field(gt=0)] = 6e-3
    """Peak learning rate of the hidden matrices at this width (any width rule is resolved before)."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """B, sequences a step."""
    warmup_tokens: Annotated[int, Field(ge=0)] = 0
    cooldown: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of a run's tokens spent on the cooldown."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2_half_life_tokens: Annotated[int, Field(ge=1)] = 22_000
    """Tokens after which a squared gradient counts half; at least one step's."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay_timescale_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens at peak rate in which an undriven matrix shrinks to 1/e; at least one step's. None: no weight decay."""
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest global gradient norm of a step."""
    z_loss: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the forward and backward pass; weights, moments, norms' means and the loss are float32 in both."""

    def beta2(self, step_tokens: int) -> float:
        """Decay of the second moment a step: ``2^(−step_tokens/beta2_half_life_tokens)``.

        So β2 at another batch is ``β2^(B_new/B)``.

        **Source:** Marek et al. 2025, arXiv 2507.07101.
        """
        return 2.0 ** (-step_tokens / self.beta2_half_life_tokens)

    def weight_decay(self, step_tokens: int) -> float:
        """AdamW's λ, relative to the rate: ``step_tokens/(lr · weight_decay_timescale_tokens)``, 0 for none.

        The timescale B/(ηλ) belongs to the trunk: its branches share all their steps before the cooldown, so none can
        have another. For one proportional to each D, give every D a trunk of its own.

        **Source:** Wang & Aitchison 2024, arXiv 2405.13698.
        """
        timescale = self.weight_decay_timescale_tokens
        return 0.0 if timescale is None else step_tokens / (self.lr * timescale)

    @model_serializer(mode="wrap")
    def _older_runs_keep_their_hash(self, serialize: Any) -> dict[str, Any]:
        fields = serialize(self)
        return {k: v for k, v in fields.items() if k != "precision" or v != "float32"}


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
