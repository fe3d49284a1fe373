"""The kinds of mistakes that people made: each is refused in one sentence, none is silently without effect."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaling.cli import app
from scaling.errors import ScalingError

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = str(ROOT / "sweeps" / "quickstart.yaml")
FIT = str(ROOT / "tests" / "predict" / "first_layout" / "fit.json")
GRID = str(ROOT / "results" / "reference" / "grid.csv")
PREDICT = ("predict", "--fit", FIT, "--params", "1e5", "--tokens", "1e6")
PUBLISHED = ("predict", "--law", "besiroglu", "--params", "100M")
SOLVE = ("solve", "--law", "hoffmann", "--flops", "1e20")
RECOMMEND = ("recommend", "--fit", FIT, "--sweep", QUICKSTART)


def refused(tmp_path, monkeypatch, *arguments: str) -> str:
    """What a command says that must not succeed, and must not change anything."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code != 0, done.output
    assert not (tmp_path / "results" / "runs").exists()
    if isinstance(done.exception, SystemExit):
        return done.output
    assert isinstance(done.exception, ScalingError), repr(done.exception)
    return str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*PUBLISHED, "--delta-noise", "5"), "--delta-noise: has no effect beside --law"),
        ((*PUBLISHED, "--delta-noise", "0"), "--delta-noise: has no effect beside --law"),
        ((*PUBLISHED, "--level", "0.5"), "--level: has no effect beside --law"),
        ((*PUBLISHED, "--force"), "--force: has no effect beside --law"),
        ((*PREDICT, "--teacher", "noise 0.2", "--delta-noise", "0.1"), "--delta-noise: has no effect beside --teacher"),
        ((*SOLVE, "--level", "0.5"), "--level: has no effect beside --law"),
        ((*SOLVE, "--force"), "--force: has no effect beside --law"),
        ((*SOLVE, "--batch-law", "kaplan-batch"), "--batch-law: has no effect beside a law without steps"),
        (("solve", "--law", "kaplan-ns", "--flops", "1e20", "--params", "1B"), "--params: has no effect beside a law"),
        (("sweep", QUICKSTART, "--rerun", "zzzz"), "has no run 'zzzz'"),
        (("sweep", QUICKSTART, "--executor", "inline", "--executor-set", "foo=1"), "has no options, got foo"),
        (("fit", QUICKSTART, "--where", "n > 1"), "whose own fit.where, fit.n and fit.loss are set by --set"),
        (("fit", QUICKSTART, "--map", "n=x"), "--map: has no effect beside a sweep file"),
        (("fit", "runs.csv", "--results", "elsewhere"), "--results: has no effect beside a table"),
        (("backtest", GRID, "--decision", "0.9", "--level", "0.9"), "--level: has no effect beside --decision"),
        (("curve", GRID, "--map", "lr=lr", "--form", "auto"), "--form: has no effect beside a learning rate by step"),
        (("export", QUICKSTART, "--author", ""), "--author: has no effect beside no --target futo"),
        ((*RECOMMEND, "--min-tokens-per-second", "5"), "a speed needs a device"),
    ],
)
def test_an_option_without_effect_is_refused(arguments, said, tmp_path, monkeypatch):
    assert said in refused(tmp_path, monkeypatch, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", GRID),
        ("backtest", GRID),
        ("compare", GRID, "--arms", "real,noise 0.2"),
        ("frontier", GRID, "--flops", "1e12"),
        ("code-length", GRID),
        ("transfer", GRID),
        ("replay", "csv", ".", "out"),
        ("ledger", "--file", "ledger.csv"),
        ("report", "--law", "besiroglu"),
        ("recommend", "--law", "besiroglu", "--target-loss", "3"),
        ("footprint", "--params", "1B"),
        ("calibrate", GRID, "--out", "mine.toml"),
    ],
)
def test_a_results_folder_without_effect_is_refused_as_well_where_it_is_the_usual_one(arguments, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    assert "--results: has no effect beside" in refused(tmp_path, monkeypatch, *arguments, "--results", "results")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("recommend", "own.yaml"), "--fit results/own/fit.json asks the fit of a sweep's runs"),
        (("recommend", "own.yaml"), "--sweep own.yaml stands beside a fit that lies elsewhere"),
        (("predict", "own.yaml", "--params", "1M"), "which `scaling fit own.yaml` writes."),
        (("predict", "fit.json", "--params", "1M"), "a fit is given as --fit fit.json"),
        (("predict", "--fit", "own.yaml", "--params", "1M", "--tokens", "1M"), "own.yaml: is a sweep file, allowed is"),
        (("footprint", "1M"), "a size is given as --params 1M"),
        (("ledger", "ledger.csv"), "a ledger is given as --file ledger.csv"),
        (("ledger", "."), "a results folder is given as --results ."),
        (("plan", QUICKSTART, "more"), "Got 'more' without an option before it"),
        (("doctor", "nan"), "what it takes is listed by `scaling doctor --help`"),
    ],
)
def test_a_word_without_an_option_is_told_where_it_belongs(arguments, said, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    assert said in refused(tmp_path, monkeypatch, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("footprint", "--params", "10M", "--format", "f32,,q8_0"),
        ("footprint", "--params", "10M", "--device", "pixel-8a, "),
        ("predict", "--params", "1B", "--law", "hoffmann,"),
        ("predict", "--law", "hoffmann,besiroglu", "--params", "1B,,2B"),
        ("predict", "--law", "hoffmann", "--like", ",bert-base"),
        ("frontier", GRID, "--flops", "1e12,,1e13"),
        ("compare", GRID, "--arms", "real,noise 0.2", "--pair", "n,,d"),
        ("code-length", GRID, "--by", "source,"),
        ("damage", QUICKSTART, "--bits", "4,,8"),
        ("fit", GRID, "--map", "n=n_params,,d=n_tokens"),
    ],
)
def test_a_list_with_an_empty_place_is_refused_with_the_option_and_what_was_got(arguments, tmp_path, monkeypatch):
    said = refused(tmp_path, monkeypatch, *arguments)
    # The faulty option is the last.
    assert f"{arguments[-2]}: got {arguments[-1]!r}, allowed are words with a comma between two" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("probe", "nosuch"),
        ("keyboard", "nosuch"),
        ("damage", "nosuch"),
        ("compress", "nosuch"),
        ("footprint", "--run", "nosuch"),
    ],
)
def test_a_run_that_is_not_there_is_said_to_be_no_run_with_where_ids_are_found(arguments, tmp_path, monkeypatch):
    said = refused(tmp_path, monkeypatch, *arguments)
    assert "nosuch: no" in said
    assert "name a folder of results/runs" in said


