"""A plan prices a sweep exactly where it can, and says what is likely to spoil it."""

import subprocess
import sys
from dataclasses import replace

import pytest
from quick_trainer import QuickTrainer

from scaling.accounting import count_parameters, forward_flops, training_bytes
from scaling.data.shards import Card, Shard, write_card
from scaling.data.text import teacher_text_dir
from scaling.errors import RecordError
from scaling.files import make_folder, write_json
from scaling.predict.cost import training_cost
from scaling.predict.recommend.family import within_flops
from scaling.records import Outcome, RunRecord
from scaling.records.compute import paid_flops, writing_flops
from scaling.spec import RunSpec
from scaling.sweep.pace import Pace, calibrate, known_pace, shape_of, step_flops
from scaling.sweep.plan import plan
from scaling.sweep.run import longest_first, run
from scaling.sweep.trunks import group
from scaling.sweep.warnings import edge_warning, warnings_for


def test_runs_that_differ_in_tokens_alone_share_a_trunk(grid):
    trunks = group(grid)
    assert [len(trunk.specs) for trunk in trunks] == [3, 3]
    assert all(spec.trunk_id == trunk.trunk_id for trunk in trunks for spec in trunk.specs)


def test_a_trunk_costs_its_shared_part_once_and_every_cooldown(grid):
    trunk = group(grid)[0]
    # 10, 20 and 40 steps, a fifth of each a cooldown: 32 shared steps and 2 + 4 + 8 more.
    assert trunk.steps == 32 + 2 + 4 + 8
    assert trunk.flops == 3 * forward_flops(grid[0].model) * trunk.steps * 640


def test_a_trunk_of_one_run_costs_what_the_run_costs(make_spec, store):
    made = plan([make_spec()], store)
    assert made.flops == made.runs[0].flops


def test_teachers_of_teachers_come_first(make_spec):
    source = {"kind": "text", "corpus": "none", "tokenizer": {"kind": "bytes"}}

    def taught_by(teacher, width):
        data = {"source": source} | ({"teacher": {"kind": "trained", "run": teacher}} if teacher else {})
        return {"model": {"vocab_size": 257, "width": width, "context": 40}, "data": data, "tokens": 6400}

    grandparent = taught_by(None, 128)
    parent = taught_by(grandparent, 64)
    child = RunSpec.model_validate(taught_by(parent, 32))
    trunks = group([child])
    assert [trunk.specs[0].model.width for trunk in trunks] == [128, 64, 32]
    assert [trunk.role for trunk in trunks] == ["teacher", "teacher", "student"]
    assert trunks[2].needs == trunks[1].run_ids
    assert [trunk.specs[0].model.width for trunk in longest_first(trunks)] == [128, 64, 32]


def test_what_students_start_from_comes_first_and_is_no_run_of_the_sweep(make_spec, store):
    start, other = make_spec(seed=1), make_spec(seed=2)
    going_on = [make_spec(tokens=steps * 640).model_copy(update={"start_from": start}) for steps in (10, 20)]
    chained = make_spec().model_copy(update={"start_from": going_on[0].model_copy(update={"start_from": other})})
    trunks = group([*going_on, chained])
    assert [(trunk.role, trunk.needs) for trunk in trunks] == [
        ("start", ()),
        ("start", ()),
        ("student", (start.run_id,)),
        ("start", (other.run_id,)),
        ("student", (chained.start_from.run_id,)),
    ]
    outcome = run(plan([*going_on, chained], store), store, trainer=QuickTrainer())
    assert (outcome.exit_code, outcome.counts["done"]) == (0, 6)


def test_several_workers_begin_with_the_longest_trunk(make_spec):
    trunks = longest_first(group([make_spec(32), make_spec(128), make_spec(64)]))
    assert [trunk.specs[0].model.width for trunk in trunks] == [128, 64, 32]


