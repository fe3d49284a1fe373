"""What a student reads: a source, the teacher before it, and what is learned at each position."""

from __future__ import annotations

from typing import ClassVar

from pydantic import SerializeAsAny, model_validator

from scaling.spec.schema import GrownSpec, canonical_json, short_hash
from scaling.spec.sources import Source, TextSource, WorldSource
from scaling.spec.targets import ExactTargets, SoftTargets, Targets, TokenTargets
from scaling.spec.teachers import MixtureTeacher, RealTeacher, Teacher


class DataSpec(GrownSpec):
    """What the student reads: a source, and the teacher that stands between the source and the student."""

    later: ClassVar[frozenset[str]] = frozenset({"targets"})

    source: SerializeAsAny[Source]
    teacher: SerializeAsAny[Teacher] = RealTeacher()
    targets: SerializeAsAny[Targets] = TokenTargets()
    """What is learned at each position: the tokens, or the teacher's distribution of the next token as well."""
    seed: int = 0
    """Of the sample stream; two runs with the same seed read the same tokens in the same order."""

    @model_validator(mode="after")
    def _teacher_serves_source(self) -> DataSpec:
        for teacher in (self.teacher, self.generator):
            if not teacher.serves(self.source):
                kinds = Teacher.kinds.items()
                allowed = [kind for kind, one in kinds if issubclass(one, Teacher) and one.serves(self.source)]
                raise ValueError(
                    f"a {teacher.kind} teacher cannot speak for source {self.source.kind}; "
                    f"allowed: {', '.join(allowed)}"
                )
        self.teacher.check(self.source)
        return self

    @model_validator(mode="after")
    def _targets_are_known(self) -> DataSpec:
        if not isinstance(self.targets, SoftTargets):
            return self
        # Of a world its generators know the distributions; of a text they were stored beside what the teacher wrote.
        kind, teacher, is_world = self.targets.kind, self.teacher, isinstance(self.source, WorldSource)
        if is_world and not teacher.tells_probs(self.source):
            raise ValueError(
                f"a {teacher.kind} teacher has tokens for targets only, not {kind}; leave out data.targets"
            )
        if isinstance(self.targets, ExactTargets) and not is_world:
            raise ValueError(
                "exact targets need a world, whose distributions are known; use targets sampled or topk for text"
            )
        if self.source_token:
            raise ValueError(f"text with a source token has tokens for targets only, not {kind}; leave targets out")
        if self.is_recut:
            raise ValueError(
                f"a teacher with other tokens than its student has tokens for targets only, not {kind}; leave "
                "data.targets out, or give both one tokenizer"
            )
        if not teacher.tells_probs(self.source):
            raise ValueError(
                f"a {teacher.kind} teacher of text has tokens for targets only, not {kind}; {teacher.probs_need}"
            )
        return self

    @property
    def generator(self) -> Teacher:
        """Who generates what is not real: the teacher, or the one inside a mixture."""
        return self.teacher.generator

    @property
    def real_share(self) -> float:
        """Share of the sequences that is real: 1 without a teacher, 0 where one generates them all."""
        return self.teacher.real_share

    @property
    def is_recut(self) -> bool:
        """True where the teacher's text has other tokens than the student reads, and is cut anew."""
        written = self.generator.writes(self.source)
        if not (isinstance(written, TextSource) and isinstance(self.source, TextSource)):
            return False
        return written.tokenizer != self.source.tokenizer

    @property
    def source_token(self) -> bool:
        """True where sequences begin with a token that tells the teacher's from real ones."""
        return isinstance(self.teacher, MixtureTeacher) and self.teacher.source_token

    @property
    def source_token_id(self) -> int:
        """That token: it comes behind the source's own."""
        return self.source.vocab_size

    @property
    def vocab_size(self) -> int:
        """Tokens that a model of this text needs: the source's, and one for a teacher's text where it is marked."""
        return self.source.vocab_size + self.source_token

    @property
    def is_stored(self) -> bool:
        """True where what is read is prepared on disk; a world and its exact teachers are made as they are read."""
        return isinstance(self.source, TextSource) or self.teacher.is_stored

    @property
    def label(self) -> str:
        """The teacher and what it is asked for, for people. No key: two texts may have one (see ``labels.py``)."""
        targets = f", {self.targets.label}" if isinstance(self.targets, SoftTargets) else ""
        return self.teacher.label + targets

    @property
    def text_id(self) -> str:
        """Hash of all that decides the distribution of what a student reads: source, teacher with its whole training
        and decoding, targets.

        Not the seed of the sample stream: two samples of one text are that text. 10 hex digits.
        """
        return short_hash(canonical_json(self.model_dump(mode="json", exclude={"seed"})))

    @property
    def stream_id(self) -> str:
        """Hash of the very tokens that a student reads, and so of what is written once for all who read them: the text
        and the seed of its stream. 10 hex digits.
        """
        return short_hash(canonical_json(self.model_dump(mode="json")))
