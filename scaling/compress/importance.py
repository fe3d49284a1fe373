"""What of a student matters least: heads by the gradient of their gates, neurons by what they write, layers by how far
they turn the residual stream.

All are averages over tokens of the training stream, of which as many are read at once as fit memory. Shape suffixes
as in ``train/student/model.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scaling.compress.forward import Tap, forward, unchanged
from scaling.spec import ModelSpec
from scaling.train.evaluate import parts_in_memory
from scaling.train.objective import token_loss
from scaling.train.step import params_of, with_params
from scaling.train.student.model import Student


def head_importance(student: Student, inputs_BT: np.ndarray, targets_BT: np.ndarray) -> np.ndarray:
    """``I_h = E_x |∂L/∂ξ_h|`` of a gate ξ_h = 1 on each head's output, of length 1 in each layer: float64[L, H].

    Args:
        student: As trained.
        inputs_BT: int32[B, T]; the expectation is over sequences.
        targets_BT: int32[B, T].

    **Source:** Michel et al. 2019, arXiv 1905.10650, equation 2.
    """
    model = student.model

    @jax.jit
    def importance(params, inputs_BT, targets_BT):
        def loss(gates_LH, inputs_T, targets_T):
            logits = forward(with_params(model, params), inputs_T[None], _gated(gates_LH, model.head_width))
            return token_loss(logits, targets_T[None])

        ones_LH = jnp.ones((model.n_layers, model.n_heads))
        by_sequence = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(ones_LH, inputs_BT, targets_BT)
        return jnp.abs(by_sequence).mean(axis=0)

    # The parts are equal, so the mean of their means is that of all.
    params, parts = params_of(student), _parts(model, inputs_BT)
    found = np.mean([jax.device_get(importance(params, inputs_BT[part], targets_BT[part])) for part in parts], 0, float)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _gated(gates_LH: jax.Array, head_width: int) -> Tap:
    def tap(place: str, value: jax.Array) -> jax.Array:
        if not place.endswith(".heads"):
            return value
        layer = int(place.split(".")[1])
        return value * jnp.repeat(gates_LH[layer], head_width)[None, None]

    return tap


def neuron_importance(student: Student, inputs_BT: np.ndarray) -> np.ndarray:
    """Root mean square of what each SwiGLU neuron adds to the residual stream, ``√(E h²)·‖w_down‖``: float64[L, F].

    **Source:** Muralidharan et al. 2024, arXiv 2407.14679, section 2.2 (importance by activations).
    """
    hidden = tuple(f"blk.{i}.hidden" for i in range(student.model.n_layers))
    written = [np.linalg.norm(np.asarray(block.ffn_down[...], np.float64), axis=1) for block in student.blocks]
    squares = _mean_of(student, inputs_BT, hidden, lambda seen: np.mean(np.square(seen), axis=(1, 2)))
    return np.sqrt(squares) * np.stack(written)


def block_influence(student: Student, inputs_BT: np.ndarray) -> np.ndarray:
    """``1 − E cos(X_i, X_{i+1})`` of the residual stream before and after each block: float64[L].

    **Source:** Men et al. 2024, arXiv 2403.03853, equation 1.
    """
    places = (*(f"blk.{i}" for i in range(student.model.n_layers)), "stream")
    return 1 - _mean_of(student, inputs_BT, places, _cosines)


def _cosines(streams: np.ndarray) -> np.ndarray:
    """Of each stream and the next, averaged over tokens."""
    units = streams / np.linalg.norm(streams, axis=-1, keepdims=True)
    return np.mean((units[:-1] * units[1:]).sum(-1), axis=(1, 2))


def _parts(model: ModelSpec, inputs_BT: np.ndarray) -> list[slice]:
    """Equal parts of the sequences; beside logits all layers' activations and scores of attention exist at once."""
    n_sequences, time = inputs_BT.shape
    layer = model.n_heads * (time + model.head_width) + 3 * model.hidden + 4 * model.width
    return parts_in_memory(n_sequences, time, model.vocab_size + model.n_layers * layer)


def _mean_of(
    student: Student, inputs_BT: np.ndarray, places: tuple[str, ...], measure: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The mean of what is measured of equal parts of the sequences: float64[places, B, T, …] of each, as it is read."""
    model, params = student.model, params_of(student)

    @jax.jit
    def read(params, inputs_BT):
        found = {}

        def note(place: str, value: jax.Array) -> jax.Array:
            if place in places:
                found[place] = value
            return unchanged(place, value)

        forward(with_params(model, params), inputs_BT, note)
        return jnp.stack([found[place] for place in places])

    parts = _parts(model, inputs_BT)
    return np.mean([measure(np.asarray(read(params, inputs_BT[part]), np.float64)) for part in parts], axis=0)
