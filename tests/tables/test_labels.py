"""Columns of words in a foreign table: which text each run read."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RecordError
from scaling.fit.backtest import backtest
from scaling.fit.saved.files import load as load_fit
from scaling.report.figures.points import run_points
from scaling.tables.observe import observe

SIZES = {"n": "params", "d": "tokens", "loss": "val_loss"}
FLOORS = {"web": 2.2, "stories": 1.9, "lessons": 1.8}


def table(floors=FLOORS, names="corpus"):
    rows = [
        (n, d, text, floor + 12 * n**-0.35 + 300 * d**-0.45 + 0.001 * ((i * 7) % 5))
        for i, (text, floor) in enumerate(floors.items())
        for n in (1e5, 1e6, 1e7)
        for d in (2e6, 5e6, 2e7)
    ]
    return pd.DataFrame(rows, columns=["params", "tokens", names, "val_loss"])


def test_texts_are_told_apart_by_the_column_that_is_mapped_to_them():
    data = observe(table(), columns={**SIZES, "teacher": "corpus"})
    assert data.teachers == ("lessons", "stories", "web")
    assert not data.notes
    assert data.names == SIZES | {"teacher": "corpus"}


def test_trainings_with_names_of_words_are_told_apart_where_they_are_mapped():
    data = observe(table(), columns={**SIZES, "trunk_id": "corpus", "teacher": "corpus"})
    assert data.n_clusters == 3


def test_a_mapped_column_of_texts_that_is_not_there_is_named():
    with pytest.raises(RecordError, match="did you mean 'corpus'"):
        observe(table(), columns={**SIZES, "teacher": "corpsu"})


@pytest.mark.parametrize("kind", ["str", "object", "category"])
@pytest.mark.parametrize("missing", ["web", None])
def test_a_column_that_tells_losses_apart_and_is_not_mapped_is_named(kind, missing):
    rows = table()
    rows["corpus"] = rows["corpus"].astype(object).where(rows["corpus"] != "web", missing).astype(kind)
    (note,) = observe(rows, columns=SIZES).notes
    assert "--map teacher=corpus" in note


def test_the_largest_runs_of_each_text_are_held_back_whatever_columns_are_named():
    columns = {"teacher": "corpus", "loss": "val_loss"}
    found = backtest(table(), law="qm", n="params", d="tokens", columns=columns, bootstrap=0)
    held = table().loc[[row["row"] for row in found.rows]]
    assert set(held["corpus"]) == set(FLOORS)
    assert (held["params"] * held["tokens"]).min() >= 1e7 * 2e6


def test_words_that_say_nothing_of_the_loss_are_no_texts():
    rows = table(dict.fromkeys(FLOORS, 2.0))
    noise = np.random.default_rng(0).normal(0, 0.02, len(rows))
    assert not observe(rows.assign(val_loss=rows["val_loss"] + noise), columns=SIZES).notes


def test_the_command_line_takes_a_column_of_words_as_the_texts(scaling, tmp_path):
    table().to_csv(tmp_path / "runs.csv", index=False)
    how = "n=params,d=tokens,loss=val_loss,teacher=corpus"
    done = scaling("fit", "runs.csv", "--law", "chinchilla", "--map", how, "--out", "fit.json", cwd=tmp_path)
    assert done.returncode == 0
    fit = load_fit(tmp_path / "fit.json")
    assert set(fit.teachers) == set(FLOORS)
    # The table that it was made of still tells the texts apart by the column that was mapped.
    assert set(run_points(fit, table()).text) == set(FLOORS)
