"""Critical batch and best hyperparameter: recovered from curves and runs that are known, and refused where unknown."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling.errors import FitError, SpecError
from scaling.fit.tuning.best_value import fit_best_value
from scaling.fit.tuning.critical_batch import fit_critical_batch, fit_tradeoff, tokens_to_loss
from scaling.laws.batch import CriticalBatch

BATCHES = 160.0 * 2 ** np.arange(6)
TRUE = CriticalBatch(B_star=300.0, alpha_B=0.6, E=1.37)


def tokens_at(batch: np.ndarray, loss: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Tokens to a loss under TRUE, where S_min = 500/(L - E)^2."""
    crit = TRUE.tokens(loss)
    return crit * 500 / (loss - TRUE.E) ** 2 * (1 + batch / crit) * np.exp(rng.normal(0, noise, len(batch)))


def test_a_curve_is_read_where_it_first_reaches_a_loss():
    tokens = np.array([1e4, 2e4, 4e4, 8e4])
    loss = 30 * tokens**-0.25
    assert tokens_to_loss(tokens, loss, 30 * 3e4**-0.25) == pytest.approx(3e4)
    assert tokens_to_loss(tokens, [4.0, 3.0, 3.2, 2.0], 3.0) == pytest.approx(2e4)
    assert math.isnan(tokens_to_loss(tokens, loss, loss[-1] - 0.1))
    assert math.isnan(tokens_to_loss(tokens, loss, loss[0] + 0.1))
    assert math.isnan(tokens_to_loss(tokens, loss, loss[0]))


def test_every_loss_that_a_curve_measured_is_reached_where_it_was_measured():
    rng = np.random.default_rng(0)
    for _ in range(50):
        loss = 1 + np.sort(rng.uniform(0, 3, 6))[::-1]
        tokens = np.cumsum(rng.uniform(1e3, 1e6, 6))
        assert [tokens_to_loss(tokens, loss, one) for one in loss[1:]] == pytest.approx(tokens[1:])


def test_the_hyperbola_and_the_law_through_noisy_runs_have_the_true_coefficients_within_their_errors():
    rng = np.random.default_rng(0)
    misses = []
    for _ in range(40):
        found = [fit_tradeoff(BATCHES, tokens_at(BATCHES, loss, 0.03, rng), loss) for loss in (1.6, 1.7, 1.85, 2.1)]
        misses += [math.log(one.b_crit / TRUE.tokens(one.loss)) / one.b_crit_log_se for one in found]
        law = fit_critical_batch(found, E=TRUE.E)
        assert abs(1 / law.law.alpha_B - 1 / 0.6) < 4 * law.inverse_alpha_B_se
        assert abs(math.log(law.law.B_star / 300)) < 4 * law.log_B_star_se
    # Student's t of 4 degrees of freedom: standard deviation √2.
    assert abs(np.mean(misses)) < 0.4
    assert 1.0 < np.std(misses) < 2.0


def test_steps_and_tokens_of_the_hyperbola_multiply_to_one():
    loss = 1.8
    tokens = tokens_at(BATCHES, loss, 0.0, np.random.default_rng(0))
    found = fit_tradeoff(BATCHES, tokens, loss)
    product = (tokens / BATCHES / found.s_min - 1) * (tokens / found.e_min - 1)
    np.testing.assert_allclose(product, 1, rtol=1e-4)
    np.testing.assert_allclose(TRUE.s_min(tokens / BATCHES, batch_tokens=BATCHES, loss=loss), found.s_min, rtol=1e-4)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([1e5, 1e5, 1e5, np.nan, np.nan, np.nan], "3 batch sizes reached"),
        (1e5 * np.ones(6), "above the largest"),
        (300 * BATCHES, "below the smallest"),
    ],
)
def test_a_hyperbola_that_the_runs_do_not_show_is_refused(tokens, message):
    with pytest.raises(FitError, match=message):
        fit_tradeoff(BATCHES, tokens, 2.0)


def test_a_law_needs_losses_above_the_entropy_and_batches_that_grow():
    rng = np.random.default_rng(0)
    found = [fit_tradeoff(BATCHES, tokens_at(BATCHES, loss, 0.0, rng), loss) for loss in (1.6, 1.8, 2.0)]
    with pytest.raises(FitError, match="three losses above"):
        fit_critical_batch(found[:2], E=TRUE.E)
    with pytest.raises(FitError, match="three losses above the entropy 1.7"):
        fit_critical_batch(found, E=1.7)
    mirrored = [fit_tradeoff(BATCHES, tokens_at(BATCHES, 3.6 - one.loss, 0.0, rng), one.loss) for one in found]
    with pytest.raises(FitError, match="falls with the loss"):
        fit_critical_batch(mirrored, E=TRUE.E)
    with pytest.raises(SpecError, match="at or below the entropy"):
        TRUE.tokens(np.array([1.2, 1.9]))


def test_the_best_rate_of_noisy_runs_is_the_true_one_within_its_error():
    rng = np.random.default_rng(0)
    rates = np.repeat(5e-3 * 2.0 ** np.arange(-2, 3), 2)
    misses = []
    for _ in range(200):
        loss = 1.7 + 0.02 * np.log(rates / 6e-3) ** 2 + rng.normal(0, 0.005, len(rates))
        found = fit_best_value(rates, loss)
        misses.append(math.log(found.x / 6e-3) / found.log_se)
    # Student's t of 7 degrees of freedom: standard deviation 1.18.
    assert abs(np.mean(misses)) < 0.25
    assert 1.0 < np.std(misses) < 1.4


def test_a_minimum_outside_the_rates_tried_is_refused():
    rates = np.array([1e-3, 2e-3, 4e-3, 8e-3])
    with pytest.raises(FitError, match="lowest at 0.001: try values beyond"):
        fit_best_value(rates, rates**0.2)
    with pytest.raises(FitError, match="four runs at three values"):
        fit_best_value(rates[:3], rates[:3])
