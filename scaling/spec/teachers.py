"""Who stands between a source and a student: nobody, a graded error of a world, or a model of the text.

Teachers that are runs of this project themselves are in ``learned.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import PurePath
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SerializeAsAny, model_validator

from scaling.registry import Registry
from scaling.spec.schema import GrownSpec, KindSpec
from scaling.spec.sources import Source, TextSource, WorldSource


class Teacher(KindSpec):
    """A teacher: what its students read instead of real text, or among it."""

    kinds: ClassVar[Registry[type[KindSpec]]] = Registry("kind of teacher", group="scaling.teachers")

    is_stored: ClassVar[bool] = False
    """True where its text is generated once and kept; that of others is made as it is read."""
    can_be_mixed: ClassVar[bool] = True
    """True where real documents may be put among its text."""
    probs_need: ClassVar[str] = "soft targets need a trained or pretrained teacher, or a world"
    """What to do where its distribution of the next token cannot be told."""

    @property
    @abstractmethod
    def label(self) -> str:
        """For people; never a key, because two teachers may have one."""

    @classmethod
    @abstractmethod
    def serves(cls, source: Source) -> bool:
        """True where teachers of this kind can generate text of a source."""

    def check(self, source: Source) -> None:  # noqa: B027
        """Raise ValueError, with what to change, where this one cannot serve a source that its kind serves."""

    @property
    def generator(self) -> Teacher:
        """Who generates what is not real: the teacher itself, or the one inside a mixture."""
        return self

    def writes(self, source: Source) -> Source:
        """The source whose tokens its text consists of: that of its students, unless it has one of its own."""
        return source

    @property
    def real_share(self) -> float:
        """Share of the sequences that is real."""
        return 0.0

    @abstractmethod
    def tells_probs(self, source: Source) -> bool:
        """True where its distribution of the next token can be asked for, and so be a target."""


@Teacher.add_kind
class RealTeacher(Teacher):
    """No teacher: the student reads the real distribution."""

    can_be_mixed: ClassVar[bool] = False

    kind: Literal["real"] = "real"

    @property
    def label(self) -> str:
        return "real"

    @property
    def real_share(self) -> float:
        return 1.0

    @classmethod
    def serves(cls, source: Source) -> bool:
        return True

    def tells_probs(self, source: Source) -> bool:
        return isinstance(source, WorldSource)


class WorldTeacher(Teacher):
    """A graded error of a world, whose divergence from it is known exactly."""

    @classmethod
    def serves(cls, source: Source) -> bool:
        return isinstance(source, WorldSource) and any(cls.kinds[kind] is cls for kind in source.teachers)

    def tells_probs(self, source: Source) -> bool:
        return True


@Teacher.add_kind
class NoiseTeacher(WorldTeacher):
    """World teacher that is wrong everywhere alike: π → (1−rate)·π + rate·uniform."""

    kind: Literal["noise"]
    rate: Annotated[float, Field(gt=0, lt=1)]

    @property
    def label(self) -> str:
        return f"noise {self.rate:g}"


@Teacher.add_kind
class CoverageTeacher(WorldTeacher):
    """World teacher that never learned the tail.

    In W0 it knows the ``top_keys`` most frequent keys and answers uniformly to others; in W1 the ``top_keys`` most
    frequent pairs, and of others the last symbol alone; in W2 the rules of the ``top_keys`` lowest levels.
    """

    kind: Literal["coverage"]
    top_keys: Annotated[int, Field(ge=1)]

    @property
    def label(self) -> str:
        return f"coverage {self.top_keys}"


@Teacher.add_kind
class TemperatureTeacher(WorldTeacher):
    """World teacher sampled at another temperature: π → π^(1/temperature), normalised."""

    kind: Literal["temperature"]
    temperature: Annotated[float, Field(gt=0)]

    @property
    def label(self) -> str:
        return f"temperature {self.temperature:g}"


@Teacher.add_kind
class StaleTeacher(WorldTeacher):
    """World teacher that has seen a finite sample: its answers are its counts, smoothed by one uniform observation."""

    kind: Literal["stale"]
    n_records: Annotated[int, Field(ge=1, le=10**8)]
    """Records of the sample."""
    seed: int = 0
    """Of the sample that the teacher has seen."""

    @property
    def label(self) -> str:
        return f"stale {self.n_records}"


@Teacher.add_kind
class ShiftTeacher(WorldTeacher):
    """World teacher that tells the truth about other keys: P(k) → P(k)^(1/temperature), normalised.

    Its answers do not diverge from the world's; what it changes is how often a student reads of each key.
    """

    kind: Literal["shift"]
    temperature: Annotated[float, Field(gt=0)]
    """Above 1 rare keys come more often than in the world, below 1 less often."""

    @property
    def label(self) -> str:
        return f"shift {self.temperature:g}"


class TextTeacher(Teacher):
    """A model of text, whose own text is generated once and kept."""

    is_stored: ClassVar[bool] = True

    @classmethod
    def serves(cls, source: Source) -> bool:
        return isinstance(source, TextSource)


@Teacher.add_kind
class NgramTeacher(TextTeacher):
    """An interpolated modified Kneser–Ney model of the source's training part (scaling/teach/ngram.py)."""

    kind: Literal["ngram"]
    order: Annotated[int, Field(ge=1, le=6)] = 3
    """Longest gram, in tokens."""

    @property
    def label(self) -> str:
        return f"ngram {self.order}"

    def tells_probs(self, source: Source) -> bool:
        return False


