"""A law is one class: defined anywhere, it is named, printed, fitted, saved and forecast with like any other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.errors import SpecError
from scaling.laws.law import LAWS

TOY = '''
from scaling.laws.law import AdditiveLaw, amplitude, exponent, floor_coefficient


class Toy(AdditiveLaw):
    """L = E + A/N^alpha + B/sqrt(D)."""

    name = "toy"
    title = "square root of data"
    coefficients = (floor_coefficient(), amplitude("A"), amplitude("B"), exponent("alpha"))

    def excess(self, p, n, d):
        """One free power, one fixed."""
        return p.A * n**-p.alpha + p.B * d**-0.5
'''


@pytest.fixture
def toy_package(tmp_path) -> Path:
    """A folder that holds one module with one law, installed as another package would be."""
    (tmp_path / "toy_law.py").write_text(TOY)
    installed = tmp_path / "toy_law-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-law\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[scaling.laws]\ntoy = toy_law:Toy\n")
    return tmp_path


@pytest.fixture
def runs() -> pd.DataFrame:
    """Simulated runs of the toy law."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e5, 1e8, 6), np.geomspace(1e7, 1e9, 5)))
    noise = np.exp(1e-4 * np.random.default_rng(0).normal(size=n.size))
    return pd.DataFrame({"n_params": n, "n_tokens": d, "loss": (1.5 + 30.0 * n**-0.3 + 900.0 * d**-0.5) * noise})


def test_a_law_from_another_package_is_fitted_printed_and_saved_by_the_command_line(toy_package, runs):
    runs.to_csv(toy_package / "runs.csv", index=False)
    # The project itself comes along, wherever the tests were started.
    paths = [str(toy_package), str(Path(scaling.__file__).parents[1])]
    command = [sys.executable, "-m", "scaling", "fit", "runs.csv", "--law", "toy", "--out", "fit.json"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, cwd=toy_package, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "square root of data: L = 1.5 + " in done.stdout
    assert json.loads((toy_package / "fit.json").read_text())["members"][0]["law"] == "toy"


def test_a_law_defined_in_a_notebook_is_fitted_forecast_and_read_back(runs, tmp_path):
    if "toy-of-a-notebook" not in LAWS:
        exec(TOY.replace('name = "toy"', 'name = "toy-of-a-notebook"'), {"__name__": "notebook"})
    found = scaling.fit_law(runs, law="toy-of-a-notebook", bootstrap=20)
    assert found.law.alpha == pytest.approx(0.3, abs=0.01)
    scaling.save_fit(found, tmp_path / "fit.json")
    again = scaling.load_fit(tmp_path / "fit.json")
    assert again.law == found.law
    assert again.predict(1e9, 1e10).value == pytest.approx(1.5 + 30.0 * 1e9**-0.3 + 900.0 * 1e10**-0.5, rel=1e-3)


def test_two_laws_of_one_name_are_refused():
    with pytest.raises(SpecError, match="two laws are called 'chinchilla'"):
        exec(TOY.replace('"toy"', '"chinchilla"'), {"__name__": "elsewhere"})
