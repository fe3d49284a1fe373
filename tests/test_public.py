"""What a notebook imports exists, and a misspelt name says what does."""

from __future__ import annotations

import doctest
import inspect
import json
import pkgutil
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.errors import RecordError, SpecError
from scaling.export.interpreters import LITERT, LITERT_LM

ROOT = Path(__file__).resolve().parents[1]
SHOWN = sorted(set(scaling.__all__) - {"Fit", "ModelSpec", "RunSpec", "figures"})
"""What a notebook calls: each has an example."""


@pytest.mark.parametrize("name", scaling.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    assert getattr(scaling, name).__doc__


def test_a_misspelt_name_lists_the_public_ones():
    with pytest.raises(AttributeError, match="load_runs"):
        _ = scaling.load_rums


def test_no_public_name_hides_behind_a_room_of_the_same_name():
    rooms = {module.name for module in pkgutil.iter_modules(scaling.__path__)}
    assert not rooms & set(scaling.__all__)


def test_every_file_beside_the_code_is_installed_with_it():
    package = Path(scaling.__file__).parent
    project = tomllib.loads((package.parent / "pyproject.toml").read_text("utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]["scaling"]
    installed = {path for pattern in globs for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert package / "py.typed" in others
    assert not others - installed


@pytest.mark.parametrize("extra", ["litert", "litert-lm"])
def test_an_error_that_says_what_to_install_names_the_versions_of_the_extra(extra):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    asked = [one for name in ("litert", extra) for one in extras[name] if not one.startswith("scaling[")]
    told = {"litert": LITERT, "litert-lm": LITERT_LM}[extra].packages.split()
    # Bounds would be read by the shell; versions are exact where the packages' interfaces change between releases.
    assert set(told) == {one.partition(">=")[0] for one in asked}


@pytest.fixture(scope="module")
def names():
    """What the examples speak of: a table of runs, and a fit to it."""
    runs = scaling.load_runs(ROOT / "results/reference/grid.csv")
    return {"runs": runs, "fit": scaling.fit_law(runs, law="q1q2", bootstrap=50)}


def says(value, globs) -> str:
    """What is wrong with the examples of a docstring; empty where they hold."""
    (example,) = doctest.DocTestFinder(recurse=False).find(value, value.__name__, globs=globs)
    assert example.examples
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("name", SHOWN)
def test_the_example_of_a_public_name_gives_what_it_says(name, names, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    value = getattr(scaling, name)
    globs = vars(inspect.getmodule(value)) | names | {"scaling": scaling, "pd": pd, "tmp_path": tmp_path, name: value}
    assert says(value, globs) == ""


@pytest.mark.parametrize(
    "method", ["floor", "floor_interval", "frame", "interval", "loss", "plot", "predict", "probability"]
)
def test_the_example_of_what_a_fit_is_asked_gives_what_it_says(method, names):
    assert says(getattr(scaling.Fit, method), dict(names)) == ""


def test_tab_lists_every_verb_of_a_notebook():
    assert set(SHOWN) < set(dir(scaling))


def test_every_question_takes_numbers_as_people_write_them(names):
    assert scaling.explain("besiroglu", "1B", "20B") == scaling.explain("besiroglu", 1e9, 2e10)
    assert scaling.solve("hoffmann", flops="1e21", inference_tokens="2T").frame()["n_params"].min() > 0
    assert scaling.solve("hoffmann", target_loss=2.2, d="100B").trainings[0].n_tokens == 1e11
    by_number = scaling.frontier(names["runs"], [1e11], law="q1q2", bootstrap=0)
    assert scaling.frontier(names["runs"], "1e11", law="q1q2", bootstrap=0).frame().equals(by_number.frame())


def test_a_fit_is_read_from_its_own_text(names):
    from scaling.fit.saved.files import to_json

    for said in (to_json(names["fit"]), json.loads(to_json(names["fit"]))):
        assert scaling.load_fit(said).params == pytest.approx(names["fit"].params)


def test_numbers_are_read_as_people_write_them_or_refused(names):
    fit = names["fit"]
    assert fit.predict("100k", "1M").value == fit.predict(1e5, 1e6).value
    assert fit.predict(["100k", 2e5], "1M").frame()["n"].tolist() == [1e5, 2e5]
    with pytest.raises(SpecError, match="n: got 'many', allowed is a number"):
        fit.predict("many", "1M")


def test_the_column_of_the_loss_may_stand_among_the_columns(names):
    renamed = names["runs"].rename(columns={"loss": "val_loss"})
    found = scaling.fit_law(renamed, law="q1q2", columns={"loss": "val_loss"}, bootstrap=0)
    assert found.columns["loss"] == "val_loss"
    assert found.params == pytest.approx(names["fit"].params)


def test_a_foreign_table_is_drawn_by_its_own_columns_or_asked_for_them(names):
    foreign = names["runs"].rename(columns={"loss": "val", "n_params": "size", "n_tokens": "seen"})
    foreign = foreign[["size", "seen", "val"]]
    assert scaling.plot(foreign, n="size", d="seen", loss="val").get_xlabel() == "N, parameters (size)"
    with pytest.raises(RecordError, match=r"no column 'n_tokens' for d: .* size, seen, val — say which one it is"):
        scaling.plot(foreign, n="size")


def test_a_forecast_says_itself_in_a_sentence(names):
    one = names["fit"].predict("100k", "1M")
    assert str(one).startswith(f"{one.value:.4f} nats/token, 90% of such runs in {one.low:.4f} – ")
    assert str(names["fit"].predict(["100k", "200k"], "1M")) == "2 forecasts, nats/token; .frame() lists them"
    assert str(scaling.forecast("besiroglu", "1B", "20B")) == "2.5301 nats/token (law alone)"


def test_a_foreign_file_is_fitted_in_one_call(names, tmp_path):
    real = names["runs"].query("teacher == 'real'")[["n_params", "n_tokens", "loss"]]
    real.set_axis(["size", "seen", "val"], axis=1).to_csv(tmp_path / "foreign.csv", index=False)
    columns = {"n": "size", "d": "seen", "loss": "val"}
    found = scaling.fit_law(tmp_path / "foreign.csv", law="tied", columns=columns, bootstrap=0)
    assert found.params == pytest.approx(scaling.fit_law(real, law="tied", bootstrap=0).params)


SCALARS = {"int": int, "int64": np.int64, "float64": np.float64, "0-d": np.array, "text": np.str_}
MANY = {"int64": np.int64, "float64": np.float64, "object": object, "text": str}


@pytest.mark.parametrize("kind", SCALARS.values(), ids=SCALARS)
def test_every_question_takes_a_number_of_numpy_as_it_takes_one_of_python(names, kind):
    def same(ask: Callable[..., Any], **numbers: int) -> None:
        plain, other = (ask(**{name: of(one) for name, one in numbers.items()}) for of in (float, kind))
        pd.testing.assert_frame_equal(plain.frame(), other.frame(), check_dtype=False)

    fit, runs = names["fit"], names["runs"]
    same(partial(fit.predict), n=100_000, d=1_000_000)
    same(partial(scaling.forecast, "besiroglu"), n=10**9, d=2 * 10**9)
    same(partial(scaling.forecast, fit), n=100_000, d=1_000_000)
    same(partial(scaling.explain, "besiroglu"), n=10**9, d=2 * 10**9)
    same(partial(scaling.invert, "besiroglu", 3.0), d=2 * 10**9)
    same(partial(scaling.solve, "besiroglu", target_loss=3.0), d=2 * 10**9, inference_tokens=10**9)
    same(partial(scaling.solve, "hoffmann"), flops=10**18)
    same(partial(scaling.optimal, fit), flops=10**11)
    same(partial(scaling.frontier, runs, law="q1q2", bootstrap=0, starts=4), flops=10**11)
    same(lambda size, text: scaling.optimal_vocabulary(size, characters=text), size=2**26, text=2 * 10**9)
    same(partial(scaling.recommend, "besiroglu", target_loss=3.0), memory_bytes=2**32, tokens=2 * 10**9)
    assert fit.loss(kind(100_000), kind(1_000_000)) == fit.loss(1e5, 1e6)
    assert fit.probability(1.7, kind(100_000), kind(1_000_000)) == fit.probability(1.7, 1e5, 1e6)


@pytest.mark.parametrize("kind", MANY.values(), ids=MANY)
def test_whatever_takes_several_numbers_takes_an_array_of_any_kind(names, kind):
    def same(ask: Callable[..., Any], *numbers: int) -> None:
        plain, other = ask(list(map(float, numbers))), ask(np.array(numbers).astype(kind))
        pd.testing.assert_frame_equal(plain.frame(), other.frame(), check_dtype=False)

    fit = names["fit"]
    same(lambda n: fit.predict(n, "1M"), 100_000, 200_000)
    same(lambda d: fit.predict("100k", d), 1_000_000, 2_000_000)
    same(lambda n: scaling.forecast("besiroglu", n, "20B"), 10**8, 10**9)
    same(lambda flops: scaling.optimal(fit, flops=flops), 10**11, 10**12)
    frontier = partial(scaling.frontier, names["runs"], law="q1q2", bootstrap=0, starts=4)
    same(lambda flops: frontier(flops), 10**11, 10**12)
    sizes = np.array([100_000, 200_000]).astype(kind)
    assert fit.loss(sizes, "1M").tolist() == fit.loss([1e5, 2e5], 1e6).tolist()
    assert fit.probability(1.7, sizes, "1M").tolist() == fit.probability(1.7, [1e5, 2e5], 1e6).tolist()


def test_a_forecast_without_its_tokens_asks_for_them(names):
    with pytest.raises(SpecError, match="function of d, and got none — give it; inf asks for the limit"):
        names["fit"].predict("1M")


def test_a_published_law_is_not_fitted_and_its_form_is_named(names):
    with pytest.raises(SpecError, match="'kaplan' is a published law.*fit its form, 'kaplan-nd'"):
        scaling.fit_law(names["runs"], law="kaplan")


def test_results_show_themselves_as_tables(names):
    fit = names["fit"]
    optima = scaling.optimal(fit, flops=[1e11, "1e12"])
    assert list(optima.frame()["flops"]) == [1e11, 1e12]
    assert optima.frame()["n"].tolist()[1] == scaling.optimal(fit, flops=1e12).n
    arms = scaling.compare(names["runs"], ("noise 0.4", "noise 0.2"))
    for shown in (fit, optima, arms, fit.predict("100k", "1M"), scaling.invert("besiroglu", [2.5, 2.2])):
        assert len(shown.frame()) >= 1
        assert "<table" in shown._repr_html_()


def test_a_recommendation_of_a_fit_needs_the_sweep_and_takes_bytes_as_people_write_them(names, monkeypatch):
    monkeypatch.chdir(ROOT)
    answer = scaling.recommend(names["fit"], sweep="sweeps/grid.yaml", memory_bytes="64MiB")
    assert answer.question.memory_bytes == 64 * 2**20
    assert answer.frame()["probability"].iloc[0] >= answer.question.probability
    assert "P(loss ≤ 1.72) = 0.9" in str(answer)
    assert "P(loss ≤ 1.72) = 0.9" in answer._repr_html_()
    with pytest.raises(SpecError, match="give sweep="):
        scaling.recommend(names["fit"], target_loss=1.7, memory_bytes="64MiB")


def test_a_loss_out_of_reach_has_no_size(names):
    table = scaling.invert("besiroglu", [2.5, 1.9], d="100B").frame()
    assert table["what"].tolist()[1] == "out of reach"
    assert table["n_params"].tolist()[1] == float("inf")
