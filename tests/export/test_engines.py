"""llama.cpp run for real on tiny models: its tokens and probabilities are JAX's, and its failures are sentences."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from scaling.accounting import TokenizerLayout, symbol_layout, tensor_shapes, weights_bytes
from scaling.compress.student import quantize
from scaling.data.tokenizers import Tokenizer, train_tokenizer
from scaling.errors import EngineError, ExportError
from scaling.export.child import LIMIT
from scaling.export.engine import ENGINES, Engine, FileRefusedError
from scaling.export.engines import llama_cpp
from scaling.export.engines.llama_cpp import LlamaCpp
from scaling.export.formats.litert import convert
from scaling.export.interpreters import LITERT, LLAMA
from scaling.formats.gguf import read_gguf, write_gguf
from scaling.spec import ModelSpec, TokenizerSpec

pytest.importorskip("xllamacpp", reason="runs llama.cpp: pip install 'scaling[export]'")
pytest.importorskip("gguf", reason="writes GGUF files: pip install 'scaling[export]'")

LLAMA_CPP = LlamaCpp()
WORLD = ModelSpec(vocab_size=65, width=64, n_layers=2, n_heads=4, n_kv_heads=2, context=40)
# Bytes: most tokens are half a character, which the engine must return all the same; heads wider than width / n_heads.
TEXT = ModelSpec(vocab_size=257, width=96, n_layers=3, head_width=64, n_heads=2, context=64, tied_embeddings=False)


def random_tensors(model: ModelSpec, seed: int = 1) -> dict[str, np.ndarray]:
    """Weights large enough that the model's choices are decided, gains that are not all one."""
    rng = np.random.default_rng(seed)
    return {
        key: 1.5 * rng.standard_normal(shape, np.float32) / np.float32(shape[1] ** 0.5)
        if len(shape) == 2
        else rng.uniform(0.5, 1.5, shape).astype(np.float32)
        for key, shape in tensor_shapes(model).items()
    }


def exported(folder: Path, model: ModelSpec, tokenizer: TokenizerLayout, *, int8: bool) -> Path:
    tensors = random_tensors(model)
    path = folder / "model.gguf"
    write_gguf(path, quantize(tensors).tensors if int8 else tensors, model=model, tokenizer=tokenizer)
    return path


def jax_log_probs(path: Path, sequences: np.ndarray) -> np.ndarray:
    import jax

    from scaling.train.student.model import from_tensors

    file = read_gguf(path)
    return np.asarray(jax.nn.log_softmax(from_tensors(file.model, file.tensors)(sequences)))


CASES = pytest.mark.parametrize(
    ("model", "tokenizer"), [(WORLD, symbol_layout(65)), (TEXT, Tokenizer().to_gguf())], ids=["world", "bytes"]
)


@CASES
@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_the_engine_continues_as_greedy_decoding_in_jax_does(tmp_path, model, tokenizer, int8):
    path = exported(tmp_path, model, tokenizer, int8=int8)
    prompt = [tokenizer.bos_id, 5, 17, 33, 2, 60]
    run = LLAMA_CPP.run(path, prompt, n_tokens=16, context=model.context, repeats=0)
    assert len(run.token_ids) == 16 or run.ended
    log_probs = jax_log_probs(path, np.array([[*prompt, *run.token_ids]], np.int32))[0, len(prompt) - 1 : -1]
    behind = log_probs.max(axis=1) - log_probs[range(len(run.token_ids)), run.token_ids]
    # With int8 weights the engine rounds activations to int8 as well, which may decide a near tie otherwise.
    assert behind.max() <= (0.1 if int8 else 0.0)


@CASES
def test_the_engine_gives_every_token_the_probability_that_jax_gives(tmp_path, model, tokenizer):
    path = exported(tmp_path, model, tokenizer, int8=False)
    sequences = np.random.default_rng(0).integers(0, model.vocab_size, (3, 12)).astype(np.int32)
    found = LLAMA_CPP.log_probs(path, sequences, tokenizer=tokenizer, context=model.context)
    # The engine keeps keys and values in f16; a wrong rotation or head layout would be off by more than 1.
    assert np.max(np.abs(found - jax_log_probs(path, sequences))) < 0.03


