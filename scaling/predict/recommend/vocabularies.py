"""One answer out of several fits, each of a vocabulary of its own.

A law of size and tokens says nothing of a vocabulary, and no law here is carried from one to another: each is fitted to
the runs that were trained with it, in bits/byte, the one unit in which they compare. The smallest student of all is
then the smallest of the smallest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from scaling.errors import ExtrapolationError, InfeasibleError, SpecError
from scaling.predict.recommend.candidates import Candidate
from scaling.predict.recommend.front import undominated
from scaling.predict.recommend.recommendation import RUNNERS_UP, Recommendation
from scaling.tables.units import BITS

Ask = Callable[[], Recommendation]
"""A question to one fit; raises a Refusal where that has no answer."""

Refusal = InfeasibleError | ExtrapolationError


def smallest_of(asked: Mapping[str, Ask]) -> tuple[str, Recommendation]:
    """The name of the fit that recommends the smallest student of several, and what it says.

    Runners-up and front are of all fits that answer.

    Args:
        asked: The same question, to each fit by its name.

    Raises:
        InfeasibleError: none of them has an answer; with the best loss and the fewest bytes that were told.
        SpecError: their losses have other units.
    """
    answers: dict[str, Recommendation] = {}
    refused: dict[str, Refusal] = {}
    for name, ask in asked.items():
        try:
            answers[name] = ask()
        except (InfeasibleError, ExtrapolationError) as error:
            refused[name] = error
    if not answers:
        raise _none_of(refused)
    check_units(answers.values())
    name = min(answers, key=lambda one: _bytes(answers[one].choice))
    return name, _merged(answers[name], list(answers.values()), n_asked=len(asked))


def check_units(answers: Iterable[Recommendation]) -> None:
    """Refuse losses that do not compare: of several vocabularies all but those in bits/byte."""
    sizes = {one.choice.model.vocab_size for one in answers}
    units = {one.unit for one in answers}
    if len(units) > 1 or (len(sizes) > 1 and units != {BITS}):
        raise SpecError(
            f"--fit: got losses in {' and '.join(sorted(units))} of vocabularies of "
            f"{', '.join(f'{size:,}' for size in sorted(sizes))} tokens, allowed are losses in bits/byte — fit again "
            "with fit.loss: bits_per_byte (--set fit.loss=bits_per_byte)"
        )


def _merged(best: Recommendation, answers: Sequence[Recommendation], *, n_asked: int) -> Recommendation:
    """The best answer, beside what the others offer."""
    offered = [one for answer in answers for one in (answer.choice, *answer.runners_up) if one is not best.choice]
    sizes = sorted({one.choice.model.vocab_size for one in answers})
    of_all = f"of {n_asked} fits {len(answers)} answered, V = {' and '.join(f'{size:,}' for size in sizes)}"
    # Another fit may have offered less, which does not meet the target.
    less = any(point.total_bytes < _bytes(best.choice) for one in answers for point in one.front)
    smallest = best.binding == "smallest" and len(answers) == n_asked and not less
    return replace(
        best,
        binding="target" if best.binding == "smallest" and not smallest else best.binding,
        runners_up=tuple(sorted(offered, key=_bytes)[:RUNNERS_UP]),
        front=undominated(chain.from_iterable(one.front for one in answers)),
        shapes=best.shapes if n_asked == 1 else f"{best.shapes}; {of_all}, each by a law of its own runs",
    )


def _bytes(one: Candidate) -> int:
    return one.footprint.total_bytes


def _none_of(refused: Mapping[str, Refusal]) -> Refusal:
    """Why no fit answers, each in its own words."""
    if len(refused) == 1:
        return next(iter(refused.values()))
    said = "no fit has an answer:\n" + "\n".join(f"  {name}: {error}" for name, error in refused.items())
    infeasible = [error for error in refused.values() if isinstance(error, InfeasibleError)]
    losses = [error.best_loss for error in infeasible if error.best_loss is not None]
    needed = [error.needed_bytes for error in infeasible if error.needed_bytes is not None]
    return InfeasibleError(said, best_loss=min(losses, default=None), needed_bytes=min(needed, default=None))
