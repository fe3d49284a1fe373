"""Evaluation sets of worlds: exact laws, one set for all runs, and the identity that they allow."""

import numpy as np
import pytest

from scaling.data.evaluation import evaluation_sets
from scaling.data.worlds import divergence, open_world
from scaling.data.worlds.w0_facts import Facts
from scaling.records import RunStore
from scaling.spec import RunSpec


def run_spec(teacher, **evaluation):
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 65, "width": 32, "context": 40},
            "data": {"source": {"kind": "w0"}, "teacher": teacher},
            "evaluation": {"tokens": 20_000, **evaluation},
            "tokens": 1000,
        }
    )


REAL = {"kind": "real"}
NOISE = {"kind": "noise", "rate": 0.4}
COVERAGE = {"kind": "coverage", "top_keys": 100}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def test_every_run_is_measured_on_the_same_real_set(store):
    sets = [evaluation_sets(run_spec(teacher), store) for teacher in (REAL, NOISE, COVERAGE)]
    for other in sets[1:]:
        assert np.array_equal(sets[0].real.sequences, other.real.sequences)
    assert not np.array_equal(sets[0].real.sequences, evaluation_sets(run_spec(REAL, seed=1), store).real.sequences)


def test_batches_have_one_shape_and_hold_at_least_the_tokens_asked_for(store):
    real = evaluation_sets(run_spec(REAL, tokens=20_010), store).real
    batches = list(real)
    assert {batch.inputs.shape for batch in batches} == {batches[0].inputs.shape}
    assert real.n_sequences * 40 >= 20_010
    assert sum(batch.weights.sum() for batch in batches) == real.n_scored == real.n_sequences * 20


def test_inputs_are_the_targets_one_later_behind_bos(store):
    batch = next(iter(evaluation_sets(run_spec(REAL), store).real))
    assert np.all(batch.inputs[:, 0] == 64)
    assert np.array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])


@pytest.mark.parametrize("teacher", [NOISE, COVERAGE])
def test_terms_on_the_set_agree_with_the_closed_forms(store, teacher):
    spec = run_spec(teacher)
    sets, exact = evaluation_sets(spec, store), divergence(spec.data.source, spec.data.teacher)
    one_record = Facts().answer_gain / (sets.real.n_sequences * 5)
    assert sets.entropy == pytest.approx(open_world(spec.data.source).entropy, abs=1e-9)
    assert sets.delta_noise == pytest.approx(exact.noise, abs=1e-9)
    assert sets.delta_coverage == pytest.approx(exact.coverage, abs=one_record)
    assert sets.teacher_loss == pytest.approx(sets.entropy + exact.total, abs=one_record)


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("teacher", [NOISE, COVERAGE])
def test_of_a_mixture_the_teacher_inside_is_known_beside_the_whole(store, teacher, marked):
    mixed = {"kind": "mixture", "real": 0.25, "teacher": teacher, "source_token": marked}
    spec = run_spec(mixed).model_dump()
    spec["model"]["vocab_size"] += marked
    spec = RunSpec.model_validate(spec)
    sets, alone = evaluation_sets(spec, store), evaluation_sets(run_spec(teacher), store)
    exact = divergence(spec.data.source, spec.data.generator)
    assert sets.generator_delta_noise == pytest.approx(exact.noise, abs=1e-9)
    assert sets.generator_delta_coverage == pytest.approx(exact.coverage, abs=Facts().answer_gain / (500 * 5))
    assert (sets.generator_delta_coverage, sets.generator_delta_noise) == (alone.delta_coverage, alone.delta_noise)
    assert sets.delta_coverage + sets.delta_noise < 0.75 * exact.total, "who writes can be told from the text"
    assert alone.generator_delta_coverage is alone.generator_delta_noise is None


@pytest.mark.parametrize("teacher", [NOISE, COVERAGE])
def test_the_identity_of_loss_closes_for_any_student(store, teacher):
    sets = evaluation_sets(run_spec(teacher), store)
    rng = np.random.default_rng(0)
    loss = from_teacher = cross = weight = 0.0
    for batch in sets.real:
        logits = rng.normal(size=batch.p.shape)
        log_f = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        p, q, w = batch.p.astype(float), batch.q.astype(float), batch.weights
        safe_q = np.where(q > 0, q, 1.0)
        loss -= (w * (p * log_f).sum(-1)).sum()
        from_teacher += (w * (q * (np.log(safe_q) - log_f)).sum(-1)).sum()
        cross += (w * ((p - q) * (np.log(safe_q) - log_f)).sum(-1)).sum()
        weight += w.sum()
    parts = sets.entropy + sets.delta_coverage + sets.delta_noise + (from_teacher + cross) / weight
    assert loss / weight == pytest.approx(parts, abs=1e-6)


def test_a_student_of_the_real_world_has_no_teacher_set(store):
    sets = evaluation_sets(run_spec(REAL), store)
    assert sets.teacher is None
    assert sets.delta_coverage == sets.delta_noise == 0
    assert all(batch.q is None for batch in sets.real)


def test_the_teachers_own_set_carries_its_errors(store):
    sets = evaluation_sets(run_spec(COVERAGE), store)
    real, teacher = (s.sequences.reshape(-1, 5, 8) for s in (sets.real, sets.teacher))
    assert np.array_equal(real[..., :4], teacher[..., :4])
    assert (real[..., 4:] != teacher[..., 4:]).mean() > 0.05


def test_the_identity_closes_in_a_markov_world_too(store):
    source = {"kind": "w1", "n_symbols": 40, "context": 24}
    spec = run_spec(NOISE, tokens=5000).model_dump()
    spec["model"] |= {"vocab_size": 41, "context": 24}
    spec["data"]["source"] = source
    spec["data"]["teacher"] = {"kind": "coverage", "top_keys": 50}
    sets = evaluation_sets(RunSpec.model_validate(spec), store)
    f = np.random.default_rng(0).dirichlet(np.ones(41))
    loss = from_teacher = cross = weight = 0.0
    for batch in sets.real:
        at = batch.weights > 0
        p, q = batch.p[at].astype(float), batch.q[at].astype(float)
        log_q_f = np.log(np.where(q > 0, q, f)) - np.log(f)
        loss -= (p * np.log(f)).sum()
        from_teacher += (q * log_q_f).sum()
        cross += ((p - q) * log_q_f).sum()
        weight += len(p)
    parts = sets.entropy + sets.delta_coverage + sets.delta_noise + (from_teacher + cross) / weight
    assert loss / weight == pytest.approx(parts, abs=1e-6)
    assert sets.teacher_loss > sets.entropy > 2


@pytest.mark.parametrize("teacher", [{"kind": "coverage", "top_keys": 2}, None])
def test_a_hierarchy_is_measured_on_text_that_it_could_not_have_written(store, teacher):
    mixed = {"kind": "mixture", "real": 0.5, "teacher": {"kind": "coverage", "top_keys": 1}}
    spec = run_spec(REAL, tokens=500).model_dump()
    spec["model"] |= {"vocab_size": 9, "context": 8}
    spec["data"] |= {"source": {"kind": "w2", "n_symbols": 8, "depth": 3}, "teacher": teacher or mixed}
    sets = evaluation_sets(RunSpec.model_validate(spec), store)
    for batch in (*sets.real, *sets.teacher):
        assert batch.p.sum(-1) == pytest.approx(1, abs=1e-5)
        assert batch.q.sum(-1) == pytest.approx(1, abs=1e-5)
    assert sets.delta_coverage > sets.delta_noise >= 0
