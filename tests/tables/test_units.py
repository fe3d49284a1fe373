"""A loss in other units is named where it can be told."""

import numpy as np
import pandas as pd
import pytest

from scaling.tables.units import loss_notes

NATS = np.array([3.9, 3.4, 3.1, 2.9, 2.7, 2.6])
BITS_PER_BYTE = NATS / np.log(2) / 4.2


def notes(loss, **others):
    return " ".join(loss_notes(pd.DataFrame({"loss": loss, **others}), "loss", np.asarray(loss, float)))


def test_nats_per_token_need_no_word():
    assert notes(NATS) == ""
    assert notes(NATS, vocab_size=50_257) == ""


def test_losses_of_a_token_of_several_vocabularies_do_not_compare():
    said = notes(NATS, vocab_size=[257, 257, 257, 1024, 1024, 1024])
    assert "2 vocabularies (257, 1,024)" in said
    assert "--where 'vocab_size == 257'" in said


@pytest.mark.parametrize("loss", [BITS_PER_BYTE, BITS_PER_BYTE * 0.8])
def test_bits_per_byte_under_the_name_of_a_loss_are_named(loss):
    assert "is it bits/byte" in notes(loss)


def test_perplexity_under_the_name_of_a_loss_is_named():
    assert "map loss=log(loss)" in notes(np.exp(NATS))


def test_tokens_that_are_bytes_may_have_little_more_than_a_nat():
    assert notes(BITS_PER_BYTE, vocab_size=257) == ""


def test_another_column_tells_the_unit_better_than_the_magnitude():
    assert "seems to be in bits (bpb)" in notes(BITS_PER_BYTE, bpb=BITS_PER_BYTE)
