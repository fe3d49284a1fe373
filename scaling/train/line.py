"""A line of training: the state of a trunk or a branch after so many steps, with the log of every step so far."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.spec import RunSpec
from scaling.train.health import Diverged, find_diverged
from scaling.train.noise import GradientNoise, probed
from scaling.train.optimizer import branch_rates
from scaling.train.step import StepLog, TrainState

LOGGED = 200
"""Lines of a training log, at most."""


def _empty() -> np.ndarray:
    return np.zeros(0, np.float32)


@dataclass
class Line:
    """A sequence of steps in progress: the trunk's, or a branch's from where it left the trunk.

    Attributes:
        state: Parameters and optimizer after ``step`` steps.
        vocab_size: V, which says what a guess is worth.
        learned_from: First step that learns the loss, as :func:`~scaling.train.health.find_diverged` takes it.
        step: Steps since the beginning of the run.
        losses: float32[step], training loss of each step since the beginning of the run.
        grad_norms: float32[step], likewise, before clipping.
        signals: float32[n_probes], |G|² of each probe since the beginning of the run.
        noises: float32[n_probes], tr Σ of a sequence's gradient, likewise.
    """

    state: TrainState
    vocab_size: int
    learned_from: int = 0
    step: int = 0
    losses: np.ndarray = field(default_factory=_empty)
    grad_norms: np.ndarray = field(default_factory=_empty)
    signals: np.ndarray = field(default_factory=_empty)
    noises: np.ndarray = field(default_factory=_empty)

    def copy(self) -> Line:
        """A line that goes its own way; the step uses up the state it is given, so arrays are copied."""
        return replace(self, state=jax.tree.map(jnp.copy, self.state))

    def extend(self, logs: StepLog, probes: Sequence[GradientNoise]) -> None:
        """Add what some steps (float32[n_steps] each) and the probes before them reported."""
        self.step += len(logs.loss)
        self.losses = _longer(self.losses, logs.loss)
        self.grad_norms = _longer(self.grad_norms, logs.grad_norm)
        self.signals = _longer(self.signals, [probe.signal for probe in probes])
        self.noises = _longer(self.noises, [probe.noise for probe in probes])

    def up_to(self, step: int) -> Line:
        """The log of the first steps alone; the state is left as it is."""
        n = len(probed(0, step))
        return replace(
            self,
            step=step,
            losses=self.losses[:step],
            grad_norms=self.grad_norms[:step],
            signals=self.signals[:n],
            noises=self.noises[:n],
        )

    @property
    def logs(self) -> dict[str, np.ndarray]:
        """All but the state, as a checkpoint keeps it."""
        return {name: getattr(self, name) for name in LOGS}

    @property
    def diverged(self) -> Diverged | None:
        """Where the line counts as diverged."""
        return find_diverged(self.losses, self.grad_norms, self.vocab_size, begin=self.learned_from)


LOGS = tuple(one.name for one in fields(Line) if one.type == "np.ndarray")


def _longer(log: np.ndarray, more: Any) -> np.ndarray:
    return np.append(log, np.array(more, np.float32))


def metrics(spec: RunSpec, line: Line) -> bytes:
    """The training log: about two hundred evenly spaced steps, each the mean since the line before."""
    rates, probes = branch_rates(spec, 0, line.step), np.array(probed(0, line.step))[: len(line.signals)]
    noises = spec.model.context * line.noises
    edges = np.unique(np.linspace(0, line.step, min(LOGGED, line.step) + 1).astype(int))
    lines = []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        among = slice(*np.searchsorted(probes, (start, stop)))
        entry = {
            "step": int(stop),
            "tokens": int(stop) * spec.step_tokens,
            "loss": _mean(line.losses[start:stop]),
            "grad_norm": _mean(line.grad_norms[start:stop]),
            "grad_signal": _mean(line.signals[among]),
            "grad_noise": _mean(noises[among]),
            "rate": float(rates[stop - 1]),
        }
        lines.append(json.dumps(entry, allow_nan=False))
    return ("\n".join(lines) + "\n").encode()


def _mean(values: np.ndarray) -> float | None:
    mean = float(values.mean(dtype=np.float64)) if len(values) else math.nan
    return mean if math.isfinite(mean) else None
