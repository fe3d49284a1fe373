"""A sweep expands into exactly the runs that its sections describe."""

import pytest

from scaling.accounting import count_parameters, training_flops
from scaling.config.expand import expand, matches, recommended_text
from scaling.config.load import load_sweep, open_sweep
from scaling.config.sweep import SweepConfig
from scaling.errors import ConfigError
from scaling.spec import TextSource

BASE = {"model": {"width": 32, "context": 40}, "data": {"source": {"kind": "w0"}}, "tokens": 100_000}


def runs(**sections):
    return expand(SweepConfig.model_validate({"name": "x", "base": BASE, **sections}))


def test_a_grid_is_the_product_of_its_axes_in_file_order(write):
    cells = [(r.model.width, r.data.teacher.label, r.tokens) for r in expand(load_sweep(write()))]
    expected = [(w, t, d) for w in (32, 64) for t in ("real", "noise 0.2") for d in (100_000, 200_000)]
    assert cells == expected


def test_zipped_axes_move_together():
    cells = [
        (r.model.width, r.optim.batch_size, r.tokens)
        for r in runs(zip={"model.width": [32, 64], "optim.batch_size": [8, 16]}, grid={"tokens": [1000, 2000]})
    ]
    assert cells == [(32, 8, 1000), (64, 16, 1000), (32, 8, 2000), (64, 16, 2000)]


def test_zipped_axes_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="equal lengths"):
        SweepConfig.model_validate({"name": "x", "zip": {"a": [1], "b": [1, 2]}})


def test_a_list_alone_replaces_the_product_and_beside_a_grid_adds_to_it():
    point = {"model.width": 96}
    assert [r.model.width for r in runs(list=[point])] == [96]
    assert [r.model.width for r in runs(list=[point], grid={"model.width": [32, 64]})] == [32, 64, 96]


def test_equal_runs_are_joined():
    assert len(runs(grid={"model.width": [32, 32]}, list=[{}])) == 1


def test_seeds_repeat_weights_and_data():
    assert [(r.seed, r.data.seed) for r in runs(seeds=3)] == [(0, 0), (1, 1), (2, 2)]
    assert [r.seed for r in runs(seeds=[7])] == [7]


def test_when_adds_values_to_the_runs_that_match():
    grid = {"model.width": [32, 64, 96]}
    when = [{"match": {"model.width": {"min": 64}}, "set": {"optim.batch_size": 4}}]
    assert [r.optim.batch_size for r in runs(grid=grid, when=when)] == [16, 4, 4]


def test_conditions_see_defaults():
    when = [{"match": {"data.teacher.kind": "real"}, "set": {"optim.batch_size": 4}}]
    assert [r.optim.batch_size for r in runs(when=when)] == [4]


def test_exclude_removes_runs_and_may_not_remove_all():
    grid = {"model.width": [32, 64], "seed": [0, 1]}
    kept = runs(grid=grid, exclude=[{"model.width": 64, "seed": [1, 2]}])
    assert [(r.model.width, r.seed) for r in kept] == [(32, 0), (32, 1), (64, 0)]
    with pytest.raises(ConfigError, match="every run is excluded"):
        runs(exclude=[{"model.width": 32}])


def test_twenty_x_is_twenty_tokens_per_parameter():
    (run,) = runs(set={"tokens": "20x"})
    assert run.tokens == 20 * count_parameters(run.model).n_params


def test_a_budget_buys_as_many_tokens_as_its_flops():
    for run in runs(grid={"model.width": [32, 128], "tokens": [{"rule": "flops_budget", "flops": 1e12}]}):
        assert training_flops(run.model, run.tokens) == pytest.approx(1e12, rel=1e-4)


def test_a_learning_rate_follows_the_width():
    rule = {"rule": "width_power", "base": 6e-3, "base_width": 32, "power": 0.5}
    narrow, wide = runs(grid={"model.width": [32, 128]}, derive={"optim.lr": rule})
    assert narrow.optim.lr == 6e-3
    assert wide.optim.lr == 3e-3


