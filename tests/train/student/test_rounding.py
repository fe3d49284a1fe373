"""Training for 4 bits: the rounding of the file, a gradient that passes through, and only in the cooldown."""

from __future__ import annotations

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.errors import TrainError
from scaling.spec import ModelSpec
from scaling.train.checkpoint import load_student
from scaling.train.cohort import cohort_size, train_cohort
from scaling.train.loop import train_trunk
from scaling.train.step import params_of, with_params
from scaling.train.student.model import Student, to_tensors
from scaling.train.student.rounding import stored_as, straight_through

MODEL = ModelSpec(vocab_size=65, width=32, n_layers=1, context=40, tied_embeddings=False)


def test_what_the_forward_pass_sees_is_what_the_file_will_hold():
    student = Student(MODEL, seed=3)
    seen = to_tensors(with_params(MODEL, jax.jit(partial(straight_through, qat="q4_0"))(params_of(student))))
    kept = to_tensors(stored_as(student, "q4_0"))
    for name, tensor in to_tensors(student).items():
        np.testing.assert_allclose(seen[name], kept[name], rtol=1e-6, atol=1e-9)
        assert np.array_equal(kept[name], tensor) == (tensor.ndim == 1), name


def test_the_gradient_passes_as_if_nothing_were_rounded():
    params, factor = params_of(Student(MODEL)), jnp.arange(65 * 32.0).reshape(65, 32)

    def loss(params):
        return jnp.sum(straight_through(params, "q4_0")["token_embd"] * factor)

    assert np.array_equal(jax.jit(jax.grad(loss))(params)["token_embd"], factor)


@pytest.mark.slow
def test_only_the_cooldown_is_rounded_and_its_end_is_kept_as_rounded(store, run_spec):
    logs, students = {}, {}
    for qat in (None, "q4_0"):
        spec = run_spec(6_400, qat=qat)
        (record,) = train_trunk([spec], store)
        assert record.outcome.status == "done"
        folder = store.run_dir(spec.run_id)
        logs[qat] = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        students[qat] = load_student(store.student_dir(spec.run_id), spec.model)
    same = np.equal(logs[None], logs["q4_0"])
    assert same[: spec.branch_step].all()
    assert not same[spec.branch_step :].any()
    kept, again = (to_tensors(one) for one in (students["q4_0"], stored_as(students["q4_0"], "q4_0")))
    assert all(np.array_equal(kept[name], again[name]) for name in kept)


def test_trunks_that_are_trained_for_few_bits_form_no_cohort(store, run_spec, monkeypatch):
    monkeypatch.setenv("SCALING_COHORT", "4")
    spec = run_spec(qat="q4_0")
    assert cohort_size(spec) == 1
    with pytest.raises(TrainError, match=r"optim\.qat were given as a cohort"):
        train_cohort([[spec], [run_spec(qat="q4_0", lr=2e-2)]], store)
