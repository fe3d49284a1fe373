"""Recipes that look into the teacher while the student learns: its whole distribution, its states, its attention.

The teacher is the one whose text the student reads, so it has to be a network that this project trained. Its forward
pass is part of every step, and is counted beside the student's FLOPs (``teacher_flops`` in the runs table).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from scaling.spec.data import DataSpec
from scaling.spec.distill import DistillSpec
from scaling.spec.learned import teacher_run
from scaling.spec.model import ModelSpec
from scaling.spec.targets import Targets, TokenTargets


class NetworkDistill(DistillSpec):
    """A recipe that asks the teacher's network about every token."""

    learns_from: ClassVar[type[Targets]] = TokenTargets

    def teacher_passes(self, tokens: int) -> float:
        return 1.0

    def check(self, data: DataSpec, model: ModelSpec) -> None:
        super().check(data, model)
        run = teacher_run(data)
        if run is None:
            told = data.teacher.tells_probs(data.source)
            stored = " and set data.targets to sampled or topk, which such a teacher tells" if told else ""
            raise ValueError(
                f"distill: {self.kind} looks into its teacher's network, and a {data.teacher.kind} teacher has none "
                "that was trained here; set data.teacher to kind trained (text) or net (a world), or leave distill "
                f"out{stored}"
            )
        self.check_models(model, run.model)

    def check_models(self, student: ModelSpec, teacher: ModelSpec) -> None:  # noqa: B027
        """Raise ValueError where a student of one shape cannot learn from a teacher of another."""


@DistillSpec.add_kind
class SoftDistill(NetworkDistill):
    """The teacher's whole distribution of the next token: ``(1 − λ)·CE(x, f) + λ·τ²·CE(q_τ, f_τ)``.

    **Source:** Hinton et al. 2015, arXiv 1503.02531.
    """

    kind: Literal["soft"]
    weight: Annotated[float, Field(ge=0, le=1)] = 1.0
    """λ."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """τ."""


@DistillSpec.add_kind
class TinybertDistill(NetworkDistill):
    """First the teacher's embeddings, states and attention scores, layer by layer; then its distribution.

    The student's layer m learns from the teacher's layer ``m·L_T/L_S``.

    **Source:** Jiao et al. 2019, arXiv 1909.10351, equations 6 – 11.
    """

    kind: Literal["tinybert"]
    first_stage_tokens: Annotated[int, Field(ge=1)]
    """Tokens that are read before the distribution is learned in place of what lies below it."""
    temperature: Annotated[float, Field(gt=0)] = 1.0

    def check_tokens(self, tokens: int) -> None:
        check_stage(self.kind, self.first_stage_tokens, tokens)

    def stage_steps(self, step_tokens: int) -> int:
        return -(-self.first_stage_tokens // step_tokens)

    def check_models(self, student: ModelSpec, teacher: ModelSpec) -> None:
        layer_step(self.kind, student, teacher)
        if student.n_heads != teacher.n_heads:
            raise ValueError(
                f"distill: {self.kind} compares head with head, and the student has {student.n_heads}, its teacher "
                f"{teacher.n_heads}; set model.n_heads to {teacher.n_heads}"
            )


@DistillSpec.add_kind
class DistilbertDistill(NetworkDistill):
    """Start from every k-th layer of the teacher; learn its distribution, the tokens, and the direction of its states.

    ``5·τ²·KL(q_τ‖f_τ) + 2·CE(x, f) + (1 − cos(h_S, h_T))`` with τ = 2.

    **Source:** Sanh et al. 2019, arXiv 1910.01108, section 3; the weights are those of its published training command.
    """

    has_start: ClassVar[bool] = True

    kind: Literal["distilbert"]
    temperature: Annotated[float, Field(gt=0)] = 2.0
    soft_weight: Annotated[float, Field(ge=0)] = 5.0
    token_weight: Annotated[float, Field(ge=0)] = 2.0
    cosine_weight: Annotated[float, Field(ge=0)] = 1.0

    def check_models(self, student: ModelSpec, teacher: ModelSpec) -> None:
        layer_step(self.kind, student, teacher)
        # Not the context: a student may read the teacher's text in shorter pieces.
        same = teacher.model_copy(update={"n_layers": student.n_layers, "context": student.context})
        differing = [name for name in type(student).model_fields if getattr(student, name) != getattr(same, name)]
        if differing:
            wanted = ", ".join(f"model.{name} to {getattr(same, name)}" for name in differing)
            raise ValueError(
                f"distill: {self.kind} starts from layers of the teacher, so all but model.n_layers has to be its own; "
                f"set {wanted}"
            )


@DistillSpec.add_kind
class MinilmDistill(NetworkDistill):
    """How the last layer's tokens attend to each other and how their values relate; of any depth and width.

    ``KL(A_T‖A_S) + KL(VR_T‖VR_S)``, VR = softmax(V·Vᵀ/√K), beside the distribution of the next token.

    **Source:** Wang et al. 2020, arXiv 2002.10957, equations 6 – 9. There the relations are all that is learned before
    fine-tuning; a student that is to write has to learn the distribution as well.
    """

    kind: Literal["minilm"]
    relation_weight: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] = 1.0

    def check_models(self, student: ModelSpec, teacher: ModelSpec) -> None:
        for name in ("n_heads", "n_kv_heads"):
            if getattr(student, name) != getattr(teacher, name):
                raise ValueError(
                    f"distill: {self.kind} compares head with head: the student's {name} is {getattr(student, name)}, "
                    f"its teacher's {getattr(teacher, name)}; set model.{name} to {getattr(teacher, name)}"
                )


@DistillSpec.add_kind
class OnPolicyDistill(NetworkDistill):
    """The teacher's distribution on text of the student's own, in a share of the steps; on its teacher's in the others.

    ``(1 − λ)·E_data D(q, f) + λ·E_f D(q, f)`` with ``D = β·KL(q‖m) + (1 − β)·KL(f‖m)``, ``m = β·q + (1 − β)·f``;
    β = 0 is KL(q‖f) and β = 1 KL(f‖q). Who is to be right in what it writes itself gives up loss on other texts.

    **Source:** Agarwal et al. 2023, arXiv 2306.13649 (generalised knowledge distillation).
    """

    aims_at_loss: ClassVar[bool] = False

    kind: Literal["on_policy"]
    own_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """λ."""
    beta: Annotated[float, Field(ge=0, le=1)] = 0.5
    """β."""

    def own_passes(self) -> float:
        return self.own_share


def check_stage(kind: str, first_stage_tokens: int, tokens: int) -> None:
    """Raise ValueError where a first stage leaves nothing to the second, in which the student learns to write."""
    if first_stage_tokens >= tokens:
        raise ValueError(
            f"distill.first_stage_tokens: {first_stage_tokens:,} of {tokens:,} tokens leave {kind} none in which to "
            f"learn to write; give at most {tokens - 1:,}, better a fifth of them, or raise tokens"
        )


def layer_step(kind: str, student: ModelSpec, teacher: ModelSpec) -> int:
    """Layers of the teacher that one of the student's stands for: ``L_T/L_S``.

    Raises:
        ValueError: they do not divide.
    """
    if teacher.n_layers % student.n_layers:
        allowed = [str(n) for n in range(1, teacher.n_layers + 1) if teacher.n_layers % n == 0]
        raise ValueError(
            f"distill: {kind} maps layers onto layers, and {student.n_layers} do not divide the teacher's "
            f"{teacher.n_layers}; set model.n_layers to one of {', '.join(allowed)}"
        )
    return teacher.n_layers // student.n_layers