def test_a_vocabulary_is_finite(tmp_path, monkeypatch):
    said = refused(tmp_path, monkeypatch, "footprint", "--params", "1B", "--vocab", "inf")
    assert said == "--vocab: got inf, allowed is a finite number — for example 2M"


def test_arms_of_a_column_of_numbers_may_be_zero(tmp_path, monkeypatch):
    said = refused(tmp_path, monkeypatch, "compare", GRID, "--by", "seed", "--arms", "0,1")
    assert said == "no finished run has seed = 1.0; there are 0"


@pytest.mark.parametrize("arms", [["real,noise 0.2, exact"], ["real"], ["real", ""], ["real", "a", "b"]])
def test_what_names_no_two_arms_is_refused_with_the_way_to_name_one_with_a_comma(arms, tmp_path, monkeypatch):
    said = refused(tmp_path, monkeypatch, "compare", GRID, *(word for arm in arms for word in ("--arms", arm)))
    assert f"got {' and '.join(map(repr, arms))}, allowed are two values of teacher" in said
    assert "where a name has a comma --arms real --arms 'noise 0.2, exact'" in said


@pytest.mark.parametrize("law", ["stack", "auto", "q1"])
def test_a_coefficient_that_no_form_has_cannot_be_held(law, tmp_path, monkeypatch):
    said = refused(tmp_path, monkeypatch, "fit", GRID, "--law", law, "--held", "X=3")
    assert said.startswith("cannot hold 'X': the coefficients")


