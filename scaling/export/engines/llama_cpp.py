"""Phone engines, run where this program runs: llama.cpp through the prebuilt package xllamacpp.

An engine is compiled code that may crash on a processor it was not built for. It always runs in a process of its own,
and a signal that ends that process means "engine unusable here", never the end of the caller.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaling.accounting import TokenizerLayout
from scaling.errors import EngineError

PACKAGE = "xllamacpp"
WORKER = Path(__file__).with_name("llama_cpp_worker.py")

N_UBATCH = 64
"""Tokens of a prompt read at once. The output buffer grows with it (``n_ubatch · V`` floats): for a small model the
engine's default of 512 would cost more memory than the weights."""

MAX_THREADS = 4
"""More threads than a phone has fast cores make decoding slower."""

ONE_THREAD_BYTES = 16 * 2**20
"""Up to this file size one thread is as fast as several, and waits for no other (decoding takes under 2 ms a token)."""


class FileRefusedError(EngineError):
    """The engine works here, but not with this file."""


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """What an engine did with a file.

    Attributes:
        engine: Name and version.
        token_ids: Greedy continuation of the prompt; shorter than asked where the document ended.
        text: The same as the engine prints it.
        ended: True if the end-of-document token came before the last token asked for.
        prompt_tokens_per_s: Rate of reading a prompt, median over the repeats; None where none was timed.
        tokens_per_s: Rate of writing one token after another, median over the repeats.
        tokens_per_s_range: Slowest and fastest repeat.
        load_s: Seconds from the file on disk to the first token.
        peak_bytes: Most resident memory during the run, less what the interpreter held before.
        anonymous_bytes: Part of it that the system cannot take back (caches, buffers); None where not told.
        file_bytes: Part of it that is the mapped file and code, which a phone may evict; None where not told.
        interpreter_bytes: What the interpreter held before, not counted above.
        threads: Threads used.
        load_average: The machine's load over the last minute; above the idle threads, rates are too low.
    """

    engine: str
    token_ids: tuple[int, ...]
    text: str
    ended: bool
    prompt_tokens_per_s: float | None
    tokens_per_s: float | None
    tokens_per_s_range: tuple[float, float] | None
    load_s: float
    peak_bytes: int
    anonymous_bytes: int | None
    file_bytes: int | None
    interpreter_bytes: int
    threads: int
    load_average: float


def llama_cpp_is_installed() -> bool:
    """True if the package that brings llama.cpp can be found; says nothing about whether it runs here."""
    return importlib.util.find_spec(PACKAGE) is not None


