"""llama.cpp through the prebuilt package xllamacpp, as an engine."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scaling.accounting import GGUF_STORAGE, TokenizerLayout
from scaling.errors import EngineError
from scaling.export.child import WORKERS, as_asked, engine_run, run_child
from scaling.export.engine import ENGINES, Engine, EngineRun, check_prompt, speed_job
from scaling.machine import cores

NAME = "llama.cpp"
PACKAGE = "xllamacpp"
WORKER = WORKERS / "llama_cpp_worker.py"

MAX_THREADS = 4
"""More threads than a phone has fast cores make decoding slower."""

ONE_THREAD_BYTES = 16 * 2**20
"""Up to this file size one thread is as fast as several, and waits for no other (decoding takes under 2 ms a token)."""

ENVIRONMENT = {"GGML_NO_BACKTRACE": "1"}
"""Without it an abort of the engine spends seconds in a debugger."""

RUN_S, TOKENIZE_S, SCORE_S = 300.0, 60.0, 600.0
"""Longest waits, s."""


@dataclass(frozen=True)
class TokenScores:
    """What an engine thinks of the tokens of some sequences, all but the first of each.

    Attributes:
        log_probs: float32[n, T − 1], nats; NaN where a token is part of a character, of which the engine says nothing.
        likeliest: int32[n, T − 1], the token that the engine finds likeliest there; −1 where it says nothing.
    """

    log_probs: np.ndarray
    likeliest: np.ndarray


@dataclass(frozen=True)
class LlamaCpp(Engine):
    """llama.cpp on the CPU: one sequence, f16 cache, the file mapped.

    Attributes:
        n_ubatch: Tokens of a prompt read at once, by default as the memory forecast has it. The output buffer grows
            with it (``n_ubatch · V`` floats): for a small model the engine's own 512 would cost more than the weights.
        use_mmap: Map the file instead of copying it.
        cache_type: Of keys and values; ``f32`` for what the engine computes without rounding them.
        flash_attention: Use the fused kernel, or not; None leaves it to the engine.
    """

    name = "llama_cpp"
    title = NAME
    formats = tuple(GGUF_STORAGE)

    n_ubatch: int | None = None
    use_mmap: bool = True
    cache_type: Literal["f16", "f32"] = "f16"
    flash_attention: bool | None = None

    def probe(self) -> str:
        try:
            return f"{NAME} ({PACKAGE} {importlib.metadata.version(PACKAGE)})"
        except importlib.metadata.PackageNotFoundError as error:
            raise EngineError(
                "llama.cpp is not installed here — pip install 'scaling[export]' brings it prebuilt"
            ) from error

    def run(
        self,
        path: Path,
        prompt_ids: Sequence[int],
        *,
        n_tokens: int,
        context: int,
        cache: int | None = None,
        repeats: int = 5,
        threads: int | None = None,
    ) -> EngineRun:
        check_prompt(prompt_ids, n_tokens, context)
        job = self._job(path, cache=cache or context, threads=threads) | {
            "prompt": [int(token) for token in prompt_ids],
            "n_tokens": n_tokens,
            "repeats": repeats,
            **speed_job(prompt_ids, context),
        }
        answer = self._answer(job, RUN_S)
        with as_asked(NAME):
            return engine_run(answer, job, engine=self.probe(), code_bytes=self.memory.code)

    def log_probs(self, path: Path, sequences: np.ndarray, *, tokenizer: TokenizerLayout, context: int) -> np.ndarray:
        """As :meth:`Engine.log_probs`, activations in int8 included.

        The engine is asked one position at a time (about a millisecond each for a small model and vocabulary): meant
        for a few hundred tokens.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = {name: str(Path(folder) / f"{name}.npy") for name in ("scored", "scores")}
            np.save(files["scored"], np.asarray(sequences, np.int32))
            job = self._job(path, cache=context) | files | {"prompt": [int(sequences[0, 0])]}
            self._answer(job | {"vocab_size": len(tokenizer.tokens), "eos_id": tokenizer.eos_id}, RUN_S)
            with as_asked(NAME):
                return np.load(files["scores"])

    def tokenize(self, path: Path, texts: Sequence[str]) -> list[list[int]]:
        job = self._job(path, cache=256, threads=1) | {"prompt": [0], "texts": list(texts)}
        answer = self._answer(job, TOKENIZE_S)
        with as_asked(NAME):
            return [[int(token) for token in tokens] for tokens in answer["tokenized"]]

    def token_scores(self, path: Path, sequences: np.ndarray, *, context: int) -> TokenScores:
        """Score sequences one position at a time: like :meth:`log_probs`, for large vocabularies.

        The engine normalises in float32 from the largest probability down, which loses small ones: with 49,152 tokens
        all log-probabilities are 1.5e-4 too high, and without the others nobody can mend that.

        Args:
            path: GGUF file.
            sequences: int32[n, T], T at most ``context``.
            context: Length of the key–value cache.

        Raises:
            EngineError: as :meth:`run` does.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = {"scored": str(Path(folder) / "scored.npy"), "token_scores": str(Path(folder) / "scores.npz")}
            np.save(files["scored"], np.asarray(sequences, np.int32))
            self._answer(self._job(path, cache=context) | files | {"prompt": [int(sequences[0, 0])]}, SCORE_S)
            with as_asked(NAME), np.load(files["token_scores"]) as found:
                return TokenScores(found["log_probs"], found["likeliest"])

    def _job(self, path: Path, *, cache: int, threads: int | None = None) -> dict[str, Any]:
        """What the worker is told, beginning with the least: load the file and write one token."""
        path = Path(path).resolve()
        if not path.is_file():
            raise EngineError(f"{path}: no such file; export the student first")
        if threads is None:
            small = path.stat().st_size <= ONE_THREAD_BYTES
            threads = 1 if small else max(1, min(MAX_THREADS, cores()))
        return {
            "path": str(path),
            "cache": cache,
            "threads": threads,
            "n_ubatch": self.n_ubatch or self.memory.n_ubatch,
            "use_mmap": self.use_mmap,
            "cache_type": self.cache_type,
            "flash_attention": self.flash_attention,
            "n_tokens": 1,
            "repeats": 0,
            "scored": None,
            "scores": None,
            "texts": [],
        }

    def _answer(self, job: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        self.probe()
        return run_child(WORKER, job, engine=NAME, timeout_s=timeout_s, env=ENVIRONMENT)


ENGINES.add("llama_cpp", LlamaCpp())
