"""The law of mixtures, fitted to runs as this project records them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling.accounting import count_parameters
from scaling.data.worlds import divergence
from scaling.errors import RecordError, SpecError
from scaling.fit.fitter import fit
from scaling.laws.teacher import Mixture
from scaling.records import Outcome, RunRecord, RunStore, load_runs
from scaling.spec import DataSpec, FactSource, MixtureTeacher, ModelSpec, NoiseTeacher, RealTeacher, RunSpec

TRUTH = Mixture(E=1.37, A=8.0, B=5000.0, alpha=0.3, beta=0.6, kappa=0.9)
WORLD, NOISE = FactSource(kind="w0"), NoiseTeacher(kind="noise", rate=0.4)
SHARES = (0.05, 0.25, 0.5)
TEACHERS = (RealTeacher(), NOISE, *(MixtureTeacher(kind="mixture", real=share, teacher=NOISE) for share in SHARES))
SCATTER = 0.002
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def record(teacher, width, tokens, rng):
    """A run with the divergences that its world has, and the loss that the law gives it."""
    spec = RunSpec(
        model=ModelSpec(vocab_size=65, width=width, context=40),
        data=DataSpec(source=WORLD, teacher=teacher),
        tokens=tokens,
    )
    mixed, alone = divergence(WORLD, teacher), divergence(WORLD, spec.data.generator)
    known = {"delta_coverage": mixed.coverage, "delta_noise": mixed.noise}
    writer = {"generator_delta_coverage": alone.coverage, "generator_delta_noise": alone.noise}
    n = count_parameters(spec.model).n_params
    loss = TRUTH.loss(n=n, d=spec.n_tokens, **known, **writer, real_share=spec.data.real_share)
    stated = known if teacher.kind != "mixture" else known | writer
    return RunRecord(spec=spec, outcome=Outcome(status="done", loss=float(loss * rng.lognormal(0, SCATTER)), **stated))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Real text, a teacher alone, and three mixtures of both: committed, and read back as a table."""
    store = RunStore(tmp_path_factory.mktemp("results")).prepare()
    rng = np.random.default_rng(0)
    for teacher in TEACHERS:
        for width in (32, 64, 96, 128, 192, 256, 384, 512, 1024):
            for tokens in np.geomspace(1e6, 3e9, 5):
                store.commit(record(teacher, width, round(tokens), rng))
    return load_runs(store.root)


@pytest.fixture(scope="module")
def found(runs):
    return fit(runs, law="mixture", bootstrap=100)


def rms(found):
    return np.sqrt(np.mean(np.square(list(found.residuals.values()))))


@pytest.mark.slow
def test_a_table_of_our_own_runs_gives_the_law_of_mixtures_within_three_standard_errors(found):
    errors = np.sqrt(np.diag(found.covariance))
    assert (np.abs(found.law.vector - TRUTH.vector) < 3 * errors).all()
    assert (errors / TRUTH.vector < [0.01, 0.2, 0.3, 0.1, 0.05, 0.05]).all(), "and they are small"
    assert rms(found) == pytest.approx(SCATTER, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("taken", ["delta", "generator_delta"])
def test_neither_divergence_of_a_mixture_can_stand_for_the_other(runs, taken):
    parts, both = ("coverage", "noise"), ("delta", "generator_delta")
    alike = {f"{divergence}_{part}": f"{taken}_{part}" for divergence in both for part in parts}
    wrong = fit(runs, law="mixture", columns=alike, bootstrap=0, strict=False)
    assert rms(wrong) > 3 * SCATTER


@pytest.mark.slow
def test_a_mixture_is_forecast_by_its_label_or_by_its_share_and_divergences(found):
    n, d = 5e5, 2e8
    told = MixtureTeacher(kind="mixture", real=0.25, teacher=NOISE)
    mixed, alone = divergence(WORLD, told).noise, divergence(WORLD, NOISE).noise
    x = {"delta_noise": mixed, "generator_delta_noise": alone, "real_share": 0.25}
    expected = found.law.loss(n=n, d=d, delta_coverage=0.0, generator_delta_coverage=0.0, **x)
    assert found.loss(n, d, teacher=told.label) == pytest.approx(expected, rel=1e-9)
    assert found.predict(n, d, **x).value == pytest.approx(expected, rel=1e-9)
    whole = found.predict(n, d, delta_noise=alone).value
    assert whole == pytest.approx(found.loss(n, d, teacher=NOISE.label), rel=1e-12), "one writes it all"


def test_other_laws_find_in_a_table_what_they_found_before_it_had_shares(runs):
    kept = runs[runs.real_share.isin([0.0, 1.0])]
    older = kept.drop(columns=["real_share", "generator_delta_coverage", "generator_delta_noise"])
    for law in ("q1", "q7"):
        before, now = (fit(table, law=law, bootstrap=0, strict=False) for table in (older, kept))
        assert before.params == now.params


def test_an_older_table_is_told_which_columns_the_law_of_mixtures_wants():
    older = load_runs(REFERENCE / "grid.csv")
    assert fit(older, law="q1", bootstrap=0, strict=False).n_runs == len(older)
    with pytest.raises(
        RecordError, match="needs the columns generator_delta_coverage, generator_delta_noise, real_share"
    ):
        fit(older, law="mixture", bootstrap=0)


def test_runs_whose_divergence_nobody_knows_are_not_of_the_law_of_mixtures(runs):
    text = runs.assign(delta_noise=np.nan, delta_coverage=np.nan)
    with pytest.raises(SpecError, match="generator_delta_noise, real_share and takes no free divergences"):
        fit(text, law="mixture", bootstrap=0)


def test_a_share_in_per_cent_is_refused_with_its_rows(runs):
    percent = runs.assign(real_share=100 * runs.real_share)
    first = runs.index[runs.real_share > 0.01][0]
    with pytest.raises(RecordError, match=rf"'real_share' must lie between 0 and 1, got row {first}: "):
        fit(percent, law="mixture", bootstrap=0)
