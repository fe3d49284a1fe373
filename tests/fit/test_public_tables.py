"""Published laws against the public tables that they were fitted to."""

from types import SimpleNamespace

import numpy as np
import pytest

from scaling.curves.fitter import fit_curve
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import search
from scaling.laws.named import named_law
from scaling.laws.presets import preset
from scaling.laws.schedule import ScheduledRun

pytestmark = pytest.mark.published


@pytest.fixture
def table(published):
    pd = pytest.importorskip("pandas")
    return lambda name: pd.read_csv(published / name)


def columns(**arrays):
    return {name: np.asarray(values, float) for name, values in arrays.items()}


def test_the_published_repetition_constants_score_what_their_authors_report(table):
    runs = table("datablations/runs_parametric_fit_default.csv")
    runs = runs[runs.note.isna()]
    x = columns(n=runs.N, d=runs.D_total_tokens, n_unique_tokens=runs.U_unique_tokens)
    score = {
        name: Objective().value(preset(name).law.loss(**x), runs.val_loss.to_numpy())
        for name in ("muennighoff", "muennighoff-lowest")
    }
    assert score["muennighoff"] == pytest.approx(0.015825936, rel=1e-6)
    assert score["muennighoff-lowest"] <= 0.0158075


def test_five_small_runs_predict_models_seventeen_times_larger(table):
    runs = table("gadre/runs_losses.csv")
    runs = runs[runs.dataset == "rpj"]
    law = preset("gadre-rpj").law
    for n, ratio, error in ((1.44e9, 640, 0.0071), (6.89e9, 20, 0.0073)):
        run = runs[(np.abs(runs.N / n - 1) < 0.01) & (np.abs(runs.D / runs.N / ratio - 1) < 0.05)].iloc[0]
        assert law.loss(n=run.N, d=run.D) / run.loss_c4_val - 1 == pytest.approx(error, abs=1e-4)


def test_the_vocabulary_law_is_refitted_to_an_objective_no_worse_than_published(table):
    runs = table("vocab/runs.csv")
    runs = runs[runs.FLOPs >= 2.18e17]
    v = np.log(runs.vocab_size / 1e3)
    x = columns(
        n=runs.Non_vocab_parameters,
        n_vocab_params=runs.vocab_size * runs.embed_dim,
        d=runs.num_characters * (0.00639222 * v * v - 0.15811069 * v + 1.2047012),
    )
    loss, objective = runs.Lossu.to_numpy(), Objective(log=False)
    found = search(
        Problem(named_law("vocabulary"), SimpleNamespace(**x), loss, np.ones_like(loss), objective), count=12
    )
    law = preset("tao").law
    assert found.value <= objective.value(law.loss(**x), loss)
    np.testing.assert_allclose(found.theta[-2:], [law.alpha, law.alpha_v], rtol=0.02)


def test_the_published_schedule_law_follows_a_cosine_and_a_constant_rate(table):
    law = preset("multi-power-25m").law
    for name in ("constant_72000", "cosine_24000"):
        noted = table(f"lr-schedules/csv_25/{name}.csv")
        lr = np.interp(np.arange(noted.step.iloc[-1] + 1), noted.step, noted.lr)
        lr[:2160] = noted.lr.iloc[0] * np.arange(2160) / 2160
        residual = noted.loss - law.loss(run=ScheduledRun(lr, noted.step))
        assert 1 - np.var(residual) / np.var(noted.loss) > 0.998


def test_dense_models_at_the_end_of_training_follow_the_published_exponent(table):
    runs = table("dense-curves/curves.csv")
    runs = runs[runs.step == runs.step.max()]
    x, loss = SimpleNamespace(**columns(n=runs.dense_parameter_count)), runs.loss_validation.to_numpy()
    found = search(Problem(named_law("kaplan-n"), x, loss, np.ones_like(loss), Objective("squared")), count=8)
    assert found.theta[1] == pytest.approx(preset("clark-dense").law.alpha_N, abs=1e-3)


def test_translation_curves_are_continued_better_than_by_their_last_value(table):
    curves = table("curves92/language.csv")
    errors, last = [], []
    for _, curve in curves[curves.Domain == "NMT"].groupby("Model"):
        seen, asked = curve[curve.Training == 1], curve[curve.Training == 0]
        fit = fit_curve(seen["Seen Examples"].to_numpy(), seen.Loss.to_numpy())
        errors.append(np.abs(np.log(fit.loss(asked["Seen Examples"]) / asked.Loss)).mean())
        last.append(np.abs(np.log(seen.Loss.iloc[-1] / asked.Loss)).mean())
    assert np.mean(errors) < np.mean(last)
