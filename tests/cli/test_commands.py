"""The command line: light, documented exit codes, no traceback for a user's mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = str(ROOT / "sweeps" / "quickstart.yaml")
OF_REAL_TEXT = ("--memory", "64MiB", "--sweep", QUICKSTART, "--set", "recommend.teacher={kind: real}")

PROBE = """
import sys
from scaling.cli import main
sys.argv = ["scaling", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    code = end.code or 0
else:
    code = 0
heavy = sorted({"jax", "flax", "matplotlib", "pandas"} & set(sys.modules))
print("HEAVY", *heavy, file=sys.stderr)
sys.exit(code)
"""


def process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which says what it loaded."""
    command = [sys.executable, "-c", PROBE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


def heavy_modules(done: subprocess.CompletedProcess[str]) -> list[str]:
    return next(line for line in done.stderr.splitlines() if line.startswith("HEAVY")).split()[1:]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, scaling) -> Path:
    """A fit.json of a known law, as `scaling fit` writes it."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(2e4, 4e5, 4), np.geomspace(2e5, 3e6, 4)))
    loss = (1.4 + 9 * n**-0.35 + 300 * d**-0.5) * np.exp(0.003 * rng.standard_normal(n.size))
    folder = tmp_path_factory.mktemp("fit")
    pd.DataFrame({"n_params": n, "tokens": d, "val": loss}).to_csv(folder / "runs.csv", index=False)
    out = folder / "fit.json"
    mapping = "n=n_params,d=tokens,loss=val"
    done = scaling("fit", "runs.csv", "--map", mapping, "--law", "chinchilla", "--out", str(out), cwd=folder)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("plan", QUICKSTART),
        ("predict", "--law", "besiroglu", "--params", "100M"),
        ("run", "--help"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_looking_and_predicting_load_nothing_heavy(arguments, tmp_path):
    done = process(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert heavy_modules(done) == []


def test_predicting_and_recommending_from_a_fit_load_nothing_heavy(fitted, tmp_path):
    predicted = process("predict", "--fit", str(fitted), "--params", "1e5", "--tokens", "1e6", cwd=tmp_path)
    assert (predicted.returncode, heavy_modules(predicted)) == (0, [])
    question = ("--fit", str(fitted), "--target-loss", "1.95", *OF_REAL_TEXT)
    recommended = process("recommend", *question, cwd=tmp_path)
    assert (recommended.returncode, heavy_modules(recommended)) == (0, []), recommended.stderr
    assert "recommended: width" in recommended.stdout


@pytest.mark.parametrize(("law", "loss"), [("besiroglu", 2.61), ("hoffmann", 2.48)])
def test_a_published_law_answers_in_json(law, loss, tmp_path, scaling):
    done = scaling("predict", "--law", law, "--params", "100M", "--tokens", "inf", "--json", cwd=tmp_path)
    assert round(json.loads(done.stdout)["loss"], 2) == loss


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("predict", "--params", "1e6"), 2, "predict needs one of --fit, --law — got none of them"),
        (("predict", "--law", "besiroglou", "--params", "1e6"), 2, "besiroglu"),
        (("predict", "--law", "hoffmann", "--params", "-5"), 2, "positive number"),
        (("predict", "--fit", "nowhere.json", "--params", "1e6"), 2, "nowhere.json"),
        (("recommend", "--fit", "nowhere.json", "--target-loss", "2"), 2, "no fit at nowhere.json"),
        (("plan", "nowhere.yaml"), 2, "nowhere.yaml"),
        (("fit", "nowhere.csv"), 2, "nowhere.csv"),
        (("code-length", "nowhere.csv"), 2, "nowhere.csv"),
        (("probe", "0123456789"), 2, "0123456789"),
        (("frobnicate",), 2, "frobnicate"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_mistake_ends_with_its_code_and_what_to_do(arguments, code, said, tmp_path, scaling):
    done = scaling(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr


def test_a_process_ends_with_the_code_of_its_mistake_and_no_traceback(tmp_path):
    done = process("plan", "nowhere.yaml", cwd=tmp_path)
    assert (done.returncode, "nowhere.yaml" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


def test_a_code_length_answers_in_json_and_names_what_it_lacks(tmp_path, scaling):
    ladder = str(ROOT / "results" / "reference" / "teacher_ladder.csv")
    options = ("--by", "kind,size", "--where", "kind == 'ngram'", "--json")
    done = scaling("code-length", ladder, *options, "--vocab", "1024", cwd=tmp_path)
    arms = json.loads(done.stdout)["arms"]
    assert [arm["text"] for arm in arms] == [f"ngram {order}" for order in range(1, 7)]
    assert all(abs(arm["agreement"]) < 0.01 for arm in arms)
    done = scaling("code-length", ladder, *options, cwd=tmp_path)
    assert (done.returncode, "--vocab 1024" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "--arms", "real,noise 0.2"),
        pytest.param(("frontier", "--flops", "1e12"), marks=pytest.mark.slow),
    ],
)
def test_a_sweep_file_stands_for_the_table_of_its_runs(command, tmp_path, scaling):
    folder = tmp_path / "results" / "quickstart"
    folder.mkdir(parents=True)
    pd.read_csv(ROOT / "results" / "reference" / "quickstart.csv").to_parquet(folder / "runs.parquet")
    of_table, of_sweep = (
        scaling(*command, table, cwd=tmp_path) for table in (str(folder), str(ROOT / "sweeps" / "quickstart.yaml"))
    )
    assert of_sweep.returncode == 0, of_sweep.stderr
    assert of_sweep.stdout == of_table.stdout != ""


def test_of_a_sweep_the_rows_are_those_that_its_fit_keeps(tmp_path, scaling):
    folder = tmp_path / "results" / "quickstart"
    folder.mkdir(parents=True)
    pd.read_csv(ROOT / "results" / "reference" / "quickstart.csv").to_parquet(folder / "runs.parquet")
    text = (ROOT / "sweeps" / "quickstart.yaml").read_text()
    assert "\nfit:" not in text
    (tmp_path / "own.yaml").write_text(text + "\nfit: {where: n_tokens < 0}\n")
    done = scaling("compare", "own.yaml", "--arms", "real,noise 0.2", cwd=tmp_path)
    assert done.returncode == 2
    assert "n_tokens < 0" in done.stderr


def test_every_command_stands_in_the_panel_of_its_kind():
    from scaling.cli import app

    assert [command.callback.__name__ for command in app.registered_commands if not command.rich_help_panel] == []


def test_options_of_an_executor_reach_its_batch_script(tmp_path, scaling):
    options = ["--executor-set", "nodes=2", "--executor-set", "gpus-per-task=1", "--executor-set", "exclusive"]
    done = scaling("sweep", QUICKSTART, "--executor", "print", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for directive in ("nodes=2", "gpus-per-task=1", "exclusive"):
        assert f"#SBATCH --{directive}\n" in done.stdout
    done = scaling("sweep", QUICKSTART, "--executor", "print", "--executor-set", "no des=2", cwd=tmp_path)
    assert (done.returncode, "--executor-set: got the key 'no des'" in done.stderr) == (2, True)


def test_every_problem_of_a_sweep_file_is_told_at_once_with_its_place(tmp_path, scaling):
    sweep = tmp_path / "bad.yaml"
    text = Path(QUICKSTART).read_text("utf-8")
    sweep.write_text(text.replace("batch_size:", "batch_sise:").replace("[32, 64, 128]", "[32, 65, 128]"))
    done = scaling("plan", str(sweep), cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert any("bad.yaml:" in line and "did you mean 'batch_size'" in line for line in lines)
    assert any("bad.yaml:" in line and "multiple of 32" in line for line in lines)


def test_a_target_below_the_floor_exits_with_3_and_names_floor_and_best(fitted, tmp_path, scaling):
    done = scaling("recommend", "--fit", str(fitted), "--target-loss", "1.2", *OF_REAL_TEXT, cwd=tmp_path)
    assert done.returncode == 3
    assert re.search(r"floor of real text is 1\.[34]\d+", done.stderr)
    assert "the best that fits is forecast at" in done.stderr


def test_a_fit_of_a_foreign_table_has_no_models_to_recommend(fitted, tmp_path, scaling):
    done = scaling("recommend", "--fit", str(fitted), "--target-loss", "1.9", cwd=tmp_path)
    assert (done.returncode, "has no sweep.yaml beside it" in done.stderr) == (2, True)


def test_columns_under_other_names_are_asked_for(tmp_path, scaling):
    (tmp_path / "runs.csv").write_text("params,tokens,val_loss\n1e6,1e7,3.1\n")
    done = scaling("fit", "runs.csv", cwd=tmp_path)
    assert (done.returncode, "did you mean 'params'? — say which one it is: --map n=COLUMN" in done.stderr) == (2, True)


def test_a_forecast_far_beyond_the_data_needs_force(fitted, tmp_path, scaling):
    far = ("predict", "--fit", str(fitted), "--params", "1e9", "--tokens", "1e6")
    refused = scaling(*far, cwd=tmp_path)
    assert refused.returncode == 3
    assert "--force" in refused.stderr
    assert scaling(*far, "--force", cwd=tmp_path).returncode == 0


def test_results_of_another_schema_version_are_refused_and_unchanged(tmp_path, scaling):
    (tmp_path / "results").mkdir()
    marker = tmp_path / "results" / "schema.json"
    marker.write_text('{"schema_version": 99}')
    done = scaling("plan", QUICKSTART, cwd=tmp_path)
    assert done.returncode == 2
    assert "--results" in done.stderr
    assert marker.read_text() == '{"schema_version": 99}'


def test_a_plan_counts_on_the_workers_that_a_run_starts(tmp_path, scaling):
    from scaling.cli.options.shared import workers

    cores = workers(0)
    done = scaling("plan", QUICKSTART, cwd=tmp_path)
    assert f"with {cores} job{'s' * (cores > 1)}, " in done.stdout
    assert "with 3 jobs, " in scaling("plan", QUICKSTART, "--jobs", "3", cwd=tmp_path).stdout
