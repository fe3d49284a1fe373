"""Runs handed to trackers: every number arrives, nothing is overwritten, nothing is sent."""

import errno
import io
import json
import os
import socket
import struct
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from scaling.cli import app
from scaling.errors import MissingPackageError, RecordError
from scaling.records import Outcome, RunRecord, RunStore, load_runs, runs_table
from scaling.report.trackers import replay
from scaling.spec import RunSpec

LOG = [
    {"step": 5, "tokens": 3200, "loss": 3.5, "rate": 0.001},
    {"step": 10, "tokens": 6400, "loss": 2.25, "rate": 0.0},
]
STARTED, FINISHED = "2026-01-02T03:04:05+00:00", "2026-01-02T03:05:05+00:00"
FINISHED_S = 1767323105


def record(tokens=6400, **outcome) -> RunRecord:
    spec = RunSpec(
        model={"vocab_size": 65, "width": 32, "context": 40},
        data={"source": {"kind": "w0"}},
        optim={"lr": 0.003},
        tokens=tokens,
    )
    return RunRecord(spec=spec, outcome=Outcome(started_at=STARTED, finished_at=FINISHED, **outcome))


DONE = record(status="done", loss=2.125, loss_se=0.5, wall_s=60.0)
DIVERGED = record(tokens=12_800, status="diverged", error="too hot")


def add(store: RunStore, one: RunRecord, log) -> None:
    store.commit(one)
    lines = "".join(json.dumps(line) + "\n" for line in log)
    (store.run_dir(one.spec.run_id) / "metrics.jsonl").write_text(lines)


