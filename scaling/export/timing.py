"""Several files timed as if at one moment: in rounds, so that the drifting pace of a machine falls out.

A shared machine runs half as fast again or as slow within minutes, which is more than sizes differ by. Files that are
timed one after the other are each of another pace, and constants fitted to some of them forecast the others badly. What
is timed is the processor's own seconds, on one thread: what waits for other programs does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from scaling.errors import SpecError
from scaling.export.bundle.files import Bundle
from scaling.export.engine import EngineRun, engine_for
from scaling.predict.phones.calibrate import MeasuredRate
from scaling.stop import check_stop

ROUNDS = 5
REPEATS = 25
"""Passes of a round, of which the median counts, by the clock of the processor: other programs do not run on it."""

Timer = Callable[[Bundle], EngineRun]


@dataclass(frozen=True, kw_only=True)
class RoundRate:
    """The rate of one file among those that were timed with it.

    Attributes:
        bundle: The export.
        engine: Name and version of what ran it.
        tokens_per_s: At the mean pace of all rounds.
        spread: Standard deviation of its log rate about the pace of the round.
        load_average: The highest of its rounds.
    """

    bundle: Bundle
    engine: str
    tokens_per_s: float
    spread: float
    load_average: float

    def measured(self) -> MeasuredRate:
        """As a device is calibrated on it."""
        facts = self.bundle.manifest
        storage = self.bundle.format.stored.storage
        return MeasuredRate.of(f"{facts.run_id} {facts.format}", facts.model, storage, self.tokens_per_s)


def time_in_rounds(
    bundles: Sequence[Bundle], *, rounds: int = ROUNDS, engine: str | None = None, time: Timer | None = None
) -> list[RoundRate]:
    """Time files of one engine on one thread, each once a round, forwards and backwards in turn.

    ``log rate[r, f] = pace[r] + speed[f] + noise``: the speed of a file is the median over rounds of what it differs
    from the mean of its round, beside the mean of all.

    Args:
        bundles: Exports in formats that one engine runs.
        rounds: How often each is timed.
        engine: Name of the engine; by default the one that the format of the first is made for.
        time: Times one file, in place of the engine.

    Raises:
        SpecError: no file, or no round.
        EngineError: the engine does not run one of them.
    """
    if not bundles or rounds < 1:
        raise SpecError(f"timing needs a bundle and a round — got {len(bundles)} bundles and {rounds} rounds")
    one = time or _timer(engine)
    runs: list[list[EngineRun]] = [[] for _ in bundles]
    for turn in range(rounds):
        # There and back again: what drifts within a round is not taken for a difference of sizes.
        order = range(len(bundles)) if turn % 2 == 0 else reversed(range(len(bundles)))
        for at in order:
            check_stop()
            runs[at].append(one(bundles[at]))
    logs = [[math.log(_pace(run)) for run in each] for each in runs]
    paces = [fmean(column) for column in zip(*logs, strict=True)]
    return [_rate(bundle, each, log, paces) for bundle, each, log in zip(bundles, runs, logs, strict=True)]


def _timer(engine: str | None) -> Timer:
    def time(bundle: Bundle) -> EngineRun:
        facts = bundle.manifest
        running = engine_for(facts.format, engine)
        context = facts.model.context
        return running.run(bundle.model_path, [1, 2, 3], n_tokens=1, context=context, repeats=REPEATS, threads=1)

    return time


def _pace(run: EngineRun) -> float:
    """By the processor's clock; of an engine that does not tell it, the fastest pass, which others disturb least."""
    if run.busy_tokens_per_s is not None:
        return run.busy_tokens_per_s
    if run.tokens_per_s_range is None:
        raise SpecError(f"{run.engine} timed nothing — ask for repeats")
    return run.tokens_per_s_range[1]


def _rate(bundle: Bundle, runs: Sequence[EngineRun], logs: Sequence[float], paces: Sequence[float]) -> RoundRate:
    """From the log rates of a file and the paces of the rounds."""
    off = [log - pace for log, pace in zip(logs, paces, strict=True)]
    middle = median(off)
    return RoundRate(
        bundle=bundle,
        engine=runs[0].engine,
        tokens_per_s=math.exp(fmean(paces) + middle),
        spread=math.sqrt(fmean((one - middle) ** 2 for one in off)),
        load_average=max(run.load_average for run in runs),
    )
