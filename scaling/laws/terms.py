"""Terms that extend a base law L(N, D): repeated data, vocabulary, precision, steps, experts, over-training.

Each is a law of its own columns, fitted like any other (`fit(runs, law="repeated")`). `Repeated` and `Quantized` stand
on any additive base law. The learning-rate schedule is in `schedule`, batch size in `batch`.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from scaling.errors import SpecError
from scaling.laws.law import AdditiveLaw, Coefficient, ScalingLaw, amplitude, exponent, floor_coefficient
from scaling.laws.size_and_data import BASE_LAWS, base_law

DAMAGE_RATE = Coefficient("gamma_post", low=0.02, high=20.0, log=True, unit="bits", start=(0.3, 2.0))


def _additive(law: str, base: str) -> AdditiveLaw:
    """The base form, if a term can stand on it."""
    form = base_law(base)
    if not isinstance(form, AdditiveLaw):
        allowed = ", ".join(name for name, kind in BASE_LAWS.items() if issubclass(kind, AdditiveLaw))
        raise SpecError(f"law {law!r}: base {base!r} has no additive floor; choose from {allowed}")
    return form


class OnBase(ScalingLaw):
    """An additive base law with further coefficients.

    Args:
        base: name of an additive base law.
        **values: coefficients.
    """

    extra: tuple[Coefficient, ...] = ()
    wording: str = "{base}"

    def __init__(self, base: str = "chinchilla", **values: float):
        form = _additive(self.name, base)
        object.__setattr__(self, "base", form)
        object.__setattr__(self, "is_linear", False)
        object.__setattr__(self, "template", self.wording.format(base=form.template))
        object.__setattr__(self, "coefficients", form.coefficients + self.extra)
        super().__init__(**values)

    def structure(self):
        """Name of the base law."""
        return {"base": self.base.name}

    def seed(self, start, amplitudes):
        """The base law's own start, and the drawn coefficients of the term."""
        return start | amplitudes | self.base.seed(start, amplitudes)


class Repeated(OnBase):
    """L = E + x(N', D'): repeated tokens, and parameters that the unique tokens cannot feed, are worth exponentially
    less.

    D' = U (1 + R_D (1 - e^(-r_d/R_D))), r_d = D/U - 1 repetitions of U = min(D, n_unique_tokens);
    N' = U_N (1 + R_N (1 - e^(-r_n/R_N))), r_n = N/U_N - 1, U_N = min(N, the size that is compute-optimal for U tokens).

    **Source:** Muennighoff et al. 2023, arXiv 2305.16264, eq. 5 and 6.
    """

    name = "repeated"
    wording = (
        "{base} at N', D': D' = U (1 + {{R_D}} (1 - e^(-(D/U - 1)/{{R_D}}))), "
        "N' = U_N (1 + {{R_N}} (1 - e^(-(N/U_N - 1)/{{R_N}})))"
    )
    columns = ("n", "d", "n_unique_tokens")
    source = "Muennighoff et al. 2023, arXiv 2305.16264"
    extra = (
        Coefficient("R_D", log=True, unit="epochs", start=(1.0, 60.0)),
        Coefficient("R_N", log=True, start=(1.0, 60.0)),
    )

    def optimal_size(self, p: SimpleNamespace, tokens):
        """Compute-optimal N for `tokens`: G (G tokens)^(beta/alpha), G = (alpha A/(beta B))^(1/(alpha + beta))."""
        alpha, beta = p.alpha, getattr(p, "beta", p.alpha)
        size, data = (1.0, p.R) if hasattr(p, "R") else (p.A, p.B)
        log_g = np.log(alpha * size / (beta * data)) / (alpha + beta)
        return np.exp(log_g + (log_g + np.log(tokens)) * (beta / alpha))

    def formula(self, p, x):
        """E + x(n', d')."""
        unique = np.minimum(x.d, x.n_unique_tokens)
        d = unique * (1.0 - p.R_D * np.expm1(-(x.d / unique - 1.0) / p.R_D))
        fed = self.optimal_size(p, unique)
        starved = getattr(fed, "value", fed) < x.n
        used = fed * starved.astype(float) + np.where(starved, 0.0, x.n)
        n = used * (1.0 - p.R_N * np.expm1(-(x.n / used - 1.0) / p.R_N))
        return p.E + self.base.excess(p, n, d)


