"""Leaving out parts of a trained student: what is left has the sizes asked for, beside the whole, and is exported."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scaling.accounting import count_parameters, training_flops, weights_bytes
from scaling.chain.pruning import prune_stage
from scaling.compress.pruning import Pruning, healing_flops, tokens_for
from scaling.errors import ExportError, SpecError
from scaling.export.bundle.files import open_bundle
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import DataSpec, EvalSpec, ModelSpec, OptimSpec, RunSpec
from scaling.train.checkpoint import save_student
from scaling.train.student.model import Student, to_tensors

MODEL = ModelSpec(vocab_size=65, width=32, n_layers=1, head_width=32, n_heads=2, hidden=64, context=40)


@pytest.fixture(scope="module")
def kept_store(tmp_path_factory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("results")).prepare()


@pytest.fixture(scope="module")
def run(kept_store) -> RunSpec:
    run = RunSpec(
        model=MODEL,
        data=DataSpec.model_validate({"source": {"kind": "w0"}}),
        optim=OptimSpec(batch_size=2),
        evaluation=EvalSpec(tokens=400),
        tokens=2000,
    )
    draft = kept_store.draft(run.run_id)
    save_student(draft / "student", Student(run.model))
    kept_store.commit(RunRecord(spec=run, outcome=Outcome(status="done", loss=4.0, loss_se=0.1)), draft)
    return run


class HalfTheLoss:
    """A fit that says 1 nat at one token for one parameter, and less for more of either."""

    columns = {"n": "n_params"}
    texts: dict[str, str] = {}
    teachers: dict[str, dict[str, float]] = {}
    members = ()

    def predict(self, n, d, *, teacher, given, force):
        assert (given, force) == ("law", True)
        return SimpleNamespace(value=1 / n + 1 / d)


@pytest.mark.slow
def test_what_is_left_is_told_beside_the_whole_and_beside_one_born_so_small(kept_store, run, tmp_path):
    pytest.importorskip("gguf", reason="writes GGUF files: pip install 'scaling[export]'")
    kept, folder = {"heads": 1.0, "neurons": 32.0, "weights": 0.5}, tmp_path / "pruned"
    found = prune_stage(kept_store, run, kept, fit=HalfTheLoss(), folder=folder)
    left = MODEL.model_copy(update={"n_heads": 1, "n_kv_heads": 1, "hidden": 32})
    counts = count_parameters(left)
    assert found.n_params_before == count_parameters(MODEL).n_params
    assert found.n_params == counts.n_params - (counts.attention + counts.mlp) / 2
    # A zero takes as many bytes as any other weight.
    assert (found.bytes_before, found.n_bytes) == (weights_bytes(MODEL, "Q8_0"), weights_bytes(left, "Q8_0"))
    assert found.healing_tokens == 200
    spent = training_flops(MODEL, run.n_tokens) + healing_flops(MODEL, left, 200)
    assert found.born == pytest.approx(
        {
            "on as much text": 1 / found.n_params + 1 / run.n_tokens,
            "for as much compute": 1 / found.n_params + 1 / tokens_for(left, spent),
        }
    )
    # An untrained student hardly differs from its own part, but the parts are not the same student.
    assert len({found.loss_before, found.loss_cut, found.loss, found.loss_stored}) == 4
    bundle = open_bundle(folder)
    assert bundle.manifest.model == left
    assert (bundle.manifest.loss_before, bundle.manifest.loss_after) == (found.loss, found.loss_stored)
    assert "heads=1, neurons=32, weights=0.5 kept, healed on 200 tokens" in (folder / "README.md").read_text()
    matrices = [w for name, w in bundle.read().tensors.items() if name.startswith("blk.") and w.ndim == 2]
    assert sum((w == 0).sum() for w in matrices) >= 0.5 * sum(w.size for w in matrices)


def test_what_cannot_be_written_is_refused_before_anything_is_computed(kept_store, run, tmp_path, monkeypatch):
    monkeypatch.setattr(Pruning, "__init__", None)
    (tmp_path / "taken").mkdir()
    with pytest.raises(ExportError, match="taken: something is there"):
        prune_stage(kept_store, run, {"heads": 1.0}, folder=tmp_path / "taken")
    with pytest.raises(ExportError, match="no export format stores matrices as affine_channel"):
        prune_stage(kept_store, run, {"heads": 1.0}, scheme="affine_channel", folder=tmp_path / "new")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"heads": float("inf")}, "heads=inf cannot be kept"),
        ({"head": 1}, "--prune: got 'head', which is no part — did you mean 'heads'"),
        ({"heads": 3}, "got heads=3 of 2, which cannot be kept"),
        ({"heads": 1, "neurons": 64}, "got neurons=64 of 64, which leaves nothing out, allowed is 32"),
        ({"layers": 1}, "got layers=1 of 1, which leaves nothing out, and 1 must stay"),
        ({"weights": 1 - 1e-9}, "got weights=0.999999999, which leaves nothing out"),
        ({"layers": 0.5}, "layers=0.5 cannot be kept — a whole number can"),
        ({"weights": 2}, "weights=2 cannot be kept — a share between 0 and 1 can"),
    ],
)
def test_what_cannot_be_left_out_is_refused(kept_store, run, kept, said):
    with pytest.raises(SpecError, match=said):
        Pruning(run, kept_store).cut(kept)


def test_nothing_left_out_is_the_student_itself(kept_store, run):
    whole, same = (to_tensors(one) for one in (Pruning(run, kept_store).student, Pruning(run, kept_store).cut({})))
    assert all((whole[name] == same[name]).all() for name in whole)
