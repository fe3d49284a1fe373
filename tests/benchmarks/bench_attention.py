"""A step with attention in C++ beside today's: `python tests/benchmarks/bench_attention.py [--shapes I …]`.

The kernel is `attention.cc`, compiled here (g++, or what CXX names) and called by `jax.ffi`. Both steps live in one
process of one thread, take turns, and are timed by the processor's clock; loss and gradients are compared first. The
shapes are those of `bench_train.py`.
"""

from __future__ import annotations

import os
import sys

os.environ |= {"JAX_PLATFORMS": "cpu", "NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}

import argparse
import ctypes
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import bench_train
import jax
import jax.numpy as jnp
import numpy as np

from scaling.spec import ModelSpec
from scaling.train import model as students
from scaling.train.objective import token_loss
from scaling.train.runtime import prepare_process
from scaling.train.step import _program, params_of, with_params

TURNS, BLOCK_S, HEAD_WIDTH = 7, 1.0, 32
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")


def register_kernel() -> None:
    """Compile the kernel and make both of its calls known to jax."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise SystemExit("no C++ compiler: install g++, or name one in CXX")
    with tempfile.TemporaryDirectory() as folder:
        library, source = Path(folder) / "attention.so", Path(__file__).with_name("attention.cc")
        words = [
            compiler,
            *FLAGS,
            "-shared",
            "-fPIC",
            "-isystem",
            jax.ffi.include_dir(),
            str(source),
            "-o",
            str(library),
        ]
        subprocess.run(words, check=True)
        loaded = ctypes.CDLL(str(library))
    for name in ("attention", "attention_gradient"):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def attention(qkv_BTX: jax.Array, cos_TC, sin_TC, n_heads: int) -> jax.Array:
    """What the heads mix, side by side, float32[B, T, H·K]."""
    return _attention(qkv_BTX, cos_TC, sin_TC, n_heads)[0]


def _attention(qkv_BTX, cos_TC, sin_TC, n_heads):
    b, t, x = qkv_BTX.shape
    given = (qkv_BTX, jnp.asarray(cos_TC), jnp.asarray(sin_TC))
    outputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((b, t, x // 3), (b, n_heads, t))]
    mixed_BTY, log_z_BHT = jax.ffi.ffi_call("attention", outputs)(*given)
    return mixed_BTY, (*given, mixed_BTY, log_z_BHT)


def _attention_gradient(n_heads, saved, dmixed_BTY):
    output = jax.ShapeDtypeStruct(saved[0].shape, jnp.float32)
    return jax.ffi.ffi_call("attention_gradient", output)(*saved, dmixed_BTY), None, None


attention.defvjp(_attention, _attention_gradient)


def read_with_kernel(student: students.Student, tokens_BT: jax.Array) -> jax.Array:
    """`Student.__call__`, its attention by the kernel."""
    model = student.model
    width = model.n_heads * model.head_width
    even_first = partial(students._even_first, rotated=2 * width, head_width=model.head_width)
    rotation = students.rope_table(model, tokens_BT.shape[1])
    x_BTM = students.embed(student.token_embd[...], tokens_BT)
    for block in student.blocks:
        given = (x_BTM, block.attn_norm[...], block.attn_qkv[...], model.norm_eps, even_first)
        mixed_BTY = attention(students._norm_linear(*given)[0], *rotation, model.n_heads)
        x_BTM = x_BTM + students.linear(mixed_BTY, block.attn_output[...])
        x_BTM = x_BTM + students._feed_forward(block, model, x_BTM)
    return student._logits(x_BTM)


with_kernel = partial(mock.patch.object, students.Student, "__call__", read_with_kernel)


def largest_difference() -> float:
    """Of loss and gradients, each relative to its largest value."""
    model = ModelSpec(vocab_size=256, width=64, n_layers=2, context=128, head_width=HEAD_WIDTH)
    params = params_of(students.Student(model, 0))
    tokens_BT = np.random.default_rng(0).integers(model.vocab_size, size=(4, model.context), dtype=np.int32)

    def measure():
        return jax.value_and_grad(lambda given: token_loss(with_params(model, given)(tokens_BT), tokens_BT))(params)

    today = measure()
    with with_kernel():
        found = measure()
    apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / jnp.abs(a).max()), today, found)
    return max(jax.tree.leaves(apart))


def busy_seconds(take: Callable[[int], float], count: int) -> float:
    """Processor time of a step."""
    began = time.process_time()
    take(count)
    return (time.process_time() - began) / count


def report(shape: tuple[int, int, int, int]) -> None:
    """Print a shape's line."""
    sizes = dict(zip(("vocab_size", "width", "n_layers", "context"), shape, strict=True)) | {"head_width": HEAD_WIDTH}

    def prepared() -> Callable[[int], float]:
        _program.cache_clear()  # the same specification, but another program
        take = bench_train.our_steps("ours", **sizes)
        take(bench_train.WARM_UP)
        return take

    today = prepared()
    with with_kernel():
        kernel = prepared()
    count = max(1, round(BLOCK_S / busy_seconds(today, 1)))
    turns = [[busy_seconds(take, count) for take in (today, kernel)] for _ in range(TURNS)]
    ratio = statistics.median(one / other for one, other in turns)
    before, after = (1e3 * statistics.median(turn[i] for turn in turns) for i in (0, 1))
    print(f"{shape}: today {before:7.1f} ms, kernel {after:7.1f} ms a step; x {ratio:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shapes", type=int, nargs="*", default=range(len(bench_train.SHAPES)), help="which, from 0")
    asked = parser.parse_args()
    prepare_process()
    register_kernel()
    print(f"largest relative difference of loss and gradients: {largest_difference():.1e}")
    for i in asked.shapes:
        report(bench_train.SHAPES[i])


if __name__ == "__main__":
    sys.exit(main())
