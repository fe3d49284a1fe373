"""A size or a name becomes a shape with exactly those parameters, as near as whole layers allow."""

from __future__ import annotations

import pytest

from scaling.accounting import count_parameters
from scaling.errors import SpecError
from scaling.predict.named.models import models, named_model
from scaling.predict.shapes import shape_like, shape_of_size


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
