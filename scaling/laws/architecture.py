"""Laws that tell parameters apart: those of the vocabulary, and those of experts."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Coefficient, ScalingLaw, amplitude, exponent, floor_coefficient
from scaling.laws.size_and_data import Chinchilla


class Vocabulary(ScalingLaw):
    """L = -E + A_n/N^alpha + A_v/N_v^alpha_v + B/D^alpha: loss beside the unigram model of the same tokenizer.

    N without vocabulary parameters, N_v = vocabulary size times width. L is below zero (better than unigrams), so it
    is fitted on the loss itself, not on its logarithm. N and D share an exponent, as published.

    **Source:** Tao et al. 2024, arXiv 2407.13623, approach 3.
    """

    name = "vocabulary"
    title = "size of the vocabulary"
    columns = ("n", "n_vocab_params", "d")
    source = "Tao et al. 2024, arXiv 2407.13623"
    coefficients = (
        floor_coefficient(),
        amplitude("A_n"),
        amplitude("A_v"),
        amplitude("B"),
        exponent("alpha"),
        exponent("alpha_v"),
    )

    def formula(self, p, x):
        """Three powers below the unigram loss."""
        return p.A_n * x.n**-p.alpha + p.A_v * x.n_vocab_params**-p.alpha_v + p.B * x.d**-p.alpha - p.E


class FineGrainedExperts(ScalingLaw):
    """L = E + (G_0/G^gamma + A)/N^alpha + B/D^beta: mixture of experts whose experts are split into G (granularity).

    **Source:** Krajewski et al. 2024, arXiv 2402.07871.
    """

    name = "experts"
    title = "fine-grained experts"
    columns = ("n", "d", "granularity")
    source = "Krajewski et al. 2024, arXiv 2402.07871"
    coefficients = (
        *Chinchilla.coefficients,
        amplitude("G_0"),
        exponent("gamma"),
    )
    is_linear = False

    def formula(self, p, x):
        """A size term that falls with granularity."""
        return p.E + (p.G_0 * x.granularity**-p.gamma + p.A) * x.n**-p.alpha + p.B * x.d**-p.beta


class RoutedExperts(ScalingLaw):
    """L = 10^((a + c log10(X)) log10(N) + b log10(X) + d_0) for a dense model N routed to X (saturated) experts.

    **Source:** Clark et al. 2022, arXiv 2202.01169, eq. 8.
    """

    name = "routed"
    title = "routed experts"
    columns = ("n", "experts")
    source = "Clark et al. 2022, arXiv 2202.01169"
    coefficients = tuple(Coefficient(name, low=-np.inf, start=(-0.2, 0.2)) for name in ("a", "b", "c", "d_0"))

    def formula(self, p, x):
        """Bilinear in logarithms; all that grows with size is one product, or an infinite size would be ∞ - ∞."""
        size, experts = np.log10(x.n), np.log10(x.experts)
        return 10.0 ** ((p.a + p.c * experts) * size + p.b * experts + p.d_0)
