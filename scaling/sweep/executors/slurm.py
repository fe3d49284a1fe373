"""Workers on a Slurm cluster: one job array, each task a `scaling worker` like any other.

The script below is all there is to it: `--executor print` shows it, `--executor slurm` submits it. Nothing is pickled
and accounting is never asked (many sites have none): what is done is read from the results folder. Before a job's end
Slurm sends USR2; the worker saves its state, releases its claim and exits with 75, upon which the task requeues itself.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from scaling.errors import EXIT_PREEMPTED, ScalingError
from scaling.sweep.executors.executor import EXECUTORS, Request
from scaling.sweep.outcomes import DUE, state_of
from scaling.sweep.progress import Event
from scaling.sweep.worker import WorkerReport

POLL_S = 2.0

WARNING_S = 90
"""Seconds before the end of a job at which Slurm announces it; a checkpoint takes far less."""


def worker_command(request: Request) -> list[str]:
    """The command that every worker runs.

    Raises:
        ScalingError: if the sweep is not a file, which workers elsewhere could read.
    """
    if request.sweep_path is None:
        raise ScalingError("workers elsewhere read the sweep from its file, but none was named — pass sweep_path")
    program = Path(sys.executable).with_name("scaling")
    command = [str(program) if program.exists() else "scaling", "worker", str(request.sweep_path.resolve())]
    command += ["--results", str(request.store.root.resolve())]
    return command + [part for override in request.overrides for part in ("--set", override)]


def shell_commands(request: Request) -> str:
    """One line a worker."""
    return "\n".join([shlex.join(worker_command(request))] * request.jobs)


def sbatch_script(request: Request) -> str:
    """The batch script of an array of workers.

    ``request.settings`` become `#SBATCH --key=value` lines: partition, time, gpus_per_task, mem, account, …; the
    tasks of ``nodes`` and ``ntasks`` are one worker, which trains each trunk on all of them.
    """
    name = request.sweep_path.stem if request.sweep_path else "sweep"
    options: dict[str, object] = {
        "job_name": f"scaling-{'-'.join(name.split())}",
        "array": f"0-{request.jobs - 1}",
        "output": f"{request.store.root.resolve()}/slurm-%A_%a.txt",
        "open_mode": "append",
        "signal": f"USR2@{WARNING_S}",
        "requeue": True,
        **request.settings,
    }
    task = shlex.join(worker_command(request))
    return f"""#!/bin/bash
{_directives(options)}
srun --kill-on-bad-exit=0 {task}
code=$?
# Stopped before its end, state saved: wait in the queue for another turn.
if [ $code -eq {EXIT_PREEMPTED} ]; then scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"; fi
exit $code
"""


@EXECUTORS.register("slurm")
def run_slurm(request: Request) -> WorkerReport:
    """Submit the array, and show what its workers finish until they all have ended.

    A stop ends the watching, not the workers; the message says how to end those.

    Raises:
        ScalingError: if there is no Slurm here, or it refuses the job.
    """
    job = submit(request)
    missing = {spec.run_id: trunk for trunk in request.trunks for spec in trunk.specs}
    missing = {run_id: trunk for run_id, trunk in missing.items() if state_of(request.store, run_id) in DUE}
    request.progress(_event(next(iter(request.trunks)).trunk_id, "claimed", f"submitted as Slurm job {job}"))
    report, reason = WorkerReport(), ""
    while True:
        # The queue is asked before the folder: what a job that is gone has finished is then there to be seen.
        before, (alive, reason) = reason, queue_state(job)
        _collect(request, missing, report, job)
        if not missing or not alive:
            return report
        if "held" in reason.lower() and reason != before:
            how = f"Slurm holds job {job} ({reason}); once that is mended: scontrol release {job}"
            request.progress(_event(next(iter(missing.values())).trunk_id, "released", how))
        if request.stop.wait(POLL_S):
            report.stopped = report.elsewhere = True
            how = f"workers go on as Slurm job {job}; end them with: scancel {job}"
            request.progress(_event(next(iter(missing.values())).trunk_id, "released", how))
            return report


def submit(request: Request) -> str:
    """Hand the script to sbatch; returns the job's number."""
    if shutil.which("sbatch") is None:
        raise ScalingError(
            "no sbatch on this machine — submit from a login node, use --executor local, or print for another scheduler"
        )
    done = subprocess.run(["sbatch", "--parsable"], input=sbatch_script(request), capture_output=True, text=True)
    if done.returncode:
        raise ScalingError(f"Slurm refused the job — {done.stderr.strip()}; correct the options of the executor")
    return done.stdout.strip().split(";")[0]


def queue_state(job: str) -> tuple[bool, str]:
    """Whether a task of the job waits or runs, and what the waiting ones wait for.

    A controller that does not answer counts as yes.
    """
    done = subprocess.run(["squeue", "--noheader", "--jobs", job, "--format", "%r"], capture_output=True, text=True)
    if done.returncode:
        return "Invalid job id" not in done.stderr, ""
    reasons = dict.fromkeys(line.strip() for line in done.stdout.splitlines())
    return bool(reasons), ", ".join(reason for reason in reasons if reason != "None")


def _collect(request: Request, missing: dict, report: WorkerReport, job: str) -> None:
    for run_id in list(missing):
        state = state_of(request.store, run_id)
        if state != "new" and state != "damaged":
            trunk = missing.pop(run_id)
            (report.failed if state == "failed" else report.trained).append(run_id)
            request.progress(Event(kind=state, worker=f"slurm-{job}", trunk_id=trunk.trunk_id, run_id=run_id))
            if all(other is not trunk for other in missing.values()):
                request.progress(_event(trunk.trunk_id, "finished"))


def _event(trunk_id: str, kind, message: str = "") -> Event:
    return Event(kind=kind, worker="slurm", trunk_id=trunk_id, message=message)


def _directives(options: Mapping[str, object]) -> str:
    lines = []
    for key, value in options.items():
        flag = f"#SBATCH --{key.replace('_', '-')}"
        if value is True:
            lines.append(flag)
        elif value is not None and value is not False:
            lines.append(f"{flag}={_quoted(str(value))}")
    return "\n".join(lines)


def _quoted(value: str) -> str:
    """A value as sbatch reads it: blanks end one, and quotes keep it together, as in a shell."""
    if not re.search(r"""[\s"'#\\]""", value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