@pytest.mark.parametrize("vocab_size", [257, 285], ids=["bytes", "bpe"])
def test_the_engine_cuts_text_into_the_tokens_that_were_trained_on(tmp_path, vocab_size):
    pytest.importorskip("tokenizers", reason="learns a BPE: pip install 'scaling[text]'")
    corpus = ["the cat sat on the mat, and the hat; don't they'll naïve café"] * 20
    kind = "bytes" if vocab_size == 257 else "bpe"
    tokenizer = train_tokenizer(TokenizerSpec(kind=kind, vocab_size=vocab_size), corpus)
    model = ModelSpec(vocab_size=vocab_size, width=32, n_layers=1, context=64)
    path = exported(tmp_path, model, tokenizer.to_gguf(), int8=True)
    texts = [
        "the cat",
        " naïve “quoted” café €😀",
        "x\n\n\t y   z ",
        "don't 1,234.5",
        "a ! b !a a!",
        "<|endoftext|> the",
    ]
    assert LLAMA_CPP.tokenize(path, texts) == [tokenizer.encode(text).tolist() for text in texts]


def test_a_run_reports_memory_and_speed(tmp_path):
    path = exported(tmp_path, WORLD, symbol_layout(65), int8=True)
    run = LLAMA_CPP.run(path, [64], n_tokens=4, context=40, repeats=3, threads=1)
    low, high = run.tokens_per_s_range
    assert run.busy_tokens_per_s > 0
    assert 0 < low <= run.tokens_per_s <= high
    assert run.peak_bytes > path.stat().st_size
    assert run.threads == 1
    assert run.engine.startswith("llama.cpp (xllamacpp ")


