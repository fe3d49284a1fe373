"""The figure of a sweep says which runs it is of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scaling.fit.describe import made_of
from scaling.fit.fitter import fit
from scaling.report.figures.sweep import save_sweep_figure


def test_a_figure_says_which_runs_it_is_of(tmp_path):
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 4), np.geomspace(1e8, 1e11, 4)))
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": 1.7 + 400 * n**-0.34 + 1200 * d**-0.36})
    runs = runs.assign(teacher="real", status="done")
    runs.loc[4, "status"] = "diverged"
    found = fit(runs, law="chinchilla", bootstrap=0, where="n_params < 5e8")
    figure = save_sweep_figure(tmp_path / "figure.svg", found, runs)
    assert made_of(found).startswith("11 of 16 rows; where 'n_params < 5e8' left out 4; 1 left out: status diverged")
    assert "11 of 16 rows" in figure.read_text().replace("&lt;", "<")
