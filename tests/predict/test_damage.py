"""What rounding costs a sweep's own runs: measured of the run itself, by the law of the others, or by the tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scaling.errors import RecordError
from scaling.predict.damage import SweepDamage
from scaling.predict.quantization import QUANTIZATION_COST, QuantizationCost, rounding_cost
from scaling.spec import ModelSpec, RunSpec

PUBLISHED = Path(__file__).parents[2] / "results" / "reference" / "damage.csv"


def run_of(width: int, **more) -> RunSpec:
    model = ModelSpec(vocab_size=65, width=width, context=40)
    fields = {"model": model, "data": {"source": {"kind": "w0"}}, "tokens": 1_000_000}
    return RunSpec.model_validate(fields | more)


@pytest.fixture(scope="module")
def published() -> SweepDamage:
    found = SweepDamage.read(PUBLISHED)
    assert found is not None
    return found


def test_what_was_measured_of_a_run_itself_comes_before_all(published, tmp_path):
    run, table = run_of(64), published.table.copy()
    row = (table["width"] == 64) & (table["bits"] == 4)
    table.loc[row.idxmax(), "run_id"] = run.run_id
    table.to_csv(tmp_path / "damage.csv", index=False)
    found = SweepDamage.read(tmp_path / "damage.csv").cost(run, "Q4_0")
    assert found.nats == table.loc[row.idxmax(), "damage"]
    assert (found.low, found.high) == tuple(table.loc[row.idxmax(), ["damage_low", "damage_high"]])
    assert "measured of this run, damage.csv of this sweep" in found.source


def test_a_run_that_was_not_measured_has_the_law_of_the_others(published):
    small, large = (published.cost(run_of(width), "Q4_0") for width in (32, 160))
    assert 0 < large.nats < small.nats
    assert small.low < small.nats < small.high
    assert small.nats == pytest.approx(0.0133, rel=0.6)
    assert "on 36 runs" in small.source


def test_eight_bits_are_the_mean_of_the_others_and_their_range(published):
    found = published.cost(run_of(160), "Q8_0")
    others = published.table.query("bits == 8")["damage"]
    assert (found.nats, found.low, found.high) == (others.mean(), others.min(), others.max())
    assert "mean of 36 runs" in found.source


def test_the_tables_speak_of_what_no_damage_was_measured_of(published):
    assert published.cost(run_of(64), "symmetric_channel") == QUANTIZATION_COST["symmetric_channel"]
    assert published.cost(run_of(64), "F32") == QUANTIZATION_COST["F32"]
    trained = run_of(64, optim={"qat": "q4_0"})
    assert published.cost(trained, "Q4_0") == rounding_cost(trained, "Q4_0")
    assert rounding_cost(trained, "Q4_0").nats == 0


def test_a_table_that_is_not_there_is_none_and_one_of_something_else_is_refused(tmp_path):
    assert SweepDamage.read(tmp_path / "damage.csv") is None
    pd.DataFrame({"bits": [4]}).to_csv(tmp_path / "damage.csv")
    with pytest.raises(RecordError, match="has no column run_id.* — measure anew: scaling damage"):
        SweepDamage.read(tmp_path / "damage.csv")
    (tmp_path / "damage.csv").write_bytes(b"")
    with pytest.raises(RecordError, match="not a table of damage"):
        SweepDamage.read(tmp_path / "damage.csv")


def test_a_range_holds_what_lies_in_it_within_the_error_of_measuring():
    cost = QuantizationCost(nats=0.0, low=-0.1, high=0.1, source="")
    assert cost.holds(0.1, float("nan"))
    assert cost.holds(0.12, 0.02)
    assert not cost.holds(0.2, 0.02)
    assert not cost.holds(-0.2, 0.0)
