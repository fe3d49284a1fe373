"""Counter-based randomness: permutations without memory, and hashes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data.counter import hash64, permute, random_at


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 3000), seed=st.integers(-(2**70), 2**70))
def test_permute_is_a_bijection(size, seed):
    image = permute(np.arange(size), size, seed=seed)
    assert np.array_equal(np.sort(image), np.arange(size))


def test_permute_depends_on_the_position_alone():
    whole = permute(np.arange(1000), 1000, seed=4)
    assert np.array_equal(permute(np.array([999, 3, 500]), 1000, seed=4), whole[[999, 3, 500]])


def test_permutations_of_other_seeds_are_unrelated():
    a, b = (permute(np.arange(5000), 5000, seed=s) for s in (0, 1))
    assert (a == b).sum() < 20
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.06
    assert abs(np.corrcoef(a, np.arange(5000))[0, 1]) < 0.06


def test_permute_reaches_sizes_that_no_memory_holds():
    size = 10**12 + 39
    image = permute(np.arange(1000), size, seed=0)
    assert len(set(image.tolist())) == 1000
    assert image.min() >= 0
    assert size / 2 < image.max() < size


def test_hashed_bits_are_balanced():
    words = hash64(np.arange(20_000, dtype=np.uint64), seed=0)
    bits = (words[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * 0.5 / 20_000**0.5


@pytest.mark.parametrize("other", [(1, "text", 0), (0, "noise", 0), (0, "text", 1)])
def test_seeds_purposes_and_blocks_draw_different_numbers(other):
    assert not np.isin(random_at(*other).random(50), random_at(0, "text", 0).random(50)).any()
