"""Committed runs for experiment trackers: TensorBoard, Weights & Biases, MLflow, or plain CSV files.

Training knows no tracker. What it logged is replayed afterwards from the records, on this machine alone, under names
that trackers group by: ``train/loss`` and the like are lines of metrics.jsonl; ``result/loss`` and the like are the
outcome, named as in the runs table and placed at the last logged step. Hyper-parameters are every input by its path
in config.json (``optim/lr``), and the columns of the runs table that are not outcomes.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from scaling.errors import RecordError
from scaling.files import clear_errors, make_folder, read_json, remove_folder, write_json
from scaling.records import Outcome, RunRecord, RunStore, runs_table
from scaling.sweep.collect import metrics_table

MARKER = "replay.json"
"""Written last: a folder that holds it is complete."""

_MEASURED = tuple(f.name for f in fields(Outcome) if str(f.type).startswith("float"))

OUTCOMES = (*_MEASURED, "loss_spikes", "energy_source", "started_at", "finished_at")
"""Columns of the runs table that are no hyper-parameters; the numbers among them are metrics."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Runs in a tracker's format.

    Attributes:
        kind: Of tracker.
        folder: Where they are.
        n_runs: How many.
        written: False where they were there already.
        look: The command that shows them.
    """

    kind: str
    folder: Path
    n_runs: int
    written: bool
    look: str


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A record as trackers see it: hyper-parameters, and metrics by step."""

    record: RunRecord
    params: dict[str, Any]
    points: dict[int, dict[str, float]]


def replay(
    kind: str,
    out: str | os.PathLike[str],
    *,
    store: RunStore,
    run_ids: Iterable[str] | None = None,
    name: str = "scaling",
) -> Replay:
    """Write committed runs in the format of a tracker. Nothing is sent anywhere, and nothing overwritten.

    Args:
        kind: ``csv``, ``tensorboard``, ``wandb`` (offline) or ``mlflow`` (SQLite).
        out: Folder that is absent or empty; one that holds a complete replay of the same runs is left as it is.
        store: Where the runs are.
        run_ids: Which of them, by default all; those without a result are passed over.
        name: Of the project (wandb) or experiment (mlflow).

    Raises:
        RecordError: no such kind, no runs, or something else in the folder.
        MissingPackageError: the package of that tracker is not installed.
    """
    if kind not in _FORMATS:
        raise RecordError(f"{kind}: no tracker of this kind is known — allowed: {', '.join(_FORMATS)}")
    records = list(store.records(run_ids))
    if not records:
        raise RecordError(f"{store.root}: none of the runs is here — train them first, or name their --results folder")
    form, folder = _FORMATS[kind], Path(out)
    # A run that was trained again keeps its id; its time of finishing tells the two apart.
    content = {"kind": kind, "runs": {record.spec.run_id: record.outcome.finished_at for record in records}}
    written = not _is_there(folder, content)
    if written:
        package = _load(form.package) if form.package else None
        make_folder(folder)
        try:
            form.write((_run(record, store) for record in records), folder.resolve(), name, package)
            write_json(folder / MARKER, content)
        except BaseException:
            # The folder was empty; a part of a replay would be refused by the next one.
            remove_folder(folder)
            raise
    return Replay(kind=kind, folder=folder, n_runs=len(records), written=written, look=form.look.format(folder=folder))


def _is_there(folder: Path, content: dict[str, Any]) -> bool:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    found = read_json(folder / MARKER) if (folder / MARKER).is_file() else None
    if found == content:
        return True
    holds = f"{len(found['runs'])} runs for {found['kind']}" if found else "something that is not a complete replay"
    raise RecordError(
        f"{folder}: holds {holds}, not these {len(content['runs'])} runs for {content['kind']} as they are now; "
        "nothing was changed — name another folder, or move this one away"
    )


def _load(package: str) -> ModuleType:
    # Two of them report home about themselves unless told not to before they are imported.
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", WANDB_ERROR_REPORTING="false")
    with clear_errors():
        return importlib.import_module(package)


def _run(record: RunRecord, store: RunStore) -> _Run:
    row, spec = record.row(), record.spec
    log = metrics_table(store, [spec.run_id]).drop(columns="run_id", errors="ignore")
    lines = [{str(name): value for name, value in line.items()} for line in log.to_dict("records")]
    points = {int(line.pop("step")): _numbers("train/", line) for line in lines}
    last = max(points, default=spec.steps)
    points[last] = points.get(last, {}) | _numbers("result/", {key: row[key] for key in OUTCOMES})
    facts = {key: value for key, value in row.items() if key not in OUTCOMES and value is not None}
    return _Run(record=record, params=facts | dict(_flat(json.loads(spec.canonical_json()))), points=points)


