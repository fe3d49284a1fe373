"""What a sweep file holds, section by section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from scaling.accounting import STORED_FORMATS
from scaling.config.document import Document
from scaling.dimensions import GGUF_BLOCK
from scaling.errors import RecordError
from scaling.numbers import parse_bytes, parse_share
from scaling.records import check_name
from scaling.registry import did_you_mean
from scaling.spec import Spec

SizeConvention = Literal["n_params", "n_params_linear", "n_params_total"]
Level = Annotated[float, Field(gt=0, lt=1)]
Width = Annotated[int, Field(ge=GGUF_BLOCK, multiple_of=GGUF_BLOCK)]
Axis = Annotated[list[Any], Field(min_length=1)]


def _bytes(value: Any) -> Any:
    size = parse_bytes(value)
    if isinstance(size, str):
        raise ValueError(f"got {value!r} — a size is needed, such as 512MiB or 1.5GB")
    return size


Bytes = Annotated[int, BeforeValidator(_bytes)]
"""A field that takes a number of bytes in human form."""


Share = Annotated[float, BeforeValidator(parse_share), Field(gt=0, lt=1)]
"""A field that takes a share, as 0.25 or 25%."""


class WidthPower(Spec):
    """``value = base · (base_width / width)^power``: a learning rate that falls with width."""

    rule: Literal["width_power"]
    base: Annotated[float, Field(gt=0)]
    base_width: Annotated[int, Field(ge=1)]
    power: float = 0.5


class SizePower(Spec):
    """``value = base · (base_params / n_params)^power``, N without embeddings.

    Source: Porian et al. 2024, arXiv 2406.19146, where lr ∝ N^−0.36.
    """

    rule: Literal["size_power"]
    base: Annotated[float, Field(gt=0)]
    base_params: Annotated[float, Field(gt=0)]
    power: float


class TokensPerParam(Spec):
    """``value = ratio · N``; the same as writing ``20x``."""

    rule: Literal["tokens_per_param"]
    ratio: Annotated[float, Field(gt=0)]
    count: SizeConvention = "n_params"


class FlopsBudget(Spec):
    """The tokens that spend a budget of exact training FLOPs on this model: ``D = flops / (3 · forward_flops)``."""

    rule: Literal["flops_budget"]
    flops: Annotated[float, Field(gt=0)]


Rule = Annotated[WidthPower | SizePower | TokensPerParam | FlopsBudget, Field(discriminator="rule")]


class When(Spec):
    """Runs that match get further values."""

    match: Annotated[dict[str, Any], Field(min_length=1)]
    set: Annotated[dict[str, Any], Field(min_length=1)]


class FitOptions(Spec):
    """How the runs become a law; what is not said is left to the fitter."""

    law: str | None = None
    """A form by name, ``auto`` for the best by AICc, or ``stack`` for several averaged."""
    n: SizeConvention = "n_params"
    """The column that stands for N."""
    d: Literal["n_tokens", "n_unique_tokens"] = "n_tokens"
    """The column that stands for D."""
    loss: Literal["loss", "loss_teacher", "bits_per_byte"] = "loss"
    """The column that stands for L."""
    where: str | None = None
    """Which rows of the runs table are fitted, as ``n_params > 1e5 and teacher == 'real'``."""
    delta: Annotated[float, Field(gt=0)] | None = None
    """Where the Huber loss turns from square to linear."""
    held: dict[str, float] | None = None
    """Coefficients that are known and not fitted, as the exact entropy of a world: ``{E: 1.3704}``."""
    objective: Literal["huber", "squared", "absolute"] | None = None
    bootstrap: Annotated[int, Field(ge=0)] | None = None
    """Resamples of the trunks."""
    starts: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0

    @field_validator("where")
    @classmethod
    def _can_be_read(cls, where: str | None) -> str | None:
        # The fit comes after hours of training; what is no expression is known before.
        from scaling.tables.expression import readable

        try:
            return where if where is None else readable(where)
        except RecordError as error:
            raise ValueError(str(error)) from error

    @field_validator("law")
    @classmethod
    def _is_known(cls, law: str | None) -> str | None:
        # Laws are looked up only where a file names one: a plan needs no other.
        from scaling.laws.law import LAWS
        from scaling.laws.named import AUTO, STACK

        for part in (law or AUTO).split("+"):
            if part not in (AUTO, STACK) and part not in LAWS:
                raise ValueError(f"unknown law {part!r}{did_you_mean(part, (*LAWS, STACK, AUTO))}")
        return law

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of :func:`scaling.fit.fitter.fit`: what the file says, and nothing else."""
        return self.model_dump(exclude_none=True)


class Reference(Spec):
    """Students that a sweep trains, which others are compared with."""

    width: Width
    tokens: Annotated[int, Field(ge=1)] | None = None
    """D; by default the largest of the sweep."""
    teacher: dict[str, Any] = {"kind": "real"}
    """Whose text they read, by any of the teacher's keys."""


