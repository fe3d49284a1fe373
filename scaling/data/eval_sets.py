"""Sequences to be measured on, and the share of answers that are right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from scaling.data.batches import with_bos
from scaling.data.tasks import Task
from scaling.data.tasks.example import Paraphrase

NextTokenProbs = Callable[[np.ndarray], np.ndarray]
"""Distributions of the next token given sequences: int32[b, T] to float64[b, T, V]."""

BATCH = 64
"""Sequences of one evaluation batch, at most."""


@dataclass(frozen=True)
class EvalBatch:
    """A part of an evaluation set; all parts of a set have one shape.

    Attributes:
        inputs: int32[b, T].
        targets: int32[b, T], the tokens that are there; a text's loss is scored on them.
        weights: float32[b, T], 1 where the loss counts and 0 elsewhere.
        p: float32[b, T, V], exact distribution of the next token in the real world; None for text.
        q: the same of the teacher; None for text and where there is no teacher.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    p: np.ndarray | None = None
    q: np.ndarray | None = None


@dataclass(frozen=True)
class EvalSet:
    """Sequences to be measured on, in batches of equal shape.

    Attributes:
        sequences: int32[n_batches, b, T].
        bos: Token that every sequence is predicted from.
        scored: bool[T], positions that count in every sequence, or bool[n_batches, b, T], those of each.
        p: Distribution of the next token given sequences, int32[b, T] to float64[b, T, V]; None for text.
        q: The teacher's, likewise.
    """

    sequences: np.ndarray
    bos: int
    scored: np.ndarray
    p: NextTokenProbs | None = None
    q: NextTokenProbs | None = None

    @property
    def n_sequences(self) -> int:
        return self.sequences.shape[0] * self.sequences.shape[1]

    @property
    def n_scored(self) -> int:
        """Tokens that count in the loss."""
        return int(np.broadcast_to(self.scored, self.sequences.shape).sum())

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[EvalBatch]:
        scored = np.broadcast_to(self.scored, self.sequences.shape).astype(np.float32)
        for sequences, weights in zip(self.sequences, scored, strict=True):
            yield EvalBatch(
                inputs=with_bos(sequences, self.bos),
                targets=sequences,
                weights=weights,
                p=None if self.p is None else self.p(sequences).astype(np.float32),
                q=None if self.q is None else self.q(sequences).astype(np.float32),
            )


@dataclass(frozen=True, kw_only=True)
class EvalSets:
    """All that a run of one source is measured on, and what is known of it beforehand. Nats per scored token.

    Attributes:
        real: Held-out real text.
        teacher: Held-out text of the teacher; None where the student reads the real world.
        entropy: H(p) on the real set; None for text.
        delta_coverage: Part of KL(p‖q) on the real set from contexts that the teacher never learned; None for text,
            and for a teacher that is a student of the world, where its distribution was not given.
        delta_noise: All other KL(p‖q); None likewise.
        generator_delta_coverage: ``delta_coverage`` of the teacher inside a mixture, else None.
        generator_delta_noise: ``delta_noise``, likewise.
        teacher_loss: ``H(p) + KL(p‖q)``, or the measured loss of a trained teacher; None where neither is known.
        bytes_per_token: Bytes of text behind a scored token of the real set; None for worlds.
        ood: What is of another kind than what was read: questions that a task keeps from training, or another text;
            None without either.
        ood_bytes_per_token: ``bytes_per_token`` of another text.
        unigram_loss: On the real set, of who knows how often each token comes in the source's training part and no
            more; known where there is another text.
        ood_unigram_loss: The same on the other text.
        task: What the questions are asked in; None without a task.
        exceptions: Questions that a task taught against its rule, as they were taught; None without any.
        paraphrases: Questions of a task, each beside another way to ask it.
    """

    real: EvalSet
    teacher: EvalSet | None = None
    entropy: float | None = None
    delta_coverage: float | None = None
    delta_noise: float | None = None
    generator_delta_coverage: float | None = None
    generator_delta_noise: float | None = None
    teacher_loss: float | None = None
    bytes_per_token: float | None = None
    ood: EvalSet | None = None
    ood_bytes_per_token: float | None = None
    unigram_loss: float | None = None
    ood_unigram_loss: float | None = None
    task: Task | None = None
    exceptions: EvalSet | None = None
    paraphrases: tuple[Paraphrase, ...] = ()


def batch_shape(n_sequences: int, available: int | None = None) -> tuple[int, int]:
    """Batches of equal shape that hold at least so many sequences, or all there are but a remainder: (n_batches, b)."""
    wanted = n_sequences if available is None else min(n_sequences, available)
    n_batches = -(-wanted // BATCH)
    b = -(-wanted // n_batches)
    return n_batches, b if available is None or n_batches * b <= available else available // n_batches


def share_of(right: np.ndarray) -> tuple[float, float]:
    """Share of right answers and its standard error."""
    share = float(right.sum()) / len(right)
    return share, standard_error(share, len(right))


def ratio(part: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """``Σ part / Σ whole`` and its standard error, by linearisation: Cochran 1977, *Sampling Techniques*, eq. 2.46.

    Args:
        part: float64[n], such as the loss of each sequence.
        whole: float64[n], such as the tokens that it is the loss of.
    """
    n, share = len(part), float(part.sum() / whole.sum())
    if n < 2:
        return share, math.nan
    weights = whole / whole.mean()
    with np.errstate(invalid="ignore"):  # of a part that is not finite nothing is known
        # Less a constant, so that of equal wholes the spread is that of the shares, and nothing is rounded.
        apart = part / whole * weights - share * (weights - 1)
        return share, float(apart.std(ddof=1) / math.sqrt(n))


def standard_error(share: float, n: int) -> float:
    """Of a share r/n: ``se² = (r + ½)(n − r + ½) / (n + 1)³``, which is not zero where all or none are right."""
    return math.sqrt((n * share + 0.5) * (n - n * share + 0.5) / (n + 1) ** 3)
