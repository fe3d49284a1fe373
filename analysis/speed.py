"""How well calibrated constants forecast the speed of other sizes: python analysis/speed.py [PASSES [FORMAT]]

Untrained students of several shapes write on one thread in the engine of a format, by default gguf (llama.cpp; also
onnx, litert); what their weights say is no matter to the time. The constants of a device are calibrated on some of them
and forecast the others: each left out in turn, and the larger half from the smaller and the reverse; then the same with
a further term in the time of a token. Of the published table; with a number of passes the format is measured anew and
its rows are written. Seconds are those of a processor, so that other work on the machine counts little; the median of
the passes counts.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

import numpy as np
import pandas as pd
from published import REFERENCE
from scipy.optimize import nnls

from scaling.accounting import decode_bytes, symbol_layout, tensor_bytes, tensor_shapes
from scaling.predict.phones.calibrate import MeasuredRate, calibrate
from scaling.predict.phones.devices import device
from scaling.spec import ModelSpec

TABLE = REFERENCE / "speed.csv"
SHAPES = [
    *((32, 2), (64, 2), (64, 6), (128, 4), (128, 8), (256, 4), (256, 12)),
    *((384, 8), (512, 6), (768, 3), (1024, 4), (512, 16), (768, 8)),
]
VOCABULARY, CONTEXT = 4096, 512
TERMS: dict[str, Callable[[MeasuredRate], list[float]]] = {
    "token, layers, bytes": lambda one: [1.0, one.n_layers, one.n_bytes],
    "and activations, L·M": lambda one: [1.0, one.n_layers, one.n_bytes, one.n_layers * width_of(one)],
    "and width, M": lambda one: [1.0, one.n_layers, one.n_bytes, width_of(one)],
    "and bytes beyond 2 MB": lambda one: [1.0, one.n_layers, one.n_bytes, max(0.0, one.n_bytes - 2e6)],
    "and the table's bytes": lambda one: [1.0, one.n_layers, one.n_bytes - table_of(one), table_of(one)],
}
"""What the time of a token is a sum of, with coefficients of zero or more."""


def width_of(one: MeasuredRate) -> int:
    return int(one.model.partition("x")[0])


def table_of(one: MeasuredRate) -> float:
    return float(tensor_bytes((VOCABULARY, width_of(one)), "Q8_0"))


def measured(width: int, depth: int, passes: int, format: str) -> MeasuredRate:
    """Tokens for each second of processor time: of a long text, less what a short one takes to load and begin."""
    # The table is printed without what trains and exports.
    from scaling.compress.student import quantize
    from scaling.export.format import EXPORT_FORMATS, About

    about = About(run_id="0123456789", name="untrained", description="", license="", text="")
    model = ModelSpec(vocab_size=VOCABULARY, width=width, n_layers=depth, head_width=32, context=CONTEXT)
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in tensor_shapes(model).items()}
    writer = EXPORT_FORMATS[format]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{writer.suffix}"
        tokenizer = symbol_layout(model.vocab_size)
        writer.write(path, quantize(tensors, writer.scheme), model=model, tokenizer=tokenizer, about=about)
        pairs = [(busy(path, 1, format), busy(path, CONTEXT - 8, format)) for _ in range(passes)]
    rate = median((long[1] - short[1]) / (long[0] - short[0]) for short, long in pairs)
    return rate_of(width, depth, decode_bytes(model, writer.stored.storage, position=CONTEXT // 2), rate)


def rate_of(width: int, n_layers: int, n_bytes: float, tokens_per_s: float) -> MeasuredRate:
    name = f"{width}x{n_layers}"
    return MeasuredRate(model=name, n_layers=n_layers, n_bytes=n_bytes, tokens_per_s=tokens_per_s, threads=1)


def busy(path: Path, n_tokens: int, format: str) -> tuple[float, int]:
    """Seconds of a processor that an engine takes to start and to write, and how many tokens it wrote."""
    from scaling.export.engine import engine_for

    before = getrusage(RUSAGE_CHILDREN)
    run = engine_for(format).run(path, [1, 2, 3], n_tokens=n_tokens, context=CONTEXT, threads=1, repeats=1)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, len(run.token_ids)


def errors(known: Sequence[MeasuredRate], asked: Sequence[MeasuredRate]) -> list[float]:
    """Forecast over measured tokens/s, less one, of sizes that the constants were not calibrated on."""
    speed = calibrate(device("mid-8gb"), known, engine="llama_cpp").device.speed("llama_cpp")
    return [1 / speed.seconds(one.n_layers, one.n_bytes).value / one.tokens_per_s - 1 for one in asked]


def errors_with(name: str, known: Sequence[MeasuredRate], asked: Sequence[MeasuredRate]) -> list[float]:
    """`errors`, of a sum of other terms, fitted to relative errors."""
    terms = np.array([TERMS[name](one) for one in known])
    scale, seconds = terms.max(axis=0), np.array([one.seconds for one in known])
    shares, _ = nnls(terms / scale / seconds[:, None], np.ones(len(known)))
    return [one.seconds / float(np.array(TERMS[name](one)) / scale @ shares) - 1 for one in asked]


def splits(rates: Sequence[MeasuredRate]) -> dict[str, list[tuple[list[MeasuredRate], list[MeasuredRate]]]]:
    """What is calibrated on, and what is forecast from it."""
    half, all_of = len(rates) // 2, list(rates)
    third = all_of[1::3]
    return {
        "each from all others": [([other for other in all_of if other is not one], [one]) for one in all_of],
        "larger from smaller": [(all_of[: half + 1], all_of[half + 1 :])],
        "smaller from larger": [(all_of[half:], all_of[:half])],
        "others from a third": [(third, [one for one in all_of if one not in third])],
    }


def main(passes: str | None = None, format: str = "gguf") -> None:
    """The rates, the constants of all, and how far the forecasts of what was left out are off."""
    if passes is not None:
        write([measured(*shape, int(passes), format) for shape in SHAPES], format)
    table = pd.read_csv(TABLE)
    rates = [rate_of(*row) for row in table[table["format"] == format].iloc[:, 1:].itertuples(index=False)]
    speed = calibrate(device("mid-8gb"), rates, engine="llama_cpp").device.speed("llama_cpp")
    print("bytes/s, s a layer, s a token")
    for constant in (speed.bandwidth, speed.layer_s, speed.token_s):
        print(f"{constant.value:.3g} [{constant.low:.3g}, {constant.high:.3g}]")
    parts = splits(rates)
    print("width x layers, bytes a token, tokens/s, forecast from all others")
    for known, (one,) in parts["each from all others"]:
        print(f"{one.model:>8} {one.n_bytes:>12,} {one.tokens_per_s:>9.1f} {errors(known, [one])[0]:>+8.1%}")
    print(f"\nmedian and worst error{'':20}{''.join(f'{name:>24}' for name in parts)}")
    found = [[e for known, asked in pairs for e in errors(known, asked)] for pairs in parts.values()]
    print(row_of("calibrated", found))
    for name in TERMS:
        found = [[e for known, asked in pairs for e in errors_with(name, known, asked)] for pairs in parts.values()]
        print(row_of(f"time by {name}", found))


def write(rates: Sequence[MeasuredRate], format: str) -> None:
    """Put the rates into the table, in place of those of the format that stand there."""
    from scaling.export.engine import engine_for

    columns = ["format", "width", "n_layers", "n_bytes", "tokens_per_s"]
    rows = [(format, width_of(one), one.n_layers, one.n_bytes, round(one.tokens_per_s, 1)) for one in rates]
    known = pd.read_csv(TABLE)
    table = pd.concat([known[known["format"] != format], pd.DataFrame(rows, columns=columns)])
    table.sort_values(["format", "n_bytes"]).to_csv(TABLE, index=False)
    print(f"{engine_for(format).probe()}, load {os.getloadavg()[0]:.1f}")


def row_of(name: str, found: Sequence[Sequence[float]]) -> str:
    sizes = [[abs(one) for one in each] for each in found]
    return f"{name:42}{''.join(f'{median(one):>16.1%}{max(one):>8.0%}' for one in sizes)}"


if __name__ == "__main__":
    main(*sys.argv[1:])
