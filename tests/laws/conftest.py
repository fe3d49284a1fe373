"""Columns and coefficients at which any law can be evaluated."""

from types import SimpleNamespace

import numpy as np
import pytest

from scaling.laws.schedule import ScheduledRun

COLUMNS = {
    "n": [1e4, 2e4, 4e4, 1e5, 3e5, 1e6],
    "d": [3e6, 1e5, 1e6, 5e5, 2e6, 1e5],
    "c": [1e15, 1e16, 3e16, 1e17, 1e18, 2e18],
    "x": [1.0, 3.0, 10.0, 30.0, 100.0, 300.0],
    "delta_coverage": [0.0, 0.0, 0.1, 0.2, 0.0, 0.05],
    "delta_noise": [0.0, 0.3, 0.0, 0.0, 0.1, 0.05],
    "generator_delta_coverage": [0.0, 0.0, 0.3, 0.4, 0.0, 0.3],
    "generator_delta_noise": [0.0, 0.6, 0.0, 0.0, 0.3, 0.2],
    "teacher": [0.0, 1.0, 1.0, 2.0, 2.0, 0.0],
    "teacher_loss": [0.0, 2.0, 2.1, 2.2, 2.3, 0.0],
    "real_share": [0.0, 0.3, 0.5, 0.9, 1.0, 0.2],
    "n_unique_tokens": [1e6, 1e5, 2e5, 5e4, 3e6, 7e4],
    "n_vocab_params": [1e3, 2e3, 1e4, 3e4, 1e5, 1e5],
    "s_min": [1e2, 3e2, 1e3, 3e3, 1e4, 1e5],
    "granularity": [1.0, 2.0, 4.0, 8.0, 16.0, 64.0],
    "experts": [1.0, 2.0, 8.0, 16.0, 64.0, 256.0],
    "tokens_per_parameter": [5.0, 20.0, 50.0, 100.0, 300.0, 500.0],
    "bits": [3.0, 4.0, 5.0, 6.0, 8.0, 16.0],
    "bits_weights": [4.0, 8.0, 3.0, 6.0, 8.0, 16.0],
    "bits_activations": [8.0, 8.0, 6.0, 4.0, 8.0, 16.0],
    "bits_cache": [4.0, 2.0, 3.0, 6.0, 8.0, 16.0],
}


@pytest.fixture
def columns_of():
    """A function: the columns of a law, as its formula takes them."""

    def columns(law) -> SimpleNamespace:
        if law.columns == ("run",):
            steps = np.arange(40)
            lr = 1e-3 * np.where(steps < 5, (steps + 1) / 5, np.where(steps < 20, 1.0, 0.3))
            return ScheduledRun(lr, np.array([3, 10, 19, 21, 30, 39])).features()
        return law.prepare({name: COLUMNS[name] for name in law.columns})

    return columns


@pytest.fixture
def coefficients_of():
    """A function: coefficient vectors well inside the bounds of a law, with four significant digits: [count, k]."""

    def coefficients(law, count: int) -> np.ndarray:
        rng = np.random.default_rng(1)
        drawn = [
            np.exp(rng.uniform(*np.log(c.start), count)) if c.log and c.start[0] > 0 else rng.uniform(*c.start, count)
            for c in law.coefficients
        ]
        inside = [np.clip(v, c.low + 0.01, c.high) for v, c in zip(drawn, law.coefficients, strict=True)]
        return np.array([[float(f"{value:.4g}") for value in row] for row in np.transpose(inside)])

    return coefficients
