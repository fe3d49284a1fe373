"""Where searches start: exponents drawn at random, amplitudes solved for.

A law is linear in its floor and its amplitudes once the exponents are given, so each draw of exponents determines the
rest by non-negative least squares (variable projection). A five-dimensional search then starts from a two-dimensional
draw.

**Source:** Golub and Pereyra 1973; for scaling laws arXiv 2603.22339.
"""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import numpy as np

from scaling.laws.law import ScalingLaw
from scaling.laws.size_and_data import Chinchilla

Array = np.ndarray
SMALLEST = 1e-12
"""An amplitude searched by its logarithm cannot start at zero; this share of the loss is as good as none."""


def draw_starts(
    law: ScalingLaw, x: SimpleNamespace, loss: Array, weights: Array, count: int, rng: np.random.Generator
) -> Array:
    """Random starts of a fit, amplitudes solved for.

    Args:
        law: the form.
        x: columns, float64[n_runs] each.
        loss: float64[n_runs], nats/token.
        weights: float64[n_runs].
        count: how many.
        rng: source of the draws.

    Returns:
        float64[count, k]: coefficients, inside their bounds.
    """
    solvable = {c.name for c in law.coefficients if c.linear and law.is_linear}
    drawn = {c.name: _draw(c, count, rng) for c in law.coefficients if c.name not in solvable}
    if solvable or not {"n", "d"} <= set(law.columns):
        solved = solve_linear(law, drawn, x, loss, weights, count)
    else:
        # A form that is not linear starts from the additive one that it resembles.
        powers = {name: drawn.get(name, np.full(count, 0.3)) for name in ("alpha", "beta")}
        solved = solve_linear(Chinchilla(), powers, SimpleNamespace(n=x.n, d=x.d), loss, weights, count)
    values = law.seed(drawn, solved)
    return np.stack([np.clip(values[c.name], c.low, c.high) * np.ones(count) for c in law.coefficients], axis=-1)


def _draw(coefficient, count: int, rng: np.random.Generator) -> Array:
    low, high = coefficient.start
    if coefficient.log:
        return np.exp(rng.uniform(np.log(max(low, 1e-300)), np.log(high), count))
    return rng.uniform(low, high, count)


def solve_linear(
    law: ScalingLaw, drawn: dict[str, Array], x: SimpleNamespace, loss: Array, weights: Array, count: int
) -> dict[str, Array]:
    """Least-squares values, within sign bounds, of the coefficients that the loss is linear in, for each draw of the
    others.

    Relative errors are minimised, which to first order are errors of log loss.
    """
    linear = [c for c in law.coefficients if c.linear and law.is_linear]
    if not linear:
        return {}
    zero = {c.name: np.zeros((count, 1)) for c in linear}
    others = {name: value[:, None] for name, value in drawn.items()}
    base = law.formula(SimpleNamespace(**others, **zero), x) * np.ones((count, len(loss)))
    basis = np.stack(
        [law.formula(SimpleNamespace(**others, **(zero | {c.name: np.ones((count, 1))})), x) - base for c in linear],
        axis=1,
    )
    # Each basis function is scaled to the size of the loss: N^-alpha alone may be 1e-20.
    size = np.maximum(np.abs(basis / loss).max(-1), 1e-300)
    root = np.sqrt(weights) / loss
    signed = np.array([c.low < 0 for c in linear])
    solution = non_negative(basis / size[:, :, None] * root, (loss - base) * root, signed)
    solution = np.where(signed, solution, np.maximum(solution, [SMALLEST if c.log else 0.0 for c in linear]))
    return {c.name: solution[:, i] / size[:, i] for i, c in enumerate(linear)}


def non_negative(basis: Array, target: Array, signed: Array) -> Array:
    """Batched non-negative least squares by trying every set of active coefficients.

    Args:
        basis: float64[count, m, n_runs], m small.
        target: float64[count, n_runs].
        signed: bool[m], coefficients free to be negative.

    Returns:
        float64[count, m].
    """
    count, m, _ = basis.shape
    gram = basis @ basis.transpose(0, 2, 1)
    moment = np.einsum("pmn,pn->pm", basis, target)
    ridge = 1e-12 * np.einsum("pii->pi", gram).max(-1)[:, None, None]
    best, best_drop = np.zeros((count, m)), np.zeros(count)
    always = np.flatnonzero(signed).tolist()
    sometimes = [i for i in range(m) if not signed[i]]
    # With few coefficients every active set can be solved; the best with the right signs is the constrained optimum.
    for size in range(len(sometimes) + 1):
        for chosen in combinations(sometimes, size):
            active = [*always, *chosen]
            if not active:
                continue
            inner = gram[:, active][:, :, active] + ridge * np.eye(len(active))
            candidate = np.linalg.solve(inner, moment[:, active, None])[..., 0]
            drop = np.einsum("pm,pm->p", candidate, moment[:, active])
            allowed = (candidate >= 0)[:, [i for i, a in enumerate(active) if not signed[a]]].all(-1)
            better = allowed & (drop > best_drop)
            rows = np.flatnonzero(better)
            best[rows] = 0.0
            best[np.ix_(rows, np.array(active))] = candidate[rows]
            best_drop[rows] = drop[rows]
    return best
