"""The forward pass of a student, compiled whole: operation by operation it takes many times as long to compile."""

from __future__ import annotations

from flax import nnx

logits_of = nnx.jit(lambda student, tokens_BT: student(tokens_BT))
