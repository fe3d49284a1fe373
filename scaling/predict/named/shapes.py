"""The shape of a model of which only a size, or a name, is known."""

from __future__ import annotations

from dataclasses import dataclass

from scaling.accounting import count_parameters
from scaling.dimensions import GGUF_BLOCK
from scaling.errors import SpecError
from scaling.predict.named.models import NamedModel
from scaling.predict.usual import CONTEXT, VOCABULARY
from scaling.spec import ModelSpec

ASPECT = 128
"""Width a layer: 4,096 / 32 of Llama 7B, 2,048 / 16 of Llama-3.2-1B."""

HEAD_WIDTH, QUERIES_PER_KEY = 64, 4
"""As in Llama-3.2-1B; fewer queries share keys where their number is not a multiple."""

WIDEST = 32_768


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model to count bytes of.

    Attributes:
        model: Its shape.
        name: What was asked for.
        origin: Where the shape comes from, in words.
    """

    model: ModelSpec
    name: str
    origin: str


def shape_of_size(n_params: float, *, vocab_size: int = VOCABULARY, context: int = CONTEXT) -> ModelSpec:
    """A llama of so many parameters in all, its tied token table included.

    ``width = 128·L`` in steps of 64 comes as near as it can, the hidden size takes the rest.

    Raises:
        SpecError: the token table alone holds more.
    """
    if vocab_size * GGUF_BLOCK >= n_params:
        raise SpecError(
            f"--params {n_params:g}: a table of {vocab_size:,} tokens already holds {vocab_size * GGUF_BLOCK:,} "
            "parameters at the least width — give a smaller vocabulary with --vocab, or a larger size"
        )
    best = min(_family(vocab_size, context), key=lambda model: abs(count_parameters(model).n_params_total - n_params))
    return filled(best, n_params)


def _family(vocab_size: int, context: int) -> list[ModelSpec]:
    """Llamas of one vocabulary and aspect, at every width."""
    narrow = range(GGUF_BLOCK, 256, GGUF_BLOCK)
    return [
        ModelSpec(
            vocab_size=vocab_size,
            width=width,
            n_layers=max(2, round(width / ASPECT)),
            head_width=min(HEAD_WIDTH, width),
            n_heads=max(1, width // HEAD_WIDTH),
            n_kv_heads=_shared(max(1, width // HEAD_WIDTH)),
            context=context,
        )
        for width in (*narrow, *range(256, WIDEST + 1, 64))
    ]


def _shared(n_heads: int) -> int:
    """Key–value heads, each for up to four heads of queries."""
    return n_heads // max(share for share in range(1, QUERIES_PER_KEY + 1) if n_heads % share == 0)


def filled(model: ModelSpec, n_params: float) -> ModelSpec:
    """The same model with the hidden size that brings it nearest to so many parameters."""
    counts = count_parameters(model)
    rest = n_params - (counts.n_params_total - counts.mlp)
    step = 3 * model.n_layers * model.width * GGUF_BLOCK
    return model.model_copy(update={"hidden": GGUF_BLOCK * max(1, round(rest / step))})


def _heads(n_heads: int, head_width: int, width: int) -> tuple[int, int]:
    """Heads and their width; where rows of them cannot be cut into blocks of 32, as many as have that width."""
    if head_width % 2 or n_heads * head_width % GGUF_BLOCK:
        return width // GGUF_BLOCK, GGUF_BLOCK
    return n_heads, head_width


def shape_like(named: NamedModel, *, context: int = CONTEXT) -> Shape:
    """A llama of the width, depth and vocabulary of a model that is known by name, and of its parameters.

    A model of another kind (two matrices in a layer's second half, learned positions) becomes the llama of equal size.

    Raises:
        SpecError: its shape was not published.
    """
    known = named.shape
    if not known:
        raise SpecError(f"--like {named.name}: its shape is not known — give its size, as --params {named.n_params:g}")
    width = -(-known["width"] // GGUF_BLOCK) * GGUF_BLOCK
    heads, head_width = _heads(known["n_heads"], known.get("head_width", width // known["n_heads"]), width)
    model = ModelSpec(
        vocab_size=known["vocab_size"],
        width=width,
        n_layers=known["n_layers"],
        head_width=head_width,
        n_heads=heads,
        n_kv_heads=known.get("n_kv_heads", heads),
        context=context,
    )
    origin = f"a llama of the width, depth, vocabulary and parameters of {named.label}"
    return Shape(model=filled(model, named.n_params), name=named.name, origin=origin)
