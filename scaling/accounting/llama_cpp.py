"""Memory of llama.cpp, measured.

Fitted to 36 runs on a 64-bit Linux machine (V 65 … 49,152, width 64 … 1,024, 2 … 32 layers, context 40 … 8,192):
residuals are 0.22 MiB (standard deviation) and 0.7 MiB (largest).

Source: xllamacpp 2026.10 (llama.cpp), one sequence, f16 cache, file mapped.
"""

from scaling.accounting.stored import ENGINE_MEMORY, EngineMemory

LLAMA_CPP = ENGINE_MEMORY.add(
    "llama_cpp",
    EngineMemory(
        base=10_350_000,
        per_token=204,
        per_merge=146,
        per_layer=94_000,
        per_position=95,
        hidden_floats=3.4,
        width_floats=3.2,
        n_ubatch=64,
        cache_step=256,
    ),
)
