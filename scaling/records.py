"""Runs on disk: one directory a run, committed atomically; and the table of all of them.

Layout under a results folder::

    schema.json                      version of everything below
    runs/<run_id>/config.json        the RunSpec
    runs/<run_id>/env.json           versions, device, git commit
    runs/<run_id>/metrics.jsonl      training log, one JSON object a line
    runs/<run_id>/student/           final weights (orbax)
    runs/<run_id>/result.json        the outcome; written last, so a run exists completely or not at all
    trunks/<trunk_id>/               checkpoints of a training in progress
    <sweep name>/                    what the stages of a sweep write: plan, table, fit, recommendation, bundle

A record is never overwritten: committing a run twice keeps the first.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from scaling.accounting import count_parameters, training_flops, training_flops_6nd
from scaling.errors import RecordError
from scaling.files import read_json, to_json, write_bytes, write_json, write_once
from scaling.spec import SCHEMA_VERSION, RunSpec, TextLabel, text_labels
from scaling.tables import FORMER_NAMES, read_table

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["done", "diverged", "failed"]

LN2 = math.log(2.0)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run measured. Losses are nats/token on held-out data; None means not measured or not defined.

    Attributes:
        status: ``done``, ``diverged`` (by the rule of scaling/train/health.py; losses are None) or ``failed``.
        loss: Loss on real held-out text; in a world, the exact expectation over scored tokens.
        loss_se: Standard error of ``loss``.
        bits_per_byte: ``loss`` in bits per byte of text, comparable over tokenizers.
        loss_teacher: Loss on held-out text of the teacher that the student learned from.
        loss_teacher_se: Standard error of ``loss_teacher``.
        teacher_loss: Loss of the teacher itself on real held-out text, ``H(p) + KL(p‖q)``.
        entropy: Exact entropy H(p) of a world, per scored token.
        delta_coverage: Part of KL(p‖q) that comes from what the teacher never learned.
        delta_noise: Part of KL(p‖q) that comes from errors everywhere.
        generator_delta_coverage: ``delta_coverage`` of the teacher inside a mixture, as if it generated all; None
            without a mixture.
        generator_delta_noise: ``delta_noise``, likewise.
        kl_student: KL(q‖f) of the student f from its teacher q.
        cross_term: Δ, what closes ``loss = entropy + KL(p‖q) + KL(q‖f) + Δ``.
        train_loss: Mean training loss of the last twentieth of the run.
        loss_spikes: Times that the training loss jumped out of its noise (scaling/train/health.py).
        noise_scale: Gradient noise scale of the later half of the run, tokens.
        noise_scale_se: Its standard error.
        n_unique_tokens: Different tokens among those seen.
        wall_s: Seconds spent on this branch (the shared trunk counted once, on its first branch).
        compile_s: Those of them that went into compiling programs, or reading compiled ones.
        tokens_per_s: Training throughput, compiling left out.
        kwh: Energy spent on this branch, the building's share included.
        energy_source: ``rapl``, ``nvml`` or ``nvml+rapl`` (counters), or ``model`` (scaling/accounting/).
        co2e_kg: CO2 equivalents of ``kwh``.
        error: One sentence for a run that is not done.
        started_at: UTC, ISO 8601.
        finished_at: UTC, ISO 8601.
        env: Versions, device, git commit.
    """

    status: Status
    loss: float | None = None
    loss_se: float | None = None
    bits_per_byte: float | None = None
    loss_teacher: float | None = None
    loss_teacher_se: float | None = None
    teacher_loss: float | None = None
    entropy: float | None = None
    delta_coverage: float | None = None
    delta_noise: float | None = None
    generator_delta_coverage: float | None = None
    generator_delta_noise: float | None = None
    kl_student: float | None = None
    cross_term: float | None = None
    train_loss: float | None = None
    loss_spikes: int | None = None
    noise_scale: float | None = None
    noise_scale_se: float | None = None
    n_unique_tokens: int | None = None
    wall_s: float | None = None
    compile_s: float | None = None
    tokens_per_s: float | None = None
    kwh: float | None = None
    energy_source: str | None = None
    co2e_kg: float | None = None
    error: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run's inputs and its outcome."""

    spec: RunSpec
    outcome: Outcome

    def row(self, label: TextLabel | None = None) -> dict[str, Any]:
        """One flat row of the runs table; the columns are described in results/README.md.

        Args:
            label: What the table calls the text, where it has to tell it from others.
        """
        spec, model, optim = self.spec, self.spec.model, self.spec.optim
        counts = count_parameters(model)
        label = label or text_labels([spec.data])[spec.data.text_id]
        outcome = {f.name: getattr(self.outcome, f.name) for f in fields(Outcome) if f.name != "env"}
        if spec.data.generator is spec.data.teacher:
            # No mixture: the text is all the generator's.
            outcome |= {f"generator_{name}": outcome[name] for name in ("delta_coverage", "delta_noise")}
        unique = outcome.pop("n_unique_tokens") or spec.n_tokens
        return {
            "run_id": spec.run_id,
            "trunk_id": spec.trunk_id,
            "status": outcome.pop("status"),
            "text_id": spec.data.text_id,
            "source": label.source,
            "teacher": label.teacher,
            "real_share": spec.data.real_share,
            "seed": spec.seed,
            "n_params": counts.n_params,
            "n_params_linear": counts.n_params_linear,
            "n_params_total": counts.n_params_total,
            "n_tokens": spec.n_tokens,
            "n_unique_tokens": unique,
            "epochs": spec.n_tokens / unique,
            "tokens_per_param": spec.n_tokens / counts.n_params,
            "flops": float(training_flops(model, spec.n_tokens)),
            "flops_6nd": float(training_flops_6nd(model, spec.n_tokens)),
            "width": model.width,
            "n_layers": model.n_layers,
            "vocab_size": model.vocab_size,
            "context": model.context,
            "lr": optim.lr,
            "batch_size": optim.batch_size,
            **outcome,
            **{key: self.outcome.env.get(key) for key in ("device", "jax_version", "git_commit")},
        }


