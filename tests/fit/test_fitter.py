"""Fits: recovery, certified optima, refusals, and the Fit as an object."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError, RecordError, SpecError
from scaling.fit.describe import summary
from scaling.fit.fitter import fit
from scaling.fit.saved.files import load, save, to_json
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import make_problem, search
from scaling.fit.stack.versions import PLAIN
from scaling.laws.distillation import Busbridge
from scaling.laws.each_text import SeparateSpeeds
from scaling.laws.named import named_law
from scaling.laws.size_and_data import Chinchilla
from scaling.laws.teacher import FloorAndEffectiveData
from scaling.tables.observe import observe

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
COLUMNS = {"n": "n_params", "d": "n_tokens"}
TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)


def grid(law=TRUTH, noise=0.0, seed=0, sizes=6, volumes=6, **deltas):
    """A sweep with noise shared within each trunk."""
    rng = np.random.default_rng(seed)
    n, d = np.meshgrid(np.geomspace(1e6, 1e9, sizes), np.geomspace(1e8, 1e11, volumes), indexing="ij")
    trunk = np.repeat(np.arange(sizes), volumes)
    loss = law.loss(n=n.ravel(), d=d.ravel(), **deltas)
    shared = rng.normal(0, noise, sizes)[trunk] + rng.normal(0, noise, n.size)
    return pd.DataFrame(
        {"n_params": n.ravel(), "n_tokens": d.ravel(), "loss": loss * np.exp(shared), "trunk_id": trunk}
    )


def teacher_sweep(noise=0.003, seed=0):
    """Real text and two noisy teachers of known divergence, kappa = 1 and c = 0.8."""
    law = FloorAndEffectiveData(**(TRUTH.values | {"kappa": 1.0, "c": 0.8}))
    parts = []
    for i, (teacher, delta) in enumerate({"real": 0.0, "noise-0.2": 0.2, "noise-0.4": 0.4}.items()):
        part = grid(law, noise, seed + i, delta_noise=delta, delta_coverage=0.0)
        parts.append(
            part.assign(teacher=teacher, delta_noise=delta, delta_coverage=0.0, trunk_id=part.trunk_id + 100 * i)
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def small_fit():
    return fit(grid(noise=0.003), law="chinchilla", bootstrap=100)


def test_exact_losses_give_exact_coefficients():
    found = fit(grid(), law="chinchilla", bootstrap=0).params
    for name, value in TRUTH.values.items():
        assert found[name] == pytest.approx(value, rel=1e-6)


def test_noisy_losses_give_the_truth_within_three_standard_errors():
    found = fit(grid(noise=0.003), law="chinchilla", bootstrap=200)
    errors = np.sqrt(np.diag(found.covariance))
    assert (np.abs(found.law.vector - TRUTH.vector) < 3 * errors).all()


def test_every_start_reaches_the_same_optimum_and_a_fit_leaves_it_at_the_first_eight(small_fit):
    found = search(make_problem(Chinchilla(), observe(grid(noise=0.003), columns=COLUMNS), Objective()))
    assert found.reached == found.tried == 32
    assert small_fit.starts == (8, 8)
    assert small_fit.leading.value == pytest.approx(found.value, rel=1e-9)


def test_two_fits_with_one_seed_are_identical():
    one, two = (fit(grid(noise=0.003), law="chinchilla", bootstrap=50, seed=3) for _ in range(2))
    assert to_json(one) == to_json(two)


def test_units_of_the_columns_do_not_change_the_optimum():
    runs = grid(noise=0.003)
    plain = fit(runs, law="chinchilla", bootstrap=0)
    scaled = fit(runs.assign(n_params=runs.n_params * 1e3), law="chinchilla", bootstrap=0)
    assert scaled.leading.value == pytest.approx(plain.leading.value, rel=1e-9)
    assert scaled.params["alpha"] == pytest.approx(plain.params["alpha"], rel=1e-6)


def test_a_floor_is_no_higher_than_what_a_student_of_that_text_measured():
    runs = teacher_sweep()
    found = fit(runs[runs.n_tokens <= runs.n_tokens.median()], bootstrap=0)
    lowest = runs[runs.n_tokens <= runs.n_tokens.median()].groupby("teacher").loss.min()
    for text in found.teachers:
        floor, limit = found.floor(text), found.predict(math.inf, math.inf, teacher=text, force=True)
        assert floor.high == max(floor.value, min(limit.high, lowest[text]))
        assert (floor.value, floor.low) == (limit.value, limit.low)
    several = found.floor(delta_noise=np.array([0.0, 0.2]))
    assert np.shape(several.high) == (2,)


def test_noise_teachers_are_fitted_by_the_form_that_made_them():
    found = fit(teacher_sweep(), law="auto", bootstrap=200)
    assert found.law.name == "q1q2"
    assert found.params["kappa"] == pytest.approx(1.0, abs=0.1)
    assert found.params["E"] == pytest.approx(1.7, rel=0.05)
    low, high = found.interval(0.9)["kappa"]
    assert low < found.params["kappa"] < high
    assert found.floor("noise-0.4").value == pytest.approx(found.params["E"] + 0.4 * found.params["kappa"], rel=1e-9)


def test_a_teacher_form_is_averaged_over_two_bases_and_two_windows_as_they_are():
    found = fit(teacher_sweep(), bootstrap=0)
    members = [(member.law.label, member.version.window) for member in found.members]
    assert members == [("q1q2", 1), ("q1q2", 0.5), ("tied-skaling+q1q2", 1), ("tied-skaling+q1q2", 0.5)]
    assert [member.weight for member in found.members] == [0.25] * 4
    assert (found.law, found.leading.version) == (found.members[0].law, PLAIN), "coefficients are those of all runs"
    asked = {
        "n": np.array([1e10]),
        "d": np.array([1e12]),
        "delta_noise": np.array([0.2]),
        "delta_coverage": np.zeros(1),
    }
    each = [member.law.loss(**asked)[0] for member in found.members]
    mean = found.predict(1e10, 1e12, delta_noise=0.2, delta_coverage=0.0, given="law").value
    assert mean == pytest.approx(math.prod(each) ** (1 / 4))


def test_a_base_without_the_held_coefficient_is_not_averaged():
    found = fit(teacher_sweep(), held={"beta": TRUTH.beta}, bootstrap=0)
    assert {member.law.label for member in found.members} == {"q1q2"}
    assert len(fit(teacher_sweep(), held={"E": TRUTH.E}, bootstrap=0).members) == 4


def test_a_base_of_a_teacher_form_whose_floor_is_zero_stays_in_the_average():
    law = named_law("q1", base="tied-skaling").with_values(
        {"E": 0.0, "A": 15.0, "R": 8.0, "alpha": 0.5, "k": 0.2, "kappa": 1.0}
    )
    parts = [
        grid(law, noise=0.003, seed=i, delta_noise=delta, delta_coverage=0.0).assign(
            teacher=teacher, delta_noise=delta, delta_coverage=0.0
        )
        for i, (teacher, delta) in enumerate({"real": 0.0, "noise 0.2": 0.2}.items())
    ]
    runs = pd.concat(parts, ignore_index=True).drop(columns="trunk_id")
    runs["loss"] -= 0.4  # so the lowest that E may be is too high
    found = fit(runs, bootstrap=0, strict=False)
    coupled = next(m for m in found.members if m.law.label == "tied-skaling+q1")
    assert "E" in coupled.at_bound
    assert coupled.weight == 0.25
    # Without end its loss is zero, of which the mean takes no more than half of what the first says.
    assert found.params["E"] / 2 <= found.floor().value <= found.params["E"]
    assert found.floor().low > 0


def test_no_resampling_leaves_a_text_without_a_run():
    # Of SmolLM2's text there are two trainings among 21: every eighth resampling would have neither.
    runs = pd.read_csv(REFERENCE / "prose_accelerator.csv")
    found = fit(runs, law="q5", bootstrap=200)
    low, high = found.interval(0.9)["delta[pretrained smollm2 prompt 64]"]
    assert low < found.params["delta[pretrained smollm2 prompt 64]"] < high < 3


def test_kinds_of_targets_share_a_floor_and_have_each_a_speed_of_its_own():
    speeds = {"distribution": (4000.0, 0.45), "tokens": (1200.0, 0.36)}
    own = {f"{name}[{q}]": v for q, pair in speeds.items() for name, v in zip(("B", "beta"), pair, strict=True)}
    law = SeparateSpeeds(teachers=tuple(speeds), E=1.7, kappa=1.0, A=400.0, alpha=0.34, **own)
    parts = []
    for code, kind in enumerate(speeds):
        for delta in (0.0, 0.2):
            part = grid(law, teacher=code, delta_noise=delta, delta_coverage=0.0)
            trunk_id = part["trunk_id"] + 10 * len(parts)
            parts.append(part.assign(teacher=kind, delta_noise=delta, trunk_id=trunk_id))
    found = fit(pd.concat(parts, ignore_index=True), law="qt", bootstrap=0)
    assert found.params == pytest.approx(law.values, rel=1e-5)


def test_a_coefficient_that_ends_on_its_bound_is_one_that_its_law_takes():
    data = observe(grid(), columns=COLUMNS)
    law = Busbridge()
    x = data.inputs(("n", "d")).__dict__ | {"teacher_loss": np.zeros(len(data))}
    problem = Problem(law, SimpleNamespace(**x), data.loss, np.ones(len(data)))
    for ends in (problem.low, problem.high):
        law.with_values(np.where(np.isfinite(ends), problem.decode(ends), 1.0))


def test_texts_are_told_apart_by_their_id_whatever_they_are_called():
    sizes = {"n_params": [1e5, 2e5, 3e5, 4e5, 5e5], "n_tokens": [1e6, 2e6, 3e6, 4e6, 5e6], "loss": [4, 3, 3.5, 3, 2.9]}
    table = pd.DataFrame(sizes).assign(
        teacher=["real", "noise 0.2", "noise 0.2", "noise 0.2", "real"],
        text_id=["r1", "a", "b", "a", "r2"],
        delta_noise=[0, 0.1, 0.3, 0.1, 0],
    )
    data = observe(table, columns=COLUMNS)
    assert data.teachers == ("real", "noise 0.2 (a)", "noise 0.2 (b)")
    assert data.teacher.tolist() == [0, 1, 2, 1, 0]
    assert data.texts == {"r1": "real", "a": "noise 0.2 (a)", "b": "noise 0.2 (b)", "r2": "real"}
    older = observe(table.drop(columns="text_id"), columns=COLUMNS)
    assert older.teachers == ("real", "noise 0.2")
    assert older.texts == {}


def test_teachers_of_unknown_divergence_get_one_floor_each():
    runs = teacher_sweep().drop(columns=["delta_noise", "delta_coverage"])
    found = fit(runs, bootstrap=0)
    assert "delta" in repr(found.law)
    found = fit(runs, law="q1", bootstrap=0)
    assert found.params["delta[noise-0.4]"] > found.params["delta[noise-0.2]"] > 0.1
    assert found.predict(1e8, 1e10, teacher="noise-0.4").value > found.predict(1e8, 1e10).value


def test_known_entropy_can_be_held():
    found = fit(grid(noise=0.003), law="chinchilla", held={"E": 1.7}, bootstrap=20)
    assert found.params["E"] == 1.7
    assert (found.leading.samples[:, 0] == 1.7).all()


def test_a_diverged_run_is_excluded_and_listed():
    runs = grid(noise=0.003).assign(status="done")
    runs.loc[3, ["status", "loss"]] = ["diverged", np.nan]
    found = fit(runs, law="chinchilla", bootstrap=0)
    assert found.n_runs == 35
    assert found.excluded == ({"row": 3, "reason": "status diverged"},)
    assert "excluded row 3" in summary(found)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda runs: runs.assign(loss=runs.loss.where(runs.index != 4, np.nan)), "row 4: nan"),
        (lambda runs: runs.assign(loss=runs.loss.where(runs.index != 5, -1.0)), "row 5: -1"),
        (lambda runs: runs.assign(loss=runs.loss.where(runs.index != 6, np.inf)), "row 6: inf"),
        (lambda runs: runs.assign(loss=runs.loss.where(runs.index != 7, 0.0)), "row 7: 0"),
        (
            lambda runs: runs.assign(loss=runs.loss.astype(object).where(runs.index != 8, "2.5 nats")),
            "row 8: '2.5 nats'",
        ),
        (lambda runs: runs.assign(n_params=runs.n_params / 1e9), "seems to count in"),
        (lambda runs: runs.assign(n_tokens=runs.n_tokens.where(runs.index > 9, runs.n_tokens / 1e9)), "mixes units"),
        (lambda runs: pd.concat([runs, runs.iloc[:2]], ignore_index=True), "rows 0, 1, 36, 37 have identical values"),
        (lambda runs: runs.drop(columns="loss"), "no column 'loss'"),
        (lambda runs: runs.iloc[:0], "no rows"),
    ],
)
def test_bad_values_are_refused_with_their_rows(change, what):
    with pytest.raises(RecordError, match=what):
        fit(change(grid(noise=0.003)), law="chinchilla", bootstrap=0)


def test_fewer_runs_than_coefficients_are_refused():
    with pytest.raises(FitError, match="5 runs cannot determine the 5 coefficients"):
        fit(grid(noise=0.003).iloc[[0, 1, 7, 14, 21]], law="chinchilla", bootstrap=0)


def test_runs_at_one_tokens_per_parameter_are_refused_with_the_runs_to_add():
    n = np.geomspace(1e6, 1e9, 12)
    runs = pd.DataFrame({"n_params": n, "n_tokens": 20 * n, "loss": TRUTH.loss(n=n, d=20 * n)})
    with pytest.raises(FitError, match=r"D = 20 N.*Add runs off that line: N = 1e\+06 at D = 8e\+07") as caught:
        fit(runs, law="chinchilla", bootstrap=0)
    assert not caught.value.fit.status.identified


def test_two_sizes_are_refused_with_the_size_to_add():
    runs = grid(noise=0.003)
    with pytest.raises(FitError, match="Only 2 model sizes.*add runs at"):
        fit(runs[runs.n_params < 5e6], law="chinchilla", bootstrap=0)


def test_a_refusal_says_what_is_odd_of_the_table():
    runs = grid(noise=0.003).assign(vocab_size=[257, 1024] * 18)
    with pytest.raises(FitError, match=r"add runs at .* Note: column 'loss' is of tokens of 2 vocabularies"):
        fit(runs[runs.n_params < 5e6], law="chinchilla", bootstrap=0)


def test_losses_that_are_all_one_number_are_refused_by_their_column():
    with pytest.raises(RecordError, match="column 'loss' holds 2 in all 36 rows.*--map loss=COLUMN"):
        fit(grid(noise=0.003).assign(loss=2.0), law="kaplan-nd", bootstrap=0)


def test_a_rejected_fit_can_be_inspected_when_not_strict():
    runs = grid(noise=0.003)
    rejected = fit(runs[runs.n_params < 5e6], law="chinchilla", bootstrap=0, strict=False)
    assert not rejected.success
    assert "NOT USABLE" in repr(rejected)


def test_an_unknown_held_coefficient_is_refused():
    with pytest.raises(SpecError, match="cannot hold 'entropy'"):
        fit(grid(), law="chinchilla", held={"entropy": 1.0})


def test_a_saved_fit_predicts_the_same(small_fit, tmp_path):
    save(small_fit, tmp_path / "fit.json")
    again = load(tmp_path / "fit.json")
    assert again.law == small_fit.law
    before, after = small_fit.predict([1e9, 1e10], 1e12), again.predict([1e9, 1e10], 1e12)
    np.testing.assert_allclose(after.value, before.value, rtol=1e-12)
    np.testing.assert_allclose(after.low, before.low, rtol=1e-6)
    assert again.status == small_fit.status


def test_saved_fits_of_other_programs_are_refused(small_fit, tmp_path):
    content = json.loads(to_json(small_fit), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(content | {"schema_version": 99}))
    with pytest.raises(RecordError, match="schema version 99, this program reads 1 and 2"):
        load(path)


def test_probability_and_interval_are_of_one_distribution(small_fit):
    forecast = small_fit.predict(1e10, 1e11, level=0.8)
    assert small_fit.probability(forecast.high, 1e10, 1e11) == pytest.approx(0.9, abs=2e-3)
    assert small_fit.probability(forecast.low, 1e10, 1e11) == pytest.approx(0.1, abs=2e-3)


def test_doubt_and_reach_grow_beyond_the_data(small_fit):
    inside, outside = small_fit.predict(1e8, 1e10), small_fit.predict(1e12, 1e14, force=True)
    assert inside.reach == {"n": 1.0, "d": 1.0}
    assert outside.reach["n"] == pytest.approx(1e3)
    assert outside.scale > inside.scale


def test_impossible_questions_are_refused(small_fit):
    with pytest.raises(SpecError, match="level"):
        small_fit.predict(1e8, 1e9, level=90)
    with pytest.raises(SpecError, match="n must be positive"):
        small_fit.predict(-1.0, 1e9)
    with pytest.raises(SpecError, match="unknown teacher 'gpt'"):
        small_fit.predict(1e8, 1e9, teacher="gpt")


def test_reading_a_fit_and_predicting_load_neither_scipy_nor_pandas(small_fit, tmp_path):
    save(small_fit, tmp_path / "fit.json")
    code = (
        "import sys; from scaling.fit.saved.files import load; "
        f"load({str(tmp_path / 'fit.json')!r}).predict(1e9, 1e11); "
        "print([name for name in ('scipy', 'pandas', 'jax', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_sizes_and_two_volumes_leave_a_constant_between_the_terms_even_where_e_is_known():
    n, d = (grid.ravel() for grid in np.meshgrid([1e4, 4e4], [1e5, 4e5]))
    n, d = np.tile(n, 2), np.tile(d, 2)
    noise = 1 + 1e-3 * np.random.default_rng(0).standard_normal(n.size)
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": (1.4 + 8 * n**-0.3 + 90 * d**-0.4) * noise})
    with pytest.raises(FitError, match="A grid of 2 model sizes and 2 data volumes tells 3 numbers, the law has 4"):
        fit(runs, law="chinchilla", held={"E": 1.4})
    found = fit(runs, law="chinchilla", held={"E": 1.4, "alpha": 0.3})
    assert found.params["A"] == pytest.approx(8, rel=0.1)
    assert found.params["beta"] == pytest.approx(0.4, rel=0.1)


@pytest.mark.parametrize("value", [-5.0, float("nan"), float("inf")])
def test_a_coefficient_is_not_held_where_its_bounds_would_change_it(value):
    with pytest.raises(SpecError, match="cannot hold E of 'chinchilla' at .*allowed is a finite number from 0"):
        fit(grid(), law="chinchilla", held={"E": value})


@pytest.mark.parametrize(
    "losses", [[True] * 30, [[1.0]] * 30, [pd.Timestamp("2020")] * 30, ["x" * 10_000] * 30], ids=type
)
def test_what_is_no_number_is_no_loss_and_is_named_in_few_words(losses):
    runs = grid().iloc[:30].reset_index(drop=True)
    with pytest.raises(RecordError, match="something else where a number belongs: row 0") as refused:
        fit(runs.assign(loss=pd.Series(losses)), law="chinchilla")
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(("law", "delta"), [("chinchilla", 1e-3), ("stack", 1e-2)])
def test_runs_are_taken_for_off_from_a_thousandth_under_one_form_and_from_a_hundredth_under_many(law, delta):
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 5)))
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": 1.7 + 400 / n**0.34 + 1200 / d**0.36})
    assert fit(runs, law=law, bootstrap=0, starts=4, strict=False).objective.delta == delta


@pytest.mark.parametrize("shape", ["line", "one size", "one volume", "two sizes"])
def test_a_table_of_five_runs_is_fitted_or_refused_in_a_sentence(shape):
    n, d = np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 5)
    n = {"one size": np.full(5, 1e7), "two sizes": np.array([1e6, 1e6, 1e7, 1e7, 1e7])}.get(shape, n)
    d = np.full(5, 1e9) if shape == "one volume" else d
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": 1.7 + 400 / n**0.34 + 1200 / d**0.36})
    with pytest.raises(FitError, match=r"needs 3|cannot be told apart"):
        fit(runs)


def test_losses_that_rise_with_size_and_data_are_no_law():
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 5)))
    loss = (1.7 + 400 / n**0.34 + 1200 / d**0.36)[::-1]
    with pytest.raises(FitError, match="Loss does not fall with N and D in these runs"):
        fit(pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss}), bootstrap=20)


def test_losses_too_small_to_compute_with_are_refused():
    runs = pd.DataFrame({"n_params": [1e6, 1e7, 1e8], "n_tokens": [1e9, 1e8, 1e10], "loss": [3e-200, 2e-200, 1e-200]})
    with pytest.raises(RecordError, match="at least 1e-60"):
        fit(runs)


@pytest.mark.parametrize("law", ["chinchilla", "stack"])
def test_flops_under_the_name_of_a_loss_are_refused_without_a_warning(law):
    runs = grid(noise=0.003)
    with pytest.raises(RecordError, match="column 'flops' holds numbers about .* no losses in any unit"):
        fit(runs.assign(flops=6 * runs.n_params * runs.n_tokens), law=law, loss="flops")
