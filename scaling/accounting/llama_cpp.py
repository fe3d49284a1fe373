"""Memory of llama.cpp, measured.

Fitted by ``analysis/engine_memory.py`` to 40 models on 64-bit Linux (V 65 … 49,152, width 64 … 1,024, hidden 64 …
2,752, 1 … 32 layers, context 40 … 8,192): residuals are 0.29 MiB (standard deviation) and 0.71 MiB (largest). Under
Python 3.11, 3.12 and 3.13 the engine allocates the same to 0.5 %.

The code is counted and not measured: 3.1 MB of the library are executed, and 5.2 MB became resident where the constants
were fitted; the same pages took 1 to 6 MB elsewhere, by how the page cache holds the library.

What it repacks on ARM is read from its source (``ggml_repack_get_optimal_repack_type``): Q4_0, and Q8_0 since
llama.cpp#18096, where the processor has dot products. The mapped pages stay resident beside the copy: of Gemma-2-2B as
Q4_0 1,552 MiB mapped and 1,513 MiB repacked (llama.cpp#19578); a flag that drops them is open (llama.cpp#24156). On
x86 the package that the constants are of copies neither (measured); a build of one's own with AVX2 copies Q4_0.

Source: xllamacpp 2026.10 (llama.cpp), one sequence, f16 cache, file mapped.
"""

from scaling.accounting.stored import ENGINE_MEMORY, EngineMemory

LLAMA_CPP = ENGINE_MEMORY.add(
    "llama_cpp",
    EngineMemory(
        code=5_200_000,
        base=5_170_000,
        per_token=217,
        per_merge=185,
        per_layer=82_000,
        per_position=319,
        hidden_floats=3.63,
        width_floats=4.29,
        n_ubatch=64,
        cache_step=256,
        repacks={"arm64": {"Q4_0": 4, "Q8_0": 4}},
    ),
)

# The same engine, compiled where it is installed.
ENGINE_MEMORY.add("llama_cpp_python", LLAMA_CPP)
