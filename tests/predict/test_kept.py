"""Whatever a notebook gets has a table and a page, is written to a file, and comes back as what it was."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.errors import RecordError, SpecError
from scaling.shown import Drawn

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"
X = np.geomspace(100, 1e5, 40)

RESULTS = {
    "Fit": lambda runs, fit: fit,
    "Optimal": lambda runs, fit: scaling.optimal(fit, flops=1e12),
    "Optima": lambda runs, fit: scaling.optimal(fit, flops=[1e11, 1e12]),
    "Comparison of arms": lambda runs, fit: scaling.compare(runs, ("noise 0.4", "noise 0.2")),
    "Comparison of models": lambda runs, fit: scaling.compare_models(
        ["besiroglu"], ["bert-base", "1B"], n_tokens=np.inf, teacher="palm", as_good_as="gpt-3"
    ),
    "Prediction": lambda runs, fit: fit.predict("100k", "1M"),
    "Prediction of two": lambda runs, fit: fit.predict(["100k", "200k"], "1M"),
    "Prediction of a law": lambda runs, fit: scaling.forecast("besiroglu", ["70M", "1B"], "20B"),
    "Inverse": lambda runs, fit: scaling.invert("besiroglu", [2.5, 1.9], d="100B"),
    "Solution": lambda runs, fit: scaling.solve("hoffmann", target_loss=2.2),
    "Explanation": lambda runs, fit: scaling.explain("besiroglu", 1e8, np.inf, teacher="palm"),
    "Explanation of a fit": lambda runs, fit: scaling.explain(fit, 3e5, 1e6, teacher="noise 0.2"),
    "Trends": lambda runs, fit: scaling.trends(teacher_loss=2.0),
    "BestVocabulary": lambda runs, fit: scaling.optimal_vocabulary(2**26, characters=1e11),
    "Design": lambda runs, fit: scaling.design(
        runs.drop(columns="teacher"), law=scaling.preset("besiroglu").law, forecast={"phone": {"n": 1e8, "d": 1e10}}
    ),
    "CurveFit": lambda runs, fit: scaling.fit_curve(X, 1.5 + 8 * X**-0.4, form="m2"),
    "CurveForecast": lambda runs, fit: scaling.fit_curve(X, 1.5 + 8 * X**-0.4, form="m2").predict([2e5, 3e5]),
    "Footprint": lambda runs, fit: scaling.footprint(scaling.ModelSpec(vocab_size=32000, width=512, n_layers=8)),
    "BoundedFit": lambda runs, fit: scaling.fit_bounded(
        runs.assign(right=1 / (1 + runs["loss"])), "right", law="q1q2", bootstrap=0
    ),
    "DamageFits": lambda runs, fit: scaling.fit_damage(pd.read_csv(REFERENCE / "damage.csv")),
    "OddsFit": lambda runs, fit: scaling.fit_odds(
        runs.assign(right=1 / (1 + runs["loss"])), "right", trials=100, over=["n_tokens"]
    ),
    "SavingsFit": lambda runs, fit: scaling.fit_savings(
        runs.assign(bits_per_byte=runs["loss"], savings=1 / (2 + runs["loss"]), savings_se=0.01, ceiling=0.5)
    ),
    "Frontier": lambda runs, fit: scaling.frontier(runs, [1e11, 1e12], law="q1q2", bootstrap=50),
    "Backtest": lambda runs, fit: scaling.backtest(runs, law="q1q2", train="n_params < 3e5", bootstrap=0),
    "LawComparison": lambda runs, fit: scaling.compare_laws(runs, ["q1", "q1q2"], bootstrap=0),
    "Score": lambda runs, fit: scaling.score(REFERENCE / "forecasts", pd.read_csv(REFERENCE / "registered.csv")),
    "Transfer": lambda runs, fit: scaling.transfer(pd.read_csv(REFERENCE / "transfer.csv"), where="lr > 0.003"),
    "Recommendation": lambda runs, fit: scaling.recommend(fit, sweep=ROOT / "sweeps/grid.yaml", memory_bytes="64MiB"),
}

NOT_RESULTS = {
    "Any",
    "Axes",
    "DamageFit",
    "DataFrame",
    "NamedModel",
    "None",
    "Preset",
    "SweepConfig",
    "list",
    "pd",
    "str",
}


@pytest.fixture(scope="module")
def runs():
    return scaling.load_runs(REFERENCE / "grid.csv")


@pytest.fixture(scope="module")
def fit(runs):
    return scaling.fit_law(runs, law="q1q2", bootstrap=50)


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_has_a_table_and_a_page_and_comes_back_from_its_file(name, runs, fit, tmp_path):
    result = RESULTS[name](runs, fit)
    scaling.save(result, tmp_path / "result.json")
    again = scaling.load(tmp_path / "result.json")
    assert type(again) is type(result)
    # A saved fit keeps seven digits of its draws.
    pd.testing.assert_frame_equal(result.frame(), again.frame(), rtol=1e-5)
    assert "<table" in result._repr_html_()
    if isinstance(result, Drawn):
        assert len(again.plot().get_children()) == len(result.plot().get_children())
        plt.close("all")


def test_every_kind_of_result_that_the_public_functions_give_is_among_these():
    functions = [getattr(scaling, name) for name in scaling.__all__ if name != "figures"]
    given = {word for one in functions for word in re.findall(r"\w+", str(one.__annotations__.get("return")))}
    tested = {name.split(" ")[0] for name in RESULTS}
    # Tables of runs, inputs, texts and axes are no results.
    assert given - tested <= NOT_RESULTS


def test_a_table_is_no_result_and_other_files_stay(runs, tmp_path):
    with pytest.raises(SpecError, match="got a DataFrame"):
        scaling.save(runs, tmp_path / "runs.json")
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(RecordError, match="not a result; nothing was changed"):
        scaling.save(scaling.trends(), other)
    assert other.read_text() == "mine"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"result": "os:system", "values": {}},
        {"result": "scaling.predict.explain.trends:Trends", "values": {"meetings": 3}},
        {"result": "scaling.predict.explain.trends:Nothing", "values": {}},
    ],
)
def test_a_file_that_is_no_result_says_so(content, tmp_path):
    (tmp_path / "odd.json").write_text(json.dumps(content))
    with pytest.raises(RecordError, match="not a result of this version"):
        scaling.load(tmp_path / "odd.json")
