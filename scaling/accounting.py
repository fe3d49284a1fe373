"""Arithmetic of a ModelSpec: parameters by group, FLOPs, bytes, energy. Nobody else counts.

Three parameter counts are kept because laws in the literature use different ones, and for phone-size students, whose
embedding dominates, the choice changes the exponents (Porian et al. 2024, arXiv 2406.19146; Pearce & Song 2024,
arXiv 2406.12907).
"""

from __future__ import annotations

from dataclasses import dataclass

from scaling.spec import ModelSpec

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class ParameterCount:
    """Parameters of one model by group, and the three totals that laws use.

    Attributes:
        embedding: token table, ``V·M``.
        attention: query, key, value and output matrices of all layers.
        mlp: gate, up and down matrices of all layers.
        norms: RMSNorm gains.
        head: output matrix, ``V·M``, or 0 where it is tied to the embedding.
    """

    embedding: int
    attention: int
    mlp: int
    norms: int
    head: int
    head_matrix: int

    @property
    def n_params(self) -> int:
        """N without embedding and output head (Kaplan's and Busbridge's convention)."""
        return self.attention + self.mlp + self.norms

    @property
    def n_params_linear(self) -> int:
        """Weights that a token is multiplied with, output head included (Porian's convention)."""
        return self.attention + self.mlp + self.head_matrix

    @property
    def n_params_total(self) -> int:
        """Every stored parameter, a tied table once: what memory depends on."""
        return self.embedding + self.attention + self.mlp + self.norms + self.head


def count_parameters(model: ModelSpec) -> ParameterCount:
    """Count the parameters of a model by group.

    ``attention = L·M·K·(2H + 2H_kv)``, ``mlp = 3·L·M·F``, ``norms = (2L + 1)·M``, ``embedding = V·M``.
    """
    m, layers = model.width, model.n_layers
    table = model.vocab_size * m
    return ParameterCount(
        embedding=table,
        attention=layers * m * model.head_width * 2 * (model.n_heads + model.n_kv_heads),
        mlp=3 * layers * m * model.hidden,
        norms=(2 * layers + 1) * m,
        head=0 if model.tied_embeddings else table,
        head_matrix=table,
    )


def forward_flops(model: ModelSpec, context: int | None = None) -> int:
    """FLOPs of one token's forward pass, averaged over a full causal context.

    ``2·n_params_linear + 2·L·H·K·T``: two per weight of every linear layer and of the output head, and scores and
    mixing of attention, halved because a causal token sees half of the context on average. Norms, rotations and
    softmax are left out (under 1 % at any width).

    Args:
        model: The model.
        context: T, tokens of one sequence; by default the model's training context.

    Source: Porian et al. 2024, arXiv 2406.19146 (Appendix on FLOP counts).
    """
    t = model.context if context is None else context
    return 2 * count_parameters(model).n_params_linear + 2 * model.n_layers * model.n_heads * model.head_width * t


def training_flops(model: ModelSpec, n_tokens: int) -> int:
    """C, exact FLOPs of a training: three forward passes (one forward, two backward) a token."""
    return 3 * forward_flops(model) * n_tokens


def training_flops_6nd(model: ModelSpec, n_tokens: int) -> int:
    """The usual approximation ``6·N·D`` with N non-embedding; off by 20–60 % for small models, kept for comparison."""
    return 6 * count_parameters(model).n_params * n_tokens


def kv_cache_bytes(model: ModelSpec, context: int, *, value_bytes: float = 2.0) -> int:
    """Bytes of the key–value cache: ``2·L·H_kv·K·context·value_bytes`` (2 for f16, 34/32 for q8_0)."""
    return round(2 * model.n_layers * model.n_kv_heads * model.head_width * context * value_bytes)


def training_kwh(flops: float, *, flops_per_s: float, watts: float, pue: float = 1.0) -> float:
    """Energy of a computation from its rate: ``flops / flops_per_s · watts · pue / 3.6e6``.

    Args:
        flops: FLOPs of the whole computation.
        flops_per_s: Sustained rate of the device.
        watts: Average power of the device at that rate.
        pue: Power usage effectiveness of the building, 1 for none.

    Source: Patterson et al. 2021, arXiv 2104.10350.
    """
    return flops / flops_per_s * watts * pue / JOULES_PER_KWH
