"""Every error that a person can cause, and the exit code that each one ends a command with.

A message says four things in one or two sentences: what is wrong, what was got, what is allowed, what to do.
The command line prints it without a traceback (unless ``--debug``) and exits with ``exit_code``.
"""

from __future__ import annotations

from typing import Any

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_ANSWER = 3
EXIT_PREEMPTED = 75
EXIT_INTERRUPTED = 130


class ScalingError(Exception):
    """Base of all errors meant for a person."""

    exit_code = EXIT_USAGE


class SpecError(ScalingError):
    """A run, model or data specification that cannot exist."""


class ConfigError(ScalingError):
    """One or more problems in a file that a user wrote.

    Attributes:
        problems: one ``file:line:col: key: what`` sentence each, in file order.
    """

    def __init__(self, problems: list[str]):
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class DataError(ScalingError):
    """A corpus, tokenizer, shard or stream that is missing, damaged or does not fit."""


class RecordError(ScalingError):
    """A results folder or runs table that is damaged, foreign or unusable for the question."""


class TrainError(ScalingError):
    """A training that cannot start or go on (bad shapes, a student that cannot be read)."""


class MachineError(ScalingError):
    """This machine cannot write, read or hold in memory what the work needs; the work itself is sound.

    Never recorded against a run: the same command goes on once the cause is mended, or on another machine.
    """

    exit_code = EXIT_PREEMPTED


class OutOfMemory(MachineError):
    """The work does not fit in this machine's memory, or its device's."""


class MissingPackageError(MachineError):
    """A package that the work needs is not installed here, or does not load."""

    exit_code = EXIT_USAGE


class FitError(ScalingError):
    """A fit that must not be used; holds what was found so that it can be inspected.

    Attributes:
        fit: the rejected Fit, or None where nothing could be fitted.
    """

    exit_code = EXIT_NO_ANSWER

    def __init__(self, message: str, *, fit: Any = None):
        super().__init__(message)
        self.fit = fit


class InfeasibleError(ScalingError):
    """No configuration meets the target within the budget.

    Attributes:
        best_loss: lowest forecast loss within the budget, nats/token (None if no model fits at all).
        best_probability: of that configuration, P(loss <= target).
        needed_bytes: the memory that the target would need (None if no size reaches it).
        needed_device: the smallest known phone that has so much for one app.
        floor: loss of an infinite student on infinite text of this teacher, nats/token.
        teacher_loss: of the worst teacher whose text would let the best configuration meet the target.
    """

    exit_code = EXIT_NO_ANSWER

    def __init__(
        self,
        message: str,
        *,
        best_loss: float | None = None,
        best_probability: float | None = None,
        needed_bytes: int | None = None,
        needed_device: str | None = None,
        floor: float | None = None,
        teacher_loss: float | None = None,
    ):
        super().__init__(message)
        self.best_loss = best_loss
        self.best_probability = best_probability
        self.needed_bytes = needed_bytes
        self.needed_device = needed_device
        self.floor = floor
        self.teacher_loss = teacher_loss


class ExtrapolationError(ScalingError):
    """A forecast so far outside the data that it is refused without ``--force``."""

    exit_code = EXIT_NO_ANSWER


class ExtrapolationWarning(UserWarning):
    """A forecast far outside the data, answered where a person reads the number and refused where one is decided by."""


class ExportError(ScalingError):
    """A student that cannot be written in, or read back from, a phone format."""


class EngineError(ScalingError):
    """A phone engine that is absent, crashed, or answered with something else than asked."""

    exit_code = EXIT_SOME_FAILED


class Preempted(ScalingError):
    """The process was asked to stop; state is saved and the run can be resumed."""

    exit_code = EXIT_PREEMPTED
