"""LiteRT's interpreter on the CPU, as an engine."""

from __future__ import annotations

from scaling.accounting import LITERT_STORAGE
from scaling.export.engine import ENGINES
from scaling.export.litert_python import litert_python, litert_version
from scaling.export.token_engine import TokenEngine


class LiteRt(TokenEngine):
    """One thread, float32 cache; a prompt is read token by token. Runs in an environment of its own."""

    name = "litert"
    formats = tuple(LITERT_STORAGE)
    title = "LiteRT"
    package = "ai-edge-litert"
    extra = "litert"
    worker = "litert_worker.py"

    @property
    def python(self) -> str:
        return litert_python()

    def version(self) -> str:
        return litert_version(self.package)


ENGINES.add("litert", LiteRt())
