"""LiteRT's interpreter on the CPU, as an engine."""

from __future__ import annotations

from scaling.accounting import LITERT_STORAGE
from scaling.export.engine import ENGINES
from scaling.export.interpreters import LITERT
from scaling.export.token_engine import TokenEngine


class LiteRt(TokenEngine):
    """One thread, float32 cache; a prompt is read token by token. Runs in an environment of its own."""

    name = "litert"
    formats = tuple(LITERT_STORAGE)
    interpreter = LITERT
    title = interpreter.title
    package = "ai-edge-litert"
    worker = "litert_worker.py"


ENGINES.add("litert", LiteRt())
