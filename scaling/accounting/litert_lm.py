"""Memory of LiteRT-LM, derived from one model.

SmolLM2-135M as int8 with one scale for each channel, 1,024 tokens, took 418 – 463 MB on x86: the file of 168.6 MB,
a copy of all matrices that XNNPACK packs, a cache in f32 of 47 MB, 23 MB of the interpreter, what is left 43 – 89 MB.
How that grows with a vocabulary, with layers and with a prompt was not measured, so all of it stands as the base.
"""

from scaling.accounting.storage import Storage
from scaling.accounting.stored import ENGINE_MEMORY, EngineMemory

_PACKED: dict[Storage, int] = {"F32": 1, "affine_channel": 1, "symmetric_channel": 1}

LITERT_LM = ENGINE_MEMORY.add(
    "litert_lm",
    EngineMemory(
        code=0,
        base=66_000_000,
        per_token=0,
        per_merge=0,
        per_layer=0,
        per_position=0,
        hidden_floats=0.0,
        width_floats=0.0,
        n_ubatch=128,
        cache_step=1,
        cache_value_bytes=4.0,
        repacks={"arm64": _PACKED, "x86_64": _PACKED},
    ),
)
