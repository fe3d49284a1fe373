"""Stacks, calibration, backtests, designs, frontiers and profiles."""

import re

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError, RecordError
from scaling.fit.backtest import backtest
from scaling.fit.describe import summary
from scaling.fit.design import design
from scaling.fit.fitter import fit
from scaling.fit.select import candidate_forms
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import make_problem, search
from scaling.fit.stack.solve import fit_versions
from scaling.fit.stack.validate import size_ordered_cuts
from scaling.fit.stack.versions import PLAIN
from scaling.laws.named import named_law
from scaling.laws.size_and_data import Chinchilla
from scaling.tables.observe import observe
from scaling.tables.read import read_runs

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)


def sweep(sizes=8, volumes=8, noise=0.004, seed=0):
    rng = np.random.default_rng(seed)
    n, d = np.meshgrid(np.geomspace(1e6, 1e9, sizes), np.geomspace(1e8, 1e11, volumes), indexing="ij")
    trunk = np.repeat(np.arange(sizes), volumes)
    shared = rng.normal(0, noise / 2, sizes)[trunk] + rng.normal(0, noise, n.size)
    loss = TRUTH.loss(n=n.ravel(), d=d.ravel()) * np.exp(shared)
    return pd.DataFrame({"n_params": n.ravel(), "n_tokens": d.ravel(), "loss": loss, "trunk_id": trunk})


@pytest.fixture(scope="module")
def stacked():
    return fit(sweep(), bootstrap=100)


def test_a_stack_is_the_average_of_its_members_logarithms_by_weight(stacked):
    assert len(stacked.members) > 4
    logs = [member.weight * np.log(float(member.law.loss(n=1e9, d=1e11))) for member in stacked.members]
    assert stacked.predict(1e9, 1e11, given="law").value == pytest.approx(np.exp(sum(logs)))


def test_the_report_tells_each_form_of_a_stack_once_with_its_whole_weight(stacked):
    line = next(line for line in summary(stacked).splitlines() if "average of" in line)
    told = re.findall(r"(\d\.\d\d) [^(]+\((\w+)\)", line)
    assert len({name for _, name in told}) == len(told) < len(stacked.members)
    for weight, name in told:
        assert float(weight) == pytest.approx(sum(m.weight for m in stacked.members if m.law.label == name), abs=0.006)


def test_intervals_are_learned_from_held_out_runs_where_there_are_enough(stacked):
    assert stacked.calibration.basis == "held-out"
    assert stacked.calibration.n_scores > 30
    assert stacked.backtest["n_test"] == stacked.calibration.n_scores


@pytest.mark.slow
@pytest.mark.parametrize("law", ["chinchilla", "skaling"])
def test_validation_fits_end_where_a_full_search_of_the_same_runs_ends(law):
    data = observe(sweep(), columns={"n": "n_params", "d": "n_tokens"})
    cuts = size_ordered_cuts(data, most=6)
    assert len(cuts) >= 6
    batch = fit_versions(named_law(law), data, Objective(), versions=[PLAIN], cuts=cuts)
    for i, cut in enumerate(cuts, start=1):
        alone = search(make_problem(named_law(law), data.select(cut.small), Objective()))
        assert batch.value[0, i] <= alone.value * (1 + 1e-6)


def test_forecasts_of_larger_runs_are_covered_as_often_as_promised():
    inside = []
    for seed in range(6):
        result = backtest(sweep(seed=seed), train="n_params < 3e8 and n_tokens < 3e10", bootstrap=60, law="chinchilla")
        inside += [row["inside"] for row in result.rows]
    assert 0.8 < np.mean(inside) < 0.99


def test_a_backtest_reports_every_held_out_row():
    result = backtest(sweep(), train="n_params < 2e8", test="n_params > 5e8", bootstrap=60)
    assert result.n_test == len(result.rows) == 8
    assert result.mare == pytest.approx(
        np.mean([abs(r["forecast"] - r["measured"]) / r["measured"] for r in result.rows])
    )
    assert result.coverage == np.mean([r["low"] <= r["measured"] <= r["high"] for r in result.rows])


def test_a_backtest_refuses_a_run_in_both_parts_and_an_empty_part():
    with pytest.raises(RecordError, match="in both train"):
        backtest(sweep(), train="n_params < 2e8", test="n_params > 1e8")
    with pytest.raises(RecordError, match="keeps 0: both need"):
        backtest(sweep(), train="n_params < 1e9", test="n_params > 1e12")


