"""A run that goes on from another: which may, what it is called, and what was there before it keeps its id."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from scaling.spec import RunSpec, needed_runs

BYTES = {"kind": "bytes"}
W0, W1 = {"kind": "w0"}, {"kind": "w1", "n_symbols": 64, "context": 40}


def run_of(source: dict, *, width: int = 32, tokens: int = 6_400, **more) -> dict:
    vocab = {"w0": 65, "w1": source.get("n_symbols", 256) + 1, "scan": 22}
    size = vocab.get(source["kind"]) or {"bytes": 257, "bpe": 1024}[source["tokenizer"]["kind"]]
    model = {"vocab_size": size, "width": width, "n_layers": 1, "context": 40}
    return {"model": model, "data": {"source": source}, "tokens": tokens} | more


def text(corpus: str, tokenizer: dict | None = None) -> dict:
    return {"kind": "text", "corpus": corpus, "tokenizer": tokenizer or BYTES}


def test_a_start_is_part_of_the_id_and_its_absence_is_not():
    fresh = RunSpec.model_validate(run_of(W0))
    silent = RunSpec.model_validate(run_of(W0, start_from=None))
    starts = [RunSpec.model_validate(run_of(W0, start_from=run_of(W1, tokens=tokens))) for tokens in (640, 1280)]
    assert fresh.run_id == silent.run_id
    assert "start_from" not in fresh.canonical_json()
    assert len({fresh.run_id, *(run.run_id for run in starts)}) == 3
    assert len({fresh.trunk_id, *(run.trunk_id for run in starts)}) == 3
    assert RunSpec.model_validate_json(starts[0].canonical_json()) == starts[0]


def test_what_has_to_be_trained_before_is_the_teacher_and_the_start():
    teacher, start = run_of(W0, width=64), run_of(W1)
    run = run_of(W0, start_from=start)
    run["data"] = {"source": W0, "teacher": {"kind": "net", "run": teacher}}
    needed = needed_runs(RunSpec.model_validate(run))
    assert [one.run_id for one in needed] == [RunSpec.model_validate(one).run_id for one in (teacher, start)]
    assert needed_runs(RunSpec.model_validate(start)) == ()


@pytest.mark.parametrize(
    ("source", "start"),
    [
        (W0, W1),
        (text("sotu"), text("a/*.txt")),
        (text("sotu"), {"kind": "w1", "n_symbols": 256, "context": 40}),
        (text("sotu", {"kind": "bpe"}), text("sotu", {"kind": "bpe"})),
        ({"kind": "scan"}, {"kind": "scan", "split": "length"}),
    ],
)
def test_a_student_goes_on_in_any_text_of_its_vocabulary(source, start):
    assert RunSpec.model_validate(run_of(source, start_from=run_of(start))).start_from is not None


BPE = text("sotu", {"kind": "bpe"})


@pytest.mark.parametrize(
    ("run", "start", "said"),
    [
        (run_of(W0), run_of(W0, width=64), r"\(width 64, not 32; n_heads 4, not 2; .*leave model out of start_from"),
        (
            run_of(W0),
            run_of(text("sotu")),
            r"vocabulary of sotu \(257 tokens\), and the student that of w0 \(65 tokens\)",
        ),
        # As many tokens, and other ones.
        (run_of(BPE), run_of(text("a/*.txt", {"kind": "bpe"})), "bpe learns its pieces from each text anew"),
        (run_of(BPE), run_of(BPE | {"held_out": 0.2}), "bpe learns its pieces from each text anew"),
    ],
)
def test_a_start_of_another_shape_or_vocabulary_is_refused_with_what_would_work(run, start, said):
    with pytest.raises(ValidationError, match=said):
        RunSpec.model_validate(run | {"start_from": start})


def test_a_recipe_that_starts_from_its_teacher_takes_no_other_start():
    teacher = run_of(W0)
    run = run_of(W0, distill={"kind": "distilbert"}, start_from=run_of(W1))
    run["data"] = {"source": W0, "teacher": {"kind": "net", "run": teacher}}
    with pytest.raises(ValidationError, match="distilbert starts from its teacher's layers; leave out start_from"):
        RunSpec.model_validate(run)
