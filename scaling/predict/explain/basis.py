"""What a forecast stands on: a published law or a fit, as surfaces of loss over size and data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import SpecError
from scaling.laws.law import ScalingLaw
from scaling.laws.presets import preset
from scaling.laws.size_and_data import Chinchilla
from scaling.predict.solve.inverse import Surface
from scaling.tables.units import NATS

if TYPE_CHECKING:
    from scaling.fit.result import Fit
    from scaling.laws.published.preset import Preset

Array = np.ndarray
UNIQUE = "n_unique_tokens"
TEACHER_LOSS = "teacher_loss"
REAL_TEXT = {TEACHER_LOSS: 0.0, "real_share": 1.0, "delta_coverage": 0.0, "delta_noise": 0.0}
REAL_TEXT |= {"generator_delta_coverage": 0.0, "generator_delta_noise": 0.0}
"""What the columns of a law say of real text."""


SAME_ENTROPY = 1e-3
"""Share by which what several teachers say of it may differ."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """A law with its numbers, ready to be asked for any size and volume.

    Attributes:
        name: Of the published law, or "fit".
        formula: The law with its numbers.
        source: Where it comes from.
        real: Loss of students of real text, nats/token.
        of_teacher: Loss of students of a teacher whose loss on real text is given; None where the law does not say.
        exact: Loss at exact arithmetic, of a law of low precision; None for every other law.
        of_both: Whether the loss depends on size and on data.
        embeddings: Whether N counts embeddings.
        ranges: Least and most of N and D behind it, where known.
        notes: What a reader should know.
        fit: The fit, where it is one.
        unit: Of its losses.
        vocab_size: Of the tokenizer behind it, where known.
        bytes_per_token: Mean length of its tokens, where known.
        entropy: Exact loss of real text itself, of a world, where the texts of the fit tell it.
    """

    name: str
    formula: str
    source: str
    real: Surface
    of_teacher: Callable[[float], Surface] | None = None
    exact: Surface | None = None
    of_both: bool = True
    embeddings: bool = True
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fit: Fit | None = None
    unit: str = NATS
    vocab_size: int | None = None
    bytes_per_token: float | None = None
    entropy: float | None = None

    @property
    def entropy_or_floor(self) -> float:
        """What a teacher's error is counted from: the exact entropy where it is known, else the floor of the law."""
        return self.floor if self.entropy is None else self.entropy

    @property
    def floor(self) -> float:
        """E: loss of an infinite model on infinite real text, at exact arithmetic; 0 for a law without one."""
        return self.exact_loss(math.inf, math.inf)

    def loss(self, n_params: float, n_tokens: float) -> float:
        """Loss of one student of real text."""
        return at(self.real, n_params, n_tokens)

    def exact_loss(self, n_params: float, n_tokens: float) -> float:
        """Loss of one student of real text at exact arithmetic."""
        return at(self.exact or self.real, n_params, n_tokens)

    def reach(self, n_params: float, n_tokens: float) -> dict[str, float]:
        """Factor by which a finite N or D lies outside the runs behind the law; 1 inside, empty where unknown."""
        asked = {"n": n_params, "d": n_tokens}
        return {
            name: max(1.0, asked[name] / high, low / asked[name])
            for name, (low, high) in self.ranges.items()
            if math.isfinite(asked[name])
        }

    def farthest(self, n_params: float, n_tokens: float) -> float:
        """The largest of these factors; 1 where none is known."""
        return max(self.reach(n_params, n_tokens).values(), default=1.0)


def at(surface: Surface, n_params: float, n_tokens: float) -> float:
    """A surface at one point."""
    return float(np.ravel(surface(np.array([n_params], float), np.array([n_tokens], float)))[0])


def published(name: str, columns: Mapping[str, float] | None = None) -> Basis:
    """A published law as a basis.

    Args:
        name: Of the law.
        columns: What it is a function of beside N and D, as bits; what says nothing of a text is real text.

    Raises:
        SpecError: unknown name, no law of loss, or a column that is missing or unknown.
    """
    found = preset(name)
    law = found.law
    if not isinstance(law, ScalingLaw):
        raise SpecError(f"law {name}: {law!r} gives no loss; name a law of loss, as hoffmann or besiroglu")
    if law.is_added:
        columns_of_it = ", ".join(f"{column}=…" for column in law.columns)
        raise SpecError(
            f"law {name}: gives what rounding adds to a loss, no loss with a floor and parts — "
            f"from Python: scaling.preset({name!r}).law.loss({columns_of_it})"
        )
    given = dict(columns or {})
    known = {column: value for column, value in REAL_TEXT.items() if column in law.columns} | given
    # Every token once, unless repetition is asked for.
    if UNIQUE in law.columns:
        known.setdefault(UNIQUE, math.inf)
    open_columns = [column for column in law.columns if column not in ("n", "d", *known)]
    unknown = [column for column in given if column not in law.columns]
    if open_columns or unknown or not {"n", "d"} & set(law.columns):
        raise SpecError(_columns_wanted(found, law, open_columns, unknown))
    return Basis(
        name=name,
        formula=repr(law),
        source=found.source,
        real=_surface(law, known),
        exact=_exact(law),
        of_both={"n", "d"} <= set(law.columns),
        of_teacher=(lambda loss: _surface(law, known | {TEACHER_LOSS: loss})) if TEACHER_LOSS in law.columns else None,
        embeddings=found.size_column == "n_params_total",
        ranges=found.ranges,
        notes=(found.note,) if found.note else (),
        vocab_size=found.vocab_size,
    )


