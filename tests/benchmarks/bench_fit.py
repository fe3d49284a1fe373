"""The fitter beside its peers, on public tables: `python tests/benchmarks/bench_fit.py [--full]`.

Prints one line a figure: what is asked, what was measured. Tables are read from $SCALING_SHARED/data (default:
../shared/data beside the
repository) and skipped with a message where absent. Without --full the published 4,500-start procedure runs a
bounded share of its starts
and the grid of the package `chinchilla` is smaller; the line says so.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import scaling.fit.stack.solve as stack
from scaling.fit.allocation.split import best_split
from scaling.fit.doubt.bootstrap import bootstrap
from scaling.fit.doubt.profile import profile
from scaling.fit.fitter import fit
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import make_problem, search
from scaling.laws.named import named_law
from scaling.laws.size_and_data import Chinchilla
from scaling.laws.teacher import Composite
from scaling.tables.observations import Observations
from scaling.tables.observe import observe
from scaling.tables.read import read_runs

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SCALING_SHARED", ROOT.parent / "shared")) / "data"
SIZES = {"n": "n", "d": "d"}


def say(figure: str, asked: str, measured: str) -> None:
    """One line of the table."""
    print(f"{figure:<34} | {asked:<44} | {measured}", flush=True)


def timed(work: Callable) -> tuple[object, float]:
    """Result of a call, and its seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def median_time(work: Callable, count: int = 15) -> tuple[object, float]:
    """Result of a call, and the median seconds of several."""
    done = [timed(work) for _ in range(count)]
    return done[-1][0], float(np.median([seconds for _, seconds in done]))


def chinchilla_table():
    """The 240 points of the certified optimum."""
    table = read_runs(DATA / "chinchilla/runs.csv", map={"n": "`Model Size`", "c": "`Training FLOP`", "d": "c / 6 / n"})
    return table.sort_values("loss").iloc[:240]


def bench_chinchilla(full: bool) -> None:
    """Figure 1: optimum, starts, time, and the peers on the same points."""
    table = chinchilla_table()
    data = observe(table, columns=SIZES)
    options = {"law": "chinchilla", "n": "n", "d": "d"}
    fit(table, **options, bootstrap=2)  # first call pays for imports
    result, seconds = median_time(lambda: fit(table, **options, bootstrap=0))
    _, default_seconds = median_time(lambda: fit(table, **options))
    say("1 optimum, default call", "<= 1.0182741e-3", f"{result.leading.value:.9e}")
    problem = make_problem(Chinchilla(), data, Objective())
    many, many_seconds = timed(lambda: search(problem, count=500))
    say(
        "1 random starts",
        "500 of 500 reach it",
        f"{many.reached} of {many.tried} in {many_seconds:.2f} s, value {many.value:.9e}",
    )
    one, one_seconds = median_time(lambda: search(problem))
    say(
        "1 full fit, up to 32 starts",
        "< 0.05 s",
        f"{seconds:.3f} s, forecasts validated on 9 cuts; search from all 32 alone {one_seconds:.3f} s; with 1000 "
        f"bootstraps {default_seconds:.2f} s (medians of 15)",
    )
    cpu = time.process_time()
    _, stack_seconds = timed(lambda: fit(table, n="n", d="d"))
    say("1 stack, 1000 bootstraps", "< 2 s", f"{stack_seconds:.2f} s, CPU {time.process_time() - cpu:.2f} s")
    _, large_seconds = timed(lambda: fit(many_runs(2000), n="n", d="d"))
    say("1 stack of 2,000 rows", "< 8 s", f"{large_seconds:.2f} s")
    _, boots = timed(lambda: (search(problem), bootstrap(problem, one, data.cluster, count=4000)))
    say("1 fit + 4000 bootstraps", "< 4 s", f"{boots:.2f} s")
    published_procedure(data, 4500 if full else 60, one_seconds)
    peer_chinchilla(data, full, one_seconds)
    peer_simple_scaling_laws(data, one_seconds, default_seconds)


def bench_large(full: bool) -> None:
    """A stack of a large table, and with the way from each start looked for with all of its rows, as of a small one."""
    table, seekers = many_runs(12_000), stack.SEEKERS
    _, seconds = timed(lambda: fit(table, n="n", d="d", bootstrap=0))
    stack.SEEKERS = len(table)
    _, with_all = timed(lambda: fit(table, n="n", d="d", bootstrap=0))
    stack.SEEKERS = seekers
    say("1 stack of 12,000 rows", "", f"{seconds:.1f} s, with all rows from each start {with_all:.1f} s")


