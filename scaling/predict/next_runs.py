"""Which runs are worth their FLOPs: those that make the recommended size most certain.

The decision is the smallest size that meets the target. Under each draw of the law (`scaling.fit.belief`) it is another
one; a run is worth as much as it brings them together. What a run would show is foreseen from the draws themselves:
each in turn is taken for the truth, its runs are measured with noise, and the decision is estimated from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scaling.fit.belief import Belief, run_covariance

Array = np.ndarray

TELLING = 2
"""Sizes that must have read the text before a law tells sizes apart: of one, a prior says what another would do."""

SETTLED = 0.05
"""Expected error of the recommended size at which a decision counts as settled, in doublings of N: 7 %."""

SURE = 0.95
"""Or the share of draws that agree on the candidate."""

DECISIVE = 1 / 3
"""Least share of the largest reduction within the budget that a training must bring to be chosen for its low cost."""

NORMAL_ERROR = math.sqrt(2 / math.pi)
"""Mean absolute error of a normal estimate, in its standard deviations."""

STEPS = 129
"""Sizes at which the law is read, between the smallest candidate and the largest."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A run that could be trained, or was.

    Attributes:
        key: Its id.
        trunk: Id of its trunk.
        columns: What the law reads of it: n, d, and what is known of its text.
        flops: Of the run by itself.
        cooldown: Share of them that a further branch of its trunk costs.
    """

    key: str
    trunk: str
    columns: Mapping[str, float]
    flops: float
    cooldown: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to be decided.

    Attributes:
        sizes: float64[n_candidates], N of the candidates, smallest first.
        columns: What the law reads of all of them: d, and what is known of their text.
        target: Loss that will do.
        margin: By which the log loss of a size that was not trained must lie below the target: it is the chance that
            was asked for, in standard deviations of a run.
        measured: Losses of candidates that were trained, by their index.
        seen: Sizes of which some run on this text is known, of any volume.
    """

    sizes: Array
    columns: Mapping[str, float]
    target: float
    margin: float = 0.0
    measured: Mapping[int, float] = field(default_factory=dict)
    seen: frozenset[float] = frozenset()

    @property
    def told(self) -> bool:
        """Whether runs, not a prior, tell sizes apart: two were seen, or what was measured leaves one choice."""
        low, high = self.bracket()
        return len(self.seen) >= TELLING or low >= high

    def bracket(self) -> tuple[float, float]:
        """Log sizes between which the answer lies by what was measured: it lies above the largest candidate that
        missed, and not above the smallest that met the target."""
        logs = np.log(self.sizes)
        low, high = logs[0], logs[-1] + math.log(2)
        for i, loss in self.measured.items():
            if loss <= self.target:
                high = min(high, logs[i])
            else:
                low = max(low, logs[min(i + 1, len(logs) - 1)] if i + 1 < len(logs) else high)
        return min(low, high), high

    def wanted(self, belief: Belief) -> Array:
        """Log of the smallest size that meets the target, under each draw: float64[n_draws], within the bracket."""
        ends = np.log(self.sizes[[0, -1]]) + [-math.log(2), math.log(2)]
        logs = np.linspace(float(ends[0]), float(ends[1]), STEPS)
        losses = belief.logs(
            {"n": np.exp(logs), **{name: np.full(STEPS, value) for name, value in self.columns.items()}}
        )
        aim = math.log(self.target) - self.margin
        # The loss falls with size: the wanted size lies where the curve crosses the aim.
        above = np.sum(losses > aim, axis=1)
        found = np.empty(len(losses))
        for k, (count, curve) in enumerate(zip(above, losses, strict=True)):
            if 0 < count < STEPS:
                share = (curve[count - 1] - aim) / max(curve[count - 1] - curve[count], 1e-12)
                found[k] = logs[count - 1] + share * (logs[1] - logs[0])
            else:
                found[k] = ends[0] if count == 0 else ends[1]
        return np.clip(found, *self.bracket())

    def chosen(self, wanted: Array) -> Array:
        """Index of the smallest candidate of at least the wanted size; the number of candidates where none is:
        int[...]."""
        return np.searchsorted(np.log(self.sizes) + 1e-9, wanted)


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """How far a decision is made.

    Attributes:
        choice: Index of the candidate that most draws recommend; the number of candidates where none will do.
        agreement: Share of the draws that recommend it.
        error: Expected error of the recommended size, in doublings of N.
        told: Whether runs tell sizes apart; draws that agree by their prior alone settle nothing.
    """

    choice: int
    agreement: float
    error: float
    told: bool

    @property
    def settled(self) -> bool:
        """Whether further runs are unlikely to change it."""
        return self.told and (self.error <= SETTLED or self.agreement >= SURE)