def _surface(law: ScalingLaw, columns: Mapping[str, float]) -> Surface:
    def surface(n: Array, d: Array) -> Array:
        values: dict[str, Any] = {**columns} | {
            name: value for name, value in (("n", n), ("d", d)) if name in law.columns
        }
        return np.broadcast_to(law.loss(**values), np.broadcast_shapes(np.shape(n), np.shape(d)))

    return surface


def _exact(law: ScalingLaw) -> Surface | None:
    """A law of low precision without its terms of precision: what is left of it is Chinchilla's."""
    if law.values is None or not any(column.startswith("bits") for column in law.columns):
        return None
    if not set(Chinchilla().names) <= set(law.names):
        return None
    return _surface(Chinchilla(**{name: law.values[name] for name in Chinchilla().names}), {})


def _columns_wanted(found: Preset, law: ScalingLaw, missing: list[str], unknown: list[str]) -> str:
    """What a law is a function of, and how to say it."""
    say = f"law {found.name}: is a function of {', '.join(law.columns)}"
    if unknown:
        return f"{say}, and not of {', '.join(unknown)} — leave that out"
    if missing:
        return f"{say} — give {' '.join(f'--at {column}=…' for column in missing)} (in Python columns, by name)"
    return f"{say}, this command knows N and D — use it from Python: scaling.preset({found.name!r})"


def of_fit(fit: Fit, columns: Mapping[str, Any] | None = None) -> Basis:
    """A fit as a basis.

    Args:
        fit: The fit.
        columns: What its law is a function of beside N and D; of a fit without real text the `teacher` that stands for
            it, so that all is told of that text alone.

    Raises:
        SpecError: its law is no function of size or data.
    """
    if not {"n", "d"} & set(fit.law.columns):
        raise SpecError(f"this fit is of {', '.join(fit.law.columns)}, and says nothing of size or data")
    # A law of divergences says what the text of any teacher costs whose loss is known.
    extra, knows_texts = dict(columns or {}), {"delta_noise", "delta_coverage"} & fit.reads
    entropy = _entropy(fit) if knows_texts else None
    return Basis(
        name="fit",
        formula=repr(fit.law),
        source=_source(fit),
        real=lambda n, d: fit.loss(n, d, **extra),
        of_teacher=_taught(fit, extra) if knows_texts else None,
        of_both={"n", "d"} <= set(fit.law.columns),
        embeddings=fit.columns["n"] == "n_params_total",
        ranges=fit.ranges,
        notes=(*fit.status.notes, *in_sample_note(fit)),
        fit=fit,
        unit=fit.unit,
        vocab_size=fit.made_of.vocab_size,
        bytes_per_token=fit.made_of.bytes_per_token,
        entropy=entropy,
    )


def in_sample_note(fit: Fit) -> tuple[str, ...]:
    """What a reader of an interval must know where no forecast of the fit was tested; none of a published law."""
    calibration = fit.calibration
    if calibration.basis != "in-sample" or not fit.n_runs:
        return ()
    return (
        f"its intervals rest on the errors inside the {fit.n_runs} runs ({calibration.n_scores} held-out forecasts): "
        "they are an assumption, which runs of more sizes would test",
    )


def _entropy(fit: Fit) -> float | None:
    """What the loss of a teacher on real text is without its error: the same for all texts of one world."""
    said = [
        facts["teacher_loss"] - facts["generator_delta_noise"] - facts["generator_delta_coverage"]
        for facts in fit.teachers.values()
        if facts.get("teacher_loss", 0) > 0 and {"generator_delta_noise", "generator_delta_coverage"} <= facts.keys()
    ]
    return said[0] if said and np.ptp(said) <= SAME_ENTROPY * said[0] else None


def _source(fit: Fit) -> str:
    """The runs behind a fit; of an average, that its numbers are those of all its fits and the law that of one."""
    runs = f"{fit.n_runs} runs of {fit.n_clusters} trunks"
    runs += f", N counted as {fit.columns['n']}" if "n" in fit.columns else ""
    runs += f", vocabulary {fit.made_of.vocab_size:,}" if fit.made_of.vocab_size else ""
    members = len(fit.members)
    return f"{runs}; numbers of the average of {members} fits, law of the first" if members > 1 else runs


def _taught(fit: Fit, columns: Mapping[str, Any]) -> Callable[[float], Surface]:
    """Students of a teacher whose loss is known: every form counts noise in full and coverage at most so, hence what is
    not known to be coverage is noise."""

    def taught(loss: float) -> Surface:
        delta = loss - float(fit.loss(math.inf, math.inf, **columns))
        return lambda n, d: fit.loss(n, d, delta_noise=delta, **columns)

    return taught
