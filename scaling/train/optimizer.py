"""AdamW as OptimSpec describes it, the rate of every step, and the rate of every tensor.

µP by rates and initial values alone: Adam's update of a tensor does not depend on the gradient's size, so a constant
factor in the forward pass equals the same factor on initial value and rate. A trained student is therefore a plain
llama model, whatever its width.
"""

from __future__ import annotations

import jax
import numpy as np
import optax
from flax import nnx

from scaling.spec import ModelSpec, OptimSpec, RunSpec
from scaling.train.model import BASE_WIDTH


def make_optimizer(optim: OptimSpec, model: ModelSpec) -> optax.GradientTransformation:
    """AdamW at rate 1; the step multiplies its updates by the rate of the moment.

    Clip to the global norm, Adam moments, decoupled weight decay on matrices, then µP's factor of each tensor.
    """
    return optax.chain(
        optax.clip_by_global_norm(optim.grad_clip),
        optax.scale_by_adam(b1=optim.beta1, b2=optim.beta2, eps=optim.eps),
        optax.add_decayed_weights(optim.weight_decay, mask=_matrices) if optim.weight_decay else optax.identity(),
        optax.stateless(lambda updates, params: _scale_tensors(updates, rate_factors(model))),
    )


def rate_factors(model: ModelSpec) -> dict[str, float]:
    """Rate of each kind of tensor as a multiple of ``OptimSpec.lr``, which is the rate of the hidden matrices.

    Under µP a hidden matrix moves ``base_width/width`` times as fast as what is not summed over the width, so relative
    to it the token table and the gains of the blocks are ``width/base_width`` times faster. The last gain carries the
    ``base_width/width`` of the logits (see ``Student``), which cancels that factor.

    Source: Yang et al. 2022, arXiv 2203.03466, Table 8 and its symmetries.
    """
    wide = model.width / BASE_WIDTH
    return {"token_embd": wide, "output": wide, "attn_norm": wide, "ffn_norm": wide}


def trunk_rates(spec: RunSpec, start: int, stop: int) -> np.ndarray:
    """Rate float32 of steps ``start`` to ``stop``: linear warmup, then ``lr``."""
    steps = np.arange(start, stop)
    warmup = spec.optim.warmup_tokens / spec.step_tokens
    return (spec.optim.lr * np.minimum(1.0, (steps + 1) / max(warmup, 1.0))).astype(np.float32)


def branch_rates(spec: RunSpec, start: int, stop: int) -> np.ndarray:
    """Rate float32 of steps ``start`` to ``stop`` of a run that ends at ``spec.steps``.

    The trunk's rate times ``1 − √((step − first + 1)/(cooldown_steps + 1))`` from ``first``, the cooldown's first step.

    Source: Hägele et al. 2024, arXiv 2405.18392.
    """
    first = spec.steps - spec.cooldown_steps
    progress = np.clip((np.arange(start, stop) - first + 1) / (spec.cooldown_steps + 1), 0.0, 1.0)
    return (trunk_rates(spec, start, stop) * (1 - np.sqrt(progress))).astype(np.float32)


def _matrices(params: nnx.State) -> nnx.State:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _scale_tensors(updates: nnx.State, factors: dict[str, float]) -> nnx.State:
    def scale(path, leaf):
        return leaf * factors.get(_name(path), 1.0)

    return jax.tree_util.tree_map_with_path(scale, updates)


def _name(path) -> str:
    """The last attribute name of a path into a Student's state."""
    names = [str(getattr(part, "key", "")) for part in path]
    return next(name for name in reversed(names) if name in _NAMES)


_NAMES = frozenset(
    {
        "token_embd",
        "output",
        "output_norm",
        "attn_norm",
        "attn_qkv",
        "attn_output",
        "ffn_norm",
        "ffn_gate_up",
        "ffn_down",
    }
)
