"""Files timed in rounds: the pace of the machine falls out, however it drifts; what is left is the speed of each."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from scaling.accounting import decode_bytes
from scaling.errors import SpecError
from scaling.export.bundle.files import Bundle
from scaling.export.engine import EngineRun
from scaling.export.timing import time_in_rounds
from scaling.spec import ModelSpec

SPEEDS = {32: 8000.0, 64: 6000.0, 128: 3000.0}


def bundle(width: int) -> Bundle:
    model = ModelSpec(vocab_size=65, width=width, n_layers=2, context=40)
    facts = SimpleNamespace(run_id=f"run{width}", model=model, format="gguf")
    return Bundle(path=None, manifest=facts)


RUN = EngineRun(
    engine="llama.cpp (test 1)", token_ids=(1,), text="", ended=False, prompt_tokens_per_s=None, tokens_per_s=1.0,
    tokens_per_s_range=(1.0, 1.0), load_s=0.0, peak_bytes=1, allocated_bytes=1, mapped_bytes=0, threads=1,
    load_average=0.5, cores=2,
)  # fmt: skip


class Machine:
    """Its pace drifts by a factor of 1.5 over the timing, and every tenth pass is disturbed by another program."""

    def __init__(self):
        self.timed: list[int] = []

    def __call__(self, one: Bundle) -> EngineRun:
        self.timed.append(one.manifest.model.width)
        at = len(self.timed)
        rate = SPEEDS[one.manifest.model.width] * 1.5 ** (at / 21) * (0.3 if at % 10 == 0 else 1)
        return replace(RUN, tokens_per_s=rate * 0.9, tokens_per_s_range=(rate * 0.8, rate), load_average=at / 10)


def test_rates_stand_to_each_other_as_the_speeds_do_whatever_the_pace_of_the_machine():
    machine = Machine()
    found = time_in_rounds([bundle(width) for width in SPEEDS], rounds=7, time=machine)
    rates = np.array([one.tokens_per_s for one in found])
    expected = np.array(list(SPEEDS.values()))
    np.testing.assert_allclose(rates / rates[0], expected / expected[0], rtol=0.05)
    # One after the other, each would have been of the pace of its own moment.
    assert machine.timed[:6] == [32, 64, 128, 128, 64, 32]
    assert found[2].load_average == pytest.approx(2.1)


def test_an_even_machine_gives_the_rates_themselves():
    found = time_in_rounds(
        [bundle(32), bundle(64)],
        rounds=2,
        time=lambda one: replace(RUN, tokens_per_s_range=(1.0, SPEEDS[one.manifest.model.width])),
    )
    assert [one.tokens_per_s for one in found] == pytest.approx([8000, 6000])
    assert [one.spread for one in found] == pytest.approx([0, 0])
    rate = found[1].measured()
    assert (rate.n_layers, rate.model) == (2, "run64 gguf")
    assert rate.n_bytes == decode_bytes(bundle(64).manifest.model, "Q8_0", position=20)


def test_what_others_do_on_the_machine_does_not_stop_the_clock_of_the_processor():
    waiting = iter([1.0, 0.4, 0.7, 0.5])

    def time(one: Bundle) -> EngineRun:
        rate = SPEEDS[one.manifest.model.width]
        seen = rate * next(waiting)
        return replace(RUN, tokens_per_s=seen, tokens_per_s_range=(seen, seen), busy_tokens_per_s=rate)

    found = time_in_rounds([bundle(32), bundle(64)], rounds=2, time=time)
    assert [one.tokens_per_s for one in found] == pytest.approx([8000, 6000])


def test_nothing_to_time_is_refused():
    for bundles, rounds in (([], 3), ([bundle(32)], 0)):
        with pytest.raises(SpecError, match="needs a bundle and a round"):
            time_in_rounds(bundles, rounds=rounds, time=lambda one: RUN)
