"""The exported file, read back and run by a phone engine, beside what was forecast before it was trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scaling.accounting import ENGINE_MEMORY, this_architecture
from scaling.compress.degradation import Degradation, degradation, paired
from scaling.data.evaluation import EvalBatch, EvalSet, evaluation_sets
from scaling.data.text import open_tokenizer
from scaling.errors import EngineError
from scaling.export.bundle import Bundle, load_tensors
from scaling.export.checks import Check, Greedy, compare, meets_target
from scaling.export.engine import Engine, EngineRun, engine_for
from scaling.export.format import ReadBack
from scaling.predict.devices import device
from scaling.predict.footprint import Footprint
from scaling.predict.recommend import Recommendation
from scaling.predict.speed import Speed, decode_speed
from scaling.records import Outcome, RunStore
from scaling.spec import TextSource
from scaling.stop import check_stop, interruptible
from scaling.train.model import Student, from_tensors

GREEDY_TOKENS = 16
ENGINE_TOKENS = 512
"""Tokens on which the engine's own loss is measured, one position at a time."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was measured of an exported student. Losses are nats/token.

    Attributes:
        outcome: Of the student's own training, float weights.
        read_back: Float student against the weights read back from the file, on the real held-out set.
        file_bytes: Size of the file.
        engine: The engine's run; None if no engine is usable here.
        engine_error: Why not.
        engine_cost: Read-back student in JAX against the engine itself, on a few hundred tokens.
        greedy: The engine's text against JAX.
        texts_equal: Held-out texts that the engine cuts into the same tokens, and all tried; None for a world.
        memory: Forecast of the memory on this machine, whose processor need not be a phone's.
        speed: Forecast decoding speed.
        device: Device of that forecast.
        checks: All comparisons, that with the target first.
        target_met: True if the student's loss is what was asked for; None if it has none.
    """

    outcome: Outcome
    read_back: Degradation
    file_bytes: int
    engine: EngineRun | None
    engine_error: str | None
    engine_cost: Degradation | None
    greedy: Greedy | None
    texts_equal: tuple[int, int] | None
    memory: Footprint
    speed: Speed
    device: str
    checks: tuple[Check, ...]
    target_met: bool | None

    @property
    def passed(self) -> bool:
        """No promise is broken."""
        return all(check.passed is not False for check in self.checks if check.kind == "promise")

    @property
    def succeeded(self) -> bool:
        """No promise is broken, and the target is not missed."""
        return self.passed and self.target_met is not False


@interruptible()
def verify(
    bundle: Bundle,
    store: RunStore,
    recommendation: Recommendation,
    *,
    loss_name: str = "loss",
    device_name: str = "x86-core",
    engine_name: str | None = None,
    engine_tokens: int = ENGINE_TOKENS,
) -> Verification:
    """Measure an exported student in every way that was forecast.

    Args:
        bundle: The export.
        store: Where its run and its held-out data lie.
        recommendation: What was forecast of it.
        loss_name: Field of Outcome that the fit forecasts.
        device_name: Device whose speed is forecast.
        engine_name: Engine that runs the file; by default the one whose memory was forecast.
        engine_tokens: Tokens of the engine's own loss; 0 for none.

    Raises:
        ExportError: if the file cannot be read back, or holds weights that are not finite.
        RecordError: if its run is not in the store.
    """
    run = bundle.manifest.run
    outcome, file = store.load(run.run_id).outcome, bundle.read()
    real = evaluation_sets(run, store).real
    check_stop()
    read_back = degradation(run.model, load_tensors(store, run), file.tensors, real)
    check_stop()
    engine_run, engine_error, engine_cost, greedy, texts_equal = None, None, None, None, None
    # The cache is as long as the one whose memory was forecast.
    cache = recommendation.question.context or run.model.context
    try:
        engine = engine_for(bundle.manifest.format, engine_name)
        student = from_tensors(file.model, file.tensors)
        engine_run, greedy = _run_engine(engine, bundle, file, student, real, cache=cache)
        texts_equal = _compare_tokenizer(engine, bundle, store, real)
        check_stop()
        engine_cost = _engine_cost(engine, bundle, file, student, real, engine_tokens)
    except EngineError as error:
        engine_error = error
    speed = decode_speed(run.model, device(device_name), storage=bundle.format.stored.storage)
    loss, memory = getattr(outcome, loss_name), _memory_here(recommendation.footprint, bundle)
    checks = compare(
        recommendation,
        loss=loss,
        read_back=read_back,
        most_damage=bundle.format.most_damage,
        file_bytes=file.file_bytes,
        engine=engine_run,
        engine_error=engine_error,
        engine_cost=engine_cost,
        greedy=greedy,
        texts_equal=texts_equal,
        memory=memory,
        speed=speed,
    )
    return Verification(
        outcome=outcome,
        read_back=read_back,
        file_bytes=file.file_bytes,
        engine=engine_run,
        engine_error=None if engine_error is None else str(engine_error),
        engine_cost=engine_cost,
        greedy=greedy,
        texts_equal=texts_equal,
        memory=memory,
        speed=speed,
        device=device_name,
        checks=checks,
        target_met=meets_target(recommendation, loss),
    )


def _memory_here(phone: Footprint, bundle: Bundle) -> Footprint:
    """What was forecast for a phone, with what the engine copies on this machine's processor."""
    stored = bundle.format.stored
    engine = ENGINE_MEMORY[stored.engine]
    return replace(
        phone,
        repacked_bytes=engine.repacked_bytes(bundle.manifest.run.model, stored.storage, this_architecture()),
    )


def _run_engine(
    engine: Engine, bundle: Bundle, file: ReadBack, student: Student, real: EvalSet, *, cache: int
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


def _compare_tokenizer(engine: Engine, bundle: Bundle, store: RunStore, real: EvalSet) -> tuple[int, int] | None:
    """Texts that the engine cuts as the student's tokenizer does, of all tried; None where there is no text."""
    source = bundle.manifest.run.data.source
    if not isinstance(source, TextSource):
        return None
    tokenizer = open_tokenizer(source, store)
    texts = [tokenizer.decode(tokens) for tokens in next(iter(real)).targets]
    told = engine.tokenize(bundle.model_path, texts)
    if len(told) != len(texts):
        raise EngineError(f"{engine.name} cut {len(told)} texts, where {len(texts)} were asked for")
    ours = (tokenizer.encode(text).tolist() for text in texts)
    return sum(theirs == own for theirs, own in zip(told, ours, strict=True)), len(texts)


def _engine_cost(
    engine: Engine, bundle: Bundle, file: ReadBack, student: Student, real: EvalSet, n_tokens: int
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
    return paired(_losses(_log_probs(student, tokens), batch), _losses(told, batch))


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
