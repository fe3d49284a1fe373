"""A real Slurm cluster on one machine: munge, a controller, and two nodes that share the loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CONFIGURATION = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
SlurmctldPort=36810
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
KillWait=20
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=36821 CPUs=1 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=36822 CPUs=1 RealMemory=4000
PartitionName=debug Nodes=n1,n2 Default=YES State=UP
"""

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")


def why_not() -> str | None:
    """What stands against a cluster here, in one sentence; None where nothing does.

    With SCALING_INSTALL_SLURM=1, as root on Debian, the packages are installed first.
    """
    if os.geteuid() != 0:
        return "a cluster of one's own needs root"
    if not _installed() and os.environ.get("SCALING_INSTALL_SLURM") == "1" and shutil.which("apt-get"):
        packages = ["slurm-wlm", "munge"]
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *packages], check=False, timeout=180)
    if not _installed():
        return "slurm-wlm and munge are not installed (set SCALING_INSTALL_SLURM=1 to install them, as root on Debian)"
    return None


def _installed() -> bool:
    path = os.environ["PATH"] + ":/usr/sbin"
    return all(shutil.which(program, path=path) for program in PROGRAMS)


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start the cluster; gives the environment in which its commands find it."""
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir(parents=True)
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(host=socket.gethostname().split(".")[0], folder=folder))
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": os.environ["PATH"] + ":/usr/sbin"}
    munge = _start_munge()
    daemons = [["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]]
    started = []
    try:
        for daemon in daemons:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            started.append(subprocess.Popen(daemon, env=environment, **quiet))
        _wait_for_nodes(environment)
        yield environment
    finally:
        cancel_all(environment)
        for process in [*reversed(started), *munge]:
            process.terminate()
        for process in [*started, *munge]:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            process.kill()
            process.wait()


def state_of_cluster(environment: dict[str, str]) -> str:
    """What a person would look at when a job does not come to its end."""
    commands = (["squeue", "--long"], ["sinfo", "--list-reasons"], ["scontrol", "show", "job"])
    said = [subprocess.run(command, env=environment, capture_output=True, text=True) for command in commands]
    logs = [path.read_text()[-3000:] for path in sorted(Path(environment["SLURM_CONF"]).parent.glob("*.log"))]
    return "\n".join([*(done.stdout + done.stderr for done in said), *logs])


def cancel_all(environment: dict[str, str], limit_s: float = 30) -> None:
    """End all jobs and wait until their processes are gone; they would outlive the daemons."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        done = subprocess.run(["squeue", "--noheader"], env=environment, capture_output=True, text=True)
        if not done.stdout.strip():
            return
        subprocess.run(["scancel", "--user", "root"], env=environment, check=False, capture_output=True)
        time.sleep(1)


def _start_munge() -> list[subprocess.Popen]:
    """The authentication service, unless it runs already."""
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return []
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    process = subprocess.Popen(["runuser", "-u", "munge", "--", "/usr/sbin/munged", "--foreground"])
    deadline = time.monotonic() + 60
    while subprocess.run(["munge", "-n"], capture_output=True).returncode:
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise RuntimeError("munged does not answer")
        time.sleep(0.2)
    return [process]


def _wait_for_nodes(environment: dict[str, str], limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format", "%D %t %E"], env=environment, capture_output=True, text=True
        )
        if done.stdout.split()[:2] == ["2", "idle"]:
            return
        time.sleep(0.5)
    raise RuntimeError(f"the nodes did not come up: {done.stdout} {done.stderr}")
