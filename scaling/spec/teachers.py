"""Who speaks: the real source, a graded error of a world's law, or a model of the text.

Teachers that are runs themselves, and mixtures of teachers, are in ``run.py``, beside the run that reads them.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal, Protocol

from pydantic import Field

from scaling.spec.schema import Spec


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
        return f"pretrained {PurePath(self.file).stem}{decoding_label(self)}"


class NgramTeacher(Spec):
    """An interpolated modified Kneser–Ney model of the source's training part (scaling/teach/ngram.py)."""

    kind: Literal["ngram"]
    order: Annotated[int, Field(ge=1, le=6)] = 3
    """Longest gram, in tokens."""

    @property
    def label(self) -> str:
        return f"ngram {self.order}"


TEACHERS_OF = {
    "w0": ("real", "noise", "coverage", "temperature", "stale", "shift", "mixture", "net"),
    "w1": ("real", "noise", "coverage", "temperature", "mixture", "net"),
    "w2": ("real", "noise", "coverage", "temperature", "mixture", "net"),
    "text": ("real", "trained", "pretrained", "ngram", "mixture"),
}
"""Which teachers can speak for which source."""


class _Decoded(Protocol):
    temperature: float
    top_k: int | None
    top_p: float | None


def decoding_label(teacher: _Decoded) -> str:
    """What decoding does to the teacher's distribution, for a label."""
    cut = "" if teacher.temperature == 1 else f" temperature {teacher.temperature:g}"
    cut += "" if teacher.top_k is None else f" top_k {teacher.top_k}"
    return cut + ("" if teacher.top_p is None else f" top_p {teacher.top_p:g}")
