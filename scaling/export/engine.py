"""What an engine is: a program that runs exported files where this program runs, as a phone would.

An engine is one class in ``scaling/export/engines/``, or in another package under the entry point group
``scaling.engines``. The memory it needs beside a file is forecast before there is one, from the constants under the
same name in ``scaling.accounting.ENGINE_MEMORY``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from scaling.accounting import ENGINE_MEMORY, STORED_FORMATS, EngineMemory, TokenizerLayout
from scaling.errors import EngineError
from scaling.registry import Registry


class FileRefusedError(EngineError):
    """The engine works here, but not with this file."""


def check_prompt(prompt_ids: Sequence[int], n_tokens: int, context: int) -> None:
    """Refuse a prompt that a model cannot continue.

    Raises:
        EngineError: it is empty, or with what is to be written it exceeds the context.
    """
    if not 0 < len(prompt_ids) <= context - n_tokens:
        raise EngineError(
            f"a prompt of {len(prompt_ids)} tokens and {n_tokens} more do not fit a context of {context}; "
            "give at least one token, or ask for fewer"
        )


def speed_job(prompt_ids: Sequence[int], context: int) -> dict[str, int | list[int]]:
    """A timed pass: half a context is read, then up to 64 tokens are written.

    Repeated, the prompt is as long as the typical one; what it says is no matter to the time it takes.
    """
    return {
        "speed_prompt": [int(token) for token in np.resize(prompt_ids, max(1, context // 2))],
        "speed_tokens": max(1, min(64, context // 2 - 1)),
    }


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
        busy_tokens_per_s: Tokens for each second of a processor while writing, median over the repeats: what others do
            on the machine does not stop this clock. On one thread of an idle machine it is the rate itself.
        load_s: Seconds from the file on disk to the first token.
        peak_bytes: Most memory held: what the engine allocated, what it mapped of the file, and its code as the
            forecast counts it (how much of a library is resident is up to the page cache, and says nothing of a model).
        allocated_bytes: Part of it that the system cannot take back (caches, buffers, vocabulary).
        mapped_bytes: Part of it that is the mapped file, which a phone may evict.
        threads: Threads used.
        load_average: The machine's load over the last minute.
        cores: That the machine has.
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
    allocated_bytes: int
    mapped_bytes: int
    threads: int
    load_average: float
    cores: int
    busy_tokens_per_s: float | None = None

    @property
    def machine_busy(self) -> bool:
        """True if others wanted the cores that the engine ran on: its rates are then too low."""
        return self.load_average + self.threads > self.cores + 0.5


class Engine(ABC):
    """One engine.

    Attributes:
        name: As in a sweep file, and in ``ENGINE_MEMORY``.
        title: What people call it; its ``probe`` begins so.
        formats: Names of the export formats that it runs.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]

    @property
    def memory(self) -> EngineMemory:
        """What it needs beside a file, as the forecast counts it."""
        return ENGINE_MEMORY[self.name]

    @abstractmethod
    def probe(self) -> str:
        """Name and version of the engine that is installed here; says nothing about whether it runs.

        Raises:
            EngineError: if it is not installed, with what to install.
        """

    @abstractmethod
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
        """Load a file, continue a prompt greedily, and measure memory and speed.

        Args:
            path: Exported file.
            prompt_ids: Token ids to continue; at least one.
            n_tokens: Tokens to write.
            context: Tokens that the model was trained to read at once; longer prompts are refused.
            cache: Length of the key–value cache, by default the context.
            repeats: Timed passes after the first.
            threads: By default what suits the file and the machine.

        Raises:
            FileRefusedError: if the engine does not accept the file.
            EngineError: if it is not installed, crashes, or takes too long.
        """

    @abstractmethod
    def log_probs(self, path: Path, sequences: np.ndarray, *, tokenizer: TokenizerLayout, context: int) -> np.ndarray:
        """Log-probabilities of every next token as the engine computes them.

        Args:
            path: Exported file.
            sequences: int32[n, T], T at most ``context − 1``.
            tokenizer: Of the file; V is its number of tokens.
            context: Length of the key–value cache.

        Returns:
            float32[n, T, V], nats: the distribution after reading ``sequences[i, : t + 1]``.

        Raises:
            EngineError: as :meth:`run` does.
        """

    @abstractmethod
    def tokenize(self, path: Path, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts as the engine cuts them with the tokenizer of the file.

        Raises:
            EngineError: as :meth:`run` does.
        """


ENGINES: Registry[Engine] = Registry(
    "engine", package="scaling.export.engines", group="scaling.engines", error=EngineError
)


def engine_that_said(probed: str) -> str | None:
    """Name of the engine whose ``probe`` once said so, as tables keep it; None if no engine here does."""
    return next((name for name, engine in ENGINES.items() if probed.startswith(f"{engine.title} ")), None)


def engine_for(format_name: str, engine_name: str | None = None) -> Engine:
    """The engine that runs files of a format: the one that was asked for, or the one whose memory was forecast.

    Raises:
        EngineError: if it is not known, or does not run such files.
    """
    engine = ENGINES[engine_name or STORED_FORMATS[format_name].engine]
    if format_name not in engine.formats:
        raise EngineError(
            f"{engine.name} does not run files of format {format_name} — {', '.join(engine.formats)} only"
        )
    return engine