def test_an_override_beats_a_rule_and_a_rule_beats_the_grid(write):
    rule = {"rule": "width_power", "base": 6e-3, "base_width": 32, "power": 0.5}
    (derived,) = runs(grid={"optim.lr": [1e-2]}, derive={"optim.lr": rule})
    (overridden,) = runs(grid={"optim.lr": [1e-2]}, derive={"optim.lr": rule}, set={"optim.lr": 1e-4})
    assert (derived.optim.lr, overridden.optim.lr) == (6e-3, 1e-4)
    assert {run.optim.lr for run in expand(load_sweep(write(), ["optim.lr=1e-4"]))} == {1e-4}


def test_a_teacher_replaces_a_teacher_whole():
    base = {**BASE, "data": {"source": {"kind": "w0"}, "teacher": {"kind": "noise", "rate": 0.1}}}
    real, noisy = runs(base=base, grid={"data.teacher": [{"kind": "real"}, {"kind": "noise", "rate": 0.3}]})
    assert real.data.teacher.label == "real"
    assert noisy.data.teacher.label == "noise 0.3"


TEACHER = {"kind": "trained", "run": {"model": {"width": 128, "context": 64}, "tokens": "20x"}}
SPEECHES = {
    "model": {"width": 32, "context": 64},
    "data": {"source": {"kind": "text", "tokenizer": {"vocab_size": 512}}},
    "tokens": 10_000,
}


def text_runs(**sections):
    config = SweepConfig.model_validate({"name": "x", "base": SPEECHES, **sections})
    return config, expand(config, fingerprint=lambda source: f"hash of {source.corpus}")


def test_text_takes_its_vocabulary_from_the_tokenizer_and_its_fingerprint_from_the_corpus():
    _, (run,) = text_runs()
    assert run.model.vocab_size == 512
    assert run.data.source.fingerprint == "hash of sotu"


def test_a_trained_teacher_is_a_run_on_the_same_source():
    config, (real, taught) = text_runs(
        grid={"data.teacher": [{"kind": "real"}, TEACHER]}, recommend={"target_loss": 4, "memory": "1GB"}
    )
    teacher = taught.data.teacher.run
    assert teacher.data.source == real.data.source
    assert teacher.data.teacher.kind == "real"
    assert teacher.model.vocab_size == 512
    assert teacher.tokens == 20 * count_parameters(teacher.model).n_params
    assert recommended_text(config, [real, taught]) == taught.data


def test_a_start_is_like_its_student_in_what_it_does_not_say_itself():
    start = {"data": {"source": {"kind": "w1", "n_symbols": 64, "context": 40}}, "tokens": "2x"}
    fresh, *continued = runs(
        grid={"start_from": [None, start | {"optim": {"batch_size": 4}}], "model.width": [32, 64]},
        derive={"optim.lr": {"rule": "width_power", "base": 8e-3, "base_width": 32, "power": 1.0}},
        seeds=[3],
    )[1:]
    assert fresh.start_from is None
    for run in continued:
        first = run.start_from
        assert (first.model, first.evaluation) == (run.model, run.evaluation)
        assert (first.optim.lr, first.optim.batch_size, first.seed) == (run.optim.lr, 4, 0)
        assert first.tokens == 2 * count_parameters(run.model).n_params
    assert [run.optim.lr for run in continued] == [8e-3, 4e-3]


def test_a_start_of_another_vocabulary_is_a_mistake_in_the_file(write):
    start = "start_from: [{data: {source: {kind: w1, context: 40}}, tokens: 1M}]"
    path = write(("tokens: [100k, 200k]", f"tokens: [100k, 200k]\n  {start}"))
    with pytest.raises(ConfigError, match=r"yaml:14:\d+: start_from: it has the vocabulary of w1 \(257 tokens\)"):
        load_sweep(path)


