"""Who speaks: the real source, a graded error of a world's law, or a model trained on the text."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_serializer

from scaling.spec.schema import Spec

if TYPE_CHECKING:
    from scaling.spec.run import RunSpec


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
        return f"trained {self.run.run_id}{_cut(self)}"


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


class PretrainedTeacher(Spec):
    """A model of the llama architecture that somebody else trained, read from a GGUF file.

    It writes sequences of its students' context in its own tokens, so the source's tokenizer must be that of the file.
    """

    kind: Literal["pretrained"]
    file: str = "smollm2"
    """``smollm2`` (SmolLM2-135M-Instruct), or the path of a GGUF file."""
    fingerprint: str = ""
    """Hash of the file, filled in when a sweep is expanded: another file is another run."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Anything but 1 makes the samples no longer the teacher's distribution (a coverage or noise loss)."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    @property
    def label(self) -> str:
        return f"pretrained {PurePath(self.file).stem}{_cut(self)}"


class NgramTeacher(Spec):
    """An interpolated modified Kneser–Ney model of the source's training part (scaling/teach/ngram.py)."""

    kind: Literal["ngram"]
    order: Annotated[int, Field(ge=1, le=6)] = 3
    """Longest gram, in tokens."""

    @property
    def label(self) -> str:
        return f"ngram {self.order}"


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

TEACHERS_OF = {
    "w0": ("real", "noise", "coverage", "temperature", "stale", "shift", "mixture", "net"),
    "w1": ("real", "noise", "coverage", "temperature", "mixture", "net"),
    "w2": ("real", "noise", "coverage", "temperature", "mixture", "net"),
    "text": ("real", "trained", "pretrained", "ngram", "mixture"),
}
"""Which teachers can speak for which source."""


def _cut(teacher: TrainedTeacher | PretrainedTeacher) -> str:
    """What decoding does to the teacher's distribution, for a label."""
    cut = "" if teacher.temperature == 1 else f" temperature {teacher.temperature:g}"
    cut += "" if teacher.top_k is None else f" top_k {teacher.top_k}"
    return cut + ("" if teacher.top_p is None else f" top_p {teacher.top_p:g}")