def many_runs(count: int):
    """Runs of random sizes, with the noise of one run each."""
    import pandas as pd

    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(np.log(1e6), np.log(1e9), count)), np.exp(rng.uniform(np.log(1e8), np.log(1e11), count))
    return pd.DataFrame({"n": n, "d": d, "loss": TRUTH.loss(n=n, d=d) * np.exp(rng.normal(0, 0.005, count))})


def published_procedure(data: Observations, count: int, ours: float) -> None:
    """Hoffmann's grid of starts, L-BFGS-B with numeric gradients at default tolerances, plain SciPy."""
    from itertools import product

    from scipy.optimize import minimize
    from scipy.special import huber, logsumexp

    log_n, log_d, log_l = np.log(data.columns["n"]), np.log(data.columns["d"]), np.log(data.loss)

    def objective(p):
        a, b, e, alpha, beta = p
        terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
        return huber(1e-3, logsumexp(terms, axis=0) - log_l).sum()

    grid = list(
        product(
            np.arange(0, 30, 5),
            np.arange(0, 30, 5),
            np.arange(-1, 1.5, 0.5),
            np.arange(0, 2.5, 0.5),
            np.arange(0, 2.5, 0.5),
        )
    )
    picked = np.random.default_rng(0).permutation(len(grid))[:count]
    ends, seconds = timed(lambda: [minimize(objective, grid[i], method="L-BFGS-B").fun for i in picked])
    scaled = seconds * len(grid) / count
    reached = sum(end < 1.0182741e-3 for end in ends)
    how = "all starts" if count >= len(grid) else f"time scaled from {count} starts ({seconds:.0f} s)"
    measured = (
        f"{scaled:.0f} s for {len(grid)} starts, {how}; best {min(ends):.9e}, "
        f"{reached} of {count} reach the optimum; ours is {scaled / ours:.0f} times faster"
    )
    say("1 published procedure, SciPy", "two orders of magnitude slower", measured)


def say_peer(name: str, law: Chinchilla, data: Observations, how: str) -> None:
    """A peer's optimum under our objective, the sum of Huber on log loss with delta 1e-3."""
    value = float(Objective().value(law.loss(n=data.columns["n"], d=data.columns["d"]), data.loss))
    numbers = ", ".join(f"{key} {number:.5g}" for key, number in law.values.items())
    say(f"1 PyPI {name}", "beside it, same 240 points", f"value {value:.9e}, {how}; {numbers}")


def peer_chinchilla(data: Observations, full: bool, ours: float) -> None:
    """The PyPI package `chinchilla`: BFGS from a grid of starts, given the Huber objective on log loss."""
    try:
        from chinchilla import Chinchilla as Peer
        from chinchilla._metrics import log_huber
    except ImportError:
        say("1 PyPI chinchilla", "beside it, same 240 points", "not installed: pip install chinchilla")
        return
    import tempfile

    import pandas as pd

    side = 5 if full else 3
    spans = {"E": (1.1, 2.7), "A": (1, 1000), "B": (1, 5000), "alpha": (0.1, 0.7), "beta": (0.1, 0.7)}
    n, d = data.columns["n"], data.columns["d"]
    with tempfile.TemporaryDirectory() as folder:
        pd.DataFrame({"C": 6 * n * d, "N": n, "D": d, "loss": data.loss}).to_csv(Path(folder) / "df.csv", index=False)
        peer = Peer(
            folder,
            param_grid={name: list(np.linspace(*span, side)) for name, span in spans.items()},
            loss_fn=lambda y, p: log_huber(y, p, delta=1e-3),
            log_level=40,
        )
        _, seconds = timed(lambda: peer.fit(parallel=True))
        law = Chinchilla(E=peer.E, A=peer.A, B=peer.B, alpha=peer.alpha, beta=peer.beta)
    how = f"{seconds:.1f} s for {side**5} starts on all cores, its plot included ({seconds / ours:.0f} times our 32)"
    say_peer("chinchilla", law, data, how)


def peer_simple_scaling_laws(data: Observations, ours: float, ours_boots: float) -> None:
    """The PyPI package `simple-scaling-laws`: least squares of the loss itself, the one objective that it has."""
    try:
        from simple_scaling_laws import fit as peer_fit
    except ImportError:
        missing = "not installed: pip install simple-scaling-laws (Python 3.12 or later)"
        say("1 PyPI simple-scaling-laws", "beside it, same 240 points", missing)
        return
    import pandas as pd

    table = pd.DataFrame({"training_run_id": range(len(data)), "test_loss__nats": data.loss})
    table = table.assign(model_size__n=data.columns["n"], dataset_size__d=data.columns["d"])
    peer_fit(table, law="separable-power", n_draws=2)  # first call pays for imports
    _, seconds = timed(lambda: peer_fit(table, law="separable-power", n_draws=2))
    model, boots = timed(lambda: peer_fit(table, law="separable-power", n_draws=1000))
    p, domain = model.params("test_loss__nats"), model.observed_domain
    n0, d0 = (domain[name]["reference"] for name in ("model_size__n", "dataset_size__d"))
    law = Chinchilla(**p | {"A": p["A"] * n0 ** p["alpha"], "B": p["B"] * d0 ** p["beta"]})
    how = f"least squares {seconds:.2f} s ({seconds / ours:.1f} times ours), with 1000 bootstraps {boots:.1f} s"
    say_peer("simple-scaling-laws", law, data, f"{how} (ours {ours_boots:.2f} s)")