def test_a_corpus_of_another_edition_is_another_run():
    config = SweepConfig.model_validate({"name": "x", "base": SPEECHES})
    first, second = (expand(config, fingerprint=lambda _, edition=e: edition)[0] for e in "ab")
    assert isinstance(first.data.source, TextSource)
    assert first.run_id != second.run_id


def test_a_corpus_that_many_runs_read_is_hashed_once():
    asked = []
    config = SweepConfig.model_validate({"name": "x", "base": SPEECHES, "grid": {"model.width": [32, 64, 96]}})
    expand(config, fingerprint=lambda source: asked.append(source.corpus) or "hash")
    assert asked == ["sotu"]


def test_a_sweep_too_large_is_taken_for_a_mistake_before_it_is_built():
    axis = list(range(1000))
    with pytest.raises(ConfigError, match=r"expands to 1,000,000,000 runs, more than the limit of 1,000 .* max_runs"):
        runs(grid={"seed": axis, "data.seed": axis, "tokens": [n + 1 for n in axis]})


def test_a_path_through_a_plain_value_is_refused():
    with pytest.raises(ConfigError, match="leads through 5, not a mapping"):
        runs(base={**BASE, "model": 5}, grid={"model.width": [32]})


@pytest.mark.parametrize(
    ("value", "wanted", "answer"),
    [
        (3, [1, 3], True),
        (3, {"min": 1, "max": 2}, False),
        (3, {"min": 3}, True),
        (None, {"min": 3}, False),
        (True, 1, False),
        (True, True, True),
        ({"kind": "noise", "rate": 0.2}, {"rate": 0.2}, True),
        ({"kind": "noise"}, {"kind": "real"}, False),
    ],
)
def test_conditions_match_what_they_say(value, wanted, answer):
    assert matches(value, wanted) is answer


@pytest.mark.parametrize(("source", "context", "vocabulary"), [("w0", 40, 65), ("w1", 64, 257), ("w2", 16, 17)])
def test_a_model_takes_vocabulary_and_context_from_its_world(source, context, vocabulary):
    (run,) = runs(base={"model": {"width": 32}, "data": {"source": {"kind": source}}, "tokens": 1000})
    assert (run.model.context, run.model.vocab_size) == (context, vocabulary)


@pytest.mark.parametrize("empty", ["zip: {}", "zip: [{}]", "zip: []", "zip: [{}, {seed: [0, 1]}]"])
@pytest.mark.parametrize("rest", ["", "grid: {model.width: [32, 64]}", "list: [{model.width: 64}]"])
def test_a_zip_without_axes_takes_no_run_away(tmp_path, empty, rest):
    def runs(text):
        path = tmp_path / "sweep.yaml"
        base = "model: {width: 32}, data: {source: {kind: w0}}, tokens: 100k"
        path.write_text(f"name: s\nbase: {{{base}}}\n{text}\n")
        return open_sweep(path).runs

    assert runs(f"{empty}\n{rest}") == runs(f"{empty.replace('{}, ', '') if 'seed' in empty else ''}\n{rest}")


@pytest.mark.parametrize("tokens", [[100_000, 100_100], [100_100, 100_000], [1, 2, 3], [640, 1280, 1281, 641]])
def test_volumes_that_are_the_same_steps_are_one_run_as_it_was_written_first(tmp_path, tokens):
    path = tmp_path / "sweep.yaml"
    base = "model: {width: 32}, data: {source: {kind: w0}}"
    path.write_text(f"name: s\nbase: {{{base}}}\ngrid: {{tokens: {tokens}, seed: [0, 1]}}\n")
    runs = open_sweep(path).runs
    assert len({(run.seed, run.n_tokens) for run in runs}) == len(runs) == 2 * len({run.steps for run in runs})
    assert runs[0].tokens == tokens[0]
