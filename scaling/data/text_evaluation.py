"""What a run of text is measured on: held-out text of its source, of its teacher, and of another kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scaling.data.batches import check_fit
from scaling.data.counter import permute, random_at
from scaling.data.eval_sets import EvalSet, EvalSets, batch_shape
from scaling.data.recut import open_recut
from scaling.data.shards import TokenShards, open_shards
from scaling.data.text import measured_on, open_other_text, open_text, open_tokenizer, teacher_text_dir
from scaling.errors import DataError
from scaling.records import RunStore
from scaling.spec import CorpusSpec, MixtureTeacher, RealTeacher, RunSpec, TextSource


def text_sets(spec: RunSpec, source: TextSource, store: RunStore) -> EvalSets:
    """Held-out text, the teacher's where there is one, and another one where it is asked for."""
    check_fit(spec)
    text = open_text(source, "held_out", store)
    real = _text_set(text, spec)
    sets = EvalSets(real=real, bytes_per_token=_bytes_per_token(real, source, store))
    if spec.evaluation.ood is not None:
        sets = _beside_other_text(sets, spec.evaluation.ood, spec, source, store)
    teacher = spec.data.teacher
    if isinstance(teacher, RealTeacher):
        return sets
    seed, context = spec.evaluation.seed, spec.model.context
    folder = teacher_text_dir(store, spec.data, seed=seed, split="held_out", context=context)
    written = open_shards(folder)
    own = _recut_set(written, spec, store) if spec.data.is_recut else _same_cut_set(written, text, spec)
    if spec.data.source_token:
        own = replace(own, bos=spec.data.source_token_id)
    elif isinstance(teacher, MixtureTeacher):
        own = _mixed(real, own, teacher.real, seed)
    # Of a mixture, what is known is the loss of the teacher inside alone; that on other tokens says nothing here.
    unknown = isinstance(teacher, MixtureTeacher) or spec.data.is_recut
    return replace(sets, teacher=own, teacher_loss=None if unknown else written.card.loss_on(measured_on(spec, source)))


def _recut_set(written: TokenShards, spec: RunSpec, store: RunStore) -> EvalSet:
    """What a teacher with more tokens wrote, in those of its student."""
    own, recut = _text_set(written, spec), open_recut(spec.data, store)
    rows = recut.rows(own.sequences.reshape(-1, spec.model.context))
    return replace(own, sequences=rows.reshape(own.sequences.shape), bos=recut.small.eos_id)


def _same_cut_set(written: TokenShards, text: TokenShards, spec: RunSpec) -> EvalSet:
    if written.card.tokenizer != text.card.tokenizer:
        raise DataError(
            f"{written.folder}: the teacher writes with tokenizer {written.card.tokenizer}, the source has "
            f"{text.card.tokenizer}; train the teacher on this source with this tokenizer"
        )
    return _text_set(written, spec)


def _beside_other_text(
    sets: EvalSets, other: CorpusSpec, spec: RunSpec, source: TextSource, store: RunStore
) -> EvalSets:
    """The sets with another text, and what both cost who knows the frequencies of tokens alone."""
    ood = _text_set(open_other_text(other, source, store), spec)
    counts = open_text(source, "train", store).counts()
    # Each token as if it had been seen once more, so that none is impossible.
    cost = np.log(counts.sum() + len(counts)) - np.log(counts + 1)
    unigram, ood_unigram = (float(cost[one.sequences].mean()) for one in (sets.real, ood))
    return replace(
        sets,
        ood=ood,
        ood_bytes_per_token=_bytes_per_token(ood, source, store),
        unigram_loss=unigram,
        ood_unigram_loss=ood_unigram,
    )


def _bytes_per_token(text: EvalSet, source: TextSource, store: RunStore) -> float:
    return float(open_tokenizer(source, store).n_bytes[text.sequences].mean())


def _mixed(real: EvalSet, teacher: EvalSet, share: float, seed: int) -> EvalSet:
    """As many sequences as the smaller set has, a share of them real."""
    flat = [one.sequences.reshape(-1, one.sequences.shape[-1]) for one in (real, teacher)]
    n = min(map(len, flat))
    n_batches, b = batch_shape(n, n)
    is_real = random_at(seed, "mixture evaluation").permutation(n_batches * b) < round(share * n_batches * b)
    sequences = np.where(is_real[:, None], flat[0][: len(is_real)], flat[1][: len(is_real)])
    return replace(teacher, sequences=sequences.reshape(n_batches, b, -1))


def _text_set(shards: TokenShards, spec: RunSpec) -> EvalSet:
    """Windows spread over a held-out text by a permutation that depends on the evaluation seed alone."""
    context = spec.model.context
    per_sequence = shards.card.sequence_tokens
    lengths = [(shard.tokens, per_sequence or shard.tokens) for shard in shards.card.shards]
    per_shard = [total // piece * (piece // context) for total, piece in lengths]
    available = sum(per_shard)
    if available == 0:
        raise DataError(
            f"{shards.folder}: the held-out text is shorter than one context of {context} tokens; "
            "use more text, a larger held_out share, or a smaller model.context"
        )
    n_batches, b = batch_shape(-(-spec.evaluation.tokens // context), available)
    chosen = np.sort(permute(np.arange(n_batches * b), available, seed=spec.evaluation.seed))
    shard = np.searchsorted(np.cumsum(per_shard), chosen, side="right")
    within = chosen - np.concatenate([[0], np.cumsum(per_shard)])[shard]
    piece = np.array([piece for _, piece in lengths])[shard]
    offset = within // (piece // context) * piece + within % (piece // context) * context
    sequences = shards.windows(shard, offset, context).reshape(n_batches, b, context)
    return EvalSet(sequences, shards.card.bos, np.ones(context, bool))
