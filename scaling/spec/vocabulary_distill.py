"""Recipes of a student with few tokens and a teacher with many, which learns to read the student's as well.

Words of the teacher's input are cut into tokens of either vocabulary. The small one is made of the first merges of the
large one (the same corpus, fewer tokens), so that both cut a text at the same places.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from scaling.spec.data import DataSpec
from scaling.spec.distill import DistillSpec
from scaling.spec.model import ModelSpec
from scaling.spec.network_distill import NetworkDistill, check_stage, layer_step
from scaling.spec.sources import TextSource


class VocabularyDistill(NetworkDistill):
    """A recipe for a student whose vocabulary is smaller than its teacher's; the teacher goes on learning."""

    needs_same_tokens: ClassVar[bool] = False

    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of the words that the teacher reads in the student's tokens."""

    def check(self, data: DataSpec, model: ModelSpec) -> None:
        super().check(data, model)
        if not isinstance(data.source, TextSource):
            raise ValueError(
                f"distill: {self.kind} is for text, which can be cut into more tokens or fewer, and "
                f"{data.source.kind} is no text; leave distill out, or use soft, tinybert or minilm"
            )
        if data.real_share:
            raise ValueError(
                f"distill: {self.kind} needs every sequence as its teacher wrote it, and {data.real_share:g} of these "
                "are real; leave the mixture out of data.teacher"
            )
        if not data.is_recut:
            raise ValueError(
                f"distill: {self.kind} is for a student with fewer tokens than its teacher, and both have "
                f"{data.vocab_size}; lower data.source.tokenizer.vocab_size, or use soft, tinybert or minilm"
            )

    def check_models(self, student: ModelSpec, teacher: ModelSpec) -> None:
        untied = [name for name, model in (("student", student), ("teacher", teacher)) if not model.tied_embeddings]
        if untied:
            raise ValueError(
                f"distill: {self.kind} maps one table of tokens onto another, and the {' and the '.join(untied)} "
                "has two; set tied_embeddings to true"
            )


@DistillSpec.add_kind
class DualVocabDistill(VocabularyDistill):
    """Dual training with shared projections: teacher and student learn together, and their weights are held together.

    ``CE(x, f) + CE(y, q) + w·mean(‖θ_T − U·θ_S·Vᵀ‖²/‖θ_T‖²)``: x the student's tokens, y the same text with some of its
    words in the student's tokens and the others in the teacher's, the mean over pairs of matrices of the mapped layers
    and the tables of the student's tokens. U and V are learned, one for each axis (width, heads, hidden), and shared by
    all layers. There the student is as deep as its teacher.

    **Source:** Zhao, Gupta, Song, Zhou 2019, arXiv 1909.11687, version 1 ("Extreme language model compression with
    optimal subwords and shared projections"); there the distances are not divided by the teacher's norm.
    """

    kind: Literal["dual_vocab"]
    projection_weight: Annotated[float, Field(ge=0)] = 1.0
    """w."""

    def check_models(self, student: ModelSpec, teacher: ModelSpec) -> None:
        super().check_models(student, teacher)
        layer_step(self.kind, student, teacher)

    def teacher_passes(self, tokens: int) -> float:
        return 3.0


@DistillSpec.add_kind
class MixedVocabDistill(VocabularyDistill):
    """Mixed-vocabulary training: the student's token table is learned inside the teacher, the student then alone.

    Up to ``first_stage_tokens`` the teacher minimises ``CE(y, q)`` of text y with words of both vocabularies; its rows
    for the student's tokens are ``E_S·W``, with E_S the student's table and W learned and thrown away. From then on the
    student minimises ``CE(x, f)`` from that table on, its layers new.

    **Source:** Zhao, Gupta, Song, Zhou 2021, EACL, arXiv 1909.11687, later versions ("Extremely small BERT models from
    mixed-vocabulary training").
    """

    kind: Literal["mixed_vocab"]
    first_stage_tokens: Annotated[int, Field(ge=1)]
    """Tokens that are read before the student's layers learn."""

    def check_tokens(self, tokens: int) -> None:
        check_stage(self.kind, self.first_stage_tokens, tokens)

    def stage_steps(self, step_tokens: int) -> int:
        return -(-self.first_stage_tokens // step_tokens)

    def teacher_passes(self, tokens: int) -> float:
        return 3.0 * min(1.0, self.first_stage_tokens / tokens)