def test_finished_runs_cost_nothing_more(grid, store):
    before = plan(grid, store)
    run(plan(grid[:3], store), store, trainer=QuickTrainer())
    after = plan(grid, store)
    assert after.counts() == {"new": 3, "done": 3, "diverged": 0, "failed": 0, "damaged": 0}
    assert after.flops == before.flops - group(grid)[0].flops
    assert after.flops + after.flops_done == before.flops
    assert [trunk.trunk_id for trunk in after.pending] == [grid[3].trunk_id]


def test_the_plan_of_a_results_folder_that_does_not_exist_makes_none(grid, store):
    plan(grid, store)
    assert not store.root.exists()


def steady(specs, step_s: float, **others) -> Pace:
    """A pace at which every step takes as long; by default nothing else takes time."""
    costs = {"compile_s": 0.0, "start_s": 0.0} | others
    return Pace(step_s={shape_of(spec): step_s for spec in specs}, source="calibrated", **costs)


def evaluations_s(specs, step_s: float = 1.0) -> float:
    """A token that is measured on costs a third of one that is learned from."""
    return sum(step_s / 3 * spec.evaluation.tokens / spec.step_tokens for spec in specs)


def test_wall_time_is_bounded_by_the_longest_trunk(grid, store):
    made, measuring = plan(grid, store, pace=steady(grid, 1.0)), evaluations_s(grid)
    assert made.seconds(1) == pytest.approx(92 + measuring)
    assert made.seconds(2) == pytest.approx(46 + measuring / 2)
    assert made.seconds(100) == pytest.approx(46 + measuring / 2)


def test_every_worker_starts_and_compiles_each_shape_that_it_meets(grid, store):
    trained = plan(grid, store, pace=steady(grid, 1.0)).seconds(2)
    made = plan(grid, store, pace=steady(grid, 1.0, compile_s=10.0, start_s=3.0))
    # Two shapes of one trunk each: two workers compile one each.
    assert made.seconds(1) == pytest.approx(2 * trained + 2 * 10 + 3)
    assert made.seconds(2) == pytest.approx(trained + 10 + 3)


def test_students_wait_for_their_teacher_and_its_text(make_spec, store):
    source = {"kind": "text", "corpus": "none", "tokenizer": {"kind": "bytes"}}
    teacher = {"model": {"vocab_size": 257, "width": 64, "context": 40}, "data": {"source": source}, "tokens": 6400}
    student = RunSpec.model_validate(
        {
            "model": {"vocab_size": 257, "width": 32, "context": 40},
            "data": {"source": source, "teacher": {"kind": "trained", "run": teacher}},
            "tokens": 6400,
        }
    )
    teacher = RunSpec.model_validate(teacher)
    pace = steady([student, teacher], 1.0)
    made, text = plan([student], store, pace=pace), pace.generation_s(student, 6400 + student.evaluation.tokens)
    assert text > 10
    chain = teacher.steps + student.steps + evaluations_s([teacher]) + 2 * evaluations_s([student]) + text
    assert made.seconds(1) == made.seconds(8) == pytest.approx(chain)


def taught_by_a_network(tokens: int = 6400, **recipe) -> RunSpec:
    """A student of speeches that a wider student writes, with a recipe."""
    source = {"kind": "text", "corpus": "none", "tokenizer": {"kind": "bytes"}}
    teacher = {"model": {"vocab_size": 257, "width": 64, "context": 40}, "data": {"source": source}, "tokens": 6400}
    data = {"source": source, "teacher": {"kind": "trained", "run": teacher}}
    model = {"vocab_size": 257, "width": 32, "context": 40}
    return RunSpec.model_validate({"model": model, "data": data, "tokens": tokens} | {"distill": recipe or None})


