"""A student on disk becomes a bundle, and the bundle is measured beside a forecast: for real, on a tiny world."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scaling.accounting import gguf_bytes, symbol_layout
from scaling.compress.degradation import paired
from scaling.compress.student import quantize
from scaling.errors import EngineError, ExportError
from scaling.export import measure as measurement
from scaling.export.bundle.files import export, load_tensors, open_bundle, write_bundle
from scaling.export.bundle.manifest import MANIFEST_FILE
from scaling.export.bundle.provenance import provenance_of
from scaling.export.checks import _engine_loss as engine_loss
from scaling.export.engine import FileRefusedError
from scaling.export.format import EXPORT_FORMATS, About
from scaling.export.ledger.rows import append, ledger_row, read_ledger
from scaling.export.verify import verify
from scaling.formats.gguf import read_gguf, write_gguf
from scaling.predict.quantization import QUANTIZATION_COST
from scaling.spec import ModelSpec
from scaling.train.checkpoint import load_student, save_student

pytest.importorskip("gguf", reason="writes GGUF files: pip install 'scaling[export]'")

MODEL = ModelSpec(vocab_size=65, width=32, n_layers=1, context=40)
ABOUT = About(run_id="0123456789", name="", description="", license="", text="")


@pytest.fixture
def bundle(store, run, tmp_path):
    return export(store, run, tmp_path / "bundle")


@pytest.fixture
def facts(store, run):
    """What a bundle says beside its weights."""
    provenance = provenance_of(store.load(run.run_id), store)
    return {"run_id": run.run_id, "tokenizer": symbol_layout(65), "provenance": provenance}


def test_a_bundle_says_what_it_is_and_its_file_is_what_it_says(bundle, run):
    manifest = open_bundle(bundle.path).manifest
    assert manifest == bundle.manifest
    assert (manifest.run_id, manifest.model) == (run.run_id, run.model)
    assert manifest.files["model.gguf"].n_bytes == gguf_bytes(MODEL, symbol_layout(65), "Q8_0")
    assert 0 < abs(manifest.loss_after - manifest.loss_before) < 0.005
    assert read_gguf(bundle.model_path).about["scaling.run_id"] == run.run_id
    assert sorted(path.name for path in bundle.path.parent.iterdir()) == ["bundle"]


def test_exporting_again_changes_nothing(store, run, bundle):
    before = bundle.model_path.stat().st_mtime_ns
    assert export(store, run, bundle.path) == bundle
    assert bundle.model_path.stat().st_mtime_ns == before


def test_another_bundle_in_the_way_is_moved_aside_or_refused_but_never_lost(store, run, bundle, committed):
    other = committed(store, 1)
    with pytest.raises(ExportError, match="which is not overwritten"):
        export(store, other, bundle.path, on_conflict="refuse")
    assert open_bundle(bundle.path).manifest.run_id == run.run_id
    newer = export(store, other, bundle.path)
    assert newer.manifest.run_id == other.run_id
    assert newer.displaced == bundle.path.with_name(f"bundle-{run.run_id}")
    assert open_bundle(newer.displaced).manifest.run_id == run.run_id


def test_a_changed_file_is_noticed_and_exported_anew(store, run, bundle):
    content = bytearray(bundle.model_path.read_bytes())
    content[-40] ^= 1
    bundle.model_path.write_bytes(content)
    with pytest.raises(ExportError, match="is not the file that the manifest describes"):
        open_bundle(bundle.path)
    again = export(store, run, bundle.path)
    assert again.displaced.name == "bundle-damaged"
    assert open_bundle(bundle.path).manifest == bundle.manifest


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema_version": 99}', b'{"schema_version": 1}', 3000 * b"["])
def test_a_folder_without_a_readable_manifest_is_no_bundle(bundle, damage):
    (bundle.path / MANIFEST_FILE).write_bytes(damage)
    with pytest.raises(ExportError, match="not a bundle"):
        open_bundle(bundle.path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loss_after", float("nan")),
        ("loss_before", "low"),
        ("files", {"../model.gguf": {}}),
        ("format", 1),
        ("model", {}),
        ("provenance", {}),
    ],
)
def test_a_manifest_with_an_impossible_value_is_no_bundle(bundle, key, value):
    plain = json.loads((bundle.path / MANIFEST_FILE).read_text())
    (bundle.path / MANIFEST_FILE).write_text(json.dumps(plain | {key: value}))
    with pytest.raises(ExportError, match="not a bundle"):
        open_bundle(bundle.path)


def test_a_bundle_of_before_is_read(bundle, run):
    """Its manifest names no format, and holds the whole specification of the run."""
    plain = json.loads((bundle.path / MANIFEST_FILE).read_text())
    for later in ("format", "model", "provenance"):
        del plain[later]
    (bundle.path / MANIFEST_FILE).write_text(json.dumps(plain | {"run": run.model_dump(mode="json")}))
    manifest = open_bundle(bundle.path).manifest
    assert manifest == dataclasses.replace(bundle.manifest, provenance=None)


def test_a_failed_export_leaves_nothing_behind(store, run, facts, tmp_path):
    student = quantize(load_tensors(store, run))
    wrong = dataclasses.replace(student, matrices={})
    with pytest.raises(ExportError, match="tensors do not fit the model"):
        write_bundle(tmp_path / "bundle", wrong, MODEL, **facts)
    assert list(tmp_path.iterdir()) == []


def test_a_diverged_student_is_not_exported(store, committed, tmp_path):
    run = committed(store, 2)
    student = load_student(store.student_dir(run.run_id), MODEL)
    student.output_norm = nnx.Param(jnp.full(MODEL.width, jnp.nan))
    shutil.rmtree(store.student_dir(run.run_id))
    save_student(store.student_dir(run.run_id), student)
    with pytest.raises(ExportError, match=f"student of run {run.run_id}: output_norm.weight holds weights"):
        export(store, run, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_model_is_not_measured(store, run, bundle, forecast):
    other = MODEL.model_copy(update={"context": 2**31})
    write_gguf(bundle.model_path, load_tensors(store, run), model=other, tokenizer=symbol_layout(65))
    with pytest.raises(ExportError, match="model.gguf: is of another model than its manifest says"):
        verify(bundle, store, forecast(run, loss=4.0))


def test_affine_int8_is_not_written_as_something_else(store, run, facts, tmp_path):
    student = quantize(load_tensors(store, run), "affine_channel")
    with pytest.raises(ExportError, match="gguf stores matrices as q8_0: the student is affine_channel"):
        write_bundle(tmp_path / "bundle", student, MODEL, **facts)


def test_paired_differences_tell_a_cost_that_the_losses_alone_cannot():
    rng = np.random.default_rng(0)
    before = rng.normal(2.0, 0.5, 400)
    cost = paired(before, before + rng.normal(0.001, 0.0005, 400))
    assert cost.increase == pytest.approx(0.001, abs=3 * cost.increase_se)
    assert cost.increase_se < 0.0001 < before.std() / 20


def test_an_export_is_verified_by_a_real_engine_and_gets_its_ledger_row(store, run, bundle, forecast, fit, tmp_path):
    pytest.importorskip("xllamacpp", reason="runs llama.cpp: pip install 'scaling[export]'")
    loss = store.load(run.run_id).outcome.loss
    recommended = forecast(run, loss)
    found = verify(bundle, store, recommended, engine_tokens=80)
    assert found.passed
    assert [check.name for check in found.checks if check.passed is None] == []
    assert found.read_back.before == pytest.approx(loss, abs=1e-9)
    assert found.read_back.after == pytest.approx(bundle.manifest.loss_after, abs=1e-9)
    assert found.file_bytes == recommended.choice.footprint.weights_bytes
    assert found.in_engine.greedy.n_tokens == 16
    assert abs(found.in_engine.cost.increase) < 0.01
    append(tmp_path / "ledger.csv", "tiny", fit, recommended, found)
    (row,) = read_ledger(tmp_path / "ledger.csv")
    assert row["run_id"] == run.run_id
    assert row["loss_measured"] == loss
    assert row["loss_in_interval"] is True
    assert row["damage_low"] <= row["int8_cost"] <= row["damage_high"]
    assert row["damage_basis"] == QUANTIZATION_COST["Q8_0"].source
    assert row["peak_bytes_measured"] == found.in_engine.run.peak_bytes
    assert row["passed"] is True


@pytest.mark.parametrize("miss", [-1.0, 1.0], ids=["below", "above"])
def test_a_forecast_that_misses_is_reported_and_breaks_no_promise(store, run, bundle, forecast, fit, monkeypatch, miss):
    monkeypatch.setattr(measurement, "_run_engine", _no_engine)
    recommended = forecast(run, loss=store.load(run.run_id).outcome.loss + miss)
    found = verify(bundle, store, recommended)
    assert {check.name: check.passed for check in found.checks} == {
        "target": miss > 0,
        "loss of the student": False,
        "file size": True,
        "loss read back from the file": True,
        "damage of rounding": True,
        "engine": None,
    }
    assert found.passed
    assert found.in_engine.error == "it crashed"
    assert ledger_row("tiny", fit, recommended, found).loss_in_interval is False


@pytest.mark.parametrize(
    ("cost", "passed"), [(-0.03, False), (-0.01, True), (0.01, True), (0.03, False), (np.nan, False)]
)
def test_an_engine_that_is_better_than_jax_breaks_its_promise_as_one_that_is_worse(cost, passed):
    losses = np.array([2.0, 2.1, 2.2])
    assert engine_loss(paired(losses, losses + cost)).passed is passed


@pytest.mark.parametrize(("above", "met"), [(0.01, True), (1e-6, True), (-1e-6, False), (-0.01, False)])
def test_the_target_is_the_first_check_and_a_column_of_the_ledger(
    store, run, bundle, forecast, fit, monkeypatch, tmp_path, above, met
):
    monkeypatch.setattr(measurement, "_run_engine", _no_engine)
    loss = store.load(run.run_id).outcome.loss
    # Asked for is the file: what rounding its weights costs is part of what was measured.
    rounding = verify(bundle, store, forecast(run, loss)).read_back.increase
    assert abs(rounding) > 1e-6
    found = verify(bundle, store, recommended := forecast(run, loss + rounding + above))
    first = found.checks[0]
    assert (first.name, first.kind, first.passed) == ("target", "target", met)
    assert first.note == f"P 0.50, {'met' if met else 'missed'} by {abs(above):.4f}"
    assert (found.passed, found.target_met, found.succeeded) == (True, met, met)
    append(tmp_path / "ledger.csv", "tiny", fit, recommended, found)
    (row,) = read_ledger(tmp_path / "ledger.csv")
    assert (row["target_met"], row["target_probability"], row["probability"]) == (met, 0.9, 0.5)


def test_a_file_that_the_engine_refuses_breaks_a_promise(store, run, bundle, forecast, monkeypatch):
    def refuse(*args, **kwargs):
        raise FileRefusedError("llama.cpp could not run model.gguf")

    monkeypatch.setattr(measurement, "_run_engine", refuse)
    found = verify(bundle, store, forecast(run, loss=4.0))
    assert [(check.measured, check.passed) for check in found.checks if check.name == "engine"] == [("refused", False)]
    assert not found.passed


def test_a_file_of_other_weights_breaks_the_promise_of_its_loss(store, run, bundle, forecast, monkeypatch):
    tensors = load_tensors(store, run)
    # A confident student that is wrong: its loss is far above that of one that knows nothing.
    tensors["output_norm.weight"] = 20 * tensors["output_norm.weight"]
    EXPORT_FORMATS["gguf"].write(
        bundle.model_path, quantize(tensors), model=MODEL, tokenizer=symbol_layout(65), about=ABOUT
    )
    monkeypatch.setattr(measurement, "_run_engine", _no_engine)
    found = verify(bundle, store, forecast(run, loss=4.0))
    assert found.read_back.increase > 0.1
    assert not found.passed


def _no_engine(*args, **kwargs):
    raise EngineError("it crashed")