def bench_repetition(full: bool) -> None:
    """Figure 2: Muennighoff's 182 runs, base law as published, R_D and R_N free."""
    columns = {"n": "N", "d": "D_total_tokens", "n_unique_tokens": "U_unique_tokens", "loss": "val_loss"}
    table = read_runs(DATA / "datablations/runs_parametric_fit_default.csv", map=columns)
    table = table[table.note.isna()]
    data = observe(table, columns=SIZES | {"n_unique_tokens": "n_unique_tokens"})
    held = {"E": math.exp(0.6254804), "A": math.exp(6.255414), "B": math.exp(7.3049974), "alpha": 0.3526596}
    problem = make_problem(named_law("repeated", base="tied"), data, Objective(), held)
    best, seconds = timed(lambda: search(problem, held=held, count=64))
    say(
        "2 repeated data, 182 runs",
        "<= 0.0158075",
        f"{best.value:.8f} at R_D {best.theta[-2]:.1f}, R_N {best.theta[-1]:.2f} in {seconds:.2f} s",
    )
    sizes = np.unique(data.columns["n"], return_inverse=True)[1]
    say(
        "2 profile of R_D",
        "open upper end",
        f"{profile(problem, best, 'R_D', level=0.95, cluster=sizes)} (clustered by size)",
    )


def bench_published(full: bool) -> None:
    """Figure 3: Gadre; ml-scalefit on the 240 points below 1e21 FLOPs, losses not logged."""
    table = read_runs(
        DATA / "gadre/runs_losses.csv",
        map=SIZES | {"n": "N", "d": "D", "loss": "loss_c4_val"},
        where="dataset == 'rpj'",
    )
    small = table[(table.n < 4.2e8) & (table.chinchilla_multiplier == 1)].sort_values("n").iloc[:4]
    over = table[(table.n < 2e7) & (table.chinchilla_multiplier == 16)].iloc[:1]
    import pandas as pd

    five = pd.concat([small, over])
    large = table[table.n > 1e9]
    found = fit(five, law="tied", n="n", d="d", objective="squared", log=False, bootstrap=0, strict=False)
    errors = [
        f"{row.n / 1e9:.1f}B at {row.d / row.n:.0f}x: {float(found.law.loss(n=row.n, d=row.d)) / row.loss - 1:+.2%}"
        for row in large.itertuples()
    ]
    say("3 Gadre rpj, 5 small runs", "1.4B M=640 .71 %, 6.9B M=20 .73 %", ", ".join(errors))
    points = chinchilla_table()
    points = points[points.c < 1e21]
    asked = {"squared": "E 1.905 alpha .351 beta .459", "huber": "E 1.827 alpha .324 beta .408"}
    for kind, numbers in asked.items():
        p = fit(points, law="chinchilla", n="n", d="d", objective=kind, log=False, bootstrap=0, strict=False).params
        found = f"E {p['E']:.3f} alpha {p['alpha']:.3f} beta {p['beta']:.3f}"
        say(f"3 ml-scalefit, {len(points)} points, {kind}", numbers, found)


def simulated(seed: int, sizes: int = 12, volumes: int = 5, run: float = 0.004, trunk: float = 0.003) -> Observations:
    """A sweep of a known law with noise shared by trunk."""
    rng = np.random.default_rng(seed)
    n, d = (
        axis.ravel()
        for axis in np.meshgrid(np.geomspace(1e6, 1e9, sizes), np.geomspace(1e8, 1e11, volumes), indexing="ij")
    )
    code = np.repeat(np.arange(sizes), volumes)
    loss = TRUTH.loss(n=n, d=d) * np.exp(rng.normal(0, trunk, sizes)[code] + rng.normal(0, run, n.size))
    return Observations({"n": n, "d": d}, loss, None, code, np.zeros(n.size, int), ("real",), tuple(range(n.size)))


TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)