@pytest.mark.parametrize("command", ["plan", "run", "sweep"])
def test_a_training_that_this_machine_cannot_hold_is_refused_before_it_begins(command, tmp_path, monkeypatch):
    said = refused(tmp_path, monkeypatch, command, QUICKSTART, "--set", "model.width=131072")
    assert "a step at width 131072, batch 8, needs" in said
    assert "lower model.width or optim.batch_size" in said


def test_what_another_machine_trains_may_be_planned_here(tmp_path):
    arguments = ("plan", QUICKSTART, "--set", "model.width=131072", "--results", str(tmp_path))
    done = CliRunner().invoke(app, (*arguments, "--elsewhere"))
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*RECOMMEND, "--target-loss", "0"), "target_loss: got 0"),
        ((*RECOMMEND, "--probability", "0"), "between 0 and 1"),
        ((*RECOMMEND, "--probability", "95"), "between 0 and 1"),
        ((*RECOMMEND, "--memory", "0"), "allowed is a size"),
        ((*RECOMMEND, "--tokens", "0"), "allowed is a positive number"),
        ((*RECOMMEND, "--context", "0"), "context: got 0"),
        ((*RECOMMEND, "--device", "mid-8bg"), "did you mean 'mid-8gb'"),
        ((*PREDICT, "--level", "0"), "between 0 and 1"),
        ((*PREDICT, "--delta-noise", "-1"), "allowed is 0 or more"),
        ((*PREDICT, "--delta-noise", "nan"), "allowed is 0 or more"),
        ((*PREDICT, "--delta-noise", "50"), "158× beyond the runs"),
        ((*PREDICT, "--teacher", "palm"), "the teacher (PaLM) lies"),
        ((*PREDICT, "--teacher", "palmer"), "unknown teacher 'palmer'"),
    ],
)
def test_a_zero_is_a_number_and_a_number_has_its_bounds(arguments, said, tmp_path, monkeypatch):
    assert said in refused(tmp_path, monkeypatch, *arguments)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("fit.law=chinchila", "did you mean 'chinchilla'"),
        ("fit.law=tied+q9", "unknown law 'q9'"),
        ("recommend.memory=64", "allow at least so many, as memory: 11MiB"),
        ("recommend.device=mid-8bg", "did you mean 'mid-8gb'"),
        ("recommend.format=ggfu", "did you mean 'gguf'"),
        ("recommend.teacher={kind: ngram}", "matches none of the sweep's teachers"),
        ("recommend.confidence=0.9", "unknown key"),
        ("name=runs", "name the sweep otherwise"),
        ("name=Runs", "name the sweep otherwise"),
        ("recommend.target_loss=1.3", "allowed is more than 1.3704, the entropy of w0, which no student"),
        ("fit.where='n_params >'", "fit.where: cannot read the expression 'n_params >'"),
    ],
)
def test_what_can_be_known_before_is_refused_by_the_plan(setting, said, tmp_path, monkeypatch):
    assert said in refused(tmp_path, monkeypatch, "plan", QUICKSTART, "--set", setting)


@pytest.mark.parametrize("command", ["compress", "export", "verify"])
def test_a_stage_without_the_one_before_names_the_command_to_run(command, tmp_path, monkeypatch):
    assert f"scaling fit {QUICKSTART}" in refused(tmp_path, monkeypatch, command, QUICKSTART)


@pytest.mark.parametrize("name", ["runs", "Claims", "../elsewhere", "a/b", "", "schema.json"])
def test_imported_runs_do_not_go_where_the_program_keeps_its_own(tmp_path, monkeypatch, name):
    table = tmp_path / "table.csv"
    table.write_text("n_params,n_tokens,loss\n1e6,1e8,3\n")
    said = refused(tmp_path, monkeypatch, "import", str(table), name)
    assert "name" in said
    assert list(tmp_path.iterdir()) == [table]


