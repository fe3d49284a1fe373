"""Forecasts and intervals on tables of several texts whose law is known: `python tests/benchmarks/bench_texts.py`.

Each kind of table is simulated 20 times, 5 sizes by 5 volumes a text, a run .4 % off its law. Asked are new runs of
every text at ten times the largest size, and at ten times both, and the coefficients where the form is that of the
truth. Of intervals of 90 % nine in ten should hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.fit.fitter import fit
from scaling.fit.result import Fit
from scaling.laws.size_and_data import Chinchilla

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)
NOISE, TABLES, RESAMPLINGS = 0.004, 20, 60
SIZES, VOLUMES = np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)
ASKED = ((1e10, 1e11), (1e10, 1e12))


@dataclass(frozen=True)
class Kind:
    """A kind of table.

    Attributes:
        floors: nats/token by which each text's floor lies above that of real text.
        discounts: each text's tokens count e^-discount as much; those not named count in full.
        nu: sharpness with which floor and excess join; 1 adds them.
        known: whether the table has the divergences.
    """

    floors: Mapping[str, float]
    discounts: Mapping[str, float] | None = None
    nu: float = 1.0
    known: bool = False

    def loss(self, text: str, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        """What the truth says of a text."""
        fewer = d * np.exp(-(self.discounts or {}).get(text, 0.0))
        excess, floor = TRUTH.loss(n=n, d=fewer) - TRUTH.E, self.floors[text]
        if self.nu == 1:
            return TRUTH.E + floor + excess
        return TRUTH.E + (excess**self.nu + floor**self.nu) ** (1 / self.nu)

    def runs(self, seed: int) -> pd.DataFrame:
        """One table."""
        rng = np.random.default_rng(seed)
        n, d = (axis.ravel() for axis in np.meshgrid(SIZES, VOLUMES))
        parts = []
        for text, floor in self.floors.items():
            loss = self.loss(text, n, d) * np.exp(rng.normal(0, NOISE, n.size))
            part = pd.DataFrame({"n_params": n, "n_tokens": d, "teacher": text, "loss": loss})
            parts.append(part.assign(delta_noise=floor, delta_coverage=0.0) if self.known else part)
        return pd.concat(parts, ignore_index=True)


THREE = {"real": 0.0, "good": 0.1, "bad": 0.3}
KINDS = {
    "floors": Kind(THREE),
    "floors, known": Kind(THREE, known=True),
    "fewer tokens": Kind(dict.fromkeys(THREE, 0.0), {"good": 0.5, "bad": 1.2}),
    "both": Kind(THREE, {"good": 0.3, "bad": 0.9}),
    "bottleneck, nu = 3": Kind(THREE, nu=3.0),
    "one better than real": Kind({"real": 0.0, "good": -0.1, "bad": 0.3}),
    "no real text": Kind({"good": 0.1, "bad": 0.3}),
    "different in kind": Kind({"real": 0.0, "good": 0.0, "bad": 0.2}, {"good": 1.0}),
}


def main() -> None:
    """A row a kind."""
    print(f"{TABLES} tables a kind: share of 90 % intervals that hold, forecasts and coefficients; mean error %")
    for name, kind in KINDS.items():
        rows = [asked(kind, fit(kind.runs(seed), bootstrap=RESAMPLINGS, strict=False), seed) for seed in range(TABLES)]
        inside, errors = (np.concatenate([row[i] for row in rows]) for i in (0, 1))
        told = pd.DataFrame([row[2] for row in rows]).mean()
        coefficients = ", ".join(f"{coefficient} {share:.2f}" for coefficient, share in told.items())
        print(f"{name} | {inside.mean():.3f} | {100 * np.abs(errors).mean():.2f} | {coefficients or 'another form'}")


def asked(kind: Kind, found: Fit, seed: int) -> tuple[list[bool], list[float], dict[str, bool]]:
    """Which intervals hold a new run of each text, the errors, and which coefficients hold theirs."""
    rng = np.random.default_rng(10_000 + seed)
    inside, errors = [], []
    for text in kind.floors:
        for n, d in ASKED:
            run = float(kind.loss(text, np.array(n), np.array(d)) * np.exp(rng.normal(0, NOISE)))
            said = found.predict(n, d, teacher=text, force=True)
            inside.append(said.low <= run <= said.high)
            errors.append(said.value / run - 1)
    return inside, errors, coefficients(kind, found)


def coefficients(kind: Kind, found: Fit) -> dict[str, bool]:
    """Of a floor law fitted to floors: whether each interval holds the true number, by the text that others are told
    by."""
    if found.law.name != "q1" or kind.discounts or kind.nu != 1:
        return {}
    deltas = {f"delta[{text}]": floor for text, floor in kind.floors.items()}
    least = 0.0 if kind.known else next(floor for name, floor in deltas.items() if name not in found.law.names)
    true = {name: floor - least for name, floor in deltas.items()} | dict(TRUTH.values)
    true |= {"E": TRUTH.E + least, "kappa": 1.0}
    ends = found.interval()
    return {name: ends[name][0] <= true[name] <= ends[name][1] for name in found.law.names}


if __name__ == "__main__":
    main()