@pytest.mark.parametrize(("recipe", "passes"), [({}, 1), ({"kind": "soft"}, 2), ({"kind": "on_policy"}, 2)])
def test_plan_record_and_recommendation_count_the_same_work_of_student_and_teacher(store, recipe, passes):
    spec = taught_by_a_network(**recipe)
    made = plan([spec], store)
    teacher, student = (run.row() for run in made.runs)
    row = RunRecord(spec=spec, outcome=Outcome(status="done", loss=1.0)).row()
    assert {name: student[name] for name in ("flops", "teacher_flops")} == {
        name: row[name] for name in ("flops", "teacher_flops")
    }
    assert student["teacher_flops"] == passes * forward_flops(spec.data.teacher.run.model) * 6400
    assert teacher["teacher_flops"] is None
    told = training_cost(spec)
    assert (told.flops, told.teacher_flops) == (student["flops"], student["teacher_flops"])
    assert training_cost(spec.data.teacher.run).teacher_flops == 0
    assert made.flops == pytest.approx(teacher["flops"] + student["flops"] + student["teacher_flops"])
    assert paid_flops(spec) == student["flops"] + student["teacher_flops"]


@pytest.mark.parametrize("recipe", [{}, {"kind": "soft"}])
def test_the_flops_that_a_question_allows_pay_for_the_teacher_too(recipe):
    run = taught_by_a_network(64_000, **recipe)
    allowed = 0.6 * paid_flops(run)
    kept = within_flops(run, allowed)
    assert paid_flops(kept) <= allowed < paid_flops(kept.model_copy(update={"tokens": kept.tokens + run.step_tokens}))
    assert within_flops(run, paid_flops(run)) == run


def test_a_text_is_written_once_for_all_who_read_it(store):
    long, other = taught_by_a_network(), taught_by_a_network().model_copy(update={"seed": 1})
    more = plan([long, other], store).flops - plan([long], store).flops
    assert more == pytest.approx(3 * forward_flops(other.model) * other.n_tokens)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_text_that_is_written_already_costs_nothing_more(store, share):
    spec = taught_by_a_network()
    before, wanted = plan([spec], store), round(share * spec.n_tokens)
    folder = teacher_text_dir(store, spec.data, seed=spec.data.seed, split="train", context=spec.model.context)
    card = Card(text="teacher", split="train", source="none", vocab_size=257, tokenizer="t", eos_id=256)
    make_folder(folder)
    write_card(folder, replace(card, shards=(Shard(file="shard-00000.bin", tokens=wanted, blake2b="0" * 32),)))
    after = plan([spec], store)
    assert before.flops - after.flops == pytest.approx(share * writing_flops(spec))
    assert after.flops_done == pytest.approx(share * writing_flops(spec))
    spared = before.pace.generation_s(spec, wanted)
    assert before.seconds() - after.seconds() == pytest.approx(spared)


def test_a_step_that_looks_into_the_teacher_takes_its_pass_too(store):
    plain, soft = taught_by_a_network(), taught_by_a_network(kind="soft")
    store.prepare()
    pace = calibrate([soft], store, lambda spec, steps: 0.5 * steps)
    assert pace.seconds(plain, 10) == pytest.approx(5)
    more = 1 + forward_flops(soft.data.teacher.run.model) / (3 * forward_flops(soft.model))
    assert pace.seconds(soft, 10) == pytest.approx(5 * more)
    made = [plan([one], store, pace=pace) for one in (plain, soft)]
    assert made[1].seconds() - made[0].seconds() > 0.9 * (more - 1) * 0.5 * soft.steps
    assert made[1].kwh() > made[0].kwh()


def test_a_world_s_teachers_write_at_no_cost(make_spec):
    assert steady([make_spec()], 1.0).generation_s(make_spec(), 10**6) == 0


def test_a_first_estimate_names_its_basis_and_is_a_range(grid, store):
    made = plan(grid, store)
    low, high = made.seconds_range(2)
    assert low < made.seconds(2) < high
    assert "a guess before any run here" in made.to_json()["pace"]["basis"]
    assert "--calibrate" in made.pace.basis


def test_energy_is_power_times_time(grid, store):
    made = plan(grid, store, pace=steady(grid, 3600 / (92 + evaluations_s(grid))))
    assert made.kwh(watts=50) == pytest.approx(0.05)


