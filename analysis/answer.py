"""The project's answer so far, from committed results: python analysis/answer.py

Prints the table of the README's first screen and draws its figure, `answer.png`. Students of the first four rows were
forecast from the runs of the quickstart before any of them was trained (`results/reference/forecasts`); the last two
rows are of a published law.
"""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from published import REFERENCE, ROOT
from rich.table import Table

import scaling
from scaling.config.expand import expand
from scaling.numbers import number, size
from scaling.predict.named.models import named_model
from scaling.predict.named.shapes import Shape, shape_like, shape_of_size
from scaling.predict.phones.devices import Device, device
from scaling.predict.phones.on_device import OnPhones, on_phones
from scaling.predict.registered import RegisteredForecast, registered_in
from scaling.report.figures import styled
from scaling.report.numbers import rate
from scaling.report.tables import show
from scaling.spec import ModelSpec

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FIGURE = ROOT / "analysis" / "answer.png"
PHONES = ("pixel-8a", "galaxy-s26")
TOKENS = 2_000_000
TEXTS = {"real": "real text", "noise 0.2": "the teacher's text"}
LAW, TEACHER = "besiroglu", "palm"
MARK = "•"


def main(results: str = "") -> None:
    asked = forecasts()
    measured = dict(pd.read_csv(REFERENCE / "registered.csv").set_index("run_id")["loss"])
    table = Table(box=None, pad_edge=False)
    for name in ("parameters", "int8 file", *(f"{phone}, tokens/s" for phone in PHONES), *TEXTS.values()):
        table.add_column(name, justify="left" if name == "parameters" else "right")
    for model, told in asked.items():
        phones = on_phones(Shape(model=model, name="", origin=""), formats=["q8_0"], devices=_phones())
        table.add_row(number(phones.n_params_total), *_on(phones), *(_loss(told[text], measured) for text in TEXTS))
    for row in _published():
        table.add_row(*row)
    show(table)
    draw([(one, measured.get(one.run_id)) for told in asked.values() for one in told.values()])
    print(_score(measured))


def forecasts() -> dict[ModelSpec, dict[str, RegisteredForecast]]:
    """The registered forecasts of students of 2M tokens: by model, then by what they read."""
    found: dict[ModelSpec, dict[str, RegisteredForecast]] = {}
    for run in expand(scaling.load_sweep(ROOT / "sweeps" / "registered.yaml")):
        if abs(run.n_tokens / TOKENS - 1) < 0.01:
            one = RegisteredForecast.load(REFERENCE / "forecasts" / f"{run.run_id}.json")
            found.setdefault(run.model, {})[one.text] = one
    return found


def _score(measured: dict[str, float]) -> str:
    """Hits and misses of all forecasts that were registered, those of this table among them."""
    every = registered_in(REFERENCE / "forecasts")
    known = [(one, measured[one.run_id]) for one in every if one.run_id in measured]
    inside = sum(one.low <= loss <= one.high for one, loss in known)
    return (
        f"{MARK} measured after its forecast was registered; of {len(every)} such forecasts {len(known)} have been "
        f"measured: {inside} inside their interval, {len(known) - inside} missed"
    )


def _phones() -> list[Device]:
    return [device(name) for name in PHONES]


def _on(found: OnPhones) -> Iterator[str]:
    """Bytes of the file, and tokens/s of each phone: usual, least and most."""
    yield size(found.formats[0].footprint.weights_bytes)
    for one in found.devices:
        speed = one.speed
        usual, low, high = (rate(float(f"{value:.2g}")) for value in (speed.tokens_per_s, speed.low, speed.high))
        yield f"{usual} ({low} – {high})"


def _loss(said: RegisteredForecast, measured: dict[str, float]) -> str:
    interval = f"{said.low:.3f} – {said.high:.3f}"
    return f"{interval} {MARK} {measured[said.run_id]:.3f}" if said.run_id in measured else f"{interval}        "


def _published() -> Iterator[tuple[str, ...]]:
    """Sizes of phones by a published law, of unlimited web text, and of a published teacher's."""
    shapes = [
        shape_like(named_model("bert-base")),
        Shape(model=shape_of_size(1e9), name="1B", origin="a llama"),
    ]
    said = scaling.compare_models([LAW], [shape.name for shape in shapes], n_tokens=np.inf, teacher=TEACHER)
    for shape, row in zip(shapes, said.rows, strict=True):
        phones = on_phones(shape, formats=["q8_0"], devices=_phones())
        yield row.label, *_on(phones), f"{row.real:.3f}        ", f"{row.low:.3f} – {row.high:.3f}        "


def draw(rows: list[tuple[RegisteredForecast, float | None]]) -> None:
    """Loss against size: the students that were trained first, the forecast from them, and what was measured then."""
    fit = scaling.load_fit(REFERENCE / "registered_fit.json")
    runs = pd.read_csv(REFERENCE / "quickstart.csv")
    with styled():
        figure, axes = plt.subplots(figsize=(7.2, 3.2))
        for color, (text, label) in zip(("C0", "C1"), TEXTS.items(), strict=True):
            known = runs[runs["teacher"] == text]
            axes.plot(known["n_params"], known["loss"], ".", color=color, ms=3, alpha=0.45)
            _forecast(axes, fit, text, color, f"students of {label}")
            after = [(one.n_params, loss) for one, loss in rows if one.text == text and loss is not None]
            axes.plot(*zip(*after, strict=True), "D", color=color, ms=6, mec="black", mew=0.6)
        axes.plot([], [], ".", color="0.4", ms=5, label="trained first, on 250k to 1M tokens")
        axes.plot([], [], "D", color="0.8", mec="black", mew=0.6, label="trained after the forecast, on 2M tokens")
        axes.axhline(entropy := runs["entropy"].iloc[0], color="0.3", lw=0.8, ls=":")
        axes.annotate(
            "no model can be better", (2.2e6, entropy), (0, 3), textcoords="offset points", ha="right", fontsize=8
        )
        axes.set(
            xscale="log",
            xlabel="parameters of the student, embeddings left out",
            ylabel="loss on real text, nats/token",
        )
        axes.set_xticks([3e4, 1e5, 3e5, 1e6], ["30k", "100k", "300k", "1M"])
        axes.set_title("Larger students of a teacher get better, and stay above those of real text")
        axes.legend()
        figure.savefig(FIGURE, dpi=110)
        plt.close(figure)


def _forecast(axes: Axes, fit: scaling.Fit, text: str, color: str, label: str) -> None:
    sizes = np.geomspace(26_784, 2.2e6, 80)
    said = fit.predict(sizes, TOKENS, teacher=text, given="law")
    axes.plot(sizes, said.value, color=color, label=label)
    axes.fill_between(sizes, said.low, said.high, color=color, alpha=0.15, lw=0)


if __name__ == "__main__":
    main()
