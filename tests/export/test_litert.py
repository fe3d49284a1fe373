""".tflite files made and run by LiteRT, in the environment that ``SCALING_LITERT_PYTHON`` names."""

from __future__ import annotations

import re
import shlex
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.accounting import STORED_FORMATS, symbol_layout, tensor_shapes
from scaling.compress.student import quantize
from scaling.errors import EngineError, ExportError
from scaling.export.bundle.card import CARD_FILE
from scaling.export.bundle.files import export
from scaling.export.engine import engine_for
from scaling.export.format import EXPORT_FORMATS, About
from scaling.export.interpreters import LITERT
from scaling.export.litert_program import _step as step_of
from scaling.export.verify import verify
from scaling.formats.tflite import append_index, read_tflite
from scaling.predict.phones.footprint import footprint
from scaling.spec import ModelSpec
from scaling.train.student.model import Student, from_tensors, to_tensors
from tests.students import logits_of

ABOUT = About(run_id="0123456789", name="süd", description="", license="MIT", text="w0")
GROUPED = ModelSpec(vocab_size=65, width=64, n_layers=2, n_heads=4, n_kv_heads=2, context=16)
UNTIED = ModelSpec(vocab_size=97, width=96, n_layers=3, head_width=64, n_heads=2, context=16, tied_embeddings=False)


def weights(model: ModelSpec) -> dict[str, np.ndarray]:
    """Gains differ, as training leaves them; where all are one, the converter leaves them out."""
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in tensor_shapes(model).items()}


@pytest.fixture(scope="module")
def litert() -> str:
    """The interpreter that has LiteRT."""
    try:
        for package in ("litert-converter", "ai-edge-quantizer", "ai-edge-litert"):
            LITERT.version(package)
    except EngineError as error:
        pytest.skip(f"LiteRT wants an environment of its own ({LITERT.variable}): {str(error).splitlines()[0]}")
    return LITERT.path


@pytest.mark.slow
@pytest.mark.parametrize("model", [GROUPED, UNTIED], ids=["grouped", "untied"])
@pytest.mark.parametrize("scheme", ["f32", "symmetric_channel"])
def test_the_program_of_one_token_computes_what_the_student_does(model, scheme):
    student = quantize(to_tensors(Student(model, seed=2)), scheme)
    step = jax.jit(step_of(model, student.tensors))
    tokens = np.random.default_rng(0).integers(0, model.vocab_size, (1, 9)).astype(np.int32)
    shape = (1, model.n_kv_heads, model.context, model.head_width)
    caches, found = [jnp.zeros(shape)] * (2 * model.n_layers), []
    for at, token in enumerate(tokens[0]):
        logits, *caches = step(jnp.array([[token]]), jnp.array([at]), *caches)
        found.append(logits[0])
    expected = logits_of(from_tensors(model, student.dequantize()), tokens)[0]
    np.testing.assert_allclose(np.stack(found), np.asarray(expected), atol=2e-5)


@pytest.mark.parametrize("model", [GROUPED, UNTIED], ids=["grouped", "untied"])
@pytest.mark.parametrize("format", ["litert", "litert_f32"])
def test_a_file_holds_the_integers_that_were_written_and_the_bytes_that_were_forecast(litert, tmp_path, model, format):
    writer, path = EXPORT_FORMATS[format], tmp_path / "m.tflite"
    student = quantize(weights(model), writer.scheme)
    tokenizer = symbol_layout(model.vocab_size)
    writer.write(path, student, model=model, tokenizer=tokenizer, about=ABOUT)
    back = writer.read(path)
    assert (back.model, back.tokenizer, back.about) == (model, tokenizer, vars(ABOUT))
    expected = student.dequantize()
    assert all(np.array_equal(back.tensors[key], expected[key]) for key in expected)
    stored = STORED_FORMATS[format]
    assert stored.bytes_of(model, tokenizer, stored.storage) == back.file_bytes == path.stat().st_size


@pytest.mark.parametrize("format", ["litert", "litert_f32"])
def test_an_export_is_verified_by_a_real_engine(litert, store, run, forecast, tmp_path, format):
    bundle = export(store, run, tmp_path / "bundle", format=format)
    loss = store.load(run.run_id).outcome.loss
    found = verify(bundle, store, forecast(run, loss, memory=footprint(run.model, format=format)), engine_tokens=80)
    assert [(check.name, check.note) for check in found.checks if check.kind == "promise" and not check.passed] == []
    assert found.in_engine.error is None
    assert found.in_engine.greedy.n_tokens == 16
    assert abs(found.in_engine.cost.increase) < (2e-3 if format == "litert" else 1e-5)
    assert found.in_engine.run.engine.startswith("LiteRT ")


def test_the_command_of_a_card_runs_the_student(litert, store, run, tmp_path):
    asked = subprocess.run([litert, "-c", "import tokenizers"], capture_output=True)
    if asked.returncode:
        pytest.skip("the command cuts text: pip install tokenizers in the environment of LiteRT")
    bundle = export(store, run, tmp_path / "bundle", format="litert")
    command = re.search(r"```\n(python .*)\n```", (bundle.path / CARD_FILE).read_text()).group(1)
    words = [litert if word == "python" else word for word in shlex.split(command)]
    done = subprocess.run(words, cwd=bundle.path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("!A")


def test_without_litert_it_is_said_how_to_get_it(store, run, tmp_path, monkeypatch):
    monkeypatch.setenv(LITERT.variable, "/nowhere/python")
    with pytest.raises(ExportError, match="no .tflite file was made: /nowhere/python: cannot be started"):
        export(store, run, tmp_path / "bundle", format="litert")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EngineError, match="cannot be started"):
        engine_for("litert").probe()


@pytest.fixture
def indexed(tmp_path):
    """A file as the converter leaves it: all tensors somewhere in it, in no order that is known."""
    student = quantize(to_tensors(Student(GROUPED, seed=1)), "symmetric_channel")
    path = tmp_path / "m.tflite"
    matrices = [part for tensor in student.matrices.values() for part in (tensor.values, tensor.scales)]
    path.write_bytes(b"TFL3" + b"".join(part.tobytes() for part in (*student.vectors.values(), *reversed(matrices))))
    append_index(path, student.tensors, model=GROUPED, tokenizer=symbol_layout(65), about=vars(ABOUT))
    return path, student


def test_weights_are_found_by_their_bytes(indexed):
    path, student = indexed
    found = read_tflite(path)
    assert found.about["name"] == "süd"
    expected = student.dequantize()
    assert all(np.array_equal(found.tensors[key], expected[key]) for key in expected)


def test_a_weight_that_the_converter_changed_is_noticed(indexed):
    path, student = indexed
    other = quantize(to_tensors(Student(GROUPED, seed=2)), "symmetric_channel")
    with pytest.raises(ExportError, match="is not in the converted file as it was quantized"):
        append_index(path, other.tensors, model=GROUPED, tokenizer=symbol_layout(65), about={})


@pytest.mark.parametrize("damage", ["cut", "empty", "no index", "beyond"])
def test_a_damaged_file_is_refused(indexed, damage):
    path, _ = indexed
    whole = path.read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "no index": whole[: whole.index(b"PK\x03\x04")],
        "beyond": whole.replace(b'"scales": ', b'"scales": 9'),
    }
    path.write_bytes(broken[damage])
    with pytest.raises(ExportError, match="not a .tflite file of a student"):
        read_tflite(path)
