"""A size or a name becomes a shape with exactly those parameters, as near as whole layers allow."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

import scaling.predict
from scaling.accounting import count_parameters
from scaling.config.sweep import SizeConvention
from scaling.errors import SpecError
from scaling.predict.named.models import models, named_model
from scaling.predict.named.shapes import shape_like, shape_of_size
from scaling.predict.question import Question
from scaling.predict.recommend.of_published import recommend_published
from scaling.predict.usual import CONTEXT, VOCABULARY
from scaling.tables.units import SIZE_COLUMNS


@pytest.mark.parametrize("n_params", [1e7, 1e8, 1e9, 7e9, 70e9])
def test_a_llama_of_a_size_has_it_to_half_a_percent(n_params):
    model = shape_of_size(n_params)
    assert count_parameters(model).n_params_total == pytest.approx(n_params, rel=0.005)
    assert model.width % 64 == 0
    assert 100 <= model.width / model.n_layers <= 160


def test_a_small_model_needs_a_small_vocabulary():
    with pytest.raises(SpecError, match="32,000 tokens already holds 1,024,000 parameters"):
        shape_of_size(1e6)
    assert count_parameters(shape_of_size(1e6, vocab_size=256)).n_params_total == pytest.approx(1e6, rel=0.05)


def test_models_known_by_name_keep_their_width_depth_vocabulary_and_parameters():
    for named in models().values():
        if not named.shape:
            with pytest.raises(SpecError, match="its shape is not known"):
                shape_like(named)
            continue
        model = shape_like(named).model
        assert model.n_layers == named.shape["n_layers"]
        assert 0 <= model.width - named.shape["width"] < 32
        assert count_parameters(model).n_params_total == pytest.approx(named.n_params, rel=0.02)


def test_bert_as_a_llama_has_two_thirds_of_its_hidden_size_in_three_matrices():
    assert shape_like(named_model("bert-base")).model.hidden == pytest.approx(3072 * 2 / 3, rel=0.04)


def test_a_number_of_this_room_is_written_once_under_its_name():
    """Two that stand for one thing drift apart; of one name and one value, one is imported from the other's file."""
    homes: dict[tuple[str, str], list[str]] = {}
    for path in sorted(Path(scaling.predict.__file__).parent.rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                homes.setdefault((node.targets[0].id, ast.unparse(node.value)), []).append(path.name)
    homes.pop(("Array", "np.ndarray"))
    homes = {one: files for one, files in homes.items() if not one[1].startswith("TypeVar(")}
    assert {one: files for one, files in homes.items() if len(files) > 1} == {}


def test_the_conventions_of_size_that_a_sweep_file_may_name_are_those_that_a_table_has():
    assert get_args(SizeConvention) == tuple(SIZE_COLUMNS)


def test_a_model_of_which_nothing_is_said_has_one_context_wherever_it_is_asked_about():
    sized = shape_of_size(1e9)
    asked = Question(target_loss=3.0, memory_bytes=2**30)
    named = shape_like(named_model("gpt-2")).model
    published = recommend_published(asked, "besiroglu").run.model
    assert sized.context == named.context == published.context == CONTEXT
    assert sized.vocab_size == published.vocab_size == VOCABULARY