def test_a_fit_is_not_written_over_the_table_that_it_came_from(tmp_path, monkeypatch):
    table = tmp_path / "table.csv"
    rows = [(n, d, 1.7 + 400 / n**0.34 + 1500 / d**0.3) for n in (1e7, 4e7, 2e8, 1e9) for d in (1e9, 4e9, 2e10, 1e11)]
    table.write_text("n_params,n_tokens,loss\n" + "".join(f"{n},{d},{loss}\n" for n, d, loss in rows))
    before = table.read_bytes()
    fit = ("fit", str(table), "--law", "chinchilla", "--out")
    assert "is there and not a fit" in refused(tmp_path, monkeypatch, *fit, str(table))
    assert table.read_bytes() == before
    for _again in range(2):
        assert CliRunner().invoke(app, [*fit, str(tmp_path / "new" / "fit.json")]).exit_code == 0


def test_a_number_too_large_for_a_float_is_not_infinity(tmp_path, monkeypatch):
    assert "got '1e400'" in refused(tmp_path, monkeypatch, "predict", "--law", "besiroglu", "--params", "1e400")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--law", "kaplan-n", "--target-loss", "2.5"), "give --tokens inf to ask for the size"),
        (("--law", "kaplan-d", "--flops", "1e20"), "give --tokens inf to ask for the size"),
        (("--law", "kaplan-n", "--target-loss", "2.5", "--params", "1B"), "what is sought makes no difference"),
        (("--law", "hoffmann", "--flops", "1e20", "--tokens", "inf"), "a finite size on finite tokens"),
        (("--law", "hoffmann", "--target-loss", "2.2", "--inference-tokens", "inf"), "allowed is a finite number"),
    ],
)
def test_what_has_no_answer_is_not_solved_for(arguments, said, tmp_path, monkeypatch):
    assert said in refused(tmp_path, monkeypatch, "solve", *arguments)


def test_a_published_law_says_how_far_beyond_its_runs_it_is_asked():
    for arguments in (("predict", "--params", "1", "--tokens", "1"), ("solve", "--target-loss", "1.82")):
        done = CliRunner().invoke(app, [*arguments, "--law", "besiroglu"])
        assert "beyond the" in done.output, done.output


def test_a_teachers_perplexity_is_not_its_loss(tmp_path, monkeypatch):
    assert "its logarithm, 3.912" in refused(tmp_path, monkeypatch, "trends", "--teacher-loss", "50")


def test_a_curve_is_continued_backwards_no_further_than_forwards(tmp_path, monkeypatch):
    steps = range(1000, 21_000, 1000)
    (tmp_path / "curve.csv").write_text("step,loss\n" + "".join(f"{x},{2.1 + 30 / x**0.4:.5f}\n" for x in steps))
    said = refused(tmp_path, monkeypatch, "curve", "curve.csv", "--map", "x=step,loss=loss", "--at", "5")
    assert "x = 5 lies 200 times beyond the points (1000 to 20000)" in said


def test_another_file_of_this_program_is_not_taken_for_a_fit(tmp_path, monkeypatch):
    (tmp_path / "recommendation.json").write_text('{"choice": {}}')
    arguments = ("predict", "--fit", "recommendation.json", "--params", "1e5", "--tokens", "1e6")
    assert "name what `scaling fit` wrote" in refused(tmp_path, monkeypatch, *arguments)


def test_a_budget_is_told_in_the_unit_that_shows_it(tmp_path, monkeypatch):
    asked = ("--law", "besiroglu", "--target-loss", "2.2", "--memory", "1.5GiB", "--tokens", "1T")
    assert "within 1.5 GiB" in refused(tmp_path, monkeypatch, "recommend", *asked)


@pytest.fixture
def named_otherwise(tmp_path) -> Path:
    """A table of somebody else's names."""
    runs = [(n, d, 2 + 12 * n**-0.35 + 300 * d**-0.45) for n in (1e5, 1e6, 1e7) for d in (1e6, 1e7, 1e8)]
    lines = "".join(f"{n},{d},{6 * n * d},{loss},{'a' if i % 2 else 'b'}\n" for i, (n, d, loss) in enumerate(runs))
    (tmp_path / "theirs.csv").write_text("N,D,C,loss,kind\n" + lines)
    return tmp_path / "theirs.csv"


