"""The loss that llama.cpp computes beside JAX's on the weights of the same file, format by format.

    python analysis/export_parity.py results/quickstart/bundle     # the student of a bundle, on held-out sequences
    python analysis/export_parity.py smollm2 [FORMAT …]            # SmolLM2-135M, on a speech; minutes

Float files are held against JAX, Q8_0 and Q4_0 against JAX with activations rounded as llama.cpp rounds them, and
against JAX with float activations beside it. F32 is run with an f32 cache and without the fused attention, which would
round keys and values to f16 whatever the cache holds. Where llama-cpp-python is installed (`SCALING_LLAMA_PYTHON`), its
loss stands last, from all logits and so normalised exactly, with the f16 cache as a phone runs it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

from scaling.compress.activations import DYNAMIC
from scaling.compress.student import quantize
from scaling.data.corpora import load_corpus
from scaling.data.evaluation import evaluation_sets
from scaling.data.pretrained import GgufTokenizer, model_file
from scaling.errors import EngineError
from scaling.export.bundle.files import load_tensors, open_bundle
from scaling.export.engine import ENGINES
from scaling.export.engines.llama_cpp import LlamaCpp
from scaling.export.format import EXPORT_FORMATS, About
from scaling.formats.gguf import read_gguf
from scaling.records import RunStore
from scaling.spec import TextSource
from scaling.train.student.generator import Forward, as_trained
from scaling.train.student.model import from_tensors

FORMATS = ("gguf_f32", "gguf_f16", "gguf", "gguf_q4_0")
ABOUT = About(run_id="", name="parity", description="", license="", text="")
SMOLLM2_TOKENS = (4, 96)


def of_bundle(folder: str):
    """A student's model, tokens, weights, and sequences of its held-out set."""
    bundle = open_bundle(folder)
    store = RunStore(Path(folder).resolve().parents[1])
    run = store.load(bundle.manifest.run_id).spec
    batch = next(iter(evaluation_sets(run, store).real))
    sequences = np.concatenate([batch.inputs, batch.targets[:, -1:]], axis=1)[:16, :-1]
    return run.model, bundle.read().tokenizer, load_tensors(store, run), sequences


def of_smollm2():
    """The pretrained model, and the beginning of a speech."""
    file = read_gguf(model_file("smollm2"))
    cut = GgufTokenizer(file.tokenizer)
    text = next(text for _, text in load_corpus(TextSource(kind="text")).documents("held_out"))
    n, time = SMOLLM2_TOKENS
    tokens = cut.encode(text)[: n * (time - 1)].reshape(n, time - 1)
    model = file.model.model_copy(update={"context": 256})
    return model, file.tokenizer, file.tensors, np.pad(tokens, [(0, 0), (1, 0)], constant_values=cut.eos_id)


def main(what: str, *formats: str) -> None:
    """One line a format."""
    model, tokenizer, tensors, sequences = of_smollm2() if what == "smollm2" else of_bundle(what)
    print(f"{LlamaCpp().probe()}, {sequences[:, 1:].size} tokens of {what}")
    print(f"{'format':<10} {'engine':>9} {'JAX':>9} {'engine − JAX':>13} {'float activations':>18} {'exact − JAX':>13}")
    for name in formats or FORMATS:
        writer = EXPORT_FORMATS[name]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            writer.write(path, quantize(tensors, writer.scheme), model=model, tokenizer=tokenizer, about=ABOUT)
            read = writer.read(path)
            engine = LlamaCpp(cache_type="f32", flash_attention=False) if name == "gguf_f32" else LlamaCpp()
            told = engine.token_scores(path, sequences.astype(np.int32), context=model.context).log_probs
            exact = exact_scores(path, model, tokenizer, sequences)
        ours = {kind: scores(model, read.tensors, sequences, kind) for kind in (as_trained, DYNAMIC)}
        kept, mirror = np.isfinite(told), DYNAMIC if "q" in writer.scheme else as_trained
        theirs, near, far = (-float(part[kept].mean()) for part in (told, ours[mirror], ours[as_trained]))
        off = "not installed"
        if exact is not None:
            off = f"{float((scores(model, read.tensors, sequences, mirror, exactly) - exact).mean()):+13.6f}"
        print(f"{name:<10} {theirs:9.5f} {near:9.5f} {theirs - near:+13.6f} {theirs - far:+18.6f} {off}")


def exact_scores(path: Path, model, tokenizer, sequences: np.ndarray) -> np.ndarray | None:
    """The same scores by llama-cpp-python; None where it is not installed."""
    engine = ENGINES["llama_cpp_python"]
    try:
        engine.probe()
    except EngineError:
        return None
    told = engine.log_probs(path, sequences[:, :-1].astype(np.int32), tokenizer=tokenizer, context=model.context)
    return np.take_along_axis(told, sequences[:, 1:, None], -1)[..., 0]


def scores(model, tensors, sequences: np.ndarray, arithmetic: Forward, normaliser=None) -> np.ndarray:
    """Log-probability of every token but the first of each sequence, float32[n, T − 1], as the engine normalises it."""
    logits = np.asarray(arithmetic(from_tensors(model, tensors), sequences[:, :-1].astype(np.int32)))
    chosen = np.take_along_axis(logits, sequences[:, 1:, None], -1)[..., 0]
    return chosen - (normaliser or served_normaliser)(logits)


def exactly(logits: np.ndarray) -> np.ndarray:
    """``ln Σ e^logit``."""
    return logsumexp(logits.astype(np.float64), axis=-1)


def served_normaliser(logits: np.ndarray) -> np.ndarray:
    """``ln Σ e^logit`` as llama.cpp's server adds it up: in float32, one after the other, the largest first.

    The many small ones are lost to rounding: with 49,152 tokens all its probabilities are .00015 nats too high.
    """
    largest = logits.max(axis=-1)
    each = np.exp(-np.sort(largest[..., None] - logits, axis=-1), dtype=np.float32)
    return largest + np.log(np.cumsum(each, axis=-1, dtype=np.float32)[..., -1])


if __name__ == "__main__":
    main(*sys.argv[1:])