def test_carbon_and_memory_of_a_plan_follow_the_settings_and_the_largest_student(grid, store, monkeypatch):
    monkeypatch.setenv("SCALING_PUE", "1.5")
    monkeypatch.setenv("SCALING_KG_PER_KWH", "0.1")
    made = plan(grid, store)
    assert made.kwh() == pytest.approx(1.5 * 12 * made.seconds() / 3.6e6)
    assert made.co2e_kg() == pytest.approx(0.1 * made.kwh())
    assert made.step_bytes == training_bytes(grid[-1].model, grid[-1].optim.batch_size).total


def test_a_calibration_is_kept_and_wins_over_earlier_runs(grid, store):
    timed = []

    def time_steps(spec, steps):
        timed.append(spec.model.width)
        return 0.3 * steps

    store.prepare().commit(RunRecord(spec=grid[0], outcome=Outcome(status="done", loss=1.0, tokens_per_s=640.0)))
    pace = calibrate(grid, store, time_steps)
    assert sorted(timed) == [32, 64]
    assert pace.seconds(grid[0], 10) == pytest.approx(3)
    assert known_pace(grid, store) == pace
    assert pace.source == "calibrated"


@pytest.mark.parametrize("part", ["host", "device"])
def test_what_was_timed_on_another_machine_says_nothing_of_this_one(grid, store, monkeypatch, part):
    calibrate(grid, store.prepare(), lambda spec, steps: 0.3 * steps)
    here = {"host": ("platform.node", lambda: "another"), "device": ("os.sched_getaffinity", lambda _: range(99))}
    monkeypatch.setattr(*here[part])
    assert known_pace(grid, store).source == "guess"
    # Both keep what they timed.
    assert calibrate(grid, store, lambda spec, steps: 0.6 * steps).seconds(grid[0], 10) == pytest.approx(6)
    monkeypatch.undo()
    assert known_pace(grid, store).seconds(grid[0], 10) == pytest.approx(3)


def test_a_plan_is_calibrated_only_where_all_shapes_that_are_left_were_timed(make_spec, store):
    timed, other = make_spec(32), make_spec(64)
    calibrate([timed], store.prepare(), lambda spec, steps: 0.3 * steps)
    assert plan([timed], store).pace.source == "calibrated"
    mixed = plan([timed, other], store)
    assert (mixed.pace.source, "other shapes" in mixed.pace.basis) == ("guess", True)
    low, high = mixed.seconds_range()
    assert low < mixed.seconds() < high
    store.commit(RunRecord(spec=other, outcome=Outcome(status="done", loss=1.0)))
    assert plan([timed, other], store).pace.source == "calibrated"


def test_a_calibration_of_before_that_does_not_say_where_is_none(grid, store):
    write_json(store.prepare().root / "calibration.json", {"step_s": {shape_of(grid[0]): 1.0}})
    assert known_pace(grid, store).source == "guess"
    assert calibrate(grid, store, lambda spec, steps: 0.3 * steps).source == "calibrated"


