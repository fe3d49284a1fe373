"""What `scaling init` writes is a valid sweep, and the schema describes what the loader accepts."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaling.cli import app
from scaling.config.expand import expand
from scaling.config.load import load_sweep
from scaling.config.paths import run_paths
from scaling.config.template import json_schema, write_template
from scaling.errors import ConfigError, DataError, RecordError
from tests.headers import read_header

SWEEPS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))


def test_the_template_is_a_valid_sweep_named_after_its_file(tmp_path):
    path = write_template(tmp_path / "mine.yaml")
    config = load_sweep(path)
    assert config.name == "mine"
    assert len(expand(config)) == 36
    assert read_header(path).command == "scaling run mine.yaml"


def test_a_file_that_exists_is_not_overwritten(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="exists already"):
        write_template(path)
    assert path.read_text() == "precious"


def test_every_commented_section_of_the_template_is_valid_too(tmp_path):
    path = write_template(tmp_path / "all.yaml")
    lines = path.read_text().splitlines()
    opened = [
        line.removeprefix("# ")
        if line.startswith(("# zip", "# list", "# when", "# exclude", "# seeds", "#   "))
        else line
        for line in lines
    ]
    path.write_text("\n".join(opened) + "\n")
    config = load_sweep(path)
    assert config.lockstep
    assert config.points
    assert config.when
    assert config.exclude
    assert config.seeds == [0, 1, 2]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_every_sweep_of_the_project_opens_with_its_question_command_cost_and_expectation(path):
    assert path.name in read_header(path).command
    assert load_sweep(path).name == path.stem


def test_every_path_of_the_schema_is_one_that_a_grid_takes():
    paths = run_paths()
    assert {"model.width", "data.teacher.rate", "data.source.tokenizer.vocab_size", "optim.lr", "tokens"} <= set(paths)
    assert not any(path.startswith("schema_version") for path in paths)
    assert len(paths) == len(set(paths))


def test_the_schema_resolves_all_its_references_and_requires_nothing_inside_a_run():
    schema = json_schema()
    names = set(schema["$defs"])

    def check(part):
        if isinstance(part, dict):
            reference = part.get("$ref", "")
            assert not reference or reference.removeprefix("#/$defs/") in names
            for value in part.values():
                check(value)
        elif isinstance(part, list):
            for value in part:
                check(value)

    check(schema)
    assert "required" not in schema["$defs"]["Run"]
    assert "required" not in schema["$defs"]["ModelSpec"]
    assert schema["required"] == ["name"]


@pytest.mark.parametrize("name", ["runs", "Runs", "two words"])
def test_no_sweep_is_begun_under_a_name_that_it_may_not_have(tmp_path, name):
    with pytest.raises(RecordError, match="name"):
        write_template(tmp_path / f"{name}.yaml")
    assert not list(tmp_path.iterdir())


def texts(folder: Path, n_bytes: int) -> str:
    """Twenty files of words; the glob that names them."""
    folder.mkdir()
    for number in range(20):
        # A word and its space have three bytes at least.
        words = " ".join(f"w{number * k % 997}" for k in range(n_bytes // 60 + 1))
        (folder / f"{number}.txt").write_text(words[: n_bytes // 20])
    return str(folder / "*.txt")


@pytest.mark.parametrize(("n_bytes", "longest"), [(3_600_000, 1_000_000), (2_700_000, 800_000), (400_000, 120_000)])
def test_a_sweep_of_own_files_reads_them_once_and_asks_for_what_real_text_reaches(tmp_path, n_bytes, longest):
    pattern = texts(tmp_path / 'my "texts"', n_bytes)
    path = write_template(tmp_path / "own.yaml", text=pattern)
    config = load_sweep(path)
    runs = expand(config)
    assert {run.data.source.corpus for run in runs} == {pattern}
    assert max(run.tokens for run in runs) == pytest.approx(longest, rel=0.1)
    assert len(runs) == 24
    # Of a factor of less than 4, and of more in one training, `plan` warns: whole steps and thousands allow for 2 %.
    volumes = [run.n_tokens for run in runs]
    assert max(volumes) / min(volumes) == pytest.approx(4, rel=0.019)
    assert config.recommend.target.like.width == 64
    assert read_header(path).command == "scaling run own.yaml"


def test_a_sweep_of_files_that_are_not_there_or_hold_too_little_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(DataError, match="no file matches"):
        write_template(tmp_path / "own.yaml", text=str(tmp_path / "*.txt"))
    with pytest.raises(DataError, match="a sweep needs 60,000"):
        write_template(tmp_path / "own.yaml", text=texts(tmp_path / "few", 40_000))
    assert not (tmp_path / "own.yaml").exists()


def test_bytes_that_are_no_utf8_are_kept_where_init_is_told_so(tmp_path):
    pattern = texts(tmp_path / "latin", 400_000)
    odd = tmp_path / "latin" / "0.txt"
    odd.write_bytes(b"caf\xe9 " + odd.read_bytes())
    with pytest.raises(DataError, match=r"scaling init … --keep-non-utf8"):
        write_template(tmp_path / "own.yaml", text=pattern)
    runs = expand(load_sweep(write_template(tmp_path / "own.yaml", text=pattern, non_utf8="keep")))
    assert {run.data.source.non_utf8 for run in runs} == {"keep"}


def test_what_a_refusal_tells_to_type_the_command_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts(tmp_path / "latin", 400_000)
    (tmp_path / "latin" / "0.txt").write_bytes(b"caf\xe9 " * 9000)
    init = ["init", "own.yaml", "--text", "latin/*.txt"]
    assert "--keep-non-utf8" in str(CliRunner().invoke(app, init).exception)
    assert CliRunner().invoke(app, [*init, "--keep-non-utf8"]).exit_code == 0
    refused = CliRunner().invoke(app, ["init", "other.yaml", "--keep-non-utf8"])
    assert "--keep-non-utf8: has no effect" in str(refused.exception)
    assert not (tmp_path / "other.yaml").exists()


@pytest.mark.parametrize(
    ("sizes", "advice"), [((40_000,) * 3, "add files"), ((1_000, 100_000, 200_000), "cut them into more files")]
)
def test_too_little_to_learn_from_is_said_with_how_much_of_it_is_held_out(sizes, advice, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "scaling.config.template.FEWEST_TEXT_TOKENS", max(sizes) // 4 if len(set(sizes)) > 1 else 60_000
    )
    for salt in range(50):  # whichever file's hash is lowest is held out: here the largest
        folder = tmp_path / str(salt)
        folder.mkdir()
        for number, n_bytes in enumerate(sizes):
            words = " ".join(f"{salt}w{number}x{i}" for i in range(n_bytes // 5))
            (folder / f"{number}.txt").write_text(words[:n_bytes].ljust(n_bytes, "."))
        try:
            write_template(tmp_path / f"{salt}.yaml", text=str(folder / "*.txt"))
        except DataError as error:
            said = str(error)
            break
    total = sum(sizes)
    held = max(sizes)
    assert "1 of 3 documents" in said
    assert f"{int((total - held) / 3):,} tokens to learn from" in said
    assert f"{int(held / 3):,} of " in said
    assert "held out for evaluation" in said
    assert advice in said
