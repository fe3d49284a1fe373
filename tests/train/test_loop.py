"""A trunk and its branches: equal to separate runs, resumed exactly, and honest about what went wrong."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest

from scaling.errors import Preempted, TrainError
from scaling.laws.teacher import Mixture
from scaling.records import RunStore, load_runs
from scaling.spec import MixtureTeacher, ModelSpec, RealTeacher
from scaling.tables.observe import observe
from scaling.train.checkpoint import load_student
from scaling.train.clock import Meter
from scaling.train.loop import Progress, train_trunk
from scaling.train.mesh import ONE_DEVICE
from scaling.train.runtime import compilations
from scaling.train.student.model import to_tensors
from scaling.train.trunk import TrunkTraining, missing_runs

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


def test_a_run_of_a_mixture_is_a_row_that_the_law_of_mixtures_can_read(run_spec, store):
    spec = run_spec(6_400)
    mixed = MixtureTeacher(kind="mixture", real=0.25, teacher=spec.data.teacher)
    train_trunk([spec], store)
    train_trunk([spec.model_copy(update={"data": spec.data.model_copy(update={"teacher": mixed})})], store)
    table = load_runs(store.root).set_index("real_share")
    assert sorted(table.index) == [0.0, 0.25]
    alone, both = table.loc[0.0], table.loc[0.25]
    assert both.generator_delta_noise == alone.generator_delta_noise == alone.delta_noise > 0.1
    assert 0 < both.delta_noise < 0.75 * both.generator_delta_noise
    read = observe(table.reset_index(), columns={"n": "n_params", "d": "n_tokens"}).inputs(Mixture.columns)
    assert sorted(read.real_share) == [0.0, 0.25]


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


class Killed(BaseException):
    """What nothing in the program looks out for."""


@pytest.mark.slow
@pytest.mark.parametrize("saved", ["the trunk", "the branch"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_spent_is_charged_once_wherever_a_training_is_killed(when, saved, specs, store, monkeypatch):
    commit, save = TrunkTraining._commit, TrunkTraining.save

    def killed(training, *what, **found):
        if when == "after":
            commit(training, *what, **found)
        raise Killed

    def save_some(training):
        if training.branch is None or saved == "the branch":
            save(training)

    monkeypatch.setattr(TrunkTraining, "_commit", killed)
    monkeypatch.setattr(TrunkTraining, "save", save_some)
    for i in range(len(specs)):
        with pytest.raises(Killed):
            train_trunk(specs, store, checkpoint_s=0)  # a checkpoint after every block
        left = missing_runs(specs, store)
        assert len(left) == len(specs) - (i + 1 if when == "after" else 0)
        if left:
            resumed = TrunkTraining(left, store, Meter(), mesh=ONE_DEVICE)
            assert (resumed.clock.wall_s > 0) == (resumed.clock.train_steps > 0) == (when == "before")


def _after(looks: int):
    left = iter([False] * (looks - 1))
    return lambda: next(left, True)


@pytest.mark.slow
def test_a_training_killed_at_random_moments_ends_as_if_it_had_not_been(run_spec, store, tmp_path):
    """Checkpoints follow each other without a pause, so many a kill falls into the writing of one."""
    specs, rng, kills = [run_spec(tokens) for tokens in (32_000, 64_000, 128_000)], np.random.default_rng(0), 0
    calm = RunStore(tmp_path / "calm")
    train_trunk(specs, calm)
    with Nursery(specs, store) as nursery:
        while kills < 20 and not all(store.has(spec.run_id) for spec in specs):
            nursery.start()
            for _ in range(rng.integers(1, 4)):
                nursery.wait_for_checkpoint()
            time.sleep(rng.uniform(0, 0.1))
            kills += nursery.kill()
    assert kills
    train_trunk(specs, store)
    assert measured(store, specs) == measured(calm, specs)


class Nursery:
    """A process that has imported everything and forks a training whenever it is told to."""

    def __init__(self, specs, store: RunStore):
        self.specs, self.store = specs, store
        command = [sys.executable, "-c", _NURSERY, str(store.root), *(spec.canonical_json() for spec in specs)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *error) -> None:
        self.process.communicate()

    def start(self) -> None:
        self._say("start")

    def kill(self) -> bool:
        """SIGKILL the training; False if it had ended by itself."""
        self._say("kill")
        return self.process.stdout.readline() == "killed\n"

    def is_training(self) -> bool:
        self._say("look")
        return self.process.stdout.readline() == "alive\n"

    def wait_for_checkpoint(self) -> None:
        """Until a checkpoint is there that was not, or all runs are."""
        folder = self.store.trunk_dir(self.specs[0].trunk_id)
        before = {path.name for path in folder.glob("*")}
        while not {path.name for path in folder.glob("[0-9]*")} - before:
            is_training = self.is_training()
            if all(self.store.has(spec.run_id) for spec in self.specs):
                return
            assert is_training, "the training ended without a checkpoint, and without its runs"
            time.sleep(0.01)

    def _say(self, word: str) -> None:
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()


_NURSERY = """
import os, signal, sys
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.train.loop import train_trunk
specs = [RunSpec.model_validate_json(text) for text in sys.argv[2:]]
child = None
for word in sys.stdin:
    if word == "look\\n":
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        print("ended" if child is None or os.waitid(os.P_PID, child, look) else "alive", flush=True)
    elif word == "start\\n":
        child = os.fork()
        if not child:
            train_trunk(specs, RunStore(sys.argv[1]), checkpoint_s=0.0)
            os._exit(0)
    else:
        os.kill(child, signal.SIGKILL)
        print("killed" if os.WIFSIGNALED(os.waitpid(child, 0)[1]) else "ended", flush=True)
        child = None
