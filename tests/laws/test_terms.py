"""Terms on a base law: limits that the papers state, exact derivatives, recovery of known coefficients."""

from types import SimpleNamespace

import numpy as np
import pytest

from scaling.curves.schedules import fit_schedules
from scaling.errors import FitError, RecordError, SpecError
from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import search
from scaling.laws.batch import CriticalBatch
from scaling.laws.named import named_law
from scaling.laws.over_training import OverTrained
from scaling.laws.precision import KumarDamage, LowPrecision, Quantized, RoundingNoise
from scaling.laws.published.rules import Rule
from scaling.laws.repetition import Repeated
from scaling.laws.schedule import MultiPower, ScheduledRun
from scaling.laws.size_and_data import Chinchilla

BASE = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.36}
REPEATED = Repeated(**BASE, R_D=15.0, R_N=5.0)
DAMAGE = {"C_T": 0.06, "gamma_D": 0.5, "gamma_N": 0.34, "gamma_post": 0.6}


def test_one_pass_over_enough_text_is_the_base_law():
    n, d = 1e7, 1e9
    assert REPEATED.loss(n=n, d=d, n_unique_tokens=1e9) == pytest.approx(Chinchilla(**BASE).loss(n=n, d=d), rel=1e-12)
    assert REPEATED.loss(n=n, d=d, n_unique_tokens=1e12) == pytest.approx(Chinchilla(**BASE).loss(n=n, d=d), rel=1e-12)


def test_repetition_is_worth_less_and_less_and_never_more_than_its_limit():
    worth = []
    for epochs in (4, 16, np.inf):
        loss = REPEATED.with_values(BASE | {"R_D": 15.387756, "R_N": 5.0}).loss(
            n=1e6, d=1e9 * epochs, n_unique_tokens=1e9
        )
        size_term = BASE["A"] * 1e6 ** -BASE["alpha"]
        worth.append(((loss - BASE["E"] - size_term) / BASE["B"]) ** (-1 / BASE["beta"]) / 1e9)
    np.testing.assert_allclose(worth, [3.73, 10.6, 16.4], atol=0.05)


def test_repetition_is_recovered_from_simulated_runs():
    rng = np.random.default_rng(0)
    n, u, epochs = np.meshgrid([2e7, 1e8, 5e8], [1e8, 1e9], [1, 3, 10, 40, 200])
    x = SimpleNamespace(n=n.ravel(), d=(u * epochs).ravel(), n_unique_tokens=u.ravel())
    loss = REPEATED.evaluate(REPEATED.vector, x) * np.exp(1e-3 * rng.normal(size=x.n.size))
    problem = Problem(named_law("repeated"), x, loss, np.ones_like(loss), Objective("squared"), tuple(BASE))
    found = search(problem, held=BASE, count=8)
    np.testing.assert_allclose(found.theta[-2:], [15.0, 5.0], rtol=0.05)


def test_terms_stand_on_any_additive_base():
    tied = named_law("tied+repeated").with_values(
        {"E": 1.8, "A": 500.0, "B": 1500.0, "alpha": 0.35, "R_D": 15.0, "R_N": 5.0}
    )
    assert tied.loss(n=1e8, d=4e9, n_unique_tokens=1e9) > tied.loss(n=1e8, d=4e9, n_unique_tokens=4e9)
    with pytest.raises(SpecError, match="no additive floor"):
        named_law("kaplan-nd+repeated")


def test_exact_arithmetic_does_no_damage():
    law = Quantized(**BASE, **DAMAGE)
    assert law.loss(n=1e8, d=1e10, bits=np.inf) == Chinchilla(**BASE).loss(n=1e8, d=1e10)
    trained = LowPrecision(**BASE, g_w=2.7, g_a=2.2, g_kv=1.0, **DAMAGE)
    exact = {"bits_weights": np.inf, "bits_activations": np.inf, "bits_cache": np.inf, "bits": np.inf}
    assert trained.loss(n=1e8, d=1e10, **exact) == Chinchilla(**BASE).loss(n=1e8, d=1e10)


def test_damage_grows_with_tokens_per_parameter_and_falls_with_bits():
    law = KumarDamage(**DAMAGE)
    assert law.loss(n=1e8, d=1e11, bits=3) > law.loss(n=1e8, d=1e10, bits=3) > law.loss(n=1e9, d=1e10, bits=3)
    bits = law.inverse("bits", 0.01, n=1e8, d=1e10)
    assert law.loss(n=1e8, d=1e10, bits=bits) == pytest.approx(0.01, rel=1e-9)


def test_rounding_noise_falls_by_the_square_of_the_steps_and_may_fall_with_tokens():
    law = RoundingNoise(k=7350.0, b=-0.1, a=0.6)
    four, eight = law.loss(n=1e5, d=1e6, bits=4), law.loss(n=1e5, d=1e6, bits=8)
    assert four / eight == pytest.approx((255 / 15) ** 2)
    assert law.loss(n=1e5, d=1e7, bits=4) < four
    assert law.inverse("bits", four, n=1e5, d=1e6) == pytest.approx(4)


