"""Loss in coordinates of compute and tokens per parameter."""

from __future__ import annotations

from scaling.laws.law import ScalingLaw, amplitude, exponent, floor_coefficient


class OverTrained(ScalingLaw):
    """L = E + a (M/C)^eta + b/(M C)^eta in compute C and M = D/N tokens per parameter: tied exponents, alpha = 2 eta.

    **Source:** Gadre et al. 2024, arXiv 2403.08540, eq. 4.
    """

    name = "over-trained"
    title = "compute and tokens per parameter"
    columns = ("c", "tokens_per_parameter")
    source = "Gadre et al. 2024, arXiv 2403.08540"
    coefficients = (floor_coefficient(), amplitude("a"), amplitude("b"), exponent("eta", (0.02, 0.6)))

    def formula(self, p, x):
        """Compute spent on size, and on data."""
        m = x.tokens_per_parameter
        return p.E + p.a * (m / x.c) ** p.eta + p.b * (m * x.c) ** -p.eta
