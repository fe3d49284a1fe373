"""Forecasts of larger runs from smaller ones, on 18 public splits: `python tests/benchmarks/bench_hold_out.py`.

Each split is fitted on its smaller runs and scored on its larger ones. Beside ours stand single forms fitted by the
published objective (sum of Huber of log loss, delta .001, 32 starts) and the usual interval, percentiles of a
bootstrap of runs with a residual added. Splits come from $SCALING_SHARED/data/splits.py (default: ../shared beside the
repository).
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from scaling.errors import FitError
from scaling.fit.doubt.bootstrap import bootstrap
from scaling.fit.fitter import STACK_DELTA, fit
from scaling.fit.forms import STACKED_BASES
from scaling.fit.solve.objective import Objective
from scaling.fit.solve.search import make_problem, search
from scaling.fit.stack.solve import fit_versions, forecast_scores
from scaling.fit.stack.validate import SHARPNESS, size_ordered_cuts, stack_weights
from scaling.fit.stack.versions import ALL, WINDOWS
from scaling.laws.named import named_law
from scaling.tables.observations import Observations
from scaling.tables.observe import observe

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SCALING_SHARED", ROOT.parent / "shared")) / "data"
SIZES = {"n": "n", "d": "d"}
SINGLES = ("chinchilla", "skaling", "farseer")
LEVEL = 0.9
SOURCES = {"isoflop_epochai": "Epoch", "chinchilla": "Epoch", "isoflop_ml": "Apple", "isoflop_llama": "Llama 3"} | {
    "isoflop_marin": "marin", "gadre": "Gadre", "datablations": "Muennighoff", "misfitting": "misfitting"
} | {"porian": "Porian"}  # fmt: skip


def splits() -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Name, runs to fit, runs to forecast."""
    spec = importlib.util.spec_from_file_location("splits", DATA / "splits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, table, train, test in module.splits():
        runs = pd.DataFrame({"n": table.N.astype(float), "d": table.D.astype(float), "loss": table.L.astype(float)})
        yield name, runs[train], runs[test]


def source(name: str) -> str:
    """Whose table a split is of."""
    return next(label for start, label in SOURCES.items() if name.startswith(start))


def interval_score(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> float:
    """Width plus 2/alpha times what lies outside, in shares of the loss (Gneiting and Raftery 2007, eq. 43)."""
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return float(np.mean((high - low + 2 / (1 - LEVEL) * outside) / truth))


def single(law: str, data: Observations, large: pd.DataFrame) -> np.ndarray:
    """Forecasts of one form; NaN where it cannot be fitted."""
    try:
        best = search(make_problem(named_law(law), data, Objective()))
    except FitError:
        return np.full(len(large), np.nan)
    return named_law(law).with_values(best.theta).loss(n=large.n.to_numpy(), d=large.d.to_numpy())


def naive(data: Observations, large: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of 500 refits of Chinchilla to resampled runs, each with a residual of its fit added."""
    problem = make_problem(named_law("chinchilla"), data, Objective())
    best = search(problem)
    samples = bootstrap(problem, best, np.arange(len(data)), count=500)
    x = problem.law.prepare({"n": large.n.to_numpy(), "d": large.d.to_numpy()})
    residual = np.log(problem.law.evaluate(best.theta, problem.x) / data.loss)
    drawn = np.random.default_rng(0).choice(residual, size=(len(samples), len(large)))
    return tuple(np.quantile(problem.law.evaluate(samples, x) * np.exp(-drawn), [0.05, 0.95], axis=0))


def error(forecast: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute relative error, per cent."""
    return 100 * float(np.mean(np.abs(forecast / truth - 1)))


def bench_splits() -> None:
    """One line a split, and their means."""
    print("split | runs | error %: ours, Chinchilla, Skaling, their mean, Farseer | "
          "ours: inside, width, interval score | naive bootstrap: the same | seconds")  # fmt: skip
    summarise([bench_split(*split) for split in splits()])


def bench_split(name: str, small: pd.DataFrame, large: pd.DataFrame) -> tuple:
    """Name, runs forecast, errors, runs inside, widths and interval scores of one split; printed as well."""
    truth = large.loss.to_numpy()
    start = time.perf_counter()
    found = fit(small, n="n", d="d", clusters=None, bootstrap=0, strict=False)
    seconds = time.perf_counter() - start
    ours = found.predict(large.n.to_numpy(), large.d.to_numpy(), level=LEVEL, force=True)
    data = observe(small, columns=SIZES, clusters=None)
    chinchilla, skaling, farseer = (single(law, data, large) for law in SINGLES)
    both = np.sqrt(chinchilla * skaling)
    errors = [error(forecast, truth) for forecast in (ours.value, chinchilla, skaling, both, farseer)]
    ends = ((ours.low, ours.high), naive(data, large))
    hits = [int(np.sum((low <= truth) & (truth <= high))) for low, high in ends]
    widths = [float(np.mean((high - low) / truth)) for low, high in ends]
    scores = [interval_score(low, high, truth) for low, high in ends]
    told = [f"{hits[i]}/{len(truth)}, {widths[i]:.1%}, {scores[i]:.3f}" for i in (0, 1)]
    print(f"{name} | {len(small)} -> {len(truth)} | {', '.join(f'{e:.2f}' for e in errors)} | "
          f"{told[0]} | {told[1]} | {seconds:.1f}", flush=True)  # fmt: skip
    return name, len(truth), errors, hits, widths, scores


def summarise(rows: list) -> None:
    """Means, coverage, and the interval score by source."""
    errors = np.array([row[2] for row in rows])
    porian = np.array([row[0].startswith("porian") for row in rows])
    for label, part in (("all", errors), ("without porian", errors[~porian])):
        print(f"mean error %, {label} | {', '.join(f'{e:.3f}' for e in np.nanmean(part, axis=0))}")
    worst = max(rows, key=lambda row: row[2][0] / min(row[2][1:3]))
    print(f"worst against the better of Chinchilla and Skaling | {worst[0]}: {worst[2][0] / min(worst[2][1:3]):.2f} x")
    runs = sum(row[1] for row in rows)
    least = min((row for row in rows if row[1] >= 10), key=lambda row: row[3][0] / row[1])
    ours, usual = (sum(row[3][i] for row in rows) / runs for i in (0, 1))
    print(f"inside nominal {LEVEL:.0%} of {runs} | ours {ours:.1%}, naive {usual:.1%}")
    print(f"ours least, of splits with ten runs or more | {least[3][0]}/{least[1]}, {least[0]}")
    for label in dict.fromkeys(source(row[0]) for row in rows):
        own = [np.mean([row[5][i] for row in rows if source(row[0]) == label]) for i in (0, 1)]
        print(f"interval score, {label} | ours {own[0]:.3f}, naive bootstrap {own[1]:.3f}")


def bench_leave_one_source_out() -> None:
    """Settings chosen on all sources but one, scored on that one."""
    report_settings({name: errors_of_settings(small, large) for name, small, large in splits()})


def errors_of_settings(small: pd.DataFrame, large: pd.DataFrame) -> dict[tuple, float]:
    """Error of one split by what the stack might be: priors, smallest window, power of the weights."""
    data, objective = observe(small, columns=SIZES, clusters=None), Objective(delta=STACK_DELTA)
    cuts = size_ordered_cuts(data, most=6)
    forms = [named_law(base) for base in STACKED_BASES]
    batches = [fit_versions(form, data, objective, versions=ALL, cuts=cuts, starts=8) for form in forms]
    scores = forecast_scores(batches, data, cuts)
    x = forms[0].prepare({"n": large.n.to_numpy(), "d": large.d.to_numpy()})
    logs = np.concatenate([batch.forecast(0, x)[0] for batch in batches])
    inner = ~np.concatenate([batch.on_bound for batch in batches])
    versions = [version for _ in forms for version in ALL]
    errors = {}
    for priors, least in product((("none",), ("none", "level")), WINDOWS):
        chosen = np.array([v.prior in priors and v.window >= least for v in versions]) & inner
        some = [score.select(np.flatnonzero(chosen)) for score in scores]
        for sharpness in (1, 2, 3, 4, 6):
            weights = stack_weights(some, int(chosen.sum()), sharpness)
            errors[priors, least, sharpness] = error(np.exp(weights @ logs[chosen]), large.loss.to_numpy())
    return errors


def report_settings(errors: dict[str, dict[tuple, float]]) -> None:
    """What each source would have got from the setting that is best on the others."""
    settings = list(next(iter(errors.values())))
    held = {}
    for label in dict.fromkeys(map(source, errors)):
        others = [each for name, each in errors.items() if source(name) != label]
        best = min(settings, key=lambda setting: np.mean([each[setting] for each in others]))
        held |= {name: each[best] for name, each in errors.items() if source(name) == label}
        print(f"without {label} | priors {'+'.join(best[0])}, windows from {best[1]}, power {best[2]} are best")
    means = {setting: np.mean([each[setting] for each in errors.values()]) for setting in settings}
    default = means[("none", "level"), min(WINDOWS), SHARPNESS]
    print(f"leave one source out, {len(settings)} settings | error {np.mean(list(held.values())):.3f} %")
    print(
        f"the default setting | error {default:.3f} %; best of all, chosen with hindsight, {min(means.values()):.3f} %"
    )


def main() -> None:
    """All parts, where the tables are."""
    if not (DATA / "splits.py").is_file():
        print(f"skipped: no {DATA / 'splits.py'} (set SCALING_SHARED)")
        return
    bench_splits()
    bench_leave_one_source_out()


if __name__ == "__main__":
    main()
