"""Which rows are runs: states of trackers, checkpoints of one training, units of sizes and losses."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError, RecordError
from scaling.fit.describe import summary
from scaling.fit.fitter import fit
from scaling.laws.size_and_data import Chinchilla
from scaling.tables.finished import came_to_end, finished
from scaling.tables.observe import observe

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)
COLUMNS = {"n": "n_params", "d": "n_tokens"}


def sweep(sizes=4, volumes=4):
    n, d = np.meshgrid(np.geomspace(1e6, 1e9, sizes), np.geomspace(1e8, 1e11, volumes), indexing="ij")
    return pd.DataFrame({"n_params": n.ravel(), "n_tokens": d.ravel(), "loss": TRUTH.loss(n=n.ravel(), d=d.ravel())})


def reasons(data):
    return {row["row"]: row["reason"] for row in data.excluded}


@pytest.mark.parametrize(
    ("column", "done", "words"),
    [
        ("status", "done", ["diverged", "failed"]),
        ("status", "FINISHED", ["FAILED", "KILLED", "RUNNING", "SCHEDULED"]),
        ("State", "finished", ["crashed", "failed", "killed", "running"]),
        ("state", " Completed ", ["Cancelled", "timeout", "preempted"]),
    ],
)
@pytest.mark.parametrize("kind", ["object", "string", "category"])
def test_runs_that_did_not_end_are_left_out_and_counted(column, done, words, kind):
    runs = sweep()
    states = [*words, None, *[done] * (len(runs) - len(words) - 1)]
    runs[column] = pd.array(states, dtype=kind)
    runs.loc[: len(words) - 1, "loss"] = 9.8
    data = observe(runs, columns=COLUMNS)
    assert len(data) == len(runs) - len(words) - 1
    assert reasons(data) == {i: f"status {word.lower()}" for i, word in enumerate(words)} | {len(words): "no status"}


def test_an_export_with_its_own_state_beside_ours_counts_a_run_only_if_both_say_it_ended():
    runs = sweep().assign(status="done", State="finished")
    runs.loc[2, "State"] = "crashed"
    assert reasons(observe(runs, columns=COLUMNS)) == {2: "status crashed"}


def test_a_row_by_itself_is_judged_as_its_table_judges_it():
    rng = np.random.default_rng(0)
    words, seconds = ["done", "FINISHED", " Success ", None, "failed", "Killed"], [12.0, 0.0, np.nan, 3.0]
    runs = sweep(8, 8).assign(
        status=rng.choice(np.array(words, object), 64),
        State=rng.choice(np.array(words[:3] + words[4:], object), 64),
        Runtime=rng.choice(seconds, 64),
    )
    for columns in (["status"], ["State"], ["Runtime"], ["status", "State", "Runtime"], []):
        part = runs[[*COLUMNS.values(), *columns]]
        assert [came_to_end(row) for row in part.to_dict("records")] == finished(part)[0].tolist()


def test_a_run_without_any_time_on_its_clock_never_ran():
    runs = sweep().assign(_runtime=100.0)
    runs.loc[[1, 3], "_runtime"] = [np.nan, 0.0]
    assert set(reasons(observe(runs, columns=COLUMNS))) == {1, 3}


def test_a_state_that_nobody_knows_is_an_error_and_not_a_lost_run():
    runs = sweep().assign(status="done")
    runs.loc[5, "status"] = "doen"
    with pytest.raises(RecordError, match="row 5: 'doen'.*finished are complete, completed, done"):
        observe(runs, columns=COLUMNS)


def test_text_in_place_of_a_loss_is_an_error_with_its_row():
    runs = sweep().astype({"loss": object})
    runs.loc[3, "loss"] = "abc"
    with pytest.raises(RecordError, match="row 3: 'abc'"):
        observe(runs, columns=COLUMNS)


def with_log(runs, names=None):
    """The sweep, and beside it one training of a size of its own that was logged twenty times."""
    d = np.linspace(5e8, 1e10, 20)
    # A cosine schedule that ends at 1e10 tokens: every earlier row lies above the law.
    loss = TRUTH.loss(n=3e7, d=d) * (1 + 0.08 * (1 - d / 1e10))
    log = pd.DataFrame({"n_params": 3e7, "n_tokens": d, "loss": loss})
    if names:
        runs, log = runs.assign(**{names: [f"r{i}" for i in range(len(runs))]}), log.assign(**{names: "cosine"})
    return pd.concat([runs, log], ignore_index=True)


@pytest.mark.parametrize("names", ["run_id", "run", "ID", None])
def test_of_a_training_log_only_the_last_row_is_fitted(names):
    runs = with_log(sweep(), names)
    data = observe(runs, columns=COLUMNS)
    assert sorted(reasons(data)) == list(range(16, 35))
    assert "only the one at 1e+10 is annealed" in reasons(data)[20]
    found = fit(runs.sample(frac=1, random_state=0), law="chinchilla", bootstrap=0)
    assert found.params["beta"] == pytest.approx(TRUTH.values["beta"], rel=1e-6)


def test_runs_with_names_of_their_own_are_not_taken_for_a_log():
    runs = with_log(sweep())
    assert len(observe(runs.assign(run_id=range(len(runs))), columns=COLUMNS)) == len(runs)


@pytest.mark.parametrize("volumes", [np.geomspace(1e8, 1e10, 12), np.array([1, 2, 4, 6, 8, 10, 12, 16, 20, 30]) * 1e9])
def test_a_plan_of_runs_is_not_taken_for_a_log(volumes):
    n, d = (grid.ravel() for grid in np.meshgrid([1e7, 3e7, 1e8], volumes))
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": TRUTH.loss(n=n, d=d)})
    assert len(observe(runs, columns=COLUMNS)) == len(runs)


def test_one_run_named_twice_is_refused():
    runs = sweep().assign(run_id=range(16))
    runs.loc[[3, 4], "run_id"] = 99
    runs.loc[4, COLUMNS.values()] = runs.loc[3, COLUMNS.values()]
    with pytest.raises(RecordError, match="rows 3, 4 have the same run_id"):
        observe(runs, columns=COLUMNS)


@pytest.mark.parametrize(
    ("change", "loss", "note"),
    [
        (lambda runs: runs.assign(loss=np.exp(4 * runs.loss)), "loss", "half of it lies above .* --map .loss=log"),
        (lambda runs: runs.assign(val_ppl=np.exp(runs.loss)), "val_ppl", "it is val_ppl"),
        (lambda runs: runs.assign(perplexity=np.exp(runs.loss), loss=np.exp(runs.loss)), "loss", "it is perplexity"),
        (lambda runs: runs.assign(loss=runs.loss / 0.693, val_bpb=runs.loss / 0.693), "loss", r"in bits \(val_bpb\)"),
        (lambda runs: runs.assign(loss=runs.loss / np.log(2), ppl=np.exp(runs.loss)), "loss", "in bits .*log2 of ppl"),
        (lambda runs: runs.assign(loss=runs.loss.where(runs.index != 4, 9.8), vocab_size=256), "loss", "row 4: 9.8"),
    ],
)
def test_other_units_under_the_name_of_loss_are_named(change, loss, note):
    data = observe(change(sweep()), columns=COLUMNS, loss=loss)
    assert len(data.notes) == 1
    assert re.search(note, data.notes[0])


def test_losses_in_nats_beside_their_perplexity_and_bits_need_no_note():
    runs = sweep().assign(vocab_size=50_000)
    runs = runs.assign(ppl=np.exp(runs.loss), bits_per_byte=runs.loss / np.log(2) / 4.2)
    assert observe(runs, columns=COLUMNS).notes == ()
    noted = fit(runs.assign(loss=runs.ppl**4), law="chinchilla", bootstrap=0, strict=False)
    assert "note: column 'loss' seems to hold perplexities" in summary(noted)


def test_runs_that_aim_at_something_else_than_the_loss_are_left_out_of_laws_and_say_how_to_stay():
    runs = sweep().assign(recipe="sequence", aims_at_loss=True)
    runs.loc[3, ["recipe", "aims_at_loss", "loss"]] = ["on_policy", False, 3 * runs["loss"][3]]
    data = observe(runs, columns=COLUMNS)
    assert data.rows == tuple(i for i in range(16) if i != 3)
    assert reasons(data)[3].startswith("recipe on_policy does not aim at the loss")
    assert "recipe on_policy does not aim at the loss" in summary(fit(runs, law="chinchilla", bootstrap=0))
    assert len(observe(runs.assign(aims_at_loss=True), columns=COLUMNS)) == 16
    # What a table of before does not say, or says of some runs alone, leaves nothing out.
    assert len(observe(runs.assign(aims_at_loss=np.nan), columns=COLUMNS)) == 16
    with pytest.raises(RecordError, match="all 16 runs are left out: recipe sequence does not aim"):
        observe(runs.assign(recipe="sequence", aims_at_loss=False), columns=COLUMNS)


@pytest.mark.parametrize(
    "start",
    [{"start_run": "a1b2"}, {"start_tokens": 5e5}, {"start_run": "a1b2", "start_tokens": 5e5}, {"start_run": 12.0}],
)
def test_runs_that_went_on_from_other_weights_are_left_out_of_laws_counted_and_told_where_to_go(start):
    runs, on = sweep(), np.isin(np.arange(16), (3, 7))
    for name, value in start.items():
        runs[name] = pd.Series([value if one else None for one in on], dtype=object)
    runs.loc[[3, 7], "loss"] *= 0.8
    data = observe(runs, columns=COLUMNS)
    assert data.rows == tuple(i for i in range(16) if i not in (3, 7))
    assert list(reasons(data)) == [3, 7]
    read = "5e+05 tokens" if "start_tokens" in start else "an unknown number of tokens"
    assert reasons(data)[3].startswith(f"went on from another run's weights (after {read}): ")
    assert "`scaling transfer` says what" in reasons(data)[3]
    found = fit(runs, law="chinchilla", bootstrap=0)
    assert found.params == pytest.approx(TRUTH.values, rel=1e-4)
    assert "14 of 16 rows; 2 left out: went on from another run's weights" in summary(found)
    # Whoever says that nothing was read before has the run fitted.
    assert len(observe(runs.assign(start_tokens=0), columns=COLUMNS)) == 16
    with pytest.raises(RecordError, match="all 2 runs are left out: went on from"):
        observe(runs.loc[[3, 7]], columns=COLUMNS)


@pytest.mark.parametrize("column", ["Runtime", "_runtime"])
@pytest.mark.parametrize(
    ("cell", "ran"),
    [("1h 2m", True), ("93", True), (93, True), (0.5, True), (pd.Timedelta("1h"), True), (np.float32(2), True)]
    + [("", False), (" ", False), ("0", False), (0, False), (None, False), (np.nan, False), (pd.NaT, False)]
    + [(pd.NA, False), (pd.Timedelta(0), False)],
)
def test_a_clock_in_words_or_numbers_says_whether_a_run_ran(column, cell, ran):
    table = pd.DataFrame({"n": [1.0, 2.0], column: pd.Series([1, cell], dtype=object)})
    assert finished(table)[0].tolist() == [True, ran]
    assert came_to_end({column: cell}) == ran


@pytest.mark.parametrize("key", ["run_id", "run", "Run ID", "ID"])
@pytest.mark.parametrize("blank", [None, np.nan, pd.NA])
def test_runs_without_a_name_are_not_the_same_run(key, blank):
    table = sweep()
    names = [f"r{i}" for i in range(len(table) - 2)]
    unnamed = table.assign(**{key: pd.Series([blank, blank, *names], index=table.index, dtype=object)})
    assert len(observe(unnamed, columns=COLUMNS)) == len(table)
    twice = pd.concat([unnamed, unnamed.iloc[-1:]], ignore_index=True)
    with pytest.raises(RecordError, match=f"rows {len(table) - 1}, {len(table)} have the same {key}"):
        observe(twice, columns=COLUMNS)


def test_rows_that_only_their_spacing_made_checkpoints_are_counted_where_a_reader_looks():
    n, ratio = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.arange(5, 45, 5), indexing="ij"))
    runs = pd.DataFrame({"n_params": n, "n_tokens": n * ratio, "loss": TRUTH.loss(n=n, d=n * ratio)})
    said = "42 of 48 rows were taken for checkpoints .* if they are runs of their own, name each in a column run_id"
    (note,) = observe(runs, columns=COLUMNS).notes
    assert re.match(said, note)
    with pytest.raises(FitError, match=said):
        fit(runs, bootstrap=0)
    named = runs.assign(run_id=[f"run {i}" for i in range(len(runs))])
    assert observe(named, columns=COLUMNS).notes == ()
    # Of checkpoints of named runs nothing is guessed.
    assert observe(runs.assign(run_id=runs["n_params"].astype(str)), columns=COLUMNS).notes == ()
