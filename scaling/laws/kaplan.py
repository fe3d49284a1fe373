"""Laws without a floor, in one quantity or two: Kaplan's, and the plain power law with an offset."""

from __future__ import annotations

from scaling.laws.law import Coefficient, ScalingLaw, amplitude, exponent, floor_coefficient

SOURCE = "Kaplan et al. 2020, arXiv 2001.08361"
CRITICAL_SIZE = Coefficient("N_c", unit="parameters", log=True, start=(1e8, 1e16))
CRITICAL_DATA = Coefficient("D_c", unit="tokens", log=True, start=(1e8, 1e16))
SIZE_EXPONENT = exponent("alpha_N", (0.02, 0.5))
DATA_EXPONENT = exponent("alpha_D", (0.02, 0.5))


class KaplanN(ScalingLaw):
    """L = (N_c/N)^alpha_N: size alone, data and compute ample.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.1.
    """

    name = "kaplan-n"
    title = "Kaplan, size alone"
    columns = ("n",)
    source = SOURCE
    coefficients = (CRITICAL_SIZE, SIZE_EXPONENT)

    def formula(self, p, x):
        """A power without a floor."""
        return (p.N_c / x.n) ** p.alpha_N


class KaplanD(ScalingLaw):
    """L = (D_c/D)^alpha_D: data alone, a fixed set with early stopping.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.2.
    """

    name = "kaplan-d"
    title = "Kaplan, data alone"
    columns = ("d",)
    source = SOURCE
    coefficients = (CRITICAL_DATA, DATA_EXPONENT)

    def formula(self, p, x):
        """A power without a floor."""
        return (p.D_c / x.d) ** p.alpha_D


class KaplanC(ScalingLaw):
    """L = (C_c/C)^alpha_C: compute alone, in FLOPs (one PF-day is 8.64e19).

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.3.
    """

    name = "kaplan-c"
    title = "Kaplan, compute alone"
    columns = ("c",)
    source = SOURCE
    coefficients = (Coefficient("C_c", unit="FLOPs", log=True, start=(1e18, 1e34)), exponent("alpha_C", (0.01, 0.3)))

    def formula(self, p, x):
        """A power without a floor."""
        return (p.C_c / x.c) ** p.alpha_C


class KaplanND(ScalingLaw):
    """L = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D.

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.5.
    """

    name = "kaplan-nd"
    title = "Kaplan, size and data"
    source = SOURCE
    coefficients = (CRITICAL_SIZE, CRITICAL_DATA, SIZE_EXPONENT, DATA_EXPONENT)

    def formula(self, p, x):
        """Either single law where the other quantity is infinite."""
        return ((p.N_c / x.n) ** (p.alpha_N / p.alpha_D) + p.D_c / x.d) ** p.alpha_D


class KaplanNS(ScalingLaw):
    """L = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S: infinite data, S_min steps at a batch far above the critical one
    (see `batch`).

    **Source:** Kaplan et al. 2020, arXiv 2001.08361, eq. 1.6.
    """

    name = "kaplan-ns"
    title = "Kaplan, size and steps"
    columns = ("n", "s_min")
    source = SOURCE
    coefficients = (
        CRITICAL_SIZE,
        Coefficient("S_c", unit="steps", log=True, start=(10.0, 1e6)),
        SIZE_EXPONENT,
        exponent("alpha_S", (0.2, 1.5)),
    )

    def formula(self, p, x):
        """One power of size, one of steps."""
        return (p.N_c / x.n) ** p.alpha_N + (p.S_c / x.s_min) ** p.alpha_S


class PowerLaw(ScalingLaw):
    """L = E + A/x^alpha in one variable x (compute, size, data or steps).

    **Source:** Hestness et al. 2017, arXiv 1712.00409; Henighan et al. 2020, arXiv 2010.14701.
    """

    name = "power"
    title = "power law with a floor"
    columns = ("x",)
    source = "Hestness et al. 2017, arXiv 1712.00409"
    coefficients = (floor_coefficient(), amplitude("A"), exponent("alpha"))

    def formula(self, p, x):
        """A power above a floor."""
        return p.E + p.A * x.x**-p.alpha
