"""The next runs of a sweep: its own runs that are not trained yet, weighed for its own question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.config.expand import recommended_text
from scaling.config.sweep import FitOptions, SweepConfig
from scaling.errors import SpecError
from scaling.fit.belief import NOISE, TRUNK_NOISE, Belief, believe
from scaling.fit.reach import MAX_REACH
from scaling.laws.named import named_law
from scaling.predict.next_runs import Decision, NextRuns, Outlook, Site, cost, next_runs, outlook
from scaling.predict.phones.footprint import footprint
from scaling.predict.quantization import Rounding, of_a_nat, rounding_cost, times
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import TINY_LOSS, size_of
from scaling.predict.recommend.family import offered
from scaling.records.ahead import may_keep
from scaling.records.compute import paid_flops
from scaling.spec import RunSpec
from scaling.tables.finished import follows_no_law
from scaling.tables.observations import DELTAS, Observations
from scaling.tables.observe import observe
from scaling.tables.read import select_rows
from scaling.tables.units import PER_BYTE, loss_unit

if TYPE_CHECKING:
    import pandas as pd

FORM, FORM_OF_ONE_TEXT = "q1q2", "chinchilla"
"""Laws that are believed: with and without other texts, whose divergence is known."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to train next, and what is known without it.

    Attributes:
        runs: To train, none where nothing that is affordable says more.
        flops: What they cost.
        widths: Of the candidates, smallest first.
        outlook: Of the decision as it stands; None before the first runs.
        after: Expected error of the recommended size once they are trained, in doublings of N; None likewise.
        law: What is believed, in words; empty before the first runs.
    """

    runs: tuple[RunSpec, ...]
    flops: float
    widths: tuple[int, ...]
    outlook: Outlook | None
    after: float | None
    law: str

    @property
    def settled(self) -> bool:
        """True where further runs are unlikely to change the recommended size."""
        return self.outlook is not None and self.outlook.settled

    @property
    def choice(self) -> int | None:
        """Width of the size that is most likely to be recommended; None where none is, or none will do."""
        if self.outlook is None or self.outlook.choice >= len(self.widths):
            return None
        return self.widths[self.outlook.choice]

    def to_json(self) -> dict[str, Any]:
        """As JSON values: the runs by id."""
        return {
            "runs": [run.run_id for run in self.runs],
            "flops": self.flops,
            "widths": list(self.widths),
            "choice": self.choice,
            "settled": self.settled,
            "agreement": None if self.outlook is None else self.outlook.agreement,
            "error_doublings": None if self.outlook is None else self.outlook.error,
            "error_doublings_after": self.after,
            "law": self.law,
        }


def advise(
    question: Question,
    config: SweepConfig,
    runs: Sequence[RunSpec],
    table: pd.DataFrame,
    *,
    flops: float,
    most_trunks: int | None = None,
    rounding: Rounding = rounding_cost,
) -> Advice:
    """The runs of a sweep that most reduce the expected error of the size it will recommend.

    Before the first run of the text that is asked about, these are its cheapest trunk. Runs on other texts are offered
    once their divergence is known from runs, and count as evidence where all of it is known.

    Args:
        question: Of the sweep.
        config: The sweep.
        runs: What it expands to.
        table: Its finished runs; may be empty.
        flops: Budget of what comes next.
        most_trunks: Trainings of one round; None for as many as the budget allows.
        rounding: What storing a run's weights adds to its loss, as the recommendation will have it.

    Raises:
        SpecError: the cheapest trunk costs more than the budget, or no run that is there counts.
    """
    text = recommended_text(config, runs, teacher=question.teacher, targets=question.targets)
    own = [run for run in runs if run.data.text_id == text.text_id]
    asked = question.but(tokens=question.tokens or max(run.tokens for run in runs))
    candidates = _candidates(asked, config, own)
    widths = tuple(run.model.width for run in candidates)
    # What the fit will leave out decides nothing: it is neither evidence nor offered.
    done = table[table["status"] == "done"] if len(table) else table
    done = done[~follows_no_law(done)[0]]
    kept = [run for run in may_keep(config.fit.where, runs, _facts(done)) if _follows_a_law(run)]
    trained = set(done.get("run_id", ()))
    left = [run for run in kept if run.run_id not in trained]
    done = select_rows(done, config.fit.where) if len(done) else done
    if not len(done) or text.text_id not in set(done["text_id"]):
        return _pilot([run for run in left if run.data.text_id == text.text_id], flops, widths)
    # Other texts are evidence where their divergence is known.
    facts = _facts(done)
    everything = all(facts.values()) and len(facts) > 1
    form = FORM if everything else FORM_OF_ONE_TEXT
    seen = done if everything else done[done["text_id"] == text.text_id]
    volume = float(candidates[0].n_tokens)
    belief = _belief(seen, config.fit, form, volume, facts if everything else {})
    decision = _decision(asked, candidates, config.fit, facts[text.text_id] if everything else {}, done, rounding)
    sites = [
        _site(run, config.fit.n, facts.get(run.data.text_id, {}) if everything else {})
        for run in left
        if run.data.text_id == text.text_id or (everything and run.data.text_id in facts)
    ]
    now = outlook(belief, decision)
    found = NextRuns(keys=(), flops=0.0, before=now.error, after=now.error)
    if sites and not now.settled:
        found = next_runs(belief, decision, sites, flops=flops, most_trunks=most_trunks)
    by_id = {run.run_id: run for run in left}
    return Advice(
        runs=tuple(by_id[key] for key in found.keys),
        flops=found.flops,
        widths=widths,
        outlook=now,
        after=found.after,
        law=repr(belief.law),
    )


def _follows_a_law(run: RunSpec) -> bool:
    """Whether a run that is not trained yet will be one that a fit uses: see `follows_no_law`, of those that are."""
    return run.start_from is None and run.recipe.aims_at_loss


def _candidates(question: Question, config: SweepConfig, own: Sequence[RunSpec]) -> list[RunSpec]:
    """Sizes that could be recommended, smallest first: as far as the memory and the trust in a law go."""
    context = question.context or own[0].model.context

    def bytes_of(model):
        return footprint(model, context=context, format=question.format)

    farthest = MAX_REACH * max(size_of(run.model, config.fit.n) for run in own)
    kept = [
        run
        for run in offered(config, own, question, bytes_of)
        if bytes_of(run.model).total_bytes <= question.budget_bytes and size_of(run.model, config.fit.n) <= farthest
    ]
    if not kept:
        raise SpecError(_too_little(question.budget_bytes, min(bytes_of(run.model).total_bytes for run in own)))
    by_size = {size_of(run.model, config.fit.n): run for run in reversed(kept)}
    return [by_size[n] for n in sorted(by_size)]


def _too_little(budget: int, least: int) -> str:
    return (
        f"recommend.memory: got {budget:,} bytes, but the smallest size of the sweep takes {least:,} — allow more, as "
        f"--set recommend.memory={-(-least // 2**20)}MiB"
    )


def _pilot(left: Sequence[RunSpec], flops: float, widths: tuple[int, ...]) -> Advice:
    """The cheapest trunk of the text, all its branches: where nothing is known, each says most for its FLOPs."""
    trunks: dict[str, list[RunSpec]] = {}
    for run in left:
        trunks.setdefault(run.trunk_id, []).append(run)
    if not trunks:
        raise SpecError(
            "no run of the text that is asked about is left to train, and none counts: they diverged, fit.where leaves "
            "them out, or no law is of such runs (start_from, a recipe that does not aim at the loss) — widen the "
            "filter, add runs of random weights, or name another text as recommend.teacher"
        )
    price, chosen = min(
        ((cost([_site(run, "n_params", {}) for run in members]), members) for members in trunks.values()),
        key=lambda one: one[0],
    )
    if price > flops:
        raise SpecError(f"budget: got {flops:.3g} FLOPs, but the cheapest trunk takes {price:.3g} — allow more")
    return Advice(runs=tuple(chosen), flops=price, widths=widths, outlook=None, after=None, law="")


def _facts(done: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Divergences of each text, as its runs measured them; empty where they did not."""
    facts = {}
    for text, rows in done.groupby("text_id") if len(done) else ():
        means = {name: float(rows[name].mean()) for name in DELTAS if name in rows}
        known = len(means) == len(DELTAS) and all(math.isfinite(value) for value in means.values())
        facts[str(text)] = means if known else {}
    return facts


