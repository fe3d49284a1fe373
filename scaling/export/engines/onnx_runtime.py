"""ONNX Runtime on the CPU, as an engine."""

from __future__ import annotations

from scaling.accounting import ONNX_STORAGE
from scaling.export.engine import ENGINES
from scaling.export.interpreters import ThisInterpreter
from scaling.export.token_engine import TokenEngine


class OnnxRuntime(TokenEngine):
    """One thread, float32 cache; int8 matrices are multiplied with int8 activations."""

    name = "onnx_runtime"
    formats = tuple(ONNX_STORAGE)
    interpreter = ThisInterpreter(title="ONNX Runtime", extra="onnx")
    title = interpreter.title
    package = "onnxruntime"
    worker = "onnx_worker.py"


ENGINES.add("onnx_runtime", OnnxRuntime())
