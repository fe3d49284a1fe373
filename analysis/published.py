"""Runs behind a figure: from results/ where the sweep has just been run, else as published in results/reference/."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scaling.records import RunStore, load_runs

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results" / "reference"
COLUMNS = [
    *("run_id", "trunk_id", "status", "text_id", "seed", "n_params", "n_tokens", "width", "n_layers", "context"),
    *("batch_size", "lr", "loss", "loss_se", "train_loss", "entropy"),
    *("teacher", "teacher_loss", "loss_teacher", "kl_student"),
]


def published_runs(
    sweep: str, results: str | Path, settings: tuple[str, ...] = (), columns: tuple[str, ...] = ()
) -> pd.DataFrame:
    """The finished runs of a sweep; those of a results folder are first written to results/reference/<sweep>.csv.

    Args:
        sweep: Its name.
        results: The results folder.
        settings: Fields of ModelSpec and OptimSpec that become columns.
        columns: Further columns of the runs table.
    """
    path = REFERENCE / f"{sweep}.csv"
    if (Path(results) / sweep / "runs.parquet").exists():
        runs, store = load_runs(Path(results) / sweep), RunStore(results)
        specs = [store.load(run_id).spec for run_id in runs["run_id"]]
        for name in settings:
            runs[name] = [(dict(spec.model) | dict(spec.optim))[name] for spec in specs]
        runs[[*COLUMNS, *columns, *settings]].to_csv(path, index=False, float_format="%.6g")
    if not path.exists():
        raise SystemExit(f"no runs of {sweep} here: first run `scaling sweep sweeps/{sweep}.yaml`")
    runs = pd.read_csv(path)
    return runs[runs["status"] == "done"]


def over_real(runs: pd.DataFrame, alike: list[str]) -> pd.Series:
    """Loss of each run above that of the run of real text that is like it in some columns."""
    real = runs[runs["teacher"] == "real"].set_index(alike)["loss"]
    return runs["loss"] - runs.join(real.rename("real_loss"), on=alike)["real_loss"]
