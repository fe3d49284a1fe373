"""Runs on disk: nothing is half there, nothing is overwritten, nothing foreign is read as ours."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from scaling.errors import RecordError
from scaling.files import write_json
from scaling.records import Outcome, RunRecord, RunStore, load_runs, runs_table
from scaling.records.ahead import may_keep
from scaling.spec import DataSpec, RunSpec

README = Path(__file__).resolve().parents[1] / "results" / "README.md"


def spec(tokens: int = 10_000, **model) -> RunSpec:
    return RunSpec(
        model={"vocab_size": 65, "width": 32, "context": 40, **model}, data={"source": {"kind": "w0"}}, tokens=tokens
    )


def record(tokens: int = 10_000, loss: float | None = 1.5, status: str = "done") -> RunRecord:
    return RunRecord(spec=spec(tokens), outcome=Outcome(status=status, loss=loss, env={"device": "cpu"}))


def test_a_committed_record_reads_back_equal(store):
    committed = store.commit(record())
    assert store.load(committed.spec.run_id) == committed


def test_the_first_commit_of_a_run_wins(store):
    store.commit(record(loss=1.5))
    again = store.commit(record(loss=9.9))
    assert again.outcome.loss == 1.5
    assert store.load(again.spec.run_id).outcome.loss == 1.5


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        ("failed", "done", "done"),
        ("failed", "diverged", "diverged"),
        ("done", "failed", "done"),
        ("failed", "failed", "failed"),
    ],
)
def test_what_was_measured_takes_the_place_of_a_failure_and_never_the_other_way(store, first, second, stands):
    loss = {"done": 1.5}
    store.commit(record(loss=loss.get(first), status=first))
    assert store.commit(record(loss=loss.get(second), status=second)).outcome.status == stands
    assert store.load(spec().run_id).outcome.status == stands
    assert len(list(store.root.glob("superseded/*"))) == (first == "failed" and second != "failed")


def test_who_judged_a_record_and_then_slept_puts_back_what_another_has_published_since(store):
    run_id = store.commit(record()).spec.run_id
    (store.run_dir(run_id) / "result.json").write_text("{")

    def another_mends_it_meanwhile():
        RunStore(store.root).set_aside(run_id)
        RunStore(store.root).commit(record())

    assert store.fenced(another_mends_it_meanwhile).set_aside_torn(run_id)
    assert store.load(run_id) == record()
    assert [path.name.split(".")[0] for path in store.root.glob("superseded/*")] == [run_id]


@pytest.mark.parametrize("lives", [1, 2, 5])
def test_setting_aside_a_run_that_is_gone_brings_no_older_record_back(store, lives):
    run_id = spec().run_id
    for loss in range(lives):
        store.commit(record(loss=1.0 + loss))
        store.set_aside(run_id)
    # Another process has moved it away already, and this one judged what it saw before.
    store.set_aside(run_id, unless=lambda folder: True)
    assert not store.has(run_id)
    assert len(list(store.root.glob(f"superseded/{run_id}.*/result.json"))) == lives


def test_a_record_is_published_whole_with_all_that_is_in_its_draft(store):
    draft = store.draft(spec().run_id)
    (draft / "student").mkdir()
    (draft / "student" / "weights").write_bytes(b"123")
    assert not store.has(spec().run_id)
    store.commit(record(), draft)
    assert (store.student_dir(spec().run_id) / "weights").read_bytes() == b"123"
    assert list(store.root.glob("drafts/*")) == []
    assert store.damage(spec().run_id) is None


def test_what_an_interrupted_program_of_before_left_in_a_runs_folder_is_moved_away(store):
    (store.run_dir(spec().run_id)).mkdir(parents=True)
    (store.run_dir(spec().run_id) / "log.txt").write_text("an attempt")
    store.commit(record())
    assert store.load(spec().run_id) == record()
    (moved,) = store.root.glob(f"superseded/{spec().run_id}.*")
    assert (moved / "log.txt").exists()


def test_a_record_of_before_which_names_no_files_is_whole(store):
    store.commit(record())
    path = store.run_dir(spec().run_id) / "result.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "files"}))
    assert store.damage(spec().run_id) is None


def test_a_run_without_its_result_does_not_exist(store):
    folder = store.run_dir(spec().run_id)
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {})
    assert not store.has(spec().run_id)
    assert list(store.records()) == []


@pytest.mark.parametrize("name", ["config.json", "env.json", "result.json"])
def test_a_torn_file_is_named_and_left_alone(store, name):
    run_id = store.commit(record()).spec.run_id
    path = store.run_dir(run_id) / name
    path.write_text(path.read_text()[:7])
    with pytest.raises(RecordError, match=f"{name}: damaged"):
        store.load(run_id)
    assert len(path.read_text()) == 7


def test_an_edited_config_is_refused(store):
    run_id = store.commit(record()).spec.run_id
    path = store.run_dir(run_id) / "config.json"
    path.write_text(path.read_text().replace("10000", "20000", 1))
    with pytest.raises(RecordError, match=f"not {run_id}"):
        store.load(run_id)
    # Who looks at it alone is told as well: to take it for done would promise what nothing can read.
    with pytest.raises(RecordError, match=f"not {run_id}"):
        store.outcome(run_id)


def test_inputs_that_leave_a_default_unsaid_are_the_same_run(store):
    run_id = store.commit(record()).spec.run_id
    path = store.run_dir(run_id) / "config.json"
    written = json.loads(path.read_text())
    assert written.pop("seed") == 0, "as it is where nothing is said"
    path.write_text(json.dumps(written))
    assert store.outcome(run_id).status == store.load(run_id).outcome.status


def test_a_folder_of_another_schema_version_is_refused_and_unchanged(tmp_path):
    write_json(tmp_path / "schema.json", {"schema_version": 99})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(RecordError, match="version 99.*--results"):
        RunStore(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_diverged_run_is_a_row_with_that_status_and_no_loss(store):
    store.commit(record(tokens=10_000))
    store.commit(record(tokens=20_000, loss=None, status="diverged"))
    table = load_runs(store.root).set_index("n_tokens").sort_index()
    assert list(table.status) == ["done", "diverged"]
    assert table.loss.isna().tolist() == [False, True]


NOISE = {"kind": "noise", "rate": 0.2}
MIXED = {"kind": "mixture", "real": 0.25, "teacher": NOISE}


@pytest.mark.parametrize(
    ("teacher", "share", "writer"),
    [({"kind": "real"}, 1.0, 0.1), (NOISE, 0.0, 0.1), (MIXED, 0.25, 0.3), ({**MIXED, "source_token": True}, 0.25, 0.3)],
)
def test_a_row_says_how_much_of_the_text_was_real_and_how_far_off_who_wrote_the_rest_was(store, teacher, share, writer):
    data = {"source": {"kind": "w0"}, "teacher": teacher}
    made = spec(vocab_size=65 + teacher.get("source_token", False)).model_copy(update={"data": DataSpec(**data)})
    known = {"generator_delta_noise": 0.3} if teacher["kind"] == "mixture" else {}
    store.commit(RunRecord(spec=made, outcome=Outcome(status="done", delta_noise=0.1, **known)))
    row = load_runs(store.root).iloc[0]
    assert (row.real_share, row.delta_noise, row.generator_delta_noise) == (share, 0.1, writer)


def test_a_record_that_calls_a_generator_a_writer_is_read(store):
    mixed = spec().model_copy(update={"data": DataSpec(source={"kind": "w0"}, teacher=MIXED)})
    outcome = Outcome(status="done", loss=2.0, generator_delta_noise=0.3)
    run_id = store.commit(RunRecord(spec=mixed, outcome=outcome)).spec.run_id
    path = store.run_dir(run_id) / "result.json"
    path.write_text(path.read_text().replace("generator_delta", "writer_delta"))
    assert store.load(run_id).outcome.generator_delta_noise == 0.3
    table = load_runs(store.root).rename(columns=lambda name: name.replace("generator_", "writer_"))
    table.to_csv(store.root / "old.csv")
    assert load_runs(store.root / "old.csv").generator_delta_noise[2] == 0.3


def test_two_texts_of_one_label_are_two_texts_in_a_table(store):
    for exponent in (0.5, 1.0):
        data = DataSpec.model_validate({"source": {"kind": "w0"}, "targets": {"kind": "sampled", "exponent": exponent}})
        store.commit(RunRecord(spec=spec().model_copy(update={"data": data}), outcome=Outcome(status="done", loss=2.0)))
    table = load_runs(store.root)
    assert table.text_id.nunique() == table.teacher.nunique() == 2
    assert all("exponent" in label for label in table.teacher)


def test_a_record_written_before_the_divergence_of_a_mixtures_teacher_was_is_read(store):
    mixed = spec().model_copy(update={"data": DataSpec(source={"kind": "w0"}, teacher=MIXED)})
    for one in (spec(), mixed):
        store.commit(RunRecord(spec=one, outcome=Outcome(status="done", loss=2.0, delta_noise=0.1)))
        path = store.run_dir(one.run_id) / "result.json"
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if "generator" not in k}))
    table = load_runs(store.root).set_index("real_share")
    assert table.generator_delta_noise[1.0] == 0.1
    assert math.isnan(table.generator_delta_noise[0.25])


def test_the_columns_are_those_that_the_readme_describes():
    (section,) = re.findall(r"^## The runs table\n(.*?)^## ", README.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    described = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    assert list(runs_table([record()]).columns) == described


def test_there_is_a_clear_error_where_no_runs_are(tmp_path):
    with pytest.raises(RecordError, match="no runs here"):
        load_runs(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "nothere.csv", "nothere.parquet"])
def test_a_table_that_is_not_there_is_said_not_to_be_there(name, tmp_path):
    with pytest.raises(RecordError, match=f"{name}: is not there — expected"):
        load_runs(tmp_path / name)


def test_json_with_a_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_env_is_kept_beside_the_result(store):
    run_id = store.commit(record()).spec.run_id
    assert json.loads((store.run_dir(run_id) / "env.json").read_text()) == {"device": "cpu"}


def test_a_sweep_file_in_place_of_its_results_is_told_where_they_are():
    with pytest.raises(RecordError, match=r"mine\.yaml: is a sweep file.* as results/mine"):
        load_runs("mine.yaml")


def test_a_filter_drops_ahead_of_training_only_what_nothing_measured_could_save():
    runs = [spec(width=width) for width in (32, 64)] + [spec(20_000, width=64)]
    cases = {
        None: [0, 1, 2],
        "width < 50": [0],
        "n_tokens > 15_000 and loss < 3": [2],
        "loss < 3 or width < 50": [0, 1, 2],
        "status == 'done' and teacher == 'real' and device == 'cpu'": [0, 1, 2],
        "epochs == 1 and pairs_all > 0.6": [0, 1, 2],
    }
    for where, kept in cases.items():
        assert may_keep(where, runs) == [runs[i] for i in kept], where
    with pytest.raises(RecordError, match="fit.where: .*did you mean 'width'"):
        may_keep("widht < 50", runs)
    # What other runs measured of the text decides too.
    noisy = {runs[0].data.text_id: {"delta_noise": 0.3}}
    assert may_keep("delta_noise < 0.2", runs) == runs
    assert may_keep("delta_noise < 0.2", runs, noisy) == []
