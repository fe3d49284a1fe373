"""The law of a student that learns from its teacher's soft targets, where a better teacher can be a worse one."""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Coefficient, ScalingLaw, exponent, floor_coefficient
from scaling.laws.text import let

SUPERVISED = {"gamma": ("A", "B", "alpha", "beta")}
DISTILLED = {"gamma2": ("A2", "B2", "alpha2", "beta2")}
TINY = 1e-10
"""A teacher's loss where there is no teacher, so that its logarithm is finite; nats/token."""


class Busbridge(ScalingLaw):
    """QB: the distillation law for soft targets, with a capacity gap, joined with the supervised law it refers to.

    L = L_T + L_T^-c0 (1 + (L_T/(L_S d1))^(1/f1))^(-c1 f1) (A2/N^alpha2 + B2/D^beta2)^gamma2, where L_S = E + (A/N^alpha
    + B/D^beta)^gamma is the loss of the same student trained on real text. `teacher_loss` L_T is the teacher's loss on
    real text; zero or NaN marks a student of real text, whose loss is L_S.

    **Source:** Busbridge et al. 2025, arXiv 2502.08606, eq. 8.
    """

    name = "qb"
    title = "distillation from soft targets"
    columns = ("n", "d", "teacher_loss")
    source = "Busbridge et al. 2025, arXiv 2502.08606"
    is_linear = False
    coefficients = (
        floor_coefficient(),
        *(Coefficient(name, log=True, start=(100.0, 1e5)) for name in ("A", "B")),
        *(exponent(name, (0.2, 0.7)) for name in ("alpha", "beta")),
        Coefficient("gamma", low=0.02, high=5.0, log=True, start=(0.3, 1.0)),
        *(Coefficient(name, log=True, start=(100.0, 1e5)) for name in ("A2", "B2")),
        *(exponent(name, (0.2, 0.8)) for name in ("alpha2", "beta2")),
        Coefficient("gamma2", low=0.02, high=5.0, log=True, start=(0.3, 1.0)),
        Coefficient("c0", low=0.0, high=20.0, start=(0.0, 4.0)),
        Coefficient("c1", log=True, start=(1.0, 1e3)),
        Coefficient("f1", low=1e-3, high=10.0, log=True, start=(0.03, 0.5)),
        Coefficient("d1", low=0.1, high=10.0, log=True, start=(0.7, 2.0)),
    )

    def formula(self, p, x):
        """The supervised law where the text is real, the distillation law elsewhere."""
        supervised = let("L_S", p.E + (p.A * x.n**-p.alpha + p.B * x.d**-p.beta) ** p.gamma)
        teacher = np.fmax(x.teacher_loss, TINY)
        # In logarithms, for the ratio of the losses is raised to powers of a hundred.
        log_teacher = np.log(teacher)
        gap = np.logaddexp(0.0, (log_teacher - np.log(supervised * p.d1)) / p.f1)
        own = p.gamma2 * np.log(p.A2 * x.n**-p.alpha2 + p.B2 * x.d**-p.beta2)
        distilled = let("L_D", teacher + np.exp(own - p.c0 * log_teacher - p.c1 * p.f1 * gap))
        return np.where(x.teacher_loss > 0, distilled, supervised)

    def seed(self, start, amplitudes):
        """Both power sums start from the additive solution, raised to 1/gamma."""
        values = start | {"E": amplitudes["E"]}
        for gamma, (a, b, alpha, beta) in (SUPERVISED | DISTILLED).items():
            power = 1 / start[gamma]
            values |= {
                a: amplitudes["A"] ** power,
                b: amplitudes["B"] ** power,
                alpha: start["alpha"] * power,
                beta: start["beta"] * power,
            }
        return values
