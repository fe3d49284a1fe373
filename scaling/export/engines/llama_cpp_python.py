"""llama.cpp through llama-cpp-python, which gives all logits of a sequence at once: the exact loss in the engine."""

from __future__ import annotations

from scaling.accounting import GGUF_STORAGE
from scaling.export.engine import ENGINES
from scaling.export.interpreters import LLAMA
from scaling.export.token_engine import TokenEngine


class LlamaCppPython(TokenEngine):
    """One thread, f16 cache. The prebuilt package is asked by default: this one is compiled where it is installed."""

    name = "llama_cpp_python"
    formats = tuple(GGUF_STORAGE)
    interpreter = LLAMA
    title = interpreter.title
    package = "llama-cpp-python"
    worker = "llama_cpp_python_worker.py"


ENGINES.add("llama_cpp_python", LlamaCppPython())
