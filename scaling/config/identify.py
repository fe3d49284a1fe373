"""The files that a run reads, named by their content: corpora, tokenizers of GGUF files, pretrained teachers.

A sweep can be checked without them; a run has its id only with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from scaling.spec import RunSpec, TextSource

Fingerprint = Callable[[TextSource], str]
"""Hash of a text source's corpus."""


def identified(runs: Sequence[RunSpec], fingerprint: Fingerprint | None = None) -> list[RunSpec]:
    """Runs with the fingerprint of every file that they read, those that have become equal once.

    Args:
        runs: As a sweep file describes them.
        fingerprint: Hash of a text source's corpus; by default :func:`scaling.data.corpora.fingerprint`.

    Raises:
        DataError: a file is not there.
    """
    # A corpus is read whole for its hash, and a sweep's runs mostly share one.
    once = cache(fingerprint or _corpus_fingerprint)
    named = [_identified(run, once) for run in runs]
    return list({run.run_id: run for run in named}.values())


def _identified(run: RunSpec, fingerprint: Fingerprint) -> RunSpec:
    values = run.model_dump(mode="json")
    return RunSpec.model_validate(values) if _fill(values, fingerprint) else run


def _fill(value: Any, fingerprint: Fingerprint) -> bool:
    """Put fingerprints wherever one is missing, at any depth; True if there was such a place."""
    if isinstance(value, list):
        return any([_fill(item, fingerprint) for item in value])
    if not isinstance(value, dict):
        return False
    filled = any([_fill(item, fingerprint) for item in value.values()])
    if value.get("kind") not in _NAMED or value.get("fingerprint"):
        return filled
    value["fingerprint"] = _NAMED[value["kind"]](value, fingerprint)
    return True


def _of_corpus(value: dict[str, Any], fingerprint: Fingerprint) -> str:
    return fingerprint(TextSource.model_validate(value))


def _of_file(value: dict[str, Any], _: Fingerprint) -> str:
    return _file_fingerprint(value["file"])


_NAMED = {"text": _of_corpus, "gguf": _of_file, "pretrained": _of_file}


def _file_fingerprint(file: str) -> str:
    from scaling.data.pretrained import file_fingerprint, model_file

    return file_fingerprint(model_file(file))


def _corpus_fingerprint(source: TextSource) -> str:
    from scaling.data.corpora import fingerprint

    return fingerprint(source)
