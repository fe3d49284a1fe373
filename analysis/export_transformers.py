"""The loss that ``transformers`` computes from our GGUF files beside JAX's on the same weights, format by format.

python -m venv hf && hf/bin/pip install torch transformers gguf accelerate
python analysis/export_transformers.py results/quickstart/bundle hf/bin/python
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from export_parity import ABOUT, FORMATS, of_bundle, scores

from scaling.compress.student import quantize
from scaling.export.format import EXPORT_FORMATS
from scaling.train.student.generator import as_trained

THEIRS = """
import json, sys
import numpy as np, torch, transformers
folder, sequences = sys.argv[1], torch.tensor(np.load(sys.argv[2]).astype(np.int64))
model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype=torch.float32).eval()
with torch.no_grad():
    log_probs = torch.log_softmax(model(sequences[:, :-1]).logits.double(), -1)
loss = -log_probs.gather(-1, sequences[:, 1:, None]).mean().item()
print(json.dumps({"loss": loss, "version": f"transformers {transformers.__version__}, torch {torch.__version__}"}))
"""


def main(bundle: str, python: str) -> None:
    """One line a format."""
    model, tokenizer, tensors, sequences = of_bundle(bundle)
    for name in FORMATS:
        writer = EXPORT_FORMATS[name]
        with tempfile.TemporaryDirectory() as folder:
            path, saved = Path(folder) / "model.gguf", Path(folder) / "sequences.npy"
            writer.write(path, quantize(tensors, writer.scheme), model=model, tokenizer=tokenizer, about=ABOUT)
            np.save(saved, sequences)
            ours = -float(scores(model, writer.read(path).tensors, sequences, as_trained).mean())
            command = [python, "-c", THEIRS, folder, str(saved)]
            told = json.loads(
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            )
        print(f"{name:<10} {told['loss']:.6f} in {told['version']}, {told['loss'] - ours:+.1e} beside JAX")


if __name__ == "__main__":
    main(*sys.argv[1:3])
