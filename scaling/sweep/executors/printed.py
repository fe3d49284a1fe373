"""Nothing is started: the commands for any scheduler go to stdout."""

from __future__ import annotations

from scaling.sweep.executors.executor import EXECUTORS, Request
from scaling.sweep.executors.slurm import sbatch_script, shell_commands
from scaling.sweep.worker import WorkerReport


@EXECUTORS.register("print")
def print_commands(request: Request) -> WorkerReport:
    """Print a line a worker, and a batch script."""
    print("# On any machine that sees the results folder, as often as there are workers:")
    print(shell_commands(request))
    print("\n# Or as a Slurm job (save as a file, then: sbatch FILE):")
    print(sbatch_script(request), end="")
    return WorkerReport(elsewhere=True)