@pytest.mark.parametrize(
    "command",
    [
        ("fit",),
        ("backtest",),
        ("backtest", "--decision", "0.9"),
        ("frontier", "--flops", "1e20"),
        ("compare", "--arms", "a,b", "--by", "kind"),
        ("code-length",),
        ("transfer",),
    ],
    ids=" ".join,
)
def test_a_mapped_name_that_nothing_reads_is_refused_by_every_command(command, named_otherwise, monkeypatch):
    name, *options = command
    arguments = (name, "theirs.csv", *options, "--map", "n=N,d=D", "--map", "los=loss")
    said = refused(named_otherwise.parent, monkeypatch, *arguments)
    assert "nothing reads a column as 'los'" in said
    assert "did you mean 'loss'?" in said


def test_a_mapped_name_that_only_other_expressions_read_is_taken(named_otherwise, monkeypatch):
    monkeypatch.chdir(named_otherwise.parent)
    asked = ("fit", "theirs.csv", "--map", "tokens=C / 6,n=N", "--map", "d=tokens / N", "--map", "big=N / 1e6")
    done = CliRunner().invoke(app, [*asked, "--where", "big > 0", "--law", "chinchilla"])
    assert "nothing reads" not in f"{done.output}{done.exception}"


def test_one_name_mapped_twice_is_refused_and_several_options_count_together(named_otherwise, monkeypatch):
    asked = ("fit", "theirs.csv", "--map", "n=N", "--map", "d=D", "--map")
    assert "--map: got n twice" in refused(named_otherwise.parent, monkeypatch, *asked, "n=C")
    assert "nothing reads a column as 'l'" in refused(named_otherwise.parent, monkeypatch, *asked, "l=loss")


def test_every_command_that_maps_columns_lets_the_option_repeat():
    import typer

    commands = typer.main.get_command(app).commands.values()
    maps = [option for command in commands for option in command.params if "--map" in option.opts]
    assert len(maps) >= 7
    assert all(option.multiple for option in maps)


def test_a_comma_in_backticks_is_part_of_a_columns_name(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text('"N, all",D,loss\n1e6,1e8,3.0\n')
    said = refused(tmp_path, monkeypatch, "fit", "t.csv", "--map", "n=`N, all`,d=D")
    assert "no such column" not in said
    assert "1 run" in said


READ_RUNS = [
    ("fit",),
    ("backtest",),
    ("compare", "--arms", "real,trained"),
    ("frontier", "--flops", "1e15"),
    ("code-length",),
    ("transfer",),
    ("keyboard",),
    ("damage",),
]


@pytest.mark.parametrize("asked", [False, True], ids=["never asked", "asked before"])
@pytest.mark.parametrize("command", READ_RUNS, ids=lambda command: command[0])
def test_a_sweep_without_runs_is_said_to_want_training_by_every_command_that_reads_them(
    command, asked, tmp_path, monkeypatch
):
    if asked:  # which leaves an empty table in the sweep's folder
        refused(tmp_path, monkeypatch, "fit", QUICKSTART)
    name, *options = command
    said = refused(tmp_path, monkeypatch, name, QUICKSTART, *options)
    assert "quickstart: no finished run to" in said
    assert said.endswith(f"— train first: scaling sweep {QUICKSTART}")


@pytest.mark.parametrize("command", READ_RUNS[:6], ids=lambda command: command[0])
def test_the_folder_of_a_sweep_without_runs_is_told_like_its_file(command, tmp_path, monkeypatch):
    refused(tmp_path, monkeypatch, "fit", QUICKSTART)
    name, *options = command
    said = refused(tmp_path, monkeypatch, name, "results/quickstart", *options)
    assert said.endswith("no finished run to read — train first: scaling sweep results/quickstart/sweep.yaml")