def run_llama_cpp(
    path: str | os.PathLike[str],
    prompt_ids: Sequence[int],
    *,
    n_tokens: int,
    context: int,
    cache: int | None = None,
    repeats: int = 5,
    threads: int | None = None,
    n_ubatch: int = N_UBATCH,
    use_mmap: bool = True,
    timeout_s: float = 300.0,
) -> EngineRun:
    """Load a GGUF file in llama.cpp, continue a prompt greedily, and measure memory and speed.

    Args:
        path: GGUF file.
        prompt_ids: Token ids to continue; at least one.
        n_tokens: Tokens to write.
        context: Tokens that the model was trained to read at once; longer prompts are refused.
        cache: Length of the key–value cache, by default the context; the engine rounds it up to a multiple of 256.
        repeats: Timed passes after the first; each reads half a context and writes up to 64 tokens.
        threads: By default one for a file of up to 16 MiB, else as many as the machine has, at most 4.
        n_ubatch: Prompt tokens read at once.
        use_mmap: Map the file instead of copying it.
        timeout_s: Longest wait for all of it.

    Raises:
        FileRefusedError: if the engine does not accept the file.
        EngineError: if it is not installed, crashes, or takes too long.
    """
    if not 0 < len(prompt_ids) <= context - n_tokens:
        raise EngineError(
            f"a prompt of {len(prompt_ids)} tokens and {n_tokens} more do not fit a context of {context}; "
            "give at least one token, or ask for fewer"
        )
    job = _job(path, cache=cache or context, threads=threads, n_ubatch=n_ubatch, use_mmap=use_mmap) | {
        "prompt": [int(token) for token in prompt_ids],
        "n_tokens": n_tokens,
        "repeats": repeats,
        "speed_prompt": [int(token) for token in np.resize(prompt_ids, max(1, context // 2))],
        "speed_tokens": max(1, min(64, context // 2 - 1)),
    }
    return _engine_run(_run_worker(job, timeout_s=timeout_s), job)


def llama_cpp_log_probs(
    path: str | os.PathLike[str],
    sequences: np.ndarray,
    *,
    tokenizer: TokenizerLayout,
    context: int,
    threads: int | None = None,
    timeout_s: float = 300.0,
) -> np.ndarray:
    """Log-probabilities of every next token as the engine computes them, activations in int8 included.

    The engine is asked one position at a time (about a millisecond each for a small model and vocabulary): meant for a
    few hundred tokens.

    Args:
        path: GGUF file.
        sequences: int32[n, T], T at most ``context − 1``.
        tokenizer: Of the file; V is its number of tokens.
        context: Length of the key–value cache.
        threads: As in :func:`run_llama_cpp`.
        timeout_s: Longest wait for all of it.

    Returns:
        float32[n, T, V], nats: the distribution after reading ``sequences[i, : t + 1]``.

    Raises:
        EngineError: as :func:`run_llama_cpp` does.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / f"{name}.npy") for name in ("scored", "scores")}
        np.save(files["scored"], np.asarray(sequences, np.int32))
        job = _job(path, cache=context, threads=threads, n_ubatch=N_UBATCH, use_mmap=True) | files
        job |= {"prompt": [int(sequences[0, 0])], "n_tokens": 1, "repeats": 0}
        job |= {"vocab_size": len(tokenizer.tokens), "eos_id": tokenizer.eos_id}
        _run_worker(job, timeout_s=timeout_s)
        return np.load(files["scores"])


@dataclass(frozen=True)
class TokenScores:
    """What an engine thinks of the tokens of some sequences, all but the first of each.

    Attributes:
        log_probs: float32[n, T − 1], nats; NaN where a token is part of a character, of which the engine says nothing.
        likeliest: int32[n, T − 1], the token that the engine finds likeliest there; −1 where it says nothing.
    """

    log_probs: np.ndarray
    likeliest: np.ndarray


def llama_cpp_token_scores(
    path: str | os.PathLike[str],
    sequences: np.ndarray,
    *,
    context: int,
    threads: int | None = None,
    timeout_s: float = 600.0,
) -> TokenScores:
    """Score sequences in the engine, one position at a time: like :func:`llama_cpp_log_probs`, for large vocabularies.

    Args:
        path: GGUF file.
        sequences: int32[n, T], T at most ``context``.
        context: Length of the key–value cache.
        threads: As in :func:`run_llama_cpp`.
        timeout_s: Longest wait for all of it.

    Raises:
        EngineError: as :func:`run_llama_cpp` does.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {"scored": str(Path(folder) / "scored.npy"), "token_scores": str(Path(folder) / "scores.npz")}
        np.save(files["scored"], np.asarray(sequences, np.int32))
        job = _job(path, cache=context, threads=threads, n_ubatch=N_UBATCH, use_mmap=True) | files
        _run_worker(job | {"prompt": [int(sequences[0, 0])], "n_tokens": 1, "repeats": 0}, timeout_s=timeout_s)
        with np.load(files["token_scores"]) as found:
            return TokenScores(found["log_probs"], found["likeliest"])


def llama_cpp_tokens(path: str | os.PathLike[str], texts: Sequence[str], *, timeout_s: float = 60.0) -> list[list[int]]:
    """Token ids of texts as the engine cuts them with the tokenizer of the file.

    Raises:
        EngineError: as :func:`run_llama_cpp` does.
    """
    job = _job(path, cache=256, threads=1, n_ubatch=N_UBATCH, use_mmap=True)
    job |= {"prompt": [0], "n_tokens": 1, "repeats": 0, "texts": list(texts)}
    return _run_worker(job, timeout_s=timeout_s)["tokenized"]


def _job(
    path: str | os.PathLike[str], *, cache: int, threads: int | None, n_ubatch: int, use_mmap: bool
) -> dict[str, Any]:
    path = Path(path).resolve()
    if not path.is_file():
        raise EngineError(f"{path}: no such file; export the student first")
    if threads is None:
        small = path.stat().st_size <= ONE_THREAD_BYTES
        threads = 1 if small else max(1, min(MAX_THREADS, os.cpu_count() or 1))
    return {
        "path": str(path),
        "cache": cache,
        "threads": threads,
        "n_ubatch": n_ubatch,
        "use_mmap": use_mmap,
        "scored": None,
        "scores": None,
        "texts": [],
    }


def _run_worker(job: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Run one job in a fresh process and return its answer."""
    if not llama_cpp_is_installed():
        raise EngineError("llama.cpp is not installed here — pip install 'scaling[export]' brings it prebuilt")
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(WORKER)],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            # Without it an abort of the engine spends seconds in a debugger.
            env=os.environ | {"GGML_NO_BACKTRACE": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"llama.cpp did not finish within {timeout_s:g} s; allow more, or ask for less") from error
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise EngineError(f"llama.cpp is unusable here: it crashed with {name}\n{_tail(done.stderr)}")
    if done.returncode:
        raise FileRefusedError(f"llama.cpp could not run {job['path']}\n{_tail(done.stderr)}")
    return json.loads(done.stdout)


def _engine_run(answer: dict[str, Any], job: dict[str, Any]) -> EngineRun:
    before, after = answer["before"], answer["after"]
    decode = [pass_["decode"] for pass_ in answer["speed"]]
    prompt = [pass_["prompt"] for pass_ in answer["speed"]]

    def grown(part: str) -> int | None:
        return None if after[part] is None else after[part] - before[part]

    return EngineRun(
        engine=f"llama.cpp ({PACKAGE} {answer['version']})",
        token_ids=tuple(answer["token_ids"]),
        text=answer["text"],
        ended=answer["ended"],
        prompt_tokens_per_s=statistics.median(prompt) if prompt else None,
        tokens_per_s=statistics.median(decode) if decode else None,
        tokens_per_s_range=(min(decode), max(decode)) if decode else None,
        load_s=answer["load_s"],
        peak_bytes=after["peak"] - before["resident"],
        anonymous_bytes=grown("anonymous"),
        file_bytes=grown("file"),
        interpreter_bytes=before["resident"],
        threads=job["threads"],
        load_average=answer["load_average"],
    )


def _tail(text: str, lines: int = 6) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
