"""A student as the model behind a keyboard: contexts are read once, and the beginnings of words tried behind them.

Shape suffixes as in ``model.py``: B contexts at a time, C tokens of each, W beginnings behind each, R tokens of one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from scaling.data.tasks.suggestions import AT_ONCE, EFFORT, Reader, Tokens
from scaling.spec import ModelSpec
from scaling.train.step import Params, params_of, with_params
from scaling.train.student.kernels import attend
from scaling.train.student.model import Student, _feed_forward, _output, _project, embed, empty_cache, rope_table

ROOM = 32
"""Tokens of the training context that are kept for the word behind it, at most half of them."""
READ_BYTES = 1 << 28
"""Keys, values and distributions that are held at one time, about."""
ROWS = 32
"""Contexts of one call; one shape, so that a program is compiled once for each length of beginnings."""


def context_of(model: ModelSpec) -> int:
    """Tokens that a student reads before a word; the others of its training context are the word's."""
    return model.context - min(ROOM, model.context // 2)


@dataclass(frozen=True)
class StudentKeyboard:
    """A student that suggests words.

    Attributes:
        student: It, with its weights; also dequantized ones.
    """

    student: Student

    def read(self, contexts: np.ndarray) -> Iterator[tuple[slice, Reader]]:
        """Read contexts, int32[n, C], as many at a time as ``READ_BYTES`` hold."""
        model, params = self.student.model, params_of(self.student)
        kept = 2 * model.n_layers * model.n_kv_heads * model.head_width * contexts.shape[1] + EFFORT * model.vocab_size
        at_once = min(len(contexts), max(ROWS, READ_BYTES // (4 * kept)))
        for start in range(0, len(contexts), at_once):
            part = slice(start, min(start + at_once, len(contexts)))
            # The last token is read with each beginning, so that none of them is empty.
            padded = np.pad(contexts[part], [(0, at_once - (part.stop - start)), (0, 0)])
            cache = _read(model, params, padded[:, :-1])
            yield part, partial(self._behind, params, cache, padded[:, -1])

    def _behind(
        self,
        params: Params,
        cache: tuple[jax.Array, jax.Array],
        last: np.ndarray,
        rows: Sequence[int],
        behind: Sequence[Tokens],
    ) -> np.ndarray:
        """``ln`` of the next token behind each beginning, float32[n, V]; −∞ for those that the context cannot hold."""
        model = self.student.model
        found = np.full((len(rows), model.vocab_size), -np.inf, np.float32)
        room = model.context - cache[0].shape[3]
        for lines in _packed(rows, [len(tokens) < room for tokens in behind]):
            contexts = [rows[line[0]] for line in lines]
            tokens_BWR, last_BW = _laid_out([[(last[rows[i]], *behind[i]) for i in line] for line in lines])
            contexts_B = np.pad(np.array(contexts, np.int32), (0, ROWS - len(lines)))
            log_f_BWV = np.asarray(_continue(model, params, *cache, contexts_B, tokens_BWR, last_BW))
            for b, line in enumerate(lines):
                found[line] = log_f_BWV[b, : len(line)]
        return found


def _packed(rows: Sequence[int], fits: Sequence[bool]) -> Iterator[list[list[int]]]:
    """What is asked by its place: beginnings of one context in lines of at most ``AT_ONCE``, ``ROWS`` lines a call."""
    of_row: dict[int, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if fits[i]:
            of_row[row].append(i)
    lines = [own[at : at + AT_ONCE] for own in of_row.values() for at in range(0, len(own), AT_ONCE)]
    return (lines[at : at + ROWS] for at in range(0, len(lines), ROWS))


def _laid_out(lines: Sequence[Sequence[Tokens]]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each beginning, int32[ROWS, AT_ONCE, R], and where its last one lies."""
    # Lengths are powers of two from 4 on, for which there are few programs.
    longest = max(len(tokens) for line in lines for tokens in line)
    out = np.zeros((ROWS, AT_ONCE, 1 << max(2, (longest - 1).bit_length())), np.int32)
    last = np.zeros((ROWS, AT_ONCE), np.int32)
    for b, line in enumerate(lines):
        for w, tokens in enumerate(line):
            out[b, w, : len(tokens)] = tokens
            last[b, w] = len(tokens) - 1
    return out, last


@partial(jax.jit, static_argnames="model")
def _read(model: ModelSpec, params: Params, contexts_BC: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Keys and values of contexts, float32[L, B, J, C, K]."""
    cache = with_params(model, params).extend(contexts_BC, empty_cache(model, *contexts_BC.shape))[1]
    return cache.keys, cache.values


@partial(jax.jit, static_argnames="model")
def _continue(model: ModelSpec, params: Params, keys, values, rows_B, tokens_BWR, last_BW) -> jax.Array:
    """``ln`` of the token behind the one at ``last`` of each beginning, float32[B, W, V].

    The beginnings of one context lie in one sequence, side by side: each sees the context and itself.
    """
    student = with_params(model, params)
    (b, w, r), c = tokens_BWR.shape, keys.shape[3]
    own_TT = np.kron(np.eye(w, dtype=bool), np.tri(r, dtype=bool))
    mask_TS = np.concatenate([np.ones((w * r, c), bool), own_TT], axis=1)
    rotation = [np.tile(part[c:], (w, 1)) for part in rope_table(model, c + r)]
    x_BTM = embed(student.token_embd[...], tokens_BWR.reshape(b, w * r))
    for i, block in enumerate(student.blocks):
        q_BHTK, k_BJTK, v_BJTK = _project(block, model, x_BTM, rotation)
        k_BJSK, v_BJSK = (
            jnp.concatenate([old[i, rows_B], new], axis=2) for old, new in ((keys, k_BJTK), (values, v_BJTK))
        )
        x_BTM = x_BTM + _output(block, attend(q_BHTK, k_BJSK, v_BJSK, mask_TS))
        x_BTM = x_BTM + _feed_forward(block, model, x_BTM)
    x_BWM = jnp.take_along_axis(x_BTM.reshape(b, w, r, -1), last_BW[..., None, None], axis=2)[:, :, 0]
    return jax.nn.log_softmax(student._logits(x_BWM))
