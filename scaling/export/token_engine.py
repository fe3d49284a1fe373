"""An engine that knows tokens alone: it reads ids and gives logits; text is cut by the bundle's ``tokenizer.json``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from scaling.accounting import TokenizerLayout
from scaling.data.tokenizers import import_tokenizers
from scaling.errors import EngineError, MissingPackageError
from scaling.export.bundle.tokenizer_json import TOKENIZER_FILE
from scaling.export.child import WORKERS, as_asked, engine_run, run_child
from scaling.export.engine import Engine, EngineRun, check_prompt, speed_job
from scaling.export.interpreters import Interpreter

RUN_S = 600.0
"""Longest wait, s."""


class TokenEngine(Engine):
    """One engine of this kind; its worker is one class that reads tokens.

    Attributes:
        package: That it is installed as.
        worker: Script in ``workers/``.
        interpreter: That has the package.
    """

    package: ClassVar[str]
    worker: ClassVar[str]
    interpreter: ClassVar[Interpreter]

    def version(self) -> str:
        """Of the package.

        Raises:
            EngineError: if it is not installed.
        """
        return self.interpreter.version(self.package)

    def probe(self) -> str:
        return f"{self.title} {self.version()}"

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
        job = self._job(path, prompt_ids, cache=cache or context, threads=threads) | speed_job(prompt_ids, context)
        job |= {"n_tokens": n_tokens, "repeats": repeats}
        answer = self._answer(job)
        with as_asked(self.title):
            return engine_run(answer, job, engine=self.probe(), code_bytes=self.memory.code)

    def log_probs(self, path: Path, sequences: np.ndarray, *, tokenizer: TokenizerLayout, context: int) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            files = {name: str(Path(folder) / f"{name}.npy") for name in ("scored", "scores")}
            np.save(files["scored"], np.asarray(sequences, np.int32))
            self._answer(self._job(path, [int(sequences[0, 0])], cache=context) | files)
            with as_asked(self.title):
                return np.load(files["scores"])

    def tokenize(self, path: Path, texts: Sequence[str]) -> list[list[int]]:
        """Token ids by the ``tokenizer.json`` beside the file; the spelling of a control token is plain text."""
        beside = Path(path).with_name(TOKENIZER_FILE)
        try:
            cut = import_tokenizers().Tokenizer.from_str(beside.read_text("utf-8"))
        except (MissingPackageError, OSError) as error:
            raise EngineError(f"{beside}: no text can be cut ({error})") from error
        with as_asked(self.title):
            cut.encode_special_tokens = True
            return [one.ids for one in cut.encode_batch(list(texts), add_special_tokens=False)]

    def _job(self, path: Path, prompt: Sequence[int], *, cache: int, threads: int | None = None) -> dict[str, Any]:
        path = Path(path).resolve()
        if not path.is_file():
            raise EngineError(f"{path}: no such file; export the student first")
        return {
            "path": str(path),
            "prompt": [int(token) for token in prompt],
            "cache": cache,
            "threads": threads or 1,
            "n_tokens": 1,
            "repeats": 0,
            "scored": None,
            "scores": None,
        }

    def _answer(self, job: dict[str, Any]) -> dict[str, Any]:
        self.version()
        script, python = WORKERS / self.worker, self.interpreter.path
        return run_child(script, job, engine=self.title, timeout_s=RUN_S, python=python)
