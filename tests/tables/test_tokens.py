"""What a token of a table is, where the table says it and it is one."""

import numpy as np
import pandas as pd
import pytest

from scaling.tables.tokens import bytes_per_token_of, vocabulary_of

NATS = np.array([3.9, 3.4, 3.1])


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        ([1024, 1024, 1024], 1024),
        ([1024, np.nan, 1024], 1024),
        ([257, 1024, 1024], None),
        ([np.nan] * 3, None),
        (["a", "b", "c"], None),
    ],
)
def test_a_vocabulary_is_that_of_all_runs_or_unknown(kinds, found):
    assert vocabulary_of(pd.DataFrame({"loss": NATS, "vocab_size": kinds})) == found
    assert vocabulary_of(pd.DataFrame({"loss": NATS})) is None


def test_the_bytes_of_a_token_are_what_turns_one_unit_into_the_other():
    bits = NATS / np.log(2) / 4.2
    assert bytes_per_token_of(pd.DataFrame({"loss": NATS, "bits_per_byte": bits})) == pytest.approx(4.2, rel=1e-5)
    # A run that lacks one of the two says nothing, and is not taken for its neighbour.
    holes = {"loss": [np.nan, *NATS[1:]], "bits_per_byte": [*bits[:2], np.nan]}
    assert bytes_per_token_of(pd.DataFrame(holes)) == pytest.approx(4.2, rel=1e-5)


@pytest.mark.parametrize("bits", [[1.3, 1.1, 0.4], [np.nan] * 3, [1.3, np.nan, 1.0], [0.0, 0.0, 0.0]])
def test_tokens_of_several_lengths_or_of_none_have_no_length(bits):
    assert bytes_per_token_of(pd.DataFrame({"loss": NATS, "bits_per_byte": bits})) is None
    assert bytes_per_token_of(pd.DataFrame({"loss": NATS})) is None