@pytest.fixture
def store(tmp_path) -> RunStore:
    """A run that is done, and one that diverged after its fifth step."""
    store = RunStore(tmp_path / "results").prepare()
    add(store, DONE, LOG)
    add(store, DIVERGED, [LOG[0], {**LOG[1], "loss": None}])
    return store


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def no_network(monkeypatch):
    """A connection of this process to another machine fails the test."""

    def refuse(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("localhost", "127.0.0.1", "::1"):
            pytest.fail(f"connects to {address}")
        return connect(self, address)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_table_in_csv_reads_back_as_the_runs_table_with_every_input_beside(store, out):
    replay("csv", out, store=store)
    table, ours = load_runs(out / "runs.csv"), runs_table(store.records())
    # A table read from CSV is indexed by the lines of its file.
    read = table[list(ours)].reset_index(drop=True)
    pd.testing.assert_frame_equal(read, pd.read_csv(io.StringIO(ours.to_csv(index=False))))
    assert set(table["optim/lr"]) == {0.003}
    assert set(table["data/source/kind"]) == {"w0"}


def test_training_logs_in_csv_hold_the_outcome_at_the_last_step(store, out):
    replay("csv", out, store=store)
    points = pd.read_csv(out / "metrics.csv").set_index(["run_id", "step"])
    done, diverged = (points.loc[one.spec.run_id] for one in (DONE, DIVERGED))
    assert list(done["train/loss"]) == [3.5, 2.25]
    assert list(done["train/tokens"]) == [3200, 6400]
    assert done.loc[10, "result/loss"] == 2.125
    assert pd.isna(done.loc[5, "result/loss"])
    assert diverged["result/loss"].isna().all()
    assert diverged["train/loss"].notna().tolist() == [True, False]


def test_a_run_without_a_log_has_its_outcome_at_its_last_step(store, out):
    other = record(tokens=3200, status="done", loss=4.0)
    store.commit(other)
    replay("csv", out, store=store, run_ids=[other.spec.run_id])
    points = pd.read_csv(out / "metrics.csv")
    assert points[["step", "result/loss"]].values.tolist() == [[other.spec.steps, 4.0]]


def test_asking_again_for_the_same_runs_writes_nothing(store, out):
    assert replay("csv", out, store=store).written
    before = contents(out)
    assert not replay("csv", out, store=store).written
    assert contents(out) == before


def test_a_replay_of_fewer_runs_is_refused_and_left_alone(store, out):
    replay("csv", out, store=store, run_ids=[DONE.spec.run_id])
    before = contents(out)
    with pytest.raises(RecordError, match="holds 1 runs for csv, not these 2 runs.*name another folder"):
        replay("csv", out, store=store)
    assert contents(out) == before


def test_a_run_that_was_trained_again_is_not_taken_for_the_one_replayed(store, out):
    replay("csv", out, store=store)
    result = store.run_dir(DONE.spec.run_id) / "result.json"
    result.write_text(result.read_text().replace(FINISHED, "2026-01-03T00:00:00+00:00"))
    with pytest.raises(RecordError, match="as they are now"):
        replay("csv", out, store=store)


def test_what_an_interrupted_replay_or_someone_else_left_is_refused_and_left_alone(store, out):
    replay("csv", out, store=store)
    (out / "replay.json").unlink()
    before = contents(out)
    with pytest.raises(RecordError, match="not a complete replay.*move this one away"):
        replay("csv", out, store=store)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("kind", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb"), ("mlflow", "mlflow")]
)
def test_a_package_that_is_absent_is_named_with_its_extra_before_anything_is_written(
    store, out, kind, package, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package} is not installed.*pip install 'scaling\[{kind}\]'"):
        replay(kind, out, store=store)
    assert not out.exists()


def test_an_unknown_kind_and_an_empty_folder_say_what_to_do(store, out, tmp_path):
    with pytest.raises(RecordError, match="neptune: .*allowed: csv, tensorboard, wandb, mlflow"):
        replay("neptune", out, store=store)
    with pytest.raises(RecordError, match="--results"):
        replay("csv", out, store=RunStore(tmp_path / "nothing"))
    assert not out.exists()


def test_the_command_replays_the_runs_of_a_sweep_or_of_a_results_folder(store, tmp_path):
    sweep = tmp_path / "one.yaml"
    spec = json.loads(DONE.spec.canonical_json())
    base = {key: spec[key] for key in ("model", "data", "optim", "tokens")}
    sweep.write_text(json.dumps({"name": "one", "base": base, "grid": {"seed": [0]}}))
    for source, where, runs in ((sweep, ["--results", str(store.root)], 1), (store.root, [], 2)):
        folder = tmp_path / f"out{runs}"
        arguments = ["replay", "csv", str(source), str(folder), *where, "--json"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["n_runs"] == runs
        assert len(load_runs(folder / "runs.csv")) == runs


def events_of(path: Path):
    """TFRecord: length, its checksum, an event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += length + 16


def test_tensorboard_gets_every_point_and_hyper_parameter(store, out, no_network):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    replay("tensorboard", out, store=store)
    (path,) = (out / DONE.spec.run_id).glob("events.out.tfevents.*")
    values = [(event, value) for event in events_of(path) for value in event.summary.value]
    points = {(v.tag, e.step): v.simple_value for e, v in values if not v.tag.startswith("_hparams_")}
    assert points[("train/loss", 5)] == 3.5
    assert points[("train/loss", 10)] == 2.25
    assert points[("result/loss", 10)] == 2.125
    assert {event.wall_time for event, _ in values} == {FINISHED_S}
    (start,) = (v.metadata.plugin_data.content for _, v in values if v.tag.endswith("session_start_info"))
    params = HParamsPluginData.FromString(start).session_start_info.hparams
    assert params["optim/lr"].number_value == 0.003
    assert params["status"].string_value == "done"


def blocks_of(path: Path):
    """Records of a LevelDB log behind a header of seven bytes: checksum, length, and whether first, middle or last."""
    data, at, parts = path.read_bytes(), 7, []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


def test_wandb_gets_every_point_and_hyper_parameter_offline(store, out, no_network):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    replay("wandb", out, store=store, name="ours")
    (path,) = out.glob(f"wandb/offline-run-*/run-{DONE.spec.run_id}.wandb")
    found = [Record.FromString(block) for block in blocks_of(path)]
    (run,) = (one.run for one in found if one.WhichOneof("record_type") == "run")
    assert (run.project, run.run_id) == ("ours", DONE.spec.run_id)
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["optim/lr"] == 0.003
    lines = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in one.history.item}
        for one in found
        if one.WhichOneof("record_type") == "history"
    ]
    assert [(line["_step"], line["train/loss"]) for line in lines] == [(5, 3.5), (10, 2.25)]
    assert lines[1]["result/loss"] == 2.125


# It calls what SQLAlchemy has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_gets_every_point_and_hyper_parameter(store, out, no_network):
    mlflow = pytest.importorskip("mlflow")
    replay("mlflow", out, store=store, name="ours")
    client = mlflow.MlflowClient(f"sqlite:///{out}/mlflow.db")
    experiment = client.get_experiment_by_name("ours")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs[DIVERGED.spec.run_id].info.status == "FAILED"
    assert runs[DIVERGED.spec.run_id].data.params["error"] == "too hot"
    done = runs[DONE.spec.run_id]
    assert (done.info.status, done.info.end_time) == ("FINISHED", 1000 * FINISHED_S)
    assert done.data.params["optim/lr"] == "0.003"
    history = client.get_metric_history(done.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(5, 3.5), (10, 2.25)]
    assert done.data.metrics["result/loss"] == 2.125


def test_a_replay_that_a_full_disk_stopped_can_be_begun_again(store, out, monkeypatch):
    def full(*_where, **_how):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr("pandas.DataFrame.to_csv", full)
        with pytest.raises(OSError, match="No space left"):
            replay("csv", out, store=store)
    assert not out.exists()
    assert replay("csv", out, store=store).written
