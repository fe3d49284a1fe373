"""Online code length: the bits in which a learner tells a text while it learns it, beside what its law integrates to.

A sender and a receiver train the same student on what was sent so far, and send the next block in its code. One trunk
holds what that takes: its branches at ``t_1 < … < t_n`` tokens are the students, each fresh from a cooldown of its own,
and their held-out loss stands for the loss on the block that comes next.

**Source:** Blier & Ollivier 2018, arXiv 1802.07044; Yogatama et al. 2019, arXiv 1901.11373; Voita & Titov 2020,
arXiv 2003.12298.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import RecordError
from scaling.fit.describe import left_out_by_reason
from scaling.fit.fitter import fit
from scaling.fit.tuning.critical_batch import tokens_to_loss
from scaling.laws.named import AUTO
from scaling.tables.observe import observe
from scaling.tables.read import select_rows
from scaling.tables.units import size_column

if TYPE_CHECKING:
    import pandas as pd

    from scaling.tables.observations import Observations

Array = np.ndarray
LossOfTokens = Callable[[Array], Array]

OWN = "power"
"""The law of one arm alone, E + B/D^β: for a table without sizes, whose arms have nothing in common."""
FEWEST_BRANCHES = 4
"""An arm's own law has three coefficients."""
NODES = 24
"""Gauss–Legendre nodes over ln D between two branches; a power law is integrated to rounding error."""


@dataclass(frozen=True, kw_only=True)
class CodeLength:
    """The code of one text by students of one size.

    Attributes:
        text: Whose text the students read; what is coded is the text that the column of the loss was measured on.
        n: Parameters; NaN in a table without sizes.
        d: Tokens coded: D of the last branch.
        branches: How many volumes D the code goes through.
        bits: ``t_1·log2 V + Σ_i (t_{i+1} − t_i)·L(t_i)/ln 2``, seeds averaged.
        bits_se: Its standard error by the held-out sets, which all branches share; NaN where none was measured.
        law: Title of the law.
        law_bits: The same sum over the law's losses.
        integral_bits: ``t_1·log2 V + ∫ L(D) dD / ln 2`` from ``t_1`` to the last branch: the law's code where the
            student learns after every token.
        agreement: ``bits/law_bits − 1`` behind the first block, which both code alike. The law was fitted to the
            same runs.
        block_cost: ``law_bits/integral_bits − 1`` likewise: what it costs to learn after whole blocks alone.
        tokens_to_loss: Least D at which the loss is reached, by `scaling.fit.tuning.critical_batch.tokens_to_loss`
            between branches; the first branch's D where that one is there already, infinite where none is.
    """

    text: str
    n: float
    d: float
    branches: int
    bits: float
    bits_se: float
    law: str
    law_bits: float
    integral_bits: float
    agreement: float
    block_cost: float
    tokens_to_loss: float


