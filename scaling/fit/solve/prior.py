"""What is believed of coefficients before any run is seen; a saved fit holds it, so reading one loads no search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Prior:
    """Quadratic penalty (u - centre)' precision (u - centre)/2 in search coordinates, in units of the objective.

    Attributes:
        centre: float64[..., k].
        precision: float64[..., k, k]; a leading axis gives every row of a batch its own.
    """

    centre: Array
    precision: Array

    def take(self, index: Array | slice) -> Prior:
        """The priors of some rows; one that all rows share stays as it is."""
        return self if self.centre.ndim == 1 else Prior(self.centre[index], self.precision[index])

    def pull(self, u: Array) -> tuple[Array, Array]:
        """Penalty float64[n_problems] and its gradient float64[n_problems, k]."""
        away = u - self.centre
        slope = (self.precision @ away[..., None])[..., 0]
        return 0.5 * np.sum(away * slope, axis=-1), slope