@Teacher.add_kind
class RulesTeacher(GrownSpec, TextTeacher):
    """The source's own text with words falsified by rules: number, pronouns, comparison, negation, always and never.

    Sentences are real ones, rewritten (scaling/teach/rules.py); how far their distribution is from the real one is not
    known. Among them there may be right sentences of the same rules, made by a grammar.
    """

    later: ClassVar[frozenset[str]] = frozenset({"sentences"})

    kind: Literal["rules"]
    rate: Annotated[float, Field(ge=0, le=1)]
    """Share of the places known to a rule that is falsified."""
    sentences: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the sequences that consist of right sentences made by the grammar of the minimal pairs, which holds out
    templates and words."""

    @property
    def label(self) -> str:
        return f"rules {self.rate:g}" + (f", {self.sentences:g} made sentences" if self.sentences else "")

    def tells_probs(self, source: Source) -> bool:
        return False


class ModelTeacher(TextTeacher):
    """A language model that is sampled from, its distribution cut or changed as it is asked to."""

    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Anything but 1 makes the samples no longer the teacher's distribution (a coverage or noise loss)."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    @property
    def decoding_label(self) -> str:
        """What decoding does to the teacher's distribution, behind its name."""
        cut = "" if self.temperature == 1 else f" temperature {self.temperature:g}"
        cut += "" if self.top_k is None else f" top_k {self.top_k}"
        return cut + ("" if self.top_p is None else f" top_p {self.top_p:g}")

    def tells_probs(self, source: Source) -> bool:
        return True


@Teacher.add_kind
class PretrainedTeacher(GrownSpec, ModelTeacher):
    """A model of the llama architecture that somebody else trained, read from a GGUF file.

    Where the source is cut by another tokenizer than the file's, what it writes is cut anew, into the source's tokens
    (scaling/teach/recut.py); its distribution, which is one of its own tokens, is then no target.
    """

    later: ClassVar[frozenset[str]] = frozenset({"prompt_tokens"})
    probs_need: ClassVar[str] = (
        "it tells its distribution to students of its own tokens (data.source.tokenizer: {kind: gguf, file: …}) that "
        "it writes for without a prompt"
    )

    kind: Literal["pretrained"]
    file: str = "smollm2"
    """``smollm2`` (SmolLM2-135M-Instruct), or the path of a GGUF file."""
    fingerprint: str = ""
    """Hash of the file, filled in when a sweep is expanded: another file is another run."""
    prompt_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens of the source's real text that each sequence goes on from; its students do not read them."""

    @property
    def label(self) -> str:
        prompt = f" prompt {self.prompt_tokens}" if self.prompt_tokens else ""
        return f"pretrained {PurePath(self.file).stem}{prompt}{self.decoding_label}"

    def tells_probs(self, source: Source) -> bool:
        return isinstance(source, TextSource) and source.tokenizer.kind == "gguf" and not self.prompt_tokens


@Teacher.add_kind
class MixtureTeacher(GrownSpec, Teacher):
    """Real documents among a teacher's: a share ``real`` of the sequences is real, in random places.

    A student can tell from the context who wrote a sequence, so what it cannot know is less than the share suggests:
    KL(p‖q) of a document is at most ln(1/real), whatever the teacher.
    """

    later: ClassVar[frozenset[str]] = frozenset({"source_token"})
    can_be_mixed: ClassVar[bool] = False

    kind: Literal["mixture"]
    real: Annotated[float, Field(gt=0, lt=1)]
    teacher: SerializeAsAny[Teacher]
    source_token: bool = False
    """Begin what the teacher generated with a token of its own, one more in the vocabulary. A student that is told who
    writes need not learn the teacher's errors: asked for real text, it has nothing but the real text to go by."""

    @model_validator(mode="after")
    def _teacher_can_be_mixed(self) -> MixtureTeacher:
        if not self.teacher.can_be_mixed:
            allowed = [kind for kind, cls in self.kinds.items() if issubclass(cls, Teacher) and cls.can_be_mixed]
            raise ValueError(
                f"a {self.teacher.kind} teacher cannot be mixed with real text; allowed: {', '.join(allowed)}"
            )
        return self

    @property
    def label(self) -> str:
        return f"{self.real:g} real, {self.teacher.label}" + (", marked" if self.source_token else "")

    @property
    def generator(self) -> Teacher:
        return self.teacher

    @property
    def real_share(self) -> float:
        return self.real

    @classmethod
    def serves(cls, source: Source) -> bool:
        return True

    def check(self, source: Source) -> None:
        self.teacher.check(source)

    def tells_probs(self, source: Source) -> bool:
        return isinstance(source, WorldSource) and self.teacher.tells_probs(source)
