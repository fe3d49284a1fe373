"""How well the runs determine a fit: bootstrap by trunk, profiles, covariance, condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaling.fit.minimise import Problem, minimise
from scaling.fit.search import Optimum

Array = np.ndarray
Resampling = Literal["pairs", "wild"]
LEVELS_KEPT = 3
WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))
"""Webb's six-point weights are plus and minus these: mean 0, variance 1, and 6^G signs for G clusters instead of
2^G."""


REPLICATE_PRECISION = 1e-6
"""A replicate need not be known better than its own scatter: a gain this small moves it by a thousandth of a
standard error."""


def bootstrap(
    problem: Problem, optimum: Optimum, cluster: Array, *, count: int = 1000, seed: int = 0, how: Resampling = "pairs"
) -> Array:
    """Refit `count` resamplings of the trunks.

    "pairs": whole trunks are drawn with replacement; a draw that leaves fewer than three sizes or data volumes is drawn
    again, for it could not be fitted. "wild": the design stays, and every trunk's residuals, corrected for leverage,
    are multiplied by one of Webb's six points; meant for least squares (with a Huber objective of small delta it is too
    narrow).

    Args:
        problem, optimum: the fit.
        cluster: int[n_runs]: runs of one trunk share noise.
        count: replicates.
        seed: of the draws.
        how: see above.

    Returns:
        float64[count, k]: coefficients of each replicate.

    **Source:** Cameron, Gelbach and Miller 2008; Webb 2023 (six points).
    """
    if not count:
        return np.empty((0, len(optimum.theta)))
    rng = np.random.default_rng(seed)
    codes = np.unique(cluster, return_inverse=True)[1]
    start = np.repeat(optimum.u[None], count, axis=0)
    settings = {"steps": 40, "precision": REPLICATE_PRECISION}
    if how == "pairs":
        drawn = _draw_trunks(problem, codes, count, rng)
        ended = minimise(problem, start, weights=drawn[:, codes] * problem.weights, **settings)
    else:
        signs = rng.choice(np.concatenate([-WEBB, WEBB]), size=(count, codes.max() + 1))[:, codes]
        fitted = problem.law.evaluate(optimum.theta, problem.x)
        pushed = signs * leveraged_residual(problem, optimum, codes)
        loss = fitted * np.exp(-pushed) if problem.objective.log else fitted - pushed
        ended = minimise(problem, start, loss=loss, **settings)
    return problem.decode(ended.u[np.isfinite(ended.value)])


def _draw_trunks(problem: Problem, codes: Array, count: int, rng: np.random.Generator) -> Array:
    """How often each trunk is drawn, by replicate: float64[count, n_trunks]; every draw keeps three levels of both
    axes if the runs do."""
    groups = codes.max() + 1
    share = np.full(groups, 1 / groups)
    drawn = rng.multinomial(groups, share, size=count)
    present = []
    for axis in ("n", "d"):
        if hasattr(problem.x, axis):
            level = np.unique(np.round(np.log(getattr(problem.x, axis)), 2), return_inverse=True)[1]
            table = np.zeros((groups, level.max() + 1))
            table[codes, level] = 1
            present.append(table)
    for _ in range(100):
        thin = np.zeros(count, bool)
        for table in present:
            thin |= ((drawn @ table) > 0).sum(1) < min(LEVELS_KEPT, table.shape[1])
        if not thin.any():
            break
        drawn[thin] = rng.multinomial(groups, share, size=int(thin.sum()))
    return drawn.astype(float)


def leveraged_residual(problem: Problem, optimum: Optimum, codes: Array) -> Array:
    """Residuals as if each trunk had been left out of the fit (the CR3 correction): (I - H_gg)^-1 r_g."""
    jacobian, root = weighted_jacobian(problem, optimum)
    basis = np.linalg.svd(jacobian, full_matrices=False)
    keep = 1e-10 * basis.S[0] < basis.S
    q = basis.U[:, keep]
    fitted = problem.law.evaluate(optimum.theta, problem.x)
    out = problem.objective.residual(fitted, problem.loss) * root
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        hat = q[rows] @ q[rows].T
        # A trunk that alone determines a coefficient has leverage one: its residual says nothing and is left as it is.
        values, vectors = np.linalg.eigh(np.eye(len(rows)) - hat)
        out[rows] = vectors @ ((vectors.T @ out[rows]) / np.maximum(values, 0.05))
    return out / root


def weighted_jacobian(problem: Problem, optimum: Optimum) -> tuple[Array, Array]:
    """d residual / d search coordinates of the free coefficients, rows times the root of their weight:
    float64[n_runs, k_free]."""
    jacobian = coordinate_jacobian(problem, optimum.u)
    if problem.objective.log:
        jacobian = jacobian / problem.law.evaluate(optimum.theta, problem.x)[:, None]
    root = np.sqrt(problem.weights)
    free = problem.free & ~np.isin(problem.law.names, optimum.at_bound)
    return jacobian[:, free] * root[:, None], root


def coordinate_jacobian(problem: Problem, u: Array) -> Array:
    """d loss / d search coordinates: float64[n_runs, k]."""
    theta = problem.decode(u)
    return problem.law.gradient(theta, problem.x) * np.where(problem.is_log, theta, 1.0)


def robust_information(problem: Problem, optimum: Optimum) -> float:
    """Objective per unit of log likelihood: mean(psi^2)/mean(psi'), which for squares is the residual variance."""
    residual = problem.objective.residual(problem.law.evaluate(optimum.theta, problem.x), problem.loss)
    limit = problem.objective.threshold
    left = max(len(residual) - int(problem.free.sum()), 1)
    push = np.sum(problem.weights * np.clip(residual, -limit, limit) ** 2) / left
    return float(push / max(np.mean(np.abs(residual) <= limit), 1 / len(residual)))


def condition_number(problem: Problem, optimum: Optimum) -> float:
    """Ratio of the best to the worst determined direction, every coefficient in units of its own effect on the loss."""
    jacobian, _ = weighted_jacobian(problem, optimum)
    size = np.linalg.norm(jacobian, axis=0)
    if not (size > 0).all():
        return np.inf
    singular = np.linalg.svd(jacobian / size, compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else np.inf


def residual_scale(problem: Problem, optimum: Optimum) -> float:
    """Standard deviation of the residuals, divided by the degrees of freedom that are left."""
    fitted = problem.law.evaluate(optimum.theta, problem.x)
    residual = problem.objective.residual(fitted, problem.loss)
    left = max(len(residual) - int(problem.free.sum()), 1)
    return float(np.sqrt(np.sum(problem.weights * residual**2) / left))


def asymptotic_covariance(problem: Problem, optimum: Optimum) -> Array:
    """Gauss-Newton covariance in search coordinates, zero for held coefficients and those on a bound: float64[k, k]."""
    jacobian, _ = weighted_jacobian(problem, optimum)
    free = problem.free & ~np.isin(problem.law.names, optimum.at_bound)
    information = jacobian.T @ jacobian / residual_scale(problem, optimum) ** 2
    if problem.precision is not None:
        information = information + problem.precision[np.ix_(free, free)] / robust_information(problem, optimum)
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    inner = np.linalg.pinv(information / np.outer(size, size), hermitian=True) / np.outer(size, size)
    full = np.zeros((len(free), len(free)))
    full[np.ix_(free, free)] = inner
    return full


@dataclass(frozen=True)
class Profile:
    """Objective as a function of one coefficient, all others refitted.

    Attributes:
        name: the coefficient.
        level: of the interval.
        low, high: ends; None where the objective never rises enough: not identified on that side.
        values, objective: float64[n_points]: the curve.
    """

    name: str
    level: float
    low: float | None
    high: float | None
    values: Array
    objective: Array

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.name} in [{self.low:.4g}, {self.high:.4g}] at {self.level:.0%}"
        if self.low is not None:
            return f"{self.name} above {self.low:.4g} at {self.level:.0%}; not identified above that"
        if self.high is not None:
            return f"{self.name} below {self.high:.4g} at {self.level:.0%}; not identified below that"
        return f"{self.name} is not identified at {self.level:.0%}"


def profile(
    problem: Problem, optimum: Optimum, name: str, *, level: float = 0.9, points: int = 61, cluster: Array | None = None
) -> Profile:
    """Interval of one coefficient from the profile of the objective.

    The rise allowed is that of a robust likelihood-ratio test: 2 (F - F_min) mean(psi') / mean(psi^2) < chi2(level).

    Args:
        problem, optimum: the fit; all its basins are followed.
        name: coefficient.
        level: of the interval.
        points: of the curve.
        cluster: int[n_runs]: runs that share noise; the threshold grows with the variance that the sharing adds to
            this coefficient.

    Returns:
        Profile; an end is None where the curve stays below the threshold as far as the bound of the coefficient, or
        e^12 times it.

    **Source:** Ronchetti 1982 (robust likelihood ratio); Raue et al. 2009 (profile identifiability).
    """
    index = problem.law.names.index(name)
    centre = optimum.u[index]
    reach = 12.0 if problem.is_log[index] else 8 * max(abs(centre), 0.1)
    spacing = np.sinh(np.linspace(0, 6, points // 2 + 1)[1:]) / np.sinh(6) * reach
    grid = np.concatenate([centre - spacing[::-1], [centre], centre + spacing])
    grid = np.unique(np.clip(grid, problem.low[index], problem.high[index]))
    held = Problem(problem.law, problem.x, problem.loss, problem.weights, problem.objective, (*problem.held, name))
    best = _follow(held, optimum, index, grid)
    allowed = _allowed_rise(problem, optimum, level) * (
        1.0 if cluster is None else design_effect(problem, optimum, index, cluster)
    )
    rise = best - best.min()
    inside = rise <= allowed
    values = np.exp(grid) if problem.is_log[index] else grid
    first, last = np.flatnonzero(inside)[[0, -1]]
    low = _crossing(grid, rise, first - 1, first, allowed) if first > 0 else None
    high = _crossing(grid, rise, last, last + 1, allowed) if last < len(grid) - 1 else None
    back = np.exp if problem.is_log[index] else float
    return Profile(
        name,
        level,
        *(None if end is None else float(back(end)) for end in (low, high)),
        values,
        best / problem.objective.unit,
    )


def design_effect(problem: Problem, optimum: Optimum, index: int, cluster: Array) -> float:
    """Variance of a coefficient with noise shared inside clusters, over that with independent runs; at least one.

    Both are sums of squared scores: of clusters, and of runs. A score is the clipped residual times the part of the
    coefficient's own slope that no other coefficient can imitate.
    """
    free = np.flatnonzero(problem.free & ~np.isin(problem.law.names, optimum.at_bound))
    jacobian, root = weighted_jacobian(problem, optimum)
    own = int(np.flatnonzero(free == index)[0]) if index in free else 0
    others = np.delete(jacobian, own, axis=1)
    slope = jacobian[:, own] - (
        others @ np.linalg.lstsq(others, jacobian[:, own], rcond=None)[0] if others.size else 0.0
    )
    fitted = problem.law.evaluate(optimum.theta, problem.x)
    limit = problem.objective.threshold
    score = np.clip(problem.objective.residual(fitted, problem.loss), -limit, limit) * root * slope
    codes = np.unique(cluster, return_inverse=True)[1]
    return float(max(1.0, np.sum(np.bincount(codes, score) ** 2) / max(np.sum(score**2), 1e-300)))


def _follow(held: Problem, optimum: Optimum, index: int, grid: Array) -> Array:
    """Lowest objective at every grid value, from all basins, each point then restarted from its neighbours' ends."""
    basins = optimum.basins[:6]
    starts = np.repeat(basins, len(grid), axis=0)
    starts[:, index] = np.tile(grid, len(basins))
    smooth = minimise(held, starts, threshold=np.inf)
    ended = minimise(held, np.concatenate([starts, smooth.u]))
    value = ended.value.reshape(-1, len(grid))
    u = ended.u.reshape(-1, len(grid), grid_width := starts.shape[1])
    best, where = value.min(0), u[value.argmin(0), np.arange(len(grid))]
    for _ in range(6):
        near = np.concatenate([where[[0, *range(len(grid) - 1)]], where[[*range(1, len(grid)), len(grid) - 1]]])
        near[:, index] = np.tile(grid, 2)
        again = minimise(held, near)
        value, u = again.value.reshape(2, -1), again.u.reshape(2, len(grid), grid_width)
        pick = value.argmin(0)
        better = value.min(0) < best * (1 - 1e-10)
        best = np.where(better, value.min(0), best)
        where = np.where(better[:, None], u[pick, np.arange(len(grid))], where)
        if not better.any():
            break
    return best


def _allowed_rise(problem: Problem, optimum: Optimum, level: float) -> float:
    from scipy.special import fdtri  # scipy.stats would take a second to import

    left = max(len(problem.loss) - int(problem.free.sum()), 1)
    return float(fdtri(1, left, level) * robust_information(problem, optimum) / 2)


def _crossing(grid: Array, rise: Array, i: int, j: int, allowed: float) -> float:
    """Linear interpolation, in root-rise where the profile is nearly straight, of where the curve crosses the
    threshold."""
    a, b = np.sqrt(max(rise[i], 0.0)), np.sqrt(max(rise[j], 0.0))
    share = (np.sqrt(allowed) - a) / (b - a) if b != a else 0.5
    return float(grid[i] + share * (grid[j] - grid[i]))
