"""What an executor is, what it is asked to do, and how one is found by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaling.errors import ScalingError
from scaling.records import RunStore
from scaling.registry import Registry
from scaling.stop import Stop
from scaling.sweep.progress import Listener
from scaling.sweep.trainer import Trainer
from scaling.sweep.trunks import Trunk
from scaling.sweep.worker import WorkerOptions, WorkerReport


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an executor is asked to do.

    Attributes:
        trunks: All trunks of the sweep, finished ones included.
        store: The results folder.
        jobs: Workers to start.
        options: How each worker behaves.
        progress: Called with every event that reaches this process.
        stop: Becomes true when a stop is asked for.
        trainer: What trains a trunk; None for the framework's own.
        sweep_path: The sweep file, which executors on other machines read again.
        overrides: ``--set`` of the sweep.
        settings: Options of one executor, such as Slurm's partition.
    """

    trunks: Sequence[Trunk]
    store: RunStore
    jobs: int = 1
    options: WorkerOptions = WorkerOptions()
    progress: Listener = field(default=lambda event: None)
    stop: Stop = field(default_factory=Stop)
    trainer: Trainer | None = None
    sweep_path: Path | None = None
    overrides: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


Executor = Callable[[Request], WorkerReport]

EXECUTORS: Registry[Executor] = Registry(
    "executor", package="scaling.sweep.executors", group="scaling.executors", error=ScalingError
)
"""By the name that ``--executor`` takes; another package adds its own by an entry point."""


def refuse_settings(request: Request, name: str) -> None:
    """Raise a ScalingError where an executor without options was given some."""
    if request.settings:
        raise ScalingError(
            f"the {name} executor has no options, got {', '.join(request.settings)} — leave them out, or name the "
            "executor they are for: --executor slurm"
        )
