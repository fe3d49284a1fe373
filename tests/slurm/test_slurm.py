"""A sweep through a real Slurm: submitted as an array, a worker killed in the middle, finished by the other."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from scaling.config.expand import expand
from scaling.config.load import load_sweep
from scaling.records import RunStore
from scaling.sweep.executors import run
from scaling.sweep.lease import read_lease
from scaling.sweep.plan import plan

sys.path.insert(0, str(Path(__file__).parent))

from cluster import cluster, why_not

pytestmark = pytest.mark.slow

SWEEP = """\
name: slurm
base:
  model: {n_layers: 1, context: 40}
  data: {source: {kind: w0}}
  evaluation: {tokens: 2000}
grid:
  model.width: [32, 64]
  seed: [0, 1]
  tokens: [200k, 400k]
"""

LIMIT_S = 240


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def sweep(tmp_path):
    path = tmp_path / "slurm.yaml"
    path.write_text(SWEEP)
    return path


def owners(store):
    """Processes that hold a claim, by trunk."""
    states = {folder.name: read_lease(folder) for folder in (store.root / "claims").glob("*")}
    return {trunk: state for trunk, state in states.items() if state and not state.released and state.note}


def wait_for(condition, seconds=LIMIT_S):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to that in time")


@contextmanager
def submitted(sweep, store, environment):
    scaling = Path(sys.executable).with_name("scaling")
    command = [scaling, "sweep", sweep, "--executor", "slurm", "--jobs", "2", "--results", store.root, "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def slurm_says(environment, *command):
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def test_a_sweep_survives_the_death_of_one_of_its_workers(slurm, sweep, tmp_path):
    store = RunStore(tmp_path / "results")
    runs = expand(load_sweep(sweep))
    with submitted(sweep, store, slurm) as process:
        _, victim = wait_for(lambda: list(owners(store).items()))[0]
        os.kill(victim.pid, signal.SIGKILL)
        _, said = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, said
    assert all(store.load(run.run_id).outcome.status == "done" for run in runs)
    assert "taken over" in "".join(path.read_text() for path in store.root.glob("slurm-*.txt"))


def test_a_worker_whose_time_is_up_saves_its_state_and_takes_another_turn(slurm, sweep, tmp_path):
    store = RunStore(tmp_path / "results")
    with submitted(sweep, store, slurm) as process:
        trunk, _ = wait_for(lambda: list(owners(store).items()))[0]
        job = slurm_says(slurm, "squeue", "-h", "-o", "%A").split()[0]
        # What Slurm itself does 90 seconds before a job's time is up.
        slurm_says(slurm, "scancel", "--signal=USR2", job)
        wait_for(lambda: "Restarts=1" in slurm_says(slurm, "scontrol", "show", "job", job), 60)
        wait_for(lambda: read_lease(store.root / "claims" / trunk).released, 10)
        assert list(store.trunk_dir(trunk).iterdir())
        process.terminate()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 75, said


RANKS_SWEEP = """\
name: ranks
base:
  model: {n_layers: 1, width: 32, context: 40}
  data: {source: {kind: w0}}
  evaluation: {tokens: 2000}
grid:
  tokens: [20k, 40k]
"""


def test_two_ranks_of_a_step_train_one_trunk_together(slurm, tmp_path, monkeypatch):
    path = tmp_path / "ranks.yaml"
    path.write_text(RANKS_SWEEP)
    store = RunStore(tmp_path / "results")
    runs = expand(load_sweep(path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The names of these nodes do not resolve, so their processes are told where to meet.
    for name, value in {**slurm, "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}"}.items():
        monkeypatch.setenv(name, value)
    outcome = run(plan(runs, store), store, executor="slurm", sweep_path=path, nodes=2, ntasks=2)
    said = "".join(output.read_text() for output in store.root.glob("slurm-*.txt"))
    assert outcome.counts["done"] == len(runs), said
    assert {store.load(one.run_id).outcome.env["device"].split(" x ")[0] for one in runs} == {"2"}
    # One worker for both tasks: each run was attempted once.
    assert [(store.run_dir(one.run_id) / "log.txt").read_text().count("begins") for one in runs] == [1, 1]
