"""A recommendation without any sweep: a published law, asked about the shapes that llama models usually have."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from scaling.accounting import LAYOUTS, count_parameters, training_flops
from scaling.dimensions import Decoder, heads_of, hidden_of
from scaling.errors import SpecError
from scaling.fit.evidence import Calibration, Member, Status
from scaling.fit.result import Fit
from scaling.fit.solve.objective import Objective
from scaling.laws.law import ScalingLaw
from scaling.laws.presets import preset
from scaling.predict.draft import Draft
from scaling.predict.question import Question
from scaling.predict.recommend.candidates import BEYOND_MEMORY
from scaling.predict.recommend.recommendation import Recommendation, recommend
from scaling.predict.usual import CONTEXT, TOKENS_PER_PARAMETER, VOCABULARY

LEAST_ASPECT, MOST_ASPECT = 16, 128
"""Widths that one layer may have. Loss varies by 3 % over a wider range.

Source: Kaplan et al. 2020, arXiv 2001.08361, section 3.1.
"""

_DEPTHS = (2, 3, 4, 6, 8, 10, 12, 16, 18, 20, 24, 28, 30, 32, 36, 40)
_QUERIES_PER_KEY = (1, 2, 3, 4, 8)
_WIDEST = 4096


def recommend_published(
    question: Question, name: str, *, vocab_size: int | None = None, force: bool = False
) -> Recommendation:
    """The smallest llama shape that a published law expects to meet a target within what the phone allows.

    The law comes without evidence: a size meets the target or does not, and P is 1 or 0.

    Args:
        question: What is asked; without tokens and FLOPs a model reads `TOKENS_PER_PARAMETER` times its size.
        name: Of the law.
        vocab_size: V of the tokenizer; by default that of the law.
        force: As for `recommend`.

    Raises:
        SpecError: no law of N and D has that name.
        InfeasibleError: no shape meets the target within the memory.
    """
    fit = fit_of_preset(name)
    # The cache is allocated for the context, and the training has one of the same length.
    asked = question if question.context is not None else question.but(context=CONTEXT)
    vocab_size = vocab_size or vocabulary_of(name)
    runs = [_draft(model, asked) for model in standard_shapes(asked, vocab_size)]
    said = (
        f"llama shapes of 2 to {_DEPTHS[-1]} layers and {LEAST_ASPECT} to {MOST_ASPECT} widths a layer, "
        f"V = {vocab_size:,}; N counted as {fit.columns['n']}"
    )
    return recommend(fit, runs, asked, shapes=said, fit_id=f"law {name}", force=force)


def fit_of_preset(name: str) -> Fit:
    """A published law in the place of a fit: no runs, no interval, nothing beyond the data.

    Raises:
        SpecError: no preset has that name, or it is not a law of N and D.
    """
    found = preset(name)
    law = found.law
    if not isinstance(law, ScalingLaw) or set(law.columns) != {"n", "d"}:
        needed = ", ".join(getattr(law, "columns", ())) or "other things"
        raise SpecError(
            f"--law {name}: is a function of {needed}; allowed here is a law of loss by N and D, as besiroglu"
        )
    return Fit(
        members=(Member(law=law, weight=1.0, value=0.0, tried=0, reached=0, samples=np.empty((0, len(law.names)))),),
        objective=Objective(),
        columns={"n": found.size_column, "d": "n_tokens", "loss": "loss"},
        teachers={},
        ranges={},
        n_runs=0,
        n_clusters=0,
        excluded=(),
        residuals={},
        status=Status(True, True, True, notes=(found.source, *([found.note] if found.note else []))),
        # Without doubt a forecast is met or missed.
        calibration=Calibration(levels=(0.0, 0.5, 1.0), quantiles=(-1.0, 0.0, 1.0), noise=0.0),
        covariance=np.zeros((len(law.names), len(law.names))),
    )


def vocabulary_of(name: str) -> int:
    """V of the tokens that the losses of a published law are of; the usual one where it does not say its own.

    Nats/token of another tokenizer do not compare with a law's.
    """
    return preset(name).vocab_size or VOCABULARY


def standard_shapes(question: Question, vocab_size: int) -> Iterator[Decoder]:
    """Llama shapes with tied embeddings, as far as a few times the memory: widths in steps of 64, heads of 64."""
    most = BEYOND_MEMORY * question.budget_bytes * 8 / LAYOUTS[question.stored_as].bits
    for width, depth, shared in product(range(64, _WIDEST + 1, 64), _DEPTHS, _QUERIES_PER_KEY):
        heads = heads_of(width, 64)
        if not LEAST_ASPECT <= width / depth <= MOST_ASPECT or heads % shared:
            continue
        model = Decoder(
            vocab_size=vocab_size,
            width=width,
            n_layers=depth,
            head_width=64,
            n_heads=heads,
            n_kv_heads=heads // shared,
            hidden=hidden_of(width),
            context=question.context or CONTEXT,
        )
        if count_parameters(model).n_params_total <= most:
            yield model


def _draft(model: Decoder, question: Question) -> Draft:
    """Its training, on the tokens that were asked for, or as many as the FLOPs allow, or the usual multiple of N."""
    flops = question.max_training_flops
    if question.tokens is None and flops is not None:
        return Draft(model=model, tokens=1).within(flops)
    found = Draft(model=model, tokens=question.tokens or TOKENS_PER_PARAMETER * count_parameters(model).n_params_total)
    return found if flops is None or training_flops(model, found.n_tokens) <= flops else found.within(flops)