def _belief(
    seen: pd.DataFrame, options: FitOptions, form: str, volume: float, facts: dict[str, dict[str, float]]
) -> Belief:
    data = observe(
        seen.reset_index(drop=True),
        columns={"n": options.n, "d": "n_tokens"},
        loss=options.loss,
        clusters="trunk_id",
    )
    if facts:
        # Rows are numbered from zero on, and those that are no run of their own are not among the data.
        texts = seen["text_id"].iloc[list(data.rows)]
        columns = {name: np.array([facts[text][name] for text in texts]) for name in DELTAS}
        data = _with_columns(data, columns)
    return believe(data, named_law(form), volume=volume)


def _with_columns(data: Observations, columns: dict[str, np.ndarray]) -> Observations:
    return replace(data, columns={**data.columns, **columns})


def _decision(
    question: Question,
    candidates: Sequence[RunSpec],
    options: FitOptions,
    facts: dict[str, float],
    done: pd.DataFrame,
    rounding: Rounding,
) -> Decision:
    """The sweep's question as a decision among its candidates; those that are trained are known by their loss."""
    # One target for all: the least that rounding takes of it, which is that of the largest candidate.
    own = done[done["text_id"] == candidates[0].data.text_id]
    nat = of_a_nat(loss_unit(options.loss), ((row["loss"], row.get(PER_BYTE)) for row in own.to_dict("records")))
    added = min(times(nat, rounding)(run, question.stored_as).nats for run in candidates)
    target = max(question.target_loss - added, TINY_LOSS)
    losses = dict(zip(done["run_id"], done[options.loss], strict=True))
    return Decision(
        sizes=np.array([size_of(run.model, options.n) for run in candidates], float),
        columns={"d": float(candidates[0].n_tokens), **facts},
        target=target,
        margin=NormalDist().inv_cdf(question.probability) * math.hypot(NOISE, TRUNK_NOISE),
        measured={i: float(losses[run.run_id]) for i, run in enumerate(candidates) if run.run_id in losses},
        seen=frozenset(own[options.n].astype(float)),
    )


def _site(run: RunSpec, size: str, facts: dict[str, float]) -> Site:
    return Site(
        key=run.run_id,
        trunk=run.trunk_id,
        columns={"n": float(size_of(run.model, size)), "d": float(run.n_tokens), **facts},
        flops=paid_flops(run),
        cooldown=run.optim.cooldown,
    )
