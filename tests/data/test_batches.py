"""Streams: determined by the specification, seekable, the same however they are read."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from scaling.data.batches import Stream, open_stream
from scaling.data.mixing import STRETCH, MixedSequences, quotas
from scaling.data.sequences import Sequences, TextSequences, WorldSequences
from scaling.data.shards import Card, open_shards, write_card, write_shard
from scaling.data.worlds import open_generator
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import FactSource, RunSpec
from tests.streams import batch_of


def run_spec(seed=0, teacher=None, **model):
    return RunSpec.model_validate(
        {
            "model": {"vocab_size": 65, "width": 32, "context": 40, **model},
            "data": {"source": {"kind": "w0"}, "teacher": teacher or {"kind": "real"}, "seed": seed},
            "optim": {"batch_size": 12},
            "tokens": 1000,
        }
    )


@dataclass(frozen=True)
class Numbered(Sequences):
    """Sequences that say whose they are and where they lie."""

    name: int
    n_distinct: int | None = None
    bos: int = 0
    context: int = 2

    def at(self, index):
        return np.stack([np.full(len(index), self.name), index], axis=1).astype(np.int32)


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def test_steps_read_one_by_one_or_many_at_once_are_the_same(store):
    many = open_stream(run_spec(), store).batches(80, 20)
    single = open_stream(run_spec(), store)
    for i in (3, 0, 19, 7):
        one = batch_of(single, 80 + i)
        assert np.array_equal(one.inputs, many.inputs[i])
        assert np.array_equal(one.targets, many.targets[i])


def test_inputs_begin_with_bos_and_targets_follow(store):
    batch = batch_of(open_stream(run_spec(), store), 0)
    assert batch.inputs.shape == batch.targets.shape == (12, 40)
    assert batch.inputs.dtype == batch.targets.dtype == np.int32
    assert np.all(batch.inputs[:, 0] == 64)
    assert np.array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])


def test_the_model_does_not_change_what_is_read_but_the_seed_does(store):
    small, large = (batch_of(open_stream(run_spec(width=w), store), 9) for w in (32, 64))
    other = batch_of(open_stream(run_spec(seed=1), store), 9)
    assert np.array_equal(small.targets, large.targets)
    assert not np.array_equal(small.targets, other.targets)


def test_a_world_never_repeats_a_token(store):
    assert open_stream(run_spec(), store).n_unique_tokens(1000) == 1000 * 12 * 40


@pytest.mark.parametrize(("model", "cure"), [({"vocab_size": 66}, "set it to 65"), ({"context": 48}, "set it to 40")])
def test_a_model_that_does_not_fit_the_source_is_refused(store, model, cure):
    with pytest.raises(DataError, match=cure):
        open_stream(run_spec(**model), store)


@pytest.mark.parametrize(
    ("source", "vocab_size", "context"),
    [({"kind": "w1", "n_symbols": 40, "context": 24}, 41, 24), ({"kind": "w2", "n_symbols": 8, "depth": 3}, 9, 8)],
)
def test_every_world_streams(store, source, vocab_size, context):
    spec = run_spec(vocab_size=vocab_size, context=context).model_dump()
    spec["data"]["source"] = source
    stream = open_stream(RunSpec.model_validate(spec), store)
    batch = stream.batches(3, 2)
    assert np.array_equal(batch.targets[1], batch_of(stream, 4).targets)
    assert np.all(batch.inputs[..., 0] == vocab_size - 1)
    assert batch.targets.max() < vocab_size - 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 12])
def test_processes_read_disjoint_rows_that_make_up_the_stream(store, count):
    whole = open_stream(run_spec(), store).batches(5, 3)
    parts = [open_stream(run_spec(), store).shard(i, count) for i in range(count)]
    for name in ("inputs", "targets"):
        together = np.concatenate([getattr(part.batches(5, 3), name) for part in parts], axis=1)
        assert np.array_equal(together, getattr(whole, name))
    # Resumed in the middle, one step at a time, by other objects.
    again = [batch_of(part.shard(i, count), 7).targets for i, part in enumerate(parts)]
    assert np.array_equal(np.concatenate(again), whole.targets[2])


def test_a_batch_that_cannot_be_shared_is_refused(store):
    with pytest.raises(DataError, match="batch of 12 sequences cannot be shared equally, as part 0 of 5"):
        open_stream(run_spec(), store).shard(0, 5)


def test_a_process_of_several_devices_reads_the_parts_of_them_all(store):
    whole = open_stream(run_spec(), store).batches(5, 3)
    parts = [open_stream(run_spec(), store).shard(*part, parts=n) for *part, n in ((0, 6, 1), (1, 6, 3), (4, 6, 2))]
    assert [len(part.rows) for part in parts] == [2, 6, 4]
    together = np.concatenate([part.batches(5, 3).targets for part in parts], axis=1)
    assert np.array_equal(together, whole.targets)


def test_no_sequence_of_another_process_is_asked_for():
    asked = []

    class Noting(Numbered):
        def at(self, index):
            asked.append(index)
            return super().at(index)

    lists = Noting(0), Noting(1)
    read = Stream(MixedSequences(lists, (0.5, 0.5), seed=0), 8).shard(1, 4).batches(3, 5)
    assert read.targets.shape == (5, 2, 2)
    whole = Stream(MixedSequences((Numbered(0), Numbered(1)), (0.5, 0.5), seed=0), 8).batches(3, 5)
    assert np.array_equal(read.targets, whole.targets[:, 2:4])
    assert sum(map(len, asked)) == 5 * 2


@dataclass(frozen=True)
class WatchedGenerator:
    """A generator that tells how many sequences it was asked for."""

    generator: object
    asked: list

    def __getattr__(self, name):
        return getattr(self.generator, name)

    def sequences(self, seed, start, count):
        self.asked.append(count)
        return self.generator.sequences(seed, start, count)


@pytest.mark.parametrize(("batch_size", "asked"), [(8, [8 * 19 + 2]), (2048, [512] * 20)])
def test_a_world_leaves_out_whole_blocks_and_writes_those_that_processes_share(batch_size, asked):
    generator = WatchedGenerator(open_generator(FactSource(kind="w0")), [])
    stream = Stream(WorldSequences(generator, 0), batch_size).shard(2, 4)
    whole = Stream(WorldSequences(generator.generator, 0), batch_size).batches(1, 20)
    own = slice(batch_size // 2, batch_size * 3 // 4)
    assert np.array_equal(stream.batches(1, 20).targets, whole.targets[:, own])
    assert generator.asked == asked


def test_a_text_that_ends_within_a_batch_ends_for_every_process():
    @dataclass(frozen=True)
    class Ending(Numbered):
        def require(self, count):
            if count > 30:
                raise DataError("the text has ended")

    mixed = MixedSequences((Numbered(0), Ending(1)), (0.5, 0.5), seed=0)
    begun = next(count for count in range(100) if mixed.n_of(1, count) > 30) // 8
    for index in range(4):
        stream = Stream(mixed, 8).shard(index, 4)
        assert stream.batches(0, begun).targets.shape == (begun, 2, 2)
        with pytest.raises(DataError, match="has ended"):
            stream.batches(begun, 1)


def marked(real=0.25):
    return {"kind": "mixture", "real": real, "teacher": {"kind": "noise", "rate": 0.5}, "source_token": True}


def test_marked_sequences_begin_with_who_wrote_them(store):
    plain = {**marked(), "source_token": False}
    told = open_stream(run_spec(teacher=marked(), vocab_size=66), store).batches(0, 200)
    mixed = open_stream(run_spec(teacher=plain), store).batches(0, 200)
    real = open_stream(run_spec(), store).batches(0, 200)
    assert np.array_equal(told.targets, mixed.targets)
    assert np.array_equal(told.inputs[..., 1:], mixed.inputs[..., 1:])
    begin = told.inputs[..., 0]
    assert set(np.unique(begin)) == {64, 65}
    same = (told.targets == real.targets).all(-1)
    assert same[begin == 64].all()
    assert same[begin == 65].mean() < 0.01
    assert (begin == 64).mean() == pytest.approx(0.25, abs=0.03)


def test_a_marked_mixture_needs_one_token_more(store):
    with pytest.raises(DataError, match="has 66 tokens, that of what the teacher wrote included; set it to 66"):
        open_stream(run_spec(teacher=marked()), store)


def test_lists_are_mixed_in_their_shares_and_each_is_read_in_order():
    mixed = MixedSequences((Numbered(0), Numbered(1), Numbered(2)), (0.5, 0.3, 0.2), seed=1)
    read = mixed.read(0, 3 * STRETCH)
    for name, share in enumerate((0.5, 0.3, 0.2)):
        own = read[read[:, 0] == name, 1]
        assert np.array_equal(own, np.arange(len(own))), "none is left out, none comes twice"
        assert len(own) / len(read) == pytest.approx(share, abs=1 / STRETCH)
        assert mixed.n_of(name, 5000) == (read[:5000, 0] == name).sum()
    halves = [(read[: STRETCH // 2, 0] == name).mean() for name in range(3)]
    assert halves == pytest.approx([0.5, 0.3, 0.2], abs=0.04), "mixed throughout"
    other = MixedSequences(mixed.parts, mixed.weights, seed=2)
    assert not np.array_equal(other.read(0, 100), read[:100])


def test_a_mixture_of_lists_is_found_at_any_position():
    mixed = MixedSequences((Numbered(0), Numbered(1)), (1 / 3, 2 / 3), seed=0, begin=(7, 8))
    whole = mixed.read(0, 9000)
    for start, count in ((0, 1), (4095, 2), (8190, 800)):
        assert np.array_equal(mixed.read(start, count), whole[start : start + count])
        assert np.array_equal(mixed.first(start, count), 7 + whole[start : start + count, 0])
    far = mixed.read(10**12, 3)
    assert np.array_equal(mixed.read(10**12 + 2, 1), far[2:])


def test_tokens_of_a_mixture_are_counted_by_list():
    mixed = MixedSequences((Numbered(0, n_distinct=10), Numbered(1)), (0.25, 0.75), seed=0)
    assert mixed.n_unique(20) == 20
    assert mixed.n_unique(4 * STRETCH) == 10 + 3 * STRETCH


@pytest.mark.parametrize(("weights", "cure"), [((0.5, 0.4), "sum to 1"), ((1.0 - 1e-5, 1e-5), "leave the source out")])
def test_weights_that_are_no_shares_are_refused(weights, cure):
    with pytest.raises(DataError, match=cure):
        quotas(weights)


def test_every_epoch_of_a_text_has_an_order_of_its_own(tmp_path):
    """A token is its own place in the text, so what is read says which window it was."""
    n, context = 400, 8
    tokens = np.arange((n + 1) * context)
    card = Card(text="real", split="train", source="x", vocab_size=1 << 16, tokenizer="t")
    write_card(tmp_path, replace(card, shards=(write_shard(tmp_path, 0, tokens, card.dtype),)))
    text = TextSequences(open_shards(tmp_path), context, seed=3)
    assert text.n_distinct == n
    first_tokens = text.read(0, 4 * n)[:, 0].reshape(4, n)
    orders = (first_tokens - first_tokens.min(1, keepdims=True)) // context
    assert all(sorted(order) == list(range(n)) for order in orders)
    for i in range(4):
        # Two unrelated orders of 400 windows agree in one place, on average.
        assert (orders[i] == np.arange(n)).sum() < 8
        assert all((orders[i] == orders[j]).sum() < 8 for j in range(i))
    assert np.array_equal(text.read(0, 4 * n), TextSequences(open_shards(tmp_path), context, seed=3).read(0, 4 * n))
    other = TextSequences(open_shards(tmp_path), context, seed=4).read(0, n)[:, 0] // context
    assert (other == orders[0]).sum() < 8