@dataclass(frozen=True, kw_only=True)
class CodeLengths:
    """The arms of a table.

    Attributes:
        target_loss: That `CodeLength.tokens_to_loss` is about, nats/token.
        vocab_size: V of the first block's uniform code.
        arms: One a text and size.
        left_out: What has no code, with the reason.
    """

    target_loss: float
    vocab_size: int
    arms: tuple[CodeLength, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Arm:
    """The branches of one text and size: D ascending, losses averaged over seeds."""

    text: str
    n: float
    d: Array
    loss: Array
    loss_se: Array

    def tokens_to(self, goal: float) -> float:
        """See `CodeLength.tokens_to_loss`."""
        if self.loss[0] <= goal:
            return float(self.d[0])
        return tokens_to_loss(self.d, self.loss, goal) if self.loss.min() <= goal else math.inf


def code_lengths(
    runs: pd.DataFrame,
    *,
    law: str = AUTO,
    n: str | None = None,
    d: str = "n_tokens",
    loss: str = "loss",
    by: Sequence[str] = (),
    vocab_size: int | None = None,
    target_loss: float | None = None,
    where: str | None = None,
) -> CodeLengths:
    """Code lengths of all arms of a runs table, each beside the law of the table.

    Args:
        runs: One row a branch.
        law: Fitted to all runs together, by default the best form: what is averaged for larger runs leaves the least
            trained ones out, of which a code is made; ``"power"`` is fitted to each arm alone, as in every table
            without sizes.
        n, d, loss: Columns; by default the first size that the table has.
        by: Columns that tell the texts apart, in place of text_id and teacher. Runs that went on from another's weights
            are left out, unless a column of their start is among these.
        vocab_size: V; by default the table's column.
        target_loss: nats/token; by default the lowest loss that every arm reaches.
        where: Expression that keeps rows.

    Raises:
        RecordError: no vocabulary, columns missing, or no arm with two branches.
        FitError: the runs are too few for any law.
    """
    runs = _named_by(select_rows(runs, where), by)
    vocab = _vocabulary(runs, vocab_size)
    size = n or size_column(runs.columns)
    together = law != OWN and (n is not None or size in runs)
    sizes = {"n": size} if n is not None or size in runs else {}
    data = observe(runs, columns={**sizes, "d": d}, loss=loss)
    arms, left_out = _arms(data, fewest=2 if together else FEWEST_BRANCHES)
    # A row that no law describes has no code either.
    left_out = [*(f"{count} rows: {why}" for why, count in left_out_by_reason(data.excluded).items()), *left_out]
    if not arms:
        raise RecordError(f"no arm has a code: {'; '.join(left_out)} — train a trunk with more branches (tokens: […])")
    goal = max(arm.loss.min() for arm in arms) if target_loss is None else target_loss
    law_of = _joint_law(runs, law, size, d, loss) if together else _own_law
    coded = tuple(_coded(arm, *law_of(arm), vocab, goal) for arm in arms)
    return CodeLengths(target_loss=float(goal), vocab_size=vocab, arms=coded, left_out=tuple(left_out))


def block_bits(d: Array, losses: Array, vocab_size: int) -> float:
    """``t_1·log2 V + Σ_i (t_{i+1} − t_i)·L(t_i)/ln 2`` of branches at ``d``."""
    return float(d[0] * math.log2(vocab_size) + np.diff(d) @ losses[:-1] / math.log(2))


def integral_bits(d: Array, loss_of: LossOfTokens, vocab_size: int) -> float:
    """``t_1·log2 V + ∫ L(D) dD / ln 2`` from the first branch to the last."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    low, high = np.log(d[:-1, None]), np.log(d[1:, None])
    # ∫ L dD = ∫ L·D d(ln D): in ln D a power law is smooth at every scale.
    at = np.exp((high + low) / 2 + (high - low) / 2 * nodes)
    area = float(np.sum((high - low) / 2 * weights * at * loss_of(at.ravel()).reshape(at.shape)))
    return d[0] * math.log2(vocab_size) + area / math.log(2)


def _coded(arm: _Arm, title: str, loss_of: LossOfTokens, vocab_size: int, goal: float) -> CodeLength:
    bits = block_bits(arm.d, arm.loss, vocab_size)
    by_law = block_bits(arm.d, loss_of(arm.d), vocab_size)
    integral = integral_bits(arm.d, loss_of, vocab_size)
    first = arm.d[0] * math.log2(vocab_size)
    return CodeLength(
        text=arm.text,
        n=arm.n,
        d=float(arm.d[-1]),
        branches=len(arm.d),
        bits=bits,
        bits_se=float(np.diff(arm.d) @ arm.loss_se[:-1] / math.log(2)),
        law=title,
        law_bits=by_law,
        integral_bits=integral,
        agreement=(bits - first) / (by_law - first) - 1,
        block_cost=(by_law - first) / (integral - first) - 1,
        tokens_to_loss=arm.tokens_to(goal),
    )


def _joint_law(runs: pd.DataFrame, law: str, n: str, d: str, loss: str) -> Callable[[_Arm], tuple[str, LossOfTokens]]:
    """The law of all runs together, asked for one arm at a time."""
    # Inside its runs a law is asked for what it was fitted to: one that must not forecast may still answer.
    found = fit(runs, law=law, n=n, d=d, loss=loss, bootstrap=0, strict=False)
    return lambda arm: (found.law.title, lambda tokens: found.loss(n=arm.n, d=tokens, teacher=arm.text))


def _own_law(arm: _Arm) -> tuple[str, LossOfTokens]:
    """E + B/D^β of one arm's branches."""
    import pandas as pd

    table = pd.DataFrame({"x": arm.d, "loss": arm.loss})
    found = fit(table, law=OWN, columns={"x": "x"}, bootstrap=0, strict=False)
    return found.law.title, lambda tokens: found.loss(x=tokens)


def _arms(data: Observations, *, fewest: int) -> tuple[list[_Arm], list[str]]:
    """Branches by text and size, and what has too few of them."""
    arms, left_out = [], []
    sizes = data.columns.get("n", np.full(len(data), math.nan))
    se = np.full(len(data), math.nan) if data.loss_se is None else data.loss_se
    for code, size in sorted(set(zip(data.teacher.tolist(), np.nan_to_num(sizes).tolist(), strict=True))):
        own = (data.teacher == code) & (np.nan_to_num(sizes) == size)
        d = np.unique(data.columns["d"][own])
        at = [own & (data.columns["d"] == value) for value in d]
        name = data.teachers[code]
        if len(d) < fewest:
            left_out.append(f"{name}, N = {size:.4g}: {len(d)} volumes, a code and its law need {fewest}")
            continue
        # Branches of several seeds are one student of mean loss.
        losses, errors = ([float(values[rows].mean()) for rows in at] for values in (data.loss, se))
        arms.append(_Arm(name, size or math.nan, d, np.array(losses), np.array(errors)))
    return arms, left_out


def _named_by(runs: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The table with its texts told apart by other columns than its own."""
    if missing := [name for name in by if name not in runs]:
        raise RecordError(
            f"no column {', '.join(missing)} to tell texts apart by; the table has {', '.join(map(str, runs))}"
        )
    if not by:
        return runs
    label = [" ".join(filter(None, map(_word, cells))) for cells in runs[list(by)].itertuples(index=False)]
    # Told apart by their start, those that went on from other weights are learners too: no law is to leave them out.
    own_start = {"start_tokens": 0} if any(name.startswith("start") for name in by) else {}
    named = runs.drop(columns=[name for name in ("text_id", "trunk_id") if name in runs])
    return named.assign(teacher=label, **own_start)


def _word(cell: object) -> str:
    """A cell as part of a label; an empty one has no part in it."""
    if isinstance(cell, float):
        return "" if math.isnan(cell) else f"{cell:g}"
    return str(cell)


def _vocabulary(runs: pd.DataFrame, given: int | None) -> int:
    """V of the first block's uniform code."""
    if given is not None:
        return given
    sizes = runs["vocab_size"].dropna().unique().tolist() if "vocab_size" in runs else []
    if len(sizes) != 1:
        got = ", ".join(f"{size:g}" for size in sizes) or "no column vocab_size"
        raise RecordError(f"the first block is coded at log2 V bits/token: got {got} — give one V: --vocab 1024")
    return int(sizes[0])
