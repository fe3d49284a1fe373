"""A recommendation among left-out sizes is scored by what was measured of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError, SpecError
from scaling.predict.recommend.hindsight import Choice, Hindsight, hindsight
from scaling.report.tables import show_hindsight

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


OFF = {
    "failed": {"status": "failed"},
    "crashed": {"status": "crashed", "loss": np.nan},
    "from other weights": {"start_tokens": 1e6},
    "of another aim": {"aims_at_loss": False},
    "larger than all, but killed": {"status": "killed", "n_params": 1e7},
    "larger than all, but from other weights": {"start_tokens": 1e6, "n_params": 1e7},
}


@pytest.mark.slow
@pytest.mark.parametrize("word", ["done", "finished", "Completed"])
@pytest.mark.parametrize("off", OFF.values(), ids=OFF)
def test_only_runs_that_a_fit_uses_are_left_out_and_recommended_whatever_their_end_is_called(off, word):
    runs = table(1e-5).assign(status=word, start_tokens=0.0, aims_at_loss=True)
    lone = runs.iloc[-1:].assign(n_tokens=3.2e6).assign(**off)
    found = hindsight(pd.concat([runs, lone]), probability=0.5, **ASKED)
    assert found == hindsight(runs, probability=0.5, **ASKED)


def test_checkpoints_of_a_left_out_run_are_no_runs_of_their_own():
    runs = table(1e-5).assign(run_id=lambda runs: range(len(runs)))
    half_way = runs.assign(n_tokens=runs["n_tokens"] / 2, loss=1.2 * runs["loss"])
    found = hindsight(pd.concat([runs, half_way]), probability=0.5, **ASKED)
    assert found == hindsight(runs, probability=0.5, **ASKED)


def test_shares_of_nothing_are_told_in_words(capsys):
    nothing = Choice(text="real", target=2.0, chosen_flops=None, best_flops=2.0, met=None)
    missed = Choice(text="real", target=2.0, chosen_flops=1.0, best_flops=2.0, met=False)
    for choice, said in ((nothing, "nothing was recommended"), (missed, "no recommended run meets its target")):
        show_hindsight(Hindsight(left_out=1e6, probability=0.9, choices=(choice,)))
        out = capsys.readouterr().out
        assert said in out
        assert "nan" not in out


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