def outlook(belief: Belief, decision: Decision) -> Outlook:
    """What the draws recommend, and how much they differ."""
    wanted = decision.wanted(belief)
    chosen = decision.chosen(wanted)
    values, counts = np.unique(chosen, return_counts=True)
    # The median is the size whose expected error is least.
    choice = int(np.sort(chosen)[len(chosen) // 2])
    agreement = float(counts[values == choice].sum() / len(chosen))
    error = _doublings(wanted - np.median(wanted))
    return Outlook(choice=choice, agreement=agreement, error=error, told=decision.told)


@dataclass(frozen=True, kw_only=True)
class NextRuns:
    """Runs to train next.

    Attributes:
        keys: Ids of the runs, in the order in which they were found worth their FLOPs.
        flops: What they cost together, the shared part of a trunk once.
        before: Expected error of the recommended size without them, in doublings of N.
        after: With them.
    """

    keys: tuple[str, ...]
    flops: float
    before: float
    after: float


def next_runs(
    belief: Belief,
    decision: Decision,
    offered: Sequence[Site],
    *,
    flops: float,
    most_trunks: int | None = None,
    seed: int = 0,
) -> NextRuns:
    """The runs within a budget that most reduce the expected error of the recommended size.

    Greedy: again and again the trunk, up to one of its branches, that takes away most error for its FLOPs. Branches
    before that one are trained with it where they are offered: they cost their cooldown alone and are evidence too.
    Where draws agree though no runs tell sizes apart, it is the cheapest trunk of another size of that text.

    Args:
        belief: What is known of the law.
        decision: What is to be decided.
        offered: Runs that could be trained.
        flops: Budget.
        most_trunks: How many trainings to choose at most; None for as many as the budget allows.
        seed: Of the noise with which measurements are foreseen.
    """
    foresight = _Foresight.of(belief, decision, offered, seed)
    before = foresight.error([])
    # Gains are told apart on the yardstick of a normal error, and reported as shares of the error as it is.
    start = best = max(before, float(np.std(foresight.wanted)) * NORMAL_ERROR / math.log(2))
    taken: list[int] = []
    while most_trunks is None or len({offered[i].trunk for i in taken}) < most_trunks:
        choices = [
            (best - foresight.error([*taken, *option]), price, option)
            for price, option in _affordable(offered, taken, flops)
        ]
        # What takes nothing away is not worth anything; what takes little away will have to be followed by more.
        most = max((gain for gain, _, _ in choices), default=0.0)
        if most <= 0:
            break
        gain, _, option = max((one for one in choices if one[0] >= DECISIVE * most), key=lambda one: one[0] / one[1])
        taken, best = [*taken, *option], best - gain
        if best <= SETTLED / 10:
            break
    if not taken and not decision.told:
        taken = _another_size(decision, offered, flops)
    keys, chosen = tuple(offered[i].key for i in taken), [offered[i] for i in taken]
    return NextRuns(keys=keys, flops=cost(chosen), before=before, after=before * (best / start) if start else 0.0)


def _another_size(decision: Decision, offered: Sequence[Site], flops: float) -> list[int]:
    """The cheapest trunk of the text in a size that was not seen, all its branches; none where it is not affordable."""
    trunks: dict[str, list[int]] = {}
    for i, site in enumerate(offered):
        if site.columns["n"] not in decision.seen and _reads(site, decision):
            trunks.setdefault(site.trunk, []).append(i)
    priced = [(cost([offered[i] for i in members]), members) for members in trunks.values()]
    return min((one for one in priced if one[0] <= flops), default=(0.0, []))[1]


def cost(sites: Sequence[Site]) -> float:
    """FLOPs of some runs: of each trunk its longest run, and of the others their cooldowns."""
    total = 0.0
    for trunk in {site.trunk for site in sites}:
        members = sorted((site for site in sites if site.trunk == trunk), key=lambda site: site.flops)
        total += members[-1].flops + sum(site.cooldown * site.flops for site in members[:-1])
    return total


def _affordable(offered: Sequence[Site], taken: Sequence[int], flops: float) -> list[tuple[float, list[int]]]:
    """What each option adds to the cost of what is taken, of those that the budget still allows."""
    spent = cost([offered[i] for i in taken])
    priced = [(cost([offered[i] for i in (*taken, *option)]) - spent, option) for option in _options(offered, taken)]
    return [(price, option) for price, option in priced if spent + price <= flops]


def _options(offered: Sequence[Site], taken: Sequence[int]) -> list[list[int]]:
    """Each trunk up to each of its branches, without what is taken already."""
    trunks: dict[str, list[int]] = {}
    for i in sorted(range(len(offered)), key=lambda i: offered[i].flops):
        if i not in taken:
            trunks.setdefault(offered[i].trunk, []).append(i)
    return [members[: count + 1] for members in trunks.values() for count in range(len(members))]


def _doublings(error: Array) -> float:
    return float(np.mean(np.abs(error))) / math.log(2)


@dataclass(frozen=True)
class _Foresight:
    """What measurements would tell, foreseen from the draws.

    Attributes:
        wanted: float64[n_draws], the decision under each draw.
        shown: float64[n_draws, n_sites], log loss of each site under each draw.
        noisy: the same as it would be measured.
        covariance: float64[n_sites, n_sites] of the noise.
        decides: index of the candidate that each site is, −1 where it is none.
        decision: what is decided.
    """

    wanted: Array
    shown: Array
    noisy: Array
    covariance: Array
    decides: Array
    decision: Decision

    @classmethod
    def of(cls, belief: Belief, decision: Decision, sites: Sequence[Site], seed: int) -> _Foresight:
        columns = {name: np.array([site.columns[name] for site in sites]) for name in belief.law.columns}
        shown = belief.logs(columns)
        trunk = np.unique([site.trunk for site in sites], return_inverse=True)[1]
        covariance = run_covariance(np.array([site.columns["d"] for site in sites]), trunk, belief.volume)
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal(shown.shape) @ np.linalg.cholesky(covariance).T
        decides = np.array([_candidate(site, decision) for site in sites])
        return cls(decision.wanted(belief), shown, shown + noise, covariance, decides, decision)

    def error(self, taken: Sequence[int]) -> float:
        """Expected error of the recommended size after some sites were measured, in doublings.

        That of the best linear estimate of the decision is known from covariances; what candidates among the sites rule
        out beyond it is counted over the draws.
        """
        if not taken:
            return _doublings(self.wanted - np.median(self.wanted))
        at, centred = list(taken), self.wanted - self.wanted.mean()
        off = self.shown[:, at] - self.shown[:, at].mean(0)
        shared = off.T @ centred / len(off)
        gain = np.linalg.solve(off.T @ off / len(off) + self.covariance[np.ix_(at, at)], shared)
        left = math.sqrt(max(float(centred @ centred / len(off) - gain @ shared), 0.0))
        if (self.decides[at] < 0).all():
            return left * NORMAL_ERROR / math.log(2)
        estimate = self.wanted.mean() + (self.noisy[:, at] - self.shown[:, at].mean(0)) @ gain
        alone = _doublings(self.wanted - estimate)
        ruled = _doublings(self._within(at, self.wanted) - self._within(at, estimate))
        return left * NORMAL_ERROR / math.log(2) * min(1.0, ruled / max(alone, 1e-12))

    def _within(self, at: Sequence[int], values: Array) -> Array:
        """Values kept between candidates that the sites would show to miss and to meet the target."""
        logs, aim = np.log(self.decision.sizes), math.log(self.decision.target)
        low, high = np.full(len(values), -np.inf), np.full(len(values), np.inf)
        for i in at:
            candidate = self.decides[i]
            if candidate < 0:
                continue
            meets = self.noisy[:, i] <= aim
            high = np.where(meets, np.minimum(high, logs[candidate]), high)
            above = logs[candidate + 1] if candidate + 1 < len(logs) else logs[-1] + math.log(2)
            low = np.where(meets, low, np.maximum(low, above))
        return np.clip(values, np.minimum(low, high), high)


def _candidate(site: Site, decision: Decision) -> int:
    """Which candidate a site is: the same size, volume and text."""
    if not (_reads(site, decision) and math.isclose(site.columns["d"], decision.columns["d"], rel_tol=1e-3)):
        return -1
    near = np.abs(np.log(decision.sizes) - math.log(site.columns["n"]))
    return int(near.argmin()) if near.min() < 1e-3 else -1


def _reads(site: Site, decision: Decision) -> bool:
    """Whether a site reads the text that is asked about, as far as the law tells texts apart."""
    facts = {name: value for name, value in decision.columns.items() if name != "d"}
    return all(math.isclose(site.columns[name], value, rel_tol=1e-3) for name, value in facts.items())
