"""Dual training with shared projections: a teacher of many tokens and a student of few, whose weights agree."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.spec import layer_step
from scaling.train.distill.features import relative_error
from scaling.train.distill.recipe import RECIPES, Adapters, Losses, Moment, NetworkRecipe
from scaling.train.distill.vocabularies import LearningTeacher
from scaling.train.objective import token_loss
from scaling.train.step import Params, params_of
from scaling.train.student.model import Student

AXES = {
    "attn_qkv": ("width", "qkv"),
    "attn_output": ("heads", "width"),
    "ffn_gate_up": ("width", "gate_up"),
    "ffn_down": ("hidden", "width"),
}
"""What the rows and the columns of a block's matrices stand for: each has one projection, shared by all layers."""


@RECIPES.register("dual_vocab")
class DualVocab(NetworkRecipe):
    """``CE(x, f) + CE(y, q) + w·mean(‖θ_T − U·θ_S·Vᵀ‖²/‖θ_T‖²)``; the teacher learns as well.

    Source in ``DualVocabDistill``.
    """

    def adapters(self, student: Student, key: jax.Array) -> Adapters:
        """The teacher's way, its rows for the student's tokens, and a projection of each axis, float32[size_T, size_S].

        The rows begin as those of its own tokens of the same bytes: ids are alike up to the end of document.
        """
        own, teacher = params_of(student), LearningTeacher(self.teacher, student.model)
        sizes = _sizes(teacher.params), _sizes(own)
        keys = jax.random.split(key, len(sizes[0]))
        draws = zip(keys, sizes[0], strict=True)
        projections = {
            axis: sizes[1][axis] ** -0.5 * jax.random.normal(one, (sizes[0][axis], sizes[1][axis]))
            for one, axis in draws
        }
        theirs, n = teacher.params["token_embd"], student.model.vocab_size
        table = jnp.concatenate([theirs[: n - 1], theirs[-1:]])
        return {"moved": teacher.unmoved(), "token_embd": table, "projections": projections}

    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        logits_BTV = student(inputs_BT).astype(jnp.float32)
        loss = token_loss(logits_BTV, targets_BT["token"])
        teacher, w = LearningTeacher(self.teacher, student.model), moment.adapters
        theirs = teacher.at(w["moved"])
        told = teacher.mixed_loss(theirs, w["token_embd"], targets_BT["mixed"], teacher.model.vocab_size - 1)
        every = layer_step(self.spec.kind, student.model, teacher.model)
        apart = projection_loss(
            theirs | {"token_embd": w["token_embd"]}, params_of(student), w["projections"], every=every
        )
        return Losses(loss + told + self.spec.projection_weight * apart, loss, logits_BTV)


def projection_loss(teacher: Params, student: Params, projections: dict[str, jax.Array], *, every: int) -> jax.Array:
    """``‖θ_T − U·θ_S·Vᵀ‖²/‖θ_T‖²``, averaged over the matrices of the student: scalar.

    Args:
        teacher: Its parameters, the table that of the student's tokens.
        student: Its parameters.
        projections: By axis, float32[size_T, size_S].
        every: Layers of the teacher that one of the student's stands for: the last of them is compared.
    """
    found = [relative_error(student["token_embd"] @ projections["width"].T, teacher["token_embd"])]
    for i, block in student["blocks"].items():
        theirs = teacher["blocks"][(i + 1) * every - 1]
        for name, (rows, columns) in AXES.items():
            up = projections[rows] @ block[name] @ projections[columns].T
            found.append(relative_error(up, theirs[name]))
    return jnp.mean(jnp.stack(found))


def _sizes(params: Params) -> dict[str, int]:
    """Length of each axis."""
    block = params["blocks"][0]
    return {axis: size for name, axes in AXES.items() for axis, size in zip(axes, block[name].shape, strict=True)}