if child is not None:
    os.kill(child, signal.SIGKILL)
"""

_CHILD = """
import sys
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.train.loop import train_trunk
specs = [RunSpec.model_validate_json(text) for text in sys.argv[2:]]
train_trunk(specs, RunStore(sys.argv[1]), checkpoint_s=0.0)
"""


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


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_the_last_checkpoint_usable(specs, reference, store):
    """A limit on the size of files stands for the disk; the process has it to itself."""
    with pytest.raises(Preempted):
        train_trunk(specs, store, should_stop=_after(3))
    command = [sys.executable, "-c", _LIMITED + _CHILD, str(store.root), *(s.canonical_json() for s in specs)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode != 0
    assert "the last good one is intact" in child.stderr
    assert "name a folder on another disk" in child.stderr
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
    """At an absurd rate float32 overflows, after the first branch has left; the loss is a guess's from then on."""
    specs = [run_spec(tokens, lr=1e5, warmup_tokens=320) for tokens in (320, 12_800, 25_600)]
    records = train_trunk(specs, store)
    assert [record.outcome.status for record in records] == ["done", "diverged", "diverged"]
    assert math.isfinite(records[0].outcome.loss)
    for record in records[1:]:
        assert record.outcome.loss is None
        assert "gradient became zero, at step 2 of" in record.outcome.error
        assert not store.student_dir(record.spec.run_id).exists()


def test_a_run_whose_loss_stays_finite_but_worse_than_a_guess_is_stopped_and_logged_up_to_there(run_spec, store):
    """Where the log ends does not depend on where a look at the loss happened to fall."""
    spec = run_spec(96_000, lr=3.0, warmup_tokens=320)
    (record,) = train_trunk([spec], store)
    assert record.outcome.status == "diverged"
    assert "worse than a guess for 100 steps" in record.outcome.error
    lines = (store.run_dir(spec.run_id) / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])["step"]
    assert 100 < last < spec.steps
    assert f"at step {last} of {spec.steps}" in record.outcome.error


def test_noise_spikes_time_and_energy_are_in_the_outcome(run_spec, store, monkeypatch):
    monkeypatch.setenv("SCALING_KG_PER_KWH", "0.5")
    spec = run_spec(48_000)
    (record,) = train_trunk([spec], store)
    found = record.outcome
    assert found.loss_spikes == 0
    assert 100 < found.noise_scale < 1e6
    assert found.noise_scale_se > 0
    assert 0 <= found.compile_s < found.wall_s
    assert found.kwh > 0
    assert found.co2e_kg == pytest.approx(0.5 * found.kwh)
    lines = [json.loads(line) for line in (store.run_dir(spec.run_id) / "metrics.jsonl").read_text().splitlines()]
    probed = [line for line in lines if line["grad_noise"] is not None]
    assert [line["step"] for line in probed] == [26, 76, 126]
    later = probed[1:]
    ratio = sum(line["grad_noise"] for line in later) / sum(line["grad_signal"] for line in later)
    assert found.noise_scale == pytest.approx(ratio, rel=1e-5)


def test_a_batch_of_one_sequence_has_no_noise_scale(run_spec, store):
    (record,) = train_trunk([run_spec(1_600, batch_size=1, warmup_tokens=400)], store)
    assert record.outcome.status == "done"
    assert record.outcome.noise_scale is None


@pytest.mark.slow
def test_a_grid_compiles_as_many_steps_as_it_has_widths(run_spec, store):
    """Other rates, seeds, teachers and volumes share the step of their width."""
    programs = compilations().programs
    before = len(programs)
    for width in (32, 64):
        specs = [run_spec(tokens, batch_size=6, warmup_tokens=480) for tokens in (2_400, 4_800)]
        specs = [spec.model_copy(update={"model": ModelSpec(vocab_size=65, width=width, context=40)}) for spec in specs]
        optim = specs[0].optim.model_copy(update={"lr": 3e-3, "warmup_tokens": 960, "cooldown": 0.1})
        data = specs[0].data.model_copy(update={"teacher": RealTeacher()})
        for change in ({}, {"seed": 1}, {"optim": optim}, {"data": data}):
            train_trunk([spec.model_copy(update=change) for spec in specs], store)
    assert programs[before:].count("jit(step)") == 2


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
