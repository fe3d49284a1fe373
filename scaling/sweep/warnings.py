"""What is likely to spoil a sweep's answer, said before the compute is spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import geometric_mean

import numpy as np

from scaling.accounting import count_parameters
from scaling.errors import DataError, MissingPackageError
from scaling.fit.identify import LEVELS_NEEDED, levels
from scaling.fit.reach import INSIDE
from scaling.spec import RunSpec, TextSource

NARROWEST_RATIO = 1.5
"""Tokens per parameter that vary by less than this factor tell N from D no better than one ratio does."""

WARMUP_SHARE = 0.2
"""Of a run's tokens, at most for the warmup."""

WIDEST_TRUNK = 4.0
"""Span of tokens over which the branches of one training lose at most .4 % to their common rate (W0, width 128)."""


def warnings_for(specs: Sequence[RunSpec]) -> list[str]:
    """One sentence for every concern, most fundamental first."""
    checks: tuple[Callable[[Sequence[RunSpec]], Iterator[str]], ...] = (
        _levels,
        _confounded,
        _warmup,
        _horizon,
        _repeats,
    )
    return [sentence for check in checks if specs for sentence in check(specs)]


def edge_warning(recommended: RunSpec, specs: Sequence[RunSpec]) -> str | None:
    """A sentence if a recommendation lies at, or beyond, the smallest or largest size that was trained."""
    sizes = sorted({count_parameters(spec.model).n_params for spec in specs})
    chosen = count_parameters(recommended.model).n_params
    if not sizes or sizes[0] < chosen < sizes[-1]:
        return None
    side, more = ("largest", "larger") if chosen >= sizes[-1] else ("smallest", "smaller")
    return (
        f"the recommended size, {chosen:,} parameters, is at the {side} end of the sweep ({sizes[0]:,} to "
        f"{sizes[-1]:,}); add {more} widths, so that the answer lies between runs"
    )


def _levels(specs: Sequence[RunSpec]) -> Iterator[str]:
    for name, values in (
        ("N (model size)", [count_parameters(spec.model).n_params for spec in specs]),
        ("D (tokens)", [spec.n_tokens for spec in specs]),
    ):
        if (found := levels(np.array(values, float))) < LEVELS_NEEDED:
            yield (
                f"{name} has {found} level{'s' * (found != 1)}; its exponent needs at least {LEVELS_NEEDED}, better 4 "
                "a factor of 2 apart"
            )


def _confounded(specs: Sequence[RunSpec]) -> Iterator[str]:
    ratios = [spec.n_tokens / count_parameters(spec.model).n_params for spec in specs]
    if len(specs) > 1 and max(ratios) < NARROWEST_RATIO * min(ratios):
        yield (
            f"all runs have about {geometric_mean(ratios):.3g} tokens per parameter, so N and D move together and "
            "their exponents cannot be told apart; vary tokens at each size"
        )


def _warmup(specs: Sequence[RunSpec]) -> Iterator[str]:
    """Warmups above min(N, D/5) tokens, which bend the curves that a law is fitted to.

    **Source:** Porian et al. 2024, arXiv 2406.19146: a long warmup of small models is what moved Kaplan's exponent.
    """
    longest = {spec: min(count_parameters(spec.model).n_params, WARMUP_SHARE * spec.tokens) for spec in specs}
    slow = [spec for spec in specs if spec.optim.warmup_tokens > longest[spec]]
    if slow:
        yield (
            f"warmup is longer than N or a fifth of D in {len(slow)} of {len(specs)} runs, whose losses then say more "
            f"of it than of size and data; lower optim.warmup_tokens to {int(min(longest.values())):,}"
        )


def _horizon(specs: Sequence[RunSpec]) -> Iterator[str]:
    """Trainings whose branches lie so far apart that no learning rate suits both ends.

    **Source:** the best rate falls about as D^−0.3: Delphi 2026 (openathena.ai), from a run that diverged at 30 × its
    tuned volume; rates .3 to 5 · 1e-3 on W0 at 250k and 1M tokens.
    """
    volumes: dict[str, list[int]] = {}
    for spec in specs:
        volumes.setdefault(spec.trunk_id, []).append(spec.n_tokens)
    widest = max(max(tokens) / min(tokens) for tokens in volumes.values())
    if widest > INSIDE * WIDEST_TRUNK:
        yield (
            f"branches of one training span a factor of {widest:.3g} in tokens at one learning rate, and the best rate "
            "falls about as D^-0.3: both ends lose to it, which a law takes for curvature in D; derive optim.lr from "
            "tokens, which gives each volume a training of its own"
        )


def _repeats(specs: Sequence[RunSpec]) -> Iterator[str]:
    """Runs on a corpus that is smaller than what they read."""
    sizes: dict[str, float] = {}
    repeated = []
    for spec in specs:
        source = spec.data.source
        if isinstance(source, TextSource) and spec.data.real_share:
            key = source.model_dump_json()
            sizes[key] = sizes.get(key) or _corpus_tokens(source)
            n_real = spec.n_tokens * spec.data.real_share
            if n_real > sizes[key]:
                repeated.append(n_real / sizes[key])
    if repeated:
        yield (
            f"{len(repeated)} runs read real text more than once (up to about {max(repeated):.1f} times); a law of "
            "unique tokens does not hold for them: fit with n_unique_tokens, or lower tokens"
        )


def _corpus_tokens(source) -> float:
    """About how many tokens the training part of a corpus has, without making its tokenizer.

    Of a corpus that is not here nothing is said: a run that gives its fingerprint is content with the encoded text.
    """
    from scaling.data.corpora import load_corpus

    try:
        n_bytes = load_corpus(source).n_bytes("train")
    except (DataError, MissingPackageError):
        return math.inf
    # Bytes of English a token holds: measured 2.9 at 1,024, 4.3 at 4,096, 4.8 at 8,192 entries.
    bytes_per_token = 1.0 if source.vocab_size <= 257 else min(5.0, 2.93 + 0.66 * math.log2(source.vocab_size / 1024))
    return n_bytes / max(1.0, bytes_per_token)
