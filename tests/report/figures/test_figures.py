"""Figures hold what they say: axes, units, and a mark for everything that was measured, said or left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import scaling
from scaling.errors import SpecError
from scaling.report import figures

REFERENCE = Path(__file__).resolve().parents[3] / "results/reference"


@pytest.fixture(scope="module")
def table():
    return scaling.load_runs(REFERENCE / "grid.csv")


@pytest.fixture(scope="module")
def fit(table):
    return scaling.fit_law(table, law="q1q2", bootstrap=60, where="n_tokens < 9e5")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def markers(ax) -> int:
    """How many points are drawn as markers; the caps of error bars are markers to matplotlib too."""
    return sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() not in ("", "None", None, "_", "|"))


def labels(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_every_figure_gives_the_axes_that_it_was_given(fit):
    ax = plt.subplots()[1]
    assert fit.plot(ax) is ax
    assert figures.residuals(fit, ax) is ax


def test_loss_by_size_shows_every_run_of_its_text_its_law_and_what_was_left_out(fit, table):
    ax = fit.plot(runs=table, teacher="real")
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "N, parameters (n_params)"
    assert ax.get_ylabel() == "loss, nats/token"
    assert markers(ax) == (table["teacher"] == "real").sum()
    assert {"left out of the fit", "beyond the runs", "floor of the law"} <= set(labels(ax))
    crosses = next(line for line in ax.lines if line.get_marker() == "x")
    assert len(crosses.get_xdata()) == ((table["teacher"] == "real") & (table["n_tokens"] >= 9e5)).sum()


def test_a_fit_of_bits_of_a_byte_says_so_on_every_axis(fit, table):
    bits = replace(fit, columns={**fit.columns, "loss": "bits_per_byte"})
    table = table.assign(bits_per_byte=table["loss"], entropy=1.37)
    drawn = [bits.plot(), bits.predict([1e5, 2e5], 5e5).plot(), scaling.plot(table, loss="bits_per_byte")]
    drawn += [getattr(figures, name)(bits) for name in ("loss_by_ratio", "loss_by_teacher", "predicted_and_actual")]
    drawn += [scaling.invert(bits, [1.7, 1.75], d=5e5).plot()]
    drawn += figures.sweep_figure(bits, table).axes[:1]
    for ax in drawn:
        assert "bits/byte" in ax.get_xlabel() + ax.get_ylabel()
        assert "nats" not in ax.get_xlabel() + ax.get_ylabel()
        # The entropy of a token is nowhere beside the loss of a byte.
        assert "exact entropy" not in ax.get_legend_handles_labels()[1]


def test_a_law_is_dashed_beyond_its_runs_and_solid_within(fit):
    ax = fit.plot()
    largest = fit.ranges["n"][1]
    for line in ax.lines:
        x = np.asarray(line.get_xdata(), float)
        x = x[np.isfinite(x)]
        if line.get_linestyle() == "--":
            assert x.max() > largest
        elif line.get_linestyle() == "-" and len(x) > 10:
            assert x.max() == pytest.approx(largest)


def test_a_foreign_table_is_drawn_by_the_columns_that_its_fit_names(table):
    foreign = pd.DataFrame(
        {"C": 6 * table["n_params"] * table["n_tokens"], "N": table["n_params"], "L": table["loss"]}
    )[(table["teacher"] == "real").to_numpy()]
    fit = scaling.fit_law(foreign, law="tied", n="N", columns={"d": "C / (6 * N)", "loss": "L"}, bootstrap=0)
    ax = fit.plot(runs=foreign)
    assert markers(ax) == len(foreign)
    assert ax.get_xlabel() == "N, parameters (N)"


def test_a_fit_without_runs_asks_for_its_table():
    from scaling.predict.recommend.of_published import fit_of_preset

    with pytest.raises(SpecError, match="runs=TABLE"):
        figures.loss_by_size(fit_of_preset("besiroglu"))


def test_residuals_show_each_run_once_by_size_and_by_tokens(fit):
    for by in ("n", "d", "teacher"):
        ax = figures.residuals(fit, by=by)
        assert markers(ax) == fit.n_runs
        assert ax.get_ylabel().endswith("%")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(fit.teachers)
    assert markers(figures.predicted_and_actual(fit)) == fit.n_runs
    with pytest.raises(SpecError, match="by: got 'width', allowed are 'n', 'd', 'teacher'"):
        figures.residuals(fit, by="width")


def test_more_texts_than_there_are_markers_are_all_drawn(fit, table):
    many = table.drop(columns="text_id").assign(teacher=[f"text {i % 12}" for i in range(len(table))])
    ax = figures.predicted_and_actual(fit_of_texts(many))
    assert markers(ax) == len(many)
    assert len(labels(ax)) == 12


def fit_of_texts(table):
    """One law for all of them: their texts differ in name alone."""
    return scaling.fit_law(table.assign(delta_coverage=0.0, delta_noise=0.0), law="q1q2", bootstrap=0, strict=False)


def test_isoloss_contours_hold_the_runs_of_one_text_and_the_frontier(fit):
    ax = figures.isoloss(fit, teacher="noise 0.2")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "best split of compute" in labels(ax)
    assert markers(ax) == sum(fit.runs.columns["teacher"] == list(fit.teachers).index("noise 0.2"))


def test_best_sizes_have_a_band_and_stand_beside_a_published_line(fit):
    from scaling.predict.recommend.of_published import fit_of_preset

    budgets = [1e11, 1e12, 1e13]
    other = scaling.optimal(fit_of_preset("besiroglu"), flops=budgets)
    ax = scaling.optimal(fit, flops=budgets).plot(beside={"besiroglu": other})
    assert ax.get_xlabel() == "training compute, FLOPs"
    assert {"this fit", "besiroglu", "90% of its draws"} <= set(labels(ax))
    assert len(ax.collections) == 1


def test_ratios_and_teachers_show_every_run(fit):
    assert markers(figures.loss_by_ratio(fit, teacher="real")) == fit.n_runs / 3
    ax = figures.loss_by_teacher(fit)
    assert markers(ax) == fit.n_runs
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(fit.teachers)


def test_a_recommendation_shows_its_front_target_budgets_and_tries():
    answer = scaling.recommend("besiroglu", target_loss=3.0, memory_bytes="1GiB")
    ledger = pd.read_csv(REFERENCE / "ledger.csv")
    ax = answer.plot(phones=("mid-8gb",), ledger=ledger)
    assert markers(ax) == len(answer.front) + len(ledger.dropna(subset=["peak_bytes_measured", "loss_measured"])) + 1
    assert {"target 3", "budget: 1024 MiB", "tries of the ledger", "recommended"} <= set(labels(ax))
    assert any(label.startswith("mid-8gb: ") for label in labels(ax))
    parts = answer.choice.footprint.plot()
    assert len(parts.patches) == len(answer.choice.footprint.frame())


def test_the_ledger_marks_what_came_out_of_its_interval():
    ledger = pd.read_csv(REFERENCE / "ledger.csv")
    ax = figures.ledger(ledger)
    assert len(ax.get_yticklabels()) == len(ledger)
    out = (~ledger["loss_in_interval"].eq(True)).sum()
    shown = {line.get_label(): len(line.get_xdata()) for line in ax.lines}
    assert shown.get("measured, outside the interval", 0) == out
    assert figures.hit_rate(ledger).get_ylim() == (0, 1.05)


def test_a_promise_counts_once_however_often_its_student_was_stored_and_run():
    ledger = pd.read_csv(REFERENCE / "ledger.csv")
    again = pd.concat([ledger, ledger.assign(format="onnx", engine="ONNX Runtime 1")], ignore_index=True)
    once, twice = ([text.get_text() for text in figures.hit_rate(one).texts] for one in (ledger, again))
    assert once == twice == ["4 asked"]


def test_colours_are_those_of_the_style_whatever_style_a_figure_is_drawn_in(fit):
    with figures.styled():
        allowed = {to_hex(f"C{i}") for i in range(7)}
    for ax in (figures.ledger(pd.read_csv(REFERENCE / "ledger.csv")), fit.plot(), figures.isoloss(fit)):
        drawn = {to_hex(line.get_color()) for line in ax.lines}
        greys = {colour for colour in drawn if len({colour[1:3], colour[3:5], colour[5:]}) == 1}
        assert drawn - greys <= allowed


def test_damage_shows_every_row_and_the_law():
    table = pd.read_csv(REFERENCE / "damage.csv")
    table = table[table["teacher"] == "real"]
    law = scaling.fit_damage(table)[-1].fit.law
    ax = figures.damage(table, law=law)
    assert ax.get_yscale() == "log"
    assert markers(ax) == len(table)
    assert sum(len(line.get_xdata()) == 61 for line in ax.lines) == table["n_params"].nunique()


def test_forecasts_laws_and_inverses_draw_themselves(fit, table):
    ax = fit.predict(np.geomspace(3e4, 3e6, 20), "1M", force=True).plot()
    assert ax.get_xlabel() == "N, parameters"
    assert any(line.get_linestyle() == "--" for line in ax.lines)
    laws = scaling.compare_laws(table, ["tied", "chinchilla"], where="teacher == 'real'", bootstrap=0)
    assert markers(laws.plot()) == 4
    ax = scaling.invert("besiroglu", [3.0, 2.5, 2.0]).plot()
    assert markers(ax) == 6
    held = scaling.backtest(table, law="q1q2", bootstrap=0)
    assert markers(held.plot()) == held.n_test == len(held.frame())
    assert markers(figures.exponents(fit)) == len(fit.leading.samples) + 1


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_figure_of_a_sweep_is_written_in_each_format(fit, table, tmp_path, ending):
    from scaling.report.figures.sweep import save_sweep_figure

    path = save_sweep_figure(tmp_path / f"fit.{ending}", fit, table)
    assert path.stat().st_size > 5000


def test_runs_against_compute_show_every_run_and_an_envelope_that_never_rises(table):
    real = table[table["teacher"] == "real"]
    ax = figures.loss_by_compute(real)
    assert markers(ax) == len(real)
    envelope = next(line for line in ax.lines if line.get_label() == "best so far")
    assert (np.diff(envelope.get_ydata()) <= 0).all()


def test_training_curves_are_means_of_the_longest_run_of_each_trunk_over_a_frontier_that_never_rises():
    runs = pd.DataFrame({"run_id": list("abc"), "trunk_id": ["t", "t", "u"], "n_params": [1e4, 1e4, 4e4]})
    runs["n_tokens"] = [1e5, 1e6, 1e6]
    tokens = np.geomspace(1e3, 1e6, 600)
    logs = [pd.DataFrame({"run_id": run, "tokens": tokens, "loss": 2 + 300 / tokens**0.5}) for run in "abc"]
    ax = figures.training_curves(pd.concat(logs), runs=runs)
    curves = {line.get_label(): line.get_xydata() for line in ax.lines}
    assert set(curves) == {"N = 10k", "N = 40k", "least so far"}
    assert len(curves["N = 10k"]) == pytest.approx(3 * 12, abs=2)
    assert curves["N = 40k"][-1, 0] > 0.8 * 6 * 4e4 * 1e6
    assert (np.diff(curves["least so far"][:, 1]) <= 0).all()
    assert ax.get_xlabel() == "training compute so far 6ND, FLOPs"


def test_isoflop_parabolas_have_their_minimum_at_the_best_size_of_their_budget():
    budgets, sizes = np.repeat([1e18, 1e19, 1e20], 9), np.tile(np.geomspace(0.2, 5, 9), 3)
    n = sizes * np.sqrt(budgets / 6 / 20)
    d = budgets / 6 / n
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": 2 + 400 * n**-0.35 + 400 * 20**0.35 * d**-0.35})
    ax = figures.isoflop(runs)
    lowest = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(lowest, np.sqrt(np.array([1e18, 1e19, 1e20]) / 120), rtol=0.02)
    assert markers(ax) == len(runs) + 3


def test_basins_mark_the_best_learning_rate_of_each_width():
    runs = pd.read_csv(REFERENCE / "lr_transfer.csv")
    ax = figures.learning_rates(runs)
    best = [line.get_xdata()[0] for line in ax.lines if line.get_label() == "_best"]
    means = runs.groupby(["width", "lr"])["loss"].mean()
    assert best == [means[width].idxmin() for width in sorted(runs["width"].unique())]


def test_the_critical_batch_stands_beside_its_law():
    from scaling.fit.tuning.critical_batch import fit_tradeoff
    from scaling.laws.batch import CriticalBatch

    batches = np.array([1e3, 4e3, 16e3, 64e3, 256e3])
    found = [fit_tradeoff(batches, 1e6 * (1 + batches / crit), loss) for loss, crit in ((2.0, 8e3), (1.8, 3e4))]
    ax = figures.critical_batch(found, law=CriticalBatch(B_star=2e4, alpha_B=0.3, E=1.4))
    assert markers(ax) == 2
    assert set(labels(ax)) == {"measured", "law"}
