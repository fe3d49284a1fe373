"""Models by name: each figure has a source, and shapes, sizes and data agree with each other."""

from __future__ import annotations

import pytest

from scaling.errors import SpecError
from scaling.predict.named.models import models, named_model

ASKED = ("bert-base", "bert-large", "roberta", "xlnet", "gpt-2", "megatron-8.3b", "gpt-3", "palm")
SMALL = ("distilbert", "tinybert", "google-60x")


@pytest.mark.parametrize("name", [*ASKED, *SMALL, "chinchilla", "gopher"])
def test_a_model_of_the_literature_is_known_by_name_with_its_sources(name):
    found = named_model(name)
    assert found.sources
    assert name == "gpt-2" or any("arXiv" in source or "BERT" in source for source in found.sources)


@pytest.mark.parametrize("name", [name for name in models() if name != "google-60x"])
def test_a_size_without_embeddings_is_that_of_its_shape(name):
    model = named_model(name)
    shape = model.shape
    head = shape.get("head_width", shape["width"] // shape["n_heads"])
    attention = 2 * (shape["n_heads"] + shape.get("n_kv_heads", shape["n_heads"])) * head * shape["width"]
    # PaLM has three matrices in its feed-forward layers, the others two.
    block = attention + (3 if name == "palm" else 2) * shape["width"] * shape["hidden"]
    # Relative positions are matrices too in Gopher and Chinchilla, of width squared in each layer.
    positions = shape["width"] ** 2 if name in ("gopher", "chinchilla") else 0
    counted = shape["n_layers"] * (block + positions)
    assert model.size(embeddings=False) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("name", [name for name in models() if name != "google-60x"])
def test_embeddings_are_the_difference_of_the_two_counts(name):
    model = named_model(name)
    table = model.shape["vocab_size"] * model.shape["width"]
    difference = model.size(embeddings=True) - model.size(embeddings=False)
    # Counts are published to two or three digits.
    assert difference == pytest.approx(table, abs=0.03 * model.n_params + 1e6)


def test_roberta_is_bert_large_with_sixteen_times_the_data():
    bert, roberta = named_model("bert-large"), named_model("roberta")
    assert roberta.n_params / bert.n_params == pytest.approx(1, abs=0.05)
    assert roberta.n_tokens / bert.n_tokens == pytest.approx(16, abs=0.5)


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(SpecError, match="did you mean 'bert-base'"):
        named_model("bert-bas")


def test_a_size_that_nobody_published_is_not_invented():
    with pytest.raises(SpecError, match="google-60x.*not known"):
        named_model("google-60x").size(embeddings=False)
