"""Laws of damage: the one that made a table is found again, and noise that points up is not taken for a loss."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError
from scaling.fit.measures.damage import fit_damage
from scaling.laws.precision import RoundingNoise

TRUTH = RoundingNoise(k=7000.0, b=-0.1, a=0.6)


def table(bits: tuple[int, ...] = (2, 3, 4, 5, 6, 8), noise: float = 0.1) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    cells = [(n, d, p) for n in (3e4, 1e5, 4e5) for d in (2.5e5, 5e5, 1e6) for p in bits]
    rows = pd.DataFrame(cells, columns=["n_params", "n_tokens", "bits"])
    rows["damage"] = TRUTH.loss(n=rows["n_params"], d=rows["n_tokens"], bits=rows["bits"])
    rows["damage"] *= np.exp(rng.normal(0, noise, len(rows)))
    rows.loc[rows["bits"] == 8, "damage"] = rng.normal(0, 1e-4, sum(rows["bits"] == 8))
    return rows.assign(damage_se=3e-5, run_id="0123456789")


def test_the_law_that_made_the_table_forecasts_the_largest_size_best():
    found = {one.law: one for one in fit_damage(table())}
    best = found["damage-noise"]
    assert best.ahead == min(one.ahead for one in found.values())
    assert best.error < 0.12
    assert best.fit.params["a"] == pytest.approx(0.6, abs=0.05)
    assert best.fit.params["b"] == pytest.approx(-0.1, abs=0.1)
    assert best.n_rows == 45  # of 8 bits some lie above zero by chance alone


def test_a_table_without_clear_damage_has_no_law():
    with pytest.raises(FitError, match="lie clearly above zero — at least"):
        fit_damage(table(bits=(8,)))
