"""Mixed-vocabulary training: a token table that is learned inside the teacher, and a student that begins with it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from scaling.train.distill.recipe import RECIPES, Adapters, Losses, Moment, NetworkRecipe
from scaling.train.distill.vocabularies import LearningTeacher
from scaling.train.objective import token_loss
from scaling.train.student.model import Student


@RECIPES.register("mixed_vocab")
class MixedVocab(NetworkRecipe):
    """``CE(y, q)`` of the teacher on text of both vocabularies in the first stage, ``CE(x, f)`` from then on.

    The teacher's rows for the student's tokens are ``E_S·W``. Source in ``MixedVocabDistill``.
    """

    def adapters(self, student: Student, key: jax.Array) -> Adapters:
        """The teacher's way, and ``W``: float32[M_S, M_T]."""
        shape = (student.model.width, self.teacher.model.width)
        up = shape[0] ** -0.5 * jax.random.normal(key, shape)
        return {"moved": LearningTeacher(self.teacher, student.model).unmoved(), "up": up}

    def losses(self, student: Student, inputs_BT: jax.Array, targets_BT: Any, moment: Moment) -> Losses:
        logits_BTV = student(inputs_BT).astype(jnp.float32)
        loss = token_loss(logits_BTV, targets_BT["token"])
        # Steps are compared, as tokens are more than 32 bits can count.
        is_first = moment.step < self.spec.stage_steps(inputs_BT.size)
        # One of the two is computed: the teacher is many times as large as its student.
        aligned = jax.lax.cond(is_first, lambda: self._aligned(student, targets_BT["mixed"], moment), lambda: 0.0)
        return Losses(jnp.where(is_first, aligned, loss), loss, logits_BTV)

    def _aligned(self, student: Student, mixed_BT: jax.Array, moment: Moment) -> jax.Array:
        teacher = LearningTeacher(self.teacher, student.model)
        table_VM = student.token_embd[...] @ moment.adapters["up"]
        return teacher.mixed_loss(
            teacher.at(moment.adapters["moved"]), table_VM, mixed_BT, teacher.model.vocab_size - 1
        )