class RunStore:
    """The results folder: where runs are committed and found again.

    Opening a folder of another schema version raises; nothing in it is touched.
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)
        _check_schema(self.root)

    def prepare(self) -> RunStore:
        """Create the folder and its version mark where they do not exist."""
        self.root.mkdir(parents=True, exist_ok=True)
        marker = self.root / "schema.json"
        if not marker.exists():
            write_json(marker, {"schema_version": SCHEMA_VERSION})
        return self

    def run_dir(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def trunk_dir(self, trunk_id: str) -> Path:
        return self.root / "trunks" / trunk_id

    def student_dir(self, run_id: str) -> Path:
        return self.run_dir(run_id) / "student"

    def has(self, run_id: str) -> bool:
        """True once a result is committed, whatever its status."""
        return (self.run_dir(run_id) / "result.json").exists()

    def commit(self, record: RunRecord) -> RunRecord:
        """Write a record; the first commit of a run wins, and is what is returned."""
        folder = self.run_dir(record.spec.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", json.loads(record.spec.canonical_json()))
        write_json(folder / "env.json", record.outcome.env)
        outcome = asdict(record.outcome)
        outcome.pop("env")
        if not write_once(folder / "result.json", to_json({"schema_version": SCHEMA_VERSION, **outcome})):
            return self.load(record.spec.run_id)
        return record

    def load(self, run_id: str) -> RunRecord:
        """Read one committed run.

        Raises:
            RecordError: if the run is absent, or one of its files is damaged or foreign.
        """
        folder = self.run_dir(run_id)
        result = {FORMER_NAMES.get(name, name): value for name, value in read_json(folder / "result.json").items()}
        version = result.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise RecordError(_foreign(folder / "result.json", version))
        try:
            spec = RunSpec.model_validate(read_json(folder / "config.json"))
            outcome = Outcome(**result, env=read_json(folder / "env.json"))
        except (ValidationError, TypeError) as error:
            raise RecordError(
                f"{folder}: record cannot be read — {str(error).splitlines()[0]}; "
                "move the folder away and the run will be trained again"
            ) from error
        if spec.run_id != run_id:
            raise RecordError(
                f"{folder}: config.json describes run {spec.run_id}, not {run_id}; "
                "it was edited or moved: restore it, or move the folder away"
            )
        return RunRecord(spec=spec, outcome=outcome)

    def records(self, run_ids: Iterable[str] | None = None) -> Iterator[RunRecord]:
        """Committed runs, all of them or those named, in order of id or as named."""
        if run_ids is None:
            run_ids = sorted(path.parent.name for path in (self.root / "runs").glob("*/result.json"))
        return (self.load(run_id) for run_id in run_ids if self.has(run_id))


def runs_table(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The runs table: one row a run, flat snake_case columns in a fixed order."""
    import pandas as pd

    records = list(records)
    labels = text_labels(record.spec.data for record in records)
    frame = pd.DataFrame([record.row(labels[record.spec.data.text_id]) for record in records])
    numbers = [f.name for f in fields(Outcome) if str(f.type).startswith("float") and f.name in frame]
    return frame.astype({name: "float64" for name in numbers})


def load_runs(path: str | os.PathLike[str] = "results") -> pd.DataFrame:
    """Read runs as a table: a results folder, one sweep's folder, or a .parquet or .csv file.

    Raises:
        RecordError: if there is nothing to read there.
    """
    path = Path(path)
    if path.is_dir() and (path / "runs.parquet").exists():
        path = path / "runs.parquet"
    if path.suffix in (".parquet", ".csv") and path.exists():
        return read_table(path)
    if (path / "runs").is_dir():
        return runs_table(RunStore(path).records())
    raise RecordError(f"{path}: no runs here — expected a results folder, a sweep's folder, a .parquet or a .csv file")


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table so that a reader sees the old one or the new, never a part."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def _check_schema(root: Path) -> None:
    marker = root / "schema.json"
    if marker.exists():
        version = read_json(marker).get("schema_version")
        if version != SCHEMA_VERSION:
            raise RecordError(_foreign(marker, version))
    elif (root / "runs").is_dir():
        raise RecordError(_foreign(marker, None))


def _foreign(path: Path, version: Any) -> str:
    return (
        f"{path}: results of schema version {version}, this program reads version {SCHEMA_VERSION}; "
        "nothing was changed — name another results folder with --results, or use the program that wrote it"
    )
