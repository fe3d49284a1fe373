"""An export format and an engine added from outside, one class each, used from export to the ledger row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from scaling.accounting import ENGINE_MEMORY, STORED_FORMATS, EngineMemory, StoredFormat, tensor_shapes, weights_bytes
from scaling.compress.student import QuantizedStudent
from scaling.errors import EngineError, ExportError, SpecError
from scaling.export.bundle.files import export, open_bundle
from scaling.export.engine import ENGINES, Engine, EngineRun, engine_for
from scaling.export.format import EXPORT_FORMATS, ExportFormat
from scaling.export.ledger.rows import append, read_ledger
from scaling.export.verify import verify
from scaling.formats.student import StudentFile
from scaling.predict.phones.footprint import footprint
from scaling.spec import ModelSpec
from scaling.train.student.model import from_tensors
from tests.students import logits_of

MIB = 2**20


class RowsFormat(ExportFormat):
    """All tensors as float32, one after the other, in a file that knows nothing of its model."""

    name = "rows"
    suffix = ".rows"
    scheme = "affine_channel"

    def objection(self, model):
        return None if model.n_layers < 3 else f"{model.n_layers} layers are more than 2"

    def write(self, path: Path, student: QuantizedStudent, *, model, tokenizer, about) -> None:
        self.model, self.tokenizer, self.about = model, tokenizer, vars(about)
        tensors = student.dequantize()
        path.write_bytes(b"".join(tensors[key].tobytes() for key in tensor_shapes(model)))

    def read(self, path: Path) -> StudentFile:
        values, tensors = np.frombuffer(path.read_bytes(), np.float32), {}
        for key, shape in tensor_shapes(self.model).items():
            tensors[key], values = values[: np.prod(shape)].reshape(shape), values[np.prod(shape) :]
        return StudentFile(
            model=self.model,
            tokenizer=self.tokenizer,
            tensors=tensors,
            about=self.about,
            file_bytes=path.stat().st_size,
        )


RUN = EngineRun(
    engine="echo 1",
    token_ids=(),
    text="",
    ended=False,
    prompt_tokens_per_s=None,
    tokens_per_s=None,
    tokens_per_s_range=None,
    load_s=0.0,
    peak_bytes=2 * MIB,
    allocated_bytes=2 * MIB,
    mapped_bytes=0,
    threads=1,
    load_average=0.0,
    cores=2,
)


class EchoEngine(Engine):
    """Computes in JAX what it is asked."""

    name = title = "echo"
    formats = ("rows",)

    def probe(self) -> str:
        return "echo 1"

    def run(self, path, prompt_ids, *, n_tokens, context, cache=None, repeats=5, threads=None) -> EngineRun:
        written: list[int] = []
        for _ in range(n_tokens):
            log_probs = self.log_probs(path, np.array([[*prompt_ids, *written]]), tokenizer=None, context=context)
            written.append(int(log_probs[0, -1].argmax()))
        size = path.stat().st_size
        return replace(RUN, token_ids=tuple(written), peak_bytes=2 * MIB + size, mapped_bytes=size)

    def log_probs(self, path, sequences, *, tokenizer, context) -> np.ndarray:
        file = EXPORT_FORMATS["rows"].read(path)
        padded = np.zeros((len(sequences), context), np.int32)
        padded[:, : sequences.shape[1]] = sequences
        student = from_tensors(file.model, file.tensors)
        return np.asarray(jax.nn.log_softmax(logits_of(student, padded)))[:, : sequences.shape[1]]

    def tokenize(self, path, texts: Sequence[str]) -> list[list[int]]:
        raise EngineError("worlds have no text")


@pytest.fixture
def additions(monkeypatch):
    """Both, for the time of one test."""
    memory = EngineMemory(
        code=0,
        base=2 * MIB,
        per_token=0,
        per_merge=0,
        per_layer=0,
        per_position=0,
        hidden_floats=0,
        width_floats=0,
        n_ubatch=1,
        cache_step=1,
    )
    stored = StoredFormat(
        name="rows", storage="F32", engine="echo", bytes_of=lambda model, _, storage: weights_bytes(model, storage)
    )
    for registry, entry in ((EXPORT_FORMATS, RowsFormat()), (STORED_FORMATS, stored)):
        monkeypatch.setitem(registry._entries, "rows", entry)
    for registry, entry in ((ENGINES, EchoEngine()), (ENGINE_MEMORY, memory)):
        monkeypatch.setitem(registry._entries, "echo", entry)


def test_a_format_and_an_engine_from_outside_go_from_export_to_the_ledger(
    additions, store, run, forecast, fit, tmp_path
):
    bundle = export(store, run, tmp_path / "bundle", format="rows")
    assert open_bundle(bundle.path) == bundle
    assert bundle.model_path.name == "model.rows"
    recommended = forecast(run, loss=4.2, memory=footprint(run.model, format="rows"))
    found = verify(bundle, store, recommended, engine_tokens=80)
    checks = {check.name: check for check in found.checks}
    assert checks["file size"].note == "exact"
    assert checks["engine's greedy text"].measured == "16 equal"
    assert checks["peak memory"].passed
    assert abs(found.in_engine.cost.increase) < 1e-5
    assert found.passed
    append(tmp_path / "ledger.csv", "tiny", fit, recommended, found)
    (row,) = read_ledger(tmp_path / "ledger.csv")
    assert (row["engine"], row["passed"]) == ("echo 1", True)
    assert row["file_bytes_forecast"] == row["file_bytes_measured"] == weights_bytes(run.model, "F32")


@pytest.mark.parametrize(
    ("method", "answer", "check", "said"),
    [
        ("run", {"token_ids": (65,)}, "engine", "wrote (65,), where 16 tokens below 65 were asked for"),
        ("run", {"token_ids": (1,) * 17}, "engine", "where 16 tokens below 65 were asked for"),
        ("log_probs", np.zeros((2, 39, 64)), "engine", "gave probabilities (2, 39, 64), where (2, 39, 65) are needed"),
        ("log_probs", np.full((2, 39, 65), np.nan), "loss in the engine", "+nan on 2 sequences"),
        ("log_probs", np.full((2, 39, 65), -np.inf), "loss in the engine", "+inf on 2 sequences"),
    ],
    ids=["a token too many", "tokens too many", "another vocabulary", "nan", "inf"],
)
def test_what_an_engine_answers_is_not_believed(
    additions, store, run, forecast, tmp_path, monkeypatch, method, answer, check, said
):
    bundle = export(store, run, tmp_path / "bundle", format="rows")
    true = getattr(EchoEngine, method)

    def other(self, *args, **options):
        return replace(true(self, *args, **options), **answer) if method == "run" else answer

    if method == "log_probs":  # the greedy text is computed with it, and may stay true
        monkeypatch.setattr(EchoEngine, "run", lambda self, *_, **__: replace(RUN, token_ids=()))
    monkeypatch.setattr(EchoEngine, method, other)
    found = verify(bundle, store, forecast(run, loss=4.2, memory=footprint(run.model, format="rows")), engine_tokens=80)
    (failed,) = [one for one in found.checks if one.name == check]
    assert failed.passed is (None if check == "engine" else False)
    assert said in failed.note


def test_what_a_format_cannot_hold_is_said_before_anything_is_computed(additions, store, run, tmp_path):
    deeper = run.model_copy(update={"model": ModelSpec(vocab_size=65, width=32, n_layers=3, context=40)})
    with pytest.raises(ExportError, match="rows cannot hold this model: 3 layers are more than 2; export it in"):
        export(store, deeper, tmp_path / "bundle", format="rows")


def test_another_format_of_the_same_run_is_another_bundle(additions, store, run, tmp_path):
    pytest.importorskip("gguf", reason="writes GGUF files: pip install 'scaling[export]'")
    first = export(store, run, tmp_path / "bundle", format="rows")
    second = export(store, run, tmp_path / "bundle", format="gguf")
    assert second.displaced == first.path.with_name(f"bundle-{run.run_id}")
    assert open_bundle(second.displaced).manifest == first.manifest


def test_unknown_names_are_refused_with_those_that_are_known(additions, run):
    with pytest.raises(ExportError, match="unknown export format 'gguff' — did you mean 'gguf'"):
        EXPORT_FORMATS["gguff"]
    with pytest.raises(SpecError, match="unknown engine 'lama_cpp' — did you mean 'llama_cpp'"):
        footprint(run.model, engine="lama_cpp")
    with pytest.raises(EngineError, match="llama_cpp does not run files of format rows — gguf, .* only"):
        engine_for("rows", "llama_cpp")


def test_every_format_and_engine_has_its_forecast():
    assert set(EXPORT_FORMATS) <= set(STORED_FORMATS)
    assert set(ENGINES) <= set(ENGINE_MEMORY)
    for name in EXPORT_FORMATS:
        assert name in engine_for(name).formats
    for registry in (EXPORT_FORMATS, ENGINES, STORED_FORMATS):
        assert [entry.name for entry in registry.values()] == list(registry)
