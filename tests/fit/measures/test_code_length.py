"""Code lengths: sums by hand, integrals in closed form, and the law that made a table agrees with it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError
from scaling.fit.measures.code_length import block_bits, code_lengths, integral_bits

E, A, B, ALPHA, BETA = 1.5, 40.0, 300.0, 0.4, 0.5
VOLUMES = 1e5 * 2.0 ** np.arange(6)


def power_law(d: np.ndarray) -> np.ndarray:
    return E + B * d**-BETA


def ladder(sizes: tuple[float, ...] = (3e4, 1e5, 4e5), noise: float = 0.0) -> pd.DataFrame:
    rows = pd.DataFrame([(n, d) for n in sizes for d in VOLUMES], columns=["n_params", "n_tokens"])
    rows["loss"] = power_law(rows["n_tokens"]) + A * rows["n_params"] ** -ALPHA
    rows["loss"] *= np.exp(np.random.default_rng(0).normal(0, noise, len(rows)))
    return rows.assign(vocab_size=64, loss_se=0.01)


def test_a_code_of_three_branches_is_its_sum_by_hand():
    d, losses = np.array([100.0, 200.0, 400.0]), np.log([8.0, 4.0, 2.0])
    assert block_bits(d, losses, 16) == pytest.approx(100 * 4 + 100 * 3 + 200 * 2)


def test_the_integral_of_a_power_law_is_its_closed_form():
    low, high = VOLUMES[0], VOLUMES[-1]
    excess = B * (high ** (1 - BETA) - low ** (1 - BETA)) / ((1 - BETA) * math.log(2))
    closed = low * 6 + E * (high - low) / math.log(2) + excess
    assert integral_bits(VOLUMES, power_law, 64) == pytest.approx(closed, rel=1e-12)


def test_finer_blocks_cost_less_and_end_at_the_integral():
    def cost(n: int) -> float:
        d = np.geomspace(1e5, 3.2e6, n)
        return block_bits(d, power_law(d), 64) / integral_bits(d, power_law, 64) - 1

    costs = [cost(n) for n in (3, 6, 12, 1000)]
    assert costs == sorted(costs, reverse=True)
    assert 0 < costs[-1] < 1e-3


def test_the_law_that_made_the_runs_codes_as_they_do():
    found = code_lengths(ladder(), law="chinchilla")
    assert [(arm.n, arm.branches) for arm in found.arms] == [(3e4, 6), (1e5, 6), (4e5, 6)]
    assert all(abs(arm.agreement) < 1e-3 for arm in found.arms)
    assert all(0 < arm.block_cost < 0.1 for arm in found.arms)
    # All branches share one held-out set: their errors add up.
    assert found.arms[0].bits_se == pytest.approx(0.01 * (VOLUMES[-1] - VOLUMES[0]) / math.log(2))


def test_a_larger_student_needs_fewer_tokens_to_the_same_loss():
    needed = [arm.tokens_to_loss for arm in code_lengths(ladder(), law="power").arms]
    assert needed == sorted(needed, reverse=True)
    assert needed[0] == pytest.approx(VOLUMES[-1])  # the default is the lowest loss that all reach


def test_tokens_to_a_loss_lie_between_branches_by_a_power_law_at_the_first_or_nowhere():
    runs = pd.DataFrame({"n_tokens": [1e6, 4e6], "loss": [4.0, 2.0]}).assign(n_params=3e4, vocab_size=64)
    table = pd.concat([runs.assign(n_params=n) for n in (3e4, 1e5, 3e5)], ignore_index=True)

    def needed(loss: float) -> float:
        return code_lengths(table, law="chinchilla", target_loss=loss).arms[0].tokens_to_loss

    expected = [1e6, 1e6, pytest.approx(2e6), pytest.approx(4e6), math.inf]
    assert [needed(loss) for loss in (4.5, 4.0, math.sqrt(8), 2.0, 1.9)] == expected


def test_a_table_without_sizes_has_a_law_of_each_arm():
    table = ladder(sizes=(3e4,)).drop(columns=["n_params", "vocab_size"]).assign(kind="ngram", order=3)
    other = table.assign(kind="real", order=math.nan, loss=table["loss"] + 0.1)
    found = code_lengths(pd.concat([table, other]), by=("kind", "order"), vocab_size=64)
    assert sorted(arm.text for arm in found.arms) == ["ngram 3", "real"]
    assert all(abs(arm.agreement) < 1e-3 and math.isnan(arm.n) for arm in found.arms)


def test_learners_that_went_on_from_other_weights_have_a_code_where_starts_are_told_apart():
    table = ladder(sizes=(1e5,))
    read = table.assign(start="books", start_tokens=500_000, loss=table["loss"] * 0.9)
    both = pd.concat([table.assign(start="none", start_tokens=0), read])
    apart = {arm.text: arm.bits for arm in code_lengths(both, law="power", by=("start",)).arms}
    assert apart["books"] < apart["none"]
    together = code_lengths(both, law="power")
    (alone,) = together.arms
    assert alone.bits == pytest.approx(apart["none"])
    assert together.left_out[0].startswith("6 rows: went on from another run's weights")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop(columns="vocab_size"), "--vocab 1024"),
        (lambda table: table[table["n_tokens"] == VOLUMES[0]], "no arm has a code"),
    ],
)
def test_a_table_that_has_no_code_says_what_it_lacks(change, said):
    with pytest.raises(RecordError, match=said):
        code_lengths(change(ladder()))
