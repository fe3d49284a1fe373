"""Every script of analysis/ prints its figures from the published tables alone."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pandas as pd
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "analysis"


@pytest.fixture
def printed(monkeypatch, tmp_path, capsys):
    """What a script prints where no sweep has been run."""
    monkeypatch.syspath_prepend(SCRIPTS)

    def run(name: str) -> str:
        importlib.import_module(name).main(str(tmp_path))
        return capsys.readouterr().out

    return run


def test_the_best_learning_rate_stays_put_over_widths(printed):
    text = printed("lr_transfer")
    found = re.search(r"∝ width\^(-?[\d.]+) ± ([\d.]+)", text)
    assert abs(float(found[1])) < 0.5
    assert len(re.findall(r"^ +(?:32|64|128|256) +[\d.e-]+ +[\d.]+ +1\.", text, flags=re.MULTILINE)) == 4


def test_no_setting_of_the_optimizer_beats_the_defaults_by_more_than_noise(printed):
    changes = re.findall(r"([+-][\d.]+) ± ([\d.]+)$", printed("optimizer"), flags=re.MULTILINE)
    assert len(changes) == 14
    assert all(float(change) > -3 * float(error) - 0.003 for change, error in changes)


def test_no_further_term_of_the_time_of_a_token_forecasts_other_sizes_better(monkeypatch, capsys):
    monkeypatch.syspath_prepend(SCRIPTS)
    importlib.import_module("speed").main()
    lines = capsys.readouterr().out.split("median and worst")[1].splitlines()[1:]
    median_errors = [[float(one) for one in re.findall(r"([\d.]+)%", line)][0::2] for line in lines]
    calibrated, same, *others = median_errors
    # Each size from all others, and the smaller from the larger.
    assert calibrated == same
    assert all(other[0] >= calibrated[0] and other[2] >= calibrated[2] for other in others)


def test_seeds_move_the_loss_by_less_than_a_percent_or_two(printed):
    found = re.search(r"all cells: σ/L = ([\d.]+) % \[([\d.]+), ([\d.]+)\]", printed("seeds"))
    value, low, high = map(float, found.groups())
    assert 0.1 < low < value < high < 2


def test_the_critical_batch_grows_as_the_loss_falls(printed):
    text = printed("critical_batch")
    crits = [float(found.replace(",", "")) for found in re.findall(r"B_crit ([\d,]+) tokens", text)]
    assert len(crits) >= 3
    assert crits[-1] > crits[0]
    assert "S_min" in text


@pytest.mark.slow
def test_mixtures_follow_the_law_that_has_both_plateau_and_floor(printed):
    """With E free and at the exact entropy alike."""
    rms = dict.fromkeys(("plateau and floor", "plateau alone", "floor alone"), ())
    for name, value in re.findall(r"^(.+?) +rms ([\d.]+)%", printed("mixture"), flags=re.MULTILINE):
        rms[name] += (float(value),)
    assert all(len(pair) == 2 for pair in rms.values())
    assert max(rms["plateau and floor"]) < 1.5 < min(rms["plateau alone"]) < min(rms["floor alone"])


def test_better_teachers_make_better_students_until_size_and_data_bind(printed, monkeypatch, tmp_path):
    ladder = importlib.import_module("teacher_ladder")
    monkeypatch.setattr(ladder, "FIGURE", tmp_path / "ladder.png")
    printed("teacher_ladder")
    assert ladder.FIGURE.stat().st_size > 10_000
    table = pd.read_csv(ladder.TABLE)
    most = table[table["n_tokens"] == table["n_tokens"].max()]
    loss = most[most["kind"] == "ngram"].set_index("size")["loss"]
    assert loss[1] > loss[2] + 1 > loss[3] + 1
    assert loss[3:6].max() - loss[3:6].min() < loss[2] - loss[3]
    assert (most["over_real"] >= 0).all()


@pytest.mark.slow
def test_rounding_is_noise_that_larger_models_feel_less(printed, monkeypatch, tmp_path):
    damage = importlib.import_module("damage")
    monkeypatch.setattr(damage, "FIGURE", tmp_path / "damage.png")
    text = printed("damage")
    assert damage.FIGURE.stat().st_size > 10_000
    ahead = [float(one) for one in re.findall(r"from the smaller ones, by e\^±([\d.]+)", text)]
    assert len(ahead) == 6
    assert ahead[2] == min(ahead[:3])  # of real text, that which rounding noise has
    table = pd.read_csv(damage.TABLE)
    four = table[(table["teacher"] == "real") & (table["bits"] == 4)].groupby("n_params")["damage"].mean()
    assert four.is_monotonic_decreasing


@pytest.mark.slow
def test_text_of_the_kind_is_worth_more_than_other_text_and_symbols_harm(printed):
    text = printed("transfer")
    over = dict(re.findall(r"^(\S.*?real|\S.*?ngram 6|none) +[\d.]+ +[\d.]+ +(-?[\d.]+) ", text, flags=re.MULTILINE))
    assert float(over["sotu ngram 6"]) < float(over["books real"]) < 0 < float(over["w1 real"])
    assert len(re.findall(r"D_T = k D_F\^alpha N\^beta, k", text)) == 2


@pytest.mark.slow
def test_at_equal_bytes_more_pieces_have_fewer_bits_on_little_text(printed):
    rows = re.findall(r"^ +597000 +NaN +([\d.]+) +([\d.]+) +([\d.]+)$", printed("vocabulary"), flags=re.MULTILINE)
    of_1024, of_4096, of_8192 = map(float, rows[0])
    assert of_1024 > of_4096 > of_8192
    # The last row: who has read all that its pieces were learned from.
    of_1024, of_4096, of_8192 = map(float, rows[-1])
    assert len(rows) == 6
    assert abs(of_4096 - of_8192) < 0.02 < of_1024 - max(of_4096, of_8192)


def test_students_chosen_surely_meet_their_target_whatever_the_seeds(monkeypatch, capsys):
    monkeypatch.syspath_prepend(SCRIPTS)
    importlib.import_module("repetitions").main()
    text = capsys.readouterr().out
    for met, sure in re.findall(r"chosen at P >= .9 and met: (\d+) of (\d+)", text):
        assert int(met) >= 0.9 * int(sure) > 0
    assert "quickstart: " in text


def test_a_cooldown_trained_for_four_bits_brings_back_most_of_what_they_cost(printed):
    shares = [int(share) for share in re.findall(r" (\d+)%$", printed("qat"), flags=re.MULTILINE)]
    assert len(shares) == 8
    assert min(shares) > 50


def test_healing_brings_back_what_pruning_costs_and_a_student_born_for_all_the_compute_is_better(printed):
    assert "64 x 4" in printed("pruning")
    table = pd.read_csv(importlib.import_module("pruning").TABLE)
    parts = table[table["pruned"].str.contains("heads|neurons|layers")]
    before, after = (parts[(parts["healing_tokens"] > 0) == healed].set_index("pruned") for healed in (False, True))
    assert (after["loss"] < before["loss"]).all()
    assert (after["loss"] > after["born_equal_compute"]).all()
    assert (after["loss"] < after["born_healing_compute"]).all()
    assert before["loss"]["4 of 8 heads, by gradient"] < before["loss"]["the 4 of 8 heads that matter most"]
    # A layer that a shortcut leads around may be left out; one that none leads around may not.
    shortcut = table.set_index("pruned")["loss"].filter(like="shortcut")
    kept, removed = (
        shortcut[f"layer 2, shortcut {s}"] - shortcut[f"nothing, shortcut {s}"] for s in ("kept", "removed")
    )
    assert removed > 2 * kept > 0


@pytest.mark.slow
def test_code_lengths_agree_with_the_law_that_was_fitted_to_their_runs(printed):
    found = [float(off) for off in re.findall(r" ([+-][\d.]+)% +[\d.]+ +\+[\d.]+%", printed("code_length"))]
    assert len(found) == len(pd.read_csv(SCRIPTS.parent / "results/reference/code_length.csv")) == 21
    assert max(map(abs, found)) < 2


def test_looking_into_the_teacher_pays_at_equal_data_and_at_equal_flops(printed):
    found = re.findall(r"^(\w+) at ([\d,]+) tokens: ([+-][\d.]+) ± ([\d.]+) at equal data, ([+-][\d.]+) ± ([\d.]+)",
                       printed("distill"), flags=re.MULTILINE)  # fmt: skip
    assert {row[0] for row in found} == {"soft", "minilm", "tinybert", "on_policy", "distilbert"}
    for recipe, tokens, *values in found:
        data, data_se, flops, flops_se = map(float, values)
        assert data <= flops
        if recipe != "on_policy" and (recipe, tokens) != ("tinybert", "125,120"):
            assert data + 3 * data_se < 0
            assert flops + 3 * flops_se < 0


def test_a_student_corrected_on_its_own_text_has_the_higher_loss_and_is_right_more_often(printed):
    found = {}
    for name, values in re.findall(r"^on_policy − soft, (\w+): (.*)$", printed("on_policy"), flags=re.MULTILINE):
        found[name] = [tuple(map(float, one.split(" ± "))) for one in values.split(", ")]
    assert all(mean > 3 * error for mean, error in found["loss"])
    assert all(mean > 0 for mean, _ in found["favoured"])
    assert found["favoured"][-1][0] > 3 * found["favoured"][-1][1]


def test_what_was_met_alone_is_used_in_no_command(printed):
    text = printed("compositional")
    assert "jump: taught kind 0.987, kind kept from training 0.000" in text
    taught, kept = map(
        float, re.search(r"simple: taught kind ([\d.]+), kind kept from training ([\d.]+)", text).groups()
    )
    assert abs(taught - kept) < 0.02


def test_odds_of_commands_rise_with_data_and_of_untaught_words_nothing_is_known_but_how_rare_they_are(printed):
    text = printed("compositional")
    (low,) = re.findall(r"^simple +ood_exact_match .*n_tokens\^[\d.]+ \[([\d.-]+),", text, flags=re.MULTILINE)
    assert float(low) > 0
    assert re.search(r"^jump +ood_exact_match +no slope, 0 of 2,520 right: a share below 0.0009$", text, re.MULTILINE)


def test_questions_asked_by_two_names_are_answered_alike_more_often_than_rightly(printed):
    text = printed("compositional")
    found = re.findall(r"^(\w+): answered alike ([\d.]+), rightly ([\d.]+)$", text, flags=re.MULTILINE)
    ratio = {split: float(alike) / float(right) for split, alike, right in found}
    assert ratio.pop("localism") >= 1
    assert len(ratio) == 2
    assert min(ratio.values()) > 3


def test_of_what_is_half_known_untaught_pairs_and_depths_are_known_a_tenth_as_often():
    runs = pd.read_csv(SCRIPTS.parent / "results/reference/pcfg.csv").set_index("source")
    most = runs[runs["n_tokens"] == runs["n_tokens"].max()]
    for split in ("systematicity", "productivity"):
        assert most.loc[f"pcfg_set {split}", "exact_match"] > 0.4
        assert most.loc[f"pcfg_set {split}", "ood_exact_match"] < 0.1
    assert most.loc["pcfg_set localism", "ood_exact_match"] > 0.2


def test_a_teacher_that_falsifies_all_it_can_costs_most_and_half_of_it_less(printed):
    found = dict(re.findall(r"^(.+): ([+-][\d.]+) of real text", printed("rules"), flags=re.MULTILINE))
    cost = {name: float(value) for name, value in found.items()}
    assert 0 < cost["0.5 real, rules 1"] < cost["rules 1"] == max(cost.values())


@pytest.mark.slow
def test_distributions_lead_to_the_floor_of_tokens_on_a_steeper_slope(printed):
    text = printed("soft_targets")
    beta = {kind: float(value) for kind, value in re.findall(r"beta\[(\w+)\] +([\d.]+)", text)}
    assert beta["distribution"] > beta["tokens"] + 0.1
    alone = re.findall(r"alone: .*\n  E +[\d.]+  \[([\d.]+), ([\d.]+)\]", text)
    assert all(float(low) < 1.3704 < float(high) for low, high in alone)
    assert len(alone) == 2
    found = re.findall(r"^([\d,]+) tokens teach what ([\d,]+) \[", text, flags=re.MULTILINE)
    shares = [float(few.replace(",", "")) / float(d.replace(",", "")) for d, few in found]
    # The more is read, the more a distribution is worth.
    assert 0.6 > shares[0] > shares[1] > shares[2] > shares[3] > 0.2
    aicc = dict(re.findall(r"^(.+?) +k +\d+  AICc +(-[\d.]+)", text, flags=re.MULTILINE))
    coupled, busbridge = (
        float(aicc[name])
        for name in ("each text at a speed of its own, coupled with size", "distillation from soft targets")
    )
    assert abs(coupled - busbridge) < 4


def test_the_better_speeches_are_known_the_more_is_lost_on_novels_whatever_the_size(printed):
    text = printed("out_of_domain")
    slope, spread = map(float, re.search(r"d gap / d loss = (-?[\d.]+), students off it by ([\d.]+)", text).groups())
    assert slope < 0
    assert spread < 0.05
    (unigram,) = re.findall(r"^unigram: .* gap ([\d.]+) nats", text, flags=re.MULTILINE)
    gaps = pd.read_csv(SCRIPTS.parent / "results/reference/out_of_domain.csv").eval("ood_loss - loss")
    assert float(unigram) < gaps.min()


def test_savings_follow_from_the_loss_within_two_points_and_stand_beside_an_ngram(printed):
    text = printed("keyboard")
    assert float(re.search(r"a trunk left out: .* ([\d.]+) at most", text)[1]) < 2
    within, of = map(int, re.search(r"both steps: .* within two points (\d+) of (\d+)", text).groups())
    assert within >= of - 1 >= 4
    assert len(re.findall(r"n-gram above student, (?:top1|top3|savings): [+-]", text)) == 3


def test_files_memory_damage_and_speed_are_forecast_on_six_students_of_two_sweeps(printed):
    text = printed("phone_forecasts")
    found = re.search(
        r"(\d+) students of 2 sweeps .*: (\d+) of (\d+) files exact; peak memory off by ([\d.]+)% at most; (\d+) of",
        text,
    )
    assert int(found[1]) >= 6
    assert int(found[2]) == int(found[5]) == int(found[3]) >= int(found[1])
    assert float(found[4]) <= 5
    # Of sizes that the calibration did not see, in each of three engines.
    speeds = [float(one) for one in re.findall(r"(\d+)% \((?:gguf|onnx|litert)\)", text)]
    assert len(speeds) == 3
    assert max(speeds) <= 30


def test_of_tiny_students_the_cache_is_a_term_of_its_own_in_two_engines_and_the_vocabulary_in_none(monkeypatch, capsys):
    monkeypatch.syspath_prepend(SCRIPTS)
    importlib.import_module("small_speed").main()
    lines = capsys.readouterr().out.splitlines()
    median = {
        line[:52].strip(): [float(one) for one in re.findall(r"([\d.]+)%", line[52:])][0::2] for line in lines[1:7]
    }
    plain, cache, vocabulary = (median[name] for name in ("nothing", "cache, L·T·H·K", "vocabulary, V"))
    assert cache[1] < 0.8 * plain[1]
    assert cache[2] < 0.8 * plain[2]
    assert all(own > 0.9 * before for own, before in zip(vocabulary, plain, strict=True))


def test_on_speeches_what_tells_the_distribution_pays_and_nothing_else_does(printed):
    text = printed("distill_speeches")
    found = {
        (recipe, tokens): (float(data), float(data_se), float(flops))
        for recipe, tokens, data, data_se, flops in re.findall(
            r"^([\w ,]+) at ([\d,]+) tokens: ([+-][\d.]+) ± ([\d.]+) at equal data, ([+-][\d.]+)", text, flags=re.M
        )
    }
    pay = {"soft", "minilm", "logit, sampled 12", "distilbert"}
    others = {"tinybert", "mixed_vocab", "dual_vocab", "on_policy"}
    assert {recipe for recipe, _ in found} == {*pay, *others, "logit, topk 16"}
    for (recipe, tokens), (data, data_se, flops) in found.items():
        if recipe in pay:
            assert data + 3 * data_se < 0, (recipe, tokens)
        # No pass of the teacher is made for what was stored beside its text; who starts from its layers is far ahead.
        if recipe in ("logit, sampled 12", "distilbert"):
            assert flops < -0.1, (recipe, tokens)
        if recipe in others:
            assert flops > 0, (recipe, tokens)
    assert len(re.findall(r"^energy, modelled; a token takes", text, flags=re.M)) == 4
    # The teacher comes first; every student is smaller, and none is as good.
    table = pd.read_csv(importlib.import_module("distill_speeches").TABLE)
    for sweep, own in table.groupby("sweep"):
        teacher, students = own.iloc[0], own.iloc[1:]
        assert (students["file_bytes"] < teacher["file_bytes"]).all()
        assert (students["bits_per_byte"] > teacher["bits_per_byte"]).all()
        if sweep == "sixtieth":
            assert (60 * students["file_bytes"] < teacher["file_bytes"]).all()
            assert (students["tokens_per_s"] > 5 * teacher["tokens_per_s"]).all()


def test_the_ledger_of_registered_forecasts_states_its_misses(printed):
    text = printed("registered")
    (every,) = re.findall(r"^all +(\d+) +(\d+) +(\d+) +([\d.]+)%", text, flags=re.MULTILINE)
    registered, measured, inside, error = int(every[0]), int(every[1]), int(every[2]), float(every[3])
    assert 16 <= measured <= registered
    assert len(re.findall(r"^missed: ", text, flags=re.MULTILINE)) == measured - inside
    assert inside >= 0.8 * measured
    assert error < 1.5


@pytest.mark.slow
def test_noise_and_coverage_kept_apart_forecast_unseen_teachers_more_closely_than_their_sum(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    study = importlib.import_module("study")
    monkeypatch.setattr(study, "FORMS", ("q1", "q7"))
    runs = pd.read_csv(SCRIPTS.parent / "results/reference/study.csv")
    few = runs[runs["teacher"].isin(["real", "noise 0.1", "noise 0.4", "coverage 30", "coverage 100"])]
    missed = study.forms(few)["texts"].str.rstrip("%").astype(float)
    assert missed["q7"] < missed["q1"] / 4
    # Nobody designed the errors of a teacher that is a student itself.
    told = study.unseen(few, runs[runs["teacher"].str.startswith("net ")])["mean error"]
    assert len(told) == 2
    assert told.str.rstrip("%").astype(float).max() < 2


@pytest.mark.slow
def test_the_mean_of_two_bases_forecasts_larger_students_better_than_chinchilla_alone(monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(SCRIPTS)
    bases = importlib.import_module("bases")
    monkeypatch.setattr(bases, "PUBLIC", tmp_path / "none")
    # The larger tables take minutes.
    for part in ("chosen_on", "asked_afterwards"):
        few = [table for table in getattr(bases, part)() if len(table[1]) < 100]
        monkeypatch.setattr(bases, part, lambda few=few: few)
    bases.main()
    said = capsys.readouterr().out
    rows = re.findall(
        r"^\S.*?  +[\d.]+ +[\d.]+ +([\d.]+) +[\d.]+ +([\d.]+) +[\d.]+ +[\d.]+ +[\d.]+$", said, re.MULTILINE
    )
    assert len(rows) == 3 + 3
    assert all(float(mean) < 1.25 * float(alone) for alone, mean in rows)
    means = re.findall(r"^mean of tables +(.*?) *$", said, re.MULTILINE)
    for alone, _, mean, inside_alone, _, inside in (map(float, row.split()) for row in means):
        assert mean < 0.95 * alone
        assert inside > inside_alone
        assert inside > 0.85


@pytest.mark.slow
def test_on_prose_a_bad_teacher_costs_more_where_its_student_can_learn_more_and_a_better_one_less(printed):
    said = printed("prose")
    rows = [
        re.search(rf"^trained, width {width}, \dM +[\d.]+ +[\d.]+ +(.*)$", said, re.MULTILINE)
        for width in (32, 64, 128)
    ]
    bad, fair, good = ([float(cost) for cost in row[1].split()] for row in rows)
    assert bad[0] < bad[4] < bad[8] < bad[11], "widths 32, 64, 96 and 128 at 250k tokens"
    assert all(b > f > g for b, f, g in zip(bad, fair, good, strict=True))
