"""Saved fits: a file that was changed is refused, whatever was changed; one that is read forecasts as it did."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scaling.errors import FitError, RecordError
from scaling.fit.allocation.optimal import optimal
from scaling.fit.describe import summary
from scaling.fit.fitter import fit
from scaling.fit.saved.files import digest, load, save, to_json
from scaling.laws.size_and_data import Chinchilla

TRUTH = Chinchilla(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.36)
SIZES, VOLUMES = np.array([1e7, 1e9, 1e11]), np.array([1e9, 1e11, 1e12])


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    loss = TRUTH.loss(n=n, d=d) * np.exp(rng.normal(0, 0.003, n.size))
    runs = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss, "status": "done"})
    runs.loc[7, "status"] = "failed"
    return fit(runs, bootstrap=20, profiles=["alpha"])


def forecast(fitted):
    given = fitted.predict(SIZES, VOLUMES, force=True)
    return np.array([given.value, given.low, given.high])


def content(found):
    return json.loads(to_json(found))


def places(value, path=()):
    """Every value inside a JSON value, by its path."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def replaced(value, path, new):
    """The JSON value with one place changed; a new value of `...` deletes the place."""
    value = json.loads(json.dumps(value))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if new is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return value


def test_a_fit_forecasts_the_same_after_it_was_saved(found, tmp_path):
    save(found, tmp_path / "fit.json")
    again = load(tmp_path / "fit.json")
    np.testing.assert_allclose(forecast(again), forecast(found), rtol=1e-5)
    assert to_json(again) == to_json(found)


def test_a_fit_remembers_the_tokens_of_its_runs_and_says_nothing_where_they_are_not_known(found, tmp_path):
    assert set(content(found)["made_of"]) == {"n_rows", "where", "n_filtered"}
    known = replace(found, made_of=replace(found.made_of, vocab_size=1024, bytes_per_token=2.66))
    save(known, tmp_path / "fit.json")
    assert load(tmp_path / "fit.json").made_of == known.made_of


def test_any_byte_changed_is_refused_or_changes_nothing(found, tmp_path):
    rng = np.random.default_rng(1)
    whole, before = to_json(found).encode(), forecast(found)
    refused = 0
    for _ in range(600):
        mutant = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = rng.integers(len(mutant))
            kind = rng.integers(4)
            if kind == 0:
                mutant[at] = rng.integers(256)
            elif kind == 1:
                mutant[at] ^= 1 << rng.integers(8)
            elif kind == 2:
                del mutant[at : at + rng.integers(1, 40)]
            else:
                mutant[at:at] = mutant[at : at + rng.integers(1, 40)]
        path = tmp_path / "fit.json"
        path.write_bytes(mutant)
        try:
            again = load(path)
        except RecordError:
            refused += 1
            continue
        np.testing.assert_allclose(forecast(again), before, rtol=1e-5)
    assert refused > 500


ODD = [None, True, -1, 0, 1e308, -1e308, 10**40, "", "x", [], {}, [None], [[]], {"a": 1}, ...]


@pytest.mark.slow
def test_values_changed_with_their_digest_are_refused_or_still_make_sense(found, tmp_path):
    rng = np.random.default_rng(2)
    whole = content(found)
    everywhere = [
        path for path in places(whole) if path and "samples" not in path[:-2] and "residuals" not in path[:-1]
    ]
    path = tmp_path / "fit.json"
    refused = 0
    for _ in range(300):
        where = everywhere[rng.integers(len(everywhere))]
        mutant = replaced(whole, where, ODD[rng.integers(len(ODD))])
        if where[0] != "digest":
            mutant["digest"] = digest(mutant)
        path.write_text(json.dumps(mutant))
        try:
            again = load(path)
        except RecordError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
            continue
        # Whatever is read can be used for all that fits are used for.
        assert forecast(again).shape == (3, 3)
        assert len(summary(again)) > 100
        with contextlib.suppress(FitError):
            optimal(again, flops=1e20)
    assert refused > 200


@pytest.mark.parametrize(
    ("path", "new", "what"),
    [
        (("members", 0, "coefficients", "E"), 1.9, "changed after it was written"),
        (("members", 0, "weight"), 0.9, "weights do not sum to one"),
        (("members", 0, "law"), "chinchila", "unknown law 'chinchila'"),
        (("members", 0, "samples", 3), [1.0], r"members\[0\].samples: allowed are rows of equal length"),
        (("members", 0, "coefficients", "alpha"), ..., "alpha"),
        (("calibration", "quantiles", 100), 50.0, "quantiles fall"),
        (("calibration", "noise"), "0.1", "fit.calibration.noise: got '0.1', allowed is a finite number"),
        (("status", "success"), False, "success contradicts"),
        (("ranges", "n"), [1e9, 1e6], "a range ends before it begins"),
        (("covariance", 0), [1.0], "covariance"),
        (("n_runs",), 2.5, "fit.n_runs: got 2.5, allowed is a whole number from 1 on"),
        (("digest",), ..., "no digest"),
        (("more",), 1, "has unknown more"),
    ],
)
def test_what_is_wrong_with_a_saved_fit_is_named(found, tmp_path, path, new, what):
    mutant = replaced(content(found), path, new)
    if "changed" not in what and "digest" in mutant:
        mutant["digest"] = digest(mutant)
    (tmp_path / "fit.json").write_text(json.dumps(mutant))
    with pytest.raises(RecordError, match=what):
        load(tmp_path / "fit.json")


def test_a_fit_of_before_the_digest_is_read(found, tmp_path):
    older = content(found) | {"schema_version": 1}
    del older["digest"]
    (tmp_path / "fit.json").write_text(json.dumps(older))
    np.testing.assert_allclose(forecast(load(tmp_path / "fit.json")), forecast(found), rtol=1e-5)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", "null", "NaN", '{"schema_version": NaN}', "9" * 5000])
def test_what_is_no_fit_at_all_is_refused(tmp_path, text):
    (tmp_path / "fit.json").write_text(text)
    with pytest.raises(RecordError, match="fit again"):
        load(tmp_path / "fit.json")


def test_where_no_fit_is_the_command_that_writes_one_there_is_told(tmp_path):
    with pytest.raises(RecordError, match=r"`scaling fit SWEEP\.yaml`, or `scaling fit TABLE --out .*/fit\.json`"):
        load(tmp_path)


def test_a_device_is_not_read(tmp_path):
    with pytest.raises(RecordError, match="no fit at"):
        load("/dev/zero")