def test_memory_is_the_engines_whatever_the_interpreter_has_freed(tmp_path, monkeypatch):
    path = exported(tmp_path, WORLD, symbol_layout(65), int8=True)
    run = LLAMA_CPP.run(path, [64], n_tokens=4, context=40, repeats=0)
    # An interpreter that frees 30 MB before the engine starts, to the engine's own allocator, which keeps them.
    (tmp_path / "sitecustomize.py").write_text("_ = [bytes(1000) for _ in range(30_000)]; del _")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000000")
    again = LLAMA_CPP.run(path, [64], n_tokens=4, context=40, repeats=0)
    assert again.allocated_bytes == pytest.approx(run.allocated_bytes, rel=0.03)
    assert again.mapped_bytes == run.mapped_bytes
    # The engine gives back the pages before the weights.
    size = path.stat().st_size
    assert weights_bytes(WORLD, "Q8_0") <= run.mapped_bytes <= -(-size // 4096) * 4096


def test_a_file_that_is_no_model_is_an_error_that_says_so(tmp_path):
    path = tmp_path / "text.gguf"
    path.write_text("this is not a model" * 100)
    with pytest.raises(FileRefusedError, match=r"could not run .*text.gguf\n(.|\n)*failed to load model"):
        LLAMA_CPP.run(path, [1], n_tokens=1, context=40)
    with pytest.raises(EngineError, match="nowhere.gguf: no such file"):
        LLAMA_CPP.run(tmp_path / "nowhere.gguf", [1], n_tokens=1, context=40)


def test_a_prompt_that_cannot_fit_is_refused_before_anything_runs():
    with pytest.raises(EngineError, match="prompt of 30 tokens and 16 more do not fit a context of 40"):
        LLAMA_CPP.run(Path("unread.gguf"), [1] * 30, n_tokens=16, context=40)
    with pytest.raises(EngineError, match="prompt of 0 tokens"):
        LLAMA_CPP.run(Path("unread.gguf"), [], n_tokens=16, context=40)


def worker_that(monkeypatch, tmp_path, does: str) -> Path:
    script = tmp_path / "worker.py"
    script.write_text(does)
    monkeypatch.setattr(llama_cpp, "WORKER", script)
    model = tmp_path / "model.gguf"
    model.write_bytes(b"unread")
    return model


def test_a_crash_of_the_engine_is_an_error_with_the_name_of_the_signal(monkeypatch, tmp_path):
    model = worker_that(monkeypatch, tmp_path, f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    with pytest.raises(EngineError, match="unusable here: it crashed with SIGSEGV"):
        LLAMA_CPP.run(model, [1], n_tokens=1, context=40)


def test_an_engine_that_hangs_is_stopped(monkeypatch, tmp_path):
    model = worker_that(monkeypatch, tmp_path, "import time; time.sleep(60)")
    monkeypatch.setenv(LIMIT, "0.5")
    with pytest.raises(EngineError, match=rf"did not finish within 0.5 s .*try again with more \({LIMIT}=1\)"):
        LLAMA_CPP.run(model, [1], n_tokens=1, context=40)


@pytest.mark.parametrize("said", ["0", "-1", "inf", "nan", "ten minutes"])
def test_a_limit_that_is_no_time_is_refused(monkeypatch, tmp_path, said):
    model = worker_that(monkeypatch, tmp_path, "")
    monkeypatch.setenv(LIMIT, said)
    with pytest.raises(EngineError, match=rf"{LIMIT}={said}: allowed are seconds above 0"):
        LLAMA_CPP.run(model, [1], n_tokens=1, context=40)


@pytest.mark.slow
def test_a_converter_that_hangs_is_stopped(monkeypatch, tmp_path):
    # The interpreter of its environment tells a version, and then hangs at the work.
    hanging = tmp_path / "python"
    hanging.write_text('#!/bin/sh\n[ "$1" = -c ] && echo 1.0 && exit\nsleep 60\n')
    hanging.chmod(0o755)
    monkeypatch.setenv(LITERT.variable, str(hanging))
    monkeypatch.setenv(LIMIT, "2")
    with pytest.raises(ExportError, match=r"no .tflite file was made: LiteRT's converter did not finish within 2 s"):
        convert(tmp_path / "model.tflite", [], int8=True)
    assert not (tmp_path / "model.tflite").exists()


@pytest.mark.slow
def test_an_interpreter_that_says_nothing_is_stopped_with_what_it_started(monkeypatch, tmp_path):
    hanging, started = tmp_path / "python", tmp_path / "started"
    hanging.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {started}.part\nmv {started}.part {started}\nwait\n")
    hanging.chmod(0o755)
    monkeypatch.setenv(LLAMA.variable, str(hanging))
    monkeypatch.setenv(LIMIT, "2")
    with pytest.raises(EngineError, match=r"cannot be started \(it says nothing within 2 s\); make an environment"):
        LLAMA.version("llama-cpp-python")
    process, deadline = started.read_text().strip(), time.monotonic() + 10
    while runs(process):
        assert time.monotonic() < deadline, "what it started still runs"
        time.sleep(0.01)


def runs(process: str) -> bool:
    """False once a process has ended: it is gone, or waits for a parent to ask for it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_missing_engine_names_what_to_install(monkeypatch, tmp_path):
    model = worker_that(monkeypatch, tmp_path, "")
    monkeypatch.setattr(llama_cpp, "PACKAGE", "a_package_that_is_not_here")
    with pytest.raises(EngineError, match=r"pip install 'scaling\[export\]'"):
        LLAMA_CPP.run(model, [1], n_tokens=1, context=40)


@pytest.fixture(scope="module")
def compiled() -> Engine:
    """llama.cpp through the package that pip compiles."""
    try:
        ENGINES["llama_cpp_python"].probe()
    except EngineError as error:
        pytest.skip(str(error))
    return ENGINES["llama_cpp_python"]


@CASES
def test_the_compiled_package_gives_the_tokens_and_probabilities_of_the_prebuilt_one(
    compiled, tmp_path, model, tokenizer
):
    path = exported(tmp_path, model, tokenizer, int8=False)
    runs = [
        engine.run(path, [tokenizer.bos_id, 5, 17], n_tokens=12, context=model.context, repeats=1)
        for engine in (compiled, LLAMA_CPP)
    ]
    assert runs[0].token_ids[: len(runs[1].token_ids)] == runs[1].token_ids
    assert runs[0].engine.startswith("llama-cpp-python ")
    tokens = np.random.default_rng(0).integers(0, model.vocab_size, (2, 24)).astype(np.int32)
    theirs, prebuilt = (
        engine.log_probs(path, tokens, tokenizer=tokenizer, context=model.context) for engine in (compiled, LLAMA_CPP)
    )
    np.testing.assert_allclose(theirs, prebuilt, atol=5e-3)
    # The f16 cache moves single tokens of such large weights by up to .014, and their mean by nothing.
    off = theirs - jax_log_probs(path, tokens)
    assert abs(off).max() < 0.03
    assert abs(off.mean()) < 1e-3


def test_without_the_compiled_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setenv(LLAMA.variable, "/nowhere/python")
    with pytest.raises(EngineError, match="/nowhere/python: cannot be started .* and say SCALING_LLAMA_PYTHON="):
        ENGINES["llama_cpp_python"].probe()