OFF = {
    "failed, without a size": {"status": "failed", "n_params": np.nan},
    "failed, without tokens": {"status": "crashed", "n_tokens": np.nan},
    "the largest, but diverged": {"status": "diverged", "n_tokens": 1e13},
    "the largest, but from other weights": {"start_tokens": 1e9, "n_tokens": 1e13},
    "the largest, but of another aim": {"aims_at_loss": False, "n_tokens": 1e13},
}


@pytest.mark.parametrize("off", OFF.values(), ids=OFF)
def test_what_is_held_back_by_default_is_the_largest_quarter_of_the_runs_that_a_fit_uses(off):
    runs = sweep(4, 4).assign(status="finished", start_tokens=0.0, aims_at_loss=True)
    lone = runs.iloc[:1].assign(**off)
    asked = {"law": "chinchilla", "bootstrap": 0, "starts": 8}
    alone, beside = backtest(runs, **asked), backtest(pd.concat([runs, lone]), **asked)
    assert (beside.n_train, beside.n_test) == (alone.n_train, alone.n_test) == (13, 3)
    assert [row["forecast"] for row in beside.rows] == [row["forecast"] for row in alone.rows]


def test_checkpoints_of_a_run_that_is_held_back_are_not_fitted_as_if_they_were_its_end():
    ends = sweep(4, 4).assign(run_id=[f"r{i}" for i in range(16)])
    on_the_way = ends.assign(n_tokens=ends["n_tokens"] / 2, loss=1.2 * ends["loss"])
    found = backtest(pd.concat([ends, on_the_way], ignore_index=True), law="chinchilla", bootstrap=0, starts=8)
    assert found.n_train + found.n_test == len(ends)
    assert found.mare < 0.02


def test_runs_of_one_size_have_no_largest_quarter_to_hold_back():
    one = sweep(1, 1)
    with pytest.raises(RecordError, match="has 0 rows and the rest 12.*both need at least one"):
        backtest(pd.concat([one] * 12).assign(run_id=range(12)))


def test_a_backtest_tells_texts_of_one_label_by_their_ids_where_one_of_them_is_held_out():
    texts = [sweep(noise=1e-4).assign(teacher="small", text_id=text) for text in "ab"]
    texts[1]["loss"] += 0.3
    table = pd.concat(texts, ignore_index=True)
    held_out = "n_params > 5e8 and text_id == 'b'"
    assert backtest(table, train="n_params < 5e8", test=held_out, law="q1", bootstrap=0).mare < 0.01


def test_a_backtest_passes_what_any_law_of_the_average_reads_of_a_text():
    near = [sweep(5, 5, seed=seed).assign(teacher=text, delta_noise=0.0) for seed, text in enumerate("ab")]
    far = near[1].iloc[-1:].assign(teacher="c", delta_noise=0.3)
    near[1]["delta_noise"] = 0.01
    table = pd.concat([*near, far], ignore_index=True)
    found = backtest(table, train="teacher != 'c'", test="teacher == 'c'", bootstrap=0)
    assert found.fit.law.name == "q0", "the leading law reads no divergence, another of the average does"
    told, untold = (
        found.fit.predict(1e9, 1e11, given="law", force=True, **text) for text in ({"delta_noise": 0.3}, {})
    )
    assert found.rows[0]["high"] == pytest.approx(told.high, rel=0.01)
    assert told.high > 1.02 * untold.high


def test_a_limit_is_as_sure_as_what_comes_near_it(stacked):
    for at, near in (((np.inf, np.inf), (1e90, 1e90)), ((1e9, np.inf), (1e9, 1e90))):
        limit, finite = (stacked.predict(*point, force=True) for point in (at, near))
        assert (limit.value, limit.scale) == pytest.approx((finite.value, finite.scale), rel=1e-3)
    assert stacked.floor().low > 0.8 * TRUTH.E


def test_a_bound_on_one_side_only_is_said_so():
    # Data so ample that its term hardly shows: beta has no upper end.
    n, d = np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e14, 1e15, 5), indexing="ij")
    rng = np.random.default_rng(0)
    loss = TRUTH.loss(n=n.ravel(), d=d.ravel()) * np.exp(rng.normal(0, 0.003, n.size))
    runs = pd.DataFrame({"n_params": n.ravel(), "n_tokens": d.ravel(), "loss": loss})
    found = fit(runs, law="chinchilla", bootstrap=0, profiles=["alpha", "beta"], strict=False)
    assert found.profiles["beta"]["high"] is None
    assert "not identified" in found.profiles["beta"]["text"]
    assert found.profiles["alpha"]["low"] < 0.34 < found.profiles["alpha"]["high"]


