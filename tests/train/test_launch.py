"""Steps launched together end as those launched one after the other, with the same logs and probes."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.train import launch
from scaling.train.cohort import train_cohort
from scaling.train.launch import take_steps
from scaling.train.loop import train_trunk
from scaling.train.mesh import ONE_DEVICE, DataMesh
from scaling.train.step import program_of

LENGTHS = (1, 4, 10, 64)


@pytest.fixture
def together(monkeypatch):
    """Sets how many steps a launch has, as an accelerator would."""

    def set_to(count: int) -> None:
        monkeypatch.setattr(launch, "steps_together", lambda mesh: count)

    return set_to


def test_only_one_accelerator_launches_several_steps(monkeypatch):
    several = DataMesh(jax.sharding.Mesh(np.array([jax.devices()[0]]), ("data",)))
    monkeypatch.setattr(DataMesh, "n_devices", property(lambda mesh: 1 if mesh.mesh is None else 2))
    assert launch.steps_together(ONE_DEVICE) == launch.steps_together(several) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert launch.steps_together(ONE_DEVICE) == launch.TOGETHER
    assert launch.steps_together(several) == 1


@pytest.mark.parametrize("count", LENGTHS)
def test_every_step_is_in_one_launch_and_in_order(count):
    for start, stop in ((0, 0), (0, 1), (3, 40), (7, 7 + 2 * count)):
        parts = list(launch._launches(start, stop, count))
        steps = [step for part in parts for step in (range(stop)[part] if isinstance(part, slice) else [part])]
        assert steps == list(range(start, stop))
        assert sum(isinstance(part, int) for part in parts) < count or count == 1


@pytest.mark.slow
@pytest.mark.parametrize("count", LENGTHS[1:])
def test_state_logs_and_probes_are_those_of_single_steps(run_spec, together, count):
    spec, n_steps, marks = run_spec(6_400), 37, (3, 5, 30)
    made, rng = program_of(spec), np.random.default_rng(0)
    tokens = rng.integers(spec.model.vocab_size, size=(n_steps, spec.optim.batch_size, spec.model.context + 1))
    tokens = tokens.astype(np.int32)
    batches = tokens[..., :-1], tokens[..., 1:], np.linspace(1e-3, 1e-4, n_steps, dtype=np.float32)
    found = []
    for one in (1, count):
        together(one)
        state, logs, probes = take_steps(made.step, made.probe, made.init(0), batches, marks, ONE_DEVICE)
        assert logs.loss.shape == logs.grad_norm.shape == (n_steps, 1)
        assert len(probes) == len(marks)
        found.append(jax.tree.map(np.asarray, (state, logs, probes)))
    jax.tree.map(lambda *pair: np.testing.assert_allclose(*pair, rtol=2e-3, atol=2e-5), *found)


@pytest.mark.slow
@pytest.mark.parametrize("train", [lambda trunks, store: [train_trunk(specs, store) for specs in trunks], train_cohort])
def test_a_training_ends_as_it_does_step_by_step(run_spec, together, store, tmp_path, train):
    trunks = [[run_spec(6_400), run_spec(12_800)], [run_spec(9_600, lr=2e-3)]]
    expected = [record.outcome for own in train(trunks, store) for record in own]
    together(10)
    other = type(store)(tmp_path / "together")
    found = [record.outcome for own in train(trunks, other) for record in own]
    for one, reference in zip(found, expected, strict=True):
        assert one.status == reference.status == "done"
        assert one.loss == pytest.approx(reference.loss, abs=2e-4)
        assert one.noise_scale == (pytest.approx(reference.noise_scale, rel=1e-2) if reference.noise_scale else None)
        assert one.n_unique_tokens == reference.n_unique_tokens
