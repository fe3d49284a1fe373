"""Child process that turns StableHLO programs into one .tflite file: a job as JSON on stdin.

It runs in an environment of its own where the converter is; see ``scaling.export.interpreters``.
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from process import begin, said


def main() -> None:
    job, answer = begin()
    from litert_converter import converter_api_ext as api
    from litert_converter.mlir import ir, passmanager
    from litert_converter.mlir.dialects import stablehlo

    with ir.Context() as context:
        api.prepare_mlir_context(context)
        modules = []
        for program in job["programs"]:
            with open(program["path"], "rb") as file:
                module = stablehlo.deserialize_portable_artifact(context, file.read())
            api.set_signature(module.operation, program["name"], program["inputs"], program["outputs"])
            modules.append(module)
        # What several programs have in common is then stored once.
        module = api.merge_modules(modules) if len(modules) > 1 else modules[0]
        api.run_convert_to_tfl_passes(module, passmanager.PassManager(), api.ConvertToTFLConfig())
        api.export_flatbuffer_to_file(module.operation, job["out"])
    if job["int8"]:
        quantize(job["out"])
    json.dump({}, answer)
    answer.close()


def quantize(path) -> None:
    """int8 weights a channel, activations scaled anew for each token."""
    from ai_edge_quantizer import quantizer, recipe

    one = quantizer.Quantizer(path)
    one.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    one.quantize().export_model(path, overwrite=True)


if __name__ == "__main__":
    said(main)
