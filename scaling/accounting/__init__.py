"""Arithmetic of a model: parameters by group, FLOPs, bytes, memory, energy. Nobody else counts."""

from scaling.accounting.energy import JOULES_PER_KWH, EnergySettings, Familiar, training_kwh
from scaling.accounting.gguf import GGUF_ARRAYS, GGUF_BLANK, GGUF_STORAGE, gguf_bytes, gguf_metadata, model_file_bytes
from scaling.accounting.litert import LITERT_STORAGE, litert_bytes
from scaling.accounting.model import (
    ParameterCount,
    count_parameters,
    decode_bytes,
    forward_flops,
    kv_cache_bytes,
    layer_shapes,
    misfit,
    tensor_shapes,
    training_flops,
    training_flops_6nd,
    weights_bytes,
)
from scaling.accounting.onnx import ONNX_STORAGE, onnx_bytes
from scaling.accounting.storage import LAYOUTS, WEIGHT_FORMATS, Layout, Storage, storages_named, tensor_bytes
from scaling.accounting.stored import (
    DEFAULT_FORMAT,
    ENGINE_MEMORY,
    PHONE,
    STORED_FORMATS,
    Architecture,
    EngineMemory,
    StoredFormat,
    this_architecture,
)
from scaling.accounting.tokenizer import NEVER_APPLIED_MERGE, NORMAL_TOKEN, TokenizerLayout, bpe_layout, symbol_layout
from scaling.accounting.training import TrainingBytes, causal_blocks, training_bytes

__all__ = [
    "Architecture",
    "DEFAULT_FORMAT",
    "ENGINE_MEMORY",
    "EnergySettings",
    "EngineMemory",
    "Familiar",
    "GGUF_ARRAYS",
    "GGUF_BLANK",
    "GGUF_STORAGE",
    "JOULES_PER_KWH",
    "LAYOUTS",
    "LITERT_STORAGE",
    "Layout",
    "NEVER_APPLIED_MERGE",
    "NORMAL_TOKEN",
    "PHONE",
    "ONNX_STORAGE",
    "ParameterCount",
    "STORED_FORMATS",
    "Storage",
    "StoredFormat",
    "TokenizerLayout",
    "TrainingBytes",
    "WEIGHT_FORMATS",
    "bpe_layout",
    "causal_blocks",
    "count_parameters",
    "decode_bytes",
    "forward_flops",
    "gguf_bytes",
    "gguf_metadata",
    "kv_cache_bytes",
    "layer_shapes",
    "misfit",
    "model_file_bytes",
    "litert_bytes",
    "onnx_bytes",
    "storages_named",
    "symbol_layout",
    "tensor_bytes",
    "tensor_shapes",
    "this_architecture",
    "training_bytes",
    "training_flops",
    "training_flops_6nd",
    "training_kwh",
    "weights_bytes",
]