@pytest.mark.parametrize(
    "content",
    [b"{}", b"[1]", b"1", b"\xff", b"", b'{"timed": 1}', b'{"timed": [1]}', b'{"timed": [{"shape": "a"}]}']
    + [b'{"timed": [{"shape": "a", "machine": {}, "step_s": %s}]}' % value for value in (b'"1"', b"true", b"-1")],
)
def test_a_damaged_calibration_is_named(grid, store, content):
    (store.prepare().root / "calibration.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"calibration.json: .*damaged, .*move it away"):
        plan(grid, store)


def test_a_record_that_is_set_aside_while_paces_are_looked_up_is_passed_over(grid, store, monkeypatch):
    outcome = Outcome(status="done", loss=1.0, tokens_per_s=640.0)
    for spec in grid[:3]:
        store.prepare().commit(RunRecord(spec=spec, outcome=outcome))
    listed = list(store.root.glob("runs/*/result.json"))
    monkeypatch.setattr("pathlib.Path.glob", lambda *_: listed)
    store.set_aside(grid[1].run_id)
    assert known_pace(grid, store).n_runs == 2


@pytest.mark.parametrize(("visible", "watts"), [("0", 330), ("0,1", 330), ("-1", 12)])
def test_the_energy_of_a_plan_is_that_of_the_accelerator_that_trains(grid, store, monkeypatch, visible, watts):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    made = plan(grid, store)
    assert made.kwh() == pytest.approx(watts * made.seconds() / 3.6e6)


def test_earlier_runs_set_the_pace_of_their_shape_and_scale_to_others(make_spec, store):
    store.prepare()
    seen, other = make_spec(32), make_spec(64)
    outcome = Outcome(status="done", loss=1.0, tokens_per_s=6400.0)
    store.commit(RunRecord(spec=seen, outcome=outcome))
    pace = known_pace([seen, other], store)
    assert pace.source == "earlier runs"
    assert known_pace([other], store).n_runs == 1
    assert pace.seconds(seen, 1) == pytest.approx(0.1)
    ratio = forward_flops(other.model) / forward_flops(seen.model)
    assert pace.seconds(other, 1) == pytest.approx(0.1 * ratio)
    assert known_pace([other], store).seconds(other, 1) == pytest.approx(0.1 * ratio)


def test_a_shape_that_is_not_known_takes_its_flops_at_the_rate_of_the_nearest_one(make_spec):
    small, large, asked = make_spec(32), make_spec(256), make_spec(192)
    flops = {shape_of(spec): step_flops(spec) for spec in (small, large)}
    pace = Pace(step_s={shape_of(small): 1.0, shape_of(large): 2.0}, flops=flops, source="earlier runs")
    assert pace.seconds(asked, 1) == pytest.approx(2.0 * step_flops(asked) / step_flops(large))


def test_the_median_run_of_a_shape_sets_its_pace_and_first_branches_tell_what_compiling_takes(make_spec, store):
    store.prepare()
    for tokens, step_s, compile_s in ((6400, 0.1, 9.0), (7040, 0.4, 0.01), (7680, 0.2, 5.0)):
        outcome = Outcome(status="done", loss=1.0, tokens_per_s=640 / step_s, compile_s=compile_s)
        store.commit(RunRecord(spec=make_spec(32, tokens), outcome=outcome))
    pace = known_pace([], store)
    assert pace.seconds(make_spec(32), 1) == pytest.approx(0.2)
    assert pace.compile_s == 7.0
    assert "3 runs" in pace.basis


def test_runs_of_another_machine_say_nothing_of_this_one(make_spec, store):
    outcome = Outcome(status="done", loss=1.0, tokens_per_s=1.0, env={"host": "another"})
    store.prepare().commit(RunRecord(spec=make_spec(32), outcome=outcome))
    assert known_pace([make_spec(32)], store).source == "guess"


@pytest.mark.parametrize(("steps", "named"), [((10, 20, 40), False), ((10, 20, 80), True)])
def test_volumes_too_far_apart_for_one_learning_rate_are_warned_of(make_spec, steps, named):
    found = warnings_for([make_spec(w, 640 * s) for w in (32, 64, 96) for s in steps])
    assert any("one learning rate" in sentence for sentence in found) == named


def test_a_sound_design_draws_no_warning(make_spec):
    assert warnings_for([make_spec(w, 640 * s) for w in (32, 64, 96) for s in (10, 20, 40)]) == []


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([(32, 10), (64, 20), (64, 40)], r"N \(model size\) has 2 levels"),
        ([(32, 10), (64, 10), (96, 10)], r"D \(tokens\) has 1 level;"),
        ([(32, 10), (64, 40), (96, 90)], "cannot be told apart"),
    ],
)
def test_a_design_that_cannot_answer_is_named(make_spec, cells, said):
    import re

    found = warnings_for([make_spec(width, 640 * steps) for width, steps in cells])
    assert any(re.search(said, sentence) for sentence in found), found


