"""What an engine does with an exported file, beside the same weights in JAX."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scaling.compress.degradation import Degradation, paired
from scaling.data.eval_sets import EvalBatch, EvalSet
from scaling.data.text import open_tokenizer
from scaling.errors import EngineError
from scaling.export.bundle.files import Bundle
from scaling.export.engine import Engine, EngineRun, FileRefusedError
from scaling.export.findings import Greedy, InEngine
from scaling.export.hostile import hostile_texts
from scaling.formats.student import StudentFile
from scaling.records import RunStore
from scaling.spec import Source, TextSource
from scaling.stop import check_stop
from scaling.train.student.model import Student, from_tensors

GREEDY_TOKENS = 16
ENGINE_TOKENS = 512
"""Tokens on which the engine's own loss is measured, one position at a time."""


def measure(
    engine: Engine,
    bundle: Bundle,
    file: StudentFile,
    store: RunStore,
    source: Source,
    real: EvalSet,
    *,
    cache: int,
    n_tokens: int = ENGINE_TOKENS,
) -> InEngine:
    """Run a bundle in an engine; what it does wrong ends the measurement and is part of the result.

    Args:
        engine: Runs its format.
        bundle: The export.
        file: The same, read back.
        store: Where the text of its run lies.
        source: Of that text.
        real: Held-out sequences.
        cache: Length of the key–value cache.
        n_tokens: Tokens of the engine's own loss; 0 for none.
    """
    found = InEngine()
    student = from_tensors(file.model, file.tensors)
    # Each step is kept as soon as it is there: what fails later does not take it away.
    try:
        run, greedy = _run_engine(engine, bundle, file, student, real, cache=cache)
        found = replace(found, run=run, greedy=greedy)
        found = replace(found, texts_equal=_compare_tokenizer(engine, bundle, source, store, real))
        check_stop()
        return replace(found, cost=_engine_cost(engine, bundle, file, student, real, n_tokens))
    except EngineError as error:
        return replace(found, error=str(error), refused=isinstance(error, FileRefusedError))


def _run_engine(
    engine: Engine, bundle: Bundle, file: StudentFile, student: Student, real: EvalSet, *, cache: int
) -> tuple[EngineRun, Greedy]:
    """Continue the beginning of the first held-out sequence, in the engine and in JAX."""
    context = file.model.context
    sequence = next(iter(real)).inputs[0]
    n_tokens = min(GREEDY_TOKENS, context // 2)
    prompt = [int(token) for token in sequence[: max(1, min(32, context - n_tokens))]]
    run = engine.run(bundle.model_path, prompt, n_tokens=n_tokens, context=context, cache=cache)
    written, vocab_size = run.token_ids, file.model.vocab_size
    if len(written) > n_tokens or not all(0 <= token < vocab_size for token in written):
        raise EngineError(f"{run.engine} wrote {written}, where {n_tokens} tokens below {vocab_size} were asked for")
    return run, _compare_greedy(student, prompt, run.token_ids)


def _compare_greedy(student: Student, prompt: list[int], written: tuple[int, ...]) -> Greedy:
    """One forward pass over the engine's text: its tokens are greedy where each is the likeliest after those before."""
    log_probs = _log_probs(student, np.array([[*prompt, *written]], np.int32))[0, len(prompt) - 1 : -1]
    behind = log_probs.max(axis=1) - log_probs[np.arange(len(written)), list(written)]
    different = np.flatnonzero(behind > 0)
    return Greedy(
        n_tokens=len(written),
        n_equal=int(different[0]) if len(different) else len(written),
        behind=float(behind.max(initial=0.0)),
    )


def _compare_tokenizer(
    engine: Engine, bundle: Bundle, source: Source, store: RunStore, real: EvalSet
) -> tuple[int, int] | None:
    """Texts that the engine cuts as the student's tokenizer does, of all tried; None where there is no text."""
    if not isinstance(source, TextSource):
        return None
    tokenizer = open_tokenizer(source, store)
    texts = [tokenizer.decode(tokens) for tokens in next(iter(real)).targets]
    texts += hostile_texts()
    told = engine.tokenize(bundle.model_path, texts)
    if len(told) != len(texts):
        raise EngineError(f"{engine.name} cut {len(told)} texts, where {len(texts)} were asked for")
    ours = (tokenizer.encode(text).tolist() for text in texts)
    return sum(theirs == own for theirs, own in zip(told, ours, strict=True)), len(texts)


def _engine_cost(
    engine: Engine, bundle: Bundle, file: StudentFile, student: Student, real: EvalSet, n_tokens: int
) -> Degradation | None:
    """Loss of JAX on the file's weights against the engine's, on the first sequences of a set, their last token apart.

    The engine wants room for one token more than it reads.
    """
    if n_tokens <= 0:
        return None
    batch = next(iter(real))
    tokens = batch.inputs[: max(2, -(-n_tokens // batch.inputs.shape[1])), :-1]
    told = engine.log_probs(bundle.model_path, tokens, tokenizer=file.tokenizer, context=file.model.context)
    if told.shape != (*tokens.shape, file.model.vocab_size):
        raise EngineError(
            f"{engine.name} gave probabilities {told.shape}, where {(*tokens.shape, file.model.vocab_size)} are needed"
        )
    scored = batch.weights[: len(tokens), : tokens.shape[1]].sum(axis=1, dtype=np.float64)
    return paired(_losses(_log_probs(student, tokens), batch), _losses(told, batch), scored)


def _log_probs(student: Student, tokens: np.ndarray) -> np.ndarray:
    """float64[n, T, V], nats; compiled for one shape, whatever is asked."""
    n, time = tokens.shape
    rows = -(-n // 16) * 16
    padded = np.zeros((rows, student.model.context), np.int32)
    padded[:n, :time] = tokens
    return np.asarray(_compiled(student, jnp.asarray(padded))[:n, :time], np.float64)


@nnx.jit
def _compiled(student: Student, tokens: jax.Array) -> jax.Array:
    return jax.nn.log_softmax(student(tokens))


def _losses(log_probs: np.ndarray, batch: EvalBatch) -> np.ndarray:
    """Mean loss of each sequence, float64[n]: expected under the world's law where there is one, else of the tokens."""
    n, time = log_probs.shape[:2]
    if batch.p is None:
        token_loss = -np.take_along_axis(log_probs, batch.targets[:n, :time, None], axis=-1)[..., 0]
    else:
        p = batch.p[:n, :time]
        token_loss = -np.sum(p * np.where(p > 0, log_probs, 0.0), axis=-1)
    weights = batch.weights[:n, :time]
    counted = np.where(weights > 0, token_loss, 0.0)  # where nothing counts, infinity does not either
    return np.sum(counted * weights, axis=1, dtype=np.float64) / weights.sum(axis=1)
