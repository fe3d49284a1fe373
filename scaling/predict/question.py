"""What is asked of a fit: a target, how surely it is to be met, and what the phone allows.

One frozen object goes from the sweep file, the command line or Python to the answer, and is stored with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from scaling.accounting import (
    DEFAULT_FORMAT,
    PHONE,
    STORED_FORMATS,
    WEIGHT_FORMATS,
    Architecture,
    Storage,
    storages_named,
)
from scaling.errors import ConfigError, RecordError, SpecError
from scaling.numbers import is_number, shortly
from scaling.predict.phones.devices import APP_SHARE, device
from scaling.registry import did_you_mean, one_begun

if TYPE_CHECKING:
    from scaling.config.sweep import RecommendOptions, SweepConfig
    from scaling.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which is the smallest student that meets a target on a phone?

    Attributes:
        target_loss: Largest loss that will do, in the unit of the fit (nats/token or bits/byte of real held-out text).
        target_basis: What the target was derived from, in words; None for a number that was asked for.
        target_savings: Share of keystrokes that was asked for, where the loss follows from it.
        memory_bytes: Budget for weights, cache, activations and engine; None for what one app may
            take of ``device``.
        device: The phone, a name of devices.toml or ``FILE.toml:NAME``; needed where ``memory_bytes`` is None or a
            speed is asked for.
        app_share: Share of that device's memory that the student may take, where ``memory_bytes`` is None.
        tokens_per_s: Least decoding speed, at the slow end of the device's figures; None for any.
        probability: Least acceptable P(loss ≤ target); at 0.5 the forecast itself meets it, which is a coin flip.
        context: Tokens that the key–value cache holds; None for the training context.
        format: Export format.
        teacher: Which of the sweep's teachers the student reads, by any of its keys; None for the only unreal one.
        targets: Which of that teacher's targets, likewise.
        tokens: D of the recommended training; None for the largest of the sweep.
        max_training_flops: Most FLOPs that the recommended training may take, with what its teacher computes for it
            where that is a run itself; a size that would need more reads less.
        widths: Widths to choose from; None for every multiple of 32 up to the memory.
        level: Level of the reported forecast interval.
    """

    target_loss: float
    target_basis: str | None = None
    target_savings: float | None = None
    memory_bytes: int | None = None
    device: str | None = None
    app_share: float = APP_SHARE
    tokens_per_s: float | None = None
    probability: float = 0.9
    context: int | None = None
    format: str = DEFAULT_FORMAT
    teacher: Mapping[str, Any] | None = None
    targets: Mapping[str, Any] | None = None
    tokens: int | None = None
    max_training_flops: float | None = None
    widths: tuple[int, ...] | None = None
    level: float = 0.9

    def __post_init__(self) -> None:
        for name, value in (
            ("probability", self.probability),
            ("level", self.level),
            ("app_share", self.app_share),
        ):
            if not (is_number(value) and 0 < value < 1):
                raise SpecError(f"{name}: got {shortly(value)}, allowed is a number between 0 and 1 — for example 0.9")
        for name in ("target_loss", "memory_bytes", "tokens_per_s", "context", "tokens", "max_training_flops"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and 0 < value < math.inf):
                raise SpecError(f"{name}: got {shortly(value)}, allowed is a positive number")
        if self.memory_bytes is None and self.device is None:
            raise SpecError("a question needs memory_bytes or a device — got neither; name one, as 64 MiB or mid-8gb")
        if self.tokens_per_s is not None and self.device is None:
            raise SpecError("tokens_per_s: a speed needs a device — got none; name one, as mid-8gb")
        if self.device is not None:
            device(self.device)  # refuses a name that is not known
        STORED_FORMATS[self.format]  # likewise

    @classmethod
    def of(cls, config: SweepConfig, **asked: Any) -> Question:
        """The question of a sweep file, with what the caller asks instead.

        Args:
            config: The sweep; its ``recommend`` section gives whatever is not asked.
            **asked: Fields of the question; None stands for what the file says.

        Raises:
            ConfigError: neither gives a target, or neither memory nor a device.
        """
        check_fields(asked)
        given = {name: value for name, value in asked.items() if value is not None}
        written = _written(config.recommend) if config.recommend else {}
        # A budget on the command line stands for all of what the file says of the budget.
        if "device" in given and "memory_bytes" not in given:
            written.pop("memory_bytes", None)
        values = written | given
        if "target_loss" not in values or not values.keys() & {"memory_bytes", "device"}:
            raise ConfigError([_incomplete(config, values)])
        return cls(**values)

    def but(self, **changes: Any) -> Question:
        """The same question with other values."""
        return replace(self, **changes)

    @property
    def budget_bytes(self) -> int:
        """Largest footprint that is allowed."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        return int(self.app_share * device(str(self.device)).memory_bytes)

    @property
    def stored_as(self) -> Storage:
        """How the matrices of the exported file are stored."""
        return STORED_FORMATS[self.format].storage

    @property
    def architecture(self) -> Architecture:
        """Of the processor that the student is for: the device's, or a phone's where only memory was named."""
        return PHONE if self.device is None else device(self.device).architecture

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Question:
        """From JSON values.

        Raises:
            RecordError: a field is unknown or missing.
        """
        widths = values.get("widths")
        try:
            return cls(**{**values, "widths": None if widths is None else tuple(widths)})
        except TypeError as error:
            raise RecordError(f"not a question ({error})") from error


def check_fields(asked: Mapping[str, Any]) -> None:
    """Refuse what is no field of a question.

    Raises:
        SpecError: names it, and the field that was probably meant.
    """
    known = [field.name for field in fields(Question) if field.name != "target_basis"]
    for name, value in asked.items():
        if name not in (*known, "target_basis"):
            raise SpecError(f"{name}: got {shortly(value)}, no field of a question{_meant(name, known)}")


def _meant(name: str, known: Sequence[str]) -> str:
    # One who says target, memory or speed means the field that begins or ends so.
    begun = [one for one in known if one.startswith(f"{name}_")]
    return f" — did you mean {begun[0]!r}?" if begun else did_you_mean(name, known)


def _incomplete(config: SweepConfig, given: Mapping[str, Any]) -> str:
    """Which part of a question neither the caller nor the sweep file gives."""
    path, written = config.path or "sweep", config.recommend
    relative = {"target": "is relative to students of the sweep", "target_savings": "is a share of keystrokes"}
    name = next((name for name in relative if written is not None and getattr(written, name) is not None), None)
    if "target_loss" in given or name is None:
        return (
            f"{path}:1:1: recommend: missing — give target_loss and memory (or a device) here, or to `scaling run` and "
            "`scaling recommend` as --target-loss and --memory"
        )
    return (
        f"{config.document.mark(('recommend', name))}: recommend.{name}: {relative[name]}, which `scaling recommend` "
        "makes a loss of — ask there, or give the loss itself, target_loss=…"
    )


def _written(options: RecommendOptions) -> dict[str, Any]:
    """What a sweep file says of its question."""
    values: dict[str, Any] = {
        "target_loss": options.target_loss,
        "memory_bytes": options.memory,
        "device": options.device,
        "app_share": options.app_share,
        "tokens_per_s": options.speed,
        "probability": options.probability,
        "context": options.context,
        "format": options.format,
        "teacher": options.teacher,
        "targets": options.targets,
        "tokens": options.tokens,
        "max_training_flops": options.max_training_flops,
        "widths": None if options.widths is None else tuple(options.widths),
        "level": options.level,
    }
    return {name: value for name, value in values.items() if value is not None}


def teacher_named(label: str, runs: Sequence[RunSpec]) -> dict[str, Any]:
    """The teacher of a sweep that people call by a label, or by its beginning where no other begins so.

    Raises:
        SpecError: no run of the sweep reads text of that teacher, or of several.
    """
    from scaling.spec import text_labels

    labels = text_labels(run.data for run in runs)
    known = {labels[run.data.text_id].teacher: run.data.teacher for run in runs}
    found = one_begun(label, known)
    if found is None:
        several = [one for one in known if one.startswith(f"{label} ")]
        raise SpecError(f"--teacher: the sweep has no teacher {label!r}{did_you_mean(label, several or known)}")
    return known[found].model_dump(mode="json")


def format_named(name: str) -> str:
    """An export format, by its own name or by how it stores weights: ``q4_0`` is the first format that does so.

    Raises:
        SpecError: there is none.
    """
    if name in STORED_FORMATS:
        return name
    wanted = storages_named(name) if name.lower() in WEIGHT_FORMATS else ()
    for one in STORED_FORMATS:
        if STORED_FORMATS[one].storage in wanted:
            return one
    if name.lower() in ("litertlm", "litert_lm"):
        raise SpecError(f"--format {name}: is a file for a program — write it with --format litert --target litert-lm")
    known = [*STORED_FORMATS, *WEIGHT_FORMATS]
    said = "no export format stores it so" if wanted else f"unknown{did_you_mean(name, known)}"
    raise SpecError(f"--format {name}: {said} — allowed are {', '.join(STORED_FORMATS)}, or q8_0, q4_0, f16")
