"""Soft targets: what each kind keeps of a law, and what that is worth on average."""

import numpy as np
import pytest
from pydantic import ValidationError

from scaling.data.batches import open_stream
from scaling.data.targets import draw, soft_records, tempered, top_k
from scaling.data.worlds import open_generator
from scaling.records import RunStore
from scaling.spec import DataSpec, ModelSpec, OptimSpec, RunSpec, SampledTargets, TopKTargets
from tests.streams import batch_of

LAW = np.random.default_rng(0).dirichlet(np.full(7, 0.4), size=5)
NOISE = {"kind": "noise", "rate": 0.2}


def a_run(targets, *, teacher=None, batch_size=4):
    return RunSpec(
        model=ModelSpec(vocab_size=65, width=32, context=40),
        data=DataSpec.model_validate({"source": {"kind": "w0"}, "teacher": teacher or NOISE, "targets": targets}),
        optim=OptimSpec(batch_size=batch_size),
        tokens=1600,
    )


def dense(ids, weights, size):
    out = np.zeros((*ids.shape[:-1], size))
    for i in range(ids.shape[-1]):
        np.put_along_axis(
            out, ids[..., i, None], np.take_along_axis(out, ids[..., i, None], -1) + weights[..., i, None], -1
        )
    return out


@pytest.mark.parametrize("exponent", [1.0, 0.5])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_average_of_drawn_targets_is_the_law(exponent, temperature):
    targets = SampledTargets(kind="sampled", n=3, exponent=exponent, temperature=temperature)
    n = 20_000
    place = np.arange(n * len(LAW)).reshape(n, len(LAW))
    records = soft_records(np.broadcast_to(LAW, (n, *LAW.shape)), targets, place=place, seed=1)
    each = dense(records["ids"].astype(int), records["weights"].astype(float), 7)
    aim = tempered(LAW, temperature)
    z = (each.mean(0) - aim) / (each.std(0) / n**0.5 + 1e-12)
    assert np.abs(z).max() < 4.5
    assert each[0].sum(-1) == pytest.approx(1) if exponent == 1 else not np.allclose(each.sum(-1), 1)


def test_a_lower_exponent_draws_rare_tokens_more_often_and_weighs_them_less():
    uniform = (np.arange(1000) + 0.5) / 1000
    for exponent in (1.0, 0.5):
        ids, weights = draw(LAW[0], uniform, exponent)
        proposal = LAW[0] ** exponent / (LAW[0] ** exponent).sum()
        assert np.bincount(ids, minlength=7) / 1000 == pytest.approx(proposal, abs=2e-3)
        assert weights == pytest.approx(LAW[0][ids] / proposal[ids] / 1000)


def test_the_likeliest_tokens_are_kept_and_their_bias_is_the_mass_of_the_rest():
    for k in (1, 3, 7):
        ids, weights = top_k(LAW, k)
        mass = np.take_along_axis(LAW, ids, -1).sum(-1)
        assert weights.sum(-1) == pytest.approx(1)
        assert np.take_along_axis(LAW, ids, -1).min(-1) == pytest.approx(np.sort(LAW, -1)[:, -k])
        # Each kept logarithm is too high by −ln(mass): nothing is, once all are kept.
        assert np.log(weights / np.take_along_axis(LAW, ids, -1)) == pytest.approx(-np.log(mass)[:, None] * np.ones(k))


def test_more_likeliest_tokens_than_there_are_weigh_nothing():
    records = soft_records(LAW, TopKTargets(kind="topk", k=9), place=np.arange(5), seed=0)
    assert dense(records["ids"].astype(int), records["weights"].astype(float), 7) == pytest.approx(LAW, rel=1e-6)


@pytest.mark.parametrize("targets", [{"kind": "exact"}, {"kind": "topk", "k": 4}, {"kind": "sampled", "n": 5}])
@pytest.mark.parametrize("teacher", [NOISE, {"kind": "mixture", "real": 0.3, "teacher": NOISE}, {"kind": "real"}])
def test_a_world_tells_its_laws_in_whatever_chunks_it_is_read(tmp_path, targets, teacher):
    spec = a_run(targets, teacher=teacher)
    stream = open_stream(spec, RunStore(tmp_path))
    whole, part = stream.batches(0, 7), stream.batches(3, 2)
    assert np.array_equal(whole.targets[3:5], part.targets)
    assert np.array_equal(batch_of(stream, 4).targets, part.targets[1])
    tokens = open_stream(a_run({"kind": "tokens"}, teacher=teacher), RunStore(tmp_path)).batches(0, 7)
    assert np.array_equal(whole.targets["token"], tokens.targets)
    assert np.array_equal(whole.inputs, tokens.inputs)
    law = open_generator(spec.data.source, spec.data.teacher).next_token_probs(part.targets[0]["token"])
    record = part.targets[0]
    if targets["kind"] == "exact":
        assert record["weights"] == pytest.approx(law, abs=1e-7)
    elif targets["kind"] == "topk":
        assert np.array_equal(record["ids"][..., 0], law.argmax(-1))
    else:
        assert (np.take_along_axis(law, record["ids"].astype(int), -1) > 0).all()


def test_draws_differ_from_seed_to_seed_and_position_to_position():
    targets = SampledTargets(kind="sampled", n=6)
    flat = np.full((50, 64), 1 / 64)
    first, second = (soft_records(flat, targets, place=np.arange(50), seed=seed)["ids"] for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert len(np.unique(first, axis=0)) == 50


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"source": {"kind": "text"}, "targets": {"kind": "exact"}}, "exact targets need a world"),
        (
            {"source": {"kind": "text"}, "targets": {"kind": "topk"}},
            "a real teacher of text has tokens for targets only",
        ),
        (
            {"source": {"kind": "text"}, "teacher": {"kind": "ngram"}, "targets": {"kind": "sampled"}},
            "a ngram teacher of text has tokens for targets only",
        ),
    ],
)
def test_laws_that_nobody_knows_are_refused(data, message):
    with pytest.raises(ValidationError, match=message):
        DataSpec.model_validate(data)


def test_runs_on_tokens_keep_the_hash_that_they_had_before_there_were_soft_targets():
    spec = a_run({"kind": "tokens"})
    assert "targets" not in spec.canonical_json()
    assert RunSpec.model_validate_json(spec.canonical_json()) == spec
    soft = a_run({"kind": "sampled", "weight": 0.7})
    assert RunSpec.model_validate_json(soft.canonical_json()).run_id == soft.run_id != spec.run_id
    assert soft.data.label == "noise 0.2, sampled 12 weight 0.7"
