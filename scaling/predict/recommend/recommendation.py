"""The smallest model that meets a target within what the phone allows, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from scaling.errors import ExtrapolationError, RecordError, SpecError
from scaling.files import read_json
from scaling.fit.prediction import Prediction
from scaling.fit.reach import INSIDE, MAX_REACH
from scaling.formats.plain import plain
from scaling.predict.cost import ONE_GPU, Trainer, TrainingCost, training_cost
from scaling.predict.draft import Draft
from scaling.predict.explain.basis import in_sample_note
from scaling.predict.phones.footprint import Footprint, footprint
from scaling.predict.quantization import Rounding, rounding_cost
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import Candidate, Measure, score, text_of
from scaling.predict.recommend.front import FrontPoint, pareto_front
from scaling.predict.recommend.infeasible import why_none
from scaling.predict.solve.units import check_guess
from scaling.shown import Drawn
from scaling.tables.units import NATS, loss_unit

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.result import Fit
    from scaling.predict.measured import Measurements
    from scaling.spec import RunSpec

Binding = Literal["target", "speed", "smallest"]
"""Which constraint keeps the answer from being smaller; see `Recommendation.binding`."""

RUNNERS_UP = 3


@dataclass(frozen=True, kw_only=True)
class Recommendation(Drawn):
    """The chosen configuration and why.

    Attributes:
        choice: The smallest candidate that meets the question.
        binding: ``target`` if no smaller candidate meets the target that surely, ``speed`` if one that meets it is too
            slow, ``smallest`` if none smaller was offered.
        runners_up: The next larger candidates that qualify as well.
        floor: Loss of an infinite student on infinite text of this teacher; None where the fit does not show it.
        question: What was asked.
        fit_id: Hash of the fit that forecast it; None in files of before 2026-11-26, which do not name it.
        cost: What its training takes; None in files of before.
        front: The candidates that no other beats in bytes and in loss, smallest first.
        shapes: Which shapes were offered, in words, and why no others.
        savings: Share of keystrokes that the choice is to save; None where none was asked for.
        unit: Of all losses.
        floor_low, floor_high: Interval of the floor at the level of the question; None where it is not known.
        notes: What a reader should know.
    """

    figure: ClassVar[str] = "bytes and loss"

    choice: Candidate
    binding: Binding
    runners_up: tuple[Candidate, ...]
    floor: float | None
    question: Question
    fit_id: str | None
    cost: TrainingCost | None = None
    front: tuple[FrontPoint, ...] = ()
    shapes: str = ""
    savings: Prediction | None = None
    unit: str = NATS
    floor_low: float | None = None
    floor_high: float | None = None
    notes: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        """The choice, then its runners-up: shape, loss with its interval, P(loss ≤ target), bytes."""
        import pandas as pd

        return pd.DataFrame([candidate.row() for candidate in (self.choice, *self.runners_up)])

    def __str__(self) -> str:
        model, target = self.choice.model, self.question.target_loss
        return (
            f"width {model.width}, {model.n_layers} layers, {self.choice.n_tokens:,} tokens: P(loss ≤ {target:g}) = "
            f"{self.probability:.2f}, {self.footprint.total_bytes / 2**20:.1f} MiB; binding: {self.binding}"
        )

    @property
    def run(self) -> RunSpec:
        """What to train."""
        return self.choice.run

    @property
    def prediction(self) -> Prediction:
        """Its loss, as forecast."""
        return self.choice.prediction

    @property
    def probability(self) -> float:
        """P(loss ≤ target)."""
        return self.choice.probability

    @property
    def footprint(self) -> Footprint:
        """Its bytes on the phone."""
        return self.choice.footprint

    def to_json(self) -> dict[str, Any]:
        """As JSON values, which `from_json` reads."""
        return {
            "fit_id": self.fit_id,
            "question": self.question.to_json(),
            "choice": self.choice.to_json(),
            "binding": self.binding,
            "runners_up": [candidate.to_json() for candidate in self.runners_up],
            "floor": self.floor,
            "cost": None if self.cost is None else vars(self.cost),
            "front": [vars(point) for point in self.front],
            "shapes": self.shapes,
            "savings": plain(self.savings),
            "unit": self.unit,
            "floor_low": self.floor_low,
            "floor_high": self.floor_high,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, path: str | Path) -> Recommendation:
        """Read a stored recommendation, also one that this program's first layout holds.

        Raises:
            RecordError: the file is absent, or not a recommendation.
        """
        values = read_json(Path(path))
        try:
            return cls.from_values(values if "question" in values else _of_first_layout(values))
        except (KeyError, TypeError, ValueError, SpecError) as error:
            said = str(error).splitlines()[0]
            raise RecordError(f"{path}: not a recommendation ({type(error).__name__}: {said})") from error

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Recommendation:
        """From the JSON values of `to_json`."""
        return cls(
            choice=Candidate.from_json(values["choice"]),
            binding=values["binding"],
            runners_up=tuple(Candidate.from_json(one) for one in values["runners_up"]),
            floor=values["floor"],
            question=Question.from_json(values["question"]),
            fit_id=values["fit_id"],
            cost=TrainingCost(**values["cost"]) if values.get("cost") else None,
            front=tuple(FrontPoint(**point) for point in values.get("front", ())),
            shapes=values.get("shapes", ""),
            savings=Prediction(**values["savings"]) if values.get("savings") else None,
            unit=values.get("unit", NATS),
            floor_low=values.get("floor_low"),
            floor_high=values.get("floor_high"),
            notes=tuple(values.get("notes", ())),
        )


def recommend(
    fit: Fit,
    runs: Sequence[RunSpec | Draft],
    question: Question,
    *,
    measure: Measure | None = None,
    measured: Measurements | None = None,
    trainer: Trainer = ONE_GPU,
    rounding: Rounding = rounding_cost,
    shapes: str = "",
    fit_id: str | None = None,
    force: bool = False,
) -> Recommendation:
    """Choose the smallest configuration whose forecast meets a target within what the phone allows.

    minimise ``footprint(run)`` subject to ``P(loss(run) ≤ target) ≥ probability``, ``footprint(run) ≤ budget`` and,
    where a speed is asked for, ``tokens/s ≥ speed``. The loss is that of the stored student: of the law, or measured,
    and what rounding the weights adds.

    Args:
        fit: Forecasts losses.
        runs: Configurations to choose from; those beyond the memory serve to say what the target would need.
        question: What is asked.
        measure: Bytes of a model on the phone; by default with placeholders for a tokenizer.
        measured: Finished runs, whose own losses decide about their configurations.
        trainer: The machine that the cost of training is told for.
        rounding: What storing a run's weights adds to its loss; by default as the reference tables have it.
        shapes: Which shapes the configurations have, in words; kept with the answer.
        fit_id: Name of the fit; by default the hash of its JSON.
        force: Accept forecasts more than ``MAX_REACH`` beyond the data.

    Raises:
        InfeasibleError: the target lies below what the teacher's floor may be, or nothing within the budget meets it.
        ExtrapolationError: only configurations too far beyond the data meet it.
        SpecError: no configuration is given, they read different texts, or the target is in another unit.
    """
    if not runs:
        raise SpecError("no configuration to choose from — got an empty list of candidates; widen widths or tokens")
    check_guess(question.target_loss, max(run.model.vocab_size for run in runs), unit=loss_unit(fit.columns["loss"]))
    # Smallest first: the first that qualifies is the answer.
    candidates = score(fit, runs, question, measure or _with_placeholders(question), measured, rounding=rounding)
    # A law that does not show its floor is trusted inside its runs alone.
    floor = fit.floor(text_of(fit, runs[0]), level=question.level) if fit.success else None
    trusted = MAX_REACH if fit.success else INSIDE
    fitting = [c for c in candidates if c.fits(question)]
    qualified = [c for c in fitting if c.meets(question)]
    within = qualified if force else [c for c in qualified if c.reach <= trusted]
    if not within:
        if qualified:
            target, why = f"{question.target_loss:g} {fit.unit}", " while the floor is not identified"
            raise ExtrapolationError(
                f"only forecasts {qualified[0].reach:.3g}× beyond the data meet {target}; "
                f"at most {trusted:.3g}× is trusted{'' if fit.success else why} — "
                "train larger runs first, or repeat with --force"
            )
        raise why_none(fit, text_of(fit, runs[0]), question, floor, candidates)
    choice = within[0]
    return Recommendation(
        choice=choice,
        binding=_binding(choice, candidates, question),
        runners_up=tuple(within[1 : 1 + RUNNERS_UP]),
        floor=None if floor is None else floor.value,
        floor_low=None if floor is None else floor.low,
        floor_high=None if floor is None else floor.high,
        notes=in_sample_note(fit),
        question=question,
        fit_id=fit_id or _fit_id(fit),
        cost=training_cost(choice.offered, trainer),
        front=pareto_front(candidates),
        shapes=shapes,
        unit=fit.unit,
    )


def _fit_id(fit: Fit) -> str:
    from scaling.fit.saved.files import fit_id_of, to_json

    return fit_id_of(to_json(fit))


def _with_placeholders(question: Question) -> Measure:
    return partial(footprint, context=question.context, format=question.format, architecture=question.architecture)


def _binding(choice: Candidate, candidates: Sequence[Candidate], question: Question) -> Binding:
    """Why no smaller candidate was chosen."""
    smaller = [c for c in candidates if c.footprint.total_bytes < choice.footprint.total_bytes]
    if not smaller:
        return "smallest"
    return "speed" if any(c.meets(question) and not c.fits(question) for c in smaller) else "target"


def _of_first_layout(values: Mapping[str, Any]) -> dict[str, Any]:
    """A file of before 2026-11-26, which held the question's values beside the choice and did not name its fit."""

    def candidate(old: Mapping[str, Any]) -> dict[str, Any]:
        # The reach of N and that of D were stored as one, the scale not at all.
        prediction = {name: old[name] for name in ("low", "high")} | {"value": old["loss"], "level": values["level"]}
        return {
            "run": old["run"],
            "n_params": old["n_params"],
            "prediction": prediction | {"scale": None, "reach": {"n": old["reach"]}},
            "probability": old["probability"],
            "footprint": old["footprint"],
            "speed": None,
        }

    return {
        "fit_id": None,
        "question": {
            "target_loss": values["target_loss"],
            "memory_bytes": values["memory_bytes"],
            "probability": values["confidence"],
            "level": values["level"],
        },
        "choice": candidate(values["choice"]),
        "binding": values["binding"],
        "runners_up": [candidate(old) for old in values["runners_up"]],
        "floor": values["floor"],
    }
