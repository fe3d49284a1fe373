"""Executors start workers and decide nothing."""

import os
import re
import shlex
import textwrap
import threading

import pytest
from quick_trainer import DeadlyTrainer, QuickTrainer, StillbornTrainer

from scaling.cli.options.shared import workers
from scaling.errors import ScalingError
from scaling.records import RunStore
from scaling.registry import Registry
from scaling.stop import Stop
from scaling.sweep.accelerators import accelerators
from scaling.sweep.executors.executor import EXECUTORS, Request
from scaling.sweep.executors.local import worker_environment
from scaling.sweep.executors.slurm import queue_state, run_slurm, sbatch_script, submit, worker_command
from scaling.sweep.plan import plan
from scaling.sweep.run import run
from scaling.sweep.trunks import group
from scaling.sweep.worker import WorkerOptions


def test_an_unknown_executor_is_answered_with_those_that_exist():
    with pytest.raises(ScalingError, match="unknown executor 'slrum' — did you mean 'slurm'"):
        EXECUTORS["slrum"]


TOY = """
    from scaling.sweep.work import work

    def one_after_the_other(request):
        print(f"toy executor, {request.jobs} jobs, {request.settings}")
        return work(request.trunks, request.store, trainer=request.trainer, options=request.options)
"""


def test_a_package_adds_an_executor_by_an_entry_point_and_a_sweep_is_run_by_it(
    grid, store, tmp_path, monkeypatch, capsys
):
    known = dict(EXECUTORS)
    # What pip leaves of a package: its module, and the metadata that name its entry point.
    (tmp_path / "toy_cloud.py").write_text(textwrap.dedent(TOY))
    metadata = tmp_path / "toy_cloud-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-cloud\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[scaling.executors]\ncloud = toy_cloud:one_after_the_other\n")
    monkeypatch.syspath_prepend(tmp_path)
    fresh = Registry("executor", package=EXECUTORS.package, group=EXECUTORS.group, error=EXECUTORS.error)
    monkeypatch.setattr("scaling.sweep.run.EXECUTORS", fresh)
    for name, executor in known.items():
        fresh.add(name, executor)
    outcome = run(plan(grid, store), store, executor="cloud", settings={"zone": "b"}, trainer=QuickTrainer())
    assert outcome.counts["done"] == len(grid)
    assert "toy executor, 1 jobs, {'zone': 'b'}" in capsys.readouterr().out
    with pytest.raises(ScalingError, match="did you mean 'cloud'"):
        fresh["clud"]


def test_a_trunk_that_kills_its_workers_is_given_up_before_the_workers_are(grid, store):
    said = []
    outcome = run(
        plan(grid[:1], store),
        store,
        executor="local",
        trainer=DeadlyTrainer(),
        options=WorkerOptions(max_crashes=1),
        progress=lambda event: said.append(event.message),
    )
    assert (outcome.counts["failed"], outcome.exit_code, outcome.obstacle) == (1, 1, "")
    assert "its worker died 2 times" in outcome.failures[0].error
    died = [message for message in said if "died (" in message]
    assert died == ["the worker died (exit code 11); starting another"] * 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_that_die_of_something_else_end_the_sweep_with_what_is_known(grid, store, jobs):
    said = []
    outcome = run(
        plan(grid, store),
        store,
        executor="local",
        jobs=jobs,
        trainer=StillbornTrainer(),
        options=WorkerOptions(max_crashes=0),
        progress=lambda event: said.append(event.message),
    )
    died = [message for message in said if "died (" in message]
    assert outcome.counts["new"] == len(grid)
    assert re.match(r"\d workers died in a row without finishing a run \(exit code 3\) — see", outcome.obstacle)
    # As many were started as it says, and no more were begun with.
    assert sum("starting another" in message for message in died) == len(died) - jobs
    assert "no other is started" in died[-1]


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(20, 28)))
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert worker_environment(0, 1) == {}
    assert worker_environment(0, 4)["OMP_NUM_THREADS"] == worker_environment(0, 4)["NPROC"] == "2"
    assert "--xla_cpu_multi_thread_eigen=false" in worker_environment(0, 8)["XLA_FLAGS"]


