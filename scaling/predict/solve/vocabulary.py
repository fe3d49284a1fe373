"""The vocabulary that a byte budget is spent on best: a larger one writes text in fewer tokens, and takes the bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import InfeasibleError, SpecError
from scaling.laws.architecture import Vocabulary
from scaling.laws.presets import preset
from scaling.numbers import one_number, parse_bytes
from scaling.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
SHORTENING = (0.00639222, -0.15811069, 1.2047012)
"""Tokens a character = a v² + b v + c, v = ln(vocabulary / 1000): of the tokenizers behind the published law."""
ASPECT = 64.0
"""Width a layer, of small published models (as SmolLM2-135M: 576 over 30 layers is 19, GPT-2: 768 over 12 is 64)."""
SMALLEST, LARGEST = 1_000, 512_000
"""Vocabularies between which an answer is sought; the law's runs had 4,096 to 96,256."""
USUAL = 2.0 ** np.arange(12, 17)
"""Vocabularies to show beside the best."""


@dataclass(frozen=True, kw_only=True)
class VocabularyChoice:
    """One vocabulary at a budget.

    Attributes:
        vocab_size: V.
        width: d, of both the model and its table.
        n_vocab_params: V·d, one table for both ends.
        n_params: Parameters without the table.
        n_tokens: Tokens that the characters are written in.
        table_share: Part of the bytes that the table takes.
        loss: Beside the unigram model of the same tokenizer, nats/token: lower is better; comparable between
            vocabularies.
    """

    vocab_size: int
    width: int
    n_vocab_params: float
    n_params: float
    n_tokens: float
    table_share: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class BestVocabulary(Shown):
    """The best vocabulary of a budget, beside usual ones.

    Attributes:
        budget_bytes: Of the weights.
        bytes_per_param: 1 for 8 bits.
        characters: Text of the training.
        best: The choice.
        others: Usual sizes, for comparison; those that the budget cannot hold are left out.
        flat: Smallest and largest vocabulary within 0.005 nats/token of the best: nobody could measure a difference.
        source: Of the law.
        notes: What a reader should know.
    """

    budget_bytes: float
    bytes_per_param: float
    characters: float
    best: VocabularyChoice
    others: tuple[VocabularyChoice, ...]
    flat: tuple[int, int]
    source: str
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row a vocabulary, the best first."""
        import pandas as pd

        return pd.DataFrame([vars(one) | {"best": one is self.best} for one in (self.best, *self.others)])


def optimal_vocabulary(
    budget_bytes: float | str,
    *,
    characters: float | str,
    bytes_per_param: float = 34 / 32,
) -> BestVocabulary:
    """Vocabulary that minimises the loss of a model whose weights fill a budget.

    >>> optimal_vocabulary("64MiB", characters="100B").best.vocab_size
    10259

    ``bytes = b (12 d³/a + V d)``, a = `ASPECT`: for each V the width d follows, and L(N, V d, D) of the published law
    with D the tokens of the characters.

    Args:
        budget_bytes: Of all weights.
        characters: Text of the training; repeated text is not told apart.
        bytes_per_param: 34/32 for Q8_0.

    Raises:
        SpecError: an impossible budget, text or width of a parameter.
        InfeasibleError: the budget holds no model of any vocabulary.

    **Source:** Tao et al. 2024, arXiv 2407.13623, approach 3; the budget in bytes is this project's.
    """
    budget_bytes = float(one_number(parse_bytes(budget_bytes), "memory", example="64MiB"))
    characters = one_number(characters, "characters")
    bytes_per_param = one_number(bytes_per_param, "bytes a parameter", example="34/32")
    for name, value in (("memory", budget_bytes), ("characters", characters), ("bytes a parameter", bytes_per_param)):
        if not 0 < value < math.inf:
            raise SpecError(f"{name}: got {value:g}, allowed is a finite positive number")
    found = preset("tao")
    law = found.law
    if not isinstance(law, Vocabulary):
        raise SpecError(f"{found.name} is no law of the vocabulary")
    # One pass over all sizes in steps of 1 %: the loss is flat about its least.
    sizes = np.unique(np.round(np.geomspace(SMALLEST, LARGEST, 628)))
    losses, widths = _losses(law, sizes, budget_bytes / bytes_per_param, characters)
    if not np.isfinite(losses).any():
        raise InfeasibleError(
            f"{budget_bytes:.3g} bytes hold no model: the least vocabulary, {SMALLEST}, alone needs a width of 8"
        )
    best = int(np.argmin(losses))
    near = sizes[losses <= losses[best] + 0.005]
    usual_losses, usual_widths = _losses(law, USUAL, budget_bytes / bytes_per_param, characters)
    shown = [
        _choice(v, w, loss, characters)
        for v, w, loss in zip(USUAL, usual_widths, usual_losses, strict=True)
        if math.isfinite(loss)
    ]
    return BestVocabulary(
        budget_bytes=budget_bytes,
        bytes_per_param=bytes_per_param,
        characters=characters,
        best=_choice(sizes[best], widths[best], losses[best], characters),
        others=tuple(shown),
        flat=(int(near.min()), int(near.max())),
        source=found.source,
        notes=(found.note, "the law's runs had 33M to 1.1B parameters without the table and 4k to 96k words"),
    )


def tokens_of(characters: float, vocab_size: Array) -> Array:
    """Tokens that a text takes: float64[k]."""
    v = np.log(np.asarray(vocab_size, float) / 1000)
    a, b, c = SHORTENING
    return characters * (a * v**2 + b * v + c)


def _losses(law: Vocabulary, sizes: Array, params: float, characters: float) -> tuple[Array, Array]:
    """Loss and width of each vocabulary: float64[k] each; inf where the table leaves no model of width 8."""
    low, high = np.zeros_like(sizes), np.full_like(sizes, 1e6)
    # The width at which table and layers fill the budget, by halving.
    for _ in range(80):
        middle = (low + high) / 2
        fits = 12 * middle**3 / ASPECT + sizes * middle <= params
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    width = low
    can = width >= 8
    safe = np.where(can, width, 8.0)
    losses = law.loss(n=12 * safe**3 / ASPECT, n_vocab_params=sizes * safe, d=tokens_of(characters, sizes))
    return np.where(can, losses, np.inf), width


def _choice(size: float, width: float, loss: float, characters: float) -> VocabularyChoice:
    table, layers = float(size * width), float(12 * width**3 / ASPECT)
    return VocabularyChoice(
        vocab_size=int(size),
        width=int(width),
        n_vocab_params=table,
        n_params=layers,
        n_tokens=float(tokens_of(characters, np.asarray(size))),
        table_share=table / (table + layers),
        loss=float(loss),
    )
