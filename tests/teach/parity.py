"""A pretrained model in JAX beside llama.cpp: the same tokens of the same text, and the same loss on the same weights.

    python tests/teach/parity.py            # SmolLM2-135M on 2,044 tokens of speeches

The engine is given the file's own weights, dequantized and written as F32 by our writer: its kernels for 4-bit weights
round activations to 8 bits as well, which would be compared along with them.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaling.data.corpora import load_corpus
from scaling.data.pretrained import GgufTokenizer, model_file
from scaling.export.engines.llama_cpp import LlamaCpp
from scaling.formats.gguf import GgufFile, read_gguf, write_gguf
from scaling.spec import TextSource
from scaling.train.evaluate import token_log_probs
from scaling.train.step import params_of
from scaling.train.student.model import from_tensors
from tests.students import logits_of

SEQUENCES, CONTEXT = 4, 512


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What was compared.

    Attributes:
        tokens: Tokens scored, the first of every sequence (which stands for the beginning) left out.
        loss: Ours, nats/token.
        difference: Mean of ours less the engine's, nats/token.
        largest: Largest difference of a single token, nats.
        top_1: Share of positions where both find the same token likeliest.
        same_cuts: Texts that both cut into the same tokens, of ``texts``.
        texts: Texts that were cut.
        text_tokens: Tokens in them.
    """

    tokens: int
    loss: float
    difference: float
    largest: float
    top_1: float
    same_cuts: int
    texts: int
    text_tokens: int


def parity(name: str = "smollm2") -> Parity:
    """Compare a pretrained model with llama.cpp on held-out speeches."""
    path = model_file(name)
    file = read_gguf(path)
    tokenizer = GgufTokenizer(file.tokenizer)
    texts = [text[:4000] for _, text in load_corpus(TextSource(kind="text")).documents("held_out")][:8]
    cut = [tokenizer.encode(text) for text in texts]
    theirs = LlamaCpp().tokenize(path, texts)
    sequences = _sequences(np.concatenate(cut), tokenizer.eos_id)
    ours, likeliest = _our_scores(file, sequences)
    with tempfile.TemporaryDirectory() as folder:
        engine = _engine_scores(Path(folder) / "f32.gguf", file, sequences)
    gap = ours - engine.log_probs
    told = np.isfinite(gap)
    return Parity(
        tokens=int(told.sum()),
        loss=-float(ours[told].mean()),
        difference=-float(gap[told].mean()),
        largest=float(np.abs(gap[told]).max()),
        top_1=float((likeliest == engine.likeliest)[told].mean()),
        same_cuts=sum(own.tolist() == other for own, other in zip(cut, theirs, strict=True)),
        texts=len(texts),
        text_tokens=sum(map(len, cut)),
    )


def _sequences(tokens: np.ndarray, bos: int) -> np.ndarray:
    cut = tokens[: SEQUENCES * (CONTEXT - 1)].reshape(SEQUENCES, CONTEXT - 1)
    return np.pad(cut, [(0, 0), (1, 0)], constant_values=bos)


def _our_scores(file: GgufFile, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    student = from_tensors(file.model.model_copy(update={"context": CONTEXT}), file.tensors)
    log_probs = token_log_probs(student.model, params_of(student), sequences[:, :-1], sequences[:, 1:])
    likeliest = [np.asarray(logits_of(student, sequence[None, :-1]).argmax(-1))[0] for sequence in sequences]
    return log_probs, np.stack(likeliest)


def _engine_scores(path: Path, file: GgufFile, sequences: np.ndarray):
    model = file.model.model_copy(update={"context": CONTEXT})
    write_gguf(path, file.tensors, model=model, tokenizer=file.tokenizer)
    return LlamaCpp().token_scores(path, sequences, context=CONTEXT)


def rows(found: Parity) -> list[tuple[str, str, str]]:
    """Figure, what was asked, what was measured."""
    cuts = f"{found.same_cuts} of {found.texts} ({found.text_tokens:,} tokens)"
    return [
        ("texts cut as llama.cpp cuts them", "all", cuts),
        (
            f"loss beside llama.cpp, {found.tokens:,} tokens",
            "within 0.003",
            f"{found.difference:+.5f} of {found.loss:.4f}",
        ),
        ("largest difference of one token, nats", "", f"{found.largest:.4f}"),
        ("top-1 agreement with llama.cpp", "≥ 99 %", f"{100 * found.top_1:.2f} %"),
    ]


if __name__ == "__main__":
    for name, asked, measured in rows(parity(*sys.argv[1:2])):
        print(f"{name:<50} | {asked:<14} | {measured}")
