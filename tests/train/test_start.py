"""A continued run: its start's weights, then the same steps as any other; killed, missing and recorded."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from scaling.data.batches import open_stream
from scaling.errors import DataError, Preempted
from scaling.records import RunStore, load_runs
from scaling.spec import FactSource, RunSpec
from scaling.train.checkpoint import load_student
from scaling.train.loop import train_trunk
from scaling.train.optimizer import branch_rates
from scaling.train.step import params_of, program_of
from scaling.train.student.model import to_tensors


@pytest.fixture
def specs(run_spec) -> list[RunSpec]:
    """Two branches that start from a run in another world."""
    start = run_spec(6_400)
    other = start.data.model_copy(update={"source": FactSource(kind="w0", seed=1)})
    start = RunSpec.model_validate(start.model_dump() | {"data": other.model_dump()})
    return [run_spec(tokens).model_copy(update={"start_from": start}) for tokens in (3_200, 9_600)]


def weights(store: RunStore, spec: RunSpec) -> dict[str, np.ndarray]:
    return to_tensors(load_student(store.student_dir(spec.run_id), spec.model))


def test_a_continued_run_is_what_loading_and_training_by_hand_gives(specs, store):
    spec = specs[0]
    train_trunk([spec.start_from], store)
    (record,) = train_trunk([spec], store)
    params = params_of(load_student(store.student_dir(spec.start_from.run_id), spec.model))
    state = program_of(spec).init(spec.seed)._replace(params=params)
    batches, rates = open_stream(spec, store).batches(0, spec.steps), branch_rates(spec, 0, spec.steps)
    for step in range(spec.steps):
        program = program_of(spec, cooldown=step >= spec.branch_step)
        state, _ = program.step(state, batches.inputs[step], batches.targets[step], rates[step])
    leaves = dict(jax.tree_util.tree_leaves_with_path(state.params))
    kept = params_of(load_student(store.student_dir(spec.run_id), spec.model))
    assert leaves
    for path, leaf in jax.tree_util.tree_leaves_with_path(kept):
        np.testing.assert_array_equal(leaf, leaves[path])
    row = record.row()
    assert (row["start"], row["start_tokens"]) == ("w0 (seed 1) noise 0.2", 6_400)
    assert row["start_run"] == spec.start_from.run_id
    assert row["start_flops"] == 2 * row["flops"]


@pytest.mark.slow
def test_a_continued_training_stopped_again_and_again_ends_as_if_it_had_not_been(specs, store, tmp_path):
    calm = RunStore(tmp_path / "calm")
    for place in (store, calm):
        train_trunk([specs[0].start_from], place)
    train_trunk(specs, calm)
    stops = 0
    while not all(store.has(spec.run_id) for spec in specs):
        assert stops < 40, "no headway"
        looks = iter([False] * 2)
        try:
            train_trunk(specs, store, should_stop=lambda looks=looks: next(looks, True))
        except Preempted:
            stops += 1
    assert stops >= 2
    for spec in specs:
        expected = weights(calm, spec)
        assert expected.keys() == weights(store, spec).keys()
        for name, tensor in weights(store, spec).items():
            np.testing.assert_array_equal(tensor, expected[name])


def test_a_start_that_is_not_there_or_did_not_end_is_refused(specs, run_spec, store):
    with pytest.raises(DataError, match=f"start {specs[0].start_from.run_id} is not trained yet"):
        train_trunk(specs, store)
    wild = specs[0].start_from.model_copy(update={"optim": run_spec(lr=1e6).optim})
    train_trunk([wild], store)
    with pytest.raises(DataError, match=f"start {wild.run_id} ended as diverged"):
        train_trunk([specs[0].model_copy(update={"start_from": wild})], store)


def test_a_table_tells_fresh_runs_from_continued_ones(specs, store):
    fresh = specs[0].model_copy(update={"start_from": None})
    for spec in (specs[0].start_from, specs[0], fresh):
        train_trunk([spec], store)
    table = load_runs(store.root).set_index("run_id")
    assert table.loc[fresh.run_id, "start_tokens"] == 0
    assert table.loc[fresh.run_id, "start_run"] is None or math.isnan(table.loc[fresh.run_id, "start_run"])
    assert table.loc[specs[0].run_id, "start_run"] == specs[0].start_from.run_id
    assert table.loc[specs[0].run_id, "loss"] < table.loc[fresh.run_id, "loss"]