def bench_simulation(full: bool) -> None:
    """Figure 6: coverage of coefficient intervals, and recovery of the composite teacher form."""
    count = 500
    hits = np.zeros(5)
    for seed in range(count):
        data = simulated(seed)
        problem = make_problem(Chinchilla(), data, Objective())
        best = search(problem, count=6)
        low, high = np.quantile(bootstrap(problem, best, data.cluster, count=200, seed=seed), [0.05, 0.95], axis=0)
        hits += (low <= TRUTH.vector) & (TRUTH.vector <= high)
    by_name = ", ".join(f"{name} {hit / count:.0%}" for name, hit in zip(TRUTH.names, hits, strict=True))
    say(f"6 coverage, {count} sweeps", "87-93 %", f"mean {hits.mean() / count:.1%} ({by_name})")
    truth = Composite(E=1.4, A=3.0, B=4e4, alpha=0.25, beta=1.0, kappa=1.0, c=1.0, nu=6.0)
    found = np.array([recover(truth, seed) for seed in range(10)])
    parts = [
        f"{name} {np.median(found[:, i]):.3g} (true {truth.values[name]:g})"
        for i, name in enumerate(("E", "kappa", "nu", "c"))
    ]
    say("6 recovery of Q7, 10 sweeps", "E, kappa, nu, c", "medians " + ", ".join(parts))


def recover(truth: Composite, seed: int) -> list[float]:
    """Fit Q7 to one simulated sweep of real text, three coverage and two noise teachers."""
    rng = np.random.default_rng(seed)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e4, 1e6, 4), np.geomspace(2e5, 6e6, 5), indexing="ij"))
    kinds = [(0, 0), (0.1, 0), (0.2, 0), (0.3, 0), (0, 0.15), (0, 0.3)]
    columns = {"n": np.tile(n, 6), "d": np.tile(d, 6)}
    columns["delta_coverage"], columns["delta_noise"] = (np.repeat([kind[i] for kind in kinds], n.size) for i in (0, 1))
    loss = truth.loss(**columns) * np.exp(rng.normal(0, 0.004, 6 * n.size))
    code = np.repeat(np.arange(6), n.size)
    data = Observations(columns, loss, None, code, code, ("real", "a", "b", "c", "d", "e"), tuple(range(len(loss))))
    best = search(make_problem(Composite(), data, Objective()), count=16)
    values = dict(zip(truth.names, best.theta, strict=True))
    return [values[name] for name in ("E", "kappa", "nu", "c")]


def bench_pilot(full: bool) -> None:
    """Figure 6, real trainings: the W0 pilot."""
    table = read_runs(DATA / "w0-pilot/runs.csv", where="n_tokens > 100000")
    table["trunk_id"] = [f"{teacher}-{width}" for teacher, width in zip(table.teacher, table.width, strict=True)]
    result = fit(table, law="auto", loss="loss_answer", bootstrap=200)
    rows = {row["law"]: row for row in result.selection}
    rms = np.sqrt(np.mean(np.square(list(result.residuals.values()))))
    least_squares = rows[result.law.name]["rms"]
    say(
        "6 W0 pilot, form",
        "q7 over every single divergence",
        f"{result.law.name}, next {sorted(r['delta_aicc'] for r in rows.values())[1]:.0f} AICc behind",
    )
    say(f"6 W0 pilot, {len(table)} runs", "rms <= 1.8 %", f"{rms:.2%} (Huber), {least_squares:.2%} (least squares)")
    low, high = result.interval()["E"]
    e = result.params["E"]
    say("6 W0 pilot, E", "within 2 % of 1.370418", f"{e:.4f} ({e / 1.370418 - 1:+.2%}), 90 % [{low:.3f}, {high:.3f}]")


def bench_frontier(full: bool) -> None:
    """Compute-optimal split at the budget of the published model."""
    law = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
    n = float(best_split(lambda n, d: law.loss(n=n, d=d), 5.76e23))
    say("N* at 5.76e23 FLOPs (published law)", "D/N near 20", f"N {n:.3g}, D/N {5.76e23 / 6 / n**2:.1f}")


def main() -> None:
    """Run every part whose table is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all 4,500 published starts (about 15 minutes)")
    full = parser.parse_args().full
    say("figure", "asked", "measured")
    needs = {
        bench_chinchilla: "chinchilla", bench_repetition: "datablations", bench_published: "gadre",
        bench_pilot: "w0-pilot", bench_large: None, bench_simulation: None, bench_frontier: None,
    }  # fmt: skip
    for part, folder in needs.items():
        if folder and not (DATA / folder).is_dir():
            say(part.__name__, "", f"skipped: no {DATA / folder} (set SCALING_SHARED)")
            continue
        part(full)


if __name__ == "__main__":
    main()
