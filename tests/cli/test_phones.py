"""The commands about phones, as a person types them: no jax, JSON beside the table, mistakes with their remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from scaling.accounting import decode_bytes
from scaling.cli import app
from scaling.errors import ScalingError
from scaling.export.bundle.files import Bundle
from scaling.export.timing import RoundRate
from scaling.files import make_folder
from scaling.predict.phones.devices import device
from scaling.records import Outcome, RunRecord, RunStore
from scaling.spec import ModelSpec, RunSpec

LEDGER = Path(__file__).resolve().parents[2] / "results" / "reference" / "ledger.csv"

BENCH = """
| model         |     size | params | backend | threads |  test |   t/s |
| ------------- | -------: | -----: | ------- | ------: | ----: | ----: |
| llama 1B Q8_0 | 1.22 GiB | 1.24 B | CPU     |       4 | pp512 | 80.00 |
| llama 1B Q8_0 | 1.22 GiB | 1.24 B | CPU     |       4 | tg128 | 20.00 |
| llama 1B Q8_0 | 1.22 GiB | 1.24 B | CPU     |       8 | tg128 |  0.26 |
"""


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def answer(*arguments: str):
    return json.loads(said(*arguments, "--json"))


def refusal(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code != 0, done.output
    return str(done.exception) if isinstance(done.exception, ScalingError) else done.output


def test_a_size_has_its_bytes_line_by_line_and_a_speed_on_every_phone():
    told = said("footprint", "--params", "1B", "--device", "pixel-8a,galaxy-s26", "--format", "f32,q8_0")
    for line in ("token table", "matrices repacked at load", "key–value cache", "in all", "pixel-8a", "galaxy-s26"):
        assert line in told
    found = answer("footprint", "--params", "1B", "--device", "pixel-8a,galaxy-s26", "--format", "f32,q8_0")
    assert [one["format"] for one in found["formats"]] == ["f32", "q8_0"]
    assert found["formats"][0]["footprint"]["weights_bytes"] == pytest.approx(4e9, rel=0.01)
    assert [(one["device"], one["format"]) for one in found["devices"]] == [
        ("pixel-8a", "f32"), ("pixel-8a", "q8_0"), ("galaxy-s26", "f32"), ("galaxy-s26", "q8_0"),
    ]  # fmt: skip
    assert found["energy"] is None


def test_models_by_name_by_shape_and_by_run_are_the_same_question(tmp_path):
    assert answer("footprint", "--like", "bert-base")["n_params_total"] == pytest.approx(110e6, rel=0.01)
    shape = answer("footprint", "--width", "576", "--layers", "30", "--heads", "9", "--kv-heads", "3",
                   "--hidden", "1536", "--vocab", "49152")  # fmt: skip
    assert (shape["n_params_total"], shape["model"]["head_width"]) == (134_515_008, 64)
    run = RunSpec(model={"vocab_size": 65, "width": 64, "context": 40}, data={"source": {"kind": "w0"}}, tokens=1000)
    store = RunStore(tmp_path).prepare()
    store.commit(RunRecord(spec=run, outcome=Outcome(status="done", loss=2.0)))
    found = answer("footprint", "--run", run.run_id, "--results", str(tmp_path))
    assert (found["model"]["width"], found["context"]) == (64, 40)


def test_energy_is_told_where_it_is_asked_for_and_follows_the_settings(monkeypatch):
    monkeypatch.setenv("SCALING_KG_PER_KWH", "1")
    found = answer("footprint", "--params", "100M", "--energy", "--tokens", "1B")["energy"]
    assert found["co2e_kg"] == pytest.approx(found["training_kwh"])
    told = said("footprint", "--params", "1B", "--energy")
    assert "energy of a written token: 0.1 J" in told
    assert "days of a household's electricity" in " ".join(told.split())


def test_phones_are_listed_by_year_with_what_one_app_may_take():
    listed = answer("devices")
    assert [one["year"] for one in listed] == sorted(one["year"] for one in listed)
    assert "galaxy-s26" in said("devices")
    assert "ChatterUI#127" in said("devices", "--sources")


def test_ones_own_phone_is_calibrated_listed_and_asked_about(tmp_path):
    (tmp_path / "bench.md").write_text(BENCH)
    mine = tmp_path / "mine.toml"
    found = answer("calibrate", str(tmp_path / "bench.md"), "--out", str(mine), "--layers", "llama 1B Q8_0=16")
    assert (found["threads"], found["used"][0]["tokens_per_s"]) == (4, 20.0)
    assert [one["tokens_per_s"] for one in found["collapsed"]] == [0.26]
    assert 1 / device(f"{mine}:mine").speeds[0].seconds(16, 1.22 * 2**30).value == pytest.approx(20)
    assert [one["name"] for one in answer("devices", str(mine))] == ["mine"]
    asked = answer("footprint", "--params", "1B", "--device", f"{mine}:mine", "--format", "q8_0")
    assert asked["devices"][0]["prompt_s"]["basis"] == "measured"


@pytest.fixture
def ledger(tmp_path) -> RunSpec:
    """A run of the results folder, and a ledger that timed it in two engines."""
    header, first = LEDGER.read_text("utf-8").splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=False))
    run = RunSpec(model={"vocab_size": 65, "width": 64, "context": 40}, data={"source": {"kind": "w0"}}, tokens=1000)
    RunStore(tmp_path).prepare().commit(RunRecord(spec=run, outcome=Outcome(status="done", loss=2.0)))
    mine = first.replace(row["run_id"], run.run_id)
    other = mine.replace(row["engine"], "ONNX Runtime 1.32.0").replace(",gguf,", ",onnx,")
    (tmp_path / "ledger.csv").write_text("\n".join([header, mine, other]) + "\n")
    return run


@pytest.mark.parametrize(("engine", "storage"), [("llama_cpp", "Q8_0"), ("onnx_runtime", "Q8_0")])
def test_our_own_ledger_calibrates_each_engine_by_its_own_rates(ledger, tmp_path, engine, storage):
    asked = ("calibrate", str(tmp_path / "ledger.csv"), "--out", str(tmp_path / "mine.toml"), "--device", "x86-core")
    found = answer(*asked, "--results", str(tmp_path), "--engine", engine)
    (used,) = found["used"]
    assert used["n_bytes"] == decode_bytes(ledger.model, storage, position=20)
    (speed, *_) = device(f"{tmp_path / 'mine.toml'}:mine").speeds
    assert speed.engine == engine
    assert 1 / speed.seconds(used["n_layers"], used["n_bytes"]).value == pytest.approx(used["tokens_per_s"])


def test_a_ledger_that_does_not_say_which_engine_is_meant_is_refused(ledger, tmp_path):
    asked = ("calibrate", str(tmp_path / "ledger.csv"), "--out", str(tmp_path / "x.toml"), "--results", str(tmp_path))
    assert "several engines — it holds llama_cpp (1), onnx_runtime (1); name one with --engine" in refusal(*asked)
    assert "no run was timed in litert — it holds" in refusal(*asked, "--engine", "litert")
    assert "none of its runs was timed" in refusal("calibrate", str(LEDGER), *asked[2:])


def test_bundles_are_timed_in_rounds_and_calibrate_the_machine_that_times_them(tmp_path, monkeypatch):
    models = {width: ModelSpec(vocab_size=65, width=width, n_layers=2, context=40) for width in (32, 64)}

    def opened(folder):
        width = int(folder.name)
        facts = SimpleNamespace(run_id=str(width), format="gguf", model=models[width])
        return Bundle(folder, facts)

    def timed(bundles, *, engine):
        found = [one.manifest.model.width for one in bundles]
        return [
            RoundRate(bundle=one, engine=engine, tokens_per_s=1e5 / width, spread=0.01, load_average=0.2)
            for one, width in zip(bundles, found, strict=True)
        ]

    monkeypatch.setattr("scaling.export.bundle.files.open_bundle", opened)
    monkeypatch.setattr("scaling.export.timing.time_in_rounds", timed)
    folders = [str(make_folder(tmp_path / str(width))) for width in models]
    found = answer("calibrate", *folders, "--out", str(tmp_path / "here.toml"), "--device", "x86-core")
    assert [one["tokens_per_s"] for one in found["used"]] == [3125, 1562.5]
    assert device(f"{tmp_path / 'here.toml'}:mine").speeds[0].engine == "llama_cpp"
    assert "one table, or folders of bundles" in refusal("calibrate", *folders, "x.md", "--out", "x.toml")
    assert "--layers: has no effect" in refusal("calibrate", *folders, "--out", "x.toml", "--layers", "a=2")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("footprint",), "needs one of --params, --like, --run, --width — got none of them"),
        (("footprint", "--params", "1B", "--like", "gpt-2"), "got --params and --like"),
        (("footprint", "--params", "-1"), "--params: got '-1'"),
        (("footprint", "--params", "inf"), "--params: got 'inf'"),
        (("footprint", "--params", "1M"), "give a smaller vocabulary with --vocab"),
        (("footprint", "--like", "bert-bas"), "did you mean 'bert-base'"),
        (("footprint", "--like", "bert-base", "--layers", "3"), "--layers: has no effect beside --like"),
        (("footprint", "--width", "65"), "--width 65: not a model"),
        (("footprint", "--run", "0000000000"), "0000000000"),
        (("footprint", "--params", "1B", "--format", "q8"), "did you mean 'q8_0'"),
        (("footprint", "--params", "1B", "--cache", "f8"), "unknown type of cache"),
        (("footprint", "--params", "1B", "--engine", "lama_cpp"), "did you mean 'llama_cpp'"),
        (
            ("footprint", "--params", "1B", "--engine", "onnx_runtime", "--format", "q4_0"),
            "runs no file of q4_0 — allowed are f32, q8_0",
        ),
        (("footprint", "--params", "1B", "--device", "pixel8a"), "did you mean 'pixel-8a'"),
        (("footprint", "--params", "1B", "--tokens", "1B"), "--tokens: has no effect beside a footprint without"),
        (("footprint", "--params", "1B", "--format", ","), "--format: got ',', allowed are words"),
        (("devices", "nowhere.toml"), "nowhere.toml: no such file — name one"),
        (("calibrate", "nowhere.md", "--out", "x.toml"), "nowhere.md: no such file"),
        (("calibrate", "nowhere.md", "--out", "x.toml", "--name", "a b"), "--name: got 'a b'"),
        (("calibrate", "nowhere.md", "--out", "x.toml", "--unit", "tpu"), "--unit: got 'tpu'"),
        (("calibrate", "nowhere.md", "--out", "x.toml", "--layers", "16"), "--layers: got '16'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_named_with_its_remedy(tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert told in refusal(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_none_of_them_loads_anything_heavy(tmp_path):
    probe = (
        "import sys; from scaling.cli import app\n"
        "for words in (['footprint', '--params', '1B', '--energy'], ['devices']):\n"
        "    app(words, standalone_mode=False)\n"
        "heavy = {'jax', 'flax', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)\n"
        "print(*sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stderr.strip()) == (0, "")