class Quantized(OnBase):
    """L = E + x(N, D) + C_T D^gamma_D N^-gamma_N e^(-P/gamma_post): the damage of rounding the weights to P bits
    after training.

    The more tokens a model has seen for its size, the more it has to lose.

    **Source:** Kumar et al. 2024, arXiv 2411.04330, eq. 3.
    """

    name = "quantized"
    wording = "{base} + {{C_T}} D^{{gamma_D}} N^-{{gamma_N}} e^(-P/{{gamma_post}})"
    columns = ("n", "d", "bits")
    source = "Kumar et al. 2024, arXiv 2411.04330"
    extra = (Coefficient("C_T", log=True, start=(1e-3, 10.0)), exponent("gamma_D"), exponent("gamma_N"), DAMAGE_RATE)

    def formula(self, p, x):
        """Base law plus damage."""
        return p.E + self.base.excess(p, x.n, x.d) + kumar_damage(p, x)


def kumar_damage(p: SimpleNamespace, x: SimpleNamespace):
    """C_T D^gamma_D N^-gamma_N e^(-P/gamma_post), nats/token."""
    return p.C_T * x.d**p.gamma_D * x.n**-p.gamma_N * np.exp(-x.bits / p.gamma_post)


class KumarDamage(ScalingLaw):
    """Loss added by rounding to P bits = C_T D^gamma_D N^-gamma_N e^(-P/gamma_post).

    **Source:** Kumar et al. 2024, arXiv 2411.04330, eq. 3.
    """

    name = "damage-kumar"
    template = "{C_T} D^{gamma_D} N^-{gamma_N} e^(-P/{gamma_post}), added by rounding to P bits"
    columns = ("n", "d", "bits")
    source = "Kumar et al. 2024, arXiv 2411.04330"
    is_linear = False
    coefficients = Quantized.extra

    def formula(self, p, x):
        """The damage."""
        return kumar_damage(p, x)


class OuyangDamage(ScalingLaw):
    """Loss added by rounding to P bits = k D^b/(N^a P^g).

    **Source:** Ouyang et al. 2024, arXiv 2411.17691.
    """

    name = "damage-ouyang"
    template = "{k} D^{b}/(N^{a} P^{g}), added by rounding to P bits"
    columns = ("n", "d", "bits")
    source = "Ouyang et al. 2024, arXiv 2411.17691"
    is_linear = False
    coefficients = (
        Coefficient("k", log=True, start=(1e-3, 10.0)),
        exponent("b"),
        exponent("a"),
        exponent("g", (1.0, 8.0)),
    )

    def formula(self, p, x):
        """The damage."""
        return p.k * x.d**p.b * x.n**-p.a * x.bits**-p.g


class LowPrecision(ScalingLaw):
    """L = E + A/N_eff^alpha + B/D^beta + damage(bits), N_eff = N prod_x (1 - e^(-P_x/g_x)) over weights,
    activations, key-value cache.

    Precision during training costs parameters; rounding after it costs the damage of `KumarDamage`. Infinite bits
    are exact arithmetic.

    **Source:** Kumar et al. 2024, arXiv 2411.04330, eq. 2 and 9.
    """

    name = "precision"
    template = (
        "{E} + {A}/N_eff^{alpha} + {B}/D^{beta} + {C_T} D^{gamma_D} N^-{gamma_N} e^(-P/{gamma_post}), "
        "N_eff = N (1 - e^(-P_w/{g_w})) (1 - e^(-P_a/{g_a})) (1 - e^(-P_kv/{g_kv}))"
    )
    columns = ("n", "d", "bits_weights", "bits_activations", "bits_cache", "bits")
    source = "Kumar et al. 2024, arXiv 2411.04330"
    is_linear = False
    coefficients = (
        floor_coefficient(),
        amplitude("A"),
        amplitude("B"),
        exponent("alpha"),
        exponent("beta"),
        *(Coefficient(name, low=1e-3, log=True, unit="bits", start=(0.5, 5.0)) for name in ("g_w", "g_a", "g_kv")),
        *Quantized.extra,
    )

    def formula(self, p, x):
        """Chinchilla in the effective size, plus damage."""
        share = (
            np.expm1(-x.bits_weights / p.g_w)
            * np.expm1(-x.bits_activations / p.g_a)
            * -np.expm1(-x.bits_cache / p.g_kv)
        )
        return p.E + p.A * (x.n * share) ** -p.alpha + p.B * x.d**-p.beta + kumar_damage(p, x)


