"""One optimizer step, compiled once a shape: loss, gradient, AdamW, at the rate it is called with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx

from scaling.spec import DistillSpec, ModelSpec, OptimSpec, RunSpec, SequenceDistill, Targets, TokenTargets
from scaling.train.distill.recipe import ADAPTERS, Moment, recipe_of
from scaling.train.mesh import ONE_DEVICE, DataMesh
from scaling.train.noise import GradientNoise, probe_of
from scaling.train.objective import z_loss
from scaling.train.optimizer import make_optimizer
from scaling.train.student.model import Student
from scaling.train.student.rounding import straight_through

Params = dict[str, Any]
"""A student's parameters as nested dicts of arrays (nnx's pure dict)."""


TOKENS, SEQUENCE = TokenTargets(), SequenceDistill()

LATE = 2**30
"""A step that lies behind all stages of a recipe: where the gradient's noise is probed."""


class TrainState(NamedTuple):
    """What a step is given and gives back.

    Attributes:
        params: Changed by each step.
        opt_state: Likewise.
        key: uint32[2] of the run's seed, for a recipe that draws; None for the others, whose state is without it.
    """

    params: Params
    opt_state: optax.OptState
    key: jax.Array | None = None


class StepLog(NamedTuple):
    """What a step reports: float32 scalars, the gradient's norm before clipping."""

    loss: jax.Array
    grad_norm: jax.Array


Step = Callable[[TrainState, Any, Any, Any], tuple[TrainState, StepLog]]


@dataclass(frozen=True)
class Program:
    """What trains students of one shape.

    Attributes:
        init: Seed to first state.
        step: ``(state, inputs, targets, rate)`` to the next state and its log; the given state is used up.
        probe: ``(params, inputs, targets)`` to the noise in the gradient, for batches of two sequences or more.
    """

    init: Callable[[int], TrainState]
    step: Step
    probe: Callable[[Params, Any, Any], GradientNoise]


def program(
    model: ModelSpec,
    optim: OptimSpec,
    mesh: DataMesh = ONE_DEVICE,
    *,
    targets: Targets = TOKENS,
    recipe: DistillSpec = SEQUENCE,
    teacher: Student | None = None,
) -> Program:
    """The compiled step of a model, optimizer and recipe on a mesh; runs that differ in rates alone share it.

    A teacher whose network the recipe looks into is part of the program, as its constants.
    """
    same_program = {"warmup_tokens": 0, "cooldown": 0.5}
    if optim.weight_decay_timescale_tokens is None:  # else the decay, relative to the rate, depends on it
        same_program["lr"] = 1.0
    return _program(model, optim.model_copy(update=same_program), mesh, targets, recipe, teacher)


def program_of(
    spec: RunSpec, mesh: DataMesh = ONE_DEVICE, *, cooldown: bool = False, teacher: Student | None = None
) -> Program:
    """The compiled step of a run's trunk, or of its cooldown, which alone is trained for few bits."""
    optim = spec.optim if cooldown else spec.optim.model_copy(update={"qat": None})
    return program(spec.model, optim, mesh, targets=spec.data.targets, recipe=spec.recipe, teacher=teacher)


@lru_cache(maxsize=64)
def _program(
    model: ModelSpec,
    optim: OptimSpec,
    mesh: DataMesh,
    targets: Targets,
    distill: DistillSpec,
    teacher: Student | None,
) -> Program:
    transform, recipe = make_optimizer(optim, model), recipe_of(distill, targets, teacher)

    def init(seed: int) -> TrainState:
        student = recipe.start(Student(model, seed))
        adapters = recipe.adapters(student, jax.random.fold_in(jax.random.key(seed), 1))
        params = params_of(student) | ({ADAPTERS: adapters} if adapters else {})
        key = jax.random.key_data(jax.random.fold_in(jax.random.key(seed), 2)) if recipe.draws else None
        return TrainState(params, transform.init(params), key)

    def loss_of(params: Params, inputs_BT, targets_BT, step=LATE, key=None) -> tuple[jax.Array, jax.Array]:
        # What a recipe learns beside the student is stored in no file, and so is not rounded.
        stored = params if optim.qat is None else {**params, **straight_through(_own(params), optim.qat)}
        used = jax.tree.map(lambda param: param.astype(optim.precision), stored)
        moment = Moment(step, used.get(ADAPTERS, {}), key)
        found = recipe.losses(with_params(model, used), inputs_BT, targets_BT, moment)
        return found.aim + optim.z_loss * z_loss(found.logits_BTV), found.loss

    def step(state: TrainState, inputs_BT, targets_BT, rate) -> tuple[TrainState, StepLog]:
        taken = optax.tree.get(state.opt_state, "count")
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (_, loss), grads = gradient(state.params, inputs_BT, targets_BT, taken, state.key)
        updates, opt_state = transform.update(grads, state.opt_state, state.params)
        params = jax.tree.map(lambda param, update: param - rate * update, state.params, updates)
        return TrainState(params, opt_state, state.key), StepLog(loss, optax.tree.norm(grads))

    return Program(jax.jit(init), mesh.compile(step), mesh.compile(probe_of(loss_of), donate=()))


def params_of(student: Student) -> Params:
    """A student's parameters alone."""
    return nnx.to_pure_dict(nnx.state(student, nnx.Param))


def with_params(model: ModelSpec, params: Params) -> Student:
    """The student that has these parameters; what a recipe learns beside it is left out."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Student(model)))
    nnx.replace_by_pure_dict(state, _own(params))
    return nnx.merge(graph, state)


def _own(params: Params) -> Params:
    return {name: value for name, value in params.items() if name != ADAPTERS}


def time_steps(spec: RunSpec, count: int) -> float:
    """Seconds of some steps of a run on random tokens; compilation and the first step are left out."""
    made = program(spec.model, spec.optim)
    shape = (spec.optim.batch_size, spec.model.context)
    tokens = np.random.default_rng(0).integers(spec.model.vocab_size, size=shape, dtype=np.int32)
    rate = np.float32(spec.optim.lr)
    state, log = made.step(made.init(spec.seed), tokens, tokens, rate)
    jax.block_until_ready(log)
    began = time.perf_counter()
    for _ in range(count):
        state, log = made.step(state, tokens, tokens, rate)
    jax.block_until_ready((state, log))
    return time.perf_counter() - began
