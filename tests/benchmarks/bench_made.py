"""Forecasts on made tables of known truth that no form of ours describes: `python tests/benchmarks/bench_made.py`.

Public tables are few, and whoever works on the fitter has seen them. Here losses follow drifting exponents, steps too
few, sizes counted without a table, scatter shared by all runs of a size, and so on; each table is fitted as a
stranger's and asked for runs of 1.5 to 4 times its largest size and 2 to 8 times its largest compute. Beside ours
stands Chinchilla by the published objective. Coverage is of the measured runs, errors are against the truth.
`bench_made.py 20` takes twenty tables of each kind instead of six.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from bench_hold_out import LEVEL, SIZES, error, single

from scaling.fit.fitter import fit
from scaling.tables.observe import observe

N_0, D_0 = 1e8, 2e9
"""Where the terms of size and of data are as large as their coefficients say."""
SMALLEST, LARGEST = 2e7, 4e8
"""Sizes that are trained."""
TOKENS = (5, 100)
"""A parameter, of the runs that are trained."""


@dataclass(frozen=True)
class World:
    """What Chinchilla's law would be here: E + a (N/N_0)^-alpha + b (D/D_0)^-beta."""

    E: float
    a: float
    b: float
    alpha: float
    beta: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> World:
        """One as published laws have it."""
        low, high = [1.5, 0.45, 0.35, 0.28, 0.28], [2.0, 0.9, 0.8, 0.45, 0.45]
        return cls(*rng.uniform(low, high))

    def loss(self, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Chinchilla's law itself."""
        return self.E + self.a * (n / N_0) ** -self.alpha + self.b * (d / D_0) ** -self.beta


Law = Callable[[World, np.ndarray, np.ndarray], np.ndarray]
Scatter = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def drifting(by: float) -> Law:
    """Exponents that change along the way: less by so much for each factor of e."""

    def law(w: World, n: np.ndarray, d: np.ndarray) -> np.ndarray:
        x, y = np.log(n / N_0), np.log(d / D_0)
        return w.E + w.a * np.exp(-w.alpha * x + by * x * x) + w.b * np.exp(-w.beta * y + by * y * y)

    return law


def coupled(w: World, n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Larger models learn faster."""
    beta = w.beta * (n / N_0) ** 0.06
    return w.E + w.a * (n / N_0) ** -w.alpha + w.b * (n / N_0) ** -0.05 * (d / D_0) ** -beta


def short(w: World, n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Short trainings are not done with their warm-up."""
    return w.loss(n, d) + 1.5 * np.exp(-d / 3e8) + 0.6 * (d / 2e8) ** -2


def few_steps(w: World, n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """One batch for all: large models take too few steps."""
    return w.loss(n, d) * (1 + 0.02 * np.log1p(10 * n / d))


def with_a_table(w: World, n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """A table of embeddings helps that the size does not count."""
    return w.loss(n + 50257 * 205 * (n / 2e7) ** (1 / 3), d)


def without_floor(w: World, n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Kaplan's law."""
    return w.E * 0.7 * ((1.5e12 / n) ** 0.8 + 6e10 / d) ** 0.095


def even(scatter: float) -> Scatter:
    """The same for all runs."""
    return lambda rng, n: scatter * rng.standard_normal(n.size)


def by_size(shared: float) -> Scatter:
    """Runs of one size share most of it, as where a rate was tuned for each."""

    def scatter(rng: np.random.Generator, n: np.ndarray) -> np.ndarray:
        sizes, which = np.unique(n, return_inverse=True)
        return (shared * rng.standard_normal(len(sizes)))[which] + 0.002 * rng.standard_normal(n.size)

    return scatter


def falling(rng: np.random.Generator, n: np.ndarray) -> np.ndarray:
    """Small models scatter more."""
    return 0.015 * (n / SMALLEST) ** -0.6 * rng.standard_normal(n.size)


def heavy(rng: np.random.Generator, n: np.ndarray) -> np.ndarray:
    """Some runs lie far off."""
    return 0.003 * rng.standard_t(2, n.size)


def badly_tuned(rng: np.random.Generator, n: np.ndarray) -> np.ndarray:
    """Half of the runs are worse than they need be, none is better."""
    return 0.002 * rng.standard_normal(n.size) + 0.01 * rng.exponential(size=n.size) * (rng.random(n.size) < 0.5)


@dataclass(frozen=True)
class Kind:
    """A kind of table: its law, its scatter, its sizes and the runs of each."""

    law: Law = World.loss
    scatter: Scatter = even(0.003)
    sizes: int = 6
    volumes: int = 5
    spoiled: str | None = None

    def tables(self, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Runs to fit, and larger ones to forecast, with their loss and the truth behind it."""
        world = World.drawn(rng)
        n, ratio = _grid(np.geomspace(SMALLEST, LARGEST, self.sizes), np.geomspace(*TOKENS, self.volumes))
        small = self._measured(world, rng, n, n * ratio * np.exp(0.1 * rng.standard_normal(n.size)))
        if self.spoiled is not None:
            row = rng.integers(len(small))
            small.loc[row, self.spoiled] *= 10.0
        n, compute = _grid(LARGEST * np.array([1.5, 2.5, 4.0]), LARGEST**2 * TOKENS[1] * np.array([2.0, 4.0, 8.0]))
        return small, self._measured(world, rng, n, compute / n)

    def _measured(self, world: World, rng: np.random.Generator, n: np.ndarray, d: np.ndarray) -> pd.DataFrame:
        truth = self.law(world, n, d)
        return pd.DataFrame({"n": n, "d": d, "loss": truth * np.exp(self.scatter(rng, n)), "truth": truth})


def _grid(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, d = np.meshgrid(one, other, indexing="ij")
    return n.ravel(), d.ravel()


KINDS = {
    "Chinchilla, 9 runs": Kind(sizes=3, volumes=3),
    "Chinchilla, 30 runs": Kind(),
    "Chinchilla, 100 runs": Kind(sizes=10, volumes=10),
    "three sizes, 15 volumes": Kind(sizes=3, volumes=15),
    "exponents that fall": Kind(law=drifting(0.009), sizes=10, volumes=10),
    "exponents that rise": Kind(law=drifting(-0.011), sizes=10, volumes=10),
    "exponents that rise, scatter .05%": Kind(drifting(-0.011), even(5e-4), 10, 10),
    "larger models learn faster": Kind(law=coupled, sizes=10, volumes=10),
    "short trainings penalised": Kind(law=short, sizes=10, volumes=10),
    "too few steps": Kind(law=few_steps),
    "size without its embeddings": Kind(law=with_a_table, sizes=10, volumes=10),
    "no floor": Kind(law=without_floor),
    "scatter falls with size": Kind(scatter=falling),
    "scatter of heavy tails": Kind(scatter=heavy),
    "badly tuned runs": Kind(scatter=badly_tuned, sizes=10, volumes=10),
    "runs of a size share .3%": Kind(scatter=by_size(0.003), sizes=10, volumes=10),
    "runs of a size share .6%": Kind(scatter=by_size(0.006), sizes=10, volumes=10),
    "one volume ten times too large": Kind(spoiled="d"),
}


def bench_kind(name: str, kind: Kind, count: int) -> None:
    """One line: means over tables, with standard errors of those means."""
    rows = []
    for seed in range(count):
        small, large = kind.tables(np.random.default_rng(seed))
        found = fit(small[["n", "d", "loss"]], **SIZES, clusters=None, bootstrap=0, strict=False)
        ours = found.predict(large.n.to_numpy(), large.d.to_numpy(), level=LEVEL, force=True)
        data, truth = observe(small, columns=SIZES, clusters=None), large.truth.to_numpy()
        inside = np.mean((ours.low <= large.loss) & (large.loss <= ours.high))
        width = 100 * np.mean((ours.high - ours.low) / truth)
        errors = error(ours.value, truth), error(single("chinchilla", data, large), truth)
        rows.append((inside, *errors, errors[0] - errors[1], width, not found.success))
    inside, own, published, more, width, refused = np.mean(rows, axis=0)
    inside_se, _, _, more_se, *_ = np.std(rows, axis=0, ddof=1) / np.sqrt(count)
    print(
        f"{name} | {len(small)} | {inside:.2f} ± {inside_se:.2f} | {own:.2f} | {published:.2f} | "
        f"{more:+.2f} ± {more_se:.2f} | {width:.1f} | {refused:.0%}",
        flush=True,
    )


def main(count: int = 6) -> None:
    """Every kind of table."""
    print(f"kind | runs | inside of {LEVEL:.0%} | error %: ours | Chinchilla | difference | width % | floor not shown")
    for name, kind in KINDS.items():
        bench_kind(name, kind, count)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
