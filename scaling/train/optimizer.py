"""AdamW as OptimSpec describes it, the rate of every step, and the rate of every tensor.

µP and CompleteP by rates and initial values alone: Adam's update of a tensor does not depend on the gradient's size, so
a constant factor in the forward pass equals the same factor on initial value and rate. A trained student is therefore a
plain llama model, whatever its width and depth.

A factor c folded into a matrix multiplies its gradient by 1/c. Two things see that size: Adam's eps, which is divided
by width and depth with the gradients (see ``make_optimizer``), and the global norm that clipping looks at, in which the
folded matrices weigh more. Weight decay shrinks every matrix by the same share a step, folded or not.
"""

from __future__ import annotations

import jax
import numpy as np
import optax
from flax import nnx

from scaling.errors import TrainError
from scaling.spec import ModelSpec, OptimSpec, RunSpec
from scaling.train.student.model import BASE_LAYERS, BASE_WIDTH


def make_optimizer(optim: OptimSpec, model: ModelSpec) -> optax.GradientTransformation:
    """AdamW at rate 1; the step multiplies its updates by the rate of the moment.

    Clip to the global norm; Adam moments; µP's factor of each tensor; then weight decay, whose timescale is one for all
    matrices. eps is ``OptimSpec.eps`` at base width and depth and falls as the hidden matrices' gradients do, so that
    it stays as negligible as it is there.

    **Source:** Loshchilov & Hutter 2017, arXiv 1711.05101; eps: Dey et al. 2025, arXiv 2505.01618, Table 1.
    """
    step_tokens = optim.batch_size * model.context
    size = model.width / BASE_WIDTH * model.n_layers / BASE_LAYERS
    decay = optim.weight_decay(step_tokens)
    return optax.chain(
        optax.clip_by_global_norm(optim.grad_clip),
        optax.scale_by_adam(b1=optim.beta1, b2=optim.beta2(step_tokens), eps=optim.eps / size),
        optax.stateless(lambda updates, params: _scale_tensors(updates, rate_factors(model))),
        optax.add_decayed_weights(decay, mask=_matrices) if decay else optax.identity(),
    )


def rate_factors(model: ModelSpec) -> dict[str, float]:
    """Rate of each kind of tensor as a multiple of ``OptimSpec.lr``, which is the rate of the hidden matrices.

    Width: under µP a hidden matrix moves ``base_width/width`` times as fast as what is not summed over the width, so
    relative to it the token table and the gains of the blocks are ``width/base_width`` times faster. The last gain
    carries the ``base_width/width`` of the logits (see ``Student``), which cancels that factor.

    Depth: under CompleteP every branch is added with the factor ``base_layers/n_layers``, carried by the two matrices
    that write to the residual stream.

    **Source:** Yang et al. 2022, arXiv 2203.03466, Table 8 and its symmetries; Dey et al. 2025, arXiv 2505.01618.
    """
    wide, branch = model.width / BASE_WIDTH, BASE_LAYERS / model.n_layers
    return {
        "token_embd": wide,
        "output": wide,
        "output_norm": 1.0,
        "attn_norm": wide,
        "attn_qkv": 1.0,
        "attn_output": branch,
        "ffn_norm": wide,
        "ffn_gate_up": 1.0,
        "ffn_down": branch,
        # What a recipe learns beside the student maps its width to that of another model, as a hidden matrix does.
        "adapters": 1.0,
    }


def trunk_rates(spec: RunSpec, start: int, stop: int) -> np.ndarray:
    """Rate float32 of steps ``start`` to ``stop``: linear warmup, then ``lr``."""
    steps = np.arange(start, stop)
    warmup = spec.optim.warmup_tokens / spec.step_tokens
    return (spec.optim.lr * np.minimum(1.0, (steps + 1) / max(warmup, 1.0))).astype(np.float32)


def branch_rates(spec: RunSpec, start: int, stop: int) -> np.ndarray:
    """Rate float32 of steps ``start`` to ``stop`` of a run that ends at ``spec.steps``.

    The trunk's rate times ``1 − √((step − branch_step + 1)/(cooldown_steps + 1))`` from ``branch_step`` on.

    Source: Hägele et al. 2024, arXiv 2405.18392.
    """
    progress = np.clip((np.arange(start, stop) - spec.branch_step + 1) / (spec.cooldown_steps + 1), 0.0, 1.0)
    return (trunk_rates(spec, start, stop) * (1 - np.sqrt(progress))).astype(np.float32)


def _matrices(params: nnx.State) -> nnx.State:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _scale_tensors(updates: nnx.State, factors: dict[str, float]) -> nnx.State:
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf * factors[_kind(path, factors)], updates)


def _kind(path, factors: dict[str, float]) -> str:
    """Which kind of tensor a path into a Student's parameters leads to."""
    names = [str(getattr(part, "key", getattr(part, "name", part))) for part in path]
    for name in reversed(names):
        if name in factors:
            return name
    raise TrainError(
        f"parameter {'.'.join(names)} has no learning rate; known are {', '.join(factors)}: "
        "give a new kind of tensor its factor in rate_factors"
    )
