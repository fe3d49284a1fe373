"""A wrong file is refused with the place, the key and what was meant; all problems at once."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scaling.config.document import MOST_BYTES, parse_document, to_yaml
from scaling.config.expand import expand
from scaling.config.load import load_sweep
from scaling.errors import ConfigError
from tests.headers import read_header


def problems(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_sweep(path, overrides)
    return [problem.replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_a_valid_file_loads(write):
    config = load_sweep(write())
    assert config.name == "small"
    assert config.recommend.memory == 64 * 2**20
    assert config.grid["tokens"] == [100_000, 200_000]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("context: 40", "contxt: 40", "sweep.yaml:7:24: model.contxt: unknown key — did you mean 'context'?"),
        ("[32, 64]", "[32, 65]", "model.width: should be a multiple of 32 — got 65; the nearest are 64 and 96"),
        (
            "[32, 64]",
            "[32, 20]",
            "sweep.yaml:11:21: model.width: should be a multiple of 32 — got 20; the nearest is 32",
        ),
        ("model.width:", "model.widht:", "sweep.yaml:11:3: model.widht: unknown key — did you mean 'width'?"),
        ("rate: 0.2", "rate: 2", "sweep.yaml:12:46: data.teacher.rate: should be less than 1 — got 2"),
        ("kind: noise", "kind: nosie", "sweep.yaml:12:32: data.teacher: got kind: 'nosie' — did you mean 'noise'?"),
        ("context: 40", "context: 64", "sweep.yaml:7:24: model.context: 64 does not fit source w0, which has 40"),
        (
            "kind: w0",
            "kind: w9",
            "sweep.yaml:8:10: data.source: got kind: 'w9' — allowed: pcfg_set, scan, text, w0, w1, w2",
        ),
        ("[100k,", "[abc,", "sweep.yaml:13:12: tokens: got 'abc' — a whole number is needed, such as 64, 1e5 or 10M"),
        (
            "rule: width_power",
            "rule: width_powr",
            "sweep.yaml:15:3: derive.optim.lr: got rule: 'width_powr' — did you mean",
        ),
        (
            "base_width",
            "bas_width",
            "sweep.yaml:15:45: derive.optim.lr.bas_width: unknown key — did you mean 'base_width'?",
        ),
        ("optim.lr:", "model.width:", "sweep.yaml:15:3: derive.model.width: cannot be derived"),
        (
            "64MiB",
            "64MeB",
            "sweep.yaml:16:32: recommend.memory: got '64MeB' — a size is needed, such as 512MiB or 1.5GB",
        ),
        ("grid:", "gird:", "sweep.yaml:10:1: gird: unknown key — did you mean 'grid'?"),
        ("optim: {batch_size: 16", "optim: {batch_size: 0", "sweep.yaml:9:11: optim.batch_size: should be greater"),
        ("context: 40", "context: 40, vocab_size: 64", "64 does not fit source w0, which has 65"),
        (
            "memory: 64MiB}",
            "memory: 64MiB, teacher: {rate: 0.3}}",
            "16:47: recommend.teacher: matches none of the sweep's",
        ),
        ("name: small", "name: a/b", "sweep.yaml:5:1: name: "),
        (
            "n_layers: 2",
            "n_layers: 2, n_layers: 3",
            "sweep.yaml:7:24: base.model.n_layers: written twice; first at sweep.yaml:7:11",
        ),
        ("name: small", "name: [", "not valid YAML"),
        ("name: small", "name: !!python/object:os.system x", "has no meaning here"),
        ("name: small", "name: &a [*a]", "an alias that contains itself"),
    ],
)
def test_a_mistake_is_placed_and_explained(write, old, new, expected):
    found = problems(write((old, new)))
    assert any(expected in problem for problem in found), found


def test_all_problems_come_at_once_in_file_order(write):
    path = write(
        ("context: 40", "contxt: 40"), ("[32, 64]", "[32, 65]"), ("base_width", "bas_width"), ("64MiB", "64MeB")
    )
    lines = [int(problem.split(":")[1]) for problem in problems(path)]
    assert lines == sorted(lines)
    assert set(lines) == {7, 11, 15, 16}


def test_a_problem_shared_by_many_runs_is_said_once(write):
    assert len(problems(write(("batch_size: 16", "batch_size: x")))) == 1


def test_a_missing_file_says_how_to_write_one(tmp_path):
    assert "scaling init" in problems(tmp_path / "none.yaml")[0]


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in problems(path)[0]


def test_aliases_cannot_grow_without_bound(write):
    rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    rows += [f"{y}: &{y} [{', '.join([f'*{x}'] * 9)}]" for x, y in zip("abcdefgh", "bcdefghi", strict=True)]
    assert "once aliases are followed" in problems(write(text="\n".join(rows)))[0]


def test_a_run_field_at_the_top_is_sent_under_base(write):
    assert any("it belongs under base: optim" in p for p in problems(write(("grid:", "optim: {lr: 1}\ngrid:"))))


def test_an_override_is_checked_like_the_file(write):
    assert problems(write(), "model.widht=96") == [
        "--set model.widht=96: model.widht: unknown key — did you mean 'width'?"
    ]
    assert "no key=value" in problems(write(), "model.width")[0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("grid:", "zip: {model.width: [32]}\ngrid:", "12:3: model.width: no run has .* for zip.model.width is applied"),
        (
            "grid:",
            "grid:\n  data.teacher.rate: [.1, .2]",
            "11:3: data.teacher.rate: no run has .* for grid.data.teacher is",
        ),
        (
            "grid:",
            "grid:\n  optim.lr: [1e-3, 2e-3]",
            "11:3: optim.lr: no run has .* for derive.optim.lr is applied after",
        ),
    ],
)
def test_an_axis_that_changes_nothing_is_a_mistake(write, old, new, expected):
    assert any(re.search(expected, problem) for problem in problems(write((old, new))))


def test_an_axis_inside_an_earlier_one_varies_it(write):
    teachers, rates = "[{kind: real}, {kind: noise, rate: 0.2}]", "[{kind: noise}]\n  data.teacher.rate: [.1, .2]"
    config = load_sweep(write((teachers, rates), ("64MiB}", "64MiB, teacher: {rate: 0.1}}")))
    assert {run.data.teacher.rate for run in expand(config)} == {0.1, 0.2}


def test_an_override_reaches_every_section(write):
    config = load_sweep(
        write(), ["recommend.memory=1GiB", "derive.optim.lr.base=1e-3", "seeds=2", "tokens=[1M, 2M, 3M]"]
    )
    assert config.recommend.memory == 2**30
    assert config.derive["optim.lr"].base == 1e-3
    assert config.seeds == [0, 1]
    assert config.grid["tokens"] == [1_000_000, 2_000_000, 3_000_000]


def test_an_included_file_lies_below(write):
    write(name="shared.yaml")
    path = write(text="include: shared.yaml\nname: other\nbase: {optim: {batch_size: 8}}\ngrid: {tokens: [50k]}\n")
    config = load_sweep(path)
    assert config.name == "other"
    assert config.base["optim"] == {"batch_size": 8, "warmup_tokens": 4000}
    assert config.grid["model.width"] == [32, 64]
    assert config.grid["tokens"] == [50_000]


def test_a_mistake_in_an_included_file_names_that_file(write):
    write(("context: 40", "contxt: 40"), name="shared.yaml")
    path = write(text="include: shared.yaml\nname: other\n")
    assert problems(path) == ["shared.yaml:7:24: model.contxt: unknown key — did you mean 'context'?"]


def test_inclusion_goes_one_level(write):
    write(text="include: third.yaml\n", name="shared.yaml")
    found = problems(write(text="include: shared.yaml\nname: other\n"))
    assert found == ["shared.yaml:1:1: include: an included file cannot include another — name both"]


def test_the_header_is_read_over_several_lines(write):
    header = read_header(write(("# COST:     a minute", "# COST:     a minute\n#   on two cores")))
    assert header.cost == "a minute on two cores"
    assert header.command == "scaling run sweep.yaml"


def test_a_header_without_a_question_is_refused(write):
    with pytest.raises(ConfigError, match="QUESTION: missing"):
        read_header(write(("# QUESTION: does width help\n", "")))


def test_a_condition_on_a_key_that_no_run_has_is_a_mistake(write):
    path = write(
        ("grid:", "exclude:\n  - {model.widht: 64}\nwhen:\n  - {match: {model: {widht: 1}}, set: {seed: 1}}\ngrid:")
    )
    assert problems(path) == [
        "sweep.yaml:11:6: exclude[0].model.widht: no run has this key — did you mean 'model.width'?"
    ]


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("other.yaml", f"password: {SECRET}\n"),
        ("other.yaml", f"{SECRET}: [\n"),
        ("other.yaml", f"x: 1\n*{SECRET}\n"),
        ("other.yaml", f"x: !{SECRET} 1\n"),
        ("other.yaml", f"{SECRET}: 1\n{SECRET}: 2\n"),
        ("other.yaml", f"root:*:{SECRET}:0:::\n"),
        ("shadow", f"name: {SECRET}\n"),
    ],
)
def test_what_is_in_an_included_file_that_is_no_sweep_is_not_repeated(write, name, content):
    write(text=content, name=name)
    with pytest.raises(ConfigError, match="include") as caught:
        load_sweep(write(text=f"name: x\ninclude: {name}\n"))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ['"\\0"', "/dev/zero", "/dev/null", ".", "[a]", "3", "a.txt", '"a\\n.yaml"'])
def test_an_include_is_the_name_of_a_sweep_file(write, name):
    with pytest.raises(ConfigError, match=r"sweep\.yaml:2:1: include"):
        load_sweep(write(text=f"name: x\ninclude: {name}\n"))


def test_a_device_behind_a_link_and_a_file_without_end_are_not_read(write, tmp_path):
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    write(text="x" * (MOST_BYTES + 1), name="large.yaml")
    for name, said in (("zero.yaml", "is not a file"), ("large.yaml", "is larger than")):
        with pytest.raises(ConfigError, match=said):
            load_sweep(write(text=f"name: x\ninclude: {name}\n"))
        with pytest.raises(ConfigError, match=said):
            load_sweep(tmp_path / name)


@pytest.mark.parametrize("name", ["runs", "claims", "trunks", "ledger.csv", "schema.json"])
def test_a_sweep_is_not_called_what_the_results_folder_needs_itself(write, name):
    with pytest.raises(ConfigError, match="name the sweep otherwise"):
        load_sweep(write(("name: small", f"name: {name}")))


def test_the_cause_is_told_and_not_what_follows_from_it(write):
    text = "name: x\nbase: {data: {source: {kind: w0}}}\ngird: {model.width: [32], tokens: [10k]}\n"
    assert problems(write(text=text)) == ["sweep.yaml:3:1: gird: unknown key — did you mean 'grid'?"]
    assert "tokens: missing" in str(problems(write(text=text.replace("gird: {model.width: [32], tokens: [10k]}", ""))))


@pytest.mark.parametrize("value", ["a:b:3", "a:1:2", "::1", "a:²:3", "x:1:²"])
@pytest.mark.parametrize("key", ["tokens", "model.width", "data.source.corpus"])
def test_a_value_of_an_override_that_looks_like_a_place_in_a_file_is_a_problem_like_any_other(write, key, value):
    found = problems(write(), f"{key}={value}", "model.colour=1")
    assert any(f"{key}={value}" in problem for problem in found), found


@pytest.mark.parametrize("section", ["grid", "set", "derive"])
@pytest.mark.parametrize("held", ["5", "text", "[1]", "true"])
def test_an_override_into_a_section_that_is_no_mapping_says_so(write, tmp_path, section, held):
    path = tmp_path / "odd.yaml"
    path.write_text(f"name: odd\nbase: {{model: {{width: 32}}, data: {{source: {{kind: w0}}}}}}\n{section}: {held}\n")
    found = problems(path, f"{section}.tokens=[1,2]")
    assert "leads through a value that is not a mapping" in found[0]


@given(
    st.dictionaries(
        st.text("ab.", min_size=1, max_size=4),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**60), 2**60)
            | st.floats(allow_nan=False)
            | st.text(max_size=8)
            | st.text("0123456789kKMBGTxeE._-+on%# :", max_size=6)
            | st.sampled_from(["100k", "1e5", "1e-3", "0o7", "0x1F", "on", "yes", "~", "", "True", ".inf", "1_0"]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=3),
            max_leaves=6,
        ),
        min_size=1,
        max_size=4,
    )
)
@example({"a": "\x85"})
@example({"a": "one\u2028two\u2029three\r\nfour\t"})
def test_values_that_are_written_as_a_file_read_back_as_they_were(values):
    assert parse_document(to_yaml(values), "written").values == values
