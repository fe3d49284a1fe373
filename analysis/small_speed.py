"""What a token of a tiny student takes in each engine beside its weights: python analysis/small_speed.py [measure]

Untrained students of 32 to 256 columns that differ in vocabulary, depth, heads and context are timed in rounds by the
clock of the processor (`scaling/export/timing.py`); what their weights say is no matter to the time. For each term that
may be added to token + layers + bytes: how far the rates of the students of each width are off where the coefficients
are those of the other widths. Of the published table; with `measure` it is made anew (5 minutes of a core).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from published import REFERENCE
from scipy.optimize import nnls

from scaling.accounting import STORED_FORMATS, decode_bytes, kv_cache_bytes
from scaling.spec import ModelSpec

TABLE = REFERENCE / "small_speed.csv"
FORMATS = ("gguf", "onnx", "litert")
SHAPE = ("vocab_size", "width", "n_layers", "head_width", "context")
SHAPES = [
    *((65, width, 2, 16, 40) for width in (32, 64, 128)),
    *((1024, width, 2, 32, 128) for width in (32, 64, 128)),
    *((4096, 64, 2, 32, 128), (4096, 128, 2, 32, 128), (8192, 64, 2, 32, 128), (65, 128, 2, 32, 128)),
    *((65, 64, 2, 32, 256), (1024, 64, 2, 32, 512), (1024, 64, 1, 32, 128), (1024, 64, 4, 32, 128)),
    *((1024, 128, 6, 32, 128), (1024, 128, 2, 16, 128), (1024, 256, 4, 32, 128)),
]
TERMS: dict[str, Callable[[ModelSpec], float]] = {
    "nothing": lambda model: 0.0,
    "vocabulary, V": lambda model: model.vocab_size,
    "heads, L·H": lambda model: model.n_layers * model.n_heads,
    "activations, L·M": lambda model: model.n_layers * model.width,
    "cache, L·T·H·K": lambda model: kv_cache_bytes(model, model.context // 2, value_bytes=4),
    "vocabulary and cache": lambda model: 0.0,
}
"""What may be added to a token, its layers and its bytes, with a coefficient of zero or more."""


def main(measure: str | None = None) -> None:
    if measure is not None and measure == "measure":
        pd.DataFrame([row for format in FORMATS for row in measured(format)]).to_csv(TABLE, index=False)
    rows = pd.read_csv(TABLE)
    print(f"{'median and worst error, each width from the others':52}{''.join(f'{one:>16}' for one in FORMATS)}")
    for name in TERMS:
        found = [np.abs(errors(rows[rows["format"] == format], name)) for format in FORMATS]
        print(f"{name:52}{''.join(f'{np.median(one):>11.1%}{one.max():>5.0%}' for one in found)}")
    spread = rows.groupby("format")["spread"].median()
    print("scatter between rounds, median: " + ", ".join(f"{one} {spread[one]:.1%}" for one in FORMATS))


def measured(format: str) -> list[dict[str, object]]:
    """A row for each shape, timed in the engine of a format."""
    # The table is printed without what exports.
    from scaling.accounting import symbol_layout, tensor_shapes
    from scaling.compress.student import quantize
    from scaling.export.bundle.files import Bundle
    from scaling.export.format import EXPORT_FORMATS, About
    from scaling.export.timing import time_in_rounds

    about = About(run_id="0123456789", name="untrained", description="", license="", text="")
    rng, writer, bundles = np.random.default_rng(0), EXPORT_FORMATS[format], []
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            model = ModelSpec(**dict(zip(SHAPE, shape, strict=True)))
            place = Path(folder) / "-".join(map(str, shape))
            place.mkdir()
            tensors = {name: rng.normal(0, 0.1, one).astype(np.float32) for name, one in tensor_shapes(model).items()}
            bundle = Bundle(place, SimpleNamespace(run_id=place.name, model=model, format=format))
            tokenizer = symbol_layout(model.vocab_size)
            writer.write(
                bundle.model_path, quantize(tensors, writer.scheme), model=model, tokenizer=tokenizer, about=about
            )
            bundles.append(bundle)
        found = time_in_rounds(bundles)
    return [
        {
            "format": format,
            **dict(zip(SHAPE, shape, strict=True)),
            "tokens_per_s": round(one.tokens_per_s, 1),
            "spread": round(one.spread, 4),
            "load_average": round(one.load_average, 2),
            "engine": one.engine,
        }
        for shape, one in zip(SHAPES, found, strict=True)
    ]


def errors(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Forecast over measured rate, less one, of each student, by a sum fitted to the other widths' relative errors."""
    models = [ModelSpec(**{key: int(row[key]) for key in SHAPE}) for _, row in rows.iterrows()]
    storage, seconds = STORED_FORMATS[rows["format"].iloc[0]].storage, 1 / rows["tokens_per_s"].to_numpy(float)
    added = ["vocabulary, V", "cache, L·T·H·K"] if name == "vocabulary and cache" else [name]
    terms = np.array(
        [
            [
                1.0,
                one.n_layers,
                decode_bytes(one, storage, position=one.context // 2),
                *(TERMS[term](one) for term in added),
            ]
            for one in models
        ]
    )
    terms /= np.maximum(terms.max(axis=0), 1e-30)
    out = np.empty(len(models))
    for width in sorted(rows["width"].unique()):
        here = (rows["width"] == width).to_numpy()
        shares, _ = nnls(terms[~here] / seconds[~here, None], np.ones((~here).sum()))
        out[here] = seconds[here] / (terms[here] @ shares) - 1
    return out


if __name__ == "__main__":
    main(*sys.argv[1:])
