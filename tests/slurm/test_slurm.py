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
from scaling.sweep.lease import read_lease
from scaling.sweep.plan import plan
from scaling.sweep.run import run

sys.path.insert(0, str(Path(__file__).parent))

from cluster import cancel_all, cluster, state_of_cluster, why_not

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
  tokens: [200k, 600k]
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


def given_up(store):
    """Trunks whose owner let go of them."""
    states = {folder.name: read_lease(folder) for folder in (store.root / "claims").glob("*")}
    return [trunk for trunk, state in states.items() if state and state.released]


def wait_for(condition, process, environment):
    """What a condition comes to, as long as the process that brings it about lives."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := condition():
            return found
        time.sleep(0.1)
    process.kill()
    out, said = process.communicate()
    raise AssertionError(f"it did not come to that in time\n{out}\n{said}\n{state_of_cluster(environment)}")


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
            cancel_all(environment)


def slurm_says(environment, *command):
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def test_a_sweep_survives_the_death_of_one_of_its_workers(slurm, sweep, tmp_path):
    store = RunStore(tmp_path / "results")
    runs = expand(load_sweep(sweep))
    with submitted(sweep, store, slurm) as process:
        _, victim = wait_for(lambda: list(owners(store).items()), process, slurm)[0]
        os.kill(victim.pid, signal.SIGKILL)
        _, said = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, said
    assert all(store.load(run.run_id).outcome.status == "done" for run in runs)
    assert "taken over" in "".join(path.read_text() for path in store.root.glob("slurm-*.txt"))


def test_a_worker_whose_time_is_up_saves_its_state_and_takes_another_turn(slurm, sweep, tmp_path):
    # Long enough that no machine ends a trunk before it is told to stop.
    sweep.write_text(SWEEP.replace("600k", "80M"))
    store = RunStore(tmp_path / "results")
    with submitted(sweep, store, slurm) as process:
        wait_for(lambda: owners(store), process, slurm)
        job = slurm_says(slurm, "squeue", "-h", "-o", "%A").split()[0]
        # What Slurm itself does 90 seconds before a job's time is up. It may reach one task of the array alone.
        slurm_says(slurm, "scancel", "--signal=USR2", job)
        wait_for(lambda: "Restarts=1" in slurm_says(slurm, "scontrol", "show", "job", job), process, slurm)
        (trunk, *_) = wait_for(lambda: given_up(store), process, slurm)
        assert list(store.trunk_dir(trunk).iterdir())
        process.terminate()
        _, said = process.communicate(timeout=LIMIT_S)
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
    outcome = run(plan(runs, store), store, executor="slurm", sweep_path=path, settings={"nodes": 2, "ntasks": 2})
    said = "".join(output.read_text() for output in store.root.glob("slurm-*.txt"))
    assert outcome.counts["done"] == len(runs), said
    assert {store.load(one.run_id).outcome.env["device"].split(" x ")[0] for one in runs} == {"2"}
    # One worker for both tasks: each run was attempted once.
    assert [store.log_path(one.run_id).read_text().count("begins") for one in runs] == [1, 1]
