"""What the curvature at an optimum says: covariance of the coefficients, condition, the scale of the residuals."""

from __future__ import annotations

import numpy as np

from scaling.fit.solve.minimise import Problem
from scaling.fit.solve.search import Optimum

Array = np.ndarray


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
