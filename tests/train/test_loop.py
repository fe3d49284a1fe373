"""A trunk and its branches: equal to separate runs, resumed exactly, and honest about what went wrong."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scaling.errors import Preempted, TrainError
from scaling.records import RunStore
from scaling.train.checkpoint import load_student
from scaling.train.loop import Progress, train_trunk
from scaling.train.model import to_tensors

TOKENS = (6_400, 12_800, 25_600)


def measured(store: RunStore, specs) -> list[tuple]:
    """All that must not depend on how a run was made: losses, logs and every weight, to the last bit."""
    found = []
    for spec in specs:
        outcome = store.load(spec.run_id).outcome
        tensors = to_tensors(load_student(store.student_dir(spec.run_id), spec.model))
        log = (store.run_dir(spec.run_id) / "metrics.jsonl").read_text()
        weights = b"".join(tensors[name].tobytes() for name in sorted(tensors))
        found.append((outcome.loss, outcome.loss_teacher, outcome.train_loss, log, weights))
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Builds once what the other trainings are compared with."""
    made = {}

    def get(specs) -> list[tuple]:
        if not made:
            store = RunStore(tmp_path_factory.mktemp("reference"))
            train_trunk(specs, store)
            made["runs"] = measured(store, specs)
        return made["runs"]

    return get


@pytest.fixture
def specs(run_spec):
    return [run_spec(tokens) for tokens in TOKENS]


def test_a_branch_is_bit_for_bit_a_run_of_its_own(specs, reference, store):
    train_trunk([specs[1]], store)
    assert measured(store, [specs[1]]) == reference(specs)[1:2]


def test_the_terms_of_a_worlds_loss_add_up_and_more_tokens_help(specs, store):
    outcomes = [record.outcome for record in train_trunk(specs, store)]
    for outcome in outcomes:
        total = outcome.teacher_loss + outcome.kl_student + outcome.cross_term
        assert outcome.loss == pytest.approx(total, abs=1e-6)
        assert outcome.teacher_loss == pytest.approx(
            outcome.entropy + outcome.delta_coverage + outcome.delta_noise, abs=1e-9
        )
        assert outcome.kl_student > 0
        assert outcome.loss > outcome.entropy
    losses = [outcome.loss for outcome in outcomes]
    assert losses == sorted(losses, reverse=True)
    assert [o.n_unique_tokens for o in outcomes] == [spec.n_tokens for spec in specs]


def test_a_training_stopped_again_and_again_ends_as_if_it_had_not_been(specs, reference, store):
    stops = 0
    while not all(store.has(spec.run_id) for spec in specs):
        assert stops < 40, "no headway"
        try:
            train_trunk(specs, store, should_stop=_after(4))
        except Preempted:
            stops += 1
    assert stops >= 4
    assert measured(store, specs) == reference(specs)


def _after(looks: int):
    left = iter([False] * (looks - 1))
    return lambda: next(left, True)


@pytest.mark.slow
def test_a_training_killed_at_random_moments_ends_as_if_it_had_not_been(specs, reference, store):
    expected, rng, kills = reference(specs), np.random.default_rng(0), 0
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(store.root), *(s.canonical_json() for s in specs)])
        _wait_for_checkpoint(child, store.trunk_dir(specs[0].trunk_id))
        time.sleep(rng.uniform(0, 1.0))
        kills += child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert kills >= 2
    train_trunk(specs, store)
    assert measured(store, specs) == expected


_CHILD = """
import sys
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.train.loop import train_trunk
specs = [RunSpec.model_validate_json(text) for text in sys.argv[2:]]
train_trunk(specs, RunStore(sys.argv[1]), checkpoint_s=0.0)
"""


def _wait_for_checkpoint(child: subprocess.Popen, folder: Path) -> None:
    """Until the child wrote a checkpoint that was not there, or ended."""
    before = {path.name for path in folder.glob("*")}
    while child.poll() is None and not {path.name for path in folder.glob("[0-9]*")} - before:
        time.sleep(0.01)


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(specs, reference, store, caplog):
    for looks in (2, 2):
        with pytest.raises(Preempted):
            train_trunk(specs, store, should_stop=_after(looks), checkpoint_s=0.0)
    numbers = sorted(store.trunk_dir(specs[0].trunk_id).glob("[0-9]*"), key=lambda path: int(path.name))
    assert len(numbers) == 2
    largest = max((path for path in numbers[-1].rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)
    train_trunk(specs, store)
    assert f"checkpoint {numbers[-1].name} is damaged" in caplog.text
    assert measured(store, specs) == reference(specs)


def test_a_full_disk_is_said_and_leaves_the_last_checkpoint_usable(specs, reference, store):
    """A limit on the size of files stands for the disk; the process has it to itself."""
    with pytest.raises(Preempted):
        train_trunk(specs, store, should_stop=_after(3))
    command = [sys.executable, "-c", _LIMITED + _CHILD, str(store.root), *(s.canonical_json() for s in specs)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode != 0
    assert "the last good one is intact" in child.stderr
    assert "free some space and start the same command again" in child.stderr
    seen: list[Progress] = []
    train_trunk(specs, store, progress=seen.append)
    assert seen[0].step > 1
    assert measured(store, specs) == reference(specs)


_LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
"""


def test_a_longer_run_added_later_goes_on_from_the_trunk(specs, reference, store):
    seen: list[Progress] = []
    train_trunk(specs[:2], store)
    train_trunk(specs, store, progress=seen.append)
    assert measured(store, specs) == reference(specs)
    assert seen[0].step > specs[1].steps - specs[1].cooldown_steps


def test_a_shorter_run_added_later_starts_from_the_beginning(specs, reference, store):
    train_trunk(specs[2:], store)
    train_trunk(specs, store)
    assert measured(store, specs) == reference(specs)


def test_runs_whose_trunk_diverged_are_records_and_those_before_it_are_done(run_spec, store):
    """At an absurd rate float32 overflows, after the first branch has left."""
    specs = [run_spec(tokens, lr=1e5, warmup_tokens=320) for tokens in (640, 12_800, 25_600)]
    records = train_trunk(specs, store)
    assert [record.outcome.status for record in records] == ["done", "diverged", "diverged"]
    assert math.isfinite(records[0].outcome.loss)
    for record in records[1:]:
        assert record.outcome.loss is None
        assert "non-finite" in record.outcome.error
        assert not store.student_dir(record.spec.run_id).exists()


def test_progress_counts_up_to_all_steps_and_flops(specs, store):
    seen: list[Progress] = []
    train_trunk(specs, store, progress=seen.append)
    steps = [report.step for report in seen]
    assert steps == sorted(steps)
    expected = specs[-1].steps + specs[0].cooldown_steps + specs[1].cooldown_steps
    assert steps[-1] == seen[-1].steps == expected
    assert seen[-1].flops == seen[-1].flops_total
    assert {report.trunk_id for report in seen} == {specs[0].trunk_id}


def test_the_log_has_a_line_for_stretches_of_the_whole_run(specs, store):
    train_trunk(specs[:1], store)
    lines = [json.loads(line) for line in (store.run_dir(specs[0].run_id) / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, specs[0].steps + 1))
    assert lines[-1]["tokens"] == specs[0].n_tokens
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_runs_of_two_trunks_are_refused(run_spec, store):
    with pytest.raises(TrainError, match="several trunks"):
        train_trunk([run_spec(6_400), run_spec(6_400, lr=1e-3)], store)
