"""Curves and terms on public data: each figure beside what was asked.

Run with `python tests/benchmarks/bench_curves.py`. Data are read from `../shared/data` beside the repository, or from
`$SCALING_SHARED/data`; a figure whose data are absent is skipped with a message.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

# Small matrices: threads of the linear algebra library only get in each other's way.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from scaling.curves.fitter import fit_curve  # noqa: E402
from scaling.curves.schedules import fit_schedules  # noqa: E402
from scaling.fit.doubt.profile import profile  # noqa: E402
from scaling.fit.solve.minimise import Problem  # noqa: E402
from scaling.fit.solve.objective import Objective  # noqa: E402
from scaling.fit.solve.search import search  # noqa: E402
from scaling.laws.named import named_law  # noqa: E402
from scaling.laws.presets import preset  # noqa: E402
from scaling.laws.schedule import MultiPower, ScheduledRun  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SCALING_SHARED", ROOT.parent / "shared")) / "data"
WARMUP = 2160
"""Steps of linear warmup in the trainings under six schedules."""
Rows = Iterator[tuple[str, str, str]]


def rmsle(predicted, measured) -> float:
    """Root mean squared error of log loss."""
    return float(np.sqrt(np.mean((np.log(predicted) - np.log(measured)) ** 2)))


def curve_tables() -> Iterator[tuple[str, pd.DataFrame]]:
    """(domain, curve) of the extrapolation benchmark."""
    for name in ("vision", "language"):
        table = pd.read_csv(DATA / "curves92" / f"{name}.csv")
        for (domain, *_), curve in table.groupby(["Domain", "Task", "Model"], sort=False):
            yield domain, curve


def extrapolation(form: str) -> tuple[dict[str, list[float]], float, list[float], float]:
    """RMSLE of every curve by domain, seconds, share of the points of each curve inside 90 % intervals, and the median
    half width of those.
    """
    began, errors, inside, widths = time.perf_counter(), {}, [], []
    for domain, curve in curve_tables():
        seen, asked = curve[curve.Training == 1], curve[curve.Training == 0]
        fit = fit_curve(seen["Seen Examples"].to_numpy(), seen.Loss.to_numpy(), form=form)
        found, measured = fit.predict(asked["Seen Examples"].to_numpy(), level=0.9, force=True), asked.Loss.to_numpy()
        errors.setdefault(domain, []).append(rmsle(found.value, measured))
        inside.append(float(np.mean((measured >= found.low) & (measured <= found.high))))
        widths.append(float(np.median((found.high - found.low) / 2 / found.value)))
    return errors, time.perf_counter() - began, inside, float(np.median(widths))


def curves() -> Rows:
    """Alabdulmohsin et al. 2022: fit the first half of x, score the second."""
    asked = {"IC": 0.038, "LM": 0.0008, "BB": 0.0092, "NMT": 0.0083}
    results = {form: extrapolation(form) for form in ("auto", "bnsl1", "m4", "last")}
    for domain, bar in asked.items():
        means = {form: np.mean(errors[domain]) for form, (errors, *_) in results.items()}
        beside = ", ".join(f"{form} {means[form]:.5f}" for form in ("bnsl1", "m4", "last"))
        count = len(results["auto"][0][domain])
        yield f"{domain}: mean RMSLE of {count} curves", f"<= {bar}", f"{means['auto']:.5f} (alone: {beside})"
    lost = sum(a > b for d in asked for a, b in zip(results["auto"][0][d], results["last"][0][d], strict=True))
    yield "curves where the last value is nearer", "few", f"{lost} of {sum(map(len, results['auto'][0].values()))}"
    _, seconds, inside, width = results["auto"]
    yield "points inside 90 % intervals", ".85 to .95", f"{np.mean(inside):.2f} of a curve, half width {width:.1%}"
    yield (
        "seconds for all curves",
        "< 30",
        f"{seconds:.1f} on one core (one-break BNSL alone: {results['bnsl1'][1]:.1f})",
    )


def repetition() -> Rows:
    """Muennighoff et al. 2023: R_D and R_N on their 182 runs, base law frozen."""
    table = pd.read_csv(DATA / "datablations" / "runs_parametric_fit_default.csv")
    table = table[table.note.isna()]
    x = SimpleNamespace(
        n=table.N.to_numpy(), d=table.D_total_tokens.to_numpy(), n_unique_tokens=table.U_unique_tokens.to_numpy()
    )
    loss, objective, published = table.val_loss.to_numpy(), Objective(), preset("muennighoff").law
    base = {name: published.values[name] for name in ("E", "A", "B", "alpha", "beta")}
    problem = Problem(named_law("repeated"), x, loss, np.ones_like(loss), objective, tuple(base))
    theirs = objective.value(published.loss(**vars(x)), loss)
    yield f"published R_D 15.39, R_N 5.31 on {len(loss)} runs", ".015825936", f"{theirs:.9f}"
    best = search(problem, held=base, count=64)
    where = f"R_D {best.theta[-2]:.2f}, R_N {best.theta[-1]:.3f}; {best.reached} of {best.tried} starts"
    yield "lowest minimum", "<= .0158075", f"{best.value:.9f} at {where}"
    for level in (0.9, 0.95, 0.99):
        found = profile(problem, best, "R_D", level=level)
        high = "no upper end" if found.high is None else f"{found.high:.4g}"
        yield f"profile interval of R_D, {level:.0%}", "open upper end", f"{found.low:.2f} to {high}"


def vocabulary() -> Rows:
    """Tao et al. 2024, approach 3: Huber on the loss itself, runs of at least 2.18e17 FLOPs."""
    table = pd.read_csv(DATA / "vocab" / "runs.csv")
    table = table[table.FLOPs >= 2.18e17]
    # The authors' D: characters times a quadratic in the log of the vocabulary size in thousands.
    v = np.log(table.vocab_size / 1e3)
    d = table.num_characters * (0.00639222 * v * v - 0.15811069 * v + 1.20470122)
    x = SimpleNamespace(
        n=table.Non_vocab_parameters.to_numpy(),
        n_vocab_params=(table.vocab_size * table.embed_dim).to_numpy(),
        d=d.to_numpy(),
    )
    loss, objective = table.Lossu.to_numpy(), Objective(log=False)
    best = search(Problem(named_law("vocabulary"), x, loss, np.ones_like(loss), objective), count=16)
    theirs = objective.value(preset("tao").law.loss(**vars(x)), loss)
    p = dict(zip(named_law("vocabulary").names, best.theta, strict=True))
    numbers = (p["A_n"] / 1e6 ** p["alpha"], p["A_v"] / 1e6 ** p["alpha_v"], p["B"] / 1e9 ** p["alpha"], p["E"])
    shown = ", ".join(f"{value:.3f}" for value in (*numbers, p["alpha"], p["alpha_v"]))
    yield "vocabulary law: A1, A2, B, E, a1 = b, a2", "1.831, .196, 2.124, 5.533, .447, .671", shown
    yield "vocabulary law: sum of Huber", f"<= published {theirs:.6f}", f"{best.value:.6f}"


def scheduled_run(path: Path) -> ScheduledRun:
    """One training; the rate of every step is rebuilt from the rates noted at the losses."""
    table = pd.read_csv(path)
    steps = np.arange(int(table.step.iloc[-1]) + 1)
    lr = np.interp(steps, table.step, table.lr)
    if "wsdcon" in path.name:  # one sudden drop, right after the last step noted at the peak
        last = table.step[table.lr == table.lr.iloc[0]].iloc[-1]
        lr = np.where(steps <= last, table.lr.iloc[0], table.lr.iloc[-1])
    lr[:WARMUP] = table.lr.iloc[0] * np.arange(WARMUP) / WARMUP
    return ScheduledRun(lr, table.step.to_numpy(), table.loss.to_numpy())


def agreement(law: MultiPower, runs: dict[str, ScheduledRun]) -> str:
    """Mean R^2 and mean absolute error over runs."""
    errors = {name: run.loss - law.loss(run=run) for name, run in runs.items()}
    r2 = [1 - np.sum(errors[name] ** 2) / np.sum((run.loss - run.loss.mean()) ** 2) for name, run in runs.items()]
    return f"R2 {np.mean(r2):.4f}, MAE {np.mean([np.abs(e).mean() for e in errors.values()]):.4f}"


def schedules() -> Rows:
    """Luo et al. 2025: 25M parameters under nine schedules."""
    runs = {path.stem: scheduled_run(path) for path in sorted((DATA / "lr-schedules" / "csv_25").glob("*.csv"))}
    yield "multi-power law, published numbers", "R2 .9988", agreement(preset("multi-power-25m").law, runs)
    every = fit_schedules(list(runs.values()))
    numbers = ", ".join(f"{value:.3f}" for value in every.vector[:3])
    yield f"fitted to all {len(runs)}: L0, A, alpha", "3.040, .525, .508", f"{numbers}; {agreement(every, runs)}"
    known = ("constant_24000", "cosine_24000", "wsdcon_9")
    few = fit_schedules([runs[name] for name in known])
    others = {name: run for name, run in runs.items() if name not in known}
    yield f"fitted to 3, predicting the other {len(others)}", "R2 > .99", agreement(few, others)


def dense() -> Rows:
    """Clark et al. 2022: L(N) of dense models at the end of training."""
    table = pd.read_csv(DATA / "dense-curves" / "curves.csv")
    table = table[table.step == table.step.max()]
    x = SimpleNamespace(n=table.dense_parameter_count.to_numpy(float))
    loss = table.loss_validation.to_numpy()
    best = search(Problem(named_law("kaplan-n"), x, loss, np.ones_like(loss), Objective("squared")), count=16)
    yield "dense L(N): alpha_N, N_c", ".078, 3.568e13", f"{best.theta[1]:.4f}, {best.theta[0]:.3e} ({len(loss)} runs)"


def addition() -> Rows:
    """Caballero et al. 2022: a curve that is not a power law."""
    table = pd.read_csv(DATA / "addition" / "four_digit_addition.csv")
    seen, asked = table[table.split == "train"], table[table.split != "train"]
    scores = []
    for form in ("auto", "bnsl1", "last"):
        fit = fit_curve(seen.train_set_size.to_numpy(), seen.test_cross_entropy.to_numpy(), form=form)
        scores.append(
            f"{form} {rmsle(fit.loss(asked.train_set_size.to_numpy()), asked.test_cross_entropy.to_numpy()):.3f}"
        )
    yield "four-digit addition: RMSLE", "bnsl1 < last", ", ".join(scores)


FIGURES: dict[str, Callable[[], Rows]] = {
    "curves92": curves,
    "datablations": repetition,
    "vocab": vocabulary,
    "lr-schedules": schedules,
    "dense-curves": dense,
    "addition": addition,
}


def main() -> None:
    """Print one row a figure."""
    print(f"{'figure':<48} | {'asked':<38} | measured")
    for folder, figure in FIGURES.items():
        if not (DATA / folder).is_dir():
            print(f"{folder}: skipped, no data at {DATA / folder}")
            continue
        began = time.perf_counter()
        for name, asked, measured in figure():
            print(f"{name:<48} | {asked:<38} | {measured}", flush=True)
        print(f"{'':<48} | {'':<38} | {time.perf_counter() - began:.1f} s for {figure.__name__}")


if __name__ == "__main__":
    main()
