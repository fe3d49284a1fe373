"""Whatever a notebook gives wrongly is refused in a sentence that says what was got, and nothing is passed over."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.errors import RecordError, ScalingError, SpecError
from scaling.shown import FIGURES

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def runs():
    return scaling.load_runs(ROOT / "results/reference/grid.csv")


@pytest.fixture(scope="module")
def fit(runs):
    return scaling.fit_law(runs, law="q1q2", bootstrap=0)


ASKED = {
    "predict": lambda fit, **given: fit.predict("100k", "1M", **given),
    "probability": lambda fit, **given: fit.probability(1.7, "100k", "1M", **given),
    "loss": lambda fit, **given: fit.loss("100k", "1M", **given),
    "floor": lambda fit, **given: fit.floor(**given),
    "forecast": lambda fit, **given: scaling.forecast(fit, "100k", "1M", columns=given),
    "explain": lambda fit, **given: scaling.explain(fit, "100k", "1M", columns=given),
    "solve": lambda fit, **given: scaling.solve(fit, target_loss=1.7, columns=given),
    "optimal": lambda fit, **given: scaling.optimal(fit, flops="1e11", **given),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("levl", 0.5, "levl: got 0.5, and no law of this fit .* did you mean 'level'"),
        ("techer", 1, "techer: got 1, .* did you mean 'teacher'"),
        (
            "bits",
            4,
            "bits: got 4, and no law of this fit is a function of it, but of d, delta_coverage, .* n",
        ),
        ("delta_noise", "much", "delta_noise: got 'much', allowed is a number"),
    ],
)
def test_a_keyword_that_a_forecast_does_not_read_or_a_word_in_place_of_a_number_is_refused(fit, ask, name, value, told):
    with pytest.raises(SpecError, match=told):
        ask(fit, **{name: value})


def test_all_that_tells_a_text_may_be_said_to_a_fit_whether_its_law_reads_it_or_not(fit):
    same = fit.predict("100k", "1M").value
    assert fit.predict("100k", "1M", real_share=0.5, generator_delta_noise=0.1, teacher_loss=2.0).value == same


@pytest.mark.parametrize(
    "ask",
    [
        lambda fit: fit.predict([2e5, 3e5], [1e6, 2e6, 3e6]),
        lambda fit: fit.loss([2e5, 3e5], 1e6, delta_noise=[0.0, 0.1, 0.2]),
        lambda fit: fit.probability([1.5, 1.6, 1.7], [2e5, 3e5], 1e6),
        lambda fit: scaling.forecast(fit, [2e5, 3e5], [1e6, 2e6, 3e6]),
        lambda fit: scaling.forecast("besiroglu", [2e9, 3e9], [1e10, 2e10, 3e10]),
    ],
)
def test_numbers_that_do_not_go_together_are_told_how_many_there_are(fit, ask):
    with pytest.raises(SpecError, match=r"of shape \([23],\), .* of shape \([23],\)"):
        ask(fit)


def test_whether_runs_or_the_law_are_asked_is_no_other_word(fit):
    with pytest.raises(SpecError, match="given: got 'laws', allowed are 'runs' and 'law'"):
        fit.predict("100k", "1M", given="laws")


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_figure_is_drawn_of_its_own_kind_of_result_or_refused_with_those_of_the_result(fit, runs, name):
    own = {"fit": fit, "runs": runs, "inverse": scaling.invert("besiroglu", [2.5, 2.2], d="100B"), "none": None}
    drawn = [kind for kind, result in own.items() if refused(result, name) == ""]
    assert len(drawn) <= 1
    told = [refused(result, name) for result in own.values()]
    assert all(f"figure {name!r}" in one for one in told if one)
    # Whatever is refused for its kind, its own figures are named, which do draw it.
    assert all("its own figures are" in one or "got None — no figure" in one for one in told if "draws" in one)
    plt.close("all")


def refused(result, name: str) -> str:
    """Why a figure is not drawn; empty where it is."""
    try:
        scaling.plot(result, figure=name)
    except ScalingError as error:
        return str(error)
    return ""


def test_a_figure_names_the_option_that_it_does_not_know(fit):
    with pytest.raises(SpecError, match="figure 'loss by size': got an unexpected keyword argument 'techer'"):
        fit.plot(techer="noise 0.2")


def test_a_figure_is_of_the_text_that_is_begun_and_of_no_unknown_one(fit):
    assert fit.plot(teacher="noise 0.2").get_title() == "noise 0.2"
    for figure in ("loss by size", "loss by ratio", "isoloss"):
        with pytest.raises(SpecError, match="teacher: got 'zzz', no text of these runs — allowed are .*noise 0.2"):
            scaling.plot(fit, figure=figure, teacher="zzz")
        plt.close("all")


def test_a_label_may_be_begun_where_one_text_alone_begins_so(runs):
    begun = runs.assign(teacher=runs["teacher"].replace({"noise 0.2": "trained 878802d57c"}))
    found = scaling.fit_law(begun, law="q1q2", bootstrap=0)
    whole = found.plot(teacher="trained 878802d57c")
    assert found.plot(teacher="trained").get_title() == whole.get_title() == "trained 878802d57c"
    plt.close("all")


def test_a_fit_of_the_commands_is_loaded_as_any_result(fit, tmp_path):
    scaling.save_fit(fit, tmp_path / "fit.json")
    assert scaling.load(tmp_path / "fit.json").params == fit.params
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(RecordError, match="not a result"):
        scaling.load(tmp_path / "other.json")


def test_of_several_losses_one_that_nothing_reaches_has_a_row_of_its_own():
    table = scaling.invert("besiroglu", [2.5, 1.0], d="100B").frame()
    assert table["what"].tolist()[1] == "out of reach"
    assert table["n_params"].tolist()[1] == np.inf
    # A single one is asked whether it is meant in another unit.
    with pytest.raises(SpecError, match="if it is bits/byte"):
        scaling.invert("besiroglu", 1.0, d="100B")


def test_forecasts_are_scored_by_a_table_or_its_path_and_by_nothing_else():
    forecasts, path = ROOT / "results/reference/forecasts", ROOT / "results/reference/registered.csv"
    assert scaling.score(forecasts, path) == scaling.score(str(forecasts), pd.read_csv(path))
    with pytest.raises(RecordError, match="no column 'run_id'"):
        scaling.score(forecasts, pd.DataFrame({"loss": [1.0]}))
    with pytest.raises(RecordError, match="is not there — expected a results folder"):
        scaling.score(forecasts, "nowhere")
    with pytest.raises(RecordError, match="none of .* registered runs was trained since, of 0 runs"):
        scaling.score(forecasts, pd.DataFrame())


def test_losses_are_given_as_people_write_numbers():
    assert scaling.solve("hoffmann", target_loss="2.2") == scaling.solve("hoffmann", target_loss=2.2)
    assert scaling.trends(teacher_loss="2") == scaling.trends(teacher_loss=2.0)
    assert scaling.invert("besiroglu", "2.5", d="100B").losses == (2.5,)


WRONG = {
    "backtest": [lambda fit, runs: scaling.backtest(None), lambda fit, runs: scaling.backtest([1, 2])],
    "compare": [lambda fit, runs: scaling.compare(runs, "real"), lambda fit, runs: scaling.compare([1, 2], ("a", "b"))],
    "compare_laws": [lambda fit, runs: scaling.compare_laws(None, ["tied"])],
    "compare_models": [lambda fit, runs: scaling.compare_models([None], "1B")],
    "design": [
        lambda fit, runs: scaling.design(None, law=fit.law),
        lambda fit, runs: scaling.design(runs, law="chinchilla"),
    ],
    "explain": [
        lambda fit, runs: scaling.explain(fit, ["1B", "2B"], "20B"),
        lambda fit, runs: scaling.explain(None, "1B"),
        lambda fit, runs: scaling.explain(fit, None, "20B"),
        lambda fit, runs: scaling.explain(fit, "100k", "1M", level="0.9"),
    ],
    "fit_bounded": [
        lambda fit, runs: scaling.fit_bounded(runs, "right"),
        lambda fit, runs: scaling.fit_bounded(1, "x"),
    ],
    "fit_curve": [lambda fit, runs: scaling.fit_curve(["x"] * 20, ["y"] * 20)],
    "fit_damage": [lambda fit, runs: scaling.fit_damage(runs), lambda fit, runs: scaling.fit_damage(None)],
    "fit_law": [
        lambda fit, runs: scaling.fit_law(None),
        lambda fit, runs: scaling.fit_law([1, 2]),
        lambda fit, runs: scaling.fit_law(runs, held={"E": "two"}),
        lambda fit, runs: scaling.fit_law(runs, law=3),
    ],
    "fit_odds": [lambda fit, runs: scaling.fit_odds(runs, "exact", trials=9)],
    "fit_savings": [lambda fit, runs: scaling.fit_savings(runs), lambda fit, runs: scaling.fit_savings(None)],
    "footprint": [
        lambda fit, runs: scaling.footprint("1B"),
        lambda fit, runs: scaling.footprint(scaling.named_model("bert-base")),
    ],
    "forecast": [
        lambda fit, runs: scaling.forecast(None, "1B"),
        lambda fit, runs: scaling.forecast("besiroglu", None),
        lambda fit, runs: scaling.forecast("besiroglu", "1B", level="0.9"),
    ],
    "frontier": [lambda fit, runs: scaling.frontier(None, 1e11), lambda fit, runs: scaling.frontier(runs, None)],
    "invert": [
        lambda fit, runs: scaling.invert("besiroglu", "abc"),
        lambda fit, runs: scaling.invert("besiroglu", []),
        lambda fit, runs: scaling.invert("besiroglu", None),
        lambda fit, runs: scaling.invert("besiroglu", 2.5, target_loss=3),
        lambda fit, runs: scaling.invert(None, 2.5),
    ],
    "load": [lambda fit, runs: scaling.load("nowhere.json")],
    "load_fit": [lambda fit, runs: scaling.load_fit("nowhere.json")],
    "load_runs": [lambda fit, runs: scaling.load_runs("nowhere")],
    "load_sweep": [lambda fit, runs: scaling.load_sweep("nowhere.yaml")],
    "named_model": [lambda fit, runs: scaling.named_model("berd")],
    "optimal": [
        lambda fit, runs: scaling.optimal("besiroglu", flops=1e22),
        lambda fit, runs: scaling.optimal(fit, flops=None),
        lambda fit, runs: scaling.optimal(fit, flops="much"),
    ],
    "optimal_vocabulary": [lambda fit, runs: scaling.optimal_vocabulary(None, characters="100B")],
    "plot": [lambda fit, runs: scaling.plot(None), lambda fit, runs: scaling.plot("results")],
    "preset": [lambda fit, runs: scaling.preset("chinchila")],
    "read_runs": [lambda fit, runs: scaling.read_runs("nowhere.csv")],
    "recommend": [
        lambda fit, runs: scaling.recommend("besiroglu"),
        lambda fit, runs: scaling.recommend(None, target_loss=3.0),
        lambda fit, runs: scaling.recommend("besiroglu", target_loss="low", memory_bytes="1GiB"),
    ],
    "save": [lambda fit, runs: scaling.save(runs, "table.json")],
    "save_fit": [lambda fit, runs: scaling.save_fit(runs, "fit.json")],
    "score": [lambda fit, runs: scaling.score("results/reference/forecasts", 3)],
    "solve": [
        lambda fit, runs: scaling.solve("hoffmann", target_loss="low"),
        lambda fit, runs: scaling.solve("hoffmann", target_loss=[2.2, 2.3]),
        lambda fit, runs: scaling.solve(None, target_loss=2.2),
        lambda fit, runs: scaling.solve("hoffmann", target_loss=2.2, inference_tokens=None),
    ],
    "summary": [lambda fit, runs: scaling.summary(None)],
    "to_latex": [lambda fit, runs: scaling.to_latex("besiroglu")],
    "transfer": [lambda fit, runs: scaling.transfer(None)],
    "trends": [
        lambda fit, runs: scaling.trends(teacher_loss="low"),
        lambda fit, runs: scaling.trends(teacher_loss=2.0, discount=None),
    ],
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_argument_of_a_public_name_is_refused_in_a_sentence(fit, runs, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    for ask in WRONG[name]:
        with pytest.raises(ScalingError, match=r"got|nowhere|unknown|no column|cannot hold|string to float: .x"):
            ask(fit, runs)


def test_every_public_name_is_asked_something_wrong():
    classes = {"Fit", "ModelSpec", "RunSpec", "figures"}
    assert set(WRONG) == set(scaling.__all__) - classes
