from __future__ import annotations

import pytest

from scaling.records import RunStore
from scaling.spec import DataSpec, EvalSpec, FactSource, ModelSpec, NoiseTeacher, OptimSpec, RunSpec


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "results")


@pytest.fixture
def run_spec():
    """A run of W0 small enough to be trained in a second."""

    def make(tokens: int = 12_800, **optim) -> RunSpec:
        return RunSpec(
            model=ModelSpec(vocab_size=65, width=32, n_layers=1, context=40),
            data=DataSpec(source=FactSource(kind="w0"), teacher=NoiseTeacher(kind="noise", rate=0.2)),
            optim=OptimSpec(**{"lr": 1e-2, "warmup_tokens": 3_200, "batch_size": 8, **optim}),
            evaluation=EvalSpec(tokens=2_000),
            tokens=tokens,
        )

    return make
