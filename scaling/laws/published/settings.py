"""Published rules for settings: optimal size, tokens, batch, learning rate."""

from __future__ import annotations

from scaling.laws.batch import CriticalBatch
from scaling.laws.published.preset import HOFFMANN, KAPLAN, PF_DAY, PRESETS, SHEHPER, Preset
from scaling.laws.published.rules import Rule

DEEPSEEK = "DeepSeek-AI 2024, arXiv 2401.02954"


def _kaplan() -> list[Preset]:
    n = "N without embeddings, WebText2"
    # Powers of compute in petaflop/s-days, as he gives them.
    return [
        Preset("kaplan-batch", CriticalBatch(B_star=2e8, alpha_B=0.21), KAPLAN, "secondary", n),
        Preset(
            "kaplan-size",
            Rule("optimal N (parameters)", "c", 1.3e9, 0.73, PF_DAY),
            KAPLAN,
            "secondary",
            n,
            "C is C_min",
        ),
        Preset(
            "kaplan-tokens",
            Rule("optimal D (tokens)", "c", 2e10, 0.27, PF_DAY),
            KAPLAN,
            "unverified",
            n,
            "C is C_min",
        ),
        Preset("kaplan-size-naive", Rule("optimal N (parameters)", "c", 1.6e9, 0.88, PF_DAY), KAPLAN, "secondary", n),
        Preset(
            "kaplan-enough-data",
            Rule("tokens below which N overfits noticeably", "n", 5e3, 0.74),
            KAPLAN,
            "secondary",
            n,
        ),
    ]


def _shehper() -> list[Preset]:
    n = "N without embeddings, OpenWebText"
    small = "measured on models of at most 6.3M parameters"
    return [
        Preset("shehper-batch", CriticalBatch(B_star=2.2e7, alpha_B=1 / 4.26), SHEHPER, "primary", n, small),
        Preset(
            "shehper-size",
            Rule("optimal N (parameters)", "c", 4.2e9, 0.72, PF_DAY),
            SHEHPER,
            "primary",
            n,
            f"C is C_min; {small}",
        ),
    ]


def _others() -> list[Preset]:
    # Optimal tokens from size in one place and from compute in another: each as its source gives it.
    per_token = "model scale M is FLOPs per token without embeddings, C = M D"
    return [
        Preset(
            "hoffmann-tokens",
            Rule("optimal D (tokens)", "n", 20.2, 1.0),
            f"{HOFFMANN}, approach 1",
            "secondary",
            "N with embeddings, MassiveText",
            "from 1B parameters, 20.2B tokens; his approach 3 implies about 73 tokens per parameter",
        ),
        Preset("deepseek-lr", Rule("learning rate", "c", 0.3118, -0.125), DEEPSEEK, "secondary"),
        Preset("deepseek-batch", Rule("batch (tokens)", "c", 0.2920, 0.3271), DEEPSEEK, "secondary"),
        Preset("deepseek-size", Rule("optimal M (FLOPs/token)", "c", 0.1715, 0.5243), DEEPSEEK, "secondary", per_token),
        Preset("deepseek-tokens", Rule("optimal D (tokens)", "c", 5.8316, 0.4757), DEEPSEEK, "secondary", per_token),
        Preset(
            "llama3-tokens",
            Rule("optimal D (tokens)", "c", 0.299, 0.537),
            "Llama team 2024, arXiv 2407.21783",
            "secondary",
        ),
        Preset(
            "minicpm-tokens",
            Rule("optimal D (tokens)", "n", 192.0, 1.0),
            "Hu et al. 2024, arXiv 2404.06395",
            "secondary",
            note="from exponents .29 in N and .23 in D; its amplitudes are not known here",
        ),
    ]


for _found in (*_kaplan(), *_shehper(), *_others()):
    PRESETS.add(_found.name, _found)
