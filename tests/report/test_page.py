"""The explorer: its arithmetic is Python's, it is one file that asks for nothing, and a browser has no complaint."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scaling.chain.workspace import Workspace
from scaling.errors import RecordError
from scaling.fit.fitter import fit as fit_law
from scaling.fit.result import Fit
from scaling.fit.saved.files import load, save
from scaling.laws.law import LAWS, ScalingLaw
from scaling.predict.ask import forecast
from scaling.predict.explain.basis import at, published
from scaling.predict.explain.teacher import TeacherAsked, bottleneck
from scaling.predict.quantization import QUANTIZATION_COST
from scaling.predict.recommend.of_published import fit_of_preset
from scaling.records import load_runs
from scaling.report.figures.points import run_points
from scaling.report.page import page_of_law, page_of_sweep
from scaling.report.page.facts import law_facts, run_facts
from scaling.report.page.script import formula_of

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "results" / "reference" / "quickstart.csv"
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium")
HAS_PLAYWRIGHT = importlib.util.find_spec("playwright") is not None
needs_node = pytest.mark.skipif(NODE is None, reason="node runs the page's arithmetic; it is not installed")


@pytest.fixture(scope="module")
def fits() -> dict[str, Fit]:
    runs = load_runs(RUNS)
    real = runs[runs["teacher"] == "real"]
    texts = runs.drop(columns=["text_id", "delta_coverage", "delta_noise"]).replace({"teacher": {"real": "worse"}})
    return {
        "bootstrap": load(ROOT / "tests" / "predict" / "first_layout" / "fit.json"),
        "stack": fit_law(real, bootstrap=0, strict=False),
        "given runs": fit_law(runs, law="auto", bootstrap=0, strict=False),
        "without real text": fit_law(texts.replace({"teacher": {"noise 0.2": "a"}}), bootstrap=0, strict=False),
        "published": fit_of_preset("besiroglu"),
    }


def in_the_page(script: str) -> object:
    """What the page's own arithmetic gives."""
    source = resources.files("scaling.report.page").joinpath("arithmetic.js")
    program = f"const page = require({str(source)!r});\nconsole.log(JSON.stringify({script}));"
    done = subprocess.run([str(NODE), "-e", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@needs_node
@pytest.mark.parametrize("name", ["bootstrap", "stack", "given runs", "without real text", "published"])
def test_the_page_forecasts_as_python_does(fits, name):
    fit, rng = fits[name], np.random.default_rng(3)
    assert name != "given runs" or fit.runs.share > 0
    facts = law_facts(fit)
    n = 10 ** rng.uniform(4, 7, 50)
    d = 10 ** rng.uniform(5, 8, 50)
    text = rng.integers(len(facts["texts"]), size=50)
    if fit.runs is not None:
        # Some of them where runs were measured, and answer for themselves.
        some = rng.integers(len(fit.runs.loss), size=10)
        n[:10], d[:10], text[:10] = (fit.runs.columns[name][some] for name in ("n", "d", "teacher"))
    level = rng.uniform(0.5, 0.99, 50)
    points = [[*map(float, row)] for row in zip(n, d, text, level, strict=True)]
    script = (
        f"(() => {{ const fit = page.makeFit({json.dumps(facts)}); return {json.dumps(points)}.map(([n, d, t, level]) "
        "=> { const s = fit.predict(n, d, t, level); return [s.value, s.low, s.high, s.reach, "
        "fit.probability(1.8, s), fit.loss(n, Infinity, t)]; }); })()"
    )
    found = np.array(in_the_page(script), float)
    labels = list(fit.teachers) or [None]
    for (size, tokens, code, sure), row in zip(points, found, strict=True):
        teacher = labels[int(code)]
        said = fit.predict(size, tokens, teacher=teacher, level=sure, force=True)
        wanted = [said.value, said.low, said.high, max(said.reach.values(), default=1.0)]
        wanted += [
            fit.probability(1.8, size, tokens, teacher=teacher, force=True),
            fit.loss(size, np.inf, teacher=teacher),
        ]
        np.testing.assert_allclose(row, wanted, rtol=1e-6, atol=1e-9)


def example_of(law: type[ScalingLaw]) -> tuple[ScalingLaw, dict[str, float]]:
    """A law with numbers inside its bounds, and columns."""
    form = law()
    rng = np.random.default_rng(len(form.names))
    values = {}
    for c in form.coefficients:
        low, high = c.start if not c.linear else (0.5, 1.5)
        values[c.name] = float(np.clip(rng.uniform(low, high), c.low, c.high))
    columns = {name: 0.1 for name in form.columns}
    columns |= {"n": 3e5, "d": 2e6, "c": 1e12, "x": 1e3, "n_unique_tokens": 1e6, "n_vocab_params": 1e4, "s_min": 1e3}
    columns |= {"teacher_loss": 2.0, "bits": 4.0, "experts": 4.0, "granularity": 2.0, "teacher": 0.0}
    return form.with_values(values), {name: columns[name] for name in form.columns}


WRITTEN = [name for name, law in LAWS.items() if law().columns and name != "multi-power"]


@needs_node
def test_every_law_and_its_gradient_are_the_same_in_the_page():
    laws = [example_of(LAWS[name]) for name in WRITTEN]
    asked = [[formula_of(law), law.vector.tolist(), columns] for law, columns in laws]
    script = (
        f"{json.dumps(asked)}.map(([formula, p, x]) => {{ const law = new Function('o', 'p', 'x', 'return ' + formula);"
        "const at = p.map((v, i) => { const g = new Float64Array(p.length); g[i] = 1; return { v, g }; });"
        "const dual = law(page.dual, at, x);"
        "return [law(page.number, p, x), typeof dual === 'number' ? p.map(() => 0) : Array.from(dual.g)]; })"
    )
    for (law, columns), (value, gradient) in zip(laws, in_the_page(script), strict=True):
        x = law.prepare({name: np.array([value]) for name, value in columns.items()})
        np.testing.assert_allclose(value, law.evaluate(law.vector, x)[0], rtol=1e-9, err_msg=law.name)
        wanted = law.gradient(law.vector, x)[0]
        # A part that is the difference of much larger ones has the rounding of those.
        rounding = 1e-12 * np.abs(wanted).max()
        np.testing.assert_allclose(gradient, wanted, rtol=1e-7, atol=rounding, err_msg=law.name)


def embedded(page: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_a_published_law_makes_a_page_that_asks_for_nothing():
    page = page_of_law("besiroglu")
    facts = embedded(page)
    assert (facts["runs"], facts["ledger"]) == ([], [])
    assert not facts["law"]["has_doubt"]
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", page)) - {"http://www.w3.org", "//www.w3.org"}
    assert not addresses
    assert "{{" not in page
    assert len(page.encode()) < 400_000


@needs_node
def test_the_page_of_a_law_bounds_what_a_teacher_costs_as_python_does():
    facts, rng = embedded(page_of_law("besiroglu"))["law"], np.random.default_rng(5)
    basis = published("besiroglu")
    asked = [
        [float(10 ** rng.uniform(6, 11)), float(10 ** rng.uniform(9, 14)), int(rng.integers(len(facts["texts"])))]
        for _ in range(50)
    ]
    script = (
        f"(() => {{ const fit = page.makeFit({json.dumps(facts)}); return {json.dumps(asked)}.map(([n, d, t]) => "
        "{ const s = fit.predict(n, d, t); return [s.value, s.low, s.high, fit.loss(n, d, t), s.reach]; }); })()"
    )
    for (n, d, code), found in zip(asked, in_the_page(script), strict=True):
        name = facts["texts"][code]["asked"]
        said = forecast("besiroglu", n, d, teacher=name)
        least = said.value
        if name:
            least = at(bottleneck(basis, TeacherAsked(name=name).on(basis)), n, d)
        wanted = [said.value, least, said.value, said.value, max(said.reach.values(), default=1.0)]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert {code for *_, code in asked} == set(range(len(facts["texts"])))


def test_the_published_page_is_what_the_command_writes_today():
    page = (ROOT / "results" / "reference" / "besiroglu.html").read_text("utf-8")
    assert page == page_of_law("besiroglu"), "write it anew: scaling report --law besiroglu --out results/reference/…"


def test_five_hundred_runs_stay_below_400_kb(fits, tmp_path):
    runs = load_runs(RUNS)
    many = pd.concat([runs] * (500 // len(runs) + 1)).head(500)
    told = run_facts(fits["bootstrap"], many)
    assert len(told) > 400
    law = page_of_law("besiroglu")
    assert len(json.dumps(told)) + len(law.encode()) + len(json.dumps(law_facts(fits["stack"]))) < 400_000


def of_two_sources(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs, and as many of the same teacher's text over another source, which a table calls by the same label."""
    taught = runs[runs["teacher"] != "real"]
    other = taught.assign(text_id="ffff", loss=1.02 * taught["loss"], trunk_id="other " + taught["trunk_id"])
    return pd.concat([runs, other.assign(run_id="other " + taught["run_id"])], ignore_index=True)


def test_runs_of_texts_that_share_a_label_are_in_the_page():
    runs = of_two_sources(load_runs(RUNS))
    fit = fit_law(runs, law="auto", bootstrap=0, strict=False)
    assert len(fit.teachers) == 3, "the fit tells the texts apart"
    told, labels = run_facts(fit, runs), list(fit.teachers)
    text = [labels[run["text"]] for run in told]
    assert text == [fit.texts[text_id] for text_id in runs["text_id"]]


@pytest.mark.slow
@pytest.mark.parametrize("left_out", [(), ("text_id",), ("teacher",), ("teacher", "text_id")], ids=str)
@pytest.mark.parametrize("of", ["all", "real", "noise 0.2"])
def test_every_run_behind_a_fit_is_in_the_page_and_in_the_figures_as_the_same_text(of, left_out):
    runs = load_runs(RUNS)
    runs = (runs if of == "all" else runs[runs["teacher"] == of]).drop(columns=list(left_out))
    fit = fit_law(
        runs, law="chinchilla" if of == "all" and "teacher" in left_out else "auto", bootstrap=0, strict=False
    )
    labels = [*fit.teachers] or ["real"]
    told = run_facts(fit, runs)
    assert len(told) == fit.n_runs
    drawn = run_points(fit, runs).used
    assert [(labels[run["text"]], run["loss"]) for run in told] == list(zip(drawn.text, drawn.loss, strict=True))


@pytest.fixture(scope="module")
def sweep_page(tmp_path_factory, fits) -> str:
    """The page of a sweep whose results hold a fit and a table, and nothing that was trained here."""
    root = tmp_path_factory.mktemp("results")
    workspace = Workspace.open(ROOT / "sweeps" / "quickstart.yaml", results=root).prepare()
    save(fits["bootstrap"], workspace.fit_path)
    load_runs(RUNS).to_parquet(workspace.table_path)
    return page_of_sweep(workspace)


def test_a_sweep_has_its_runs_its_texts_and_its_question_in_the_page(sweep_page, fits):
    facts = embedded(sweep_page)
    texts = list(fits["bootstrap"].teachers)
    assert [text["label"] for text in facts["law"]["texts"]] == texts
    assert facts["real"] == texts.index("real"), "what a teacher costs is told beside real text"
    assert {run["loss"] for run in facts["runs"]} <= set(load_runs(RUNS)["loss"])
    assert len(facts["runs"]) > 10
    assert facts["shapes"][0]["n"] < facts["law"]["ranges"]["n"][1] < facts["shapes"][-1]["n"]
    assert facts["losses"][0] <= facts["question"]["target"] <= facts["losses"][1]


def test_a_table_of_before_text_ids_is_named_with_the_command_that_writes_it_anew(tmp_path, fits):
    workspace = Workspace.open(ROOT / "sweeps" / "quickstart.yaml", results=tmp_path).prepare()
    save(fits["bootstrap"], workspace.fit_path)
    load_runs(RUNS).drop(columns="text_id").to_parquet(workspace.table_path)
    with pytest.raises(RecordError, match=r"runs\.parquet: has no column text_id, .* scaling fit .*quickstart\.yaml"):
        page_of_sweep(workspace)


def test_the_page_of_a_fit_of_bits_of_a_byte_knows_no_nats(tmp_path, fits):
    workspace = Workspace.open(ROOT / "sweeps" / "quickstart.yaml", results=tmp_path).prepare()
    columns = {**fits["bootstrap"].columns, "loss": "bits_per_byte"}
    save(replace(fits["bootstrap"], columns=columns), workspace.fit_path)
    load_runs(RUNS).assign(bits_per_byte=lambda runs: runs["loss"] / 3).to_parquet(workspace.table_path)
    page = page_of_sweep(workspace)
    assert "in bits/byte" in page
    assert "nats" not in page
    added = {one["name"]: one["added"] for one in embedded(page)["formats"]}
    assert added["q4_0"] == pytest.approx(QUANTIZATION_COST["Q4_0"].nats / 3)


def accessibility_faults(page) -> list[str]:
    """Contrast, labels and roles, by axe-core where it is installed."""
    if importlib.util.find_spec("axe_core_python") is None:
        return []
    from axe_core_python.sync_playwright import Axe

    found = Axe().run(page)["violations"]
    return [f"{one['id']}: {one['help']} ({one['nodes'][0]['html'][:80]})" for one in found]


needs_browser = pytest.mark.skipif(
    not (CHROMIUM and HAS_PLAYWRIGHT), reason="needs chromium and the Python package playwright"
)
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


@contextmanager
def opened(html: str, folder: Path) -> Iterator[Any]:
    """The page in a browser; at the end it was looked at in both schemes and widths, and has no complaint."""
    from playwright.sync_api import sync_playwright

    path = folder / "page.html"
    path.write_text(html)
    complaints, requests = [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        yield page
        unlabelled = "[...document.querySelectorAll('input,select')].filter(e => !e.labels.length).map(e => e.id)"
        assert page.evaluate(unlabelled) == []
        for scheme, width in product(("light", "dark"), (390, 1200)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            complaints += accessibility_faults(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=folder / f"{scheme}-{width}.png", full_page=True)
        browser.close()
    assert complaints == []
    assert requests == [path.as_uri()]


def ask(page: Any, facts: dict, rng: np.random.Generator) -> tuple[float, float, dict, list[float]]:
    """Move sliders at random; gives N, D and the text that are then asked about, and what the page forecasts."""
    shape, text = int(rng.integers(len(facts["shapes"]))), int(rng.integers(len(facts["law"]["texts"])))
    page.locator("#size").fill(str(shape))
    page.locator("#tokens").fill(str(float(rng.uniform(*np.log10(facts["tokens"])))))
    page.locator("#text").select_option(str(text))
    page.locator("#target").fill(str(float(rng.uniform(*facts["losses"]))))
    n, d = facts["shapes"][shape]["n"], round(10 ** float(page.locator("#tokens").input_value()))
    forecast = "([n, d, t]) => { const s = fit.predict(n, d, t); return [s.value, s.low, s.high]; }"
    return n, d, facts["law"]["texts"][text], page.evaluate(forecast, [n, d, text])


@pytest.mark.slow
@needs_browser
def test_a_browser_moves_every_slider_and_has_no_complaint(sweep_page, fits, tmp_path):
    facts, fit, rng = embedded(sweep_page), fits["bootstrap"], np.random.default_rng(0)
    with opened(sweep_page, tmp_path) as page:
        for _ in range(50):
            n, d, text, said = ask(page, facts, rng)
            wanted = fit.predict(n, d, teacher=text["asked"], force=True)
            np.testing.assert_allclose(said, [wanted.value, wanted.low, wanted.high], rtol=1e-6)
            # What is shown is that, for weights of 8 bits, which add nothing to it.
            assert float(page.locator("#loss").inner_text()) == pytest.approx(wanted.value, abs=5.1e-5)
            target = float(page.locator("#target").input_value())
            p = float(re.search(r"P ([\d.]+)", page.locator("#verdict").inner_text())[1])
            assert p == pytest.approx(fit.probability(target, n, d, teacher=text["asked"], force=True), abs=5.1e-3)
        # Of a student that was trained its own loss decides.
        run = next(run for run in facts["runs"] if run["seed"] == 0)
        shape = next(i for i, shape in enumerate(facts["shapes"]) if shape["n"] == run["n"])
        page.locator("#size").fill(str(shape))
        page.locator("#tokens").fill(str(np.log10(run["d"])))
        page.locator("#text").select_option(str(run["text"]))
        page.locator("#target").fill(str(run["loss"] - 0.001))
        assert page.locator("#verdict").inner_text().startswith(f"Not good enough (measured {run['loss']:.4f}; ")
        page.locator("#target").fill(str(run["loss"] + 0.001))
        assert page.locator("#verdict").inner_text().startswith(f"Good enough (measured {run['loss']:.4f}; ")
        for slider, end in (("target", "max"), ("sure", "min"), ("budget", "max")):
            page.locator(f"#{slider}").fill(page.locator(f"#{slider}").get_attribute(end) or "")
        page.locator("#size").fill(str(len(facts["shapes"]) - 1))
        page.locator("#choose").click()
        assert page.locator("#size-out").inner_text().split()[0] == page.locator("#smallest").inner_text().split()[0]
        assert page.locator("#choose").is_hidden()
        for slider, end in (("target", "min"), ("sure", "max"), ("budget", "min")):
            page.locator(f"#{slider}").fill(page.locator(f"#{slider}").get_attribute(end) or "")
        for choice in ("format", "context", "device"):
            page.locator(f"#{choice}").select_option(index=1)
        assert "none within this budget" in page.locator("#smallest").inner_text()
        page.locator("#size").focus()
        page.keyboard.press("Home")
        assert page.locator("#size").input_value() == "0"


@pytest.mark.slow
@needs_browser
def test_a_browser_asks_a_published_law_about_text_of_large_models(tmp_path):
    html = page_of_law("besiroglu")
    facts, rng = embedded(html), np.random.default_rng(1)
    with opened(html, tmp_path) as page:
        assert page.locator("#text option:checked").inner_text() == "text of PaLM"
        assert page.locator("#verdict").inner_text() == "Good enough; fits the memory budget."
        for _ in range(50):
            n, d, text, said = ask(page, facts, rng)
            wanted = forecast("besiroglu", n, d, teacher=text["asked"])
            np.testing.assert_allclose([said[0], said[2]], wanted.value, rtol=1e-6)
            assert float(page.locator("#loss").inner_text()) == pytest.approx(wanted.value, abs=5.1e-5)
        assert page.locator("#sure").is_hidden()
