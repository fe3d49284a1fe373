"""A recommendation among left-out sizes is scored by what was measured of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError, SpecError
from scaling.predict.hindsight import Choice, hindsight

SIZES, VOLUMES = (2e4, 6e4, 1.8e5, 5.4e5), (2e5, 4e5, 8e5, 1.6e6)


def table(scatter: float, surprise: float = 0.0) -> pd.DataFrame:
    """Runs of a law, the largest size of which is worse than the law by a share."""
    rng = np.random.default_rng(0)
    rows = []
    for n in SIZES:
        for d in VOLUMES:
            loss = 1.4 + 9 * n**-0.35 + 300 * d**-0.5
            rows.append({"n_params": n, "n_tokens": d, "loss": loss * np.exp(scatter * rng.standard_normal())})
    runs = pd.DataFrame(rows)
    runs.loc[runs["n_params"] == SIZES[-1], "loss"] *= 1 + surprise
    return runs


ASKED = {"law": "chinchilla", "bootstrap": 0, "starts": 8}


def test_runs_on_a_law_are_recommended_as_they_were_measured():
    found = hindsight(table(1e-5), probability=0.5, **ASKED)
    assert found.left_out == SIZES[-1]
    assert len(found.choices) == len(VOLUMES) + 1
    assert (found.right, found.met, found.regret) == (1.0, 1.0, 0.0)


def test_a_size_that_is_worse_than_its_law_misses_the_targets_it_was_recommended_for():
    found = hindsight(table(1e-5, surprise=0.2), probability=0.5, **ASKED)
    assert found.met < 0.5
    assert found.right < 0.5


def test_regret_is_what_was_spent_beyond_the_best_choice():
    assert Choice(text="real", target=2.0, chosen_flops=4.0, best_flops=2.0, met=True).regret == 1.0
    assert Choice(text="real", target=2.0, chosen_flops=1.0, best_flops=2.0, met=False).regret is None
    assert Choice(text="real", target=2.0, chosen_flops=None, best_flops=2.0, met=None).regret is None


def test_a_table_that_cannot_be_checked_is_refused():
    runs = table(0.0)
    with pytest.raises(RecordError, match="three or more, got 2"):
        hindsight(runs[runs["n_params"] < 1e5])
    with pytest.raises(SpecError, match="between 0 and 1"):
        hindsight(runs, probability=1.5)