def test_a_design_predicts_the_errors_that_simulated_sweeps_show():
    plan = sweep()
    expected = design(plan, law=TRUTH, noise=0.004, trunk_noise=0.002)
    found = []
    for seed in range(30):
        data = observe(sweep(seed=seed), columns={"n": "n_params", "d": "n_tokens"})
        problem = make_problem(Chinchilla(), data, Objective("squared"))
        found.append(search(problem, count=4).theta[3])
    assert np.std(found) == pytest.approx(expected.errors["alpha"], rel=0.4)


def test_a_design_at_one_tokens_per_parameter_is_faulted_before_any_training():
    n = np.geomspace(1e6, 1e9, 10)
    planned = design(
        pd.DataFrame({"n_params": n, "n_tokens": 20 * n}), law=TRUTH, forecast={"large": {"n": 1e10, "d": 2e11}}
    )
    assert "D = 20 N" in planned.faults[0]
    good = design(sweep(), law=TRUTH, forecast={"large": {"n": 1e10, "d": 2e11}})
    assert good.faults == ()
    assert good.errors["alpha"] < planned.errors["alpha"] / 20


def test_forms_that_fit_equally_are_reported_as_tied():
    rng = np.random.default_rng(0)
    runs = pd.concat(
        [sweep(5, 5).assign(teacher=t, delta_noise=x, delta_coverage=0.0) for t, x in (("real", 0.0), ("q", 0.005))]
    )
    runs["loss"] = TRUTH.loss(n=runs.n_params.to_numpy(), d=runs.n_tokens.to_numpy()) * np.exp(
        rng.normal(0, 0.02, len(runs))
    )
    found = fit(runs.reset_index(drop=True), law="auto", bootstrap=0, strict=False)
    tied = [row["law"] for row in found.selection if row["delta_aicc"] < 4]
    assert len(tied) > 1
    assert "tied within 4 AICc" in summary(found)


def test_a_table_with_odd_columns_is_read_by_expressions(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("Model Size,C,val,set\n1e7,6e16,3.1,a\n2e7,6e17,2.9,b\n")
    runs = read_runs(
        path, map={"n": "`Model Size`", "d": "C / (6 * n)", "loss": "val"}, where="set in ['a'] and n < 1.5e7"
    )
    assert list(runs.d) == [1e9]
    assert list(runs.index) == [2]


@pytest.mark.parametrize(
    "expression", ["__import__('os').system('true')", "n.__class__", "(lambda: 1)()", "[x for x in n]", "n if n else d"]
)
def test_expressions_never_run_code(tmp_path, expression):
    path = tmp_path / "runs.csv"
    path.write_text("n,d\n1,2\n")
    with pytest.raises(RecordError, match="allowed are"):
        read_runs(path, where=expression)


def test_unknown_columns_in_expressions_suggest_the_right_one(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("n_params,d\n1,2\n")
    with pytest.raises(RecordError, match="did you mean 'n_params'"):
        read_runs(path, map={"n": "n_param * 1.0"})


def test_forms_follow_from_the_columns_of_the_table():
    runs = pd.concat(
        [
            sweep(3, 4).assign(teacher=t, delta_noise=x, delta_coverage=c)
            for t, x, c in (("real", 0, 0), ("a", 0.2, 0), ("b", 0, 0.2))
        ]
    )
    runs["trunk_id"] = runs.teacher + runs.trunk_id.astype(str)
    columns = {"n": "n_params", "d": "n_tokens"}
    data = observe(runs.reset_index(drop=True), columns=columns)
    assert [form.name for form in candidate_forms(data)] == ["q0", "q1", "q2", "q1q2", "q5", "q7"]
    noise = data.select(data.columns["delta_coverage"] == 0)
    assert "q7" not in [form.name for form in candidate_forms(noise)]


@pytest.mark.parametrize(
    ("kept", "law", "what"),
    [(6, "stack", "4 runs cannot .* add 1 run at least"), (6, "chinchilla", "add 2 runs at least")],
)
def test_a_backtest_of_too_few_runs_says_how_many_of_them_were_held_out(kept, law, what):
    with pytest.raises(FitError, match=f"^2 of {kept} runs were held out to be forecast, and of the others: .*{what}"):
        backtest(sweep().iloc[:: 64 // kept].iloc[:kept], law=law, bootstrap=0)
