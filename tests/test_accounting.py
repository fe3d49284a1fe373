"""Counts and FLOPs against independent arithmetic and published values."""

from __future__ import annotations

import pytest

from scaling.accounting import (
    EnergySettings,
    Familiar,
    causal_blocks,
    count_parameters,
    forward_flops,
    kv_cache_bytes,
    training_bytes,
    training_flops,
    training_flops_6nd,
    training_kwh,
)
from scaling.spec import ModelSpec

# SmolLM2-135M as published: 30 layers, width 576, 9 query and 3 key–value heads of 64, tied, 49,152 tokens.
SMOLLM2 = ModelSpec(
    vocab_size=49152, width=576, n_layers=30, head_width=64, n_heads=9, n_kv_heads=3, hidden=1536, context=2048
)


def test_a_published_model_counts_as_published():
    counts = count_parameters(SMOLLM2)
    assert counts.n_params_total == 134_515_008
    assert counts.n_params == counts.n_params_total - 49152 * 576


def test_groups_sum_to_the_totals():
    for tied in (True, False):
        counts = count_parameters(SMOLLM2.model_copy(update={"tied_embeddings": tied}))
        parts = counts.embedding + counts.attention + counts.mlp + counts.norms + counts.head
        assert counts.n_params_total == parts
        assert counts.n_params_linear == counts.attention + counts.mlp + 49152 * 576


def test_forward_flops_count_every_product_of_a_hand_written_layer():
    model = ModelSpec(
        vocab_size=100, width=32, n_layers=1, head_width=16, n_heads=2, n_kv_heads=1, hidden=64, context=8
    )
    query = output = 2 * 32 * 32
    key = value = 2 * 32 * 16
    mlp = 3 * 2 * 32 * 64
    attention = 2 * (2 * 2 * 16) * 8 / 2  # scores and mixing over 2 heads of 16, half of 8 positions seen on average
    head = 2 * 32 * 100
    assert forward_flops(model) == query + key + value + output + mlp + attention + head
    assert training_flops(model, 7) == 3 * 7 * forward_flops(model)


def test_six_n_d_falls_short_for_small_models():
    ratio = training_flops(SMOLLM2, 1000) / training_flops_6nd(SMOLLM2, 1000)
    assert ratio == pytest.approx(1.6, abs=0.1)


def test_cache_of_a_published_model_at_context_1024_is_the_engines_own_figure():
    assert kv_cache_bytes(SMOLLM2, 1024) == 22.5 * 2**20
    assert kv_cache_bytes(SMOLLM2, 1024, value_bytes=34 / 32) == pytest.approx(11.95 * 2**20, rel=1e-3)


def test_energy_is_power_times_time():
    assert training_kwh(1e15, flops_per_s=1e12, watts=360, pue=1.5) == pytest.approx(1000 * 360 * 1.5 / 3.6e6)


def test_energy_of_a_published_training_is_what_its_paper_says():
    """BERT base: 12,041.51 W for 79 hours at PUE 1.58 and 0.954 lb/kWh are 1,507 kWh and 1,438 lb (Strubell et al.
    2019, arXiv 1906.02243, table 3); a passenger's flight New York – San Francisco and back is 1,984 lb (table 1)."""
    pound = 0.45359237
    settings = EnergySettings(pue=1.58, kg_per_kwh=0.954 * pound)
    kwh = settings.kwh(12_041.51 * 79 * 3600)
    assert kwh == pytest.approx(1507, rel=0.005)
    assert settings.co2e_kg(kwh) == pytest.approx(1438 * pound, rel=0.005)
    known = Familiar.of(kwh, settings.co2e_kg(kwh))
    assert known.flights == pytest.approx(1438 / 1984, rel=0.005)
    assert known.household_days == pytest.approx(1507 / (10_715 / 365), rel=0.005)


@pytest.mark.parametrize("time", [1, 63, 64, 65, 130, 256, 300, 1025])
def test_causal_blocks_cover_every_query_once_and_leave_out_most_of_the_future(time):
    blocks = causal_blocks(time)
    assert [query for block in blocks for query in range(*block)] == list(range(time))
    computed = sum((stop - start) * stop for start, stop in blocks)
    assert time * (time + 1) / 2 <= computed <= (0.65 if time >= 256 else 1.0) * time**2


def test_memory_of_a_step_holds_every_parameter_thrice_and_the_larger_of_gradients_and_activations():
    model = ModelSpec(vocab_size=100, width=32, n_layers=1, n_kv_heads=1, hidden=64, context=8)
    n = count_parameters(model).n_params_total
    found = training_bytes(model, 3)
    assert (found.parameters, found.optimizer, found.gradients) == (4 * n, 8 * n, 4 * n)
    assert found.total == 12 * n + found.scaled + found.activations + found.logits
    one = training_bytes(model, 1)
    assert found.scaled == one.scaled
    assert found.activations + found.logits == pytest.approx(3 * (one.activations + one.logits), abs=3)
    wide = model.model_copy(update={"width": 2048, "hidden": 8192})
    assert training_bytes(wide, 1).total == 16 * count_parameters(wide).n_params_total