def test_the_over_trained_form_is_the_tied_law_in_other_coordinates():
    A, B, alpha, E = 166.2, 366.7, 0.2729, 1.8366
    law = OverTrained(E=E, a=A * 6 ** (alpha / 2), b=B * 6 ** (alpha / 2), eta=alpha / 2)
    n, m = 4e8, 40.0
    loss = law.loss(c=6 * n * n * m, tokens_per_parameter=m)
    assert loss == pytest.approx(E + A / n**alpha + B / (n * m) ** alpha, rel=1e-12)


def test_the_critical_batch_halves_the_two_efficiencies():
    law = CriticalBatch(B_star=2e8, alpha_B=0.21)
    loss = 3.0
    at_critical = {"batch_tokens": law.tokens(loss), "loss": loss}
    assert law.s_min(1000, **at_critical) == pytest.approx(500)
    assert law.e_min(1e20, **at_critical) == pytest.approx(5e19)
    batch, steps = 1e6, 1e4
    s_min, e_min = (
        law.s_min(steps, batch_tokens=batch, loss=loss),
        law.e_min(batch * steps, batch_tokens=batch, loss=loss),
    )
    assert (steps / s_min - 1) * (batch * steps / e_min - 1) == pytest.approx(1)
    assert e_min / s_min == pytest.approx(law.tokens(loss))


def test_a_rule_gives_a_setting_and_refuses_to_give_a_loss():
    rule = Rule("learning rate", "c", 0.3118, -0.125)
    assert rule.value(1e20) == pytest.approx(0.3118 * 10**-2.5)
    with pytest.raises(SpecError, match="learning rate from c, not a loss"):
        rule.loss(c=1e20)


def schedule(steps, tail, *, warmup=100, peak=3e-4):
    lr = np.full(steps, peak)
    lr[:warmup] = peak * np.arange(warmup) / warmup
    if tail == "cosine":
        lr[warmup:] = peak * (0.55 + 0.45 * np.cos(np.pi * np.linspace(0, 1, steps - warmup)))
    elif tail == "step":
        lr[steps // 2 :] = peak * 0.3
    return ScheduledRun(lr, np.arange(2 * warmup, steps, 40))


TRUE = MultiPower(L0=3.0, A=0.5, alpha=0.5, B=400.0, C=2.0, beta=0.6, gamma=0.6)


def test_a_constant_rate_falls_as_a_power_of_the_sum_of_rates():
    run = ScheduledRun(np.full(500, 1e-3), np.arange(10, 500, 50))
    np.testing.assert_allclose(TRUE.loss(run=run), 3.0 + 0.5 * (1e-3 * (run.step + 1)) ** -0.5, rtol=1e-12)


def test_the_schedule_law_is_the_sum_over_steps_that_the_paper_writes():
    run = schedule(900, "cosine")
    for step, loss in zip(run.step[::5], TRUE.loss(run=run)[::5], strict=True):
        drops = 0.0
        for k in range(1, step + 1):
            since = run.lr[k : step + 1].sum()
            drops += (run.lr[k - 1] - run.lr[k]) * (1 - (1 + TRUE.C * run.lr[k] ** -TRUE.gamma * since) ** -TRUE.beta)
        expected = TRUE.L0 + TRUE.A * run.lr[: step + 1].sum() ** -TRUE.alpha - TRUE.B * drops
        assert loss == pytest.approx(expected, rel=1e-12)


def test_a_later_drop_of_the_rate_changes_nothing_before_it():
    constant, dropped = schedule(2000, "constant"), schedule(2000, "step")
    difference = TRUE.loss(run=dropped) - TRUE.loss(run=constant)
    np.testing.assert_allclose(difference[dropped.step < 1000], 0, atol=1e-12)
    assert np.all(difference[dropped.step > 1000] != 0)


def test_merging_smooth_decay_steps_hardly_changes_the_loss():
    run = schedule(6000, "cosine")
    p = SimpleNamespace(**TRUE.values)
    np.testing.assert_allclose(TRUE.formula(p, run.features(300)), TRUE.formula(p, run.features()), rtol=2e-5)


def test_three_schedules_predict_a_fourth():
    runs = []
    for tail in ("constant", "cosine", "step"):
        run = schedule(1500, tail)
        runs.append(ScheduledRun(run.lr, run.step, TRUE.loss(run=run)))
    found = fit_schedules(runs, starts=4)
    lr = np.concatenate([schedule(1500, "constant").lr, np.linspace(3e-4, 3e-5, 500)])
    other = ScheduledRun(lr, np.arange(1500, 2000, 50))
    np.testing.assert_allclose(found.loss(run=other), TRUE.loss(run=other), rtol=2e-3)


def test_bad_schedules_are_refused():
    with pytest.raises(RecordError, match="up to step 700"):
        ScheduledRun(np.ones(500), [10, 700])
    with pytest.raises(FitError, match="needs its loss"):
        fit_schedules([schedule(1000, "cosine")])
