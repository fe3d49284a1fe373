"""Training on several devices and processes: the numbers of one device, and one process that writes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scaling.errors import TrainError
from scaling.records import RunStore
from scaling.spec import SampledTargets, TokenTargets
from scaling.train.loop import train_trunk
from scaling.train.mesh import DataMesh, Rank, coordinator_from, rank_from

PROGRAM = Path(__file__).with_name("trunk_process.py")
STEPS = 50


@pytest.fixture
def train():
    """Train trunks in processes that work together, and give what each said last; none outlives the test.

    There is no limit of time. One that fails ends the others, which would wait for it.
    """
    started: list[subprocess.Popen] = []

    def start(folder, specs, environment):
        request = folder / "request.json"
        runs = [spec.model_dump(mode="json") for spec in specs]
        request.write_text(json.dumps({"specs": runs, "root": str(folder)}))
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(request)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    def finish(process):
        said, complaint = process.communicate()
        if process.returncode:
            end()
        return process.returncode, said, complaint

    def end():
        for process in started:
            if process.poll() is None:
                process.kill()

    def together(folders, specs, environments):
        processes = [start(*each) for each in zip(folders, [specs] * len(folders), environments, strict=True)]
        with ThreadPoolExecutor(len(processes)) as pool:
            ended = list(pool.map(finish, processes))
        for code, _, complaint in ended:
            assert code == 0, complaint
        return [json.loads(said.splitlines()[-1]) for _, said, _ in ended]

    yield together
    end()
    for process in started:
        process.communicate()


def training_losses(store, spec):
    lines = (store.run_dir(spec.run_id) / "metrics.jsonl").read_text().splitlines()
    return np.array([json.loads(line)["loss"] for line in lines])


@pytest.fixture
def specs(run_spec, request):
    """Two branches of one trunk, the longer of 50 steps, each a line of the training log."""
    targets = getattr(request, "param", TokenTargets())
    found = [run_spec(tokens) for tokens in (8_000, 16_000)]
    assert found[1].steps == STEPS
    return [spec.model_copy(update={"data": spec.data.model_copy(update={"targets": targets})}) for spec in found]


@pytest.fixture
def agrees_with_one_device(specs, tmp_path):
    """Checks a results folder against a training on one device."""
    alone = RunStore(tmp_path / "alone")
    train_trunk(specs, alone)

    def check(root):
        store = RunStore(root)
        for spec in specs:
            expected, got = training_losses(alone, spec), training_losses(store, spec)
            assert len(got) == spec.steps
            np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)
            pair = [one.load(spec.run_id).outcome.loss for one in (store, alone)]
            assert pair[0] == pytest.approx(pair[1], abs=1e-5)

    return check


@pytest.mark.slow
def test_eight_devices_train_as_one_does(specs, tmp_path, train, agrees_with_one_device):
    root = tmp_path / "eight"
    root.mkdir()
    (said,) = train([root], specs, [{"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}])
    assert (said["n_devices"], said["rows"]) == (8, [8])
    agrees_with_one_device(root)


@pytest.mark.slow
@pytest.mark.parametrize(
    "specs", [TokenTargets(), SampledTargets(kind="sampled", n=4)], indirect=True, ids=["tokens", "soft targets"]
)
def test_two_processes_train_as_one_does_and_only_the_first_writes(specs, tmp_path, train, agrees_with_one_device):
    roots = [tmp_path / "first", tmp_path / "second"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for root in roots:
        root.mkdir()
    common = {"JAX_NUM_PROCESSES": "2", "JAX_COORDINATOR_ADDRESS": address}
    said = train(roots, specs, [{**common, "JAX_PROCESS_ID": str(number)} for number in (0, 1)])
    assert [one["leads"] for one in said] == [True, False]
    assert [one["rows"] for one in said] == [[4], [4]], "of eight sequences, each process reads its own"
    assert said[0]["losses"] == said[1]["losses"]
    agrees_with_one_device(roots[0])
    assert not any(RunStore(roots[1]).has(spec.run_id) for spec in specs)
    assert not list(roots[1].glob("trunks/*"))


@pytest.mark.parametrize(("batch_size", "nearest"), [(12, "8 or 16"), (3, "8"), (65, "64 or 72")])
def test_a_batch_that_the_devices_cannot_share_is_refused_with_the_nearest_that_they_can(batch_size, nearest):
    eight = DataMesh(SimpleNamespace(size=8))
    with pytest.raises(TrainError, match=f"batch_size is {batch_size}, which 8 devices .* set it to {nearest},"):
        eight.check_batch(batch_size)
    eight.check_batch(64)


STEP = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Rank()),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, Rank()),
        (STEP, Rank(process=3, n_processes=4, local_device=1)),
        ({**STEP, "CUDA_VISIBLE_DEVICES": "1"}, Rank(process=3, n_processes=4)),
        ({**STEP, "SLURM_STEP_TASKS_PER_NODE": "1(x4)"}, Rank(process=3, n_processes=4)),
        ({**STEP, "JAX_PROCESS_ID": "0", "JAX_NUM_PROCESSES": "1"}, Rank()),
    ],
    ids=["nothing", "batch script", "step", "own device", "one a host", "stated"],
)
def test_the_rank_is_that_of_the_slurm_step_unless_it_is_stated(environment, expected):
    assert rank_from(environment) == expected


@pytest.mark.parametrize("stated", [{"JAX_PROCESS_ID": "2", "JAX_NUM_PROCESSES": "2"}, {"JAX_NUM_PROCESSES": "two"}])
def test_an_impossible_rank_is_refused_with_its_variables(stated):
    with pytest.raises(TrainError, match="JAX_NUM_PROCESSES=two|JAX_PROCESS_ID=2"):
        rank_from(stated)


@pytest.mark.parametrize(
    ("nodes", "address"),
    [("n1,n2", "n1:61447"), ("gpu[007-015],x", "gpu007:61447"), ("a-b[3,5]", "a-b3:61447"), ("node9", "node9:61447")],
)
def test_the_first_host_of_a_step_coordinates(nodes, address):
    assert coordinator_from({"SLURM_STEP_NODELIST": nodes, "SLURM_JOB_ID": "4103"}) == address