def _numbers(prefix: str, values: Mapping[Any, Any]) -> dict[str, float]:
    """Prefixed; what was not measured, or was not finite, is left out."""
    return {prefix + key: x for key, x in values.items() if isinstance(x, int | float) and math.isfinite(x)}


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}/")
        elif value is not None:
            yield prefix + key, value if isinstance(value, str | int | float) else json.dumps(value)


def _unix_s(time: str | None) -> float | None:
    return datetime.fromisoformat(time).timestamp() if time else None


def _unix_ms(time: str | None) -> int | None:
    return int(1000 * datetime.fromisoformat(time).timestamp()) if time else None


def _write_csv(runs: Iterable[_Run], folder: Path, name: str, package: None) -> None:
    import pandas as pd

    runs = list(runs)
    table, inputs = runs_table(run.record for run in runs), pd.DataFrame([run.params for run in runs])
    table.join(inputs[inputs.columns.difference(table.columns)]).to_csv(folder / "runs.csv", index=False)
    points = [
        {"run_id": run.record.spec.run_id, "step": step, **run.points[step]} for run in runs for step in run.points
    ]
    pd.DataFrame(points).to_csv(folder / "metrics.csv", index=False)


def _write_tensorboard(runs: Iterable[_Run], folder: Path, name: str, tensorboardx: ModuleType) -> None:
    for run in runs:
        # The log does not date its steps: all points of a run carry one time.
        time, done = _unix_s(run.record.outcome.finished_at), run.record.outcome.status == "done"
        # Without a summary of the experiment TensorBoard gathers the hyper-parameters of all runs, not of one.
        _, start, end = tensorboardx.summary.hparams(run.params, {})
        with tensorboardx.SummaryWriter(str(folder / run.record.spec.run_id)) as writer:
            for summary in (start, end) if done else (start,):
                writer.file_writer.add_summary(summary, walltime=time)
            for step, values in run.points.items():
                for tag, value in values.items():
                    writer.add_scalar(tag, value, step, walltime=time)


def _write_wandb(runs: Iterable[_Run], folder: Path, name: str, wandb: ModuleType) -> None:
    nothing_of_this_machine = {
        "disable_git": True,
        "disable_code": True,
        "x_disable_stats": True,
        "x_disable_meta": True,
    }
    settings = wandb.Settings(console="off", silent=True, x_save_requirements=False, **nothing_of_this_machine)
    # Beside a run that a notebook may have open, and never into it.
    common = {"mode": "offline", "reinit": "create_new", "project": name, "dir": str(folder), "settings": settings}
    for run in runs:
        session = wandb.init(id=run.record.spec.run_id, config=run.params, **common)
        for step, values in run.points.items():
            session.log(values, step=step)
        session.finish(exit_code=0 if run.record.outcome.status == "done" else 1)


def _write_mlflow(runs: Iterable[_Run], folder: Path, name: str, mlflow: ModuleType) -> None:
    # SQLite, since MLflow no longer opens its older store of plain files unless asked to by the environment.
    client, of = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}"), mlflow.entities
    experiment = client.create_experiment(name, artifact_location=(folder / "artifacts").as_uri())
    for run in runs:
        spec, outcome = run.record.spec, run.record.outcome
        ended = _unix_ms(outcome.finished_at)
        made = client.create_run(experiment, start_time=_unix_ms(outcome.started_at), run_name=spec.run_id).info.run_id
        params = [of.Param(key, str(value)) for key, value in run.params.items()]
        points = [(tag, float(value), step) for step, values in run.points.items() for tag, value in values.items()]
        metrics = [of.Metric(tag, value, ended or 0, step) for tag, value, step in points]
        for start in range(0, max(len(params), len(metrics)), 100):  # it takes a hundred parameters at once
            batch = slice(start, start + 100)
            client.log_batch(made, params=params[batch], metrics=metrics[batch])
        client.set_terminated(made, "FINISHED" if outcome.status == "done" else "FAILED", end_time=ended)


@dataclass(frozen=True, kw_only=True)
class _Format:
    write: Callable[..., None]
    package: str | None
    look: str


_FORMATS = {
    "csv": _Format(write=_write_csv, package=None, look="scaling fit {folder}/runs.csv"),
    "tensorboard": _Format(write=_write_tensorboard, package="tensorboardX", look="tensorboard --logdir {folder}"),
    "wandb": _Format(write=_write_wandb, package="wandb", look="wandb sync {folder}/wandb/offline-run-*"),
    "mlflow": _Format(
        write=_write_mlflow, package="mlflow", look="mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db"
    ),
}
