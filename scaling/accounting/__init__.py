"""Arithmetic of a ModelSpec: parameters by group, FLOPs, bytes, memory, energy. Nobody else counts."""

from scaling.accounting.gguf import GGUF_ARRAYS, GGUF_NAME, TokenizerLayout, gguf_bytes, gguf_metadata
from scaling.accounting.model import (
    ParameterCount,
    Storage,
    count_parameters,
    decode_bytes,
    forward_flops,
    kv_cache_bytes,
    tensor_bytes,
    tensor_shapes,
    training_flops,
    training_flops_6nd,
    weights_bytes,
)
from scaling.accounting.training import EnergySettings, TrainingBytes, causal_blocks, training_bytes, training_kwh

__all__ = [
    "EnergySettings",
    "GGUF_ARRAYS",
    "GGUF_NAME",
    "ParameterCount",
    "Storage",
    "TokenizerLayout",
    "TrainingBytes",
    "causal_blocks",
    "count_parameters",
    "decode_bytes",
    "forward_flops",
    "gguf_bytes",
    "gguf_metadata",
    "kv_cache_bytes",
    "tensor_bytes",
    "tensor_shapes",
    "training_bytes",
    "training_flops",
    "training_flops_6nd",
    "training_kwh",
    "weights_bytes",
]