def test_workers_share_the_accelerators(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    two, four = ([worker_environment(index, jobs) for index in range(jobs)] for jobs in (2, 4))
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in four] == ["2", "5", "2", "5"]
    assert all("XLA_PYTHON_CLIENT_PREALLOCATE" not in environment for environment in two)
    assert all(environment["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false" for environment in four)


@pytest.mark.parametrize("names", [(), ("nvidia0",), ("nvidia2", "nvidia5"), ("nvidia9", "nvidia10", "nvidia11")])
def test_the_devices_of_a_container_are_numbered_as_cuda_numbers_them(tmp_path, monkeypatch, names):
    for name in (*names, "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert accelerators(tmp_path) == [str(number) for number in range(len(names))]


def test_a_worker_is_started_for_each_accelerator_that_jax_can_use_or_for_each_core(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert workers(0) == cores, "a jax for processors alone"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert (workers(0), workers(7)) == (2, 7)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert workers(0) == cores, "devices are hidden"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert workers(0) == cores


@pytest.mark.parametrize("name", ["inline", "local"])
def test_an_executor_without_options_refuses_them(request_of, name):
    with pytest.raises(ScalingError, match=f"the {name} executor has no options, got nodes"):
        EXECUTORS[name](request_of(settings={"nodes": "2"}))


@pytest.fixture
def request_of(grid, store, tmp_path):
    def make(**values):
        values.setdefault("sweep_path", tmp_path / "my sweep.yaml")
        return Request(trunks=group(grid), store=store.prepare(), jobs=3, **values)

    return make


def test_print_emits_a_line_a_worker_and_a_batch_script(request_of, capsys):
    report = EXECUTORS["print"](request_of(overrides=("tokens=[1M]",), settings={"gpus_per_task": 1, "mem": "8G"}))
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if " worker " in line and not line.startswith("srun")]
    assert report.elsewhere
    assert len(lines) == 3
    assert "'/" in lines[0]
    assert lines[0].endswith("--set 'tokens=[1M]'")
    for directive in (
        "--array=0-2",
        "--requeue",
        "--signal=USR2@90",
        "--open-mode=append",
        "--gpus-per-task=1",
        "--mem=8G",
    ):
        assert f"#SBATCH {directive}\n" in said


@pytest.mark.parametrize("folder", ["plain", "my results", 'a "quoted" one', "it's # odd", "back\\slash"])
def test_directives_hold_together_whatever_is_in_a_path(grid, tmp_path, folder):
    store = RunStore(tmp_path / folder).prepare()
    request = Request(trunks=group(grid), store=store, jobs=3, sweep_path=tmp_path / "my first sweep.yaml")
    lines = [
        line.removeprefix("#SBATCH ") for line in sbatch_script(request).splitlines() if line.startswith("#SBATCH")
    ]
    # As sbatch does: words as in a shell, of which each directive has one.
    options = [shlex.split(line) for line in lines]
    assert {len(words) for words in options} == {1}
    assert [f"--output={store.root}/slurm-%A_%a.txt"] in options
    assert ["--job-name=scaling-my-first-sweep"] in options


def test_workers_elsewhere_need_the_sweep_as_a_file(request_of):
    with pytest.raises(ScalingError, match="read the sweep from its file"):
        worker_command(request_of(sweep_path=None))


def test_a_machine_without_slurm_says_what_to_do_instead(request_of, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ScalingError, match="--executor local"):
        submit(request_of())


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program of some name and shell code before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name, code):
        (folder / name).write_text(f"#!/bin/sh\n{code}\n")
        (folder / name).chmod(0o755)

    return make


def test_a_job_that_slurm_refuses_is_an_error_with_its_words(request_of, program):
    program("sbatch", "echo 'invalid partition' >&2; exit 1")
    with pytest.raises(ScalingError, match="Slurm refused the job — invalid partition"):
        submit(request_of())


def test_the_queue_tells_what_a_job_waits_for(program):
    program("squeue", "echo None; echo launch failed requeued held; echo None")
    assert queue_state("7") == (True, "launch failed requeued held")
    program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert queue_state("7") == (False, "")
    program("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    assert queue_state("7") == (True, "")
    program("squeue", "true")
    assert queue_state("7") == (False, "")


def test_a_held_job_is_told_once(request_of, program, monkeypatch):
    monkeypatch.setattr("scaling.sweep.executors.slurm.POLL_S", 0.01)
    program("sbatch", "echo 7")
    program("squeue", "echo JobHeldAdmin")
    stop, said = Stop(), []
    timer = threading.Timer(0.5, stop.request)
    timer.start()
    run_slurm(request_of(progress=lambda event: said.append(event.message), stop=stop))
    timer.join()
    assert sum("(JobHeldAdmin)" in message for message in said) == 1


def test_the_batch_script_is_valid_shell(request_of):
    import subprocess

    assert subprocess.run(["bash", "-n"], input=sbatch_script(request_of()), text=True).returncode == 0
