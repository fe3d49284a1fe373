"""Spikes and divergence: found where they were put, and never in a healthy run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling.train.health import count_spikes, find_diverged


def healthy(steps: int, seed: int = 0, start: float = 6.0) -> np.ndarray:
    """A loss that falls like a power of the step, with noise."""
    rng = np.random.default_rng(seed)
    curve = 1.5 + (start - 1.5) * (1 + np.arange(steps) / 20) ** -0.5
    return (curve + 0.05 * rng.normal(size=steps)).astype(np.float32)


def diverged_at(losses: np.ndarray, vocab_size: int, begin: int = 0) -> int | None:
    found = find_diverged(losses, np.ones_like(losses), vocab_size, begin=begin)
    return found and found.step


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_run_has_no_spike_and_does_not_diverge(seed):
    losses = healthy(5000, seed)
    assert count_spikes(losses) == 0
    assert diverged_at(losses, 65) is None


def test_spikes_are_counted_once_each():
    losses = healthy(12_000)
    for step, length in ((1500, 1), (3000, 30), (9000, 3)):
        losses[step : step + length] += np.linspace(1.5, 0.7, length, dtype=np.float32)
    assert count_spikes(losses) == 3


def test_a_spike_neither_hides_the_next_nor_is_hidden_by_the_early_fall():
    losses = healthy(1000)
    losses[[250, 600, 640, 680]] += 1.5
    assert count_spikes(losses) == 4


def test_a_drop_is_no_spike_and_a_short_run_has_none():
    losses = healthy(1000)
    losses[500] -= 1.0
    assert count_spikes(losses) == 0
    assert count_spikes(np.array([2.0] * 100 + [9.0], np.float32)) == 1
    assert count_spikes(np.array([2.0] * 99 + [9.0], np.float32)) == 0


def test_what_follows_an_overflow_is_no_spike():
    losses = healthy(1000)
    losses[400] = np.inf
    losses[600] += 3
    assert count_spikes(losses) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_where_a_run_diverged(value):
    losses = healthy(300)
    losses[[70, 200]] = value
    assert diverged_at(losses, 65) == 70


def test_a_finite_loss_diverged_once_it_was_worse_than_a_guess_for_a_hundred_steps():
    losses = healthy(1000, start=3.0)
    losses[400:] = math.log(65) + 1.2
    assert diverged_at(losses, 65) == 499
    losses[450] = 3.0
    assert diverged_at(losses, 65) == 550
    assert diverged_at(losses[:550], 65) is None


def test_a_gradient_of_zero_ends_a_training_that_looks_like_a_guess():
    losses, grad_norms = np.full(300, math.log(65), np.float32), np.ones(300, np.float32)
    assert find_diverged(losses, grad_norms, 65) is None
    grad_norms[80:] = 0
    losses[200:] = np.nan
    found = find_diverged(losses, grad_norms, 65)
    assert (found.step, found.reason) == (80, "the gradient became zero")


def test_a_run_that_begins_far_above_a_guess_is_measured_by_its_beginning():
    """Warmup from bad initial values: thousands of steps above ln V + 1, and falling all the time."""
    losses = healthy(3000, start=30.0)
    assert (losses[:400] > math.log(65) + 1).all()
    assert diverged_at(losses, 65) is None
    assert diverged_at(losses + np.where(np.arange(3000) > 2000, 30, 0).astype(np.float32), 65) == 2100


def test_a_loss_that_is_not_learned_yet_says_nothing_until_it_is():
    """The first stage of a recipe brings the loss on tokens anywhere; the second brings it down from there."""
    away = np.linspace(math.log(65), 9.0, 400, dtype=np.float32)
    losses = np.concatenate([away, healthy(600, start=9.0)])
    assert diverged_at(losses, 65) == 182
    assert diverged_at(losses, 65, 400) is None
    assert diverged_at(losses[:300], 65, 400) is None
    # From its beginning on the rule is as ever.
    losses[700:] = 11.0
    assert diverged_at(losses, 65, 400) == 799
    losses[50] = np.nan
    assert diverged_at(losses, 65, 400) == 50


def test_nothing_is_said_of_a_run_that_has_not_begun():
    assert diverged_at(np.zeros(0, np.float32), 65) is None
    assert count_spikes(np.zeros(0, np.float32)) == 0