@pytest.mark.parametrize(("tokens", "warmup", "named"), [(64_000, 12_800, False), (64_000, 13_000, True)])
def test_a_warmup_of_more_than_a_fifth_of_the_run_is_named(make_spec, tokens, warmup, named):
    run = make_spec(32, tokens)
    run = run.model_copy(update={"optim": run.optim.model_copy(update={"warmup_tokens": warmup})})
    assert any("warmup is longer" in sentence for sentence in warnings_for([run])) == named


def test_a_warmup_of_more_tokens_than_parameters_is_named(make_spec):
    run = make_spec(32, 64_000_000)
    long = run.model_copy(update={"optim": run.optim.model_copy(update={"warmup_tokens": 30_000})})
    n_params = count_parameters(run.model).n_params
    (said,) = (sentence for sentence in warnings_for([long]) if "warmup" in sentence)
    assert n_params < 30_000
    assert f"{n_params:,}" in said


def test_text_read_more_than_once_is_named(make_spec, monkeypatch):
    monkeypatch.setattr("scaling.sweep.warnings._corpus_tokens", lambda source: 3200.0)
    source = {"kind": "text", "corpus": "none", "tokenizer": {"kind": "bytes"}}
    spec = RunSpec.model_validate(
        {"model": {"vocab_size": 257, "width": 32, "context": 40}, "data": {"source": source}, "tokens": 6400}
    )
    assert any("more than once (up to about 2.0 times)" in sentence for sentence in warnings_for([spec]))
    mixture = {"kind": "mixture", "real": 0.75, "teacher": {"kind": "ngram"}}
    mixed = spec.model_copy(update={"data": type(spec.data)(source=spec.data.source, teacher=mixture)})
    assert any("more than once (up to about 1.5 times)" in sentence for sentence in warnings_for([mixed]))


def test_of_a_corpus_that_is_not_on_this_machine_nothing_is_said(tmp_path):
    # Its encoded text may lie in the results folder, which is all that a run with a fingerprint asks for.
    source = {"kind": "text", "corpus": str(tmp_path / "gone" / "*.txt"), "tokenizer": {"kind": "bytes"}}
    data = {"source": source | {"fingerprint": "0123456789abcdef"}}
    spec = RunSpec.model_validate(
        {"model": {"vocab_size": 257, "width": 32, "context": 40}, "data": data, "tokens": 6400}
    )
    assert not any("more than once" in sentence for sentence in warnings_for([spec]))


def test_planning_loads_neither_jax_nor_pandas():
    code = (
        "import sys, scaling.config.load, scaling.config.expand, scaling.sweep.plan, scaling.sweep.run,"
        "scaling.sweep.status, scaling.sweep.board; print([m for m in ('jax', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_more_levels_promise_a_better_forecast_and_a_line_of_runs_none(make_spec):
    from scaling.sweep.expectation import expect

    def error(cells):
        return expect([make_spec(width, tokens) for width, tokens in cells]).error

    sparse = error((w, d) for w in (32, 64, 128) for d in (100_000, 400_000, 800_000))
    dense = error((w, d) for w in (32, 64, 96, 128) for d in (100_000, 200_000, 400_000, 800_000))
    sizes = {w: count_parameters(make_spec(w).model).n_params for w in (32, 64, 96, 128, 160, 192)}
    line = error((w, 20 * n) for w, n in sizes.items())
    assert 0 < dense < sparse < 0.1
    assert line == float("inf")


def test_a_recommendation_at_the_edge_of_the_sweep_is_named(make_spec):
    specs = [make_spec(width) for width in (32, 64, 128)]
    assert edge_warning(make_spec(96), specs) is None
    assert "smallest end" in edge_warning(make_spec(32), specs)
    assert "add larger widths" in edge_warning(make_spec(256), specs)
