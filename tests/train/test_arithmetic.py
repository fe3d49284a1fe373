"""The environment of a process changes no result."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import pytest

from scaling.train.arithmetic import FIXED, fix_arithmetic
from scaling.train.loop import train_trunk

HOSTILE = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
}

OTHERWISE = {
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 3,
    "jax_default_matmul_precision": "highest",
    "jax_numpy_dtype_promotion": "strict",
}

STEP = """
import sys
from scaling.records import RunStore
from scaling.spec import RunSpec
from scaling.train.loop import train_trunk
(record,) = train_trunk([RunSpec.model_validate_json(sys.argv[2])], RunStore(sys.argv[1]))
print(repr((record.outcome.train_loss, record.outcome.loss)))
"""


@pytest.mark.slow
def test_a_step_in_a_hostile_environment_gives_the_same_loss(run_spec, store, tmp_path):
    run = run_spec(640)
    (record,) = train_trunk([run], store)
    command = [sys.executable, "-c", STEP, str(tmp_path / "hostile"), run.canonical_json()]
    done = subprocess.run(command, env=os.environ | HOSTILE, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == repr((record.outcome.train_loss, record.outcome.loss))


@pytest.mark.parametrize("name", FIXED)
def test_every_setting_that_is_fixed_is_one_of_jax_and_put_back(name):
    assert hasattr(jax.config, name)
    jax.config.update(name, OTHERWISE[name])
    fix_arithmetic()
    assert getattr(jax.config, name) == FIXED[name]


def test_options_of_the_compiler_are_recorded(run_spec, store, monkeypatch):
    from scaling.train.runtime import environment

    environment.cache_clear()
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert environment()["xla_flags"] == "--xla_cpu_enable_fast_math=true"
    environment.cache_clear()
