"""Randomness that can be read at any position without reading what comes before it.

A value depends on a seed and a position alone, never on what was drawn earlier. Streams built on this seek in O(1),
resume exactly, and are the same in whatever chunks they are read.

**Source:** Salmon et al. 2011, *Parallel random numbers: as easy as 1, 2, 3* (Philox); Steele et al. 2014, *Fast
splittable pseudorandom number generators* (the mixing function of ``hash64``).
"""

from __future__ import annotations

import zlib

import numpy as np

MASK = (1 << 64) - 1


def random_at(seed: int, purpose: str, block: int = 0) -> np.random.Generator:
    """Generator of one block of one purpose; different seeds, purposes and blocks never share a value.

    Args:
        seed: Any integer.
        purpose: What the numbers are for; sample streams, evaluation sets and shuffles draw from different sequences.
        block: Position in units of blocks, each good for 2^192 draws.
    """
    key = np.array([seed & MASK, zlib.crc32(purpose.encode())], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, block], dtype=np.uint64)))


def hash64(values: np.ndarray, seed: int) -> np.ndarray:
    """Hash integers to uniform 64-bit words, each from its own value and the seed.

    Args:
        values: uint64[...].
        seed: Any integer.

    Returns:
        uint64[...], of the same shape.
    """
    with np.errstate(over="ignore"):
        x = _mix(np.asarray(values, np.uint64) + _mix(np.asarray((seed + 1) * 0x9E3779B97F4A7C15 & MASK, np.uint64)))
        return _mix(x + np.uint64(0x9E3779B97F4A7C15))


def permute(index: np.ndarray, size: int, *, seed: int) -> np.ndarray:
    """Where a random permutation of ``range(size)`` sends each index, without storing the permutation.

    A four-round Feistel network on the next even power of two, walked until it lands inside the range; so 10⁹ windows
    are shuffled in no memory, and a position of any epoch is found in constant time.

    Args:
        index: int64[...], each in [0, size).
        size: Length of the permuted range.
        seed: Any integer; another seed gives an unrelated permutation.

    Returns:
        int64[...], a bijection of [0, size) onto itself.
    """
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    out = _feistel(np.asarray(index).astype(np.uint64), half, seed)
    while (outside := out >= size).any():
        out[outside] = _feistel(out[outside], half, seed)
    return out.astype(np.int64)


def shuffled(index: np.ndarray, size: int, *, seed: int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Of positions in an endless list that begins anew every ``size``: the epoch, and what lies there in its own order.

    Args:
        index: int64[n].
        size: Of an epoch.
        seed: Of all orders.
        purpose: What is shuffled.
    """
    epoch, place = index // size, index % size
    for e in np.unique(epoch):
        own = epoch == e
        order = int(random_at(seed, purpose, int(e)).integers(1 << 62))
        place[own] = permute(place[own], size, seed=order)
    return epoch, place


def _feistel(x: np.ndarray, half: np.uint64, seed: int) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = x >> half, x & mask
    for round_ in range(4):
        left, right = right, left ^ (hash64(right, seed * 4 + round_) & mask)
    return (left << half) | right


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
