"""How well the runs of a sweep could forecast, before any of them is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from scaling.accounting import count_parameters
from scaling.spec import RunSpec

ALPHA, BETA = 0.35, 0.37
"""Exponents of the guessed law: Besiroglu et al. 2024, arXiv 2404.10102, rounded."""

REACH = 2.0
"""The forecast that is asked about lies so far beyond the largest N and the largest D of the sweep."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a design promises.

    Attributes:
        error: Expected relative standard error of the forecast at ``n_params`` and ``n_tokens``; infinite where the
            design cannot tell the law's coefficients apart.
        n_params: N of that forecast.
        n_tokens: D of that forecast.
        teacher: Label of the teacher whose runs were looked at, the one with the most.
        faults: What the design cannot tell, one sentence each.
    """

    error: float
    n_params: float
    n_tokens: float
    teacher: str
    faults: tuple[str, ...]


def expect(specs: Sequence[RunSpec]) -> Expectation:
    """The expected error of a forecast beyond a sweep's largest runs.

    The guess is ``L = E + A/N^α + B/D^β`` with published exponents and both terms half of E in the middle of the
    sweep; run-to-run and trunk-to-trunk noise are those of :func:`scaling.fit.design.design`.

    Args:
        specs: The runs of a sweep.
    """
    import pandas as pd

    from scaling.fit.design import design
    from scaling.laws.size_and_data import Chinchilla

    most_read = Counter(spec.data.text_id for spec in specs).most_common(1)[0][0]
    # Runs of one kind of text, because a law holds for one.
    chosen = [spec for spec in specs if spec.data.text_id == most_read]
    n = [count_parameters(spec.model).n_params for spec in chosen]
    d = [spec.n_tokens for spec in chosen]
    guess = {
        "E": 1.0,
        "A": 0.5 * geometric_mean(n) ** ALPHA,
        "B": 0.5 * geometric_mean(d) ** BETA,
        "alpha": ALPHA,
        "beta": BETA,
    }
    point = {"n": REACH * max(n), "d": REACH * max(d)}
    table = pd.DataFrame({"n_params": n, "n_tokens": d, "trunk_id": [spec.trunk_id for spec in chosen]})
    found = design(table, law=Chinchilla().with_values(guess), forecast={"beyond": point})
    return Expectation(
        error=found.forecasts["beyond"],
        n_params=point["n"],
        n_tokens=point["d"],
        teacher=chosen[0].data.label,
        faults=found.faults,
    )
