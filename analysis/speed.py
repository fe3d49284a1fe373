"""How well calibrated constants forecast the speed of other sizes: python analysis/speed.py [PASSES [FORMAT]]

Untrained students of several shapes write on one thread in the engine of a format, by default gguf (llama.cpp; also
onnx, litert); what their weights say is no matter to the time.
The constants of a device are calibrated on some of them and forecast the others: each left out in turn, and the larger
half from the smaller and the reverse. Seconds are those of a processor, so that other work on the machine counts
little; the median of the passes counts.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

import numpy as np

from scaling.accounting import decode_bytes, symbol_layout, tensor_shapes
from scaling.compress.student import quantize
from scaling.export.engine import engine_for
from scaling.export.format import EXPORT_FORMATS, About
from scaling.predict.calibrate import MeasuredRate, calibrate
from scaling.predict.devices import device
from scaling.spec import ModelSpec

SHAPES = [(64, 2), (128, 4), (256, 4), (256, 12), (384, 8), (512, 6), (512, 16), (768, 8), (1024, 4)]
CONTEXT = 512
ABOUT = About(run_id="0123456789", name="untrained", description="", license="", text="")


def measured(width: int, depth: int, passes: int, format: str) -> MeasuredRate:
    """Tokens for each second of processor time: of a long text, less what a short one takes to load and begin."""
    model = ModelSpec(vocab_size=4096, width=width, n_layers=depth, head_width=32, context=CONTEXT)
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in tensor_shapes(model).items()}
    writer = EXPORT_FORMATS[format]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{writer.suffix}"
        tokenizer = symbol_layout(model.vocab_size)
        writer.write(path, quantize(tensors, writer.scheme), model=model, tokenizer=tokenizer, about=ABOUT)
        pairs = [(busy(path, 1, format), busy(path, CONTEXT - 8, format)) for _ in range(passes)]
    rate = median((long[1] - short[1]) / (long[0] - short[0]) for short, long in pairs)
    read = decode_bytes(model, writer.stored.storage, position=CONTEXT // 2)
    return MeasuredRate(model=f"{width}x{depth}", n_layers=depth, n_bytes=read, tokens_per_s=rate, threads=1)


def busy(path: Path, n_tokens: int, format: str) -> tuple[float, int]:
    """Seconds of a processor that an engine takes to start and to write, and how many tokens it wrote."""
    before = getrusage(RUSAGE_CHILDREN)
    run = engine_for(format).run(path, [1, 2, 3], n_tokens=n_tokens, context=CONTEXT, threads=1, repeats=1)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, len(run.token_ids)


def errors(known: Sequence[MeasuredRate], asked: Sequence[MeasuredRate]) -> list[float]:
    """Forecast over measured tokens/s, less one, of sizes that the constants were not calibrated on."""
    speed = calibrate(device("mid-8gb"), known, engine="llama_cpp").device.speed("llama_cpp")
    return [1 / speed.seconds(one.n_layers, one.n_bytes).value / one.tokens_per_s - 1 for one in asked]


def main(passes: str = "3", format: str = "gguf") -> None:
    """The rates, the constants of all, and how far the forecasts of what was left out are off."""
    rates = [measured(*shape, int(passes), format) for shape in SHAPES]
    engine = engine_for(format)
    print(f"{engine.probe()}, load {os.getloadavg()[0]:.1f}")
    print("bytes/s, s a layer, s a token; then width x layers, bytes a token, tokens/s, forecast from all others")
    speed = calibrate(device("mid-8gb"), rates, engine=engine.name).device.speed(engine.name)
    for constant in (speed.bandwidth, speed.layer_s, speed.token_s):
        print(f"{constant.value:.3g} [{constant.low:.3g}, {constant.high:.3g}]")
    alone = [errors([other for other in rates if other is not one], [one])[0] for one in rates]
    for one, error in zip(rates, alone, strict=True):
        print(f"{one.model:>8} {one.n_bytes:>12,} {one.tokens_per_s:>9.1f} {error:>+8.1%}")
    print(f"left out in turn: median {median(map(abs, alone)):.1%}, worst {max(map(abs, alone)):.1%}")
    for name, known, asked in (
        ("larger from smaller", rates[:5], rates[5:]),
        ("smaller from larger", rates[4:], rates[:4]),
        ("others from three", rates[1::3], [one for one in rates if one not in rates[1::3]]),
    ):
        found = [abs(error) for error in errors(known, asked)]
        print(f"{name}: median {median(found):.1%}, worst {max(found):.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