class Vocabulary(ScalingLaw):
    """L_u = -E + A_n/N^alpha + A_v/N_v^alpha_v + B/D^alpha: loss beside the unigram model of the same tokenizer.

    N without vocabulary parameters, N_v = vocabulary size times width. L_u is below zero (better than unigrams), so it
    is fitted on the loss itself, not on its logarithm. N and D share an exponent, as published.

    **Source:** Tao et al. 2024, arXiv 2407.13623, approach 3.
    """

    name = "vocabulary"
    template = "-{E} + {A_n}/N^{alpha} + {A_v}/N_v^{alpha_v} + {B}/D^{alpha}"
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
        """-E + A_n/n^alpha + A_v/n_vocab_params^alpha_v + B/d^alpha."""
        return p.A_n * x.n**-p.alpha + p.A_v * x.n_vocab_params**-p.alpha_v + p.B * x.d**-p.alpha - p.E


class LearningCurve(ScalingLaw):
    """L = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S: infinite data, S_min steps at a batch far above the critical one
    (see `batch`).

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.6.
    """

    name = "kaplan-ns"
    template = "({N_c}/N)^{alpha_N} + ({S_c}/S_min)^{alpha_S}"
    columns = ("n", "s_min")
    source = "Kaplan et al. 2020, arXiv 2001.08361"
    is_linear = False
    coefficients = (
        Coefficient("N_c", unit="parameters", log=True, start=(1e8, 1e16)),
        Coefficient("S_c", unit="steps", log=True, start=(10.0, 1e6)),
        exponent("alpha_N", (0.02, 0.5)),
        exponent("alpha_S", (0.2, 1.5)),
    )

    def formula(self, p, x):
        """(N_c/n)^alpha_N + (S_c/s_min)^alpha_S."""
        return (p.N_c / x.n) ** p.alpha_N + (p.S_c / x.s_min) ** p.alpha_S


class FineGrainedExperts(ScalingLaw):
    """L = E + (G_0/granularity^gamma + A)/N^alpha + B/D^beta: mixture of experts whose experts are split
    `granularity` times.

    **Source:** Krajewski et al. 2024, arXiv 2402.07871.
    """

    name = "experts"
    template = "{E} + ({G_0}/G^{gamma} + {A})/N^{alpha} + {B}/D^{beta}"
    columns = ("n", "d", "granularity")
    source = "Krajewski et al. 2024, arXiv 2402.07871"
    coefficients = (
        floor_coefficient(),
        amplitude("A"),
        amplitude("B"),
        exponent("alpha"),
        exponent("beta"),
        amplitude("G_0"),
        exponent("gamma"),
    )
    is_linear = False

    def formula(self, p, x):
        """E + (G_0/granularity^gamma + A)/n^alpha + B/d^beta."""
        return p.E + (p.G_0 * x.granularity**-p.gamma + p.A) * x.n**-p.alpha + p.B * x.d**-p.beta


class RoutedExperts(ScalingLaw):
    """log10 L = a log10 N + b log10 X + c log10 N log10 X + d_0 for a dense model N routed to X (saturated) experts.

    **Source:** Clark et al. 2022, arXiv 2202.01169, eq. 8.
    """

    name = "routed"
    template = "10^({a} log N + {b} log X + {c} log N log X + {d_0}), logs to base 10"
    columns = ("n", "experts")
    source = "Clark et al. 2022, arXiv 2202.01169"
    is_linear = False
    coefficients = tuple(Coefficient(name, low=-np.inf, start=(-0.2, 0.2)) for name in ("a", "b", "c", "d_0"))

    def formula(self, p, x):
        """The bilinear form in logarithms."""
        size, experts = np.log10(x.n), np.log10(x.experts)
        return np.exp(np.log(10.0) * (p.a * size + p.b * experts + p.c * (size * experts) + p.d_0))


class OverTrained(ScalingLaw):
    """L = E + (a M^eta + b M^-eta) C^-eta in compute C and M = D/N tokens per parameter: tied exponents, alpha = 2
    eta.

    **Source:** Gadre et al. 2024, arXiv 2403.08540, eq. 4.
    """

    name = "over-trained"
    template = "{E} + ({a} M^{eta} + {b} M^-{eta}) C^-{eta}"
    columns = ("c", "tokens_per_parameter")
    source = "Gadre et al. 2024, arXiv 2403.08540"
    coefficients = (floor_coefficient(), amplitude("a"), amplitude("b"), exponent("eta", (0.02, 0.6)))

    def formula(self, p, x):
        """E + (a M^eta + b M^-eta) c^-eta."""
        m = x.tokens_per_parameter
        return p.E + p.a * (m / x.c) ** p.eta + p.b * (m * x.c) ** -p.eta


TERM_LAWS: dict[str, type[ScalingLaw]] = {
    law.name: law
    for law in (
        Repeated,
        Quantized,
        KumarDamage,
        OuyangDamage,
        LowPrecision,
        Vocabulary,
        LearningCurve,
        FineGrainedExperts,
        RoutedExperts,
        OverTrained,
    )
}
