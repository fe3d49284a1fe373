"""The recommendation from a sweep's own runs and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from scaling.config.expand import recommended_text
from scaling.config.sweep import SweepConfig
from scaling.dimensions import Dimensions
from scaling.fit.result import Fit
from scaling.predict.cost import ONE_GPU, trainer_of
from scaling.predict.measured import Measurements
from scaling.predict.phones.footprint import Footprint, footprint, tokenizer_layout
from scaling.predict.quantization import Rounding, of_a_nat, rounding_cost, times
from scaling.predict.question import Question
from scaling.predict.recommend.family import offered, shape_of
from scaling.predict.recommend.recommendation import Recommendation, recommend
from scaling.records import RunStore
from scaling.spec import RunSpec


def recommend_of_sweep(
    question: Question,
    fit: Fit,
    config: SweepConfig,
    runs: Sequence[RunSpec],
    store: RunStore,
    *,
    known: Iterable[str] = (),
    trained_beside: bool = False,
    rounding: Rounding = rounding_cost,
    savings: Mapping[str, float] | None = None,
    fit_id: str | None = None,
    force: bool = False,
) -> Recommendation:
    """Choose from a sweep's own family of models.

    Candidates are the sweep's configuration at every width that is asked about, on the largest volume of the sweep
    unless another is asked for, with the learning rate that the sweep derives for each width.

    Args:
        question: What is asked.
        fit: Of that sweep's runs.
        config: The sweep.
        runs: What it expands to.
        store: Where the runs and the sweep's tokenizer lie, which is stored in the exported file and so part of its
            bytes.
        known: Ids of the runs that the fit was made of; their own losses decide about their configurations.
        trained_beside: Whether those of candidates decide too that are no runs of the sweep and were trained since, as
            a student that was recommended before. Without, the answer is a forecast of what the fit has not seen.
        rounding: What storing a run's weights adds to its loss; `SweepDamage.cost` where the sweep's was measured.
        savings: Share of keystrokes of the runs that have typed, by id; where keystrokes are asked for it decides.
        fit_id: Name of the fit.
        force: Accept forecasts far beyond the data.

    Raises:
        ConfigError: the teacher is none of the sweep's, or several.
        InfeasibleError: nothing meets the target within the budget.
        ExtrapolationError: only what lies too far beyond the data does.
    """
    runs = _of_its_vocabulary(fit, runs)
    text = recommended_text(config, runs, teacher=question.teacher, targets=question.targets)
    trained = [run for run in runs if run.data.text_id == text.text_id]
    tokenizer = tokenizer_layout(trained[0].data, store)
    context = question.context or trained[0].model.context

    def measure(model: Dimensions) -> Footprint:
        return footprint(
            model,
            context=context,
            tokenizer=tokenizer,
            format=question.format,
            architecture=question.architecture,
        )

    # What the caller leaves open follows from the sweep, and stands in the stored question.
    asked = question if question.tokens is not None else question.but(tokens=max(run.tokens for run in runs))
    choices = offered(config, trained, asked, measure)
    own = {run.run_id for run in runs}
    beside = [run.run_id for run in choices if run.run_id not in own] if trained_beside else []
    records = list(store.records([*known, *beside]))
    read = [one.outcome for one in records if one.spec.data.text_id == text.text_id]
    nat = of_a_nat(fit.unit, ((one.loss, one.bits_per_byte) for one in read if one.status == "done"))
    return recommend(
        fit,
        choices,
        asked,
        measure=measure,
        measured=Measurements.of(records, fit, savings=savings),
        trainer=trainer_of(records) or ONE_GPU,
        rounding=times(nat, rounding),
        shapes=_shapes_in_words(trained),
        fit_id=fit_id,
        force=force,
    )


def _of_its_vocabulary(fit: Fit, runs: Sequence[RunSpec]) -> list[RunSpec]:
    """The runs with a vocabulary that the fit knows: of a sweep with several, a fit may be of one."""
    known = {run.model.vocab_size for run in runs if run.data.text_id in fit.texts}
    return [run for run in runs if not known or run.model.vocab_size in known]


def _shapes_in_words(trained: Sequence[RunSpec]) -> str:
    depths = sorted({shape_of(run.model)[0] for run in trained})
    said = " or ".join(str(depth) for depth in depths)
    vocab = trained[0].model.vocab_size
    return (
        f"depths that the sweep trained ({said} layers) at the V = {vocab:,} of its text: the law knows N alone, "
        "neither shape nor vocabulary"
    )
