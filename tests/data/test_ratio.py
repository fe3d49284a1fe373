"""The standard error of a ratio of sums: what draws of the same kind scatter by, seen over many of them."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.data.eval_sets import ratio


def drawn(rng: np.random.Generator, n: int = 200) -> tuple[float, float]:
    """Sequences of one token to forty, the long ones easier."""
    scored = rng.integers(1, 41, size=n)
    return ratio(scored * (2 - scored / 40 + rng.normal(size=n)), scored)


def test_the_standard_error_of_a_ratio_is_what_it_scatters_by():
    rng = np.random.default_rng(0)
    found = np.array([drawn(rng) for _ in range(2000)])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(ddof=1), rel=0.05)


def test_a_ratio_of_one_has_no_standard_error_and_one_that_is_not_finite_none_either():
    share, se = ratio(np.array([3.0]), np.array([2]))
    assert (share, np.isnan(se)) == (1.5, True)
    for broken in (np.inf, np.nan):
        assert np.isnan(ratio(np.array([3.0, broken]), np.array([2, 1]))[1])