class RelativeTarget(Spec):
    """As good as students that the sweep trains: ``(1 + within)`` times their loss, the mean over seeds."""

    like: Reference
    within: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of that loss that may be lost beside it, as 0.02."""


class RecommendOptions(Spec):
    """What is asked of the fit."""

    target_loss: Annotated[float, Field(gt=0)] | None = None
    """nats/token on real held-out text."""
    target: RelativeTarget | None = None
    """In its place, where no loss is known beforehand, as of a text of one's own."""
    target_savings: Share | None = None
    """In its place, the share of keystrokes that its suggestions are to save on text, as 25%."""
    memory: Annotated[Bytes, Field(ge=1)] | None = None
    """Largest footprint as int8 on the phone, in bytes; by default a tenth of the device's memory."""
    device: str | None = None
    """Phone by its name in devices.toml, or FILE.toml:NAME of one's own."""
    app_share: Level | None = None
    """Share of that phone's memory that the student may take; by default a tenth."""
    speed: Annotated[float, Field(gt=0)] | None = None
    """Least tokens/s on that device."""
    format: str | None = None
    """Of the exported file; by default gguf."""
    teacher: dict[str, Any] | None = None
    """Which of the sweep's teachers the recommended student learns from, by any of its keys."""
    targets: dict[str, Any] | None = None
    """Which of that teacher's targets, by any of their keys, where the sweep has several."""
    tokens: Annotated[int, Field(ge=1)] | None = None
    """D of the recommended training; by default the largest of the sweep."""
    max_training_flops: Annotated[float, Field(gt=0)] | None = None
    """Most FLOPs of the recommended training and its teacher's text; a size that would need more reads fewer tokens."""
    probability: Level = 0.9
    """Smallest probability of meeting the target; at 0.5 the forecast itself meets it, which is a coin flip."""
    context: Annotated[int, Field(ge=1)] | None = None
    """Tokens of the key–value cache; by default the training context."""
    widths: Annotated[list[Width], Field(min_length=1)] | None = None
    """Widths to choose from; by default every multiple of 32 up to the memory."""
    level: Level = 0.9
    """Of the forecast interval."""
    tries: Annotated[int, Field(ge=1)] = 3
    """Students that `scaling run` trains at most, each chosen after the one before missed the target."""

    @field_validator("format")
    @classmethod
    def _can_be_written(cls, name: str | None) -> str | None:
        if name is not None and name not in STORED_FORMATS:
            raise ValueError(f"unknown export format {name!r}{did_you_mean(name, STORED_FORMATS)}")
        return name

    @model_validator(mode="after")
    def _has_one_target(self) -> RecommendOptions:
        targets = ("target_loss", "target", "target_savings")
        given = [name for name in targets if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"target_loss, target or target_savings: needed is one, got {' and '.join(given) or 'none'} — say "
                "target_loss: 1.72, or target: {like: {width: 64}} for what students of width 64 reach on real text"
            )
        return self

    @model_validator(mode="after")
    def _has_a_budget(self) -> RecommendOptions:
        if self.memory is None and self.device is None:
            raise ValueError("memory or device: missing — say how many bytes there are, as memory: 64MiB")
        if self.speed is not None and self.device is None:
            raise ValueError("speed: needs a device — name one, as device: mid-8gb")
        return self


def _one_is_many(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _count_is_range(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return list(range(value)) if is_count and 0 < value <= 1000 else value


class SweepConfig(Spec):
    """A sweep: what all runs share, what differs, and what is asked of the result.

    Runs are ``base`` with every combination of the axes of ``grid`` and of the rows of ``zip``, and ``base`` with each
    item of ``list``; then ``when``, ``derive`` and ``set`` apply, ``exclude`` removes, and ``seeds`` repeats.
    Keys are paths into a run, such as ``model.width`` or ``data.teacher.rate``.
    """

    model_config = ConfigDict(populate_by_name=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Folder of the sweep's results; no part of any run's identity."""
    base: dict[str, Any] = {}
    grid: dict[str, Axis] = {}
    """Axes, combined with each other."""
    lockstep: Annotated[list[dict[str, Axis]], BeforeValidator(_one_is_many)] = Field(default=[], alias="zip")
    """Groups of axes of equal length that move together."""
    points: list[dict[str, Any]] = Field(default=[], alias="list")
    """Single runs, written out."""
    when: list[When] = []
    exclude: list[dict[str, Any]] = []
    """Conditions, each a mapping of path to a value, a list of values, or ``{min: …, max: …}``."""
    derive: dict[str, Rule] = {}
    overrides: dict[str, Any] = Field(default={}, alias="set")
    """Values that win over all others; what ``--set`` fills."""
    seeds: Annotated[list[int], Field(min_length=1), BeforeValidator(_count_is_range)] | None = None
    """Repetitions: each sets ``seed`` and ``data.seed``. A number n means 0 … n−1."""
    max_runs: Annotated[int, Field(ge=1)] = 1000
    """More runs than this are taken for a mistake."""
    fit: FitOptions = FitOptions()
    recommend: RecommendOptions | None = None

    _document: Document | None = PrivateAttr(default=None)
    _path: Path | None = PrivateAttr(default=None)

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        try:
            return check_name(name)
        except RecordError as error:
            raise ValueError(str(error)) from error

    @field_validator("lockstep")
    @classmethod
    def _equal_lengths(cls, groups: list[dict[str, list[Any]]]) -> list[dict[str, list[Any]]]:
        for group in groups:
            lengths = {path: len(values) for path, values in group.items()}
            if len(set(lengths.values())) > 1:
                said = ", ".join(f"{path} has {n}" for path, n in lengths.items())
                raise ValueError(f"axes that move together need equal lengths — {said}")
        return groups

    @property
    def document(self) -> Document:
        """The file that this was read from, or a stand-in without positions."""
        return self._document or Document(values={}, marks={})

    @property
    def path(self) -> Path | None:
        """The file, where there is one."""
        return self._path

    def located(self, document: Document, path: Path) -> SweepConfig:
        """The same sweep, knowing where each of its values is written."""
        self._document, self._path = document, path
        return self
