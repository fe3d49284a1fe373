"""What a notebook asks of a fit or of a published law: losses, what reaches a loss, and the student to train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scaling.config.expand import expand
from scaling.config.load import load_sweep
from scaling.config.sweep import SweepConfig
from scaling.errors import InfeasibleError, SpecError
from scaling.fit.prediction import Prediction, numbers_of, one_shape
from scaling.fit.result import Fit, check_fit
from scaling.numbers import check_level, count, parse_bytes, shortly
from scaling.predict.damage import rounding_of_sweep
from scaling.predict.explain.answer import solve
from scaling.predict.explain.asked import Asked, asked_of
from scaling.predict.explain.teacher import TeacherAsked
from scaling.predict.measured import runs_of_fit
from scaling.predict.question import Question, check_fields, teacher_named
from scaling.predict.recommend.of_published import recommend_published
from scaling.predict.recommend.of_sweep import recommend_of_sweep
from scaling.predict.recommend.recommendation import Recommendation
from scaling.predict.solve.budget import Solution
from scaling.predict.solve.units import BelowFloor
from scaling.records import RunStore
from scaling.registry import did_you_mean
from scaling.shown import Drawn
from scaling.tables.units import NATS

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
SOLVED = ("n", "d", "teacher", "columns", "inference_tokens", "level", "vocab_size", "force")
"""What `invert` hands on to `solve`."""
IN_WORDS = ("target_basis", "device", "format", "teacher", "targets")
"""Fields of a question that are no numbers."""


def forecast(
    source: Fit | str,
    n: Any,
    d: Any = np.inf,
    *,
    teacher: str | TeacherAsked | None = None,
    columns: Mapping[str, float] | None = None,
    level: float = 0.9,
    force: bool = False,
) -> Prediction:
    """Losses of many sizes and volumes at once.

    >>> forecast("besiroglu", ["70M", "1B"], "20B").frame()[["n", "loss"]].round(3)
                  n   loss
    0  7.000000e+07  3.073
    1  1.000000e+09  2.530

    Args:
        source: A fit, or the name of a published law, which has no interval.
        n: N, one or many, also as people write them.
        d: Tokens, likewise; infinite asks for the limit.
        teacher: Whose text: a label of the fit, a model's name, or its size or loss; None for real text.
        columns: What the law is a function of beside N, D and the teacher.
        level: Of a fit's interval.
        force: Answer a fit however far beyond its runs.

    Returns:
        Prediction, in the broadcast shape of n and d.

    Raises:
        SpecError: something that cannot be, or is not known.
        ExtrapolationError: too far beyond a fit's runs.
    """
    asked = asked_of(source, teacher=teacher, columns=columns)
    # A fit has doubt and runs nearby; a published law its formula alone.
    if isinstance(source, Fit):
        return asked.predict(n, d, level=level, force=force)
    return _of_law(asked, numbers_of(n, "n"), numbers_of(d, "d"), level)


def _of_law(asked: Asked, sizes: Array, volumes: Array, level: float) -> Prediction:
    """Losses by a published law, which says nothing of its doubt."""
    if not (np.all(sizes > 0) and np.all(volumes > 0)):
        raise SpecError(f"n and d must be positive (or inf), got n = {sizes}, d = {volumes}")
    check_level(level)
    one_shape({"n": sizes, "d": volumes})
    sizes, volumes = np.broadcast_arrays(sizes, volumes)
    loss = asked.surface(sizes.ravel(), volumes.ravel()).reshape(sizes.shape)[()]
    unknown = np.full(sizes.shape, np.nan)[()]
    # Outside what a source says of its own runs, a published law is extrapolated as any other.
    each = [asked.basis.reach(*pair) for pair in zip(sizes.ravel(), volumes.ravel(), strict=True)]
    reach = {name: np.reshape([one[name] for one in each], sizes.shape)[()] for name in each[0]}
    return Prediction(loss, unknown, unknown, level, unknown, reach, at={"n": sizes[()], "d": volumes[()]})


@dataclass(frozen=True, kw_only=True)
class Inverse(Drawn):
    """What reaches each of several losses.

    Attributes:
        losses: In `unit`.
        solutions: The trainings that reach each of them; None where none does.
        unit: Of the losses.
    """

    figure: ClassVar[str] = "needed for a loss"

    losses: tuple[float, ...]
    solutions: tuple[Solution | None, ...]
    unit: str = NATS

    def frame(self) -> pd.DataFrame:
        """One row a training; a loss that nothing reaches has one row, of infinite size."""
        import pandas as pd

        unreached = pd.DataFrame([{"what": "out of reach", "n_params": np.inf, "n_tokens": np.inf, "flops": np.inf}])
        pairs = zip(self.losses, self.solutions, strict=True)
        return pd.concat(
            [(unreached if one is None else one.frame()).assign(loss=loss) for loss, one in pairs], ignore_index=True
        )


def invert(source: Fit | str, loss: float | Sequence[float] | Array, **given: Any) -> Inverse:
    """Size, tokens or compute for a loss: N for a given D, D for a given N, or the cheapest training of both.

    >>> invert("besiroglu", [2.5, 2.2], d="100B").frame()["n_params"].round(-6).tolist()
    [414000000.0, 6590000000.0]

    Args:
        source: A fit, or the name of a published law.
        loss: One or many, in the unit of the law.
        **given: As for `scaling.solve`: `n`, `d`, `teacher`, `columns`, `inference_tokens`, `level`, `vocab_size`,
            `force`.

    Raises:
        SpecError: something that cannot be, or is not known; a single loss below the floor, which may be in another
            unit. Among several it is out of reach.
        ExtrapolationError: the answer lies too far beyond a fit's runs.
    """
    losses = tuple(np.ravel(numbers_of(loss, "loss")).tolist())
    if not losses:
        raise SpecError(f"loss: got {shortly(loss)}, needed is one loss or several — for example 2.5, or [2.5, 2.2]")
    if unknown := [name for name in given if name not in SOLVED]:
        raise SpecError(f"{unknown[0]}: got {shortly(given[unknown[0]])}{did_you_mean(unknown[0], SOLVED)}")
    solutions = tuple(_reaching(source, one, given, several=len(losses) > 1) for one in losses)
    return Inverse(losses=losses, solutions=solutions, unit=NATS if isinstance(source, str) else source.unit)


def _reaching(source: Fit | str, loss: float, given: Mapping[str, Any], *, several: bool) -> Solution | None:
    """What reaches a loss; None where nothing does. One loss alone that lies below the floor is asked for its unit."""
    try:
        return solve(source, target_loss=loss, **given)
    except InfeasibleError:
        return None
    except BelowFloor:
        if not several:
            raise
        return None


def recommend(
    source: Fit | str,
    *,
    sweep: SweepConfig | str | Path | None = None,
    results: str | Path = "results",
    force: bool = False,
    **asked: Any,
) -> Recommendation:
    """The smallest student that meets a target within what a phone allows.

    >>> recommend("besiroglu", target_loss=3.0, memory_bytes="1GiB").choice.footprint.total_bytes < 2**30
    True

    Args:
        source: A fit, with the sweep that its runs came from; or the name of a published law, asked about the shapes
            that llama models usually have.
        sweep: The sweep, or its file; its own question answers for what is not asked.
        results: Where its runs lie: what was measured of a student, and of rounding, comes before what a law says, and
            the sweep's tokenizer is part of the exported file.
        force: Accept forecasts far beyond the data.
        **asked: Fields of `scaling.predict.question.Question`, as `target_loss`, `memory_bytes`, `device`, `tokens`.

    Raises:
        SpecError: a fit without its sweep, or a question that is none.
        InfeasibleError: nothing meets the target within the budget; says what would.
        ExtrapolationError: only what lies too far beyond the data does.
    """
    asked = _question_read(asked)
    if isinstance(source, str):
        if asked.get("target_loss") is None:
            raise SpecError("target_loss: got none, needed is the largest loss that will do — for example 3.0")
        return recommend_published(Question(**asked), source, force=force)
    check_fit(source)
    if sweep is None:
        raise SpecError(
            "a recommendation chooses from the shapes of a sweep — got none; give sweep='sweeps/NAME.yaml'; of runs of "
            "another program scaling.solve(fit, target_loss=…, d=…) gives the smallest size, and "
            "`scaling footprint --params … --device …` what it takes"
        )
    config = sweep if isinstance(sweep, SweepConfig) else load_sweep(sweep)
    runs, store = expand(config), RunStore(results)
    if isinstance(asked.get("teacher"), str):
        asked["teacher"] = teacher_named(asked["teacher"], runs)
    question = Question.of(config, **asked)
    # What the sweep's folder holds decides, as it does for `scaling recommend`.
    folder = store.root / config.name
    return recommend_of_sweep(
        question,
        source,
        config,
        runs,
        store,
        known=runs_of_fit(source, folder / "runs.parquet"),
        trained_beside=True,
        rounding=rounding_of_sweep(folder, runs, store),
        force=force,
    )


def _question_read(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a question, numbers and bytes as people write them among them."""
    check_fields(asked)
    if asked.get("target_savings") is not None:
        raise SpecError(
            f"target_savings: got {asked['target_savings']}, and the loss that it asks for follows from what the "
            "sweep's students typed — ask `scaling recommend --target-savings`, or give target_loss=…"
        )
    read = {name: parse_bytes(value) if name == "memory_bytes" else value for name, value in asked.items()}
    numbers = [name for name in read if name not in IN_WORDS]
    return read | {name: count(read[name], name) for name in numbers}
